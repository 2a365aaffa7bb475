//! How fast events are made: signed and serialised events a second for each contract, a transcript of eight hours,
//! `trigger` as a whole process. `cargo bench --bench events`; arguments choose parts: `events`, `transcript`, `trigger`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement may panic, and says what it measured"
)]
#![expect(clippy::disallowed_methods, reason = "what is measured is time")]

use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mbaas_dev::contract::schema::Schema;
use mbaas_dev::fixture::{Artifacts, Catalogue, Run};
use mbaas_dev::maker::Maker;
use mbaas_dev::model::{Clock, Contract, Origin, Secret, Target};
use mbaas_dev::request_text;
use mbaas_dev::signature::{HeaderStyle, Key, Keyring, SignMode};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// How long each event is made over and over.
const SPAN: Duration = Duration::from_secs(1);

fn main() {
    // Cargo adds `--bench`.
    let parts: Vec<String> = std::env::args().skip(1).filter(|part| !part.starts_with('-')).collect();
    let wants = |part: &str| parts.is_empty() || parts.iter().any(|other| other == part);
    if wants("events") {
        events();
    }
    if wants("transcript") {
        transcript();
    }
    if wants("trigger") {
        trigger();
    }
}

/// Signed requests as text, on one core. The target is 200,000 a second for a v2 event of 300 bytes.
fn events() {
    let catalogue = Catalogue::embedded();
    println!("{:<10}{:<28}{:>8}{:>14}{:>10}", "contract", "event", "bytes", "events/s", "µs each");
    for (contract, name) in [
        (Contract::V2, "bot.status_change"),
        (Contract::V2, "bot.completed"),
        (Contract::Callback, "bot.completed"),
        (Contract::Callback, "bot.failed"),
        (Contract::V1, "bot.status_change"),
        (Contract::V1, "complete"),
        (Contract::Preview, "meeting.failed"),
        (Contract::Preview, "meeting.completed"),
        (Contract::Alert, "alert"),
    ] {
        let entry = catalogue.find(&name.parse().unwrap(), Some(contract)).unwrap();
        let maker = Maker {
            origin: Origin::Trigger,
            event: entry.clone().into(),
            minutes: None,
            patches: Vec::new(),
            mode: SignMode::Valid,
            style: HeaderStyle::Svix,
            method: None,
            raw: false,
            names: catalogue.wire_names(),
            artifacts: Artifacts::default(),
            environment: |_| None,
        };
        let (clock, target) = (Clock::real(), Target::local("localhost", 4400));
        let keys = Keyring::new(Key::new(Secret::new(SECRET), "a measurement"));
        let mut bytes = 0;
        let mut make = || {
            let parcel = maker.make(&clock, &keys).unwrap();
            bytes = parcel.request.body.len();
            black_box(request_text::http(&target, &parcel.request));
        };
        let each = each(&mut make);
        println!(
            "{:<10}{name:<28}{bytes:>8}{:>14.0}{:>10.2}",
            contract.as_str(),
            1.0 / each.as_secs_f64(),
            each.as_secs_f64() * 1e6
        );
    }
}

/// What one call takes, the best of five spans.
fn each(call: &mut impl FnMut()) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let (start, mut calls) = (Instant::now(), 0);
        while start.elapsed() < SPAN / 5 {
            for _ in 0..64 {
                call();
            }
            calls += 64;
        }
        best = best.min(start.elapsed() / calls);
    }
    best
}

/// A body with a transcript of eight hours, and what checking it against its schema takes. The target is 50 ms.
fn transcript() {
    let catalogue = Catalogue::embedded();
    for (contract, name) in [(Contract::Preview, "meeting.completed"), (Contract::V1, "complete")] {
        let entry = catalogue.find(&name.parse().unwrap(), Some(contract)).unwrap();
        let mut length = 0;
        let mut make = || {
            let run = Run::new(&Clock::real(), |_| None).lasting(480);
            length = black_box(entry.fixture.render_canonical(&run).unwrap()).len();
        };
        let took = median(20, &mut make);
        println!(
            "transcript of 480 minutes, {contract} {name}: {:.1} MB in {}",
            f64::from(u32::try_from(length).unwrap()) / 1e6,
            shown(took)
        );
    }
    let name = "bot.completed".parse().unwrap();
    let took = median(20, &mut || {
        black_box(Schema::of(Contract::V2, &name).unwrap().compile());
    });
    println!("compiling the schema of v2 bot.completed: {}", shown(took));
}

/// `trigger` from its start to its exit, against a handler on this machine. The target is 15 ms.
fn trigger() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || listener.incoming().flatten().for_each(answer));
    for event in ["meeting.failed", "bot.completed"] {
        let took = median(40, &mut || {
            let status = Command::new(env!("CARGO_BIN_EXE_mbaas-dev"))
                .args(["trigger", event, "--to", &to, "--secret", SECRET])
                .current_dir(folder.path())
                .stdout(Stdio::null())
                .status();
            assert!(status.unwrap().success());
        });
        println!("trigger {event}, start to exit: {}", shown(took));
    }
}

/// Answers one request after the other with 200.
fn answer(stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).unwrap_or(0) > 0 {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_err() {
                return;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").ok();
        }
        line.clear();
    }
}

fn median(rounds: usize, call: &mut impl FnMut()) -> Duration {
    let mut took: Vec<Duration> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            call();
            start.elapsed()
        })
        .collect();
    took.sort();
    took[rounds / 2]
}

fn shown(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}
