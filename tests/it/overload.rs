//! More than there is room for: slow clients, floods of connections, large bodies, few descriptors.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Duration;

use mbaas_dev::model::Clock;
use sha2::{Digest, Sha256};

use crate::assurance::{Random, is_full, report, tier};
use crate::handler::{Handler, RawRequest, nobody};
use crate::world::{Listening, World};

const PATIENCE: Duration = Duration::from_secs(90);
const MEBIBYTE: usize = 1024 * 1024;
const SEED: u64 = 0x006f_7665_726c;
const GOOD: &[u8] = b"POST /good HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn connect(address: &str, begin: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(begin)?;
    Ok(stream)
}

/// Whether a good request is answered with 200, and after how many milliseconds.
fn good(address: &str) -> (bool, f64) {
    let start = Clock::real().now();
    let mut answer = Vec::new();
    let told = connect(address, GOOD).and_then(|mut stream| stream.read_to_end(&mut answer));
    let took = Clock::real().now().duration_since(start).as_secs_f64() * 1000.0;
    (told.is_ok() && answer.starts_with(b"HTTP/1.1 200 "), took)
}

/// Reads until the other side closes or resets; false when it does neither.
fn is_closed(mut stream: TcpStream) -> bool {
    let mut chunk = vec![0; 65_536];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

/// A line of /proc/PID/status, in KiB.
fn memory(listening: &Listening, name: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", listening.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn descriptors(listening: &Listening) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", listening.pid())).unwrap().count()
}

/// The time that a process has had on a processor, in hundredths of a second.
fn processor_time(listening: &Listening) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", listening.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// A handler that answers `/endless` without end, and everything else with 200.
fn handler() -> Handler {
    Handler::scripted(Box::new(|request: &RawRequest, stream: &mut TcpStream| {
        if !request.line.contains("/endless") {
            return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")?;
        loop {
            stream.write_all(&[b'x'; 8192])?;
        }
    }))
}

/// Good requests, one after the other with a pause, until told to stop; how many were not answered well, and how long
/// each took, in milliseconds, sorted.
fn meanwhile(address: &str, pause: Duration, stop: &AtomicBool) -> (usize, Vec<f64>) {
    let (mut bad, mut took) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let (is_good, millis) = good(address);
        bad += usize::from(!is_good);
        took.push(millis);
        thread::sleep(pause);
    }
    took.sort_by(f64::total_cmp);
    (bad, took)
}

#[test]
fn slow_clients_are_let_go_and_delay_nobody() {
    let (heads, bodies, readers) = tier((60, 30, 10), (1000, 500, 40));
    let (world, handler) = (World::new(), handler());
    let listening = world.listen(&["-f", &handler.target(), "--verify", "off"]);
    let address = listening.address();
    assert!(good(&address).0);
    let (descriptors_before, stop) = (descriptors(&listening), AtomicBool::new(false));
    let head = |number: usize| -> Vec<u8> {
        let whole = b"POST / HTTP/1.1\r\nHost: a\r\nX-A: b";
        whole[..number % whole.len()].to_vec()
    };
    let body = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{".to_vec();
    let slow = (0..heads).map(head).chain(vec![body; bodies]);
    let slow: Vec<TcpStream> = slow.map(|begin| connect(&address, &begin).unwrap()).collect();
    // They never read: what was sent to them hides that they are let go, which only descriptors tell.
    let reader = b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n";
    let readers: Vec<TcpStream> = (0..readers).map(|_| connect(&address, reader).unwrap()).collect();
    let (still_there, (bad, took)) = thread::scope(|scope| {
        let load = scope.spawn(|| meanwhile(&address, Duration::from_millis(50), &stop));
        // The ordinary run sees that those with slow bodies go; the others have half a minute.
        let watched: Vec<TcpStream> =
            if is_full() { slow } else { slow.into_iter().skip(heads).take(bodies).collect() };
        let watched: Vec<_> = watched.into_iter().map(|stream| scope.spawn(|| is_closed(stream))).collect();
        let still_there = watched.into_iter().map(|one| !one.join().unwrap()).filter(|is| *is).count();
        stop.store(true, Ordering::Relaxed);
        (still_there, load.join().unwrap())
    });
    let p99 = took[(took.len() * 99 / 100).min(took.len() - 1)];
    println!(
        "{} good requests meanwhile, p99 {p99:.0} ms, peak {} KiB",
        took.len(),
        memory(&listening, "VmHWM:")
    );
    assert_eq!((still_there, bad), (0, 0));
    assert!(p99 < 2000.0, "the 99th of 100 good requests took {p99} ms");
    assert!(memory(&listening, "VmHWM:") < 256 * 1024);
    assert!(good(&address).0);
    if is_full() {
        // All of them are gone, and what was opened for them.
        let are_gone = || descriptors(&listening) <= descriptors_before + 10;
        let pause = Duration::from_millis(50);
        let in_time = (0..PATIENCE.as_millis() / pause.as_millis()).any(|_| {
            are_gone() || {
                thread::sleep(pause);
                false
            }
        });
        assert!(in_time, "{} descriptors, {descriptors_before} before", descriptors(&listening));
    }
    report("S9", heads + bodies + readers.len(), 0);
}

#[test]
fn a_flood_of_connections_leaves_room_for_who_asks() {
    let count = tier(3000, 10_000);
    let (world, handler) = (World::new(), handler());
    let listening = world.listen(&["-f", &handler.target(), "--verify", "off"]);
    let address = listening.address();
    let mut flood = Vec::new();
    for number in 0..count {
        let begin: &[u8] = match number % 4 {
            0 => b"",
            1 => b"POST / HTTP/1.1\r\nHost: a\r\n",
            2 => b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            _ => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        };
        // Our own descriptors are few: those that were let go already are given back.
        match connect(&address, begin) {
            Ok(stream) => flood.push(stream),
            Err(_) => flood.clear(),
        }
        if flood.len() >= 800 {
            flood.drain(..100);
        }
    }
    let (mut bad, mut slowest) = (0, 0.0_f64);
    for _ in 0..20 {
        let (is_good, took) = good(&address);
        bad += usize::from(!is_good);
        slowest = slowest.max(took);
    }
    println!("slowest good request {slowest:.0} ms, peak {} KiB", memory(&listening, "VmHWM:"));
    assert_eq!(bad, 0);
    assert!(slowest < 5000.0, "{slowest} ms");
    assert!(memory(&listening, "VmHWM:") < 200 * 1024);
    report("S10", count, bad);
    report("P7", count, bad);
}

#[test]
fn with_few_descriptors_connections_wait_and_nothing_spins() {
    const CLIENTS: usize = 100;
    let (world, handler) = (World::new(), handler());
    let mut command = std::process::Command::new("sh");
    let listen =
        world.command(&["listen", "--json", "--port", "0", "-f", &handler.target(), "--verify", "off"]);
    command.args(["-c", "ulimit -n 64; exec \"$@\"", "sh"]).arg(listen.get_program()).args(listen.get_args());
    command
        .current_dir(world.folder())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped());
    let listening = Listening::start(&mut command);
    let address = listening.address();
    assert!(good(&address).0);
    // Half of them keep their connections after an answer, half never say anything.
    let keeps: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\n\r\n";
    let clients: Vec<TcpStream> =
        (0..CLIENTS).map(|number| connect(&address, [keeps, b""][number % 2]).unwrap()).collect();
    let (before, span) = (processor_time(&listening), Duration::from_secs(2));
    thread::sleep(span);
    let spent = processor_time(&listening) - before;
    assert!(spent <= 40, "it spins: {spent} hundredths of a second within two");
    let bad = (0..20).filter(|_| !good(&address).0).count();
    assert!(descriptors(&listening) <= 64);
    drop(clients);
    let bad = bad + (0..20).filter(|_| !good(&address).0).count();
    // Those who are served need descriptors for the handler as well, which is slow now: the others wait outside.
    let gate = Arc::new(RwLock::new(()));
    let closed = gate.write().unwrap();
    let passed = Arc::clone(&gate);
    handler.become_(Box::new(move |_: &RawRequest, stream: &mut TcpStream| {
        drop(passed.read());
        stream.write_all(
            b"HTTP/1.1 200 OK
Content-Length: 2

ok",
        )
    }));
    handler.drain();
    let bad = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| good(&address).0)).collect();
        // A third of what is left beside 32 for other purposes.
        (0..10).for_each(|_| drop(handler.next()));
        drop(closed);
        bad + clients.into_iter().map(|client| client.join().unwrap()).filter(|is_good| !is_good).count()
    });
    report("D22", 2 * CLIENTS + 40, bad);
    assert_eq!(bad, 0);
}

/// Uploads a body of so many bytes, in pieces; the status line of the answer.
fn upload(address: &str, body: &[u8], chunked: bool) -> String {
    let framing = if chunked {
        "Transfer-Encoding: chunked".to_owned()
    } else {
        format!("Content-Length: {}", body.len())
    };
    let head = format!("POST /upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{framing}\r\n\r\n");
    let mut stream = connect(address, head.as_bytes()).unwrap();
    let written = body.chunks(MEBIBYTE).try_for_each(|piece| {
        if chunked {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
        }
        stream.write_all(piece)?;
        if chunked { stream.write_all(b"\r\n") } else { Ok(()) }
    });
    if chunked && written.is_ok() {
        stream.write_all(b"0\r\n\r\n").unwrap();
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

/// A handler that answers with the sum of what it got.
fn summing() -> Handler {
    Handler::scripted(Box::new(|request: &RawRequest, stream: &mut TcpStream| {
        let sum = hex::encode(Sha256::digest(&request.body));
        stream.write_all(format!("HTTP/1.1 200 {sum}\r\nContent-Length: 0\r\n\r\n").as_bytes())
    }))
}

fn random_body(size: usize) -> Vec<u8> {
    let mut random = Random(SEED + size as u64);
    let mut body: Vec<u8> = (0..size.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).collect();
    body.truncate(size);
    body
}

#[test]
fn large_bodies_arrive_whole_and_memory_stays_bounded_however_many_come_at_once() {
    // (--max-body, size, at a time, the peak in MiB)
    let cases: &[(&str, usize, usize, usize)] = tier(
        &[("32M", 32 * MEBIBYTE, 6, 224)],
        &[("32M", 32 * MEBIBYTE, 50, 224), ("128M", 100 * MEBIBYTE, 10, 512), ("32M", MEBIBYTE, 200, 224)],
    );
    let mut inputs = 0;
    let mut violations = Vec::new();
    for (limit, size, number, peak) in cases {
        let (world, handler) = (World::new(), summing());
        // How fast the handler reads is not what this is about.
        let arguments = ["--verify", "off", "--timeout", "0", "--max-body", limit];
        let listening = world.listen(&[&["-f", &handler.target()], &arguments[..]].concat());
        let (address, body) = (listening.address(), random_body(*size));
        let expected = format!("HTTP/1.1 200 {}", hex::encode(Sha256::digest(&body)));
        let answers: Vec<String> = thread::scope(|scope| {
            let upload = |number: usize| {
                let (address, body) = (&address, &body);
                scope.spawn(move || upload(address, body, number % 2 == 1))
            };
            let uploads: Vec<_> = (0..*number).map(upload).collect();
            uploads.into_iter().map(|upload| upload.join().unwrap()).collect()
        });
        let busy = answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 503 ")).count();
        let wrong: Vec<&String> = answers
            .iter()
            .filter(|answer| **answer != expected && !answer.starts_with("HTTP/1.1 503 "))
            .collect();
        let most = memory(&listening, "VmHWM:") / 1024;
        println!("{number} × {size} bytes: peak {most} MiB, {busy} were asked to try again");
        inputs += number;
        if !wrong.is_empty() {
            violations.push(format!("{size}: {wrong:?}"));
        }
        if most > *peak {
            violations.push(format!("{number} × {size}: {most} MiB at the most, more than {peak}"));
        }
        if busy == *number {
            violations.push(format!("{number} × {size}: none of them was taken"));
        }
        assert!(good(&address).0);
        // Over the limit is over the limit.
        let over = upload(
            &address,
            &vec![b'x'; 1 + limit.trim_end_matches('M').parse::<usize>().unwrap() * MEBIBYTE],
            false,
        );
        if !over.starts_with("HTTP/1.1 413 ") {
            violations.push(format!("over {limit}: {over}"));
        }
    }
    report("D13", inputs, violations.len());
    report("D23", inputs, violations.len());
    report("P7", inputs, violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn bodies_that_wait_for_their_handler_take_no_room_from_others() {
    let (number, size) = (60, MEBIBYTE);
    let (world, (target, _socket)) = (World::new(), nobody());
    let listening = world.listen(&["-f", &target, "--verify", "off", "--hold"]);
    let (address, body) = (listening.address(), random_body(size));
    let refused =
        (0..number).filter(|_| !upload(&address, &body, false).starts_with("HTTP/1.1 202 ")).count();
    let most = memory(&listening, "VmHWM:") / 1024;
    println!("{number} × {size} bytes held: peak {most} MiB");
    let violations = refused + usize::from(most > 160);
    report("D13", number, violations);
    assert_eq!(violations, 0, "{refused} were not held, {most} MiB at the most");
}

#[test]
fn an_upload_that_breaks_off_is_recorded_as_incomplete_and_never_forwarded() {
    let count = tier(60, 200);
    let (world, handler) = (World::new(), Handler::start());
    let mut listening = world.listen(&["-f", &handler.target(), "--verify", "off"]);
    let address = listening.address();
    let mut random = Random(SEED);
    let body = random_body(100_000);
    let (mut violations, mut begun) = (Vec::new(), 0);
    for number in 0..count {
        let is_chunked = number % 2 == 1;
        let framing = if is_chunked { "Transfer-Encoding: chunked" } else { "Content-Length: 100000" };
        let head = format!("POST /{number} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
        let mut whole = head.clone().into_bytes();
        for piece in body.chunks(if is_chunked { 1 + random.below(30_000) } else { body.len() }) {
            if is_chunked {
                whole.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            }
            whole.extend_from_slice(piece);
            if is_chunked {
                whole.extend_from_slice(b"\r\n");
            }
        }
        let at = random.below(whole.len());
        let stream = connect(&address, &whole[..at]).unwrap();
        // Some say that nothing more comes, some are gone.
        if number % 3 > 0 {
            stream.shutdown(Shutdown::Write).unwrap();
            is_closed(stream);
        } else {
            drop(stream);
        }
        if at < head.len() {
            continue;
        }
        begun += 1;
        let told = listening.next("not_forwarded");
        if told["path"] != format!("/{number}") || told["not_forwarded"] != "incomplete" {
            violations.push(format!("{number}, cut at {at}: {told}"));
        }
        let shown = world.run(&["deliveries", "show", told["id"].as_str().unwrap(), "--body"]).stdout;
        let sent = if is_chunked { body.starts_with(&shown) } else { shown == body[..at - head.len()] };
        if !sent {
            violations.push(format!("{number}, cut at {at}: {} bytes are recorded", shown.len()));
        }
    }
    assert!(good(&address).0);
    let seen: Vec<String> = handler.drain().into_iter().map(|request| request.line).collect();
    if seen != ["POST /good HTTP/1.1"] {
        violations.push(format!("the handler sees {seen:?}"));
    }
    report("D14", begun, violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}
