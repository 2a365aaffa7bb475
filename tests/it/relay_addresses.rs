//! What one address may do at a relay: how often, over how many connections, and how many channels it may guess at; and whose
//! word counts about which address that is.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;

use mbaas_dev::model::Clock;

use crate::assurance::{Random, report, tier, welch};
use crate::relaying::{PATIENCE, Relay, Reply, channel, metric, send};
use crate::world::World;

/// A relay behind a proxy on this machine.
fn behind_a_proxy(world: &World, arguments: &[&str]) -> Relay {
    Relay::start(world, &[&["--trusted-proxy", "127.0.0.1"], arguments].concat())
}

/// Posts as a proxy would for somebody.
fn post(relay: &Relay, path: &str, forwarded_for: &str) -> Reply {
    let headers = format!("X-Forwarded-For: {forwarded_for}\r\nX-Forwarded-Proto: https\r\n");
    send(&relay.address, "POST", path, &headers, b"{}").unwrap()
}

fn error(reply: &Reply) -> String {
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    body["error"].as_str().unwrap().to_owned()
}

#[test]
fn an_address_sends_no_faster_than_it_may_and_holds_up_no_other() {
    let (of_relay, world) = (World::new(), World::new());
    let mut relay = behind_a_proxy(&of_relay, &["--max-rate-per-address", "2"]);
    let listen = relay.listen(&world, &[]);
    assert_eq!(relay.next("tunnel_opened")["from"], "127.0.0.1");
    let channel = channel(&listen);
    // What a sender writes itself stands before what the proxy knows, and counts for nothing.
    let replies: Vec<Reply> =
        (0..30).map(|number| post(&relay, &channel, &format!("198.51.100.{number}, 203.0.113.9"))).collect();
    let refused: Vec<&Reply> = replies.iter().filter(|reply| reply.status == 503).collect();
    assert!(replies[0].status == 200 && refused.len() >= 10, "{}", refused.len());
    for reply in &refused {
        assert!(reply.head.contains("retry-after: 1"), "{}", reply.head);
        assert_eq!(error(reply), "address_rate");
    }
    assert_eq!(post(&relay, &channel, "203.0.113.10").status, 200);
    // A subscriber has a whole network of IPv6.
    let of_network = |last: usize| post(&relay, &channel, &format!("2001:db8:1:2::{last:x}")).status;
    assert!((0..30).map(of_network).any(|status| status == 503));
    assert_eq!(post(&relay, &channel, "2001:db8:1:3::1").status, 200);
    // Whatever it is that is asked for: access tokens are guessed no faster either.
    for path in ["/healthz", "/metrics", "/tunnel"] {
        let ask = |_| {
            let of = "X-Forwarded-For: 203.0.113.20\r\nX-Forwarded-Proto: https\r\n";
            send(&relay.address, "GET", path, of, b"").unwrap().status
        };
        assert!((0..30).map(ask).any(|status| status == 503), "{path}");
    }
    assert!(metric(&relay, "requests_total{told=\"address_rate\"}") > refused.len() as u64);
    let limited = relay.next("limited");
    assert_eq!(limited["from"], "203.0.113.9");
    assert_eq!(relay.next("limited")["from"], "2001:db8:1:2::8", "each is told of once a minute");
}

#[test]
fn whoever_guesses_at_channels_hits_none_and_is_not_even_told_so_for_long() {
    const AT_ONCE: usize = 100;
    let (of_relay, world) = (World::new(), World::new());
    let mut relay = behind_a_proxy(&of_relay, &["--max-rate-per-address", "0"]);
    let listen = relay.listen(&world, &[]);
    let (channel, mut random) = (channel(&listen), Random(18));
    let guesses = tier(4_000, 1_000_000);
    let (begun, mut told, mut hits) = (Clock::real().tick(), 0, 0);
    let mut stream = TcpStream::connect(&relay.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..guesses / AT_ONCE {
        let one = || {
            let id = format!("{:016x}{:016x}", random.next(), random.next());
            format!(
                "POST /in/{id} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\nContent-Length: 0\r\n\r\n"
            )
        };
        let many: String = std::iter::repeat_with(one).take(AT_ONCE).collect();
        stream.write_all(many.as_bytes()).unwrap();
        let (mut seen, mut buffer) = (Vec::new(), [0; 16 * 1024]);
        let count = |seen: &[u8], what: &[u8]| seen.windows(what.len()).filter(|part| part == &what).count();
        while !seen.ends_with(b"}") || count(&seen, b"HTTP/1.1 ") < AT_ONCE {
            let length = stream.read(&mut buffer).unwrap();
            assert_ne!(length, 0);
            seen.extend_from_slice(&buffer[..length]);
        }
        let of_status = [404, 503].map(|status| count(&seen, format!("HTTP/1.1 {status}").as_bytes()));
        told += of_status[0];
        hits += AT_ONCE - of_status[0] - of_status[1];
    }
    // Twenty at once, and one every three seconds.
    let most = 21 + begun.elapsed().as_secs() / 3;
    println!("told: {told} of {guesses}");
    assert!((20..=most).contains(&(told as u64)), "{told} were told");
    assert_eq!(relay.next("limited")["from"], "203.0.113.9");
    let refused = metric(&relay, "requests_total{told=\"guesses\"}");
    assert_eq!(refused, (guesses - told) as u64);
    // What is no name of a channel is one guess more; another address is told; a URL that is good is not held up.
    assert_eq!(error(&post(&relay, "/in/x", "203.0.113.9")), "guesses");
    assert_eq!(post(&relay, "/in/x", "203.0.113.10").status, 404);
    assert_eq!(post(&relay, &channel, "203.0.113.9").status, 200);
    report("S18", guesses, hits);
    assert_eq!(hits, 0);
}

#[test]
fn an_address_has_no_more_connections_than_it_may() {
    let (of_relay, world) = (World::new(), World::new());
    // With a proxy somewhere else, limits hold for this machine as well.
    let mut relay =
        Relay::start(&of_relay, &["--trusted-proxy", "192.0.2.1", "--max-connections-per-address", "4"]);
    let listens = [relay.listen(&world, &[]), relay.listen(&World::new(), &[])];
    let channel = channel(&listens[0]);
    let address = relay.address.clone();
    let direct = || send(&address, "POST", &channel, "X-Forwarded-For: 192.0.2.9\r\n", b"{}").unwrap();
    assert_eq!(direct().status, 200, "tunnels are not counted");
    let idle: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(&relay.address).unwrap()).collect();
    let reply = direct();
    assert_eq!((reply.status, error(&reply)), (503, "connections".to_owned()));
    assert!(
        reply.head.contains("retry-after: 5") && reply.head.contains("connection: close"),
        "{}",
        reply.head
    );
    // Those beyond are let go; the first four may stay.
    let (staying, leaving) = idle.split_at(4);
    for mut stream in leaving {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
    // What came before them may not have ended when they came.
    let is_open = |mut stream: &TcpStream| {
        stream.set_nonblocking(true).unwrap();
        stream.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };
    assert!(staying.iter().filter(|stream| is_open(stream)).count() >= 3);
    assert_eq!(relay.next("limited")["from"], "127.0.0.1");
    drop(idle);
    // The relay hears of it a moment later.
    let begun = Clock::real().tick();
    while direct().status != 200 {
        assert!(begun.elapsed() < PATIENCE);
        thread::yield_now();
    }
    assert!(metric(&relay, "requests_total{told=\"connections\"}") >= 1);
}

#[test]
fn a_proxy_that_is_not_trusted_is_told_of_once_and_everybody_behind_it_gets_through() {
    let (of_relay, world) = (World::new(), World::new());
    let mut relay =
        Relay::start(&of_relay, &["--max-rate-per-address", "1", "--max-connections-per-address", "1"]);
    let listen = relay.listen(&world, &[]);
    let channel = channel(&listen);
    let idle: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(&relay.address).unwrap()).collect();
    for _ in 0..20 {
        assert_eq!(post(&relay, &channel, "203.0.113.9").status, 200);
        assert_eq!(post(&relay, &format!("/in/{}", "0".repeat(32)), "203.0.113.9").status, 404);
    }
    drop(idle);
    let told = relay.next("error");
    insta::assert_snapshot!(format!("{}\n{}", told["message"], told["hint"]), @r#"
    "requests come through a proxy at 127.0.0.1, which is not trusted: who sends them is not known"
    "`--trusted-proxy 127.0.0.1` believes what it says in X-Forwarded-For"
    "#);
    drop(listen.interrupt());
    assert_eq!(relay.next("tunnel_closed")["type"], "tunnel_closed", "it is told of once");
}

#[test]
fn a_relay_behind_a_proxy_does_not_start_without_an_access_token() {
    let world = World::new();
    let relay = ["relay", "--listen", "127.0.0.1:0", "--public-url", "https://hooks.example"];
    let done = world.run_process(&[&relay[..], &["--trusted-proxy", "127.0.0.1"]].concat());
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(said.contains("anybody who reaches this relay could have a public URL of it"), "{said}");
}

#[test]
fn what_is_no_network_is_no_trusted_proxy() {
    let world = World::new();
    let relay = ["relay", "--public-url", "https://hooks.example", "--trusted-proxy"];
    let done = world.run(&[&relay[..], &["10.0.0.0/33"]].concat());
    insta::assert_snapshot!(done.whole());
}

/// How long an answer about a channel takes says nothing about whether it is nearly right.
#[test]
fn how_long_it_takes_to_find_no_channel_says_nothing_about_how_near_it_is() {
    let (of_relay, world) = (World::new(), World::new());
    let relay = Relay::start(&of_relay, &[]);
    let listen = relay.listen(&world, &[]);
    let known = channel(&listen);
    let id = known.trim_matches('/').strip_prefix("in/").unwrap().to_owned();
    let changed = |at: usize| {
        let mut digits = id.clone().into_bytes();
        digits[at] = if digits[at] == b'0' { b'1' } else { b'0' };
        String::from_utf8(digits).unwrap()
    };
    // The first digit wrong, or the last: both are unknown. And what no webhook is, is none anywhere.
    let pairs = [("POST", changed(0), changed(31), 404), ("GET", changed(0), id.clone(), 405)];
    let mut stream = TcpStream::connect(&relay.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut violations, mut inputs) = (0, 0);
    for (round, (method, one, other, status)) in pairs.iter().cycle().take(tier(2, 6)).enumerate() {
        let (mut samples, mut random) = ([Vec::new(), Vec::new()], Random(round as u64));
        let requests = [one, other].map(|id| {
            format!("{method} /in/{id}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").into_bytes()
        });
        let tries = tier(100, 20_000);
        for _ in 0..tries {
            let which = random.below(2);
            let (mut buffer, begun) = ([0; 1024], Clock::real().tick());
            stream.write_all(&requests[which]).unwrap();
            let length = stream.read(&mut buffer).unwrap();
            samples[which].push(begun.elapsed().as_secs_f64() * 1e9);
            let is_told = buffer[..length].starts_with(format!("HTTP/1.1 {status} ").as_bytes());
            violations += usize::from(!is_told);
        }
        inputs += tries;
        // What the scheduler did in between is not the lookup's.
        for sample in &mut samples {
            sample.sort_by(f64::total_cmp);
            sample.truncate(sample.len() * 9 / 10);
        }
        let t = welch(&samples);
        println!("round {round}, {method}: t = {t:.2}");
        violations += usize::from(tier(false, t.abs() > 4.5));
    }
    report("S20", inputs, violations);
    assert_eq!(violations, 0);
}
