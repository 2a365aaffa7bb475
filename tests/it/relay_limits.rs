//! Who may do what at a relay, and how much: access tokens with limits, rates, metrics, fifty claimants of each channel.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crate::assurance::report;
use crate::relaying::{PATIENCE, Relay, TOKEN, channel, metric, send};
use crate::world::World;

/// Opens a tunnel and says nothing through it; the status of the handshake, and the connection.
fn claim(address: &str, access: &str, listen_token: &str) -> (u16, String, TcpStream) {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "GET /tunnel HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: mbaas-dev.tunnel.v1\r\nAuthorization: Bearer {access}\r\n\
         mbaas-dev-listen-token: {listen_token}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        answer.push(byte[0]);
    }
    let answer = String::from_utf8(answer).unwrap().to_lowercase();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let channel = answer.lines().find_map(|line| line.strip_prefix("mbaas-dev-channel: "));
    (status, channel.unwrap_or_default().to_owned(), stream)
}

#[test]
fn access_tokens_have_limits_and_names_and_are_read_again_when_they_change() {
    let (of_relay, worlds) = (World::new(), [World::new(), World::new(), World::new()]);
    let file =
        of_relay.write("tokens.toml", "[[token]]\nname = 'team-a'\ntoken = 'alpha'\nmax_channels = 1\n");
    let mut relay = Relay::with(&of_relay, &["--access-tokens", file.to_str().unwrap()]);
    let url = relay.url();
    let listen = |world: &World, token: &str| {
        let tunnel = ["listen", "--json", "--port", "0", "--tunnel", &url, "--access-token", token];
        world.run_process(&[&tunnel[..], &["--exit-after", "1"]].concat())
    };
    let start = |world: &World, token: &str| world.listen(&["--tunnel", &url, "--access-token", token]);
    let mut first = start(&worlds[0], "alpha");
    let public = channel(&first);
    // One channel is all that this token may have.
    let refused = listen(&worlds[1], "alpha");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(6), "{said}");
    insta::assert_snapshot!(said.replace(&relay.address, "RELAY"), @r"
    error: ws://RELAY gives this listen no channel: the access token has as many channels as it may have, 1
    hint: ask whoever runs the relay
    ");
    assert_eq!(listen(&worlds[1], "beta").status.code(), Some(6));

    // Another token comes, and the first is changed under its name: its channel stays.
    of_relay.write(
        "tokens.toml",
        "[[token]]\nname = 'team-a'\ntoken = 'gamma'\n[[token]]\nname = 'team-b'\ntoken = 'beta'\nmax_rate = 1\n",
    );
    assert_eq!(relay.next("access_tokens")["count"], 2);
    let closed = relay.next("tunnel_closed");
    assert_eq!(closed["message"], "its access token is not good any more");
    first.next("reconnecting");
    drop(first.interrupt());
    let second = start(&worlds[0], "gamma");
    assert_eq!(channel(&second), public);
    // A channel of one is none of another's, even with its listen token.
    drop(second.interrupt());
    assert_eq!(listen(&worlds[0], "beta").status.code(), Some(6));

    // One request a second, and four at once.
    let third = start(&worlds[2], "beta");
    let to = channel(&third);
    let statuses: Vec<u16> =
        (0..8).map(|_| send(&relay.address, "POST", &to, "", b"{}").unwrap().status).collect();
    assert_eq!((statuses[0], statuses[7]), (200, 503));
    assert!(metric(&relay, "requests_total{told=\"rate\"}") >= 1);

    // A file that cannot be used changes nothing, and says why without what is in it.
    of_relay.write("tokens.toml", "[[token]]\nname = 'team-b'\ntoken = beta\n");
    let error = relay.next("error");
    assert_eq!(error["code"], "access_tokens");
    assert!(!error.to_string().contains("beta"), "{error}");
    let (again, _, _) = claim(&relay.address, "beta", &"7".repeat(64));
    assert_eq!(again, 101);
    assert!(metric(&relay, "tunnels_refused_total{reason=\"access\"}") >= 1);
}

#[test]
fn what_may_wait_is_limited_for_an_access_token_and_for_the_relay() {
    let of_relay = World::new();
    let file = of_relay.write(
        "tokens.toml",
        "[[token]]\nname = 'a'\ntoken = 'alpha'\nmax_waiting = 3\n\
         [[token]]\nname = 'b'\ntoken = 'beta'\nmax_waiting_bytes = 10\n\
         [[token]]\nname = 'c'\ntoken = 'gamma'\n",
    );
    let mut relay =
        Relay::with(&of_relay, &["--access-tokens", file.to_str().unwrap(), "--max-total-size", "20"]);
    let mut opened = |access: &str, listen_token: &str| {
        let (status, channel, _) = claim(&relay.address, access, &listen_token.repeat(64));
        assert_eq!(status, 101);
        relay.next("tunnel_closed");
        format!("/in/{channel}/")
    };
    let channels = [("alpha", "1"), ("alpha", "2"), ("beta", "3"), ("beta", "4"), ("gamma", "5")]
        .map(|(access, listen_token)| opened(access, listen_token));
    let post = |at: usize, body: &[u8]| {
        let reply = send(&relay.address, "POST", &channels[at], "", body).unwrap();
        let is_full = String::from_utf8_lossy(&reply.body).contains("\"full\"");
        assert_eq!(reply.status == 503, is_full, "{}", String::from_utf8_lossy(&reply.body));
        reply.status
    };
    // Three requests, wherever they wait.
    assert_eq!(
        [post(0, b"x"), post(1, b"x"), post(0, b"x"), post(1, b"x"), post(0, b"x")],
        [202, 202, 202, 503, 503]
    );
    // Ten bytes.
    assert_eq!(
        [post(2, b"xxxxxx"), post(3, b"xxxxx"), post(3, b"xxxx"), post(2, b"x")],
        [202, 503, 202, 503]
    );
    // Twenty bytes in all, of which thirteen are there.
    assert_eq!([post(4, b"xxxxxxxx"), post(4, b"xxxxxxx"), post(4, b"x")], [503, 202, 503]);
    assert_eq!(relay.health()["waiting_bytes"], 20);
    assert_eq!(metric(&relay, "requests_total{told=\"full\"}"), 6);
}

#[test]
fn nothing_is_taken_for_a_channel_whose_access_token_is_gone_until_it_is_back() {
    let of_relay = World::new();
    let (a, b) = ("[[token]]\nname = 'a'\ntoken = 'alpha'\n", "[[token]]\nname = 'b'\ntoken = 'beta'\n");
    let file = of_relay.write("tokens.toml", format!("{a}{b}"));
    let mut relay = Relay::with(&of_relay, &["--access-tokens", file.to_str().unwrap()]);
    let (status, channel, _) = claim(&relay.address, "alpha", &"1".repeat(64));
    assert_eq!(status, 101);
    relay.next("tunnel_closed");
    let post =
        |relay: &Relay| send(&relay.address, "POST", &format!("/in/{channel}/"), "", b"x").unwrap().status;
    assert_eq!(post(&relay), 202);
    of_relay.write("tokens.toml", b);
    assert_eq!(relay.next("access_tokens")["count"], 1);
    assert_eq!(post(&relay), 503);
    of_relay.write("tokens.toml", format!("{b}{a}"));
    assert_eq!(relay.next("access_tokens")["count"], 2);
    assert_eq!(post(&relay), 202);
}

#[test]
fn a_channel_takes_no_more_than_its_rate_and_another_one_is_not_held_up() {
    let (of_relay, worlds) = (World::new(), [World::new(), World::new()]);
    let relay = Relay::with(&of_relay, &["--access-token", TOKEN, "--max-rate", "2"]);
    let listens = [relay.listen(&worlds[0], &[]), relay.listen(&worlds[1], &[])];
    let channels = listens.each_ref().map(channel);
    let post = |channel: &str| send(&relay.address, "POST", channel, "", b"{}").unwrap();
    let replies: Vec<_> = (0..40).map(|_| post(&channels[0])).collect();
    let refused: Vec<_> = replies.iter().filter(|reply| reply.status == 503).collect();
    assert!(!refused.is_empty() && replies[0].status == 200);
    assert!(refused.iter().all(|reply| reply.head.contains("retry-after: 1")), "{:?}", refused[0]);
    assert_eq!(post(&channels[1]).status, 200);
    assert_eq!(metric(&relay, "requests_total{told=\"rate\"}"), refused.len() as u64);
    let taken = (replies.len() - refused.len() + 1) as u64;
    assert_eq!(metric(&relay, "requests_total{told=\"answered\"}"), taken);
    relay.is_drained();
    assert_eq!((metric(&relay, "delivered_total"), metric(&relay, "waiting")), (taken, 0));
    assert_eq!((metric(&relay, "connected"), metric(&relay, "store_writes")), (2, 1));
}

#[test]
fn of_fifty_claimants_of_each_of_a_hundred_channels_one_owns_it() {
    const CHANNELS: usize = 100;
    const CLAIMANTS: usize = 50;
    let of_relay = World::new();
    let relay = Relay::start(&of_relay, &["--max-tunnels", "6000"]);
    let tunnels = Mutex::new(BTreeMap::<usize, Vec<(String, TcpStream)>>::new());
    thread::scope(|scope| {
        for claimant in 0..CLAIMANTS {
            let (relay, tunnels) = (&relay, &tunnels);
            scope.spawn(move || {
                for number in 0..CHANNELS {
                    // No two begin with the same one.
                    let number = (number + claimant * 7) % CHANNELS;
                    let (status, channel, stream) = claim(&relay.address, TOKEN, &format!("{number:064x}"));
                    assert_eq!(status, 101);
                    tunnels.lock().unwrap().entry(number).or_default().push((channel, stream));
                }
            });
        }
    });
    // Those who never say anything are let go after a while.
    let connected = relay.health()["connected"].as_u64().unwrap();
    let (mut violations, mut names) = (Vec::new(), std::collections::BTreeSet::new());
    for (number, tunnels) in tunnels.into_inner().unwrap() {
        let first = &tunnels[0].0;
        names.insert(first.clone());
        if tunnels.len() != CLAIMANTS || tunnels.iter().any(|(channel, _)| channel != first) {
            violations.push(format!("{number} has several channels"));
        }
        let open = tunnels.iter().filter(|(_, stream)| !is_displaced(stream)).count();
        if open != 1 {
            violations.push(format!("{number} has {open} owners"));
        }
    }
    if names.len() != CHANNELS || connected != CHANNELS as u64 {
        violations.push(format!("{} channels, {connected} owned", names.len()));
    }
    report("S18", CHANNELS * CLAIMANTS, violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// Whether the relay has told this tunnel that a newer one has its channel, or soon does.
fn is_displaced(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut seen = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer) {
            // The close frame with its code, 4409.
            Ok(0) => return seen.windows(2).any(|two| two == 4409_u16.to_be_bytes()),
            Ok(length) => seen.extend_from_slice(&buffer[..length]),
            Err(_) => return seen.windows(2).any(|two| two == 4409_u16.to_be_bytes()),
        }
    }
}
