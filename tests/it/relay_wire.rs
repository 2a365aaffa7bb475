//! What is written to a relay that no sender and no `listen` writes: requests that two servers read in two ways, frames of
//! WebSockets and of HTTP/2 that break rules or come in floods, URLs that would lead it elsewhere, pages, bombs.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::assurance::{report, tier};
use crate::handler::{Handler, answer};
use crate::relaying::{PATIENCE, Relay, TOKEN, channel, metric, send};
use crate::wire::{Case, ambiguity, cases, exchange, statuses};
use crate::world::{Listening, World};

/// What a relay asks a tunnel to begin with.
const TUNNEL: &str = "GET /tunnel HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: mbaas-dev.tunnel.v1\r\nAuthorization: Bearer an-access-token\r\n";

/// A relay, a `listen` behind it, and a handler.
struct Road {
    _of_relay: World,
    world: World,
    handler: Handler,
    relay: Relay,
    listen: Listening,
    channel: String,
}

impl Road {
    fn new() -> Self {
        let (of_relay, world, handler) = (World::new(), World::new(), Handler::start());
        let relay = Relay::start(&of_relay, &[]);
        let listen = relay.listen(&world, &["--forward", &handler.target()]);
        let channel = channel(&listen);
        Self { _of_relay: of_relay, world, handler, relay, listen, channel }
    }

    /// Whether a request passes as always.
    fn works(&self) -> bool {
        let reply = send(&self.relay.address, "POST", &self.channel, "", b"good");
        reply.is_ok_and(|reply| reply.status == 200) && self.handler.next().body == b"good"
    }

    /// The most memory that the relay has had, in MiB.
    fn most_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.relay.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }
}

#[test]
fn what_two_servers_could_read_in_two_ways_is_not_taken_through_a_relay_either() {
    let road = Road::new();
    let (address, mut violations, cases) = (&road.relay.address, Vec::new(), cases());
    let prefix = format!("POST {}/", road.channel);
    for Case { expected, seen, bytes, half_closed, name } in &cases {
        // Each request is for the channel, also those that are hidden in others.
        let mut sent = Vec::new();
        let mut rest = &bytes[..];
        while let Some(at) = rest.windows(6).position(|part| part == b"POST /") {
            sent.extend_from_slice(&rest[..at]);
            sent.extend_from_slice(prefix.as_bytes());
            rest = &rest[at + 6..];
        }
        sent.extend_from_slice(rest);
        let found = exchange(address, &sent, *half_closed).map(|answers| statuses(&answers));
        let found = found.unwrap_or_else(|error| format!("the connection stays open ({error})"));
        let requests = road.handler.drain();
        if *seen == 0 && (found != *expected || !requests.is_empty()) {
            let lines: Vec<&str> = requests.iter().map(|request| request.line.as_str()).collect();
            violations.push(format!("{name}: {found} and not {expected}, the handler sees {lines:?}"));
        }
        if requests.len() > *seen {
            violations.push(format!("{name}: the handler sees {} requests, and not {seen}", requests.len()));
        }
        for request in &requests {
            violations.extend(ambiguity(request, &road.handler).map(|what| format!("{name}: {what}")));
            if request.line.contains("smuggled") {
                violations.push(format!("{name}: a request that nobody sent"));
            }
        }
        assert!(road.works(), "after {name}");
    }
    report("S8", cases.len(), violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// A frame as a client writes it: its first byte, whether it is masked, the length that it says, what it has.
fn frame(first: u8, is_masked: bool, length: u64, payload: &[u8]) -> Vec<u8> {
    let mask = if is_masked { 0x80 } else { 0 };
    let mut frame = vec![first];
    match length {
        0..126 => frame.push(mask | u8::try_from(length).unwrap()),
        126..65_536 => {
            frame.push(mask | 0x7e);
            frame.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
        _ => {
            frame.push(mask | 0x7f);
            frame.extend_from_slice(&length.to_be_bytes());
        }
    }
    if is_masked {
        frame.extend_from_slice(&[0; 4]);
    }
    frame.extend_from_slice(payload);
    frame
}

fn whole(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, true, payload.len() as u64, payload)
}

/// What a tunnel may be told, and what never ends well.
fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    vec![
        ("not masked", frame(0x82, false, 3, b"abc")),
        ("a reserved bit", whole(0xc2, b"abc")),
        ("another reserved bit", whole(0xa2, b"abc")),
        ("the third reserved bit", whole(0x92, b"abc")),
        ("all reserved bits", whole(0xf2, b"abc")),
        ("an unknown kind of data", whole(0x83, b"abc")),
        ("an unknown kind of control", whole(0x8b, b"")),
        ("text", whole(0x81, b"abc")),
        ("text that is no UTF-8", whole(0x81, b"\xff\xfe")),
        ("a ping that is too long", whole(0x89, &[0; 126])),
        ("a ping in parts", whole(0x09, b"a")),
        ("a close in parts", whole(0x08, b"")),
        ("the rest of nothing", whole(0x80, b"abc")),
        ("a message within a message", [whole(0x02, b"a"), whole(0x82, b"b")].concat()),
        ("a text within a message", [whole(0x02, b"a"), whole(0x81, b"b")].concat()),
        ("the largest length", frame(0x82, true, u64::MAX, b"")),
        ("a length of 2^63", frame(0x82, true, 1 << 63, b"")),
        ("a length of a gibibyte", frame(0x82, true, 1 << 30, b"abc")),
        ("a frame of 257 KiB", whole(0x82, &[0; 257 * 1024])),
        (
            "parts of more than 256 KiB",
            [whole(0x02, &[0; 1024]), whole(0x00, &[0; 65_536]).repeat(5)].concat(),
        ),
        (
            "a million parts of one byte",
            [whole(0x02, b"a"), whole(0x00, b"a").repeat(tier(300_000, 1_000_000))].concat(),
        ),
        ("a close of one byte", whole(0x88, b"\x03")),
        ("a close with a code that is none", whole(0x88, &1005_u16.to_be_bytes())),
        ("a close with a reason that is no UTF-8", whole(0x88, b"\x03\xe8\xff")),
        ("a flood of pings", whole(0x89, b"x").repeat(tier(2_000, 500_000))),
        ("a flood of pongs", whole(0x8a, b"x").repeat(tier(2_000, 500_000))),
        ("a flood of nothing", whole(0x82, b"").repeat(tier(2_000, 500_000))),
        ("what is no HTTP/2", whole(0x82, &[0x55; 4096])),
        ("an HTTP/1 answer", whole(0x82, b"HTTP/1.1 200 OK\r\n\r\n")),
        ("a client's preface", whole(0x82, preface)),
        ("a frame of HTTP/2 that is too large", whole(0x82, &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])),
        ("settings that are cut short", whole(0x82, &[0, 0, 5, 4, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5])),
        (
            "a push",
            whole(
                0x82,
                &[&[0, 0, 0, 4, 0, 0, 0, 0, 0][..], &[0, 0, 5, 5, 4, 0, 0, 0, 1, 0, 0, 0, 2, 0x88]].concat(),
            ),
        ),
        (
            "an answer to nothing",
            whole(0x82, &[&[0, 0, 0, 4, 0, 0, 0, 0, 0][..], &[0, 0, 1, 1, 5, 0, 0, 0, 7, 0x88]].concat()),
        ),
    ]
}

#[test]
fn what_breaks_the_rules_of_a_websocket_ends_that_tunnel_and_nothing_else() {
    let road = Road::new();
    let (mut violations, frames) = (Vec::new(), frames());
    for (number, (name, bytes)) in frames.iter().enumerate() {
        let mut stream = TcpStream::connect(&road.relay.address).unwrap();
        // Whoever says nothing that counts is asked for a sign of life after 10 s, and let go after 25: it must not come to that.
        stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let head = format!("{TUNNEL}mbaas-dev-listen-token: {number:064x}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut seen = [0; 12];
        stream.read_exact(&mut seen).unwrap();
        assert_eq!(&seen, b"HTTP/1.1 101");
        // Whoever is cut off cannot write to the end.
        let written = stream.write_all(bytes);
        let is_over =
            |error: io::Error| matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
        let ended = match stream.read_to_end(&mut Vec::new()) {
            Ok(_) => true,
            Err(error) => is_over(error),
        };
        if !ended || !written.map_or_else(is_over, |()| true) {
            violations.push(format!("{name}: the tunnel stays"));
        }
        assert!(road.works(), "after {name}");
    }
    let memory = road.most_memory();
    println!("most memory: {memory} MiB");
    violations.extend((memory > 200).then(|| format!("{memory} MiB of memory")));
    assert_eq!(road.relay.health()["connected"], 1);
    report("S13", frames.len(), violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// A frame of HTTP/2.
fn h2(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A request for the root, in the table that everybody has.
const ROOT: [u8; 6] = [0x83, 0x86, 0x84, 0x41, 0x01, b'a'];

fn floods() -> Vec<(&'static str, Vec<u8>)> {
    let many = |count: usize, one: &dyn Fn(u32) -> Vec<u8>| {
        (0..u32::try_from(count).unwrap()).flat_map(|number| one(2 * number + 1)).collect::<Vec<u8>>()
    };
    let count = tier(5_000, 50_000);
    let settings = |payload: &[u8]| h2(4, 0, 0, payload);
    let window = [0x00, 0x04, 0x7f, 0xff, 0xff, 0xff];
    vec![
        ("resets", many(count, &|id| [h2(1, 5, id, &ROOT), h2(3, 0, id, &[0, 0, 0, 8])].concat())),
        ("streams without an end", many(count, &|id| h2(1, 4, id, &ROOT))),
        (
            "continuations without an end",
            [h2(1, 1, 1, &ROOT), h2(9, 0, 1, &[0x40; 1024]).repeat(count)].concat(),
        ),
        ("empty continuations", [h2(1, 1, 1, &ROOT), h2(9, 0, 1, &[]).repeat(count)].concat()),
        ("settings", settings(&window).repeat(count)),
        ("pings", h2(6, 0, 0, &[0; 8]).repeat(count)),
        ("priorities", many(count, &|id| h2(2, 0, id, &[0, 0, 0, 0, 1]))),
        ("empty data", [h2(1, 4, 1, &ROOT), h2(0, 0, 1, &[]).repeat(count)].concat()),
        ("windows", h2(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff]).repeat(3)),
        ("windows of nothing", h2(8, 0, 0, &[0; 4]).repeat(3)),
        ("a frame that is too large", h2(0, 0, 1, &[0; 70_000])),
        ("a request on no stream", h2(1, 5, 0, &ROOT)),
        ("a request on a stream of ours", h2(1, 5, 2, &ROOT)),
        ("data on a stream that is not there", h2(0, 1, 9, b"abc")),
        ("a table that is not there", h2(1, 5, 1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0x0f])),
        ("a head that unfolds", {
            // One long field in the table, and a thousand references to it.
            let mut block = ROOT.to_vec();
            block.extend_from_slice(&[0x40, 0x01, b'x', 0x7f, 0x81, 0x1e]);
            block.extend_from_slice(&[b'a'; 4000]);
            block.extend_from_slice(&[0xbe; 4000]);
            h2(1, 5, 1, &block)
        }),
        (
            "a smuggled end of line",
            h2(1, 5, 1, &[&ROOT[..], &[0x40, 1, b'x', 5, b'a', b'\r', b'\n', b'b', b':']].concat()),
        ),
        ("a connection field", h2(1, 5, 1, &[&ROOT[..], b"\x40\x11transfer-encoding\x07chunked"].concat())),
    ]
}

/// Those after which nobody is talked to any more.
const LET_GO: [&str; 7] = [
    "resets",
    "streams without an end",
    "continuations without an end",
    "empty continuations",
    "empty data",
    "a head that unfolds",
    "a smuggled end of line",
];

/// The code with which a connection of HTTP/2 was ended, if it was for a reason.
fn goodbye(mut frames: &[u8]) -> Option<u32> {
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = frames {
        let length = u32::from_be_bytes([0, *a, *b, *c]);
        let (payload, behind) = rest.split_at_checked(usize::try_from(length).unwrap())?;
        if let (7, [_, _, _, _, code @ ..]) = (kind, payload) {
            let code = u32::from_be_bytes(code[..4].try_into().unwrap());
            return Some(code).filter(|code| *code > 0);
        }
        frames = behind;
    }
    None
}

#[test]
fn floods_of_http_2_are_ended_or_served_and_hold_up_nobody() {
    let road = Road::new();
    let (mut violations, floods) = (Vec::new(), floods());
    for (name, bytes) in &floods {
        let mut stream = TcpStream::connect(&road.relay.address).unwrap();
        let mut reading = stream.try_clone().unwrap();
        std::thread::scope(|scope| {
            // Whoever does not read what it is answered is let go later: here it is told.
            let read = scope.spawn(move || {
                reading.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
                let (mut all, mut chunk) = (Vec::new(), [0; 16 * 1024]);
                while let Ok(length) = reading.read(&mut chunk) {
                    if length == 0 {
                        break;
                    }
                    all.extend_from_slice(&chunk[..length]);
                }
                all
            });
            let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &h2(4, 0, 0, &[])].concat();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            let written = stream.write_all(&preface).and_then(|()| stream.write_all(bytes));
            // In the midst of it, others are served.
            if !road.works() {
                violations.push(format!("{name}: nobody else is served"));
            }
            stream.shutdown(std::net::Shutdown::Write).ok();
            let goodbye = goodbye(&read.join().unwrap());
            println!("{name}: {written:?}, {goodbye:?}");
            if LET_GO.contains(name) && goodbye.is_none() {
                violations.push(format!("{name}: may go on for ever"));
            }
        });
    }
    let memory = road.most_memory();
    println!("most memory: {memory} MiB");
    violations.extend((memory > 200).then(|| format!("{memory} MiB of memory")));
    violations.extend((!road.handler.drain().is_empty()).then(|| "the handler got something".to_owned()));
    report("S14", floods.len(), violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn what_a_handler_answers_is_no_page_on_the_relays_host() {
    let road = Road::new();
    let kinds = [
        "text/html",
        "text/html; charset=utf-8",
        "TEXT/HTML",
        "application/xhtml+xml",
        "image/svg+xml",
        "text/xml",
        "application/xml",
        "application/pdf",
        "text/javascript",
        "multipart/x-mixed-replace; boundary=x",
        "text/html, application/json",
        "",
    ];
    let page = b"<html><script>alert(document.cookie)</script></html>";
    let mut violations = Vec::new();
    for kind in kinds {
        let fields = [
            ("Content-Type", kind),
            ("Set-Cookie", "a=b"),
            ("Clear-Site-Data", "\"*\""),
            ("Location", "https://elsewhere.test/"),
        ];
        road.handler.become_(answer(200, &fields, page));
        let reply = send(&road.relay.address, "POST", &road.channel, "", b"x").unwrap();
        let line = |name: &str| {
            let begin = format!("{name}: ");
            reply.head.lines().find_map(|line| line.strip_prefix(&begin)).unwrap_or_default().to_owned()
        };
        let is_harmless = line("content-type") == "text/plain; charset=utf-8"
            && line("content-security-policy").starts_with("sandbox")
            && line("x-content-type-options") == "nosniff"
            && line("x-robots-tag") == "noindex"
            && ["set-cookie", "clear-site-data", "location"].iter().all(|name| line(name).is_empty());
        if !is_harmless || reply.body != page {
            violations.push(format!("{kind}: {}", reply.head));
        }
    }
    // What is not for a channel is no page either.
    for path in ["/", "/in/x", "/tunnel", "/in/<script>", "/healthz"] {
        let reply = send(&road.relay.address, "GET", path, "", b"").unwrap();
        // What is no request gets no words at all.
        let is_json = reply.head.contains("content-type: application/json") || reply.body.is_empty();
        violations.extend((!is_json).then(|| format!("{path}: {}", reply.head)));
    }
    report("S17", kinds.len() + 5, violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn a_relay_connects_to_nobody_whatever_it_is_sent() {
    let (of_relay, world) = (World::new(), World::new());
    let relay = Relay::start(&of_relay, &[]);
    let listen = relay.listen(&world, &[]);
    let channel = channel(&listen);
    let log = of_relay.folder().join("strace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=connect,sendto", "-p", &relay.pid().to_string(), "-o"]).arg(&log);
    let mut strace = strace.stderr(Stdio::null()).spawn().unwrap();
    // It is there when it says anything.
    let is_traced = || {
        let status = fs::read_to_string(format!("/proc/{}/status", relay.pid())).unwrap();
        !status.contains("TracerPid:\t0")
    };
    assert!((0..2000).any(|_| is_traced() || {
        std::thread::sleep(PATIENCE / 2000);
        false
    }));
    let urls = [
        "http://127.0.0.1:1/x",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]:1/",
        "http://0x7f000001:1/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://[::ffff:127.0.0.1]/",
        "http://[fe80::1%25eth0]/",
        "http://localhost:1/",
        "https://metadata.google.internal/",
        "ftp://127.0.0.1/",
        "gopher://127.0.0.1:1/_x",
        "file:///etc/passwd",
        "//127.0.0.1:1/",
    ];
    let mut inputs = 0;
    for url in urls {
        let body = format!("{{\"callback_url\":\"{url}\",\"url\":\"{url}\",\"webhook_url\":\"{url}\"}}");
        let headers = format!(
            "X-Callback-Url: {url}\r\nReferer: {url}\r\nForwarded: host={url}\r\nX-Forwarded-Host: {url}\r\n\
             X-Original-URL: {url}\r\nX-Rewrite-URL: {url}\r\nLocation: {url}\r\n"
        );
        for path in
            [channel.clone(), format!("{channel}/{url}"), format!("{channel}?url={url}"), url.to_owned()]
        {
            send(&relay.address, "POST", &path, &headers, body.as_bytes()).ok();
            inputs += 1;
        }
    }
    relay.is_drained();
    Command::new("kill").arg(strace.id().to_string()).status().unwrap();
    strace.wait().unwrap();
    let traced = fs::read_to_string(log).unwrap();
    let is_connection =
        |line: &&str| line.contains("connect(") || line.contains("sin_port") || line.contains("sin6_port");
    let connections: Vec<&str> = traced.lines().filter(is_connection).collect();
    report("S16", inputs, connections.len());
    assert!(connections.is_empty(), "{}", connections.join("\n"));
    assert!(traced.contains("sendto("), "nothing was traced");
}

fn packed(encode: impl Fn(&[u8]) -> Vec<u8>, times: usize, bytes: &[u8]) -> Vec<u8> {
    (0..times).fold(bytes.to_vec(), |bytes, _| encode(&bytes))
}

#[test]
fn bombs_pass_as_they_are_and_unfold_nowhere() {
    let road = Road::new();
    let gzip = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zlib = |bytes: &[u8]| {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zeros = vec![b'0'; tier(16 << 20, 256 << 20)];
    let bomb = gzip(&zeros);
    let bombs: Vec<(&str, &str, Vec<u8>)> = vec![
        ("gzip", "gzip", bomb.clone()),
        ("gzip twice", "gzip, gzip", packed(gzip, 1, &bomb)),
        ("gzip five times", "gzip", packed(gzip, 4, &bomb)),
        ("gzip without a word", "", bomb.clone()),
        ("gzip cut short", "gzip", bomb[..bomb.len() / 2].to_vec()),
        ("gzip with a wrong sum", "gzip", [&bomb[..bomb.len() - 8], &[0; 8]].concat()),
        ("two in a row", "gzip", [bomb.clone(), bomb.clone()].concat()),
        ("deflate", "deflate", zlib(&zeros)),
        ("gzip called deflate", "deflate", bomb.clone()),
        ("no brotli", "br", bomb.clone()),
        ("no zstd", "zstd", b"\x28\xb5\x2f\xfd\xa4\xff\xff\xff\xff".to_vec()),
        ("a hundred codings", &"gzip,".repeat(100), bomb.clone()),
    ]
    .into_iter()
    .map(|(name, coding, body)| (name, Box::leak(coding.to_owned().into_boxed_str()) as &str, body))
    .collect();
    let mut violations = Vec::new();
    for (name, coding, body) in &bombs {
        let headers = if coding.is_empty() {
            "Content-Type: application/json\r\nX-MeetingBaas-Signature: 00\r\n".to_owned()
        } else {
            format!(
                "Content-Type: application/json\r\nContent-Encoding: {coding}\r\nX-MeetingBaas-Signature: 00\r\n"
            )
        };
        let reply = send(&road.relay.address, "POST", &road.channel, &headers, body).unwrap();
        let request = road.handler.next();
        if reply.status != 200 || request.body != *body {
            violations.push(format!("{name}: {} and {} bytes", reply.status, request.body.len()));
        }
    }
    violations
        .extend((road.most_memory() > 150).then(|| format!("the relay had {} MiB", road.most_memory())));
    for (number, (name, ..)) in (1..).zip(&bombs) {
        for arguments in [&["deliveries", "show"][..], &["-v", "deliveries", "show"]] {
            let number = format!("#{number}");
            let done = road.world.run_process(&[arguments, &[&number]].concat());
            if !done.status.success() || done.stdout.len() > 1 << 20 {
                violations.push(format!("{name}: {} bytes, {}", done.stdout.len(), done.status));
            }
        }
    }
    let listening = format!("/proc/{}/status", road.listen.pid());
    let status = fs::read_to_string(listening).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let most = most.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024;
    println!("listen had {most} MiB at most");
    violations.extend((most > 200).then(|| format!("listen had {most} MiB")));
    report("S12", bombs.len(), violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn a_flood_of_tunnels_without_a_token_leaves_room_for_who_has_one() {
    let (count, at_once) = (tier(2_000, 10_000), 500);
    let road = Road::new();
    let head = TUNNEL.replace(TOKEN, "wrong") + "mbaas-dev-listen-token: 00\r\n\r\n";
    let (mut violations, mut refused) = (0, 0);
    for _ in 0..count / at_once {
        let streams: Vec<TcpStream> = (0..at_once)
            .map(|_| {
                let mut stream = TcpStream::connect(&road.relay.address).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.write_all(head.as_bytes()).unwrap();
                stream
            })
            .collect();
        violations += usize::from(!road.works());
        for mut stream in &streams {
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).unwrap();
            refused += usize::from(&answer == b"HTTP/1.1 401");
        }
    }
    violations += count - refused;
    violations += usize::from(road.most_memory() > 200);
    println!("most memory: {} MiB", road.most_memory());
    assert_eq!(metric(&road.relay, "tunnels_refused_total{reason=\"access\"}"), refused as u64);
    report("S10", count, violations);
    assert_eq!(violations, 0);
}
