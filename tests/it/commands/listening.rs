//! `listen` as a person watches it and as a program reads it.

use serde_json::{Value, json};

use super::super::handler::{HeldPort, answer, nobody};
use super::super::world::World;
use super::{Terminal, assert_is_delivery, assert_whole, exchange, obliging, request};

/// Compares lines of a real clock with a snapshot.
fn assert_lines(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"(?m)^\d\d:\d\d:\d\d\.\d{3}", "[TIME]");
    settings.add_filter(r" +\d+\.\d ms  ", "  [LATENCY]  ");
    settings.add_filter(r"\d+\.\d ms → \d+\.\d ms", "[LATENCY] → [LATENCY]");
    settings.add_filter(r"p50 \d+\.\d ms, p99 \d+\.\d ms", "p50 [LATENCY], p99 [LATENCY]");
    settings.bind(|| assert_whole(name, text));
}

/// Requests of a sender: path, headers, body.
type Sent = (&'static [u8], &'static [(&'static str, &'static [u8])], &'static [u8]);

/// What a sender gets for each request, in a session with a `listen` that prints lines.
fn session(world: &World, arguments: &[&str], requests: &[Sent]) -> String {
    let terminal = Terminal::listen(world, arguments);
    let (mut text, mut shown) = (String::new(), String::new());
    for (path, headers, body) in requests {
        let answer = exchange(&terminal.address, &request(path, headers, body)).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        text += &format!("<- {}\n   {body}\n", answer.lines().next().unwrap());
        // The sender may have its answer before the line is there.
        shown += &terminal.next();
    }
    let (code, stdout, stderr) = terminal.interrupt();
    text += &format!("exit: {}\n--- stdout\n{shown}{stdout}--- stderr\n{stderr}", code.unwrap());
    let text = without_ids(&text);
    text.replace(world.folder().to_str().unwrap(), "[FOLDER]")
}

/// The text with every id of a delivery replaced.
fn without_ids(text: &str) -> String {
    let mut parts = text.split("dlv_");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| text + "dlv_[ID]" + &part[32..])
}

const COMPLETE: &[u8] = br#"{"event":"complete"}"#;
/// The signature of that body with the secret `s`.
const SIGNED: (&str, &[u8]) =
    ("X-MeetingBaas-Signature", b"64ff50c37850d9e05107df037092b2fa6ab6122453f05b5a64af09c11c3a016a");

#[test]
fn each_delivery_is_a_line_with_what_became_of_it() {
    let (world, handler) = (World::new(), obliging());
    let requests: [Sent; 7] = [
        (b"/ok", &[SIGNED], COMPLETE),
        (b"/ok?x=1", &[("X-MeetingBaas-Signature", b"00")], COMPLETE),
        (b"/ok", &[], br#"{"event":"unheard.of"}"#),
        (b"/missing", &[], b"not JSON"),
        (b"/express", &[SIGNED], COMPLETE),
        (b"/ok", &[("svix-id", b"msg_1")], br#"{"event":"bot.completed"}"#),
        (b"/nothing", &[], b"a body of more than thirty-two bytes"),
    ];
    let target = handler.target();
    let forwarded = session(&world, &["--forward", &target, "--secret", "s", "--max-body", "32"], &requests);
    assert_lines("listen_forwarding", &forwarded);
    let strict =
        session(&world, &["--forward", &target, "--secret", "s", "--verify", "strict"], &requests[..4]);
    assert_lines("listen_strict", &strict);
    assert_lines("listen_recording", &session(&world, &["--secret", "s"], &requests[..3]));
    let (nobody, _kept) = nobody();
    let refused = session(&world, &["--forward", &nobody, "--secret", "s"], &requests[..1]);
    assert_lines("listen_refused", &refused);
    assert_lines("listen_idle", &session(&world, &["--secret", "s"], &[]));
}

#[test]
fn json_lines_carry_whole_deliveries_and_end_with_the_sums() {
    let (world, handler) = (World::new(), obliging());
    let mut listening = world.listen(&[
        "--forward",
        &handler.target(),
        "--secret",
        "s",
        "--verify",
        "strict",
        "--max-body",
        "32",
    ]);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let names = ["v", "type", "ingress", "inspector", "public", "artifacts", "fixtures"];
    assert_eq!(keys(&listening.ready), names);
    assert_eq!((&listening.ready["public"], &listening.ready["fixtures"]), (&Value::Null, &Value::Null));
    assert!(listening.ready["inspector"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    let mut lines = Vec::new();
    for (path, headers, body, kinds) in [
        (b"/ok".as_slice(), &[SIGNED][..], COMPLETE, &["received", "attempt"][..]),
        (b"/bad", &[SIGNED], COMPLETE, &["received", "attempt"]),
        (b"/ok", &[], COMPLETE, &["received", "not_forwarded"]),
        (b"/ok", &[], b"a body of more than thirty-two bytes", &["error"]),
    ] {
        exchange(&listening.address(), &request(path, headers, body)).unwrap();
        lines.extend(kinds.iter().map(|kind| listening.next(kind)));
    }
    let (status, rest) = listening.interrupt();
    assert_eq!((status.code(), rest.len()), (Some(130), 1));
    lines.extend(rest);
    for line in &lines[..6] {
        let mut line = line.clone();
        let fields = line.as_object_mut().unwrap();
        assert_eq!(fields.keys().take(2).collect::<Vec<_>>(), ["v", "type"]);
        fields.shift_remove("type");
        match (fields.shift_remove("attempt"), fields.shift_remove("reason")) {
            (Some(attempt), None) => assert_eq!(attempt, line["attempts"][0]),
            (None, Some(reason)) => assert_eq!(reason, "signature"),
            (None, None) => assert_eq!(line["attempts"], json!([])),
            both => panic!("{both:?}"),
        }
        assert_is_delivery(&line);
    }
    assert_eq!(keys(&lines[6]), ["v", "type", "code", "message", "hint"]);
    let mut summary = lines[7].clone();
    for quantile in ["p50_ms", "p99_ms"] {
        assert!(summary[quantile].take().is_f64(), "{}", lines[7]);
    }
    assert_eq!(
        summary.to_string(),
        r#"{"v":1,"type":"summary","received":3,"acknowledged":1,"failed":1,"not_forwarded":1,"held":0,"not_retried":0,"failures":{"400":1},"p50_ms":null,"p99_ms":null}"#
    );
}

#[test]
fn a_fixture_that_fires_again_is_followed_by_what_is_different_in_the_answer() {
    let (world, handler) = (World::new(), obliging());
    assert_eq!(world.run(&["fixtures", "init"]).code(), 0);
    let file = world.folder().join("fixtures/preview/meeting.failed.json");
    let content = std::fs::read_to_string(&file).unwrap();
    let terminal = Terminal::listen(
        &world,
        &["--forward", &handler.target(), "--fixtures", "fixtures", "--secret", "s"],
    );
    let mut shown = String::new();
    for (status, body) in [
        (401, r#"{"error":"Invalid signature"}"#),
        (200, r#"{"status":"success","bot":"\u001b[2J"}"#),
        (200, r#"{"status":"success","bot":"\u001b[2J"}"#),
        (500, "Internal\nServer Error"),
    ] {
        handler.become_(answer(status, &[("Content-Type", "application/json")], body.as_bytes()));
        std::fs::write(&file, &content).unwrap();
        shown += &terminal.next();
    }
    let (_, rest, _) = terminal.interrupt();
    assert_lines("listen_fires_again", &(shown + &rest));
}

#[test]
fn a_listen_does_not_hand_over_to_itself() {
    let (world, held) = (World::new(), HeldPort::take());
    let port = held.number().to_string();
    for own in [port.clone(), format!("http://127.0.0.1:{port}/hooks")] {
        let done = world.run_process(&[
            "listen",
            "--no-inspector",
            "--port",
            &port,
            "--route",
            &format!("bot.*={own}"),
        ]);
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(2), "{said}");
        assert!(said.contains("it would hand over to itself for ever"), "{said}");
    }
}
