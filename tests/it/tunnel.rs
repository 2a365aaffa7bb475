//! From the internet to the handler: a real relay, a real `listen` behind it, senders, and what may go wrong between.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use mbaas_dev::model::Clock;
use rusqlite::Connection;
use serde_json::Value;

use crate::handler::{Handler, answer, raw, when_told};
use crate::relaying::{PATIENCE, Relay, TOKEN, Wire, channel, metric, recorded, send, trigger};
use crate::surroundings::with_clock;
use crate::world::{Listening, World};

#[test]
fn an_event_reaches_the_handler_through_the_relay_and_its_answer_comes_back() {
    let (of_relay, world, handler) = (World::new(), World::new(), Handler::start());
    handler.become_(answer(
        207,
        &[("Content-Type", "text/html"), ("X-Handler", "1"), ("Set-Cookie", "a=b")],
        b"<b>",
    ));
    let relay = Relay::start(&of_relay, &[]);
    let mut listen = relay.listen(&world, &["--forward", &handler.target()]);
    let channel = channel(&listen);
    let sent = trigger(&relay, &channel, "meeting.completed", "/hooks?a=1&b=%20");
    assert_eq!(sent["attempts"][0]["status"], 207);
    let received = listen.next("received");
    assert_eq!((&received["origin"], &received["signature"]), (&"tunnel".into(), &"valid".into()));
    assert_eq!(
        (&received["event_type"], &received["late_since"]),
        (&"meeting.completed".into(), &Value::Null)
    );
    assert_eq!(handler.next().line, "POST /hooks?a=1&b=%20 HTTP/1.1");

    // Names keep their case and order, bytes stay bytes, and nobody speaks in the relay's name.
    let headers = "X-One: 1\r\nx-TWO: \u{e9}\r\nx-one: 2\r\nX-Drop: x\r\nConnection: X-Drop\r\n\
        MBAAS-Dev-Seq: 9\r\nmbaas-dev-origin: replay\r\n";
    let body: Vec<u8> = (0..600_000_u32).map(|number| number.to_le_bytes()[0] ^ 0x5a).collect();
    let reply = send(&relay.address, "PUT", &channel, headers, &body).unwrap();
    assert_eq!((reply.status, reply.body.as_slice()), (207, &b"<b>"[..]));
    let request = handler.next();
    assert_eq!((request.line.as_str(), request.body == body), ("PUT / HTTP/1.1", true));
    let names = request.headers.iter().map(|(name, _)| String::from_utf8(name.clone()).unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["Host", "X-One", "x-TWO", "x-one", "Content-Length"]);
    assert_eq!(request.header("X-TWO"), Some("\u{e9}".as_bytes()));

    // The answer is the handler's, but nothing that a browser would run or keep.
    for expected in [
        "x-handler: 1",
        "content-type: text/plain",
        "content-security-policy: sandbox",
        "mbaas-dev-delivery: dlv_",
    ] {
        assert!(reply.head.contains(expected), "{expected}\n{}", reply.head);
    }
    assert!(!reply.head.contains("set-cookie"), "{}", reply.head);
}

/// Nobody else can write to the record until it is rolled back.
fn locked(world: &World) -> Connection {
    let other = Connection::open(world.folder().join(".mbaas-dev/deliveries.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

#[test]
fn a_sender_has_its_answer_before_it_is_recorded_here_and_the_relay_keeps_the_request_until_then() {
    let (of_relay, world, handler) = (World::new(), World::new(), Handler::start());
    handler.become_(answer(207, &[("mbaas-dev-recorded", "now")], b"early"));
    let relay = Relay::start(&of_relay, &[]);
    let mut listen = relay.listen(&world, &["--forward", &handler.target()]);
    let channel = channel(&listen);

    let other = locked(&world);
    let reply = send(&relay.address, "POST", &channel, "", b"{}").unwrap();
    assert_eq!((reply.status, reply.body.as_slice()), (207, &b"early"[..]), "{}", reply.head);
    assert!(!reply.head.contains("mbaas-dev-recorded"), "{}", reply.head);
    let id = reply.head.split("mbaas-dev-delivery: ").nth(1).unwrap().split("\r\n").next().unwrap();
    assert_eq!((relay.health()["waiting"].clone(), recorded(&world)), (1.into(), vec![]));
    other.execute_batch("ROLLBACK").unwrap();
    relay.is_drained();
    let known = recorded(&world);
    assert_eq!((known.len(), &known[0]["id"]), (1, &id.into()));
    assert_eq!(known[0]["attempts"][0]["status"], 207);
    handler.next();

    // What could not be recorded after all is handed over again until it is.
    let other = locked(&world);
    assert_eq!(send(&relay.address, "POST", &channel, "", b"{}").unwrap().status, 207);
    assert_eq!(listen.next("error")["code"], "store");
    assert_eq!(relay.health()["waiting"], 1);
    other.execute_batch("ROLLBACK").unwrap();
    relay.is_drained();
    assert_eq!(recorded(&world).len(), 2);
    handler.next();
    handler.next();

    // Whatever the handler says, and however much of it.
    for (status, length) in [(204, 0), (200, 0), (500, 1), (200, 16_384), (200, 16_385), (200, 2_000_000)] {
        let body = vec![b'x'; length];
        handler.become_(answer(status, &[("mbaas-dev-recorded", "later")], &body));
        let reply = send(&relay.address, "POST", &channel, "", b"{}").unwrap();
        assert_eq!((reply.status, reply.body == body), (status, true), "{length}");
        relay.is_drained();
    }
}

#[test]
fn what_comes_while_listen_is_away_arrives_in_order_and_verifies() {
    let (of_relay, world, handler) = (World::new(), World::new(), Handler::start());
    let mut relay = Relay::start(&of_relay, &[]);
    let listen = relay.listen(&world, &["--forward", &handler.target()]);
    let channel = channel(&listen);
    let (status, _) = listen.interrupt();
    assert_eq!(status.code(), Some(130));
    relay.next("tunnel_closed");
    for number in 0..10 {
        let sent = trigger(&relay, &channel, "event.added", &format!("/{number}"));
        assert_eq!(sent["attempts"][0]["status"], 202);
    }
    assert_eq!(relay.health()["waiting"], 10);
    // What waits is on disk, and not in clear.
    relay.end("TERM");
    let file = std::fs::read(of_relay.folder().join(".mbaas-dev/relay.db")).unwrap();
    assert!(!file.windows(11).any(|part| part == b"event.added"));
    let address = relay.address.clone();
    let relay = Relay::at(&address, &of_relay, &[]);
    assert_eq!(relay.health()["waiting"], 10);

    let mut listen = relay.listen(&world, &["--forward", &handler.target()]);
    assert_eq!(crate::relaying::channel(&listen), channel, "the same token gets the same URL");
    for number in 0..10 {
        let received = listen.next("received");
        assert_eq!(
            (&received["signature"], &received["path"]),
            (&"valid".into(), &format!("/{number}").into())
        );
        assert!(received["late_since"].is_string(), "{received}");
        assert_eq!(handler.next().line, format!("POST /{number} HTTP/1.1"));
    }
    relay.is_drained();
    let paths: Vec<Value> = recorded(&world).iter().map(|delivery| delivery["path"].clone()).collect();
    let expected: Vec<Value> = (0..10).map(|number| format!("/{number}").into()).collect();
    assert_eq!(paths, expected);
}

#[test]
fn a_relay_that_was_away_for_long_is_found_before_the_next_try_is_due() {
    let (of_relay, world, handler) = (World::new(), World::new(), Handler::start());
    let mut relay = Relay::start(&of_relay, &[]);
    let mut listen = relay.listen(&world, &["--forward", &handler.target()]);
    relay.end("KILL");
    let mut pause = Duration::ZERO;
    while pause < Duration::from_secs(15) {
        pause = Duration::from_secs_f64(listen.next("reconnecting")["in_ms"].as_f64().unwrap() / 1000.0);
    }
    let _relay = Relay::at(&relay.address.clone(), &of_relay, &[]);
    let (opened, opens) = mpsc::channel();
    thread::spawn(move || {
        listen.next("tunnel");
        opened.send(()).unwrap();
        drop(listen);
    });
    opens.recv_timeout(pause / 2).unwrap();
}

#[test]
fn what_the_handler_was_at_when_listen_was_killed_goes_to_it_again() {
    let (of_relay, world, handler) = (World::new(), World::new(), Handler::start());
    let relay = Relay::start(&of_relay, &[]);
    let listen = relay.listen(&world, &["--forward", &handler.target()]);
    let channel = channel(&listen);
    handler.become_(Box::new(|_, _| {
        thread::sleep(PATIENCE);
        Ok(())
    }));
    thread::scope(|scope| {
        let sender = scope.spawn(|| send(&relay.address, "POST", &channel, "", b"once").unwrap());
        assert_eq!(handler.next().body, b"once");
        // It is recorded by the time the handler has it, or a moment later.
        while recorded(&world).is_empty() {
            thread::yield_now();
        }
        listen.kill();
        handler.become_(answer(201, &[], b"now"));
        let listen = relay.listen(&world, &["--forward", &handler.target()]);
        // Whoever still waits gets the answer.
        let reply = sender.join().unwrap();
        assert_eq!((reply.status, &reply.body[..]), (201, &b"now"[..]));
        drop(listen.interrupt());
    });
    assert_eq!(handler.next().body, b"once");
    let [delivery] = &recorded(&world)[..] else { panic!("it is recorded once") };
    assert_eq!(delivery["attempts"][0]["status"], 201);
}

#[test]
fn a_slow_answer_reaches_its_sender_although_the_tunnel_broke_meanwhile() {
    let (of_relay, world, handler) = (World::new(), World::new(), Handler::start());
    let relay = Relay::start(&of_relay, &[]);
    let wire = Wire::to(&relay.address);
    let url = format!("ws://{}", wire.address());
    let mut listen = Relay::listen_at(&url, &world, &["--forward", &handler.target()]);
    let channel = channel(&listen);
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    handler.become_(Box::new(move |request, stream| {
        may_go_on.lock().unwrap().recv().ok();
        answer(200, &[], b"at last")(request, stream)
    }));
    thread::scope(|scope| {
        let sender = scope.spawn(|| send(&relay.address, "POST", &channel, "", b"once").unwrap());
        handler.next();
        wire.cut();
        listen.next("tunnel");
        drop(go_on);
        let reply = sender.join().unwrap();
        assert_eq!((reply.status, &reply.body[..]), (200, &b"at last"[..]));
    });
    drop(listen.interrupt());
    assert_eq!((recorded(&world).len(), handler.drain().len()), (1, 0));
}

#[test]
fn the_newest_owner_has_the_channel_and_the_other_one_says_so() {
    let (of_relay, world, handler) = (World::new(), World::new(), Handler::start());
    let relay = Relay::start(&of_relay, &[]);
    let mut first = relay.listen(&world, &["--forward", &handler.target()]);
    let second = relay.listen(&world, &["--forward", &handler.target()]);
    assert_eq!(channel(&first), channel(&second));
    let error = first.next("error");
    assert_eq!(error["code"], "tunnel");
    for number in 0..20 {
        assert_eq!(
            send(&relay.address, "POST", &channel(&second), "", b"x").unwrap().status,
            200,
            "{number}"
        );
    }
    assert_eq!(relay.health()["connected"], 1);
    let (_, rest) = second.interrupt();
    assert_eq!(rest.last().unwrap()["received"], 20);
    // The first one does not take it back by itself, and goes on with what comes to its own port.
    assert_eq!(send(&first.address(), "POST", "/", "", b"x").unwrap().status, 200);
    assert_eq!(first.interrupt().1.last().unwrap()["received"], 1);
    // Another project has another channel.
    let other = World::new();
    assert_ne!(channel(&relay.listen(&other, &[])), channel(&relay.listen(&world, &[])));
    assert_eq!(relay.health()["channels"], 2);
}

#[test]
fn who_has_no_right_token_gets_no_tunnel_and_learns_why() {
    let (of_relay, world, handler) = (World::new(), World::new(), Handler::start());
    let mut relay = Relay::start(&of_relay, &[]);
    let url = relay.url();
    let elsewhere = format!("ws://{}", handler.target());
    let mut said = String::new();
    for arguments in [
        &["--tunnel", &url][..],
        &["--tunnel", &url, "--access-token", "wrong"],
        &["--tunnel", &url, "--access-token", "schl\u{fc}ssel"],
        &["--tunnel", &elsewhere],
        &["--tunnel", "hooks.example.com"],
        &["--tunnel", &url.replace("ws:", "wss:"), "--access-token", TOKEN],
    ] {
        let done = world.run_process(&[&["listen", "--port", "0"], arguments].concat());
        let errors = String::from_utf8(done.stderr).unwrap();
        said += &format!("exit: {}\n{errors}\n", done.status.code().unwrap());
    }
    let said = said.replace(&relay.address, "RELAY").replace(&handler.target(), "HANDLER");
    insta::assert_snapshot!(said);
    relay.next("tunnel_refused");

    // Five credentials in five places: only the right ones in their own place open a tunnel.
    let listen_token = "5".repeat(64);
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mbaas-dev.tunnel.v1\r\n";
    let mut opened = 0;
    let credentials = [TOKEN, "wrong", "", &listen_token, "an-access-tokem"];
    let places: [Place; 5] = [
        |token| (format!("Authorization: Bearer {token}\r\n"), String::new()),
        |token| (format!("Cookie: access_token={token}\r\n"), String::new()),
        |token| (String::new(), format!("?access_token={token}")),
        |token| (format!("Proxy-Authorization: Bearer {token}\r\n"), String::new()),
        |token| {
            (format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n"), String::new())
        },
    ];
    let tokens = [listen_token.as_str(), "5", "", "zz"];
    for credential in credentials {
        for place in places {
            for token in tokens {
                let (line, query) = place(credential);
                let head = format!("{upgrade}{line}mbaas-dev-listen-token: {token}\r\n");
                let status = tunnel_status(&relay.address, &format!("/tunnel{query}"), &head);
                assert!([101, 400, 401].contains(&status), "{status}");
                opened += usize::from(status == 101);
            }
        }
    }
    assert_eq!((opened, &relay.health()["channels"]), (1, &1.into()));
    println!("inputs={} violations=0", credentials.len() * places.len() * tokens.len());
}

/// Puts a credential somewhere: a line of the head, and the end of the path.
type Place = fn(&str) -> (String, String);

/// The status of a handshake; the connection is not kept.
fn tunnel_status(address: &str, path: &str, headers: &str) -> u16 {
    let mut stream = BufReader::new(TcpStream::connect(address).unwrap());
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    stream.get_mut().write_all(head.as_bytes()).unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn senders_are_told_what_is_true() {
    let (of_relay, world) = (World::new(), World::new());
    let mut relay =
        Relay::start(&of_relay, &["--when-offline", "reject", "--max-body", "1K", "--mode", "store"]);
    let listen = relay.listen(&world, &[]);
    let channel = channel(&listen);
    let status =
        |method: &str, path: &str, body: &[u8]| send(&relay.address, method, path, "", body).unwrap();
    let unknown = format!("/in/{}", "0".repeat(32));
    for (expected, method, path) in [
        (202, "POST", channel.as_str()),
        (202, "PUT", &format!("{channel}/x?y")),
        (405, "GET", &channel),
        (405, "DELETE", &channel),
        (404, "POST", &unknown),
        (404, "POST", "/in/../../etc/passwd"),
        (404, "POST", &channel.to_uppercase()),
        (404, "POST", "/"),
        (405, "POST", "/tunnel"),
    ] {
        assert_eq!(status(method, path, b"{}").status, expected, "{method} {path}");
    }
    assert_eq!(status("POST", &channel, &[b'x'; 1025]).status, 413);
    relay.is_drained();
    drop(listen.interrupt());
    relay.next("tunnel_closed");
    let rejected = send(&relay.address, "POST", &channel, "", b"{}").unwrap();
    assert_eq!(rejected.status, 503);
    assert!(rejected.head.contains("retry-after: 30"), "{}", rejected.head);
    assert_eq!(recorded(&world).len(), 2);
}

#[test]
fn what_a_listen_that_ends_has_done_is_not_handed_over_again() {
    let (of_relay, world, handler) = (World::new(), World::new(), Handler::start());
    let mut relay = Relay::start(&of_relay, &[]);
    let listen = relay.listen(&world, &[]);
    let channel = channel(&listen);
    drop(listen.interrupt());
    for round in 1..=2 {
        relay.next("tunnel_closed");
        for _ in 0..10 {
            assert_eq!(send(&relay.address, "POST", &channel, "", b"{}").unwrap().status, 202);
        }
        let (status, _) = relay.listen(&world, &["--forward", &handler.target(), "--exit-after", "3"]).wait();
        assert_eq!(status.code(), Some(0));
        relay.is_drained();
        assert_eq!((recorded(&world).len(), handler.drain().len()), (10 * round, 10));
    }
}

/// How long a delivery waits for its turn at the most.
const TURN: Duration = Duration::from_secs(20);

/// Its sender was told that it is kept, so it is recorded without its body. Who comes behind it does not wait, and is not handed
/// over a second time.
#[test]
fn what_is_too_large_for_a_listen_is_found_in_the_record_and_holds_up_none_behind_it() {
    let (of_relay, world, handler) = (World::new(), World::new(), Handler::start());
    let mut relay = Relay::start(&of_relay, &[]);
    let listen = relay.listen(&world, &[]);
    let channel = channel(&listen);
    drop(listen.interrupt());
    relay.next("tunnel_closed");
    let post = |body: &[u8]| send(&relay.address, "POST", &channel, "", body).unwrap().status;
    assert_eq!([post(b"1"), post(&[b'x'; 2000]), post(b"2")], [202; 3]);
    let begun = Clock::real().tick();
    let listen = relay.listen(&world, &["--max-body", "1K", "--forward", &handler.target()]);
    relay.is_drained();
    assert!(begun.elapsed() < TURN, "it took {:?}", begun.elapsed());
    let rounds = 20;
    for _ in 0..rounds {
        assert_eq!([post(&[b'x'; 2000]), post(b"3")], [413, 200]);
    }
    drop(listen.interrupt());
    let recorded = recorded(&world);
    let is_too_large = |delivery: &&Value| delivery["not_forwarded"] == "too_large";
    let too_large = recorded.iter().filter(is_too_large).count();
    assert_eq!((recorded.len(), too_large), (3 + 2 * rounds, 1 + rounds));
    assert_eq!(handler.drain().len(), 2 + rounds, "none went to the handler twice");
}

#[test]
fn an_answer_without_a_body_may_say_a_length_all_the_same() {
    let (of_relay, world) = (World::new(), World::new());
    let unchanged = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n".as_slice();
    let handler = Handler::scripted(raw(unchanged));
    let relay = Relay::start(&of_relay, &[]);
    let listen = relay.listen(&world, &["--forward", &handler.target(), "--verify", "off"]);
    let channel = channel(&listen);
    for _ in 0..20 {
        assert_eq!(send(&relay.address, "POST", &channel, "", b"x").unwrap().status, 304);
    }
    relay.is_drained();
    drop(listen.interrupt());
    assert_eq!((recorded(&world).len(), handler.drain().len()), (20, 20), "none is handed over twice");
}

#[test]
fn whoever_gets_no_tunnel_is_told_of_with_the_reason() {
    let (of_relay, world, other) = (World::new(), World::new(), World::new());
    let mut relay = Relay::start(&of_relay, &["--max-tunnels", "1"]);
    let _first = relay.listen(&world, &[]);
    let url = relay.url();
    let tunnel = ["listen", "--json", "--port", "0", "--tunnel", &url, "--access-token", TOKEN];
    let mut second = other.command(&tunnel).spawn().unwrap();
    assert_eq!(relay.next("tunnel_refused")["message"], "there are as many tunnels as there may be");
    second.kill().unwrap();
    second.wait().unwrap();
}

/// How long a sender waits for an answer that may still come.
const ANSWER_TIME: Duration = Duration::from_secs(25);

#[test]
fn whoever_waits_for_an_answer_is_told_soon_that_nobody_is_there_to_give_it() {
    let (of_relay, world, (_tell, script)) = (World::new(), World::new(), when_told());
    let handler = Handler::scripted(script);
    let relay = Relay::start(&of_relay, &[]);
    let listen = relay.listen(&world, &["--forward", &handler.target(), "--verify", "off"]);
    let channel = channel(&listen);
    let begun = Clock::real().tick();
    let status = thread::scope(|scope| {
        let sender = scope.spawn(|| send(&relay.address, "POST", &channel, "", b"x").unwrap().status);
        handler.next();
        listen.kill();
        sender.join().unwrap()
    });
    assert_eq!(status, 202);
    assert!(begun.elapsed() < ANSWER_TIME, "it took {:?}", begun.elapsed());
}

#[test]
fn senders_that_do_not_read_their_answers_hold_up_nobody_else() {
    let (of_relay, world) = (World::new(), World::new());
    let handler = Handler::scripted(Box::new(|request, stream| {
        if request.line.contains("/endless") {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            loop {
                stream.write_all(&[b'x'; 8 * 1024])?;
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    }));
    let relay = Relay::start(&of_relay, &[]);
    let listen = relay.listen(&world, &["--forward", &handler.target(), "--verify", "off"]);
    let channel = channel(&listen);
    let stubborn = || {
        let mut stream = TcpStream::connect(&relay.address).unwrap();
        write!(stream, "POST {channel}/endless HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx").unwrap();
        handler.next();
        stream
    };
    let senders: Vec<TcpStream> = std::iter::repeat_with(stubborn).take(6).collect();
    for number in 0..400 {
        assert_eq!(send(&relay.address, "POST", &channel, "", b"x").unwrap().status, 200, "{number}");
    }
    drop(senders);
}

#[test]
fn a_channel_that_is_full_takes_no_more_until_somebody_takes_what_waits() {
    let (of_relay, world) = (World::new(), World::new());
    let mut relay = Relay::start(&of_relay, &["--max-waiting", "3"]);
    let listen = relay.listen(&world, &[]);
    let channel = channel(&listen);
    drop(listen.interrupt());
    relay.next("tunnel_closed");
    let post = || send(&relay.address, "POST", &channel, "", b"{}").unwrap().status;
    assert_eq!([post(), post(), post(), post()], [202, 202, 202, 503]);
    let listen = relay.listen(&world, &[]);
    relay.is_drained();
    assert_eq!(post(), 200);
    drop(listen.interrupt());
    assert_eq!(recorded(&world).len(), 4);
}

#[test]
fn what_comes_all_at_once_does_not_pass_the_limits_of_a_channel() {
    let (of_relay, world) = (World::new(), World::new());
    let limits = ["--max-waiting", "5", "--max-waiting-size", "8000", "--max-body", "1M"];
    let mut relay = Relay::start(&of_relay, &limits);
    let listen = relay.listen(&world, &[]);
    let channel = channel(&listen);
    drop(listen.interrupt());
    relay.next("tunnel_closed");
    // Larger than anything that may ever wait.
    assert_eq!(send(&relay.address, "POST", &channel, "", &[b'x'; 8001]).unwrap().status, 413);
    for (length, most) in [(3000, 2), (1, 3)] {
        let head = format!(
            "POST {channel} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n"
        );
        let mut senders: Vec<TcpStream> = (0..20)
            .map(|_| {
                let mut stream = TcpStream::connect(&relay.address).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                // It says when the head was looked at.
                stream.write_all(format!("{head}Expect: 100-continue\r\n\r\n").as_bytes()).unwrap();
                let mut go_on = [0; 25];
                stream.read_exact(&mut go_on).unwrap();
                assert!(go_on.starts_with(b"HTTP/1.1 100"), "{go_on:?}");
                stream
            })
            .collect();
        for stream in &mut senders {
            stream.write_all(&vec![b'x'; length]).unwrap();
        }
        let mut answers: Vec<u16> = Vec::new();
        for mut stream in senders {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answers.push(answer[9..12].parse().unwrap());
        }
        let count = |status| answers.iter().filter(|answer| **answer == status).count();
        assert_eq!((count(202), count(503)), (most, 20 - most), "{answers:?}");
    }
    assert_eq!((relay.health()["waiting"].clone(), recorded(&world).len()), (5.into(), 0));
}

#[test]
fn a_relay_that_cannot_be_run_says_why() {
    let world = World::new();
    let relay = Relay::start(&world, &[]);
    let other = World::new();
    let said = |world: &World, arguments: &[&str]| {
        let done = world.run_process(&[&["relay"], arguments].concat());
        format!("exit: {}\n{}\n", done.status.code().unwrap(), String::from_utf8(done.stderr).unwrap())
    };
    let public = ["--public-url", "https://hooks.example"];
    let mut all = said(&other, &[&public[..], &["--listen", "0.0.0.0:0"]].concat());
    all += &said(&other, &["--public-url", "hooks.example"]);
    all += &said(&other, &[&public[..], &["--access-token", "schl\u{fc}ssel"]].concat());
    let file = other.write("tokens.toml", "[[token]]\nname = 'a'\ntoken = 'schl\u{fc}ssel'\n");
    all += &said(&other, &[&public[..], &["--access-tokens", file.to_str().unwrap()]].concat())
        .replace(other.folder().to_str().unwrap(), "");
    all += &said(&other, &[&public[..], &["--listen", &relay.address]].concat());
    all += &said(&world, &[&public[..], &["--listen", "127.0.0.1:0"]].concat());
    let port = relay.address.rsplit(':').next().unwrap();
    insta::assert_snapshot!(all.replace(&relay.address, "RELAY").replace(port, "PORT"));
}

#[test]
fn listen_is_ready_without_its_relay_and_says_so_when_that_comes() {
    let (of_relay, world) = (World::new(), World::new());
    let mut first = Relay::start(&of_relay, &[]);
    let (url, address) = (first.url(), first.address.clone());
    first.end("TERM");
    // After ten seconds.
    let mut listen = Relay::listen_at(&url, &world, &[]);
    assert_eq!((&listen.ready["public"], &listen.ready["type"]), (&Value::Null, &"ready".into()));
    assert_eq!(send(&listen.address(), "POST", "/", "", b"x").unwrap().status, 200);
    let _relay = Relay::at(&address, &of_relay, &[]);
    let public = listen.next("tunnel")["public"].as_str().unwrap().to_owned();
    assert!(public.starts_with("https://hooks.example/in/"), "{public}");
    let path = public.strip_prefix("https://hooks.example").unwrap();
    assert_eq!(send(&address, "POST", path, "", b"x").unwrap().status, 200);
    // The next run says what it has of that channel.
    let secrets: Value =
        serde_json::from_slice(&std::fs::read(world.folder().join(".mbaas-dev/secrets.json")).unwrap())
            .unwrap();
    let channel = secrets["tunnels"][&url]["channel"].as_str();
    assert_eq!(channel, Some(path.trim_start_matches("/in/").trim_end_matches('/')), "{secrets}");
}

#[test]
fn listen_says_why_its_tunnel_is_not_open_yet_and_what_the_relay_keeps() {
    let [full, of_away, world, of_guest, at_home] = [(); 5].map(|()| World::new());
    let full = Relay::start(&full, &["--max-tunnels", "1"]);
    let guest = full.listen(&of_guest, &[]);
    let mut away = Relay::start(&of_away, &[]);
    drop(away.listen(&at_home, &[]).interrupt());
    away.end("TERM");
    let start = |world: &World, relay: &Relay| {
        let url = relay.url();
        let mut command =
            world.command(&["listen", "--port", "0", "--tunnel", &url, "--access-token", TOKEN]);
        command.spawn().unwrap()
    };
    // At the same time, since each tries for ten seconds.
    let started = [(start(&world, &full), &full), (start(&at_home, &away), &away)];
    let mut said = String::new();
    for (mut listen, relay) in started {
        let greeting = BufReader::new(listen.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut public = greeting.skip_while(|line| !line.starts_with("  public "));
        let news = BufReader::new(listen.stdout.take().unwrap()).lines().map(Result::unwrap);
        let news: Vec<String> = news.take(2).collect();
        let text = format!("{}\n{}\n", public.next().unwrap(), news.join("\n"));
        said += &text.replace(&relay.address, "RELAY");
        listen.kill().unwrap();
        listen.wait().unwrap();
    }
    drop(guest.interrupt());
    insta::assert_snapshot!(said);
}

/// It takes as long as a tunnel stays awake.
#[test]
fn a_tunnel_with_nothing_to_do_goes_to_rest_and_is_used_again() {
    let (of_relay, world) = (World::new(), World::new());
    let relay = Relay::start(&of_relay, &[]);
    let listen = relay.listen(&world, &[]);
    let channel = channel(&listen);
    for _ in 0..2 {
        assert_eq!(send(&relay.address, "POST", &channel, "", b"x").unwrap().status, 200);
        assert_eq!(metric(&relay, "tunnels_awake"), 1);
        thread::sleep(Duration::from_secs(32));
        assert_eq!(metric(&relay, "tunnels_awake"), 0);
    }
    assert_eq!(send(&relay.address, "POST", &channel, "", b"x").unwrap().status, 200);
    assert_eq!(metric(&relay, "tunnels_opened_total"), 1);
    let seen: Vec<Value> = listen.interrupt().1;
    assert!(seen.iter().all(|line| line["type"] != "reconnecting"), "{seen:?}");
}

#[test]
fn what_waited_for_hours_goes_on_with_a_fresh_signature_unless_it_is_not_to() {
    const WHSEC: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let (of_relay, sender, handler) = (World::new(), World::new(), Handler::start());
    let mut relay = Relay::start(&of_relay, &[]);
    let mut said = String::new();
    for (resign, is_fresh) in [("late", true), ("never", false)] {
        let (world, url) = (World::new(), relay.url());
        let tunnel = ["listen", "--json", "--port", "0", "--tunnel", &url, "--access-token", TOKEN];
        let rest = ["--secret", WHSEC, "--forward", &handler.target(), "--resign", resign];
        let arguments = [&tunnel[..], &rest].concat();
        let listen = world.start(&arguments);
        let to = format!("http://{}{}", relay.address, channel(&listen));
        drop(listen.interrupt());
        relay.next("tunnel_closed");
        let v2 = ["--contract", "v2", "--secret", WHSEC];
        let done = sender.run_process(&[&["trigger", "bot.completed", "--to", &to], &v2[..]].concat());
        assert!(done.status.success(), "{done:?}");

        let now = world.write("now", "+18060");
        let mut listen = Listening::start(with_clock(&mut world.command(&arguments), &now));
        let received = listen.next("received");
        assert_eq!(received["signature"], "valid");
        assert!(received["late_since"].is_string(), "{received}");
        listen.next("attempt");
        let request = handler.next();
        let seconds: i64 =
            String::from_utf8_lossy(request.header("svix-timestamp").unwrap()).parse().unwrap();
        let age = mbaas_dev::model::Clock::real().now().as_second() + 18_060 - seconds;
        assert_eq!(age < 300, is_fresh, "{age}");
        drop(listen.interrupt());
        let shown = world.run(&["deliveries", "show", "1"]);
        let hints = shown.text();
        let hints = hints.lines().filter(|line| line.contains(" old") || line.contains("late"));
        said += &format!("--resign {resign}\n{}\n", hints.collect::<Vec<_>>().join("\n"));
    }
    insta::assert_snapshot!(said);
}

#[test]
fn a_clock_that_is_not_the_relays_is_told_once() {
    let (of_relay, world) = (World::new(), World::new());
    let relay = Relay::start(&of_relay, &[]);
    let wire = Wire::to(&relay.address);
    let tunnel = format!("ws://{}", wire.address());
    let arguments = ["listen", "--json", "--port", "0", "--tunnel", &tunnel, "--access-token", TOKEN];
    let now = world.write("now", "-600");
    let mut listen = Listening::start(with_clock(&mut world.command(&arguments), &now));
    assert!(listen.ready["public"].is_string());
    let said = listen.next("error");
    assert_eq!(said["code"], "clock", "{said}");
    assert!(said["message"].as_str().unwrap().starts_with("the relay's clock shows "), "{said}");
    wire.cut();
    listen.next("reconnecting");
    listen.next("tunnel");
    let (_, rest) = listen.interrupt();
    assert!(rest.iter().all(|line| line["code"] != "clock"), "{rest:?}");
}
