//! Senders that write what HTTP does not allow, or what two servers could read in two ways: `tests/wire.tsv` and more.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use crate::assurance::{Random, report, tier};
use crate::handler::{Handler, RawRequest, answer};
use crate::world::{Listening, World};

const PATIENCE: Duration = Duration::from_secs(20);
const SEED: u64 = 0x7769_7265;

/// A line of `tests/wire.tsv`.
pub struct Case {
    pub expected: String,
    pub seen: usize,
    pub bytes: Vec<u8>,
    /// Whether the sender says that nothing more comes.
    pub half_closed: bool,
    pub name: &'static str,
}

pub fn cases() -> Vec<Case> {
    let lines = include_str!("../wire.tsv").lines().filter(|line| !line.starts_with('#'));
    let case = |line: &'static str| {
        let [expected, seen, bytes, name] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("four columns: {line}")
        };
        let (bytes, half_closed) = unescape(bytes);
        Case { expected: expected.to_owned(), seen: seen.parse().unwrap(), bytes, half_closed, name }
    };
    lines.map(case).collect()
}

fn unescape(text: &str) -> (Vec<u8>, bool) {
    let (mut bytes, mut rest, mut half_closed) = (Vec::new(), text, false);
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let kind = rest[at + 1..].chars().next().unwrap();
        rest = &rest[at + 2..];
        match kind {
            'r' => bytes.push(b'\r'),
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            'x' => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                rest = &rest[2..];
            }
            '{' => {
                let (inside, behind) = rest.split_once('}').unwrap();
                match inside.split_once('*') {
                    Some((count, text)) => bytes.extend(text.repeat(count.parse().unwrap()).bytes()),
                    None if inside == "half" => half_closed = true,
                    None => panic!("{inside}"),
                }
                rest = behind;
            }
            other => panic!("\\{other}"),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    (bytes, half_closed)
}

/// Everything that comes back until the connection is closed.
pub fn exchange(address: &str, bytes: &[u8], half_closed: bool) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // A request that is refused early is not read to its end.
    let written = stream.write_all(bytes);
    if half_closed {
        stream.shutdown(Shutdown::Write)?;
    }
    let (mut all, mut chunk) = (Vec::new(), [0; 16 * 1024]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(all),
            Ok(length) => all.extend_from_slice(&chunk[..length]),
            // What was not read when it was closed makes it a reset.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(all),
            Err(error) => return Err(written.err().unwrap_or(error)),
        }
    }
}

/// The statuses of the answers, in their order; `h2` for what is not HTTP/1.
pub fn statuses(mut answers: &[u8]) -> String {
    let mut found = Vec::new();
    while !answers.is_empty() {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(start)) = head.parse(answers) else {
            found.push("h2".to_owned());
            break;
        };
        let length = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
        let length = length.map_or(0, |field| String::from_utf8_lossy(field.value).parse::<usize>().unwrap());
        found.push(head.code.unwrap().to_string());
        answers = &answers[(start + length).min(answers.len())..];
    }
    if found.is_empty() { "-".to_owned() } else { found.join(" ") }
}

/// What is wrong with a request as the handler got it: it must be readable in one way only.
pub fn ambiguity(request: &RawRequest, handler: &Handler) -> Option<String> {
    let count =
        |name: &str| request.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).count();
    let lengths: Vec<&[u8]> = request
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"content-length"))
        .map(|(_, value)| value.as_slice())
        .collect();
    let length = request.body.len().to_string();
    let is_wrong = |length: &&[u8]| **length != *request.body.len().to_string().as_bytes();
    if count("host") != 1 || request.header("host") != Some(handler.target().as_bytes()) {
        return Some(format!("{} Hosts, the first {:?}", count("host"), request.header("host")));
    }
    if ["transfer-encoding", "connection", "te", "trailer", "upgrade"].iter().any(|name| count(name) > 0) {
        return Some("a field that concerns one connection only".to_owned());
    }
    if lengths.iter().any(is_wrong) || (lengths.is_empty() && !request.body.is_empty()) {
        return Some(format!("lengths {lengths:?} for a body of {length}"));
    }
    None
}

#[test]
fn what_two_servers_could_read_in_two_ways_is_refused_and_the_rest_is_one_clear_request() {
    let (world, handler) = (World::new(), Handler::start());
    let listening = world.listen(&["-f", &handler.target()]);
    let address = listening.address();
    let (mut violations, mut table) = (Vec::new(), String::new());
    let cases = cases();
    for Case { expected, seen, bytes, half_closed, name } in &cases {
        let found = exchange(&address, bytes, *half_closed).map(|answers| statuses(&answers));
        let found = found.unwrap_or_else(|error| format!("the connection stays open ({error})"));
        let requests = handler.drain();
        if found != *expected || requests.len() != *seen {
            let lines: Vec<&str> = requests.iter().map(|request| request.line.as_str()).collect();
            violations.push(format!("{name}: {found} and not {expected}, the handler sees {lines:?}"));
        }
        for request in &requests {
            if let Some(what) = ambiguity(request, &handler) {
                violations.push(format!("{name}: {what}"));
            }
            if request.line.contains("smuggled") {
                violations.push(format!("{name}: a request that nobody sent"));
            }
            writeln!(table, "{name}\n    {}", request.line).unwrap();
            for (name, value) in &request.headers {
                writeln!(table, "    {}: {}", name.escape_ascii(), value.escape_ascii()).unwrap();
            }
            writeln!(table, "    ({})", request.body.escape_ascii()).unwrap();
        }
        let good = exchange(&address, b"POST /good HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false);
        assert_eq!(statuses(&good.unwrap()), "200", "after {name}");
        let after: Vec<String> = handler.drain().into_iter().map(|request| request.line).collect();
        if after != ["POST /good HTTP/1.1"] {
            violations.push(format!("{name}: then the handler sees {after:?}"));
        }
    }
    report("S8", cases.len(), violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    insta::with_settings!({ filters => [(r"127\.0\.0\.1:\d+", "127.0.0.1:[PORT]")] }, {
        insta::assert_snapshot!("what_the_handler_sees", table);
    });
}

#[test]
fn random_bytes_in_headers_panic_nothing_and_end_nothing() {
    let count = tier(1000, 5000);
    let (world, handler) = (World::new(), Handler::start());
    let (listening, log) = world.listen_with_log(&["-f", &handler.target()]);
    let address = listening.address();
    let mut random = Random(SEED);
    let mut violations = 0;
    for number in 1..=count {
        let name = random.pick(&[
            "Host",
            "Origin",
            "Cookie",
            "Upgrade",
            "Sec-WebSocket-Key",
            "Sec-WebSocket-Version",
        ]);
        let value: Vec<u8> = (0..random.below(80)).map(|_| random.byte()).collect();
        let host = if name == "Host" { "" } else { "Host: a\r\n" };
        let head = format!("GET / HTTP/1.1\r\n{host}Connection: close\r\n{name}: ");
        // Some have bytes that end the head early; then the rest is the next request, or none.
        let answers = exchange(&address, &[head.as_bytes(), &value, b"\r\n\r\n"].concat(), true);
        let first = answers.map(|answers| statuses(&answers)).unwrap_or_default();
        // Those that are cut short by what they say themselves are closed without an answer.
        if !["200", "400", "501", "-"].contains(&first.split(' ').next().unwrap()) {
            violations += 1;
            println!("{name}: {} gives {first}", value.escape_ascii());
        }
        if number % 100 == 0 {
            let good = exchange(&address, b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false);
            assert_eq!(statuses(&good.unwrap()), "200");
        }
    }
    drop(listening);
    let said = std::fs::read_to_string(log).unwrap();
    violations += said.matches("panicked").count();
    report("S3", count, violations);
    assert_eq!(violations, 0, "{said}");
}

#[test]
fn heads_beyond_the_limits_are_refused_and_those_within_arrive_whole() {
    let (world, handler) = (World::new(), Handler::start());
    let listening = world.listen(&["-f", &handler.target()]);
    let address = listening.address();
    let mut cases: Vec<(String, &str, Vec<u8>)> = Vec::new();
    let mut case = |name: String, expected, line: &str, fields: &str, body: &[u8]| {
        let head = format!("{line}\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
        cases.push((name, expected, [head.as_bytes(), body].concat()));
    };
    let post = "POST /x HTTP/1.1";
    // Host and Connection are two of them.
    for (count, expected) in
        [(1, "200"), (100, "200"), (127, "200"), (128, "200"), (129, "431"), (1000, "431")]
    {
        let fields: String = (2..count).map(|number| format!("X-{number}: {number}\r\n")).collect();
        case(format!("{} fields", count.max(2)), expected, post, &fields, b"");
        let repeated = "X: 1\r\n".repeat(count.max(2) - 2);
        case(format!("{} times the same field", count.max(2)), expected, post, &repeated, b"");
    }
    let around = post.len() + "\r\nHost: a\r\nConnection: close\r\nX: \r\n\r\n".len();
    for (kib, expected) in [(8, "200"), (32, "200"), (63, "200"), (65, "431"), (128, "431"), (1024, "431")] {
        let value = format!("X: {}\r\n", "a".repeat(kib * 1024 - around));
        case(format!("a head of {kib} KiB in one field"), expected, post, &value, b"");
        let many = format!("X: {}\r\n", "a".repeat(1000)).repeat(kib.min(100));
        let expected = if many.len() + around > 64 * 1024 { "431" } else { "200" };
        case(format!("a head of {} bytes in many", many.len()), expected, post, &many, b"");
    }
    for (kib, expected) in [(8, "200"), (32, "200"), (63, "200"), (64, "431"), (1024, "431")] {
        case(
            format!("a name of {kib} KiB"),
            expected,
            post,
            &format!("{}: 1\r\n", "x".repeat(kib * 1024)),
            b"",
        );
    }
    for (kib, expected) in [(8, "200"), (60, "200"), (63, "200"), (65, "431"), (1024, "431")] {
        let line = format!("POST /{} HTTP/1.1", "p".repeat(kib * 1024));
        case(format!("a target of {kib} KiB"), expected, &line, "", b"");
    }
    for (bytes, expected) in [(100, "200"), (20_000, "400")] {
        let body = format!("3;{}\r\nabc\r\n0\r\n\r\n", "e".repeat(bytes));
        case(
            format!("a chunk extension of {bytes} bytes"),
            expected,
            post,
            "Transfer-Encoding: chunked\r\n",
            body.as_bytes(),
        );
    }
    for (bytes, expected) in [(100, "200"), (100_000, "400")] {
        let body = format!("3\r\nabc\r\n0\r\nX: {}\r\n\r\n", "t".repeat(bytes));
        case(
            format!("trailers of {bytes} bytes"),
            expected,
            post,
            "Transfer-Encoding: chunked\r\n",
            body.as_bytes(),
        );
    }
    let mut violations = Vec::new();
    for (name, expected, bytes) in &cases {
        let found = exchange(&address, bytes, false).map(|answers| statuses(&answers));
        let found = found.unwrap_or_else(|error| error.to_string());
        let arrived = handler.drain();
        if found != *expected || arrived.len() != usize::from(*expected == "200") {
            violations.push(format!("{name}: {found} and not {expected}, {} arrive", arrived.len()));
        }
        // What is taken arrives to the byte.
        for request in arrived {
            let sent = bytes.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
            let sent = bytes[..sent].split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
            let sent: Vec<&[u8]> = sent
                .filter(|line| {
                    ["Host", "Connection", "Transfer-"].iter().all(|name| !line.starts_with(name.as_bytes()))
                })
                .collect();
            let mut got = vec![request.line.clone().into_bytes()];
            got.extend(request.headers.iter().map(|(name, value)| [name, &b": "[..], value].concat()));
            got.retain(|line| !line.starts_with(b"Host") && !line.starts_with(b"Content-Length"));
            if got != sent {
                violations.push(format!("{name}: {} lines arrive of {}", got.len(), sent.len()));
            }
        }
    }
    report("S11", cases.len(), violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// Targets that would lead elsewhere if they were put together carelessly; `C` is the address of a canary.
const TARGETS: [&str; 82] = [
    "/",
    "/x",
    "/x?y=1",
    "/?",
    "/x?",
    "/x?y=?",
    "//C/x",
    "///C/x",
    "////C",
    "/\\C/x",
    "/\\\\C/x",
    "/\\/C",
    "//\\C",
    "/@C/x",
    "/x@C",
    "/:80@C/",
    "/a:b@C/",
    "/..//C/x",
    "/../../C",
    "/%2e%2e/%2e%2e/C",
    "/%2f%2fC/x",
    "/%5cC/x",
    "/%00C",
    "/;@C",
    "/;C/x",
    "/#@C/",
    "/?@C/",
    "/?u=http://C/x",
    "/?//C",
    "/http://C/x",
    "/http:/C/x",
    "/http:C",
    "/https://C",
    "/ftp://C",
    "/file:///etc/passwd",
    "/javascript:alert(1)",
    "/data:text/html,x",
    "/x/../..",
    "/.",
    "/..",
    "/...",
    "/./x",
    "/x/.",
    "/x//y",
    "/%",
    "/%zz",
    "/%u002f",
    "/%c0%af",
    "/%ff%fe",
    "/~C",
    "/$C",
    "/!C",
    "/&C",
    "/=C",
    "/+C",
    "/,C",
    "/'C'",
    "/(C)",
    "/*",
    "/|C",
    "/{C}",
    "/[C]",
    "/^C",
    "/`C`",
    "/\"C\"",
    "/<C>",
    "/[::1]:80/",
    "http://C/x",
    "http://C",
    "HTTP://C/x",
    "https://C/x",
    "http://a@C/x",
    "http://a:b@C/x",
    "http://C#/x",
    "http://C?/x",
    "ftp://C/x",
    "unix:/C",
    "C/x",
    "@C/x",
    ":80/x",
    "*",
    "\\\\C\\x",
];

#[test]
fn no_target_on_the_wire_leads_anywhere_but_to_the_handler() {
    let canaries: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses: Vec<String> =
        canaries.iter().map(|canary| canary.local_addr().unwrap().to_string()).collect();
    let handler = Handler::start();
    let world = World::new();
    let mut command = world.command(&["listen", "--json", "--port", "0", "-f", &handler.target()]);
    // Proxies of the environment are for other programs.
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"] {
        command.env(name, format!("http://{}", addresses[0]));
    }
    let listening = Listening::start(&mut command);
    let mut inputs = 0;
    let mut violations = Vec::new();
    for (number, target) in TARGETS.iter().enumerate() {
        let canary = &addresses[number % 3];
        let target = target.replace('C', canary);
        for host in ["a", canary] {
            inputs += 1;
            let request = format!(
                "POST {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nX-Forwarded-Host: {canary}\r\n\r\n"
            );
            let found = statuses(&exchange(&listening.address(), request.as_bytes(), false).unwrap());
            let arrived = handler.drain();
            let lines: Vec<&str> = arrived.iter().map(|request| request.line.as_str()).collect();
            // A whole URL is one for its path; what stands before `?` or `#` there may be nothing.
            let path =
                target.find("://").filter(|_| !target.starts_with('/')).map_or(target.as_str(), |at| {
                    let rest = &target[at + 3..];
                    rest.find(['/', '?', '#']).map_or("/", |end| &rest[end..])
                });
            let path = path.split('#').next().unwrap();
            let path = if path.starts_with('?') { format!("/{path}") } else { path.to_owned() };
            let path = if path.is_empty() || path == "*" { "/".to_owned() } else { path };
            let is_whole = lines == [format!("POST {path} HTTP/1.1")] && found == "200";
            let is_refused = lines.is_empty() && found == "400";
            let is_a_path = target.starts_with('/') && target.is_ascii();
            if !is_whole && !is_refused
                || (is_refused
                    && is_a_path
                    && !target.contains(['<', '>', '`', '"', '{', '}', '\\', '^', '|', '#']))
            {
                violations.push(format!("{target} to {host}: {found}, the handler sees {lines:?}"));
            }
            if arrived.iter().any(|request| request.header("host") != Some(handler.target().as_bytes())) {
                violations.push(format!("{target} to {host}: another Host reaches the handler"));
            }
        }
    }
    // A tunnel is not made either, and what comes behind the head is nobody's request.
    for target in
        [addresses[0].as_str(), "evil.example:443", "[::1]:80", "localhost", "/", "*", "http://evil.example/"]
    {
        for host in ["a", target] {
            inputs += 1;
            let request = format!(
                "CONNECT {target} HTTP/1.1\r\nHost: {host}\r\n\r\nPOST /x HTTP/1.1\r\nHost: a\r\n\r\n"
            );
            let found = statuses(&exchange(&listening.address(), request.as_bytes(), true).unwrap());
            if !["400", "405"].contains(&found.as_str()) || !handler.drain().is_empty() {
                violations.push(format!("CONNECT {target} to {host}: {found}"));
            }
        }
    }
    // Redirects are the sender's business.
    for status in [301, 302, 303, 307, 308] {
        for location in [format!("http://{}/x", addresses[1]), format!("//{}/x", addresses[2])] {
            inputs += 1;
            handler.become_(answer(status, &[("Location", &location)], b""));
            let request = b"POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            let found = statuses(&exchange(&listening.address(), request, false).unwrap());
            if found != status.to_string() || handler.drain().len() != 1 {
                violations.push(format!("{status} to {location}: {found}"));
            }
        }
    }
    for canary in &canaries {
        canary.set_nonblocking(true).unwrap();
        if canary.accept().is_ok() {
            violations.push("somebody came to a canary".to_owned());
        }
    }
    report("S15", inputs, violations.len());
    report("P8", inputs, violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// Frames of WebSocket, good and bad: `(what, bytes)`.
fn frames() -> HashMap<&'static str, Vec<u8>> {
    let frame = |first: u8, second: u8, rest: &[u8]| [&[first, second], rest].concat();
    HashMap::from([
        ("a text", frame(0x81, 0x82, b"\0\0\0\0hi")),
        ("a text without a mask", frame(0x81, 0x02, b"hi")),
        ("a binary", frame(0x82, 0x82, b"\0\0\0\0hi")),
        ("text that is not UTF-8", frame(0x81, 0x82, b"\0\0\0\0\xff\xfe")),
        ("a ping", frame(0x89, 0x80, b"\0\0\0\0")),
        ("a pong", frame(0x8a, 0x80, b"\0\0\0\0")),
        ("a close", frame(0x88, 0x82, b"\0\0\0\0\x03\xe8")),
        ("a close of one byte", frame(0x88, 0x81, b"\0\0\0\0\x03")),
        ("a close with a bad code", frame(0x88, 0x82, b"\0\0\0\0\0\0")),
        ("a ping of 126 bytes", frame(0x89, 0xfe, &[&b"\0\x7e\0\0\0\0"[..], &[b'p'; 126]].concat())),
        ("a ping in fragments", frame(0x09, 0x80, b"\0\0\0\0")),
        ("reserved bits", frame(0xf1, 0x80, b"\0\0\0\0")),
        ("a reserved operation", frame(0x83, 0x80, b"\0\0\0\0")),
        ("a reserved control operation", frame(0x8f, 0x80, b"\0\0\0\0")),
        ("a continuation of nothing", frame(0x80, 0x80, b"\0\0\0\0")),
        ("a fragment without an end", frame(0x01, 0x82, b"\0\0\0\0hi")),
        ("a length of 2^63", frame(0x82, 0xff, b"\x80\0\0\0\0\0\0\0\0\0\0\0")),
        ("a length of 2^64 - 1", frame(0x82, 0xff, b"\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0")),
        ("a length of 4 GiB", frame(0x82, 0xff, b"\0\0\0\x01\0\0\0\0\0\0\0\0")),
        ("a length that could be shorter", frame(0x81, 0xfe, b"\0\x02\0\0\0\0hi")),
        ("a thousand empty fragments", frame(0x00, 0x80, b"\0\0\0\0").repeat(1000)),
        ("a thousand pings", frame(0x89, 0x80, b"\0\0\0\0").repeat(1000)),
        ("a request in a frame", frame(0x81, 0xa7, b"\0\0\0\0GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n...")),
        ("a request instead of a frame", b"GET /smuggled HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_vec()),
    ])
}

#[test]
fn the_ingress_is_no_websocket_whatever_is_written_to_it() {
    let (world, handler) = (World::new(), Handler::start());
    let listening = world.listen(&["-f", &handler.target()]);
    // As a client must write it, and as one that forgets that the offer concerns this connection only.
    let handshakes = ["Upgrade", "keep-alive"].map(|connection| {
        format!(
            "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: {connection}\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
    });
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let frames = frames();
    let mut violations = Vec::new();
    for (name, bytes) in &frames {
        for (handshake, willing, expected) in
            handshakes.iter().flat_map(|handshake| [(handshake, false, "200"), (handshake, true, "502")])
        {
            // A handler that takes the offer is not spoken to any more.
            handler.become_(if willing {
                crate::handler::raw(switch.as_slice())
            } else {
                answer(200, &[], b"")
            });
            let all = [handshake.as_bytes(), bytes, b"\r\n\r\n"].concat();
            let found = exchange(&listening.address(), &all, true).map(|answers| statuses(&answers));
            let found = found.unwrap_or_else(|error| error.to_string());
            let requests = handler.drain();
            let lines: Vec<&str> = requests.iter().map(|request| request.line.as_str()).collect();
            let rest = found.strip_prefix(expected).map(str::trim_start);
            if !rest.is_some_and(|rest| rest.is_empty() || rest == "400") || lines != ["GET /chat HTTP/1.1"] {
                violations.push(format!("{name}: {found}, the handler sees {lines:?}"));
            }
            if requests.iter().any(|request| request.header("upgrade").is_some()) {
                violations.push(format!("{name}: the offer reaches the handler"));
            }
        }
    }
    report("S13", 4 * frames.len(), violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}
