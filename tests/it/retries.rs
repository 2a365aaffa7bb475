//! The senders' own retries: every delay on a virtual clock against a real handler, ids, signatures, ends.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::handler::{Handler, RawRequest, Script, answer, nobody};
use crate::world::World;

const WHSEC: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const FAILED: &str =
    r#"{"event":"bot.failed","data":{"bot_id":"7c0e7a52-4d1b-4a86-9f0e-2b6d5a1c9e33"},"extra":null}"#;
const STATUS: &str = r#"{"event":"bot.status_change","data":{"bot_id":"7c0e7a52-4d1b-4a86-9f0e-2b6d5a1c9e33","status":{"code":"joining_call"}}}"#;

fn world() -> World {
    let world = World::new();
    world.write("failed.json", FAILED);
    world.write("status.json", STATUS);
    world
}

/// Answers one after the other, the last one again and again.
fn in_turn(scripts: Vec<Script>) -> Script {
    let count = AtomicUsize::new(0);
    Box::new(move |request: &RawRequest, stream: &mut TcpStream| {
        let at = count.fetch_add(1, Ordering::Relaxed).min(scripts.len() - 1);
        scripts[at](request, stream)
    })
}

fn statuses(statuses: &[u16]) -> Handler {
    Handler::scripted(in_turn(statuses.iter().map(|status| answer(*status, &[], b"")).collect()))
}

fn seconds(object: &Value) -> f64 {
    object["retry"]["delay_ms"].as_f64().unwrap() / 1000.0
}

fn text<'a>(request: &'a RawRequest, name: &str) -> &'a str {
    std::str::from_utf8(request.header(name).unwrap()).unwrap()
}

#[test]
fn each_attempt_has_the_same_id_a_fresh_signature_and_its_delay() {
    let (world, handler) = (world(), statuses(&[500, 500, 429, 200]));
    let arguments = ["trigger", "failed.json", "--contract", "v2", "--secret", WHSEC, "--retry", "contract"];
    let done = world.run(&[&arguments[..], &["--json", "--to", &handler.target()]].concat());
    let objects = done.objects();
    let statuses: Vec<_> = objects.iter().map(|object| &object["attempts"][0]["status"]).collect();
    assert_eq!((done.code(), statuses), (0, vec![&json!(500), &json!(500), &json!(429), &json!(200)]));
    let delays: Vec<f64> = objects.iter().map(seconds).collect();
    // The third failure is a 429, whose floor of a minute is less than the 300 seconds that come anyway.
    let bounds = [0.0..=0.0, 4.0..=6.0, 8.0..=12.0, 240.0..=360.0];
    assert!(delays.iter().zip(&bounds).all(|(delay, bounds)| bounds.contains(delay)), "{delays:?}");
    assert_eq!(objects[0]["retry"]["next_delay_ms"], objects[1]["retry"]["delay_ms"]);
    assert_eq!(objects[3]["retry"]["next_delay_ms"], Value::Null);
    let requests = handler.drain();
    let ids: Vec<&str> = requests.iter().map(|request| text(request, "svix-id")).collect();
    assert!(ids.len() == 4 && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    // Each is signed for the moment at which it is sent.
    let stamps: Vec<f64> =
        requests.iter().map(|request| text(request, "svix-timestamp").parse().unwrap()).collect();
    for (stamps, delay) in stamps.windows(2).zip(&delays[1..]) {
        assert!(((stamps[1] - stamps[0]) - delay).abs() <= 1.0, "{stamps:?} {delay}");
    }
    for (request, object) in requests.iter().zip(&objects) {
        assert_eq!(object["signature"], "valid");
        assert_eq!(request.body, requests[0].body);
        let fields = ["svix-id", "svix-timestamp", "svix-signature"]
            .map(|name| format!("{name}: {}", text(request, name)));
        let explained = ["verify", "-", "--secret", WHSEC, "--explain"];
        let headers = fields.iter().flat_map(|field| ["--header", field]);
        let verified =
            world.run_with_input(&explained.into_iter().chain(headers).collect::<Vec<_>>(), &request.body);
        // The virtual clock of this command stands at the first attempt: the later ones are of its future.
        let shown = verified.text();
        assert!(shown.starts_with("valid") || shown.contains("the signature fits"), "{shown}");
    }
}

#[test]
fn what_is_shown_is_told_attempt_by_attempt() {
    let world = world();
    let mut shown = String::new();
    for (what, scripts, arguments) in [
        ("until it works", &[500, 500, 429, 200][..], &["failed.json", "--contract", "v2"][..]),
        ("at once", &[204], &["failed.json", "--contract", "v2"]),
        ("never", &[503], &["meeting.failed"]),
        ("a callback", &[502, 404], &["failed.json", "--contract", "callback"]),
        ("a status change of v1", &[500], &["status.json", "--contract", "v1"]),
        ("wrong on purpose", &[500, 401], &["meeting.failed", "--sign", "wrong-secret"]),
    ] {
        let handler = statuses(scripts);
        let more = ["--secret", WHSEC, "--retry", "contract", "--to", &handler.target()];
        let done = world.run(&[&["trigger"], arguments, &more].concat());
        shown += &format!("{what}\n{}\n", done.whole());
    }
    insta::with_settings!({ filters => vec![(r"127\.0\.0\.1:\d+", "127.0.0.1:[PORT]")] }, {
        insta::assert_snapshot!(shown);
    });
}

#[test]
fn time_outs_and_429_wait_a_minute_and_retry_after_counts_within_bounds() {
    let world = world();
    let hang: Script = Box::new(|_, _| {
        std::thread::sleep(Duration::from_secs(1));
        Ok(())
    });
    let busy = |after: &'static str| answer(503, &[("Retry-After", after)], b"");
    let cut: Script =
        Box::new(|_, stream| stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal"));
    let then_close: Script = Box::new(move |request, stream| {
        cut(request, stream)?;
        stream.shutdown(std::net::Shutdown::Both)
    });
    for (script, bounds) in [
        (hang, 48.0..=72.0),
        (answer(429, &[("Retry-After", "1")], b""), 48.0..=72.0),
        (answer(429, &[("Retry-After", "90")], b""), 72.0..=108.0),
        (answer(429, &[("Retry-After", "99999999999999999999")], b""), 48.0..=72.0),
        (answer(429, &[("Retry-After", "9999999999")], b""), 96.0..=144.0),
        (busy("8"), 6.4..=9.6),
        (busy("3600"), 8.0..=12.0),
        (busy("Tue, 24 Nov 2026 09:06:00 GMT"), 6.2..=9.4),
        (busy("1e300"), 4.0..=6.0),
        (busy("-5"), 4.0..=6.0),
        (then_close, 4.0..=6.0),
    ] {
        let handler = Handler::scripted(in_turn(vec![script, answer(200, &[], b"")]));
        let arguments = ["trigger", "meeting.failed", "--retry", "contract", "--timeout", "300ms", "--json"];
        let done = world.run(&[&arguments[..], &["--to", &handler.target()]].concat());
        let objects = done.objects();
        assert_eq!((done.code(), objects.len()), (0, 2), "{}", done.whole());
        assert!(bounds.contains(&seconds(&objects[1])), "{bounds:?}: {}", done.whole());
    }
}

#[test]
fn every_ladder_is_climbed_to_its_end_with_delays_within_its_bounds() {
    let world = world();
    let (nobody, _kept) = nobody();
    let broken = statuses(&[500]);
    let svix = &[5.0, 10.0, 300.0, 900.0, 1800.0, 7200.0][..];
    let (mut inputs, mut bad, mut seen) = (0, 0, Vec::new());
    for (contract, body, delays, jitter, rounds) in [
        ("v2", "failed.json", svix, 0.2, 20),
        ("preview", "meeting.started", svix, 0.2, 20),
        ("callback", "failed.json", &[1.0, 5.0, 15.0], 0.0, 3),
        ("alert", "failed.json", &[1.0, 5.0, 15.0], 0.0, 3),
        ("v1", "failed.json", &[1.0, 5.0, 15.0], 0.0, 3),
        ("v1", "status.json", &[0.0, 0.5], 0.0, 3),
    ] {
        for round in 0..rounds {
            let to = if round % 4 == 0 { nobody.clone() } else { broken.target() };
            let arguments =
                ["trigger", body, "--contract", contract, "--secret", WHSEC, "--retry", "contract"];
            let done = world.run(&[&arguments[..], &["--json", "--to", &to]].concat());
            let objects = done.objects();
            let code = if round % 4 == 0 { 5 } else { 3 };
            assert_eq!((done.code(), objects.len()), (code, delays.len() + 1), "{}", done.whole());
            for (object, base) in objects[1..].iter().zip(delays) {
                let share = if *base == 0.0 { 1.0 } else { seconds(object) / base };
                inputs += 1;
                bad += u32::from(!(1.0 - jitter - 1e-3..=1.0 + jitter + 1e-3).contains(&share));
                seen.push(share);
            }
        }
    }
    println!("inputs={inputs} violations={bad}");
    assert_eq!(bad, 0);
    let least = seen.iter().copied().fold(1.0, f64::min);
    let most = seen.iter().copied().fold(1.0, f64::max);
    assert!(least < 0.83 && most > 1.17, "the jitter uses its range: {least} to {most}");
}

#[test]
fn the_real_clock_runs_as_much_faster_as_it_is_told() {
    let (world, handler) = (world(), statuses(&[500, 500, 429, 200]));
    let mut listen = world.listen(&["--forward", &handler.target()]);
    let arguments = ["trigger", "meeting.failed", "--retry", "contract", "--speed", "1000", "--json"];
    let done = world.run_process(&arguments);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let objects: Vec<Value> =
        done.stdout.split(|byte| *byte == b'\n').flat_map(serde_json::from_slice).collect();
    let moments: Vec<jiff::Timestamp> =
        objects.iter().map(|object| object["received_at"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(moments.len(), 4);
    for (moments, object) in moments.windows(2).zip(&objects[1..]) {
        let passed = moments[1].duration_since(moments[0]).as_secs_f64();
        assert!(passed >= seconds(object) / 1000.0, "{passed} s for {object}");
    }
    for status in [500, 500, 429, 200] {
        assert_eq!(listen.next("attempt")["attempt"]["status"], status);
    }
}
