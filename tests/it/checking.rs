//! `check`: correct handlers keep every rule, each fault of another is named by the rule that it breaks, and reports are
//! what programs can read.

use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::frameworks::{pipe, tools};
use crate::handler::{Handler, RawRequest, answer, nobody};
use crate::world::{Background, Done, World};

const SECRET: &str = "your-webhook-secret-key";
const SECRET_V2: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// A handler in a process of its own.
struct App {
    _process: Background,
    address: String,
}

impl App {
    /// Starts a handler of `tests/handlers`, and waits until it listens.
    fn start(file: &str, more: &[(&'static str, &str)]) -> Self {
        let tools = tools();
        let program =
            if file == "express_handler.mjs" { "node".into() } else { tools.join("venv/bin/python") };
        let mut command = Command::new(program);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/handlers").join(file));
        command.env("MBAAS_TEST_TOOLS", tools);
        let given = [("WEBHOOK_SECRET", SECRET), ("WEBHOOK_SECRET_V2", SECRET_V2), ("PORT", "0")];
        let environment: BTreeMap<&str, String> =
            given.iter().chain(more).map(|(name, value)| (*name, (*value).to_owned())).collect();
        let mut process = Background::start(&mut command, &environment);
        let mut line = String::new();
        process.stdout.read_line(&mut line).unwrap();
        let port = line.trim_end().strip_prefix("READY ").unwrap_or_else(|| panic!("{file}: {line:?}"));
        Self { address: format!("127.0.0.1:{port}"), _process: process }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }
}

fn check(world: &World, target: &str, more: &[&str]) -> Done {
    world.run(&[&["check", target, "--secret", SECRET], more].concat())
}

/// The same by the real program, whose clock is that of the handler.
fn check_now(world: &World, target: &str, contract: &str) -> (i32, Vec<Value>) {
    let secret = format!("v2={SECRET_V2}");
    let arguments =
        ["check", target, "--contract", contract, "--secret", SECRET, "--secret", &secret, "--json"];
    let output = world.run_process(&arguments);
    let lines = String::from_utf8(output.stdout).unwrap();
    let objects = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), objects)
}

/// The rules that were not kept, each with its status.
fn broken(objects: &[Value]) -> Vec<String> {
    let rules = objects.iter().filter(|object| object["type"] == "rule" && object["ok"] == false);
    rules.map(|rule| format!("{} {}", rule["rule"].as_str().unwrap(), rule["status"])).collect()
}

/// Compares a text with a snapshot; ports are of no interest.
fn assert_whole(name: &str, text: &str) {
    let filters = vec![(r"127\.0\.0\.1:\d+", "127.0.0.1:[PORT]")];
    insta::with_settings!({ filters => filters, omit_expression => true }, { insta::assert_snapshot!(name, text) });
}

#[test]
fn correct_handlers_of_every_framework_keep_every_rule() {
    for (file, environment) in [
        ("flask_handler.py", &[][..]),
        ("fastapi_handler.py", &[]),
        ("express_handler.mjs", &[("BODY_LIMIT", "5mb")]),
    ] {
        let (world, app) = (World::new(), App::start(file, environment));
        let done = check(&world, &app.at("/webhooks/meetingbaas"), &["--strict"]);
        assert_eq!(done.code(), 0, "{file}: {}", done.whole());
        insta::allow_duplicates! { assert_whole("correct", &done.whole()) }
    }
}

#[test]
fn correct_handlers_of_every_contract_keep_every_rule() {
    let app = App::start("checked_handlers.py", &[]);
    for (contract, count) in [("v1", 15), ("v2", 29), ("callback", 12), ("alert", 9)] {
        let world = World::new();
        let (code, objects) = check_now(&world, &app.at(&format!("/{contract}")), contract);
        assert_eq!((code, broken(&objects)), (0, Vec::new()), "{contract}: {objects:#?}");
        let sums = json!({ "v": 1, "type": "summary", "passed": count, "failed": 0, "warned": 0 });
        assert_eq!(objects.last(), Some(&sums), "{contract}");
    }
}

#[test]
fn each_fault_is_named_by_the_rules_that_it_breaks() {
    let app = App::start("checked_handlers.py", &[]);
    for (path, code, expected) in [
        ("/trusting", 3, &["wrong-secret 200", "tampered 200", "missing 200", "malformed 200"][..]),
        ("/as-on-the-page", 3, &["missing 500"]),
        ("/writing-anew", 3, &["unicode 401"]),
        ("/limited", 3, &["large 413"]),
        ("/closed", 3, &["extra-field 422", "unknown-event 422"]),
        ("/only-once", 3, &["duplicate 409"]),
    ] {
        let world = World::new();
        let done = check(&world, &app.at(path), &["--json"]);
        assert_eq!(
            (done.code(), broken(&done.objects())),
            (code, expected.iter().map(ToString::to_string).collect()),
            "{path}"
        );
    }
    for (path, expected) in [
        ("/v2-as-in-the-readme-of-svix", &["malformed 500"][..]),
        ("/v2-by-hand", &["rotated 401", "stale 200", "future 200", "header-style 401"]),
    ] {
        let (code, objects) = check_now(&World::new(), &app.at(path), "v2");
        assert_eq!(
            (code, broken(&objects)),
            (3, expected.iter().map(ToString::to_string).collect()),
            "{path}"
        );
    }
}

#[test]
fn what_was_found_is_told_with_the_reason_and_what_to_do() {
    let app = App::start("checked_handlers.py", &[]);
    let mut text = String::new();
    for (path, more) in [
        ("/trusting", &[][..]),
        ("/closed", &["--only", "valid,extra-field,unknown-event"]),
        ("/closed", &["--only", "unknown-event"]),
        ("/closed", &["--only", "unknown-event", "--strict"]),
        ("/as-on-the-page", &["--only", "missing"]),
        ("/moved", &["--only", "valid,missing"]),
        ("/nowhere", &["--only", "valid,every-event"]),
    ] {
        let world = World::new();
        let done = check(&world, &app.at(path), more);
        text += &format!("$ mbaas-dev check 127.0.0.1:1{path} {}\n{}\n", more.join(" "), done.whole());
    }
    assert_whole("told", &text);
}

#[test]
fn a_handler_that_stops_at_100_kb_is_told_how_to_take_more() {
    let (world, app) = (World::new(), App::start("express_handler.mjs", &[]));
    let done = check(&world, &app.at("/webhooks/meetingbaas"), &["--only", "valid,large"]);
    assert_whole("limited", &done.whole());
}

#[test]
fn a_handler_with_another_secret_is_told_so_once() {
    let (world, app) = (World::new(), App::start("flask_handler.py", &[("WEBHOOK_SECRET", "another")]));
    let done = check(&world, &app.at("/webhooks/meetingbaas"), &[]);
    assert_whole("another_secret", &done.whole());
}

#[test]
fn a_target_that_is_not_there_ends_it_at_once() {
    let (world, (nobody, _kept)) = (World::new(), nobody());
    let done = check(&world, &nobody, &["--junit", "check.xml"]);
    assert_whole("unreachable", &done.whole());
    assert_eq!(check(&world, &nobody, &["--json"]).text(), "");
    assert_eq!(world.run(&["deliveries", "list", "--json"]).objects().len(), 2, "one request each");
    assert_eq!(cases(&world, "check.xml")[0]["kind"], "failure");
}

#[test]
fn a_handler_that_never_answers_is_unreachable_at_first_and_broken_later() {
    let silent = |request: &RawRequest| request.body_text().contains("something_new");
    let handler = Handler::scripted(Box::new(move |request: &RawRequest, stream: &mut TcpStream| {
        if silent(request) {
            // Until whoever waits hangs up.
            return io::copy(stream, &mut io::sink()).map(drop);
        }
        answer(200, &[], b"")(request, stream)
    }));
    let world = World::new();
    let limit = ["--timeout", "100ms"];
    let done =
        check(&world, &handler.target(), &[&limit[..], &["--only", "valid,extra-field,unicode"]].concat());
    assert_whole("timeout", &done.whole());
    let done = check(&world, &handler.target(), &[&limit[..], &["--only", "extra-field"]].concat());
    assert_eq!(done.code(), 5, "{}", done.whole());
}

#[test]
fn what_is_sent_is_what_the_rules_say() {
    let (world, handler) = (World::new(), Handler::start());
    let secret = format!("v2={SECRET_V2}");
    let done = check(
        &world,
        &handler.target(),
        &["--contract", "v2", "--secret", &secret, "-H", "X-Trace: a", "-H", "user-agent: mine", "--json"],
    );
    let requests = handler.drain();
    let of = |rule: &str| {
        let objects = done.objects();
        let number =
            objects.iter().find(|object| object["rule"] == rule).unwrap()["delivery"].as_u64().unwrap();
        requests[usize::try_from(number).unwrap() - 1].clone()
    };
    for request in &requests {
        assert_eq!(
            (request.header("x-trace"), request.header("user-agent")),
            (Some(&b"a"[..]), Some(&b"mine"[..]))
        );
        assert!(request.headers.iter().all(|(name, _)| !name.starts_with(b"mbaas-dev")));
    }
    let header = |rule: &str, name: &str| {
        of(rule).header(name).map(|value| String::from_utf8_lossy(value).into_owned())
    };
    assert!(header("valid", "svix-signature").unwrap().starts_with("v1,"));
    assert_eq!(header("rotated", "svix-signature").unwrap().split(' ').count(), 2);
    assert_eq!(header("missing", "svix-id"), None);
    assert!(header("header-style", "webhook-id").is_some() && header("header-style", "svix-id").is_none());
    assert!(of("unicode").body_text().contains("👩🏽\u{200d}💻 \u{2028} <Müller & Söhne>"));
    assert!((1_000_000..1_300_000).contains(&of("large").body.len()));
    let extra: Value = serde_json::from_slice(&of("extra-field").body).unwrap();
    assert!(extra.get("something_new").is_some() && extra["data"].get("something_new").is_some());
    let unknown: Value = serde_json::from_slice(&of("unknown-event").body).unwrap();
    assert_eq!(unknown["event"], "something.new");
    // Both copies are one message, and the line is about the second.
    let second = of("duplicate");
    let is_copy = |request: &&RawRequest| request.header("svix-id") == second.header("svix-id");
    assert_eq!(requests.iter().filter(is_copy).count(), 2);
    // They are in the record, with the events that they are.
    let recorded = world.run(&["deliveries", "list", "--json", "--limit", "100"]).objects();
    assert_eq!(recorded.len(), requests.len());
    assert!(recorded.iter().all(|delivery| delivery["origin"] == "trigger"));
}

#[test]
fn json_has_a_line_for_each_rule_and_one_with_the_sums() {
    let (world, app) = (World::new(), App::start("checked_handlers.py", &[]));
    assert_whole("json", &check(&world, &app.at("/closed"), &["--json"]).whole());
    let strict = check(&world, &app.at("/closed"), &["--json", "--strict"]).objects();
    assert_eq!(strict.last().unwrap()["failed"], 2);
}

/// The cases of a report, as Python's parser of XML reads them.
fn cases(world: &World, file: &str) -> Vec<Value> {
    let script = "import json, sys, xml.etree.ElementTree as tree
for suite in tree.fromstring(sys.stdin.buffer.read()):
    print(json.dumps({'suite': suite.attrib}))
    for case in suite:
        problem = case[0] if len(case) else None
        print(json.dumps({'name': case.get('name'), 'time': case.get('time'), 'class': case.get('classname'),
                          'kind': problem.tag if len(case) else 'passed',
                          'message': problem.get('message') if len(case) else None,
                          'text': problem.text if len(case) else None}))";
    let report = std::fs::read_to_string(world.folder().join(file)).unwrap();
    let read = pipe(Command::new(tools().join("venv/bin/python")).args(["-c", script]), &report);
    let mut lines = read.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let suite = lines.next().unwrap();
    let cases: Vec<Value> = lines.collect();
    let count = |kind: &str| cases.iter().filter(|case| case["kind"] == kind).count().to_string();
    assert_eq!(suite["suite"]["tests"], cases.len().to_string());
    assert_eq!(
        (&suite["suite"]["failures"], &suite["suite"]["skipped"]),
        (&json!(count("failure")), &json!(count("skipped")))
    );
    cases
}

#[test]
fn a_report_for_ci_is_xml_whatever_the_handler_says() {
    let hostile = "<![CDATA[ ]]> & \" ' </failure> \u{1b}[31m\u{fffe}\u{ffff}\u{b} é🎙️";
    let handler = Handler::scripted(Box::new(move |request: &RawRequest, stream: &mut TcpStream| {
        let status = if request.body_text().contains("something") { 422 } else { 200 };
        answer(status, &[("Content-Type", "text/plain")], hostile.as_bytes())(request, stream)
    }));
    let world = World::new();
    world.write("check.xml", "of before");
    let done = check(&world, &handler.target(), &["--junit", "check.xml"]);
    assert_eq!(done.code(), 3, "{}", done.whole());
    let mode = std::fs::metadata(world.folder().join("check.xml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "CI reads it as another user");
    let cases = cases(&world, "check.xml");
    let text: Vec<String> = cases.iter().map(|case| format!("{case:#}")).collect();
    assert_whole("junit", &text.join("\n"));
}

#[test]
fn what_cannot_be_checked_is_said_before_anything_is_sent() {
    let (world, handler) = (World::new(), Handler::start());
    let mut text = String::new();
    let mut refuse = |world: &World, arguments: &[&str]| {
        let done = check(world, &handler.target(), arguments);
        assert_eq!(done.code(), 2, "{}", done.whole());
        let whole = done.whole().replace(world.folder().to_str().unwrap(), "[FOLDER]");
        text += &format!("$ mbaas-dev check 127.0.0.1:1 {}\n{whole}\n", arguments.join(" "));
    };
    refuse(&world, &["--only", "tamperd"]);
    refuse(&world, &["--only", "stale"]);
    refuse(&world, &["--only", "header-style"]);
    refuse(&world, &["--only", "wrong-secret,prompt"]);
    refuse(&world, &["--contract", "v3"]);
    refuse(&world, &["--contract", "v2", "--secret", "v2=short"]);
    refuse(&world, &["--junit", "no/such/folder.xml"]);
    refuse(&world, &["--junit", "."]);
    world.write("mbaas-dev.toml", "[check]\njunit = \"/etc/check.xml\"\n");
    refuse(&world, &[]);
    assert!(handler.drain().is_empty());
    assert_whole("refused", &text);
}

#[test]
fn the_running_listen_is_no_handler() {
    let (world, handler) = (World::new(), Handler::start());
    let listening = world.listen(&["--forward", &handler.target()]);
    let done = check(&world, &listening.address(), &[]);
    assert_whole("listen", &done.whole());
    // Its secret counts, and the handler behind it is checked beside it.
    let done = world.run(&["check", &handler.target(), "--only", "valid"]);
    assert_eq!(done.code(), 0, "{}", done.whole());
}
