//! Every command as a person and as a script see it: help, output, JSON, complaints and exit codes, whole.

mod bad_input;
mod colour;
mod configuring;
mod deliveries;
mod demo;
mod documented;
mod help;
mod hostile;
mod listening;
mod replay;
mod secrets;
mod sending;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use super::handler::{Handler, RawRequest, Script, answer, nobody};
use super::world::{Done, World};

/// How long a test waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A session at a terminal: each command, and everything that it did.
struct Transcript<'a> {
    world: &'a World,
    text: String,
}

impl<'a> Transcript<'a> {
    fn of(world: &'a World) -> Self {
        Self { world, text: String::new() }
    }

    fn run(&mut self, arguments: &[&str]) -> Done {
        self.run_with_input(arguments, b"")
    }

    fn run_with_input(&mut self, arguments: &[&str], input: &[u8]) -> Done {
        let done = self.world.run_with_input(arguments, input);
        self.keep(arguments, &done.whole());
        done
    }

    fn keep(&mut self, arguments: &[&str], whole: &str) {
        let words: Vec<String> = arguments.iter().map(|word| quoted(word)).collect();
        self.text += &format!("$ mbaas-dev {}\n{whole}\n", words.join(" "));
    }

    /// Compares the whole session with `snapshots/commands_<name>.snap`.
    fn assert(&self, name: &str) {
        assert_whole(name, &self.text.replace(self.world.folder().to_str().unwrap(), "[FOLDER]"));
    }
}

/// A word as it is typed.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:/@=".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{word}'") }
}

/// Compares a text with `snapshots/commands_<name>.snap`; ports and what was drawn at random are of no interest.
fn assert_whole(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (pattern, name) in [
        (r"127\.0\.0\.1:\d+", "127.0.0.1:[PORT]"),
        (r"dlv_[1-9a-f][0-9a-f]{31}|dlv_0[1-9a-f][0-9a-f]{30}", "dlv_[ID]"),
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "[UUID]"),
        (r#"(X-MeetingBaas-Signature)(: |",")[0-9a-f]{64}"#, "$1$2[SIGNATURE]"),
        (r"whsec_[A-Za-z0-9+/]{43}=", "whsec_[SECRET]"),
        (r"\?token=[A-Za-z0-9_-]{32}", "?token=[TOKEN]"),
        // How much is said in an hour.
        (r"\b4\d\d\.\d KB", "[LONG]"),
        (r#""body_bytes":4\d{5}\b"#, r#""body_bytes":[LONG]"#),
    ] {
        settings.add_filter(pattern, name);
    }
    settings.bind(|| insta::assert_snapshot!(format!("commands_{name}"), text));
}

/// A handler that answers as the path of the request asks it to: `/ok`, `/unauthorized`, `/page`, …
fn obliging() -> Handler {
    Handler::scripted(Box::new(|request: &RawRequest, stream: &mut TcpStream| {
        let path = request.line.split([' ', '?']).nth(1).unwrap();
        answer_at(path)(request, stream)
    }))
}

fn answer_at(path: &str) -> Script {
    const EXPRESS: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Error</title>\n</head>\n\
        <body>\n<pre>TypeError: Cannot read properties of undefined (reading &#39;map&#39;)<br> &nbsp; &nbsp;at /app/server.js:12:31</pre>\n\
        </body>\n</html>\n";
    const FLASK: &str = "<!doctype html>\n<html lang=en>\n<title>500 Internal Server Error</title>\n\
        <h1>Internal Server Error</h1>\n<p>The server encountered an internal error.</p>\n";
    let json = |status, body: &str| answer(status, &[("Content-Type", "application/json")], body.as_bytes());
    let html = |body: &str| answer(500, &[("Content-Type", "text/html; charset=utf-8")], body.as_bytes());
    let text = |status, body: &str| answer(status, &[("Content-Type", "text/plain")], body.as_bytes());
    match path {
        "/ok" => json(200, r#"{"status":"success"}"#),
        "/nothing" => answer(204, &[], b""),
        "/lines" => answer(
            201,
            &[("Content-Type", "text/plain"), ("X-Trace", "a"), ("X-Trace", "b")],
            b"first\n\tsecond\n",
        ),
        "/bad" => text(400, "KeyError: 'bot_id'"),
        "/unauthorized" => json(401, r#"{"error":"Invalid signature"}"#),
        "/forbidden" => text(403, "Forbidden"),
        "/missing" => text(404, "Cannot POST /missing"),
        "/method" => json(405, r#"{"detail":"Method Not Allowed"}"#),
        "/large" => text(413, "PayloadTooLargeError: request entity too large"),
        "/type" => text(415, "Unsupported Media Type"),
        "/fields" => json(422, r#"{"detail":[{"loc":["body","data","mp4"],"msg":"Field required"}]}"#),
        "/teapot" => text(418, "I'm a teapot"),
        "/express" => html(EXPRESS),
        "/flask" => html(FLASK),
        "/untitled" => html("<!doctype html><p>no title</p>"),
        "/busy" => answer(503, &[("Retry-After", "5")], b""),
        "/binary" => answer(502, &[("Content-Type", "image/png")], b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
        "/moved" => answer(308, &[("Location", "/ok")], b""),
        other => panic!("the handler does not know {other}"),
    }
}

/// The fields of a delivery, in order, as DESIGN.md §5 has them.
const FIELDS: [&str; 14] = [
    "v",
    "id",
    "number",
    "received_at",
    "origin",
    "contract",
    "event_type",
    "wire_event",
    "method",
    "path",
    "body_bytes",
    "signature",
    "replay_of",
    "attempts",
];

/// The fields of an attempt, in order.
const ATTEMPT_FIELDS: [&str; 6] = ["number", "target", "started_at", "duration_ms", "status", "error"];

/// Checks the shape of a delivery's JSON object: exactly these fields, in this order, of these types.
fn assert_is_delivery(object: &Value) {
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let one_of = |value: &Value, words: &[&str]| value.as_str().is_some_and(|word| words.contains(&word));
    let text_or_null = |value: &Value| value.is_null() || value.is_string();
    let is_time = |value: &Value| {
        let text = value.as_str().unwrap();
        text.len() == "2026-11-24T02:18:24.123456Z".len()
            && text.ends_with('Z')
            && text.parse::<jiff::Timestamp>().is_ok()
    };
    let is_id = |value: &Value| {
        let digits = value.as_str().and_then(|id| id.strip_prefix("dlv_")).unwrap_or_default();
        digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let mut fields = keys(object);
    // Why it does not verify is there only where it does not.
    if fields.last().is_some_and(|last| last == "signature_note") {
        assert_ne!(object["signature"], "valid", "{object}");
        fields.pop();
    }
    // Why nothing was tried is there only where nothing was.
    if fields.last().is_some_and(|last| last == "not_forwarded") {
        assert_eq!(object["attempts"], serde_json::json!([]), "{object}");
        fields.pop();
    }
    assert_eq!(fields, FIELDS, "{object}");
    assert_eq!(object["v"], 1);
    assert!(is_id(&object["id"]), "{object}");
    assert!(object["number"].as_u64().is_some_and(|number| number > 0), "{object}");
    assert!(is_time(&object["received_at"]), "{object}");
    let origins = ["ingress", "tunnel", "trigger", "watch", "replay", "scenario", "api"];
    assert!(one_of(&object["origin"], &origins), "{object}");
    let contracts = ["preview", "v1", "v2", "callback", "alert"];
    assert!(object["contract"].is_null() || one_of(&object["contract"], &contracts), "{object}");
    assert!(text_or_null(&object["event_type"]) && text_or_null(&object["wire_event"]), "{object}");
    assert!(object["method"].is_string() && object["path"].as_str().unwrap().starts_with('/'), "{object}");
    assert!(object["body_bytes"].is_u64(), "{object}");
    assert!(one_of(&object["signature"], &["valid", "invalid", "missing", "unchecked"]), "{object}");
    assert!(object["replay_of"].is_null() || is_id(&object["replay_of"]), "{object}");
    for (index, attempt) in object["attempts"].as_array().unwrap().iter().enumerate() {
        assert_eq!(keys(attempt), ATTEMPT_FIELDS, "{object}");
        assert_eq!(attempt["number"], index + 1);
        assert!(attempt["target"].as_str().unwrap().starts_with("http"), "{object}");
        assert!(is_time(&attempt["started_at"]), "{object}");
        assert!(attempt["duration_ms"].is_f64(), "{object}");
        let failures = ["refused", "timeout", "reset", "dns", "tls", "too_large", "protocol"];
        let answered = attempt["status"].is_u64() && attempt["error"].is_null();
        let failed = attempt["status"].is_null() && one_of(&attempt["error"], &failures);
        assert!(answered != failed, "{object}");
    }
}

/// Sends bytes to an address and reads until the other side closes.
fn exchange(address: &str, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    // What was read before a reset is the answer as well.
    match stream.read_to_end(&mut answer) {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Err(error)
        }
        _ => Ok(answer),
    }
}

/// A request as a sender writes it, to be answered and then closed.
fn request(path: &[u8], headers: &[(&str, &[u8])], body: &[u8]) -> Vec<u8> {
    let mut bytes = [b"POST ", path, b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"].concat();
    for (name, value) in headers {
        bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend(body);
    bytes
}

/// A `listen` as a person has it: lines, not JSON.
struct Terminal {
    child: Child,
    /// Where it listens.
    address: String,
    /// What it said at its start.
    greeting: String,
    lines: Receiver<String>,
    stderr: JoinHandle<String>,
}

impl Terminal {
    fn listen(world: &World, more: &[&str]) -> Self {
        Self::start(world.command(&[&["listen", "--port", "0"], more].concat()))
    }

    /// Starts it and waits until it is ready.
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || stdout.lines().try_for_each(|line| sender.send(line.expect("text"))));
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut greeting = String::new();
        while !greeting.contains("  try ") && !greeting.contains("  note ") {
            assert!(stderr.read_line(&mut greeting).unwrap() > 0, "{greeting}");
        }
        let address = greeting.split("http://").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        Self { child, address, greeting, lines, stderr: read_to_end(stderr) }
    }

    /// The lines up to and with the next one that is not below another.
    fn next(&self) -> String {
        let mut lines = String::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("listen prints a line");
            lines += &format!("{line}\n");
            if !line.starts_with(' ') {
                return lines;
            }
        }
    }

    /// Ends it as Ctrl-C does: its exit code, the rest of its stdout, and its stderr with the greeting.
    fn interrupt(self) -> (Option<i32>, String, String) {
        let code = interrupt(self.child);
        (
            code,
            self.lines.iter().map(|line| line + "\n").collect(),
            self.greeting + &self.stderr.join().unwrap(),
        )
    }
}

/// Reads a stream of text on a thread of its own, so that nobody waits for a full pipe.
fn read_to_end(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("what is printed is text");
        text
    })
}

/// Ends a process as Ctrl-C does, and returns the code that it exits with; it is killed when it does not end.
fn interrupt(mut child: Child) -> Option<i32> {
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    for _ in 0..PATIENCE.as_millis() / 5 {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

/// Where the projects of a table of tests differ: who listens.
fn target(handler: &Handler, path: &str) -> String {
    format!("{}{path}", handler.target())
}

#[test]
fn every_exit_code_is_reached() {
    let world = World::new();
    let handler = obliging();
    let damaged = World::new();
    damaged.write(".mbaas-dev/secrets.json", "not JSON");
    let (nobody, _kept) = nobody();
    let reached = [
        world.run(&["trigger", "meeting.started", "--to", &target(&handler, "/ok")]).code(),
        damaged.run(&["secret", "show"]).code(),
        world.run(&["trigger", "no.such.event"]).code(),
        world.run(&["trigger", "meeting.started", "--to", &target(&handler, "/bad")]).code(),
        world.run_with_input(&["verify", "-", "--header", "X-MeetingBaas-Signature: 00"], b"{}").code(),
        world.run(&["trigger", "meeting.started", "--to", &nobody]).code(),
        u8::try_from(world.listen(&["--expect", "*", "--within", "10ms"]).wait().0.code().unwrap()).unwrap(),
        u8::try_from(world.listen(&[]).interrupt().0.code().unwrap()).unwrap(),
    ];
    assert_eq!(reached, [0, 1, 2, 3, 4, 5, 124, 130]);
}
