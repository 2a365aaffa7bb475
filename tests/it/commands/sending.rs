//! `trigger`: what it sends, what it says, and how it ends.

use serde_json::{Value, json};

use super::super::handler::{Handler, nobody};
use super::super::world::World;
use super::{Transcript, assert_is_delivery, obliging, target};

#[test]
fn a_redirect_is_told_of_as_the_sender_of_the_event_takes_it() {
    let (world, handler) = (World::new(), Handler::answering(302, ""));
    let hint = |event: &str| {
        let done = world.run(&["trigger", event, "--contract", "v1", "--to", &handler.target()]);
        done.text().lines().nth(1).unwrap_or_default().trim().to_owned()
    };
    insta::assert_snapshot!(format!("{}\n{}", hint("bot.status_change"), hint("complete")), @r"
    hint: a redirect is not tried again by the sender of this event, which follows none: give the final URL
    hint: a redirect is a failure to Meeting BaaS, which follows none: give the final URL
    ");
}

#[test]
fn a_secret_that_would_end_a_header_is_refused_wherever_it_comes_from_and_nothing_is_sent() {
    let (world, handler) = (World::new(), Handler::start());
    let target = handler.target();
    let trigger = |more: &[&str]| {
        let trigger = ["trigger", "bot.completed", "--contract", "callback", "--to", &target];
        let done = world.run(&[&trigger[..], more].concat());
        assert_eq!(done.code(), 2, "{}", done.whole());
        done.errors()
    };
    let mut said = trigger(&["--secret", "a\r\nX-Injected: 1"]) + &trigger(&["--secret", "callback= a"]);
    world.write("webhook_config.json", json!({"webhook_url": "http://x", "secret": "a\nb"}).to_string());
    said += &trigger(&[]);
    std::fs::remove_file(world.folder().join("webhook_config.json")).unwrap();
    world.write("mbaas-dev.toml", "[secrets]\ncallback = \"\\u001b[2J\"\n");
    said += &trigger(&[]);
    assert!(handler.drain().is_empty());
    insta::assert_snapshot!(said.replace(&world.folder().display().to_string(), "[FOLDER]"), @r"
    error: the secret from --secret has a line break or another control character in it
    error: the secret for callback has a line break, another control character or white space at its ends: callback sends it as it is, in a header
    hint: give another one with `--secret callback=…`
    error: [FOLDER]/webhook_config.json: `secret` has a line break or another control character in it
    error: the secret from [FOLDER]/mbaas-dev.toml has a line break or another control character in it
    ");
}

/// A path of the obliging handler, the event to send there, the code that `trigger` exits with, and the status.
const ANSWERS: [(&str, &str, u8, u16); 18] = [
    ("/ok", "meeting.started", 0, 200),
    ("/lines", "meeting.completed@minimal", 0, 201),
    ("/nothing", "transcription.available", 0, 204),
    ("/moved", "meeting.started", 3, 308),
    ("/bad", "meeting.started", 3, 400),
    ("/unauthorized", "meeting.started", 3, 401),
    ("/forbidden", "meeting.started", 3, 403),
    ("/missing", "meeting.started", 3, 404),
    ("/method", "meeting.started", 3, 405),
    ("/large", "meeting.completed@long", 3, 413),
    ("/type", "meeting.started", 3, 415),
    ("/teapot", "meeting.started", 3, 418),
    ("/fields", "meeting.started", 3, 422),
    ("/express", "meeting.started", 3, 500),
    ("/flask", "meeting.started", 3, 500),
    ("/untitled", "meeting.started", 3, 500),
    ("/binary", "meeting.started", 3, 502),
    ("/busy", "meeting.started", 3, 503),
];

#[test]
fn every_answer_of_a_handler_is_told_with_what_to_do_about_it() {
    let (world, handler) = (World::new(), obliging());
    let (nobody, _kept) = nobody();
    let mut transcript = Transcript::of(&world);
    for (path, event, code, status) in ANSWERS {
        let done = transcript.run(&["trigger", event, "--to", &target(&handler, path)]);
        assert_eq!((done.code(), done.errors().as_str()), (code, ""), "{path}");
        assert!(done.text().contains(&format!("  {status}  ")), "{}", done.text());
        assert_eq!(done.text().contains("hint: "), code != 0, "{}", done.text());
    }
    let done = transcript.run(&["trigger", "meeting.started", "--to", &nobody]);
    assert_eq!(done.code(), 5);
    for mode in ["wrong-secret", "tampered", "missing", "malformed"] {
        let to = target(&handler, "/unauthorized");
        let done = transcript.run(&["trigger", "meeting.failed", "--sign", mode, "--to", &to]);
        assert_eq!(done.code(), 3);
    }
    transcript.assert("trigger_answers");
}

#[test]
fn every_answer_of_a_handler_is_one_json_object() {
    let (world, handler) = (World::new(), obliging());
    let (nobody, _kept) = nobody();
    let mut transcript = Transcript::of(&world);
    for (path, event, code, status) in ANSWERS {
        let done = transcript.run(&["trigger", event, "--json", "--to", &target(&handler, path)]);
        let [object] = done.objects().try_into().unwrap();
        assert_is_delivery(&object);
        assert_eq!((done.code(), done.errors().as_str()), (code, ""), "{path}");
        assert_eq!(object["attempts"][0]["status"], status);
        assert_eq!(object["origin"], "trigger");
    }
    let done = transcript.run(&["trigger", "meeting.started", "--json", "--to", &nobody]);
    assert_eq!((done.code(), &done.objects()[0]["attempts"][0]["error"]), (5, &json!("refused")));
    transcript.assert("trigger_json");
    // The same objects are what the record has, newest first.
    let listed = world.run(&["deliveries", "list", "--json"]).objects();
    assert_eq!(listed.len(), ANSWERS.len() + 1);
    listed.iter().for_each(assert_is_delivery);
    assert_eq!(listed[0], done.objects()[0]);
}

#[test]
fn several_events_have_ids_of_their_own_and_the_worst_end_counts() {
    let (world, handler) = (World::new(), obliging());
    let to = target(&handler, "/ok");
    let (nobody, _kept) = nobody();
    let mut transcript = Transcript::of(&world);
    let done = transcript.run(&["trigger", "meeting.completed", "--count", "3", "--json", "--to", &to]);
    let objects = done.objects();
    assert_eq!(done.code(), 0);
    assert_eq!(objects.len(), 3);
    objects.iter().for_each(assert_is_delivery);
    let numbers: Vec<_> = objects.iter().map(|object| object["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3]);
    let bots: Vec<Value> = (0..3).map(|_| body_of(&handler)["data"]["bot_id"].clone()).collect();
    assert!(bots[0] != bots[1] && bots[1] != bots[2] && bots[0] != bots[2], "{bots:?}");
    let done = transcript.run(&["trigger", "event.added", "--count", "2", "--rate", "50", "--to", &to]);
    assert_eq!((done.code(), done.text().lines().count()), (0, 2));
    let done = transcript.run(&["trigger", "event.added", "--count", "2", "--quiet", "--to", &nobody]);
    assert_eq!((done.code(), done.errors().as_str()), (5, ""));
    transcript.assert("trigger_several");
}

fn body_of(handler: &Handler) -> Value {
    serde_json::from_slice(&handler.next().body).unwrap()
}

#[test]
fn verbose_shows_the_whole_answer_and_quiet_only_data() {
    let (world, handler) = (World::new(), obliging());
    let mut transcript = Transcript::of(&world);
    for (flag, path) in
        [("-v", "/lines"), ("-v", "/express"), ("-v", "/nothing"), ("-q", "/ok"), ("-q", "/missing")]
    {
        drop(transcript.run(&["trigger", "event.deleted", flag, "--to", &target(&handler, path)]));
    }
    transcript.assert("trigger_volume");
}

#[test]
fn a_request_is_printed_and_not_sent() {
    let world = World::new();
    let mut transcript = Transcript::of(&world);
    let secret = ["--secret", "your-webhook-secret-key"];
    for arguments in [
        &["trigger", "meeting.failed", "--print"][..],
        &["trigger", "meeting.failed", "--print", "--to", "https://example.test/hooks?k=v"],
        &["trigger", "meeting.failed", "--curl", "--set-string", "data.message=It's \"not\" $HOME `here`"],
        &["trigger", "meeting.failed", "--curl", "--sign", "missing", "--to", "3000/webhooks/meetingbaas"],
    ] {
        let done = transcript.run(&[arguments, &secret].concat());
        assert_eq!((done.code(), done.errors().as_str()), (0, ""));
    }
    transcript.assert("trigger_print");
    assert_eq!(world.run(&["deliveries", "list", "--json"]).whole(), "exit: 0\n--- stdout\n--- stderr\n");
}

#[test]
fn a_printed_curl_command_sends_what_trigger_would_have_sent() {
    let (world, handler) = (World::new(), obliging());
    let Ok(_) = std::process::Command::new("curl").arg("--version").output() else {
        return println!("skipped: curl is not installed");
    };
    let binary = world.write("binary.bin", b"\0\x01'\xff@\x1b[31m\n".as_slice());
    let at_sign = world.write("at.txt", "@/etc/hostname");
    for event in ["meeting.completed@unicode", binary.to_str().unwrap(), at_sign.to_str().unwrap()] {
        let raw: &[&str] = if event.starts_with('/') { &["--raw"] } else { &[] };
        let to = target(&handler, "/ok");
        let common = [&["trigger", event, "--to", to.as_str()], raw].concat();
        let curl = world.run(&[common.as_slice(), &["--curl"]].concat());
        let pasted = std::process::Command::new("sh").arg("-c").arg(curl.text()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&pasted.stdout), r#"{"status":"success"}"#, "{}", curl.text());
        let by_curl = handler.next();
        let printed = world.run(&[common.as_slice(), &["--print"]].concat()).stdout;
        let body_of_print = printed.windows(2).position(|end| end == b"\n\n").unwrap() + 2;
        // Ids differ between two commands, so the length has to do for the one with ids.
        assert_eq!(by_curl.body.len(), printed[body_of_print..].len(), "{event}");
        let done = world.run_with_input(
            &["verify", "-", "--header", &signature(by_curl.header("x-meetingbaas-signature").unwrap())],
            &by_curl.body,
        );
        assert_eq!(done.text(), "valid\n", "{event}");
        assert_eq!(by_curl.header("content-type"), Some(&b"application/json"[..]));
    }
}

fn signature(value: &[u8]) -> String {
    format!("X-MeetingBaas-Signature: {}", std::str::from_utf8(value).unwrap())
}

#[test]
fn files_and_standard_input_are_filled_in_edited_and_signed_or_sent_raw() {
    let (world, handler) = (World::new(), obliging());
    let to = target(&handler, "/ok");
    let mut transcript = Transcript::of(&world);
    let template =
        r#"{ "event": "complete", "data": { "bot_id": "{{ id('bot') }}", "n": 1.0, "list": [1, 2] } }"#;
    world.write("event.json", template);
    world.write("other.txt", r#"{"event":"something.new"}"#);
    world.write("not json.bin", b"\xff\0raw");

    let done = transcript.run(&[
        "trigger",
        "event.json",
        "--to",
        &to,
        "--set",
        "data.list[2]=null",
        "--set-string",
        "data.m=1",
        "--unset",
        "data.n",
    ]);
    assert_eq!(done.code(), 0, "{}", done.whole());
    let mut body = body_of(&handler);
    assert_eq!(body["data"]["bot_id"].as_str().unwrap().len(), 36);
    body["data"]["bot_id"].take();
    assert_eq!(body, json!({"event": "complete", "data": {"bot_id": null, "list": [1, 2, null], "m": "1"}}));

    let done = transcript.run_with_input(&["trigger", "-", "--to", &to], template.as_bytes());
    assert_eq!(done.code(), 0, "{}", done.whole());
    assert_eq!(body_of(&handler)["data"]["n"], 1);

    // Edits are made in the order given, of whatever kind they are.
    let base = ["trigger", "event.json", "--to", &to, "--json"];
    for (edits, expected) in [
        (&["--unset", "data.n", "--set", "data.n=2"][..], json!(2)),
        (&["--set", "data.n=2", "--unset", "data.n"], Value::Null),
        (&["--set-string", "data.n=a", "--set", "data.n=3"], json!(3)),
        (&["--unset", "data.list", "--set", "data.n=4", "--set-string", "data.n=5"], json!("5")),
    ] {
        assert_eq!(world.run(&[&base[..], edits].concat()).code(), 0);
        assert_eq!(body_of(&handler)["data"]["n"], expected, "{edits:?}");
    }

    let done = transcript.run_with_input(&["trigger", "-", "--raw", "--to", &to], template.as_bytes());
    assert_eq!((done.code(), handler.next().body_text()), (0, template));
    let done = transcript.run(&["trigger", "./not json.bin", "--raw", "--to", &to]);
    assert_eq!((done.code(), handler.next().body.as_slice()), (0, &b"\xff\0raw"[..]));
    // A file without a path in its name, and an event that the catalogue does not know.
    let done = transcript.run(&["trigger", "other.txt", "--to", &to]);
    assert_eq!((done.code(), handler.next().body_text()), (0, r#"{"event":"something.new"}"#));
    let done = transcript.run_with_input(&["trigger", "-", "--raw", "--to", &to, "-q"], b"");
    assert_eq!((done.code(), handler.next().body_text()), (0, ""));
    transcript.assert("trigger_files");
}

#[test]
fn trigger_goes_through_the_running_listen_with_its_secret_and_is_recorded_once() {
    let (world, handler) = (World::new(), obliging());
    let listening = world.listen(&["--forward", &target(&handler, "/ok"), "--secret", "of the listen"]);
    let done = world.run(&["trigger", "meeting.started", "--json"]);
    let [object] = done.objects().try_into().unwrap();
    assert_is_delivery(&object);
    assert_eq!(
        (done.code(), &object["signature"], &object["origin"]),
        (0, &json!("valid"), &json!("trigger"))
    );
    let request = handler.next();
    let header = signature(request.header("x-meetingbaas-signature").unwrap());
    assert!(request.headers.iter().all(|(name, _)| !name.starts_with(b"mbaas-dev")), "{:?}", request.headers);
    for (secret, verdict) in
        [(&["--secret", "of the listen"][..], "valid\n"), (&[], "valid\n"), (&["--secret", "x"], "invalid\n")]
    {
        let arguments = [&["verify", "-", "--header", header.as_str()], secret].concat();
        assert_eq!(world.run_with_input(&arguments, &request.body).text(), verdict);
    }
    assert_eq!(world.run(&["secret", "show"]).text(), "of the listen\n");
    // A secret that is given counts more, and then the listen sees that it is not its own.
    let done = world.run(&["trigger", "meeting.failed", "--json", "--secret", "another"]);
    assert_eq!((done.code(), &done.objects()[0]["signature"]), (0, &json!("invalid")));
    // The ingress by its address is the same as the running listen: nothing is recorded twice.
    let done = world.run(&["trigger", "event.updated", "--json", "--to", &listening.address()]);
    assert_eq!((done.code(), &done.objects()[0]["number"]), (0, &json!(3)));
    assert_eq!(world.run(&["deliveries", "list", "--json"]).objects().len(), 3);
    let (status, _) = listening.interrupt();
    assert_eq!(status.code(), Some(130));
    let done = world.run(&["trigger", "event.updated"]);
    assert_eq!(done.code(), 2, "{}", done.whole());
}
