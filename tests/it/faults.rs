//! What goes wrong on the way when it is asked for: on the wire, in the record, and the same again with the same seed.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mbaas_dev::model::Clock;
use serde_json::{Value, json};

use crate::handler::{Handler, RawRequest, answer};
use crate::world::{Done, World};

const WHSEC: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
/// As documented, so that nothing is said about it.
const FAILED: &str = r#"{"event":"bot.failed","data":{"bot_id":"{{ id('bot') }}","event_id":null,
    "error_message":"m","error_code":"UNKNOWN_ERROR","sent_at":"{{ now() }}"},"extra":null}"#;

fn world() -> World {
    let world = World::new();
    world.write("failed.json", FAILED);
    world
}

/// Sends the event of v2 with these arguments.
fn trigger(world: &World, to: &str, arguments: &[&str]) -> Done {
    let always = ["trigger", "failed.json", "--contract", "v2", "--secret", WHSEC, "--to", to];
    world.run(&[&always[..], arguments].concat())
}

fn text<'a>(request: &'a RawRequest, name: &str) -> &'a str {
    std::str::from_utf8(request.header(name).unwrap()).unwrap()
}

/// What `verify` says about a body with the headers of a request.
fn verdict(world: &World, request: &RawRequest, body: &[u8]) -> String {
    let fields = ["svix-id", "svix-timestamp", "svix-signature"]
        .map(|name| format!("{name}: {}", text(request, name)));
    let headers = fields.iter().flat_map(|field| ["--header", field]);
    let arguments: Vec<&str> = ["verify", "-", "--secret", WHSEC].into_iter().chain(headers).collect();
    world.run_with_input(&arguments, body).text()
}

fn gunzip(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(body).read_to_end(&mut plain).unwrap();
    plain
}

#[test]
fn bodies_are_damaged_as_asked_and_signed_as_said() {
    let (world, handler) = (world(), Handler::start());
    let sent = |faults: &[&str]| {
        let flags: Vec<&str> = faults.iter().flat_map(|fault| ["--fault", fault]).chain(["--json"]).collect();
        let done = trigger(&world, &handler.target(), &flags);
        assert_eq!(done.code(), 0, "{}", done.whole());
        let request = handler.next();
        assert_eq!(text(&request, "content-length"), request.body.len().to_string());
        assert_eq!(done.objects()[0]["body_bytes"], json!(request.body.len()));
        (request, done.objects().remove(0))
    };
    let (whole, object) = sent(&[]);
    assert_eq!(
        (verdict(&world, &whole, &whole.body), &object["signature"]),
        ("valid\n".into(), &json!("valid"))
    );
    let (cut, object) = sent(&["truncate=25%"]);
    assert_eq!(cut.body.len(), whole.body.len() / 4);
    assert!(whole.body.starts_with(&cut.body[..30]) && serde_json::from_slice::<Value>(&cut.body).is_err());
    assert_eq!(object["signature"], "invalid");
    let (compressed, _) = sent(&["gzip"]);
    assert_eq!(text(&compressed, "content-encoding"), "gzip");
    assert_eq!(verdict(&world, &compressed, &gunzip(&compressed.body)), "valid\n");
    assert_eq!(verdict(&world, &compressed, &compressed.body).lines().next(), Some("invalid"));
    let (compressed, object) = sent(&["gzip-signed"]);
    assert_eq!(verdict(&world, &compressed, &compressed.body), "valid\n");
    assert_eq!(verdict(&world, &compressed, &gunzip(&compressed.body)).lines().next(), Some("invalid"));
    assert_eq!((&object["event_type"], &object["signature"]), (&json!("bot.failed"), &json!("valid")));
    assert_eq!(text(&sent(&["content-type=text/plain"]).0, "content-type"), "text/plain");
    assert_eq!(sent(&["content-type="]).0.header("content-type"), None);
    let (all, _) = sent(&["gzip", "truncate", "content-type=application/octet-stream"]);
    assert_eq!((&all.body[..2], text(&all, "content-type")), (&b"\x1f\x8b"[..], "application/octet-stream"));
}

#[test]
fn a_duplicate_is_the_same_message_signed_for_its_own_time() {
    let (world, handler) = (world(), Handler::start());
    let arguments = ["--count", "3", "--duplicate", "2", "--fault", "delay=2s"];
    let done = trigger(&world, &handler.target(), &arguments);
    assert_eq!((done.code(), done.errors().as_str()), (0, "9 of 9 sent · 9 acknowledged\n"));
    let mut by_id: BTreeMap<String, Vec<RawRequest>> = BTreeMap::new();
    for request in handler.drain() {
        by_id.entry(text(&request, "svix-id").to_owned()).or_default().push(request);
    }
    assert_eq!(by_id.len(), 3);
    for requests in by_id.into_values() {
        let stamps: Vec<i64> =
            requests.iter().map(|request| text(request, "svix-timestamp").parse().unwrap()).collect();
        assert_eq!(stamps, [stamps[0], stamps[0] + 2, stamps[0] + 4]);
        assert!(requests.iter().all(|request| request.body == requests[0].body));
        assert!(requests.iter().all(|request| verdict(&world, request, &request.body) == "valid\n"));
    }
}

#[test]
fn what_was_lost_was_neither_sent_nor_looked_at() {
    let (world, handler) = (world(), Handler::start());
    let mut shown = String::new();
    let lost = ["--count", "3", "--fault", "lose=100%", "--seed", "1"];
    let refused = ["--count", "2"];
    for (answers, arguments) in [
        (200, &lost[..]),
        (200, &[&lost[..], &["--expect", "status=200"]].concat()),
        (500, &refused),
        (500, &[&refused[..], &["--expect", "status=500"]].concat()),
    ] {
        handler.become_(answer(answers, &[], b""));
        let done = trigger(&world, &handler.target(), arguments);
        shown += &format!("{}: exit {}\n{}", arguments.join(" "), done.code(), done.errors());
    }
    insta::assert_snapshot!(shown, @r"
    --count 3 --fault lose=100% --seed 1: exit 0
    0 of 3 sent · 0 acknowledged · 3 lost on purpose
    --count 3 --fault lose=100% --seed 1 --expect status=200: exit 3
    expected an answer, and the request was lost on purpose
    expected an answer, and the request was lost on purpose
    expected an answer, and the request was lost on purpose
    0 of 3 sent · 0 acknowledged · 3 lost on purpose
    --count 2: exit 3
    2 of 2 sent · 0 acknowledged
    --count 2 --expect status=500: exit 0
    2 of 2 sent · 0 acknowledged
    ");
}

#[test]
fn the_same_seed_and_moment_give_the_same_bytes_in_the_same_order() {
    let (world, handler) = (world(), Handler::start());
    let run = |seed: &str, at: &str| {
        let arguments = ["--count", "12", "--fault", "reorder=6", "--fault", "jitter=20ms"];
        let more = ["--fault", "lose=30%", "--duplicate", "1", "--seed", seed, "--at", at];
        let mut command = world.command(
            &[
                &["trigger", "failed.json", "--contract", "v2", "--secret", WHSEC, "--to", &handler.target()]
                    [..],
                &arguments,
                &more,
            ]
            .concat(),
        );
        // A process of its own, with a clock of its own.
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        handler.drain()
    };
    let moment = "2026-11-24T09:00:00Z";
    let first = run("7", moment);
    assert!((8..24).contains(&first.len()), "{}", first.len());
    assert_eq!(run("7", moment), first);
    assert_ne!(run("8", moment), first);
    let later = run("7", "2026-11-24T09:00:01Z");
    let ids = |requests: &[RawRequest]| -> Vec<String> {
        let bot = |request: &RawRequest| {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            body["data"]["bot_id"].as_str().unwrap().to_owned()
        };
        requests.iter().map(bot).collect()
    };
    assert_eq!(ids(&later), ids(&first));
    let mut sorted = ids(&first);
    sorted.dedup();
    assert!(sorted.len() > ids(&first).iter().collect::<std::collections::BTreeSet<_>>().len(), "shuffled");
}

#[test]
fn what_is_lost_never_arrives_and_its_sender_tries_again() {
    let (world, handler) = (world(), Handler::start());
    let lossy = ["--fault", "lose=50%", "--seed", "3", "--json"];
    let done = trigger(&world, &handler.target(), &[&lossy[..], &["--count", "30"]].concat());
    let (lost, delivered): (Vec<_>, Vec<_>) =
        done.objects().into_iter().partition(|object| object["lost"] == true);
    assert_eq!((done.code(), lost.len() + delivered.len()), (0, 30));
    assert!(lost.len() > 5 && delivered.len() > 5, "{} lost", lost.len());
    assert_eq!(handler.drain().len(), delivered.len());
    assert_eq!(lost[0]["event_type"], "bot.failed");
    // With retries, everything arrives in the end.
    let persistent = [&lossy[..], &["--count", "10", "--retry", "contract"]].concat();
    let done = trigger(&world, &handler.target(), &persistent);
    let arrived = handler.drain();
    assert_eq!((done.code(), arrived.len()), (0, 10), "{}", done.whole());
    assert!(done.objects().len() > 12);
    // Unless everything is lost.
    let done =
        trigger(&world, &handler.target(), &["--fault", "lose=100%", "--seed", "1", "--retry", "contract"]);
    assert_eq!((done.code(), handler.drain().len()), (3, 0));
    let two = trigger(&world, &handler.target(), &["--fault", "lose=40%", "--seed", "5", "--count", "4"]);
    insta::assert_snapshot!(format!("{}\n{}", done.whole(), two.whole()));
}

/// What came over a connection.
struct Received {
    bytes: Vec<u8>,
    pieces: usize,
    took: Duration,
    end: io::Result<()>,
}

impl Received {
    fn split(&self) -> (String, &[u8]) {
        let head = self.bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        (String::from_utf8_lossy(&self.bytes[..head]).to_lowercase(), &self.bytes[head + 4..])
    }
}

/// Takes one connection, reads it to the end of the body or of the connection, and acknowledges.
fn reader() -> (String, JoinHandle<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let reading = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (mut bytes, mut pieces, mut chunk) = (Vec::new(), 0, [0; 4096]);
        let begun = Clock::real().tick();
        let end = loop {
            match stream.read(&mut chunk) {
                Ok(0) => break Ok(()),
                Ok(length) => bytes.extend_from_slice(&chunk[..length]),
                Err(error) => break Err(error),
            }
            pieces += 1;
            if bytes.ends_with(b"null}") {
                break stream.write_all(b"HTTP/1.1 204 Done\r\n\r\n");
            }
        };
        Received { bytes, pieces, took: begun.elapsed(), end }
    });
    (address, reading)
}

#[test]
fn a_slow_body_comes_piece_by_piece_and_whole() {
    let (world, (address, reading)) = (world(), reader());
    let done = trigger(&world, &address, &["--fault", "slow=600ms", "--timeout", "500ms", "--json"]);
    assert_eq!(
        (done.code(), &done.objects()[0]["attempts"][0]["status"]),
        (0, &json!(204)),
        "{}",
        done.whole()
    );
    let received = reading.join().unwrap();
    let Received { pieces, took, .. } = received;
    assert!(pieces > 5 && took >= Duration::from_millis(500), "{pieces} pieces in {took:?}");
    assert!(serde_json::from_slice::<Value>(received.split().1).is_ok());
}

#[test]
fn a_connection_is_reset_in_the_middle_of_the_body() {
    let (world, (address, reading)) = (world(), reader());
    let done = trigger(&world, &address, &["--fault", "reset=40%"]);
    let received = reading.join().unwrap();
    let (head, body) = received.split();
    let said: usize =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    assert_eq!(body.len(), said * 4 / 10);
    assert_eq!(received.end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(done.code(), 3);
    let shown = done.text();
    let sentence = format!("broken off on purpose after {} of {said} bytes of the body", said * 4 / 10);
    assert!(shown.contains("  reset  ") && shown.contains(&sentence), "{shown}");
    let recorded = world.run(&["deliveries", "show", "1", "--body"]);
    assert_eq!(recorded.stdout.len(), said);
}

#[test]
fn through_listen_what_can_be_damaged_is_and_the_rest_is_refused() {
    let (world, handler) = (world(), Handler::start());
    let listen = world.listen(&["--forward", &handler.target(), "--secret", &format!("v2={WHSEC}")]);
    let trigger = |faults: &[&str]| {
        world.run_process(&[&["trigger", "failed.json", "--contract", "v2"][..], faults].concat())
    };
    assert_eq!(trigger(&["--fault", "gzip-signed", "--duplicate", "1"]).status.code(), Some(0));
    let requests = handler.drain();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert_eq!(text(request, "content-encoding"), "gzip");
        let body: Value = serde_json::from_slice(&gunzip(&request.body)).unwrap();
        assert_eq!(body["event"], "bot.failed");
    }
    let mut refused = String::new();
    for faults in [
        &["--fault", "slow=1s"][..],
        &["--fault", "reset"],
        &["--fault", "gzp"],
        &["--fault", "lose"],
        &["--fault", "lose=often"],
        &["--duplicate", "0"],
        &["--speed", "10"],
        &["--speed", "fast"],
        &["--seed", "-1"],
        &["--at", "yesterday"],
        &["--print", "--fault", "gzip"],
    ] {
        let output = trigger(faults);
        assert_eq!(output.status.code(), Some(2), "{faults:?} {output:?}");
        refused += &format!("{}\n{}\n", faults.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(handler.drain().len(), 0);
    drop(listen);
    insta::assert_snapshot!(refused);
}
