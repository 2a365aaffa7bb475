//! Handlers that are down, slow, broken or hostile: the sender is told, the record says it, nobody else is delayed.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::assurance::report;
use crate::handler::nobody;
use crate::world::{Listening, World};

const PATIENCE: Duration = Duration::from_secs(20);
const MEGABYTE: usize = 1024 * 1024;
const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood";

/// A handler that does what it likes with each connection, each on a thread of its own; its address.
fn handler(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Reads a head and nothing behind it: the path and the length of the body.
fn read_head(stream: &mut TcpStream) -> io::Result<(String, usize)> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    let length = head.split("Content-Length: ").nth(1).and_then(|rest| rest.lines().next());
    let path = head.split(' ').nth(1).unwrap().to_owned();
    Ok((path, length.map_or(0, |length| length.parse().unwrap())))
}

/// Reads a request; its path.
fn read_request(stream: &mut TcpStream) -> io::Result<String> {
    let (path, length) = read_head(stream)?;
    stream.read_exact(&mut vec![0; length])?;
    Ok(path)
}

/// Waits until the other side closes.
fn wait_for_end(stream: &mut TcpStream) -> io::Result<()> {
    while stream.read(&mut [0; 1024])? > 0 {}
    Ok(())
}

/// What the sender of a request was told.
struct Told {
    status: String,
    head: String,
    body: Vec<u8>,
}

impl Told {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{} {}", self.head, self.text()))
    }
}

/// A request under way.
fn start(address: &str, path: &str, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    stream
}

fn finish(mut stream: TcpStream) -> Told {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let end = all.windows(4).position(|window| window == b"\r\n\r\n").expect("there is a whole head");
    let body = all.split_off(end + 4);
    let head = String::from_utf8_lossy(&all).into_owned();
    let status = head.lines().next().unwrap().trim_start_matches("HTTP/1.1 ").to_owned();
    Told { status, head, body }
}

fn post(address: &str, path: &str) -> Told {
    finish(start(address, path, b"{}"))
}

fn is_good(address: &str) {
    let told = post(address, "/good");
    assert_eq!((told.status.as_str(), told.text().as_str()), ("200 OK", "good"));
}

/// What to do once a request came.
#[derive(Clone)]
enum Then {
    /// Answer, and go on with the next request.
    Say(Vec<u8>),
    /// Answer, and close the connection.
    Close(Vec<u8>),
    /// Answer, and break the connection off.
    Reset(Vec<u8>),
    /// Answer, and then write a byte now and then without end.
    Drip(Vec<u8>),
    /// Never answer.
    Silence,
}

fn behaviours() -> Vec<(&'static str, Then)> {
    use Then::{Close, Drip, Reset, Say, Silence};
    let say = |text: &str| Say(text.into());
    let head_of =
        |lines: String| Say(format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok").into());
    let latin = b"HTTP/1.1 200 OK\r\nX-Latin: \xe9\xff\r\nContent-Length: 2\r\n\r\nok".to_vec();
    vec![
        ("/good", Say(GOOD.into())),
        ("/never-answers", Silence),
        ("/head-never-ends", Drip("HTTP/1.1 200 OK\r\nX-A: ".into())),
        ("/body-never-ends", Drip("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n".into())),
        ("/closes-at-once", Close(Vec::new())),
        ("/resets-at-once", Reset(Vec::new())),
        ("/closes-mid-header", Close("HTTP/1.1 200 OK\r\nContent-Le".into())),
        ("/resets-mid-header", Reset("HTTP/1.1 200 OK\r\nContent-Le".into())),
        ("/closes-mid-body", Close("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.".into())),
        ("/resets-mid-body", Reset("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.".into())),
        ("/closes-mid-chunk", Close("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab".into())),
        (
            "/closes-before-last-chunk",
            Close("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n".into()),
        ),
        ("/garbage", say("lorem ipsum dolor sit amet\r\n\r\n")),
        ("/garbage-status", say("HTTP/1.1 OK 200\r\nContent-Length: 0\r\n\r\n")),
        ("/tls", Close(b"\x15\x03\x01\x00\x02\x02\x46".to_vec())),
        ("/lower-case-http", say("http/1.1 200 ok\r\nContent-Length: 0\r\n\r\n")),
        ("/http2-status-line", say("HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n")),
        ("/status-of-two-digits", say("HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n")),
        ("/status-of-four-digits", say("HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n")),
        ("/status-zero", say("HTTP/1.1 000 Zero\r\nContent-Length: 0\r\n\r\n")),
        ("/two-lengths", say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc")),
        ("/negative-length", say("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n")),
        (
            "/bad-chunk-size",
            say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n"),
        ),
        ("/name-with-space", say("HTTP/1.1 200 OK\r\nBad Name: 1\r\nContent-Length: 0\r\n\r\n")),
        ("/folded-line", say("HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n")),
        ("/nul-in-value", say("HTTP/1.1 200 OK\r\nX-A: \0\r\nContent-Length: 0\r\n\r\n")),
        (
            "/switches-protocols",
            say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        ),
        ("/head-of-1-MiB", head_of(format!("X-A: {}\r\n", "a".repeat(MEGABYTE)))),
        ("/head-of-thousands-of-fields", head_of("X-A: 1\r\n".repeat(5000))),
        // What follows is odd, and good enough.
        ("/head-of-ninety-fields", head_of("X-A: 1\r\n".repeat(90))),
        (
            "/informs-50-times",
            Say([&b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(50)[..], GOOD].concat()),
        ),
        ("/no-length", Close("HTTP/1.1 200 OK\r\n\r\nup to the end".into())),
        ("/http10", Close("HTTP/1.0 200 OK\r\n\r\nold".into())),
        ("/http10-with-length", Say("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold".into())),
        ("/no-reason", say("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok")),
        ("/status-high", say("HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\nok")),
        ("/line-feeds-only", say("HTTP/1.1 200 OK\nContent-Length: 2\n\nok")),
        ("/latin-1", Say(latin)),
        ("/same-length-twice", say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok")),
        ("/more-than-its-length", say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok, and more")),
        ("/no-content-with-content", say("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok")),
    ]
}

/// A handler that misbehaves as the path says.
fn misbehaving() -> String {
    let behaviours: HashMap<_, _> = behaviours().into_iter().collect();
    handler(move |mut stream| {
        loop {
            let (path, length) = read_head(&mut stream)?;
            let then = &behaviours[path.as_str()];
            // The rest of the body stays unread, so that closing the connection breaks it off.
            let read = if matches!(then, Then::Reset(_)) { 1 } else { length };
            stream.read_exact(&mut vec![0; read])?;
            match then {
                Then::Say(answer) => stream.write_all(answer)?,
                Then::Close(answer) | Then::Reset(answer) => return stream.write_all(answer),
                Then::Silence => return wait_for_end(&mut stream),
                Then::Drip(answer) => {
                    stream.write_all(answer)?;
                    loop {
                        stream.write_all(b"x")?;
                        thread::sleep(Duration::from_millis(20));
                    }
                }
            }
        }
    })
}

/// What the sender is told of a delivery and what is recorded of it, on one line; the two must agree.
fn line_about(path: &str, told: &Told, listening: &mut Listening) -> String {
    let attempt = listening.next("attempt");
    let id = format!("\r\nmbaas-dev-delivery: {}\r\n", attempt["id"].as_str().unwrap());
    assert!(told.head.contains(&id), "{path}: {} names {id}", told.head);
    let (status, error) = (&attempt["attempt"]["status"], &attempt["attempt"]["error"]);
    let Some(error) = error.as_str() else {
        assert!(told.status.starts_with(&status.to_string()), "{path}: {} for {status}", told.status);
        let line = format!("{path:<28} {:<20} {}", told.status, told.text());
        return line.trim_end().to_owned() + "\n";
    };
    assert_eq!(*status, Value::Null, "{path}");
    let json = told.json();
    assert_eq!(json["error"], error, "{path}");
    assert_eq!(json["delivery"], attempt["id"], "{path}");
    assert_eq!(json.as_object().unwrap().len(), 3, "{json}");
    format!("{path:<28} {:<20} {error}: {}\n", told.status, json["message"].as_str().unwrap())
}

#[test]
fn the_sender_is_told_and_the_record_says_what_the_handler_did() {
    let mut table = String::new();
    let world = World::new();
    let (target, _taken) = nobody();
    let mut listening = world.listen(&["-f", &target]);
    let told = post(&listening.address(), "/");
    table += &line_about("(nobody listens)", &told, &mut listening);
    listening.kill();

    let mut listening = world.listen(&["-f", &misbehaving(), "--timeout", "300ms"]);
    let address = listening.address();
    for (path, _) in behaviours() {
        let told = post(&address, path);
        table += &line_about(path, &told, &mut listening);
        is_good(&address);
        listening.next("attempt");
    }
    report("D11", behaviours().len(), 0);
    insta::with_settings!({ filters => [(r"127\.0\.0\.1:\d+", "127.0.0.1:[PORT]")] }, {
    insta::assert_snapshot!(table, @r"
    (nobody listens)             502 Bad Gateway      refused: nobody listens at 127.0.0.1:[PORT]
    /good                        200 OK               good
    /never-answers               504 Gateway Timeout  timeout: no answer from 127.0.0.1:[PORT] within 300ms
    /head-never-ends             504 Gateway Timeout  timeout: no answer from 127.0.0.1:[PORT] within 300ms
    /body-never-ends             504 Gateway Timeout  timeout: no answer from 127.0.0.1:[PORT] within 300ms
    /closes-at-once              502 Bad Gateway      reset: the connection broke before the answer was complete (127.0.0.1:[PORT]: connection closed before message completed)
    /resets-at-once              502 Bad Gateway      reset: the connection broke before the answer was complete (127.0.0.1:[PORT]: connection error: Connection reset by peer (os error 104))
    /closes-mid-header           502 Bad Gateway      reset: the connection broke before the answer was complete (127.0.0.1:[PORT]: connection closed before message completed)
    /resets-mid-header           502 Bad Gateway      reset: the connection broke before the answer was complete (127.0.0.1:[PORT]: connection error: Connection reset by peer (os error 104))
    /closes-mid-body             502 Bad Gateway      reset: the connection broke before the answer was complete (127.0.0.1:[PORT]: error reading a body from connection: end of file before message length reached)
    /resets-mid-body             502 Bad Gateway      reset: the connection broke before the answer was complete (127.0.0.1:[PORT]: error reading a body from connection: Connection reset by peer (os error 104))
    /closes-mid-chunk            502 Bad Gateway      reset: the connection broke before the answer was complete (127.0.0.1:[PORT]: error reading a body from connection: end of file before message length reached)
    /closes-before-last-chunk    502 Bad Gateway      reset: the connection broke before the answer was complete (127.0.0.1:[PORT]: error reading a body from connection: unexpected EOF during chunk size line)
    /garbage                     502 Bad Gateway      protocol: the answer is not HTTP; should it be TLS, let the target begin with https:// (127.0.0.1:[PORT]: invalid HTTP version parsed)
    /garbage-status              502 Bad Gateway      protocol: the answer is not HTTP (127.0.0.1:[PORT]: invalid HTTP status-code parsed)
    /tls                         502 Bad Gateway      protocol: the answer is not HTTP; should it be TLS, let the target begin with https:// (127.0.0.1:[PORT]: invalid HTTP version parsed)
    /lower-case-http             502 Bad Gateway      protocol: the answer is not HTTP; should it be TLS, let the target begin with https:// (127.0.0.1:[PORT]: invalid HTTP version parsed)
    /http2-status-line           502 Bad Gateway      protocol: the answer is not HTTP; should it be TLS, let the target begin with https:// (127.0.0.1:[PORT]: invalid HTTP version parsed)
    /status-of-two-digits        502 Bad Gateway      protocol: the answer is not HTTP (127.0.0.1:[PORT]: invalid HTTP status-code parsed)
    /status-of-four-digits       502 Bad Gateway      protocol: the answer is not HTTP (127.0.0.1:[PORT]: invalid HTTP status-code parsed)
    /status-zero                 502 Bad Gateway      protocol: the answer is not HTTP (127.0.0.1:[PORT]: invalid HTTP status-code parsed)
    /two-lengths                 502 Bad Gateway      protocol: the answer is not HTTP (127.0.0.1:[PORT]: invalid content-length parsed)
    /negative-length             502 Bad Gateway      protocol: the answer is not HTTP (127.0.0.1:[PORT]: invalid content-length parsed)
    /bad-chunk-size              502 Bad Gateway      protocol: the answer's body is not framed as HTTP demands (127.0.0.1:[PORT]: error reading a body from connection: Invalid chunk size line: missing size digit)
    /name-with-space             502 Bad Gateway      protocol: the answer is not HTTP (127.0.0.1:[PORT]: invalid HTTP header parsed)
    /folded-line                 502 Bad Gateway      protocol: the answer is not HTTP (127.0.0.1:[PORT]: invalid HTTP header parsed)
    /nul-in-value                502 Bad Gateway      protocol: the answer is not HTTP (127.0.0.1:[PORT]: invalid HTTP header parsed)
    /switches-protocols          502 Bad Gateway      protocol: 127.0.0.1:[PORT] switched protocols without being asked to
    /head-of-1-MiB               502 Bad Gateway      too_large: the answer's head is too large (127.0.0.1:[PORT]: message head is too large)
    /head-of-thousands-of-fields 502 Bad Gateway      too_large: the answer's head is too large (127.0.0.1:[PORT]: message head is too large)
    /head-of-ninety-fields       200 OK               ok
    /informs-50-times            200 OK               good
    /no-length                   200 OK               up to the end
    /http10                      200 OK               old
    /http10-with-length          200 OK               old
    /no-reason                   200                  ok
    /status-high                 999 Odd              ok
    /line-feeds-only             200 OK               ok
    /latin-1                     200 OK               ok
    /same-length-twice           200 OK               ok
    /more-than-its-length        200 OK               ok
    /no-content-with-content     204 No Content
    ");
    });
}

#[test]
fn trigger_exits_5_when_nobody_answers_and_3_when_what_comes_is_no_acknowledgement() {
    let (world, target) = (World::new(), misbehaving());
    let mut table = String::new();
    let mut row = |path: &str, target: &str| {
        let done = world.run(&[
            "trigger",
            "meeting.completed@minimal",
            "--to",
            target,
            "--timeout",
            "300ms",
            "--json",
        ]);
        let objects = done.objects();
        assert_eq!(objects.len(), 1, "{path}: {}", done.whole());
        let attempt = &objects[0]["attempts"][0];
        let error = attempt["error"].as_str().unwrap_or("-");
        writeln!(table, "{path:<28} exit {}  {:<4} {error}", done.code(), attempt["status"]).unwrap();
    };
    let (refusing, _taken) = nobody();
    row("(nobody listens)", &refusing);
    for (path, _) in behaviours() {
        row(path, &format!("{target}{path}"));
    }
    insta::assert_snapshot!(table, @r"
    (nobody listens)             exit 5  null refused
    /good                        exit 0  200 -
    /never-answers               exit 5  null timeout
    /head-never-ends             exit 5  null timeout
    /body-never-ends             exit 5  null timeout
    /closes-at-once              exit 3  null reset
    /resets-at-once              exit 3  null reset
    /closes-mid-header           exit 3  null reset
    /resets-mid-header           exit 3  null reset
    /closes-mid-body             exit 3  null reset
    /resets-mid-body             exit 3  null reset
    /closes-mid-chunk            exit 3  null reset
    /closes-before-last-chunk    exit 3  null reset
    /garbage                     exit 3  null protocol
    /garbage-status              exit 3  null protocol
    /tls                         exit 3  null protocol
    /lower-case-http             exit 3  null protocol
    /http2-status-line           exit 3  null protocol
    /status-of-two-digits        exit 3  null protocol
    /status-of-four-digits       exit 3  null protocol
    /status-zero                 exit 3  null protocol
    /two-lengths                 exit 3  null protocol
    /negative-length             exit 3  null protocol
    /bad-chunk-size              exit 3  null protocol
    /name-with-space             exit 3  null protocol
    /folded-line                 exit 3  null protocol
    /nul-in-value                exit 3  null protocol
    /switches-protocols          exit 3  null protocol
    /head-of-1-MiB               exit 3  null too_large
    /head-of-thousands-of-fields exit 3  null too_large
    /head-of-ninety-fields       exit 0  200 -
    /informs-50-times            exit 0  200 -
    /no-length                   exit 0  200 -
    /http10                      exit 0  200 -
    /http10-with-length          exit 0  200 -
    /no-reason                   exit 0  200 -
    /status-high                 exit 3  999 -
    /line-feeds-only             exit 0  200 -
    /latin-1                     exit 0  200 -
    /same-length-twice           exit 0  200 -
    /more-than-its-length        exit 0  200 -
    /no-content-with-content     exit 0  204 -
    ");
}

#[test]
fn an_answer_that_comes_before_the_body_was_read_is_passed_on() {
    let target = handler(|mut stream| {
        let (path, length) = read_head(&mut stream)?;
        if path == "/deaf" {
            // Nothing is read: the connection fills up, and nothing comes back.
            thread::park_timeout(PATIENCE);
            return Ok(());
        }
        stream.write_all(b"HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\n\r\nno")?;
        io::copy(&mut stream.take(length as u64), &mut io::sink()).map(drop)
    });
    let world = World::new();
    let mut listening = world.listen(&["-f", &target, "--timeout", "2s"]);
    let body = vec![b'x'; 16 * MEGABYTE];
    let told = finish(start(&listening.address(), "/early", &body));
    assert_eq!((told.status.as_str(), told.text().as_str()), ("413 Too Much", "no"));
    assert_eq!(listening.next("attempt")["attempt"]["status"], 413);
    let told = finish(start(&listening.address(), "/deaf", &body));
    assert_eq!(told.status, "504 Gateway Timeout");
    assert_eq!(listening.next("attempt")["attempt"]["error"], "timeout");
}

#[test]
fn an_answer_with_a_length_and_chunks_is_as_long_as_its_chunks() {
    let target = handler(|mut stream| {
        read_request(&mut stream)?;
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(format!("{head}2\r\nok\r\n0\r\n\r\n").as_bytes())?;
        wait_for_end(&mut stream)
    });
    let world = World::new();
    let mut listening = world.listen(&["-f", &target]);
    let told = post(&listening.address(), "/");
    assert_eq!((told.status.as_str(), told.text().as_str()), ("200 OK", "ok"));
    assert!(told.head.to_ascii_lowercase().contains("\r\ncontent-length: 2\r\n"), "{}", told.head);
    assert_eq!(listening.next("attempt")["attempt"]["status"], 200);
}

#[test]
fn handlers_that_hang_do_not_delay_the_others() {
    const HANGING: usize = 63;
    const GOOD_ONES: usize = 100;
    let (hangs, hanging) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let target = handler(move |mut stream| {
        loop {
            if read_request(&mut stream)? == "/hangs" {
                hangs.send(()).ok();
                // It ends when the other side is dropped.
                released.lock().unwrap().recv().ok();
            }
            stream.write_all(GOOD)?;
        }
    });
    let world = World::new();
    let listening = world.listen(&["-f", &target, "--parallel", "64", "--timeout", "0"]);
    let address = listening.address();
    let stuck: Vec<TcpStream> = (0..HANGING).map(|_| start(&address, "/hangs", b"{}")).collect();
    (0..HANGING).for_each(|_| hanging.recv_timeout(PATIENCE).unwrap());

    (0..GOOD_ONES).for_each(|_| is_good(&address));
    for stream in &stuck {
        stream.set_nonblocking(true).unwrap();
        assert_eq!(stream.peek(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock, "it still hangs");
        stream.set_nonblocking(false).unwrap();
    }
    drop(release);
    assert!(stuck.into_iter().all(|stream| finish(stream).status == "200 OK"));
    report("D10", GOOD_ONES, 0);
    report("P6", GOOD_ONES, 0);
}

#[test]
fn as_many_deliveries_are_handed_over_at_a_time_as_parallel_says() {
    for (parallel, requests) in [(64, 64), (8, 64)] {
        let barrier = Arc::new(Barrier::new(parallel));
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&most);
        let target = handler(move |mut stream| {
            loop {
                read_request(&mut stream)?;
                counted.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // Nobody passes before so many are here.
                barrier.wait();
                now.fetch_sub(1, Ordering::SeqCst);
                stream.write_all(GOOD)?;
            }
        });
        let world = World::new();
        let listening = world.listen(&["-f", &target, "--parallel", &parallel.to_string()]);
        let under_way: Vec<_> = (0..requests).map(|_| start(&listening.address(), "/", b"{}")).collect();
        assert!(under_way.into_iter().all(|stream| finish(stream).status == "200 OK"));
        assert_eq!(most.load(Ordering::SeqCst), parallel);
    }
}

#[test]
fn parallel_1_keeps_strict_order() {
    const WAITING: usize = 30;
    let (seen, order) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (released, busy) = (Mutex::new(released), Mutex::new(()));
    let target = handler(move |mut stream| {
        loop {
            let path = read_request(&mut stream)?;
            let alone = busy.try_lock();
            seen.send((path, alone.is_ok())).ok();
            released.lock().unwrap().recv().ok();
            drop(alone);
            stream.write_all(GOOD)?;
        }
    });
    let world = World::new();
    let mut listening = world.listen(&["-f", &target, "--parallel", "1", "--timeout", "0"]);
    let address = listening.address();
    let under_way: Vec<TcpStream> = (0..WAITING)
        .map(|number| {
            let stream = start(&address, &format!("/{number}"), b"{}");
            assert_eq!(listening.next("received")["path"], format!("/{number}"));
            stream
        })
        .collect();
    drop(release);
    assert!(under_way.into_iter().all(|stream| finish(stream).status == "200 OK"));
    let order: Vec<_> = order.try_iter().collect();
    let expected: Vec<_> = (0..WAITING).map(|number| (format!("/{number}"), true)).collect();
    assert_eq!(order, expected);
}

#[test]
fn an_endless_answer_is_streamed_without_filling_memory() {
    const READ: usize = 96 * MEGABYTE;
    let (broke_off, ended): (Sender<()>, Receiver<()>) = mpsc::channel();
    let target = handler(move |mut stream| {
        loop {
            if read_request(&mut stream)? != "/endless" {
                stream.write_all(GOOD)?;
                continue;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            let chunk = [&b"10000\r\n"[..], &vec![b'x'; 0x10000], b"\r\n"].concat();
            while stream.write_all(&chunk).is_ok() {}
            broke_off.send(()).ok();
        }
    });
    let world = World::new();
    let mut listening = world.listen(&["-f", &target]);
    let address = listening.address();
    is_good(&address);
    listening.next("attempt");
    let before = memory(&listening, "VmRSS:");

    let never_reads = start(&address, "/endless", b"{}");
    let mut reads = start(&address, "/endless", b"{}");
    let (mut chunk, mut sum) = (vec![0; MEGABYTE], 0);
    while sum < READ {
        let length = reads.read(&mut chunk).unwrap();
        assert!(length > 0, "cut after {sum} bytes");
        sum += length;
    }
    is_good(&address);
    let grown = memory(&listening, "VmHWM:").saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more");

    drop((reads, never_reads));
    (0..2).for_each(|_| ended.recv_timeout(PATIENCE).expect("the handler is let go with the sender"));
    drop(start(&address, "/endless", b"{}"));
    ended.recv_timeout(PATIENCE).expect("a sender that left at once holds nothing up");
    let statuses: Vec<Value> =
        (0..4).map(|_| listening.next("attempt")["attempt"]["status"].clone()).collect();
    assert_eq!(statuses, [200, 200, 200, 200]);
    report("D12", 3, 0);
}

/// A line of /proc/PID/status, in KiB.
fn memory(listening: &Listening, name: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", listening.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn an_answer_that_breaks_off_beyond_what_is_kept_never_looks_whole() {
    for head in ["Content-Length: 3000000", "Transfer-Encoding: chunked"] {
        let target = handler(move |mut stream| {
            read_request(&mut stream)?;
            let frame = if head.contains("chunked") { "1e8480\r\n" } else { "" };
            stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{frame}").as_bytes())?;
            stream.write_all(&vec![b'x'; 2_000_000])
        });
        let world = World::new();
        let listening = world.listen(&["-f", &target]);
        let mut stream = start(&listening.address(), "/", b"{}");
        let mut all = Vec::new();
        // A reset is as clear as an end that comes too early.
        stream.read_to_end(&mut all).ok();
        assert!(all.starts_with(b"HTTP/1.1 200 OK\r\n") && all.len() < 2_500_000);
        assert!(!all.ends_with(b"0\r\n\r\n"), "{head}");
    }
}

#[test]
fn a_handler_that_closes_its_connection_between_requests_costs_no_delivery() {
    const DELIVERIES: usize = 1000;
    let (closed, closes) = mpsc::channel();
    // It does not say `Connection: close`, so that its connection looks good until its end is noticed.
    let target = handler(move |mut stream| {
        read_request(&mut stream)?;
        stream.write_all(GOOD)?;
        drop(stream);
        closed.send(()).ok();
        Ok(())
    });
    let world = World::new();
    let listening = world.listen(&["-f", &target]);
    for _ in 0..DELIVERIES {
        is_good(&listening.address());
        closes.recv_timeout(PATIENCE).unwrap();
    }
}

#[test]
fn what_a_handler_says_too_much_is_never_the_answer_to_another_delivery() {
    const DELIVERIES: usize = 100;
    let target = handler(|mut stream| {
        loop {
            let path = read_request(&mut stream)?;
            let answer =
                |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all((answer(&path) + &answer("stray")).as_bytes())?;
        }
    });
    let world = World::new();
    let listening = world.listen(&["-f", &target]);
    for number in 0..DELIVERIES {
        let path = format!("/{number}");
        assert_eq!(post(&listening.address(), &path).text(), path);
    }
}
