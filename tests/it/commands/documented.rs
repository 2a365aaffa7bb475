//! What is not as documented is told: in fixtures, before sending, in what was recorded.

use serde_json::{Value, json};

use super::super::handler::Handler;
use super::super::world::World;
use super::{Transcript, assert_whole};

#[test]
fn fixtures_are_held_against_the_schemas_of_their_events() {
    let world = World::new();
    let failed = |data: &str| {
        format!("{{\n  \"event\": \"bot.failed\",\n  \"data\": {data},\n  \"extra\": null\n}}\n")
    };
    for (file, source) in [
        (
            "mine/v2/bot.failed.json",
            failed(r#"{ "bot_id": "7", "event_id": null, "error_code": "BOT_NOT_ACEPTED", "sent_at": "{{ unix() }}" }"#),
        ),
        (
            "mine/v2/bot.failed@prose.json",
            r#"{"event":"bot.failed","data":{"bot_id":"{{ id('bot') }}","event_id":null,"error_code":"SIGTERM","error_message":"","extra":null}}"#.to_owned(),
        ),
        ("mine/callback/x.json", failed(r#"{ "bot_id": "{{ id('bot') }}", "eror_code": 7 }"#)),
        ("mine/v1/complete.json", r#"{"event":"complete","data":{"bot_id":"{{ id('bot') }}","speakers":[],"mp4":"","title":"x"}}"#.to_owned()),
        ("mine/new.json", r#"{"event":"bot.joined","data":{}}"#.to_owned()),
        ("mine/v2/broken.json", "{\n  \"event\": \"bot.failed\",\n}".to_owned()),
        ("mine/alert/mine.json", r#"{"alert_rule_id":"{{ uuid() }}","alert_type":"bot_crashed","suppressed_count":1.5}"#.to_owned()),
    ] {
        world.write(file, source);
    }
    let mut transcript = Transcript::of(&world);
    assert_eq!(transcript.run(&["fixtures", "validate", "mine"]).code(), 1);
    let objects = transcript.run(&["fixtures", "validate", "mine", "--contract", "v2", "--json"]).objects();
    assert_eq!(objects.len(), 3);
    assert_eq!(objects[0]["findings"][0]["line"], 3);
    assert_eq!(transcript.run(&["fixtures", "validate", "mine/v1"]).code(), 0);
    assert_eq!(transcript.run(&["fixtures", "list", "mine", "--contract", "callback"]).code(), 0);
    transcript.assert("fixtures_documented");
}

#[test]
fn what_breaks_the_schema_is_warned_of_and_sent_and_strict_refuses_it() {
    let (world, handler) = (World::new(), Handler::start());
    let to = handler.target();
    world.write("joined.json", r#"{"event": "bot.joined", "data": {"bot_id": "x"}}"#);
    world.write("text.json", "not JSON");
    world.write("large.json", r#"{"event": "meeting.started", "data": {"bot_id": 12345678901234567890}}"#);
    let mut transcript = Transcript::of(&world);
    for arguments in [
        &["bot.status_change", "--contract", "v2", "--set", "data.status.code=\"joining\""][..],
        &["bot.status_change", "--contract", "v1", "--set", "data.status.code=\"joining\""],
        &["meeting.failed", "--set", "data.error=7", "--unset", "data.bot_id", "--set", "data.mesage=\"\""],
        &["bot.completed", "--set", "data={}"],
        &["joined.json", "--contract", "v2"],
        &["large.json", "--raw"],
        &["text.json", "--raw"],
        // What is as documented is sent without a word.
        &["meeting.failed", "--set", "data.error=\"network_error\""],
        &["bot.completed", "--set", "data.video=null", "--strict"],
    ] {
        let plain =
            [&["trigger"], arguments, &["--to", &to, "--secret", "v2=whsec_MDEyMzQ1Njc4OWFiY2RlZg=="]]
                .concat();
        let done = transcript.run(&plain);
        assert_eq!(done.code(), 0, "{}", done.whole());
        handler.next();
        if done.errors().is_empty() {
            continue;
        }
        let refused = transcript.run(&[&plain[..], &["--strict"]].concat());
        assert_eq!((refused.code(), refused.text().as_str()), (2, ""), "{}", refused.whole());
        let printed = world.run(&[&plain[..], &["--strict", "--print"]].concat());
        assert_eq!(printed.code(), 2);
    }
    // Once for many, and not at all when people want quiet.
    let many = ["trigger", "meeting.failed", "--unset", "data.error", "--to", &to, "--count", "3"];
    let done = world.run(&many);
    assert_eq!(done.errors().matches("warning:").count(), 1, "{}", done.whole());
    assert_eq!(world.run(&[&many[..], &["-q"]].concat()).errors(), "");
    let text = transcript.text.replace("whsec_MDEyMzQ1Njc4OWFiY2RlZg==", "[V2 SECRET]");
    transcript.text = without_latency(&text);
    transcript.assert("trigger_documented");
    assert_eq!(handler.drain().len(), 6, "nothing that was refused was sent");
}

/// The time that an answer took is of no interest.
fn without_latency(text: &str) -> String {
    let mut settled = String::new();
    for line in text.split_inclusive('\n') {
        match line.split_once(" ms  ") {
            Some((before, after)) => {
                settled += before.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').trim_end();
                settled += &format!("  [TIME]  {after}");
            }
            None => settled += line,
        }
    }
    settled
}

#[test]
fn minutes_are_for_meetings_that_were_recorded() {
    let world = World::new();
    world.write("mine.json", r#"{"event": "complete"}"#);
    let mut transcript = Transcript::of(&world);
    for arguments in [
        &["meeting.failed", "--minutes", "5"][..],
        &["bot.completed@minimal", "--minutes", "5"],
        &["mine.json", "--minutes", "5"],
        &["mine.json", "--minutes", "5", "--raw"],
        &["meeting.completed", "--minutes", "481"],
        &["meeting.completed", "--minutes", "0"],
    ] {
        assert_eq!(transcript.run(&[&["trigger"], arguments, &["--to", "1"]].concat()).code(), 2);
    }
    transcript.assert("trigger_minutes");
}

#[test]
fn a_recorded_delivery_is_held_against_the_documentation() {
    let (world, handler) = (World::new(), Handler::start());
    let to = handler.target();
    world.write("joined.json", r#"{"event": "bot.joined", "data": {"bot_id": "x"}}"#);
    world.write("text.json", "not JSON");
    let secrets = ["--to", &to, "--secret", "v2=whsec_MDEyMzQ1Njc4OWFiY2RlZg=="];
    for arguments in [
        &["meeting.started"][..],
        &[
            "bot.failed",
            "--set",
            "data.error_code=\"NEW_CODE\"",
            "--set",
            "data.region=\"eu\"",
            "--unset",
            "extra",
        ],
        &["bot.failed@prose"],
        &["alert", "--secret", "s"],
        &["joined.json", "--contract", "v2"],
        &["text.json", "--raw"],
    ] {
        assert_eq!(world.run(&[&["trigger"], arguments, &secrets].concat()).code(), 0);
    }
    let drift = |number: &str| -> Value {
        let shown = world.run(&["deliveries", "show", number, "--json"]).objects().remove(0);
        shown["schema"].clone()
    };
    assert_eq!(drift("1")["findings"], json!([]));
    assert_eq!(drift("1")["name"], "preview/meeting.started");
    assert_eq!(drift("3")["name"], "v2/bot.failed@prose");
    assert_eq!(drift("4")["name"], "alert/alert");
    assert_eq!(drift("6"), Value::Null);
    let told = |number: &str| -> String {
        let shown = world.run(&["deliveries", "show", number]).text();
        let (facts, rest) = shown.split_once("\n\n").unwrap();
        let schema = facts.lines().find(|line| line.starts_with("  schema")).unwrap_or_default();
        let findings = rest.split("not as documented\n").nth(1).unwrap_or_default();
        format!("{schema}\n{}", findings.split("\n\n").next().unwrap())
    };
    assert_whole("show_drift", &["1", "2", "3", "5", "6"].map(told).join("\n"));
    let paths: Vec<Value> =
        drift("2")["findings"].as_array().unwrap().iter().map(|finding| finding["path"].clone()).collect();
    assert_eq!(paths, ["data.error_code", "data.region", "extra"]);
}
