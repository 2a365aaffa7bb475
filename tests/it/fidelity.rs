//! The handler gets the very bytes that the sender sent, and the sender the very answer of the handler.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::assurance::{Random, report};
use crate::handler::{Handler, RawRequest, raw};
use crate::world::World;

const SEED: u64 = 0x6669_6465_6c69;
const CONNECTIONS: usize = 8;
const REQUESTS_EACH: usize = 400;
/// Every so many requests one is looked up in the store.
const LOOKED_UP: usize = 40;
const LARGEST_BODY: usize = 2 * 1024 * 1024;
const KEPT: usize = 1024 * 1024;
const MEGABYTES: usize = 3 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(20);

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A sender that speaks raw HTTP/1.1 over one connection.
struct Sender {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer as it stood on the wire, its body unframed.
#[derive(Debug)]
struct Answer {
    line: Vec<u8>,
    headers: Fields,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&[u8]> {
        find(&self.headers, name)
    }

    fn status_line(&self) -> String {
        String::from_utf8_lossy(&self.line).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The id that the answer names.
    fn delivery(&self) -> String {
        let id = self.header("mbaas-dev-delivery").unwrap_or_else(|| panic!("{self:?} names its delivery"));
        String::from_utf8(id.to_vec()).unwrap()
    }

    /// What the handler said, without what the proxy adds: the delivery's id, and the date, which HTTP asks for.
    fn handlers_headers(&self) -> Fields {
        let added = |name: &[u8]| {
            name.eq_ignore_ascii_case(b"mbaas-dev-delivery") || name.eq_ignore_ascii_case(b"date")
        };
        self.headers.iter().filter(|(name, _)| !added(name)).cloned().collect()
    }
}

impl Sender {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends a request that has an answer with a body, if with any.
    fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.write(request.as_ref());
        self.answer(false)
    }

    /// The next final answer; one to HEAD has a head only.
    fn answer(&mut self, head_only: bool) -> Answer {
        let (line, headers) = loop {
            let (line, headers) = self.head();
            if !line.starts_with(b"HTTP/1.1 1") {
                break (line, headers);
            }
        };
        let bodiless = head_only || line[9..].starts_with(b"204") || line[9..].starts_with(b"304");
        let body = if bodiless {
            Vec::new()
        } else if find(&headers, "transfer-encoding").is_some() {
            self.chunks()
        } else {
            let length = find(&headers, "content-length").expect("the answer has a length");
            self.take(std::str::from_utf8(length).unwrap().parse().unwrap())
        };
        Answer { line, headers, body }
    }

    fn head(&mut self) -> (Vec<u8>, Fields) {
        let line = self.line();
        let mut headers = Fields::new();
        loop {
            let field = self.line();
            if field.is_empty() {
                return (line, headers);
            }
            let colon = field.iter().position(|byte| *byte == b':').unwrap();
            headers.push((field[..colon].to_vec(), field[colon + 1..].trim_ascii().to_vec()));
        }
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut whole = Vec::new();
        loop {
            let size = String::from_utf8(self.line()).unwrap();
            let size = usize::from_str_radix(&size, 16).unwrap();
            whole.extend(self.take(size));
            assert!(self.line().is_empty(), "a chunk ends with its line");
            if size == 0 {
                return whole;
            }
        }
    }

    fn line(&mut self) -> Vec<u8> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer[searched..].windows(2).position(|pair| pair == b"\r\n") {
                let mut line: Vec<u8> = self.buffer.drain(..searched + at + 2).collect();
                line.truncate(searched + at);
                return line;
            }
            searched = self.buffer.len().saturating_sub(1);
            self.fill();
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            self.fill();
        }
        self.buffer.drain(..length).collect()
    }

    fn fill(&mut self) {
        let mut chunk = [0; 16 * 1024];
        let length = self.stream.read(&mut chunk).unwrap();
        assert!(length > 0, "closed after {:?}", String::from_utf8_lossy(&self.buffer));
        self.buffer.extend_from_slice(&chunk[..length]);
    }
}

fn find<'a>(headers: &'a Fields, name: &str) -> Option<&'a [u8]> {
    let mut found = headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
    found.next().map(|(_, value)| value.as_slice())
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: sender.example\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn thousands_of_requests_arrive_as_they_were_sent() {
    let (world, handler) = (World::new(), Handler::scripted(Box::new(name_it)));
    let target = handler.target();
    let listening = world.listen(&["-f", &target, "--verify", "off"]);
    let address = listening.address();

    let senders = (0..CONNECTIONS).map(|number| {
        let (address, target) = (address.clone(), target.clone());
        thread::spawn(move || send_many(&address, &target, number * REQUESTS_EACH))
    });
    let senders: Vec<_> = senders.collect();
    let sent: Vec<_> = senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();

    let id_of = |request: &RawRequest| String::from_utf8(request.header("x-id").unwrap().to_vec()).unwrap();
    let arrived = handler.drain();
    assert_eq!(arrived.len(), sent.len(), "each arrives once");
    let arrived: HashMap<String, RawRequest> =
        arrived.into_iter().map(|request| (id_of(&request), request)).collect();
    let mut violations = 0;
    for (case, _) in &sent {
        let got = &arrived[&case.id.to_string()];
        if *got != case.expected {
            violations += 1;
            if violations <= 5 {
                eprintln!("--- sent\n{}--- arrived\n{}", shown(&case.expected), shown(got));
            }
        }
    }
    report("P5", sent.len(), violations);
    assert_eq!(violations, 0);
    assert!(sent.iter().any(|(case, _)| case.expected.body.len() == LARGEST_BODY));

    for (case, id) in sent.iter().step_by(LOOKED_UP) {
        let record = world.run(&["deliveries", "show", id, "--json"]).objects().remove(0);
        assert_eq!(
            format!("{} {} HTTP/1.1", text(&record["method"]), text(&record["path"])),
            case.expected.line
        );
        assert_eq!(recorded_headers(&record["headers"]), case.recorded);
        assert_eq!(recorded_body(&record), case.expected.body);
        assert_eq!(record["body_bytes"], case.expected.body.len());
        assert_eq!(recorded_body(&record["attempts"][0]), case.id.to_string().as_bytes());
        assert_eq!(world.run(&["deliveries", "show", id, "--body"]).stdout, case.expected.body);
    }
}

/// A request, what of it must arrive, and what of it must stand in the record.
struct Case {
    id: usize,
    head: Vec<u8>,
    body: Vec<u8>,
    expects_continue: bool,
    expected: RawRequest,
    recorded: Fields,
}

/// A header field, with the white space around its value.
struct Field {
    name: Vec<u8>,
    value: Vec<u8>,
    around: (&'static str, &'static str),
    dropped: bool,
}

/// An answer that names the request it belongs to.
fn name_it(request: &RawRequest, stream: &mut TcpStream) -> io::Result<()> {
    let id = request.header("x-id").unwrap_or_default();
    stream.write_all(
        &[format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", id.len()).as_bytes(), id].concat(),
    )
}

fn send_many(address: &str, target: &str, first: usize) -> Vec<(Case, String)> {
    let mut random = Random(SEED + first as u64);
    let mut sender = Sender::connect(address);
    let mut sent = Vec::new();
    while sent.len() < REQUESTS_EACH {
        let most = (REQUESTS_EACH - sent.len()).min(6);
        let group = if random.one_in(5) { 1 + random.below(most) } else { 1 };
        let batch: Vec<Case> =
            (0..group).map(|more| case(&mut random, first + sent.len() + more, target)).collect();
        match &batch[..] {
            [single] if single.expects_continue => {
                sender.write(&single.head);
                assert_eq!(sender.head().0, b"HTTP/1.1 100 Continue");
                sender.write(&single.body);
            }
            [single] if random.one_in(10) => {
                single.head.chunks(1 + random.below(7)).for_each(|part| sender.write(part));
                sender.write(&single.body);
            }
            pipelined => {
                let wire: Vec<&[u8]> =
                    pipelined.iter().flat_map(|case| [&case.head[..], &case.body]).collect();
                sender.write(&wire.concat());
            }
        }
        for case in batch {
            let answer = sender.answer(false);
            assert_eq!(answer.line, b"HTTP/1.1 200 OK", "{answer:?} to {}", shown(&case.expected));
            assert_eq!(answer.body, case.id.to_string().as_bytes(), "answers keep the order of the requests");
            let id = answer.delivery();
            sent.push((case, id));
        }
    }
    sent
}

fn case(random: &mut Random, id: usize, target: &str) -> Case {
    const METHODS: [&str; 12] = [
        "POST", "POST", "POST", "POST", "PUT", "PATCH", "DELETE", "GET", "OPTIONS", "FROB", "post",
        "M-SEARCH",
    ];
    let method = METHODS[random.below(METHODS.len())];
    let path = path(random);
    let body = body(random, id);
    let mut all: Vec<Field> = (0..random.below(12)).map(|_| field(random)).collect();
    if id % REQUESTS_EACH == 3 {
        all.extend((0..100).map(|_| field(random)));
    }
    let special = |name: &str, value: &[u8], dropped| Field {
        name: name.into(),
        value: value.to_vec(),
        around: (" ", ""),
        dropped,
    };
    let mut extra = vec![
        special("Host", b"hooks.example.com:8080", false),
        special("X-Id", id.to_string().as_bytes(), false),
    ];
    if random.one_in(4) {
        extra.push(special("Connection", b"keep-alive, X-Dropped ,x-also-dropped", true));
        extra.push(special("X-Dropped", &value(random), true));
        extra.push(special("X-Also-Dropped", b"", true));
        extra.push(special("X-Dropped", b"twice", true));
    }
    if random.one_in(4) {
        extra.push(special(
            random.pick(&["Keep-Alive", "TE", "Proxy-Connection", "Trailer"]),
            b"trailers",
            true,
        ));
    }
    if random.one_in(4) {
        extra.push(special(
            random.pick(&["mbaas-dev-origin", "mbaas-dev-token", "mbaas-dev-x"]),
            b"replay",
            true,
        ));
    }
    let framing = random.below(3);
    let (bodiless, chunked) = (body.is_empty() && framing == 0, framing == 2);
    if chunked {
        extra.push(special("Transfer-Encoding", b"chunked", true));
    } else if !bodiless {
        extra.push(special("Content-Length", body.len().to_string().as_bytes(), false));
    }
    let expects_continue = !body.is_empty() && random.one_in(12);
    if expects_continue {
        extra.push(special("Expect", b"100-continue", true));
    }
    for mut field in extra {
        change_case(random, &mut field.name);
        all.insert(random.below(all.len() + 1), field);
    }

    let mut head = format!("{method} {path} HTTP/1.1\r\n").into_bytes();
    for Field { name, value, around, .. } in &all {
        head.extend([name, &b":"[..], around.0.as_bytes(), value, around.1.as_bytes(), b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    let kept = || all.iter().filter(|field| !field.dropped);
    let mut headers: Fields = kept()
        .map(|field| {
            let is_host = field.name.eq_ignore_ascii_case(b"host");
            (field.name.clone(), if is_host { target.into() } else { field.value.clone() })
        })
        .collect();
    if chunked && !body.is_empty() {
        headers.push((b"Content-Length".to_vec(), body.len().to_string().into()));
    }
    let recorded = kept()
        .map(|field| {
            let secret =
                [&b"cookie"[..], b"authorization"].iter().any(|s| field.name.eq_ignore_ascii_case(s));
            (field.name.clone(), if secret { b"[masked]".to_vec() } else { field.value.clone() })
        })
        .collect();
    let wire = if chunked { in_chunks(random, &body) } else { body.clone() };
    let expected = RawRequest { line: format!("{method} {path} HTTP/1.1"), headers, body };
    Case { id, head, body: wire, expects_continue, expected, recorded }
}

fn path(random: &mut Random) -> String {
    const PATHS: [&str; 22] = [
        "/",
        "/webhooks/meetingbaas",
        "//evil.example/x",
        "/../..",
        "/%2e%2e/",
        "/a?b=c?d",
        "/\u{e9}",
        "/;",
        "/@",
        "/a;b=c/@d:80",
        "/?",
        "/a?",
        "/a//b///",
        "/%00%ff",
        "/a?b=%20+&&=",
        "/{a}|b",
        "/~!$&'()*+,;=:@-._",
        "/a\"b",
        "/http://evil.example/",
        "/./a/../b",
        "/a?b=/../?c",
        "/\u{4f1a}?\u{8b70}=\u{1f600}",
    ];
    let mut path = PATHS[random.below(PATHS.len())].to_owned();
    if random.one_in(20) {
        path.extend((0..4000).map(|_| char::from(b'a' + u8::try_from(random.below(26)).unwrap())));
    }
    path
}

fn field(random: &mut Random) -> Field {
    const NAMES: [&str; 14] = [
        "X-Test",
        "Accept",
        "Cookie",
        "Authorization",
        "Content-Type",
        "X-MeetingBaas-Signature",
        "Via",
        "User-Agent",
        "X_Under_Score",
        "!#$%&'*+.^_`|~",
        "Date",
        "Accept-Encoding",
        "X-Forwarded-For",
        "q",
    ];
    const AROUND: [(&str, &str); 5] = [(" ", ""), ("", ""), (" ", ""), ("\t ", " \t"), ("  ", " ")];
    let mut name = NAMES[random.below(NAMES.len())].into();
    change_case(random, &mut name);
    Field { name, value: value(random), around: AROUND[random.below(AROUND.len())], dropped: false }
}

/// Any bytes that a value may have: tabs and spaces within, and everything from 0x80 on.
fn value(random: &mut Random) -> Vec<u8> {
    let length = if random.one_in(50) { random.below(3000) } else { random.below(40) };
    let byte = |random: &mut Random| match random.below(10) {
        0 => b'\t',
        1 => b' ',
        2..5 => 0x80 + u8::try_from(random.below(0x80)).unwrap(),
        _ => 0x21 + u8::try_from(random.below(0x5e)).unwrap(),
    };
    let value: Vec<u8> = (0..length).map(|_| byte(random)).collect();
    value.trim_ascii().to_vec()
}

fn body(random: &mut Random, id: usize) -> Vec<u8> {
    let length = match random.below(100) {
        _ if id % REQUESTS_EACH == 7 => LARGEST_BODY,
        0..10 => 0,
        10..80 => random.below(400),
        80..97 => random.below(20_000),
        97..99 => random.below(200_000),
        _ => random.below(LARGEST_BODY),
    };
    let mut body: Vec<u8> = (0..=length / 8).flat_map(|_| random.next().to_le_bytes()).collect();
    body.truncate(length);
    body
}

/// A body in chunks of all sizes, with extensions and trailers.
fn in_chunks(random: &mut Random, body: &[u8]) -> Vec<u8> {
    const EXTENSIONS: [&str; 4] = ["", "", ";a", ";name=value;quoted=\"a b\""];
    let mut wire = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let most = if random.one_in(3) { 10 } else { rest.len() };
        let (chunk, behind) = rest.split_at((1 + random.below(most)).min(rest.len()));
        let (size, extension) = (chunk.len(), EXTENSIONS[random.below(EXTENSIONS.len())]);
        let size = match random.below(3) {
            0 => format!("{size:X}"),
            1 => format!("00{size:x}"),
            _ => format!("{size:x}"),
        };
        wire.extend_from_slice(format!("{size}{extension}\r\n").as_bytes());
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
        rest = behind;
    }
    wire.extend_from_slice(
        random
            .pick(&["0\r\n\r\n", "000;last\r\n\r\n", "0\r\nX-Test: trailer\r\nHost: evil\r\n\r\n"])
            .as_bytes(),
    );
    wire
}

fn shown(request: &RawRequest) -> String {
    let field =
        |(name, value): &(Vec<u8>, Vec<u8>)| format!("{}: {}\n", name.escape_ascii(), value.escape_ascii());
    let headers: String = request.headers.iter().map(field).collect();
    format!("{}\n{headers}({} bytes)\n", request.line, request.body.len())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn recorded_headers(headers: &Value) -> Fields {
    let bytes = |value: &Value| match value.get("b64") {
        Some(b64) => STANDARD.decode(text(b64)).unwrap(),
        None => text(value).into(),
    };
    headers.as_array().unwrap().iter().map(|pair| (text(&pair[0]).into(), bytes(&pair[1]))).collect()
}

fn recorded_body(object: &Value) -> Vec<u8> {
    match object.get("body_b64") {
        Some(b64) => STANDARD.decode(text(b64)).unwrap(),
        None => text(&object["body"]).into(),
    }
}

fn change_case(random: &mut Random, name: &mut Vec<u8>) {
    for byte in name {
        match random.below(3) {
            0 => byte.make_ascii_lowercase(),
            1 => byte.make_ascii_uppercase(),
            _ => {}
        }
    }
}

/// What the sender is told when the handler answers with these bytes, and what is recorded of it.
fn passed_on(request: &str, given: impl Into<Vec<u8>>) -> (Answer, Value) {
    let (world, handler) = (World::new(), Handler::scripted(raw(given)));
    let mut listening = world.listen(&["-f", &handler.target()]);
    let mut sender = Sender::connect(&listening.address());
    sender.write(request.as_bytes());
    let answer = sender.answer(request.starts_with("HEAD "));
    let id = answer.delivery();
    assert_eq!(listening.next("attempt")["id"], id, "the answer names the delivery");
    let record = world.run(&["deliveries", "show", &id, "--json"]).objects().remove(0);
    (answer, record["attempts"][0].clone())
}

#[test]
fn the_sender_gets_the_handlers_status_reason_headers_and_body() {
    let head = "HTTP/1.1 207 My Own Reason\r\nX-Odd-CASE: 1\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\n\
                x-empty:\r\nConnection: keep-alive, X-Hop\r\nX-Hop: gone\r\nKeep-Alive: timeout=5\r\n\
                content-LENGTH: 5\r\nLast: \ttabs \t within\t\r\n";
    let given = [head.as_bytes(), b"X-Latin: \xe9t\xe9 \xff\r\n\r\n\x00\xff\r\n\x80"].concat();
    let (answer, attempt) = passed_on(&post("/", "{}"), given);
    assert_eq!(answer.status_line(), "HTTP/1.1 207 My Own Reason");
    let mut expected = fields(&[
        ("X-Odd-CASE", "1"),
        ("Set-Cookie", "a=1; Path=/"),
        ("Set-Cookie", "b=2"),
        ("x-empty", ""),
        ("content-LENGTH", "5"),
        ("Last", "tabs \t within"),
    ]);
    expected.push((b"X-Latin".to_vec(), b"\xe9t\xe9 \xff".to_vec()));
    assert_eq!(answer.handlers_headers(), expected);
    assert_eq!(answer.body, b"\x00\xff\r\n\x80");

    assert_eq!((&attempt["status"], &attempt["error"]), (&207.into(), &Value::Null));
    assert_eq!(recorded_body(&attempt), answer.body);
    for (name, value) in &mut expected {
        if name.eq_ignore_ascii_case(b"set-cookie") {
            *value = b"[masked]".to_vec();
        }
    }
    // hyper's parser keeps the case of names in answers aside; the record has them in lower case.
    let lower = |fields: Fields| -> Fields {
        fields.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
    };
    assert_eq!(lower(recorded_headers(&attempt["headers"])), lower(expected));
}

#[test]
fn repeated_headers_of_an_answer_keep_their_order_and_case() {
    let head = "HTTP/1.1 200 OK\r\nX-A: 1\r\nX-B: 2\r\nx-a: 3\r\nContent-Length: 0\r\nX-b: 4\r\n\r\n";
    let (answer, _) = passed_on(&post("/", "{}"), head);
    // hyper brings repeats of a name together, which HTTP allows: their order among themselves is what counts.
    let expected = [("X-A", "1"), ("x-a", "3"), ("X-B", "2"), ("X-b", "4"), ("Content-Length", "0")];
    assert_eq!(answer.handlers_headers(), fields(&expected));
}

#[test]
fn chunked_answers_arrive_whole() {
    let given = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\nTrailer: X-T\r\n\r\n\
                 3;ext\r\nabc\r\n004\r\ndefg\r\n0\r\nX-T: 1\r\n\r\n";
    let (answer, attempt) = passed_on(&post("/", "{}"), given);
    assert_eq!(answer.body, b"abcdefg");
    assert_eq!(answer.header("x-a"), Some(&b"1"[..]));
    assert_eq!(answer.header("trailer"), None);
    assert_eq!((&attempt["body"], &attempt["body_cut"]), (&"abcdefg".into(), &false.into()));
}

#[test]
fn answers_longer_than_what_is_kept_are_passed_on_whole() {
    let mut random = Random(SEED);
    let body: Vec<u8> = (0..MEGABYTES / 8).flat_map(|_| random.next().to_le_bytes()).collect();
    let sized =
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {MEGABYTES}\r\n\r\n").as_bytes(), &body].concat();
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".as_bytes();
    let chunked = [chunked, &in_chunks(&mut random, &body)].concat();
    for given in [sized, chunked] {
        let (answer, attempt) = passed_on(&post("/", "{}"), given);
        assert!(answer.body == body, "{} of {MEGABYTES} bytes arrive", answer.body.len());
        assert_eq!(attempt["body_cut"], true);
        let kept = recorded_body(&attempt);
        assert!(kept == body[..KEPT], "{} bytes are kept, not the first {KEPT}", kept.len());
    }
}

#[test]
fn answers_without_a_body_stay_as_they_are() {
    let head = "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n";
    let cases = [
        (post("/", "{}"), "204 No Content", None),
        (post("/", "{}"), "304 Not Modified", None),
        (post("/", "{}"), "304 Not Modified", Some("1234")),
        (head.to_owned(), "200 OK", Some("1234")),
        (head.to_owned(), "404 Not Found", None),
        (head.to_owned(), "302 Found", Some("1234")),
        (head.to_owned(), "204 No Content", None),
    ];
    let count = cases.len();
    for (request, status, length) in cases {
        let length_line = length.map(|length| format!("Content-Length: {length}\r\n")).unwrap_or_default();
        let (answer, attempt) =
            passed_on(&request, format!("HTTP/1.1 {status}\r\nETag: \"1\"\r\n{length_line}\r\n"));
        assert_eq!(answer.status_line(), format!("HTTP/1.1 {status}"));
        assert_eq!(answer.header("etag"), Some(&b"\"1\""[..]));
        // hyper leaves out what a 304 may say about the length of what it does not send.
        let length = length.filter(|_| request.starts_with("HEAD"));
        assert_eq!(answer.header("content-length"), length.map(str::as_bytes), "{status}");
        assert_eq!(attempt["body"], "");
    }
    report("D15", count, 0);
}

#[test]
fn redirects_are_passed_on_and_never_followed() {
    let elsewhere = Handler::start();
    for status in [301, 302, 303, 307, 308] {
        let location = format!("http://{}/elsewhere", elsewhere.target());
        let given = format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        let (answer, attempt) = passed_on(&post("/", "{}"), given);
        assert_eq!(answer.status_line(), format!("HTTP/1.1 {status} Moved"));
        assert_eq!(answer.header("location"), Some(location.as_bytes()));
        assert_eq!(attempt["status"], status);
    }
    assert!(elsewhere.drain().is_empty());
    report("D15", 5, 0);
}

#[test]
fn http2_with_prior_knowledge_is_spoken() {
    let (world, handler) = (World::new(), Handler::answering(201, "made"));
    let listening = world.listen(&["-f", &handler.target()]);
    let body: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let file = world.write("body", &body);
    let output = Command::new("curl")
        .args([
            "-sS",
            "--http2-prior-knowledge",
            "-i",
            "-X",
            "PUT",
            "-H",
            "X-One: 1",
            "-H",
            "Content-Type: a/b",
        ])
        .args(["--data-binary", &format!("@{}", file.display()), &format!("{}/p?q=1", listening.url())])
        .output()
        .unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(answer.starts_with("HTTP/2 201 \r\n"), "{answer} {}", String::from_utf8_lossy(&output.stderr));
    assert!(answer.ends_with("\r\n\r\nmade") && answer.contains("\r\nmbaas-dev-delivery: dlv_"), "{answer}");
    let arrived = handler.next();
    assert_eq!(arrived.line, "PUT /p?q=1 HTTP/1.1");
    assert_eq!(arrived.header("x-one"), Some(&b"1"[..]));
    assert_eq!(arrived.header("content-type"), Some(&b"a/b"[..]));
    assert_eq!(arrived.header("host"), Some(handler.target().as_bytes()));
    assert!(arrived.body == body);
    assert!(arrived.headers.iter().all(|(name, _)| !name.starts_with(b":")));
}

#[test]
fn localhost_is_this_machine_by_ipv6_and_by_ipv4() {
    for address in ["[::1]:0", "127.0.0.1:0"] {
        let listener = TcpListener::bind(address).unwrap();
        let port = listener.local_addr().unwrap().port();
        let handler = thread::spawn(move || {
            let mut sender = Sender { stream: listener.accept().unwrap().0, buffer: Vec::new() };
            let (line, headers) = sender.head();
            sender.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            (line, headers)
        });
        let world = World::new();
        let listening = world.listen(&["-f", &format!("localhost:{port}")]);
        let answer = Sender::connect(&listening.address()).ask(post("/x", "{}"));
        assert_eq!(answer.status_line(), "HTTP/1.1 200 OK", "{address}: {:?}", answer.body.escape_ascii());
        let (line, headers) = handler.join().unwrap();
        assert_eq!(line, b"POST /x HTTP/1.1");
        assert_eq!(find(&headers, "host"), Some(format!("localhost:{port}").as_bytes()));
    }
}

#[test]
fn a_targets_path_is_a_prefix_and_its_host_is_final() {
    let handler = Handler::start();
    for (target, sent, arrives) in [
        ("", "/x?y=1", "/x?y=1"),
        ("/hooks", "/x?y=1", "/hooks/x?y=1"),
        ("/hooks", "/", "/hooks"),
        ("/hooks", "/?y=1", "/hooks?y=1"),
        ("/hooks/", "/x", "/hooks/x"),
        ("/hooks", "//evil.example/x", "/hooks//evil.example/x"),
        ("/hooks", "/../..", "/hooks/../.."),
        ("/hooks?k=v", "/x?y=1", "/hooks/x?k=v&y=1"),
        ("", "http://evil.example/x?y", "/x?y"),
        ("/hooks", "http://evil.example", "/hooks"),
        ("", "*", "/"),
    ] {
        let world = World::new();
        let listening = world.listen(&["-f", &format!("http://{}{target}", handler.target())]);
        let method = if sent == "*" { "OPTIONS" } else { "POST" };
        let request = format!("{method} {sent} HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n");
        let answer = Sender::connect(&listening.address()).ask(request);
        assert_eq!(answer.status_line(), "HTTP/1.1 200 Whatever", "{target} {sent}");
        let arrived = handler.next();
        assert_eq!(arrived.line, format!("{method} {arrives} HTTP/1.1"), "{target} {sent}");
        assert_eq!(arrived.header("host"), Some(handler.target().as_bytes()));
    }
}

#[test]
fn trailers_are_recorded_and_neither_taken_for_headers_nor_forwarded() {
    let (world, handler) = (World::new(), Handler::start());
    let listening = world.listen(&["-f", &handler.target()]);
    let answer = Sender::connect(&listening.address()).ask(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nX-A: 1\r\n\r\n\
         2\r\n{}\r\n0\r\nX-Sum: \u{2713}\r\nContent-Length: 999\r\nHost: evil\r\nCookie: canary\r\nX-Sum: 2\r\n\r\n",
    );
    assert_eq!(answer.status_line(), "HTTP/1.1 200 Whatever");
    let seen = handler.next();
    assert_eq!((seen.body_text(), seen.header("x-sum")), ("{}", None), "{seen:?}");
    assert_eq!(seen.header("host"), Some(handler.target().as_bytes()));
    assert_eq!(seen.header("content-length"), Some(&b"2"[..]));
    assert!(handler.drain().is_empty());

    let id = answer.delivery();
    let record = world.run(&["deliveries", "show", &id, "--json"]).objects().remove(0);
    let trailers = serde_json::json!([
        ["x-sum", "\u{2713}"],
        ["x-sum", "2"],
        ["content-length", "999"],
        ["host", "evil"],
        ["cookie", "[masked]"]
    ]);
    assert_eq!(record["trailers"], trailers);
    assert_eq!(record["headers"], serde_json::json!([["Host", "a"], ["X-A", "1"]]));
    let shown = world.run(&["deliveries", "show", &id]).text();
    assert!(shown.contains("{}\n\ntrailers, which are not forwarded\nx-sum: \u{2713}\n"), "{shown}");
    assert_eq!(world.run(&["deliveries", "list", "--search", "\u{2713}", "--json"]).objects().len(), 1);

    let exported = world.run(&["deliveries", "export"]).stdout;
    let other = World::new();
    assert_eq!(other.run_with_input(&["deliveries", "import", "-"], &exported).code(), 0);
    assert_eq!(other.run(&["deliveries", "show", &id, "--json"]).objects()[0]["trailers"], trailers);
    assert_eq!(world.run(&["replay", "1", "--raw"]).code(), 0);
    assert_eq!(handler.next().header("x-sum"), None, "nor are they sent again");
}

#[test]
fn a_body_over_the_limit_is_refused_and_listen_lives_on() {
    let (world, handler) = (World::new(), Handler::start());
    let mut listening = world.listen(&["-f", &handler.target(), "--max-body", "1000"]);
    let address = listening.address();
    let over = |size| {
        let body = "x".repeat(size);
        let chunked = format!("{size:x}\r\n{body}\r\n0\r\n\r\n");
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        [post("/", &body), format!("{head}{chunked}")]
    };
    for request in over(1001) {
        let answer = Sender::connect(&address).ask(request);
        assert_eq!(answer.status_line(), "HTTP/1.1 413 Payload Too Large");
        let told = answer.json();
        assert_eq!(told["error"], "body_too_large");
        assert_eq!(told["message"], "a body over the limit of 1000 bytes was refused");
        assert_eq!(told["delivery"], Value::Null);
        let trouble = listening.next("error");
        assert_eq!((&trouble["code"], &trouble["message"]), (&told["error"], &told["message"]));
        assert_eq!(trouble["hint"], "raise the limit with --max-body");
    }
    for request in over(1000) {
        assert_eq!(Sender::connect(&address).ask(request).status_line(), "HTTP/1.1 200 Whatever");
        assert_eq!(handler.next().body.len(), 1000);
    }
    assert!(handler.drain().is_empty(), "nothing that was refused reaches the handler");
}

#[test]
fn a_sender_that_writes_its_whole_body_first_still_learns_that_it_is_over_the_limit() {
    let world = World::new();
    let listening = world.listen(&["--max-body", "1000"]);
    let mut sender = Sender::connect(&listening.address());
    let body = "x".repeat(8 * 1024 * 1024);
    let written = sender.stream.write_all(post("/", &body).as_bytes());
    assert!(written.is_ok(), "the connection breaks before the answer can be read: {written:?}");
    assert_eq!(sender.answer(false).status_line(), "HTTP/1.1 413 Payload Too Large");
}

#[test]
fn connect_is_refused_since_this_is_no_forward_proxy() {
    let (world, handler) = (World::new(), Handler::start());
    let listening = world.listen(&["-f", &handler.target()]);
    let target = handler.target();
    let answer = Sender::connect(&listening.address())
        .ask(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
    assert_eq!(answer.status_line(), "HTTP/1.1 405 Method Not Allowed");
    assert_eq!(answer.json()["message"], "this is not a forward proxy");
    let answer = Sender::connect(&listening.address()).ask(post("/", "{}"));
    assert_eq!(answer.status_line(), "HTTP/1.1 200 Whatever");
    assert_eq!(handler.drain().len(), 1, "only the second one arrives");
}

#[test]
fn a_raw_replay_is_identical_and_a_signed_one_differs_in_the_signature_only() {
    let (world, handler) = (World::new(), Handler::start());
    let body = br#"{"event":"complete", "data":{"bot_id":"\u00e9", "n":1.0}}"#;
    let head = format!(
        "POST /a//b?c=d HTTP/1.1\r\nhOST: sender.example\r\nX-Odd: 1\r\nx-MEETINGbaas-Signature: {}\r\n\
         Content-length: {}\r\nx-odd: 2\r\nContent-Type: application/json\r\n",
        "0".repeat(64),
        body.len()
    );
    let request = [head.as_bytes(), b"X-Latin: \xe9\r\n\r\n", &body[..]].concat();
    let listening = world.listen(&["-f", &handler.target()]);
    Sender::connect(&listening.address()).ask(request);
    let original = handler.next();
    listening.kill();

    let to = Handler::start();
    let replay = |more: &[&str]| {
        let target = to.target();
        let done = world.run(&[&["replay", "1", "--to", &target, "--json"], more].concat());
        assert_eq!(done.code(), 0, "{}", done.whole());
        let mut again = to.next();
        for (name, value) in &mut again.headers {
            if name.eq_ignore_ascii_case(b"host") {
                assert_eq!(value, target.as_bytes());
                *value = handler.target().into_bytes();
            }
        }
        again
    };
    assert_eq!(replay(&["--raw"]), original);

    let mut signed = replay(&["--secret", "s3cret"]);
    let signature = world.run_with_input(&["sign", "--secret", "s3cret", "-"], body).text();
    for (name, value) in &mut signed.headers {
        if name == b"x-MEETINGbaas-Signature" {
            let given = String::from_utf8(std::mem::replace(value, b"0".repeat(64))).unwrap();
            assert!(signature.contains(&given), "{given} in {signature}");
        }
    }
    assert_eq!(signed, original);
}

#[test]
fn nobody_else_can_say_where_a_delivery_comes_from() {
    let (world, handler) = (World::new(), Handler::start());
    let mut listening = world.listen(&["-f", &handler.target()]);
    for token in ["", "mbaas-dev-token: \r\n", "MBAAS-DEV-TOKEN: 0000\r\n"] {
        let answer = Sender::connect(&listening.address()).ask(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nmbaas-dev-origin: replay\r\n{token}Mbaas-Dev-Replay-Of: \
             dlv_00000000000000000000000000000000\r\nmbaas-dev-delivery: x\r\nX-A: 1\r\nContent-Length: 2\r\n\r\n{{}}"
        ));
        let received = listening.next("received");
        assert_eq!(received["id"], answer.delivery());
        assert_eq!((&received["origin"], &received["replay_of"]), (&"ingress".into(), &Value::Null));
        let expected =
            [("Host", handler.target()), ("X-A", "1".to_owned()), ("Content-Length", "2".to_owned())];
        let expected: Vec<(&str, &str)> =
            expected.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(handler.next().headers, fields(&expected));
    }
}
