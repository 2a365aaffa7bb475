//! What can be done with the record: compare, replay with a difference, export, import, prune; and `doctor`.

use serde_json::{Value, json};

use crate::handler::{Handler, answer, nobody};
use crate::world::World;

/// A project with a few deliveries: 1 and 2 are `meeting.failed` with different errors, 3 went to nobody.
fn recorded() -> (World, Handler) {
    let (world, handler) = (World::new(), Handler::start());
    let to = handler.target();
    let first = world.run(&["trigger", "meeting.failed", "--to", &to]);
    assert_eq!(first.code(), 0, "{}", first.errors());
    handler.become_(answer(500, &[("Content-Type", "text/plain")], b"one\ntwo\n"));
    let set = ["--set", "data.error=\"other\"", "--set", "data.more=[1,{\"a\":2}]", "--unset", "data.bot_id"];
    let second = world.run(&[&["trigger", "meeting.failed", "--to", &to], &set[..]].concat());
    assert_eq!(second.code(), 3, "{}", second.errors());
    let third = world.run(&["trigger", "meeting.started", "--to", &nobody()]);
    assert_eq!(third.code(), 5, "{}", third.errors());
    (world, handler)
}

#[test]
fn diff_tells_deliveries_apart_by_structure() {
    let (world, _handler) = recorded();
    let done = world.run(&["deliveries", "diff", "1", "#2"]);
    assert_eq!(done.code(), 0, "{}", done.errors());
    let text = done.text();
    assert!(text.starts_with("- #1  meeting.failed"), "{text}");
    assert!(text.contains("\n+ #2  meeting.failed"), "{text}");
    assert!(text.contains("  ~ data.error: \"") && text.contains(" → \"other\""), "{text}");
    assert!(text.contains("  + data.more: [1,{\"a\":2}]"), "{text}");
    assert!(text.contains("  - data.bot_id: \""), "{text}");
    assert!(text.contains("  ~ X-MeetingBaas-Signature: "), "{text}");
    assert!(!text.contains("event"), "what is the same is not shown: {text}");

    let objects = world.run(&["deliveries", "diff", "1", "2", "--json"]).objects();
    assert_eq!(objects.len(), 1);
    let object = &objects[0];
    assert_eq!(
        (&object["v"], &object["of"], &object["same"]),
        (&json!(1), &json!("requests"), &json!(false))
    );
    assert_eq!((&object["a"]["number"], &object["b"]["number"]), (&json!(1), &json!(2)));
    let changes = object["body"]["changes"].as_array().unwrap();
    let of = |path: &str| changes.iter().find(|change| change["path"] == path).unwrap();
    assert_eq!(of("data.more"), &json!({"change": "added", "path": "data.more", "value": [1, {"a": 2}]}));
    assert_eq!(of("data.error")["to"], "other");
    assert_eq!(of("data.bot_id")["change"], "removed");
}

#[test]
fn diff_of_what_is_the_same_prints_nothing() {
    let (world, _handler) = recorded();
    let done = world.run(&["deliveries", "diff", "2", "2"]);
    assert_eq!((done.code(), done.text().as_str()), (0, ""));
    assert!(done.errors().contains("no difference"), "{}", done.errors());
    assert_eq!(world.run(&["deliveries", "diff", "2", "2", "--json"]).objects()[0]["same"], true);
    let missing = world.run(&["deliveries", "diff", "2", "9"]);
    assert_eq!(missing.code(), 2);
    assert!(missing.errors().contains("there is no delivery #9"), "{}", missing.errors());
}

#[test]
fn diff_of_answers_compares_status_latency_headers_and_body() {
    let (world, _handler) = recorded();
    let text = world.run(&["deliveries", "diff", "1", "2", "--answers"]).text();
    for line in [
        "status   200 → 500",
        "latency  ",
        "  -{\"status\":\"success\"}",
        "  +one",
        "  ~ content-type: application/json → text/plain",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    let object = &world.run(&["deliveries", "diff", "2", "3", "--answers", "--json"]).objects()[0];
    assert_eq!(object["status"], json!({"from": 500, "to": null}));
    assert_eq!(object["error"], json!({"from": null, "to": "refused"}));
    assert!(object["latency_ms"]["from"].is_number());
}

#[test]
fn replay_shows_what_the_handler_answered_then_and_now() {
    let (world, handler) = recorded();
    handler.become_(answer(200, &[], br#"{"status":"success","took":7}"#));
    let done = world.run(&["replay", "1", "--diff", "--to", &handler.target()]);
    assert_eq!(done.code(), 0, "{}", done.errors());
    let text = done.text();
    assert!(text.contains("status   200, as before") && text.contains("  + took: 7"), "{text}");

    let done = world.run(&["replay", "2", "3", "--diff", "--json", "--to", &handler.target()]);
    let diffs: Vec<Value> = done.objects().into_iter().map(|object| object["diff"].clone()).collect();
    assert_eq!(diffs.len(), 2);
    assert_eq!(diffs[0]["status"], json!({"from": 500, "to": 200}));
    assert_eq!(diffs[0]["body"]["kind"], "text");
    assert_eq!(diffs[1]["error"], json!({"from": "refused", "to": null}));
    let plain = world.run(&["replay", "1", "--json", "--to", &handler.target()]).objects();
    assert!(plain[0].get("diff").is_none());
}

#[test]
fn replay_through_a_running_listen_shows_the_difference_too() {
    let handler = Handler::start();
    let world = World::new();
    let mut listen = world.listen(&["--forward", &handler.target()]);
    assert_eq!(world.run(&["trigger", "meeting.failed"]).code(), 0);
    listen.next("attempt");
    handler.become_(answer(401, &[("Content-Type", "application/json")], br#"{"error":"no"}"#));
    let done = world.run(&["replay", "--last", "--diff"]);
    assert_eq!(done.code(), 3, "{}", done.errors());
    assert!(done.text().contains("status   200 → 401"), "{}", done.text());
    assert!(done.text().contains("  - status: \"success\"\n"), "{}", done.text());
}

#[test]
fn hostile_bodies_are_compared_without_reaching_the_terminal() {
    let (world, handler) = (World::new(), Handler::start());
    let hostile = "{\"a\u{202e}\":\"\u{9b}2J\",\"b\":\"x\"}";
    for (name, body) in [("a.json", "{}"), ("b.json", hostile), ("c.txt", "\u{1b}]0;title\u{7}\r\nx")] {
        let file = world.write(name, body);
        let sent = world.run(&["trigger", file.to_str().unwrap(), "--raw", "--to", &handler.target()]);
        assert_eq!(sent.code(), 0, "{}", sent.errors());
    }
    for pair in [["1", "2"], ["2", "3"], ["1", "3"]] {
        let text = world.run(&["-v", "deliveries", "diff", pair[0], pair[1]]).text();
        assert!(text.lines().count() > 3);
        let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(bad), "{text:?}");
    }
}
