//! The WebSocket: what happens, at once, and what happened since.

use std::net::TcpStream;
use std::time::Duration;

use mbaas_dev::model::Clock;
use serde_json::Value;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use super::client::Client;
use super::{Inspected, token, url};

/// How long a test waits for a line that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A watcher, with the lines that came and were not asked for yet.
struct Watcher {
    socket: WebSocket<TcpStream>,
    lines: Vec<Value>,
}

impl Watcher {
    fn connect(client: &Client, question: &str) -> Self {
        let stream = TcpStream::connect(&client.authority).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request =
            format!("ws://{}/api/live{question}", client.authority).into_client_request().unwrap();
        let bearer = format!("Bearer {}", client.token).parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        let (socket, _) = tungstenite::client(request, stream).unwrap();
        let mut this = Self { socket, lines: Vec::new() };
        assert_eq!(this.line()["type"], "ready");
        this
    }

    fn line(&mut self) -> Value {
        while self.lines.is_empty() {
            match self.socket.read().expect("a line comes") {
                Message::Text(text) => {
                    self.lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
                }
                Message::Ping(_) => {}
                other => panic!("unexpected: {other:?}"),
            }
        }
        self.lines.remove(0)
    }

    /// The next lines as type and number.
    fn next(&mut self, count: usize) -> Vec<(String, i64)> {
        let line = |line: Value| {
            (line["type"].as_str().unwrap().to_owned(), line["number"].as_i64().unwrap_or_default())
        };
        (0..count).map(|_| line(self.line())).collect()
    }
}

fn pair(number: i64) -> [(String, i64); 2] {
    [("received".to_owned(), number), ("attempt".to_owned(), number)]
}

#[test]
fn a_watcher_hears_what_listen_prints_and_goes_on_where_it_was() {
    let mut inspected = Inspected::start(&[]);
    let mut watcher = Watcher::connect(&inspected.client, "");
    inspected.trigger("meeting.failed");
    let lines = [watcher.line(), watcher.line()];
    assert_eq!(lines, [inspected.listening.next("received"), inspected.listening.next("attempt")]);
    drop(watcher);
    for _ in 0..3 {
        inspected.trigger("meeting.started");
    }
    let mut watcher = Watcher::connect(&inspected.client, "?after=1&open=1");
    // Its end was not heard of by a page that names it.
    assert_eq!(watcher.line()["type"], "attempt");
    assert_eq!(watcher.next(6), [pair(2), pair(3), pair(4)].concat());
    inspected.trigger("meeting.started");
    assert_eq!(watcher.next(2), pair(5));
}

#[test]
fn every_watcher_hears_what_is_deleted_on_another_page() {
    let inspected = Inspected::start(&[]);
    inspected.trigger("meeting.failed");
    let alone = inspected.world.start(&["inspector", "--json"]);
    let alone = Client::new(&url(&alone), &token(inspected.world.folder(), &url(&alone)));
    for client in [&inspected.client, &alone] {
        inspected.trigger("meeting.failed");
        let last = client.object("/api/status")["last"].as_i64().unwrap();
        let mut watchers = ["", "?after=1000"].map(|question| Watcher::connect(client, question));
        assert_eq!(client.delete(&format!("/api/deliveries/{last}")).status, 200);
        for watcher in &mut watchers {
            let told = watcher.line();
            assert_eq!((&told["type"], &told["deleted"]), (&"deleted".into(), &serde_json::json!([last])));
        }
    }
}

#[test]
fn every_watcher_hears_what_is_pruned_by_another_process() {
    let inspected = Inspected::start(&[]);
    let done = inspected.world.run(&["trigger", "meeting.failed", "--count", "150"]);
    assert_eq!(done.code(), 0);
    let alone = inspected.world.start(&["inspector", "--json"]);
    let alone = Client::new(&url(&alone), &token(inspected.world.folder(), &url(&alone)));
    let mut watchers = [&inspected.client, &alone].map(|client| Watcher::connect(client, ""));
    for (keep, key, expected) in
        [("148", "deleted", serde_json::json!([1, 2])), ("10", "ranges", serde_json::json!([[3, 140]]))]
    {
        assert_eq!(inspected.world.run(&["deliveries", "prune", "--keep", keep]).code(), 0);
        for watcher in &mut watchers {
            // Pruning goes in slices, of which each may be told by itself.
            let mut told = watcher.line();
            while told[key] != expected && told["gone"].as_i64() < Some(140) {
                told = watcher.line();
            }
            assert_eq!((&told["type"], &told[key]), (&"deleted".into(), &expected), "{told}");
        }
        let status = inspected.client.object("/api/status");
        assert_eq!(status["deliveries"].to_string(), keep);
        let page = inspected.client.object("/api/deliveries?offset=5&limit=1&total=true");
        assert_eq!((&page["deliveries"][0]["number"], &page["total"]), (&145.into(), &status["deliveries"]));
    }
}

#[test]
fn what_other_processes_record_is_heard_as_well() {
    let inspected = Inspected::start(&[]);
    let mut watcher = Watcher::connect(&inspected.client, "");
    let to = inspected.handler.target();
    assert_eq!(inspected.world.run(&["trigger", "meeting.failed", "--to", &to]).code(), 0);
    assert_eq!(watcher.next(2), pair(1));
    inspected.trigger("meeting.failed");
    assert_eq!(watcher.next(2), pair(2));
    // Without a bus of its own, too.
    let alone = inspected.world.start(&["inspector", "--json"]);
    let client = Client::new(&url(&alone), &token(inspected.world.folder(), &url(&alone)));
    let mut watcher = Watcher::connect(&client, "?after=1");
    assert_eq!(watcher.next(2), pair(2));
    inspected.trigger("meeting.failed");
    assert_eq!(watcher.next(2), pair(3));
}

#[test]
fn a_watcher_that_slept_through_hundreds_misses_none() {
    let inspected = Inspected::start(&[]);
    inspected.trigger("meeting.failed");
    let done = inspected.world.run(&["trigger", "meeting.failed", "--count", "600", "--json"]);
    assert_eq!(done.code(), 0);
    let mut watcher = Watcher::connect(&inspected.client, "?after=1");
    inspected.trigger("meeting.failed");
    let expected: Vec<(String, i64)> = (2..=602).flat_map(pair).collect();
    assert!(watcher.next(expected.len()) == expected, "each is told once, in order");
    println!("inputs={} violations=0 (P4)", expected.len());
}

#[test]
fn the_end_is_said_and_does_not_wait_for_watchers() {
    let inspected = Inspected::start(&[]);
    let mut watcher = Watcher::connect(&inspected.client, "");
    let started = Clock::real().tick();
    let (status, _) = inspected.listening.interrupt();
    assert_eq!(status.code(), Some(130));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let farewell = watcher.socket.read().unwrap();
    assert!(
        matches!(&farewell, Message::Close(Some(close)) if u16::from(close.code) == 1001),
        "{farewell:?}"
    );
}
