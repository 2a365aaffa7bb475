//! `events`, `sign`, `verify` and `secret`: what there is to send, and what it is signed with.

use std::process::Output;

use serde_json::{Value, json};

use super::super::world::World;
use super::{Terminal, Transcript, assert_whole, obliging, target};

/// The sample of the Webhooks API page: secret, body, signature.
const SECRET: &str = "your-webhook-secret-key";
const BODY: &[u8] =
    br#"{"event":"transcription_complete","data":{"bot_id":"123e4567-e89b-12d3-a456-426614174000"}}"#;
const SIGNATURE: &str = "84308eded0c86e084abb2663652a1dfa00aca72bba0d3c98b080a6211700626f";

#[test]
fn events_are_listed_and_shown_for_people_and_for_programs() {
    let world = World::new();
    let mut transcript = Transcript::of(&world);
    let done = transcript.run(&["events", "list"]);
    assert_eq!(done.text().lines().filter(|line| !line.starts_with(' ')).count(), 29);
    let done = transcript.run(&["events", "list", "--json"]);
    let objects = done.objects();
    assert_eq!(objects.len(), 29);
    for object in &objects {
        let keys: Vec<&String> = object.as_object().unwrap().keys().collect();
        let expected = [
            "v",
            "contract",
            "event_type",
            "variant",
            "wire_event",
            "payload",
            "meaning",
            "note",
            "takes_minutes",
            "variants",
        ];
        assert_eq!(keys, expected);
    }
    let wire = |name: &str| objects.iter().find(|o| o["event_type"] == name).unwrap()["wire_event"].clone();
    assert_eq!([wire("meeting.completed"), wire("meeting.failed")], [json!("complete"), json!("failed")]);
    assert_eq!(wire("transcription.available"), "transcription_complete");
    let alerts = transcript.run(&["events", "list", "--contract", "alert"]);
    assert_eq!(alerts.code(), 0);
    transcript.assert("events_list");

    let mut transcript = Transcript::of(&world);
    for name in
        ["meeting.failed", "meeting.completed@minimal", "calendar.synced", "bot.completed@prose", "alert"]
    {
        drop(transcript.run(&["events", "show", name]));
        let object = transcript.run(&["events", "show", name, "--json"]).objects().remove(0);
        assert!(object["sample"].is_object());
    }
    for name in [
        "meeting.complete",
        "bot.complete",
        "meeting.failed@acces_denied",
        "meeting.failed@zzz",
        "Meeting.Failed",
    ] {
        assert_eq!(transcript.run(&["events", "show", name]).code(), 2);
    }
    assert_eq!(transcript.run(&["events", "show", "meeting.failed", "--contract", "v1"]).code(), 2);
    assert_eq!(transcript.run(&["events", "show", "complete", "--contract", "preview"]).code(), 2);
    transcript.assert("events_show");
    assert!(!world.folder().join(".mbaas-dev").exists(), "looking at events left a trace");
}

#[test]
fn every_listed_event_and_variant_can_be_shown() {
    let world = World::new();
    let mut shown = 0;
    for object in world.run(&["events", "list", "--json"]).objects() {
        let event = object["event_type"].as_str().unwrap();
        let contract = object["contract"].as_str().unwrap();
        let variants =
            object["variants"].as_array().unwrap().iter().map(|v| format!("{event}@{}", v.as_str().unwrap()));
        for name in std::iter::once(event.to_owned()).chain(variants) {
            let done = world.run(&["events", "show", &name, "--contract", contract, "--json"]);
            let shown_event = &done.objects()[0];
            assert_eq!(shown_event["sample"]["event"], object["wire_event"], "{name}");
            assert!(!shown_event["schema"]["fields"].as_array().unwrap().is_empty(), "{name}");
            shown += 1;
        }
    }
    assert!(shown >= 25, "{shown}");
    println!("inputs={shown} violations=0");
}

#[test]
fn what_is_signed_is_what_the_page_signs_and_verifies() {
    let world = World::new();
    world.write("body.json", BODY);
    let mut transcript = Transcript::of(&world);
    let header = format!("X-MeetingBaas-Signature: {SIGNATURE}");
    let done = transcript.run(&["sign", "body.json", "--secret", SECRET]);
    assert_eq!(done.text(), format!("{header}\n"));
    let done = transcript.run_with_input(&["sign", "-", "--json", "--secret", SECRET], BODY);
    assert_eq!(done.objects(), [json!({"v": 1, "headers": {"X-MeetingBaas-Signature": SIGNATURE}})]);
    let wrong = header.replace('8', "9");
    for (arguments, code) in [
        (&["verify", "body.json", "--header", &header, "--secret", SECRET][..], 0),
        (&["verify", "body.json", "--header", &header, "--secret", SECRET, "--json"], 0),
        (&["verify", "body.json", "--header", &header, "--secret", "another"], 4),
        (&["verify", "body.json", "--header", &wrong, "--secret", SECRET], 4),
        (&["verify", "body.json", "--header", &header, "--header", &header, "--secret", SECRET], 4),
        (&["verify", "body.json", "--secret", SECRET], 4),
        (&["verify", "body.json", "--secret", SECRET, "--json"], 4),
        (&["verify", "body.json", "--header", "X-MeetingBaas-Signature", "--secret", SECRET], 2),
        (&["verify", "body.json", "--contract", "v2", "--header", &header, "--secret", SECRET], 2),
        (&["verify", "body.json", "--header", "svix-id: msg_1", "--secret", SECRET], 2),
        (&["verify", "nobody.json"], 2),
        (&["verify", "#1"], 2),
        (&["sign", "body.json", "--contract", "v2", "--secret", SECRET], 2),
        (&["sign", "body.json", "--contract", "v2", "--secret", "whsec_nonsense!"], 2),
        (&["sign", "body.json", "--at", "2026-11-24T09:05:52Z", "--secret", SECRET], 2),
        (&["sign", "body.json", "--header-style", "standard", "--secret", SECRET], 2),
        (&["sign", "body.json", "--contract", "v2", "--id", "no.full.stops"], 2),
        (&["sign", "body.json", "--contract", "v3"], 2),
        (&["sign", "nobody.json"], 2),
    ] {
        assert_eq!(transcript.run(arguments).code(), code, "{arguments:?}");
    }
    transcript.assert("sign_and_verify");
}

#[test]
fn a_recorded_delivery_is_verified_as_it_was_received() {
    let (world, handler) = (World::new(), obliging());
    let to = target(&handler, "/ok");
    for (mode, verdict, code) in
        [("valid", "valid\n", 0), ("tampered", "invalid\n", 4), ("missing", "missing\n", 4)]
    {
        let done = world.run(&["trigger", "meeting.failed", "--sign", mode, "--to", &to, "--json"]);
        let object = done.objects().remove(0);
        for selector in [object["id"].as_str().unwrap().to_owned(), format!("#{}", object["number"])] {
            let done = world.run(&["verify", &selector]);
            assert_eq!((done.text().as_str(), done.code()), (verdict, code), "{mode}");
            assert_eq!(world.run(&["verify", &selector, "--secret", "other"]).code(), 4);
        }
    }
}

fn secret_of(output: &Output) -> (Value, Value) {
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    (object["secret"].clone(), object["source"].clone())
}

#[test]
fn a_generated_secret_stays_the_same_until_a_new_one_is_asked_for() {
    let world = World::new();
    let first = world.run(&["secret", "show"]);
    assert_eq!((first.code(), first.errors().as_str()), (0, ""));
    let text = first.text();
    let key = text.trim_end().strip_prefix("whsec_").unwrap();
    assert_eq!(key.len(), 44, "32 bytes in base64");
    for _ in 0..3 {
        assert_eq!(world.run(&["secret", "show"]).text(), text);
        assert_eq!(world.run_process(&["secret", "show"]).stdout, text.as_bytes());
    }
    let second = world.run(&["secret", "new"]);
    assert!(second.text() != text && second.text().starts_with("whsec_"), "{}", second.whole());
    assert_eq!(world.run(&["secret", "show"]).text(), second.text());
    let mut transcript = Transcript::of(&world);
    drop(transcript.run(&["secret", "new", "--json"]));
    drop(transcript.run(&["secret", "show", "--json"]));
    drop(transcript.run(&["secret", "show", "--json", "--secret", "given"]));
    drop(transcript.run(&["secret", "new", "--quiet"]));
    transcript.assert("secret");
    let mode = std::os::unix::fs::PermissionsExt::mode;
    let permissions =
        |name: &str| mode(&std::fs::metadata(world.folder().join(name)).unwrap().permissions()) & 0o777;
    assert_eq!((permissions(".mbaas-dev"), permissions(".mbaas-dev/secrets.json")), (0o700, 0o600));
    assert_eq!(std::fs::read(world.folder().join(".mbaas-dev/.gitignore")).unwrap(), b"*\n");
}

#[test]
fn the_secret_is_that_of_the_flag_then_the_listen_then_the_environment_then_the_file_then_the_project() {
    let world = World::new();
    let show = |environment: Option<&str>, more: &[&str]| {
        let mut command = world.command(&[&["secret", "show", "--json"], more].concat());
        command.envs(environment.map(|secret| ("MBAAS_DEV_SECRET", secret)));
        secret_of(&command.output().unwrap())
    };
    let project = show(None, &[]);
    assert_eq!(project.1, "this project (generated)");
    world.write(
        "webhook_config.json",
        r#"{"webhook_url": "https://x.test/hooks", "secret": "of the file", "enabled": true}"#,
    );
    world.write("other.json", r#"{"webhook_url": "https://x.test", "secret": "of the other file"}"#);
    world.write("silent.json", r#"{"webhook_url": "https://x.test/hooks"}"#);
    let (file, source) = show(None, &[]);
    assert_eq!(file, "of the file");
    assert!(source.as_str().unwrap().ends_with("webhook_config.json"), "{source}");
    assert_eq!(show(None, &["--config", "other.json"]).0, "of the other file");
    assert_eq!(show(None, &["--config", "silent.json"]), project);
    assert_eq!(
        show(Some("of the environment"), &[]),
        (json!("of the environment"), json!("MBAAS_DEV_SECRET"))
    );
    assert_eq!(show(Some("of the environment"), &["--config", "other.json"]).0, "of the environment");
    assert_eq!(
        show(Some("of the environment"), &["--secret", "of the flag"]),
        (json!("of the flag"), json!("--secret"))
    );

    let listening = world.listen(&["--secret", "of the listen"]);
    assert_eq!(show(None, &[]), (json!("of the listen"), json!("the running listen")));
    assert_eq!(show(Some("of the environment"), &["--config", "other.json"]).0, "of the listen");
    assert_eq!(show(Some("of the environment"), &["--secret", "of the flag"]).0, "of the flag");
    let new = |environment: &[(&str, &str)], more: &[&str]| {
        let mut command = world.command(&[&["secret", "new"], more].concat());
        String::from_utf8(command.envs(environment.iter().copied()).output().unwrap().stderr).unwrap()
    };
    let counts = |origin: &str| format!("note: this one is not in use: {origin} counts before it\n");
    let file = world.folder().join("webhook_config.json").display().to_string();
    assert_eq!(new(&[], &[]), counts(&file));
    assert_eq!(new(&[("MBAAS_DEV_SECRET", "s")], &[]), counts("MBAAS_DEV_SECRET"));
    assert_eq!(new(&[("MBAAS_DEV_SECRET_V1", "s")], &["--contract", "v1"]), counts("MBAAS_DEV_SECRET_V1"));
    assert_eq!(
        new(&[], &["--config", "silent.json"]),
        "note: the running listen keeps its secret until it is started again\n"
    );
    assert_eq!(listening.interrupt().0.code(), Some(130));
    assert_eq!(show(None, &[]).0, "of the file");
    // A listen follows the same order, and says where its secret is from without saying the secret.
    for (environment, more, source) in [
        (None, &[][..], "from [FOLDER]/webhook_config.json"),
        (Some("of the environment"), &[], "from MBAAS_DEV_SECRET"),
        (Some("of the environment"), &["--secret", "of the flag"], "from --secret"),
        (None, &["--config", "silent.json"], "from this project (generated)"),
    ] {
        let greeting = greeting(&world, environment, more);
        assert!(greeting.contains(source), "{greeting}");
        assert!(!greeting.contains("of the ") && !greeting.contains("whsec_"), "{greeting}");
    }
}

/// What `listen` says at its start.
fn greeting(world: &World, environment: Option<&str>, more: &[&str]) -> String {
    let mut command = world.command(&[&["listen", "--port", "0"], more].concat());
    command.envs(environment.map(|secret| ("MBAAS_DEV_SECRET", secret)));
    let terminal = Terminal::start(command);
    let said = terminal.greeting.clone();
    assert_eq!(terminal.interrupt().0, Some(130));
    said.replace(world.folder().to_str().unwrap(), "[FOLDER]")
}

#[test]
fn listen_greets_with_where_it_listens_where_it_forwards_and_what_to_try() {
    let world = World::new();
    let with_target = greeting(&world, None, &["--forward", "3000/webhooks/meetingbaas"]);
    let without = greeting(&world, None, &["--secret", "s"]);
    let _other = world.listen(&[]);
    let second = greeting(&world, None, &["--forward", "https://example.test/hooks"]);
    assert_whole("listen_greeting", &format!("{with_target}{without}{second}"));
    let open = greeting(&world, None, &["--bind", "0.0.0.0"]);
    assert!(open.contains("\n              other hosts are let in as well (--bind 0.0.0.0)\n"), "{open}");
}
