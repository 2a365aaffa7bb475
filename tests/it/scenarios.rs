//! Scenarios: each that is built in, on one set of ids and in its time; files of one's own, and what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::handler::{Handler, RawRequest, answer, nobody};
use crate::world::{Done, World};

const WHSEC: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn play(world: &World, to: &str, arguments: &[&str]) -> Done {
    let always = ["--secret", WHSEC, "--to", to];
    world.run(&[&["scenario", "run"], arguments, &always].concat())
}

fn body(request: &RawRequest) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

/// What is told without ports, for snapshots.
fn told(text: &str) -> String {
    let mut shown = String::new();
    for word in text.split_inclusive(' ') {
        let is_address = word.contains("127.0.0.1:");
        let rest = word.find(['`', '\n', ' ']).map_or("", |end| &word[end..]);
        shown += &if is_address { format!("[ADDRESS]{rest}") } else { word.to_owned() };
    }
    shown
}

#[test]
fn every_scenario_that_is_built_in_is_played_to_its_end_on_one_set_of_ids() {
    let (world, handler) = (World::new(), Handler::start());
    let listed = world.run(&["scenario", "list", "--json"]).objects();
    assert!(listed.len() >= 26, "{}", listed.len());
    let mut inputs = 0;
    for scenario in &listed {
        let (name, contract) = (scenario["name"].as_str().unwrap(), scenario["contract"].as_str().unwrap());
        let arguments = [name, "--contract", contract, "--json", "--speed", "max"];
        let done = play(&world, &handler.target(), &arguments);
        let mut objects = done.objects();
        let sums = objects.pop().unwrap();
        let requests = handler.drain();
        assert_eq!((done.code(), &sums["failed"]), (0, &json!(0)), "{}", done.whole());
        assert_eq!(sums["acknowledged"], requests.len(), "{sums}");
        assert_eq!(
            sums["acknowledged"].as_u64().unwrap() + sums["lost"].as_u64().unwrap(),
            sums["events"].as_u64().unwrap(),
            "{sums}"
        );
        for object in objects.iter().filter(|object| object["type"] == "attempt") {
            assert_eq!((&object["signature"], &object["origin"]), (&json!("valid"), &json!("scenario")));
        }
        for key in ["bot_id", "calendar_id"] {
            let ids: BTreeSet<String> = requests
                .iter()
                .map(|request| body(request)["data"][key].to_string())
                .filter(|id| id != "null")
                .collect();
            assert!(ids.len() <= 1, "{contract} {name}: {ids:?}");
        }
        inputs += requests.len();
    }
    println!("inputs={inputs} violations=0");
}

#[test]
fn a_happy_path_has_its_order_and_its_times() {
    let (world, handler) = (World::new(), Handler::start());
    let done = play(&world, &handler.target(), &["happy-path", "--contract", "v2", "--speed", "max"]);
    assert_eq!(done.code(), 0, "{}", done.whole());
    let bodies: Vec<Value> = handler.drain().iter().map(body).collect();
    let codes: Vec<&str> = bodies
        .iter()
        .map(|body| body["data"]["status"]["code"].as_str().or(body["event"].as_str()).unwrap())
        .collect();
    let expected = "queued joining_call in_waiting_room in_call_not_recording in_call_recording bot.chat_message \
                    bot.chat_message call_ended recording_succeeded transcribing completed bot.completed";
    assert_eq!(codes, expected.split_whitespace().collect::<Vec<_>>());
    assert_eq!(bodies[11]["data"]["duration_seconds"], 720);
    let moments: Vec<jiff::Timestamp> = bodies
        .iter()
        .map(|body| {
            let data = &body["data"];
            data["status"]["created_at"].as_str().or(data["sent_at"].as_str()).unwrap().parse().unwrap()
        })
        .collect();
    let apart: Vec<i64> = moments.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs()).collect();
    assert_eq!(apart, [4, 8, 20, 3, 90, 25, 600, 5, 3, 45, 1]);
    // The last one is of now.
    assert_eq!(moments[11].to_string(), "2026-11-24T09:05:52.208Z");
    insta::assert_snapshot!(done.whole());
    // In real time they are of their own time.
    drop(play(&world, &handler.target(), &["happy-path", "--contract", "v2", "--speed", "1"]));
    let first = body(&handler.next());
    assert_eq!(first["data"]["status"]["created_at"], "2026-11-24T09:05:52.208Z");
}

#[test]
fn the_same_seed_and_moment_give_the_same_bytes() {
    let (world, handler) = (World::new(), Handler::start());
    let run = |seed: &str| {
        let more = ["--seed", seed, "--at", "2026-11-24T09:00:00Z", "--speed", "max", "--fault", "reorder=4"];
        let arguments =
            [&["scenario", "run", "happy-path", "--contract", "v2", "--secret", WHSEC][..], &more].concat();
        let done = world.run_process(&[&arguments[..], &["--to", &handler.target()]].concat());
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        handler.drain()
    };
    let first = run("11");
    assert_eq!(first.len(), 12);
    assert_eq!(run("11"), first);
    assert_ne!(run("12"), first);
}

#[test]
fn an_event_keeps_its_time_whatever_the_order_in_which_it_arrives() {
    let (world, handler) = (World::new(), Handler::start());
    let times = |more: &[&str]| -> Vec<(String, String)> {
        let always = ["happy-path", "--contract", "v2", "--speed", "max"];
        let done = play(&world, &handler.target(), &[&always, more].concat());
        assert_eq!(done.code(), 0, "{}", done.whole());
        let timed = |request: &RawRequest| {
            let (data, event) = (&body(request)["data"], &body(request)["event"]);
            let time = data["status"]["created_at"].as_str().or(data["sent_at"].as_str()).unwrap();
            (time.to_owned(), data["status"]["code"].as_str().or(event.as_str()).unwrap().to_owned())
        };
        handler.drain().iter().map(timed).collect()
    };
    let in_order = times(&[]);
    assert!(in_order.is_sorted(), "{in_order:?}");
    for window in ["reorder=4", "reorder=12"] {
        let mut shuffled = times(&["--fault", window, "--seed", "2"]);
        assert!(!shuffled.is_sorted(), "{shuffled:?}");
        shuffled.sort();
        assert_eq!(shuffled, in_order);
    }
}

#[test]
fn handlers_that_do_not_acknowledge_are_told_and_decide_the_exit_code() {
    let (world, handler) = (World::new(), Handler::start());
    let refuses_chat = |request: &RawRequest| body(request)["event"] == "bot.chat_message";
    handler.become_(Box::new(move |request, stream| {
        let status = if refuses_chat(request) { 422 } else { 200 };
        answer(status, &[], b"")(request, stream)
    }));
    let done = play(&world, &handler.target(), &["happy-path", "--contract", "v2", "--speed", "max"]);
    assert_eq!((done.code(), handler.drain().len()), (3, 12));
    let (nobody, _kept) = nobody();
    let gone = play(&world, &nobody, &["host-rejects", "--contract", "callback", "--speed", "max"]);
    assert_eq!(gone.code(), 5);
    let again = play(&world, &nobody, &["host-rejects", "--contract", "callback", "--retry", "contract"]);
    assert_eq!(again.code(), 5);
    let done = [done, gone, again].map(|done| told(&done.whole())).join("\n");
    insta::assert_snapshot!(done);
}

const STORY: &str = r#"meaning = "Everything that a step can have"
contract = "v2"

[[step]]
event = "bot.chat_message"
set = { "data.text" = "I am {{ id('bot') }}", "extra.tags" = ["a", 1, true] }
unset = ["data.sender_id"]

[[step]]
after = "1m"
contract = "callback"
event = "bot.failed"
sign = "wrong-secret"

[[step]]
body = '''{"event": "bot.brand_new", "data": {"bot_id": "{{ id('bot') }}"}}'''
faults = ["duplicate", "gzip-signed"]
"#;

#[test]
fn a_file_of_ones_own_is_played_with_everything_that_it_says() {
    let (world, handler) = (World::new(), Handler::start());
    world.write("story.toml", STORY);
    handler.become_(Box::new(|request, stream| {
        let is_right = request.header("x-mb-secret").is_none();
        answer(if is_right { 200 } else { 401 }, &[], b"")(request, stream)
    }));
    let bot = "11111111-2222-4333-8444-555555555555";
    let set = format!("data.bot_id=\"{bot}\"");
    let done = play(&world, &handler.target(), &["story.toml", "--set", &set, "--json"]);
    assert_eq!(done.code(), 0, "{}", done.whole());
    let sums = done.objects().pop().unwrap();
    assert_eq!((&sums["acknowledged"], &sums["refused"], &sums["failed"]), (&json!(3), &json!(1), &json!(0)));
    let requests = handler.drain();
    let chat = body(&requests[0]);
    assert_eq!((&chat["data"]["bot_id"], &chat["extra"]["tags"]), (&json!(bot), &json!(["a", 1, true])));
    assert!(
        chat["data"]["text"].as_str().unwrap().starts_with("I am ")
            && chat["data"].get("sender_id").is_none()
    );
    assert_eq!(requests[2].header("svix-id"), requests[3].header("svix-id"));
    assert_eq!(requests[2].header("content-encoding"), Some(&b"gzip"[..]));
    // What is signed wrong has to be refused.
    handler.become_(answer(200, &[], b""));
    let taken = play(&world, &handler.target(), &["story.toml"]);
    assert_eq!(taken.code(), 3);
    let listen = world.listen(&["--forward", &handler.target(), "--secret", WHSEC]);
    let through = world.run_process(&["scenario", "run", "calendar", "--contract", "v2", "--speed", "max"]);
    assert_eq!(through.status.code(), Some(0), "{through:?}");
    let listed = world.run(&[
        "deliveries",
        "list",
        "--origin",
        "scenario",
        "--contract",
        "v2",
        "--limit",
        "5",
        "--json",
    ]);
    let events: Vec<Value> = listed.objects().iter().map(|object| object["event_type"].clone()).collect();
    assert_eq!((events.len(), &events[4]), (5, &json!("calendar.connection_created")));
    drop(listen);
}

#[test]
fn what_is_wrong_is_said_before_anything_is_sent() {
    let (world, handler) = (World::new(), Handler::start());
    let mut shown = String::new();
    let sources: BTreeMap<&str, String> = [
        ("syntax.toml", STORY.replace("meaning =", "meaning")),
        ("event.toml", STORY.replace("bot.failed", "bot.faild")),
        ("variant.toml", STORY.replace("\"bot.failed\"", "\"bot.failed@sigtrem\"")),
        ("fault.toml", STORY.replace("gzip-signed", "gzip-sined")),
        ("key.toml", STORY.replace("after", "afer")),
        ("path.toml", STORY.replace("data.text", "data..text")),
        ("template.toml", STORY.replace("id('bot')", "ids('bot')")),
        ("sets.toml", STORY.replace("data.text", "data.text.more")),
        ("sign.toml", STORY.replace("wrong-secret", "stale")),
        ("json.toml", STORY.replace("\"data\": {", "\"data\": ")),
    ]
    .into();
    for (name, source) in &sources {
        world.write(name, source);
    }
    let files = sources.keys().map(|name| vec![*name]);
    let more = [
        vec!["happy-paht"],
        vec!["calendar", "--contract", "callback"],
        vec!["none.toml"],
        vec!["happy-path", "--set", "data.nowhere=1"],
        vec!["happy-path", "--speed", "0"],
    ];
    for arguments in files.chain(more) {
        let done = play(&world, &handler.target(), &arguments);
        assert_eq!((done.code(), done.text().as_str()), (2, ""), "{arguments:?} {}", done.whole());
        shown += &format!("{}\n{}\n", arguments.join(" "), done.errors());
    }
    assert_eq!(handler.drain().len(), 0);
    insta::assert_snapshot!(shown.replace(world.folder().to_str().unwrap(), "[FOLDER]"));
}

#[test]
fn what_there_is_can_be_listed_shown_and_taken_as_a_beginning() {
    let (world, handler) = (World::new(), Handler::start());
    let list = world.run(&["scenario", "list"]);
    let show = world.run(&["scenario", "show", "retry-until-exhausted"]);
    let shown = world.run(&["scenario", "show", "happy-path", "--contract", "v1"]);
    let json = world.run(&["scenario", "show", "duplicate-storm", "--contract", "v2", "--json"]);
    assert_eq!(json.objects()[0]["timeline"][1]["faults"], json!(["duplicate=20"]));
    insta::assert_snapshot!([list, show, shown].map(|done| done.whole()).join("\n"));
    let toml = world.run(&["scenario", "show", "calendar", "--contract", "v1", "--toml"]);
    world.write("mine.toml", toml.text());
    let done = play(&world, &handler.target(), &["mine.toml"]);
    assert_eq!((done.code(), handler.drain().len()), (0, 2), "{}", done.whole());
}

#[test]
fn an_event_that_is_given_up_raises_the_alert() {
    let (world, handler, alerts) = (World::new(), Handler::answering(503, "{}"), Handler::start());
    let arguments =
        ["trigger", "bot.completed", "--retry", "contract", "--alert", &alerts.target(), "--json"];
    let done = world.run(&[&arguments[..], &["--secret", WHSEC, "--to", &handler.target()]].concat());
    assert_eq!((done.code(), handler.drain().len()), (3, 7), "{}", done.whole());
    let alert = alerts.next();
    assert_eq!(body(&alert)["alert_type"], "webhook_delivery_exhausted");
    assert_eq!(alert.header("x-mb-alert-secret"), Some(WHSEC.as_bytes()));
    assert_eq!(done.objects()[7]["contract"], "alert");
    handler.become_(answer(200, &[], b""));
    let done = world.run(&[&arguments[..], &["--secret", WHSEC, "--to", &handler.target()]].concat());
    assert_eq!((done.code(), alerts.drain().len()), (0, 0));
}
