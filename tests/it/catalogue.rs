//! Every event of every contract: all that the facts name are there, as documented, canonical, and recognised when they
//! arrive; their requests as sent are snapshots. Adding a fixture is adding one file, and its snapshot.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;

use mbaas_dev::contract::schema::Schema;
use mbaas_dev::fixture::{Catalogue, Entry, Run};
use mbaas_dev::json::{Json, Path};
use mbaas_dev::model::{Clock, Contract};
use serde_json::{Value, json};

use crate::frameworks::ask_node;
use crate::handler::{Handler, RawRequest};
use crate::world::World;

/// 2026-11-24T09:05:52.208Z, the time at which the clock of the tests stands, in milliseconds since 1970.
const NOW: i64 = 1_795_511_152_208;

const WHSEC: &str = "v2=whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// How much of a long body a snapshot has, in bytes.
const KEPT: usize = 6_000;

fn run() -> Run {
    Run::new(&Clock::fixed("2026-11-24T09:05:52.208Z".parse().unwrap(), 0), |_| None)
}

fn path(path: &str) -> Path {
    path.parse().unwrap()
}

fn text(body: &Json, at: &str) -> Option<String> {
    body.at(&path(at)).and_then(Json::as_str).map(Cow::into_owned)
}

fn number(body: &Json, at: &str) -> Option<i64> {
    body.at(&path(at)).map(|value| value.to_canonical().parse().unwrap())
}

/// The body of each fixture of an event, by variant; the plain one has the empty name.
fn bodies(contract: Contract, event: &str) -> BTreeMap<String, Json> {
    let catalogue = Catalogue::embedded();
    let entries = catalogue
        .entries()
        .filter(|entry| entry.contract == contract && entry.name.event_type.as_str() == event);
    entries
        .map(|entry| (entry.name.variant.clone().unwrap_or_default(), entry.fixture.render(&run()).unwrap()))
        .collect()
}

#[test]
fn every_contract_has_its_events() {
    let mut events: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for entry in Catalogue::embedded().entries() {
        events.entry(entry.contract.as_str()).or_default().insert(entry.name.event_type.to_string());
    }
    let expected: [(&str, &[&str]); 5] = [
        ("alert", &["alert"]),
        ("callback", &["bot.completed", "bot.failed"]),
        (
            "preview",
            &[
                "calendar.synced",
                "event.added",
                "event.deleted",
                "event.updated",
                "meeting.completed",
                "meeting.failed",
                "meeting.started",
                "transcription.available",
                "transcription.updated",
            ],
        ),
        (
            "v1",
            &["bot.status_change", "calendar.sync_events", "complete", "failed", "transcription_complete"],
        ),
        (
            "v2",
            &[
                "bot.chat_message",
                "bot.completed",
                "bot.failed",
                "bot.status_change",
                "calendar.connection_created",
                "calendar.connection_deleted",
                "calendar.connection_error",
                "calendar.connection_updated",
                "calendar.event_cancelled",
                "calendar.event_created",
                "calendar.event_updated",
                "calendar.events_synced",
            ],
        ),
    ];
    let expected =
        expected.map(|(contract, names)| (contract, names.iter().map(ToString::to_string).collect()));
    assert_eq!(events, BTreeMap::from(expected));
    let completed: Vec<String> = bodies(Contract::V2, "bot.completed").into_keys().collect();
    for variant in ["", "full", "minimal", "no-transcription", "prose"] {
        assert!(completed.contains(&variant.to_owned()), "{variant:?} is not in {completed:?}");
    }
}

/// Every documented value of a field has a variant, and no fixture has another.
#[test]
fn every_status_code_and_every_error_has_its_variant() {
    let mut inputs = 0;
    for (contract, event, at) in [
        (Contract::V1, "bot.status_change", "data.status.code"),
        (Contract::V2, "bot.status_change", "data.status.code"),
        (Contract::V1, "failed", "data.error"),
        (Contract::Preview, "meeting.failed", "data.error"),
        (Contract::V2, "bot.failed", "data.error_code"),
        (Contract::Callback, "bot.failed", "data.error_code"),
        (Contract::Alert, "alert", "alert_type"),
    ] {
        let fields = Schema::of(contract, &event.parse().unwrap()).unwrap().fields();
        let field = fields.into_iter().find(|field| field.path == at).unwrap();
        let known: BTreeSet<String> = field.known.into_iter().map(|(code, _)| code).collect();
        let sent: BTreeSet<String> =
            bodies(contract, event).values().map(|body| text(body, at).unwrap()).collect();
        assert_eq!(sent, known, "{contract} {event}");
        inputs += known.len();
    }
    println!("inputs={inputs} violations=0");
}

#[test]
fn a_status_has_what_belongs_to_its_code_and_times_in_the_right_unit() {
    for (contract, now) in [(Contract::V1, NOW), (Contract::V2, NOW / 1000)] {
        for (variant, body) in bodies(contract, "bot.status_change") {
            let code = text(&body, "data.status.code").unwrap();
            assert!(["", "prose", &code].contains(&variant.as_str()), "{contract} {variant} is {code}");
            let is = |codes: &[&str]| codes.contains(&code.as_str());
            let has = |key: &str| body.at(&path(&format!("data.status.{key}"))).is_some();
            let start = number(&body, "data.status.start_time");
            assert_eq!(start, is(&["in_call_recording"]).then_some(now), "{contract} {code}");
            assert_eq!(has("error_message"), is(&["recording_failed", "meeting_error"]), "{contract} {code}");
            assert_eq!(has("error_type"), contract == Contract::V1 && is(&["meeting_error"]), "{code}");
            assert_eq!([has("attempt"), has("max")], [is(&["retrying"]); 2], "{contract} {code}");
            assert_eq!(text(&body, "data.status.created_at").unwrap(), "2026-11-24T09:05:52.208Z");
        }
    }
}

#[test]
fn minimal_bodies_have_null_wherever_it_is_allowed_and_full_ones_nowhere() {
    let mut inputs = 0;
    for entry in Catalogue::embedded().entries() {
        let body = entry.fixture.render(&run()).unwrap();
        let fields = Schema::of(entry.contract, &entry.name).unwrap().fields();
        for field in fields.iter().filter(|field| field.nullable && !field.path.contains("[]")) {
            let value = body.at(&path(&field.path));
            let label = format!("{} {}", entry.fixture.label(), field.path);
            match entry.name.variant.as_deref() {
                Some("minimal") => assert_eq!(value, Some(&Json::Null), "{label}"),
                Some("full") => assert!(value.is_some_and(|value| *value != Json::Null), "{label}"),
                _ => continue,
            }
            inputs += 1;
        }
    }
    println!("inputs={inputs} violations=0");
    assert!(inputs > 40, "{inputs}");
}

#[test]
fn callbacks_have_the_bodies_of_webhooks() {
    for event in ["bot.completed", "bot.failed"] {
        let webhooks = bodies(Contract::V2, event);
        assert_eq!(bodies(Contract::Callback, event), webhooks, "{event}");
        assert!(webhooks.len() > 5);
    }
}

/// The keys of objects stand in the order of the documentation, which is that of the schemas.
#[test]
fn keys_have_the_order_of_the_documentation() {
    let mut inputs = 0;
    for entry in Catalogue::embedded().entries() {
        // This page shows another order than the reference.
        if entry.name.variant.as_deref() == Some("getting-started") {
            continue;
        }
        let mut order = Vec::new();
        let body = entry.fixture.render(&run()).unwrap();
        places(&body, "", &mut order);
        let fields = Schema::of(entry.contract, &entry.name).unwrap().fields();
        // On the wire the id of a person comes before the name.
        let is_person = |path: &str| path.contains("participants[].") || path.contains("speakers[].");
        let documented: Vec<_> =
            fields.into_iter().map(|field| field.path).filter(|p| !is_person(p)).collect();
        let found = order.iter().filter(|place| documented.contains(place));
        let expected = documented.iter().filter(|place| order.contains(place));
        assert!(found.eq(expected), "{}: {order:?}", entry.fixture.label());
        inputs += 1;
    }
    println!("inputs={inputs} violations=0");
}

/// The places of all keys, each once, in their order.
fn places(value: &Json, place: &str, found: &mut Vec<String>) {
    for (key, member) in value.as_object().into_iter().flatten() {
        let place =
            if place.is_empty() { key.escaped().to_owned() } else { format!("{place}.{}", key.escaped()) };
        if !found.contains(&place) {
            found.push(place.clone());
        }
        places(member, &place, found);
    }
    for item in value.as_array().unwrap_or_default() {
        places(item, &format!("{place}[]"), found);
    }
}

#[test]
fn javascript_writes_every_fixture_as_we_do() {
    let catalogue = Catalogue::embedded();
    let body = |run: &Run, entry: &Entry| entry.fixture.render(run).unwrap().to_canonical();
    let mut bodies: Vec<(String, String)> =
        catalogue.entries().map(|entry| (entry.fixture.label().to_owned(), body(&run(), entry))).collect();
    let of_a_day = run().lasting(480);
    for entry in catalogue.entries().filter(|entry| entry.name.variant.is_none()) {
        bodies.push((format!("{} --minutes 480", entry.fixture.label()), body(&of_a_day, entry)));
    }
    let inputs: Vec<Value> = bodies.iter().map(|(_, body)| json!(body)).collect();
    let verdicts = ask_node("(body) => JSON.stringify(JSON.parse(body)) === body", &inputs);
    let wrong: Vec<_> = bodies.iter().zip(&verdicts).filter(|(_, verdict)| **verdict != true).collect();
    println!("inputs={} violations={}", inputs.len(), wrong.len());
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(inputs.len() > 290, "{}", inputs.len());
}

/// The arguments that trigger a fixture.
fn arguments<'a>(entry: &'a Entry, name: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let plain = ["trigger", name, "--contract", entry.contract.as_str()];
    [&plain[..], &["--secret", "s3cret", "--secret", WHSEC], more].concat()
}

/// Triggers a fixture from a project of its own.
fn sent(entry: &Entry, handler: &Handler) -> RawRequest {
    let (world, to) = (World::new(), handler.target());
    let done = world.run(&arguments(entry, &entry.name.to_string(), &["--to", &to]));
    assert_eq!((done.code(), done.errors().as_str()), (0, ""), "{}", done.whole());
    handler.next()
}

/// What `--print` shows of a fixture, from a project of its own, so that its ids are the same whatever else there is.
fn printed(entry: &Entry) -> String {
    let done = World::new().run(&arguments(entry, &entry.name.to_string(), &["--print"]));
    assert_eq!((done.code(), done.errors().as_str()), (0, ""), "{}", done.whole());
    done.text().replace(env!("CARGO_PKG_VERSION"), "[VERSION]")
}

#[test]
fn every_request_is_as_it_was() {
    let mut requests: BTreeMap<String, String> = BTreeMap::new();
    for entry in Catalogue::embedded().entries() {
        let snapshot = requests.entry(format!("{}__{}", entry.contract, entry.name.event_type)).or_default();
        *snapshot += &format!("== {}\n{}\n", entry.name, shortened(&printed(entry)));
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots/requests");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for (name, requests) in &requests {
            insta::assert_snapshot!(name.as_str(), requests);
        }
    });
}

fn shortened(text: &str) -> String {
    let end = text.char_indices().map(|(at, _)| at).find(|at| *at >= KEPT).unwrap_or(text.len());
    let rest = if end < text.len() { format!("… and {} bytes", text.len() - end) } else { String::new() };
    format!("{}{rest}\n", &text[..end])
}

/// A request as `--print` shows it.
fn shown(request: &RawRequest) -> String {
    let mut shown = format!("{}\n", request.line);
    for (name, value) in &request.headers {
        let value = String::from_utf8_lossy(value);
        let value = if name.eq_ignore_ascii_case(b"host") { "localhost:4400" } else { &value };
        shown += &format!("{}: {value}\n", String::from_utf8_lossy(name));
    }
    format!("{shown}\n{}", request.body_text()).replace(env!("CARGO_PKG_VERSION"), "[VERSION]")
}

#[test]
fn every_event_is_recognised_when_it_arrives_by_its_header_and_body() {
    let (world, handler) = (World::new(), Handler::start());
    let secrets = ["--secret", "s3cret", "--secret", WHSEC];
    let mut listen = world.listen(&[&["--forward", &handler.target()], &secrets[..]].concat());
    let mut inputs = 0;
    for entry in Catalogue::embedded().entries().filter(|entry| entry.name.variant.is_none()) {
        let to_elsewhere = Handler::start();
        let request = sent(entry, &to_elsewhere);
        assert_eq!(shown(&request), printed(entry), "what is printed is what is sent");
        let mut stream = TcpStream::connect(listen.address()).unwrap();
        let mut head = format!("{}\r\nConnection: close\r\n", request.line).into_bytes();
        for (name, value) in &request.headers {
            head.extend([name, &b": "[..], value, b"\r\n"].concat());
        }
        stream.write_all(&[&head, &b"\r\n"[..], &request.body].concat()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let delivery = listen.next("attempt");
        let told = [&delivery["contract"], &delivery["event_type"], &delivery["wire_event"]];
        let wire_event = entry.fixture.wire_event();
        let expected =
            [json!(entry.contract.as_str()), json!(entry.name.event_type.as_str()), json!(wire_event)];
        assert_eq!(told.map(Clone::clone), expected, "{}", entry.fixture.label());
        inputs += 1;
    }
    println!("inputs={inputs} violations=0");
    assert_eq!(inputs, 29);
}

#[test]
fn what_we_send_ourselves_is_recognised_though_it_is_not_signed() {
    let (world, handler) = (World::new(), Handler::start());
    let _listen = world.listen(&["--forward", &handler.target()]);
    for (event, contract, event_type) in [
        ("complete", "v1", "complete"),
        ("bot.completed", "callback", "bot.completed"),
        ("bot.completed", "v2", "bot.completed"),
        ("alert", "alert", "alert"),
    ] {
        let done =
            world.run_process(&["trigger", event, "--contract", contract, "--sign", "missing", "--json"]);
        let delivery: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
        assert_eq!([&delivery["contract"], &delivery["event_type"]], [contract, event_type]);
        assert_eq!(delivery["signature"], "missing", "{delivery}");
        assert_eq!(handler.next().header("mbaas-dev-contract"), None);
    }
}

#[test]
fn minutes_make_meetings_as_long_as_asked() {
    let (world, handler) = (World::new(), Handler::start());
    let to = handler.target();
    let sent = |arguments: &[&str]| {
        let done = world.run(&[&["trigger"], arguments, &["--to", &to, "--secret", WHSEC]].concat());
        assert_eq!((done.code(), done.errors().as_str()), (0, ""), "{}", done.whole());
        Json::parse(&handler.next().body).unwrap()
    };
    for (event, contract) in [("meeting.completed", "preview"), ("complete", "v1")] {
        for minutes in [1_u32, 90] {
            let body = sent(&[event, "--contract", contract, "--minutes", &minutes.to_string()]);
            let segments = body.at(&path("data.transcript")).unwrap().as_array().unwrap();
            let last = body.at(&path("data.transcript[-1].words[-1].end")).unwrap().to_canonical();
            let (last, end): (f64, f64) = (last.parse().unwrap(), f64::from(minutes) * 60.0);
            assert!((end - 12.0..=end).contains(&last), "{event} {minutes}: {last}");
            let speakers = body.at(&path("data.speakers")).unwrap().as_array().unwrap();
            for segment in segments {
                assert!(speakers.contains(segment.get("speaker").unwrap()), "{segment:?}");
                assert_eq!(segment.get("end_time").is_some(), contract == "v1");
            }
        }
    }
    for contract in ["v2", "callback"] {
        let body = sent(&["bot.completed", "--contract", contract, "--minutes", "480"]);
        assert_eq!(number(&body, "data.duration_seconds"), Some(480 * 60));
        let at = |key: &str| text(&body, &format!("data.{key}")).unwrap();
        assert_eq!(
            [at("joined_at"), at("exited_at")],
            ["2026-11-24T01:03:52.000Z", "2026-11-24T09:03:52.000Z"]
        );
    }
}
