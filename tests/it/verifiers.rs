//! The official libraries of v2, from PyPI and npm: they verify every v2 event that we send, and we verify what they sign.

use std::path::Path;
use std::process::Command;

use mbaas_dev::fixture::Catalogue;
use mbaas_dev::model::Contract;
use serde_json::{Map, Value, json};

use crate::assurance::Random;
use crate::frameworks::{Tally, pipe, tools};
use crate::world::World;

/// 2026-11-24T09:05:52Z, the second at which the clock of the tests stands, since 1970.
const NOW: i64 = 1_795_511_152;

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const OTHER_SECRET: &str = "whsec_b2xkLXNlY3JldC1vbGQtc2VjcmV0LW9sZC1zZWNyZXQ=";
const SEED: u64 = 0x7376_6978;

/// What the libraries say to each question, in the order `svix` and `standardwebhooks` of Python, then of Node.js.
fn ask(questions: &[Value]) -> Vec<Vec<Value>> {
    let tools = tools();
    let script = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/handlers").join(name);
    let mut python = Command::new(tools.join("venv/bin/python"));
    python.arg(script("v2_libraries.py"));
    let mut node = Command::new("node");
    node.arg(script("v2_libraries.cjs")).env("NODE_PATH", tools.join("node/node_modules"));
    let input: String = questions.iter().map(|question| format!("{question}\n")).collect();
    let answers = |command: &mut Command| -> Vec<Vec<Value>> {
        pipe(command, &input).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let (python, node) = (answers(&mut python), answers(&mut node));
    assert_eq!([python.len(), node.len()], [questions.len(); 2], "each library answers each question");
    python.into_iter().zip(node).map(|(python, node)| [python, node].concat()).collect()
}

/// A request that `trigger --print` made, as a question.
fn made(world: &World, arguments: &[&str], now: i64) -> Value {
    let done = world.run(&[&["trigger", "--print", "--contract", "v2"], arguments].concat());
    assert_eq!(done.code(), 0, "{}", done.whole());
    let text = done.text();
    let (head, body) = text.split_once("\n\n").unwrap();
    let fields = head.lines().skip(1).map(|line| line.split_once(": ").unwrap());
    let headers: Map<String, Value> = fields.map(|(name, value)| (name.to_owned(), value.into())).collect();
    json!({ "body": body, "headers": headers, "secret": SECRET, "now": now })
}

#[test]
fn every_event_that_we_send_verifies_with_every_library() {
    let world = World::new();
    let catalogue = Catalogue::embedded();
    let names = catalogue.entries().filter(|entry| entry.contract == Contract::V2);
    let names: Vec<String> = names.map(|entry| entry.name.to_string()).collect();
    let mut questions = Vec::new();
    for name in &names {
        questions.push((name.clone(), made(&world, &[name, "--secret", SECRET], NOW)));
        let standard = ["--header-style", "standard"];
        questions.push((
            format!("{name}, standard names"),
            made(&world, &[&[name.as_str(), "--secret", SECRET], &standard[..]].concat(), NOW),
        ));
    }
    let asked: Vec<Value> = questions.iter().map(|(_, question)| question.clone()).collect();
    let mut tally = Tally::default();
    for ((name, _), answers) in questions.iter().zip(ask(&asked)) {
        for answer in answers {
            tally.hold(answer == true, || name.clone());
        }
    }
    tally.end(4 * 2 * 100);
}

#[test]
fn rotation_tolerance_and_every_way_of_signing_wrong_are_what_the_libraries_take_them_for() {
    let world = World::new();
    let (mine, both) = (["--secret", SECRET], ["--secret", OTHER_SECRET, "--secret", SECRET]);
    let question = |arguments: &[&str], now| made(&world, &[&["bot.completed"], arguments].concat(), now);
    let mut cases = vec![
        ("the old secret of two", question(&both, NOW), true),
        ("rotated", question(&[&mine[..], &["--sign", "rotated"]].concat(), NOW), true),
        ("another secret", question(&["--secret", OTHER_SECRET], NOW), false),
    ];
    for (label, now, is_right) in [
        ("299 s old", NOW + 299, true),
        ("301 s old", NOW + 301, false),
        ("299 s ahead", NOW - 299, true),
        ("301 s ahead", NOW - 301, false),
    ] {
        cases.push((label, question(&mine, now), is_right));
    }
    for mode in [
        "wrong-secret",
        "tampered",
        "missing",
        "malformed",
        "stale",
        "future",
        "missing-id",
        "missing-timestamp",
        "missing-signature",
    ] {
        cases.push((mode, question(&[&mine[..], &["--sign", mode]].concat(), NOW), false));
    }
    let asked: Vec<Value> = cases.iter().map(|(_, question, _)| question.clone()).collect();
    let mut tally = Tally::default();
    for ((label, _, is_right), answers) in cases.iter().zip(ask(&asked)) {
        for answer in answers {
            tally.hold(answer == *is_right, || format!("{label}: {answer}"));
        }
    }
    tally.end(4 * 16);
}

#[test]
fn what_the_libraries_sign_verifies_here() {
    let world = World::new();
    let mut random = Random(SEED);
    let mut bodies: Vec<String> =
        vec![String::new(), "{}".to_owned(), "{\"a\":\"\u{2028}é🎙️\"}\n".to_owned()];
    let catalogue = Catalogue::embedded();
    for entry in catalogue.entries().filter(|entry| entry.contract == Contract::V2) {
        bodies.push(String::from_utf8(entry.fixture.source().to_vec()).unwrap());
    }
    let questions: Vec<Value> = bodies
        .iter()
        .map(|body| {
            // Within the tolerance, and at its edges.
            let offset = random.pick(&[0, -300, 300, -299, 299, -1, 17]);
            json!({ "body": body, "id": format!("msg_{}", random.below(1 << 40)), "at": NOW + offset, "secret": SECRET })
        })
        .collect();
    let mut tally = Tally::default();
    for (question, signatures) in questions.iter().zip(ask(&questions)) {
        let text = |key: &str| question[key].as_str().unwrap();
        for signature in signatures {
            let headers = [
                format!("svix-id: {}", text("id")),
                format!("svix-timestamp: {}", question["at"]),
                format!("svix-signature: {}", signature.as_str().unwrap()),
            ];
            let mut arguments = vec!["verify", "-", "--contract", "v2", "--secret", SECRET];
            arguments.extend(headers.iter().flat_map(|header| ["--header", header]));
            let done = world.run_with_input(&arguments, text("body").as_bytes());
            tally.hold(done.code() == 0, || format!("{question}: {}", done.whole()));
        }
    }
    tally.end(4 * 100);
}
