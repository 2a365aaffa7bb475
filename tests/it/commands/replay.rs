//! `replay`: which deliveries it takes, in which order, and what it makes of them.

use serde_json::{Value, json};

use super::super::handler::Handler;
use super::super::world::{Done, World};
use super::{Transcript, assert_is_delivery, obliging, target};

/// Three recorded deliveries: #1 `meeting.started` was acknowledged, #2 `meeting.failed` was not, #3
/// `transcription.available` was.
fn recorded() -> (World, Handler) {
    let (world, handler) = (World::new(), obliging());
    for (event, path, code) in
        [("meeting.started", "/ok", 0), ("meeting.failed", "/bad", 3), ("transcription.available", "/ok", 0)]
    {
        assert_eq!(world.run(&["trigger", event, "--to", &target(&handler, path)]).code(), code);
    }
    handler.drain();
    (world, handler)
}

/// The wire events that reached the handler since it was asked last.
fn arrived(handler: &Handler) -> Vec<String> {
    let event =
        |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["event"].as_str().unwrap().to_owned();
    handler.drain().iter().map(|request| event(&request.body)).collect()
}

const STARTED: &str = "meeting.started";
const FAILED: &str = "failed";
const AVAILABLE: &str = "transcription_complete";

#[test]
fn each_way_of_choosing_takes_what_it_says_oldest_first() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["2"], &[FAILED]),
        (&["#3"], &[AVAILABLE]),
        (&["1", "#3"], &[STARTED, AVAILABLE]),
        (&["--last"], &[AVAILABLE]),
        (&["--last", "2"], &[FAILED, AVAILABLE]),
        (&["--last", "99"], &[STARTED, FAILED, AVAILABLE]),
        (&["--failed"], &[FAILED]),
        (&["--since", "1h"], &[STARTED, FAILED, AVAILABLE]),
        (&["--event", "meeting.*"], &[STARTED, FAILED]),
        (&["--event", "meeting.started"], &[STARTED]),
        (&["--event", "*.available"], &[AVAILABLE]),
        (&["--event", "meeting.*", "--last"], &[FAILED]),
        (&["--event", "meeting.s*", "--failed"], &[]),
        (&["--failed", "--last", "2", "--since", "10m"], &[FAILED]),
        (&["--event", "calendar.*"], &[]),
    ];
    for (choice, events) in cases {
        let (world, handler) = recorded();
        let to = target(&handler, "/ok");
        let done = world.run(&[&["replay"], *choice, &["--to", to.as_str(), "--json"]].concat());
        assert_eq!(done.code(), 0, "{choice:?}: {}", done.errors());
        assert_eq!(arrived(&handler), *events, "{choice:?}");
        let objects = done.objects();
        assert_eq!(objects.len(), events.len(), "{choice:?}");
        objects.iter().for_each(assert_is_delivery);
        let numbers: Vec<u64> = objects.iter().map(|object| object["number"].as_u64().unwrap()).collect();
        assert!(numbers.iter().copied().eq(4..4 + numbers.len() as u64), "{choice:?}: {numbers:?}");
        if events.is_empty() {
            assert_eq!(done.errors(), "nothing to replay: no recorded delivery matches\n");
        }
    }
    println!("inputs={} violations=0", cases.len());
}

#[test]
fn a_replay_is_signed_anew_and_linked_to_what_it_repeats() {
    let (world, handler) = recorded();
    let to = target(&handler, "/ok");
    let original = world.run(&["deliveries", "show", "2", "--json"]).objects().remove(0);
    let done =
        world.run(&["replay", original["id"].as_str().unwrap(), "--to", &to, "--json", "--secret", "new"]);
    let [object] = done.objects().try_into().unwrap();
    assert_is_delivery(&object);
    assert_eq!(
        (&object["replay_of"], &object["origin"], &object["signature"], &object["event_type"]),
        (&original["id"], &json!("replay"), &json!("valid"), &json!("meeting.failed"))
    );
    let request = handler.next();
    assert_eq!(request.body_text(), original["body"].as_str().unwrap());
    let signatures = |headers: &[(Vec<u8>, Vec<u8>)]| {
        let ours = |(name, _): &&(Vec<u8>, Vec<u8>)| name.eq_ignore_ascii_case(b"x-meetingbaas-signature");
        headers.iter().filter(ours).count()
    };
    assert_eq!(signatures(&request.headers), 1);
    let header =
        format!("X-MeetingBaas-Signature: {}", text(request.header("x-meetingbaas-signature").unwrap()));
    let verified =
        world.run_with_input(&["verify", "-", "--header", &header, "--secret", "new"], &request.body);
    assert_eq!(verified.text(), "valid\n");
    // Replayed once with success, it is not a failure any more.
    assert_eq!(
        world.run(&["replay", "--failed", "--to", &to]).errors(),
        "nothing to replay: no recorded delivery matches\n"
    );
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn edits_change_the_body_and_raw_changes_nothing() {
    let (world, handler) = recorded();
    let to = target(&handler, "/ok");
    let original = world.run(&["deliveries", "show", "2", "--json"]).objects().remove(0);
    let set = "data.error=\"access_denied\"";
    let done = world.run(&["replay", "2", "--to", &to, "--set", set, "--unset", "data.message", "--json"]);
    assert_eq!((done.code(), &done.objects()[0]["signature"]), (0, &json!("valid")));
    let body: Value = serde_json::from_slice(&handler.next().body).unwrap();
    assert_eq!((&body["data"]["error"], body["data"].get("message")), (&json!("access_denied"), None));

    let done = world.run(&["replay", "2", "--to", &to, "--raw", "--secret", "new", "--json"]);
    assert_eq!((done.code(), &done.objects()[0]["signature"]), (0, &json!("invalid")));
    let request = handler.next();
    assert_eq!(request.body_text(), original["body"].as_str().unwrap());
    let recorded: Vec<(String, String)> = serde_json::from_value(original["headers"].clone()).unwrap();
    let sent: Vec<(String, String)> =
        request.headers.iter().map(|(name, value)| (text(name).to_owned(), text(value).to_owned())).collect();
    let without_host = |fields: Vec<(String, String)>| -> Vec<_> {
        fields.into_iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")).collect()
    };
    assert_eq!(without_host(sent), without_host(recorded));
}

#[test]
fn a_replay_is_told_like_any_delivery_and_what_is_not_there_is_said() {
    let (world, handler) = recorded();
    let to = target(&handler, "/ok");
    let mut transcript = Transcript::of(&world);
    let (nobody, _kept) = super::nobody();
    let unknown = format!("dlv_{}", "0".repeat(32));
    for (arguments, code) in [
        (&["replay", "1", "--to", &to][..], 0),
        (&["replay", "--last", "2", "--to", &to], 0),
        (&["replay", "--failed", "--to", &target(&handler, "/unauthorized")], 3),
        (&["replay", "--failed", "--to", &nobody], 5),
        (&["replay", "--event", "nothing.*", "--to", &to], 0),
        (&["replay", "99", "--to", &to], 2),
        (&["replay", &unknown, "--to", &to], 2),
        (&["replay", "0", "--to", &to], 2),
        (&["replay", "dlv_12", "--to", &to], 2),
        (&["replay", "twelve", "--to", &to], 2),
        (&["replay", "--last", "--failed"], 2),
        (&["replay", "1", "--last"], 2),
        (&["replay", "1", "--raw", "--unset", "data"], 2),
        (&["replay", "1", "--unset", "data.no_such_key", "--to", &to], 2),
    ] {
        let done: Done = transcript.run(arguments);
        assert_eq!(done.code(), code, "{arguments:?}: {}", done.whole());
    }
    transcript.assert("replay");
}

#[test]
fn nothing_is_sent_when_one_of_several_ids_is_not_there() {
    let (world, handler) = recorded();
    let done = world.run(&["replay", "1", "99", "3", "--to", &target(&handler, "/ok")]);
    assert_eq!((done.code(), done.text().as_str()), (2, ""), "{}", done.whole());
    assert_eq!(arrived(&handler), Vec::<String>::new());
}

#[test]
fn a_glob_that_matches_no_known_event_is_warned_of() {
    let world = World::new();
    let done = world.run(&["replay", "--event", "metting.*", "--to", "127.0.0.1:9"]);
    insta::assert_snapshot!(done.errors(), @"
    warning: no known event matches `metting.*` of --event; did you mean `meeting.*`?
    nothing to replay: no recorded delivery matches
    ");
}

#[test]
fn a_replay_of_nothing_recorded_is_done_at_once() {
    let world = World::new();
    let done = world.run(&["replay", "--last", "--to", "127.0.0.1:9"]);
    assert_eq!(
        done.whole(),
        "exit: 0\n--- stdout\n--- stderr\nnothing to replay: no recorded delivery matches\n"
    );
    assert!(!world.folder().join(".mbaas-dev").exists());
}
