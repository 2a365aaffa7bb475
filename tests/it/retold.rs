//! What was recorded told again: as a scenario, as a fixture, as the life of one bot.

use serde_json::Value;

use crate::handler::{Handler, RawRequest, answer};
use crate::world::{Done, World};

const WHSEC: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const BOT: &str = "3f2c8a51-0d8e-4b77-9a63-5e1f0c2d7b94";

fn body(request: &RawRequest) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

/// Plays a scenario about the bot, as slowly as in reality on this clock.
fn play(world: &World, handler: &Handler, arguments: &[&str]) -> Done {
    let set = format!("data.bot_id=\"{BOT}\"");
    let always = ["--set", &set, "--speed", "1", "--secret", WHSEC, "--to", &handler.target()];
    world.run(&[&["scenario", "run"], arguments, &always].concat())
}

fn titles(requests: &[RawRequest]) -> Vec<String> {
    let title = |request: &RawRequest| {
        let body = body(request);
        format!("{} {}", body["event"], body["data"]["status"]["code"])
    };
    requests.iter().map(title).collect()
}

#[test]
fn a_recorded_meeting_can_be_played_again_as_a_scenario() {
    let (world, handler) = (World::new(), Handler::start());
    assert_eq!(play(&world, &handler, &["happy-path", "--contract", "v2"]).code(), 0);
    drop(world.run(&["trigger", "bot.failed", "--secret", WHSEC, "--to", &handler.target()]));
    let then = handler.drain();
    let done = world.run(&["scenario", "record", "--bot", BOT, "-o", "story.toml"]);
    assert_eq!(done.code(), 0, "{}", done.whole());
    let toml = std::fs::read_to_string(world.folder().join("story.toml")).unwrap();
    assert!(!toml.contains(BOT), "{toml}");
    let other = World::new();
    other.write("story.toml", &toml);
    let again = other.run(&[
        "scenario",
        "run",
        "story.toml",
        "--speed",
        "max",
        "--secret",
        WHSEC,
        "--to",
        &handler.target(),
    ]);
    assert_eq!(again.code(), 0, "{}", again.whole());
    let now = handler.drain();
    assert_eq!(titles(&now), titles(&then[..12]));
    let bots: Vec<Value> = now.iter().map(|request| body(request)["data"]["bot_id"].clone()).collect();
    assert!(bots.iter().all(|bot| *bot == bots[0] && bot != BOT), "{bots:?}");
    let apart = |requests: &[RawRequest]| {
        let at = |index: usize| -> jiff::Timestamp {
            body(&requests[index])["data"]["status"]["created_at"].as_str().unwrap().parse().unwrap()
        };
        at(10).duration_since(at(0)).as_secs()
    };
    assert_eq!(apart(&now), apart(&then));
    // Chosen in other ways.
    for arguments in [&["--since", "1h", "--event", "bot.completed"][..], &["12"]] {
        let done = world.run(&[&["scenario", "record"], arguments].concat());
        assert!(done.code() == 0 && done.text().matches("[[step]]").count() == 1, "{}", done.whole());
    }
    for arguments in [&["--bot", "nobody"][..], &["999"], &["--event", "nothing.*"]] {
        let done = world.run(&[&["scenario", "record"], arguments].concat());
        assert_ne!(done.code(), 0, "{}", done.whole());
    }
}

#[test]
fn what_is_scrubbed_says_nothing_of_anybody() {
    let (world, handler) = (World::new(), Handler::start());
    let canaries = ["Ruiz", "Okafor", "agenda", "Thanks", "12345", "X-Amz-Signature", BOT];
    assert_eq!(play(&world, &handler, &["happy-path", "--contract", "v2"]).code(), 0);
    let plain = world.run(&["scenario", "record", "--bot", BOT]).text();
    let there = canaries.iter().filter(|canary| plain.contains(**canary)).count();
    assert_eq!(there, canaries.len() - 1, "only ids are made afresh: {plain}");
    // The people of the catalogue are those that stand for anybody.
    world.write("mine.json", plain_completed("Zaphod Beeblebrox", "zaphod@heart.gold"));
    drop(world.run(&["trigger", "mine.json", "--secret", WHSEC, "--to", &handler.target()]));
    let scenario = world.run(&["scenario", "record", "--since", "1h", "--scrub"]).text();
    let fixture = world.run(&["fixtures", "from", "13", "--scrub"]).text();
    let hidden = ["agenda", "Thanks", "12345", "X-Amz-Signature", BOT, "Zaphod", "heart.gold", "Beeblebrox"];
    let texts = [&scenario, &fixture];
    let left: Vec<&str> =
        hidden.into_iter().filter(|canary| texts.iter().any(|text| text.contains(canary))).collect();
    println!("inputs={} violations={}", hidden.len() * 2, left.len());
    assert_eq!(left, [] as [&str; 0]);
    insta::assert_snapshot!(fixture);
}

fn plain_completed(name: &str, mail: &str) -> String {
    format!(
        r#"{{"event":"bot.completed","data":{{"bot_id":"{BOT}","speakers":[{{"id":1,"name":"{name}"}}],
        "joined_at":"2026-11-24T08:30:00.000Z","video":"https://private.host/{BOT}/output.mp4?sig=1"}},
        "extra":{{"owner":"{mail}","note":"for {name}"}}}}"#
    )
}

#[test]
fn a_delivery_becomes_a_fixture_that_can_be_sent() {
    let (world, handler) = (World::new(), Handler::start());
    drop(world.run(&["trigger", "meeting.completed", "--to", &handler.target()]));
    let first = body(&handler.next());
    let done = world.run(&["fixtures", "from", "#1", "-o", "meeting.completed@mine.json"]);
    assert_eq!(done.code(), 0, "{}", done.whole());
    let sent = world.run(&["trigger", "meeting.completed@mine.json", "--to", &handler.target()]);
    assert_eq!(sent.code(), 0, "{}", sent.whole());
    let second = body(&handler.next());
    assert_ne!(first["data"]["bot_id"], second["data"]["bot_id"]);
    assert_eq!(first["data"]["transcript"], second["data"]["transcript"]);
    let json = ["trigger", "-", "--raw", "--contract", "v2", "--secret", WHSEC, "--to", &handler.target()];
    drop(world.run_with_input(&json, b"not json"));
    for arguments in [&["fixtures", "from", "3"][..], &["fixtures", "from", "99"]] {
        assert_ne!(world.run(arguments).code(), 0);
    }
}

#[test]
fn the_life_of_a_bot_is_told_with_what_is_odd_about_it() {
    let handler = Handler::start();
    let mut shown = String::new();
    for scenario in [
        &["happy-path"][..],
        &["out-of-order-finish"],
        &["duplicate-storm", "--fault", "duplicate=2"],
        &["host-rejects", "--fault", "lose=40%", "--seed", "4"],
    ] {
        let world = World::new();
        drop(play(&world, &handler, &[scenario, &["--contract", "v2"]].concat()));
        let done = world.run(&["deliveries", "timeline", BOT]);
        shown += &format!("{}\n{}\n", scenario.join(" "), done.whole());
    }
    let world = World::new();
    handler.become_(answer(500, &[], b""));
    drop(play(&world, &handler, &["happy-path", "--contract", "v1"]));
    handler.become_(answer(200, &[], b""));
    drop(play(&world, &handler, &["host-rejects", "--contract", "v1"]));
    let done = world.run(&["deliveries", "timeline", BOT]);
    shown += &format!("two lives, one of them refused\n{}\n", done.whole());
    insta::assert_snapshot!(shown);
    let json = world.run(&["deliveries", "timeline", BOT, "--json"]).objects().remove(0);
    assert_eq!((json["entries"].as_array().unwrap().len(), &json["whole"]), (12, &true.into()), "{json}");
    assert!(json["oddities"].as_array().unwrap().len() > 8, "{json}");
    assert_eq!(world.run(&["deliveries", "timeline", "nobody"]).code(), 2);
}
