//! Whose a channel of a relay is: of whom has the right tokens in the right places, until it is given up for good.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::assurance::report;
use crate::handler::Handler;
use crate::relaying::{PATIENCE, Relay, TOKEN, channel, metric, send};
use crate::world::World;

/// Where somebody may put a credential: a line of the head, and the end of the path.
type Place = fn(&str) -> (String, String);

/// Asks for a tunnel; the status, and the channel.
fn claim(address: &str, query: &str, lines: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "GET /tunnel{query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        answer.push(byte[0]);
    }
    let answer = String::from_utf8(answer).unwrap().to_lowercase();
    let channel = answer.lines().find_map(|line| line.strip_prefix("mbaas-dev-channel: "));
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), channel.unwrap_or_default().to_owned())
}

#[test]
fn five_credentials_in_five_places_open_only_the_channels_that_are_theirs() {
    const PROTOCOL: &str = "Sec-WebSocket-Protocol: mbaas-dev.tunnel.v1\r\n";
    let world = World::new();
    let file = world.write(
        "tokens.toml",
        "[[token]]\nname = 'a'\ntoken = 'alpha'\n[[token]]\nname = 'b'\ntoken = 'beta'\n",
    );
    let relay = Relay::with(&world, &["--access-tokens", file.to_str().unwrap()]);
    let listen_token = |channel: usize| format!("{:064x}", 0x5eed_0000 + channel);
    // Two channels of each, and what they are called.
    let names: Vec<String> = (0..4)
        .map(|channel| {
            let access = ["alpha", "beta"][channel / 2];
            let lines = format!(
                "{PROTOCOL}Authorization: Bearer {access}\r\nmbaas-dev-listen-token: {}\r\n",
                listen_token(channel)
            );
            let (status, name) = claim(&relay.address, "", &lines);
            assert_eq!((status, name.len()), (101, 32));
            name
        })
        .collect();
    let places: [Place; 5] = [
        |token| (format!("{PROTOCOL}Authorization: Bearer {token}\r\n"), String::new()),
        |token| (format!("{PROTOCOL}Cookie: access_token={token}; token={token}\r\n"), String::new()),
        |token| (PROTOCOL.to_owned(), format!("?access_token={token}&token={token}")),
        |token| (format!("{PROTOCOL}Proxy-Authorization: Bearer {token}\r\n"), String::new()),
        |token| (format!("Sec-WebSocket-Protocol: mbaas-dev.tunnel.v1, {token}\r\n"), String::new()),
    ];
    let of_a_channel = listen_token(0);
    let credentials = ["alpha", "beta", "gamma", "x", &of_a_channel];
    let (mut violations, mut inputs) = (Vec::new(), 0);
    for (credential, token) in credentials.into_iter().enumerate() {
        for (place, put) in places.iter().enumerate() {
            for (number, name) in names.iter().enumerate() {
                let (lines, query) = put(token);
                let lines = format!("{lines}mbaas-dev-listen-token: {}\r\n", listen_token(number));
                let (status, given) = claim(&relay.address, &query, &lines);
                inputs += 1;
                let is_right = place == 0 && credential == number / 2;
                let expected = match (is_right, place == 0 && credential < 2) {
                    (true, _) => (101, name.clone()),
                    // Let in, but not into the channel of another.
                    (false, true) => (403, String::new()),
                    (false, false) => (401, String::new()),
                };
                if (status, &given) != (expected.0, &expected.1) {
                    violations.push(format!("{token} in place {place} for {number}: {status} {given}"));
                }
            }
        }
    }
    // Twice the same is not once; nor does one field stand for another.
    for lines in [
        "Authorization: Bearer alpha\r\nAuthorization: Bearer alpha\r\n",
        "Authorization: Bearer alpha\r\nAuthorization: Bearer beta\r\n",
        "Authorization: bearer alpha\r\n",
        "Authorization: Basic alpha\r\n",
        "Authorization: alpha\r\n",
        "Authorization: Bearer\r\n",
    ] {
        let lines = format!("{PROTOCOL}{lines}mbaas-dev-listen-token: {}\r\n", listen_token(0));
        let (status, _) = claim(&relay.address, "", &lines);
        inputs += 1;
        violations.extend((status != 401).then(|| format!("{lines}: {status}")));
    }
    for tokens in [
        format!("mbaas-dev-listen-token: {0}\r\nmbaas-dev-listen-token: {0}\r\n", listen_token(0)),
        format!("mbaas-dev-channel: {}\r\n", names[0]),
        format!("Cookie: mbaas-dev-listen-token={}\r\n", listen_token(0)),
    ] {
        let (status, _) =
            claim(&relay.address, "", &format!("{PROTOCOL}Authorization: Bearer alpha\r\n{tokens}"));
        inputs += 1;
        violations.extend((status != 400).then(|| format!("{tokens}: {status}")));
    }
    assert_eq!(relay.health()["channels"], 4);
    report("S19", inputs, violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn a_channel_that_is_given_up_is_nobody_s_any_more() {
    let (of_relay, world, copy) = (World::new(), World::new(), World::new());
    let mut relay = Relay::start(&of_relay, &[]);
    let url = relay.url();
    let first = channel(&relay.listen(&world, &[]));
    relay.next("tunnel_closed");
    fs::create_dir(copy.folder().join(".mbaas-dev")).unwrap();
    let secrets = ".mbaas-dev/secrets.json";
    fs::copy(world.folder().join(secrets), copy.folder().join(secrets)).unwrap();
    let post =
        |relay: &Relay, channel: &str| send(&relay.address, "POST", channel, "", b"{}").unwrap().status;
    assert_eq!(post(&relay, &first), 202);

    let mut said = String::new();
    let mut run = |world: &World, arguments: &[&str]| {
        let done = world.run_process(&[arguments, &["--access-token", TOKEN]].concat());
        let output = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
        said +=
            &format!("$ mbaas-dev {}\n{output}exit: {}\n", arguments.join(" "), done.status.code().unwrap());
    };
    let listen = ["listen", "--port", "0", "--tunnel", &url];
    // What waits is not thrown away by the way.
    run(&world, &["relay", "release", &url]);
    assert_eq!(post(&relay, &first), 202);
    run(&world, &["relay", "release", &url, "--discard", "--json"]);
    assert_eq!(relay.next("channel_given_up")["discarded"], 2);
    assert_eq!(post(&relay, &first), 410);
    run(&world, &["relay", "release"]);
    // With its old token there is no getting in, and no getting it back.
    run(&copy, &listen);
    let address = relay.address.clone();
    relay.end("TERM");
    let mut relay = Relay::at(&address, &of_relay, &[]);
    assert_eq!((post(&relay, &first), &relay.health()["waiting"]), (410, &0.into()));
    run(&copy, &listen);
    run(&copy, &["relay", "release"]);
    assert_eq!(metric(&relay, "requests_total{told=\"given_up\"}"), 1);

    // A listen that has it hears of it, and its next start gets another URL.
    let mut second = relay.listen(&world, &[]);
    let public = channel(&second);
    assert_ne!(public, first);
    assert_eq!(post(&relay, &public), 200);
    relay.is_drained();
    run(&world, &["relay", "release"]);
    let error = second.next("error");
    assert_eq!(error["message"], "the tunnel is closed: the channel of this project was given up");
    assert_eq!(relay.next("tunnel_closed")["message"], "its channel was given up");
    assert_eq!((post(&relay, &public), &relay.health()["channels"]), (410, &0.into()));
    let third = channel(&relay.listen(&world, &[]));
    assert!(third != public && third != first);
    insta::assert_snapshot!(said.replace(&relay.address, "RELAY"));
}

/// What giving a URL up says, and how it exits.
fn releasing(world: &World, arguments: &[&str]) -> String {
    let done = world.run_process(&[&["relay", "release"], arguments].concat());
    let output = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
    format!(
        "$ mbaas-dev relay release {}\n{output}exit: {}\n",
        arguments.join(" "),
        done.status.code().unwrap()
    )
}

#[test]
fn a_url_that_cannot_be_given_up_stays() {
    let (of_relay, world) = (World::new(), World::new());
    let relay = Relay::start(&of_relay, &[]);
    let (url, address) = (relay.url(), relay.address.clone());
    let mut said = String::new();
    let mut run = |arguments: &[&str]| said += &releasing(&world, arguments);
    run(&[]);
    run(&[&url]);
    run(&["hooks.example.com"]);
    let before = channel(&relay.listen(&world, &[]));
    run(&[&url]);
    run(&[&url, "--access-token", "wrong"]);
    drop(relay);
    run(&[&url, "--access-token", TOKEN]);
    insta::assert_snapshot!(said.replace(&address, "RELAY"));
    let relay = Relay::at(&address, &of_relay, &[]);
    assert_eq!(channel(&relay.listen(&world, &[])), before);
}

#[test]
fn a_relay_that_never_gave_a_url_does_not_count_and_is_forgotten_without_being_asked() {
    let (of_relay, world, handler) = (World::new(), World::new(), Handler::answering(200, "<html>"));
    let mut relay = Relay::start(&of_relay, &[]);
    let mistyped = format!("ws://{}", handler.target());
    drop(relay.listen(&world, &[]).interrupt());
    let done = world.run_process(&["listen", "--port", "0", "--tunnel", &mistyped]);
    assert_eq!(done.status.code(), Some(6));
    assert_eq!(handler.drain().len(), 1);

    let mut said = String::new();
    let mut run = |arguments: &[&str]| said += &releasing(&world, arguments);
    run(&["--access-token", TOKEN]);
    relay.next("channel_given_up");
    run(&[]);
    run(&[&mistyped]);
    run(&[&mistyped]);
    assert_eq!(handler.drain().len(), 0);
    insta::assert_snapshot!(said.replace(&relay.address, "RELAY").replace(&handler.target(), "MISTYPED"));
}

#[test]
fn whoever_is_not_let_in_again_and_again_is_told_of_once_with_the_reason() {
    let world = World::new();
    let (right, listen_token) = (format!("Authorization: Bearer {TOKEN}\r\n"), "5".repeat(64));
    let protocol = "Sec-WebSocket-Protocol: mbaas-dev.tunnel.v1\r\n";
    for (bad, why) in [
        (format!("mbaas-dev-listen-token: {listen_token}\r\n"), "it had no access token"),
        ("Authorization: Bearer wrong\r\n".to_owned(), "its access token is not a right one"),
        (format!("{right}mbaas-dev-listen-token: 5\r\n"), "its listen token is not 64 hexadecimal digits"),
    ] {
        let mut relay = Relay::start(&world, &[]);
        for _ in 0..5 {
            let (status, _) = claim(&relay.address, "", &format!("{protocol}{bad}"));
            assert!([400, 401].contains(&status), "{status}");
        }
        let _listen = relay.listen(&World::new(), &[]);
        let told = relay.until("tunnel_opened");
        let refused = told.iter().filter(|line| line["type"] == "tunnel_refused");
        let refused: Vec<_> = refused.map(|line| (&line["from"], &line["message"])).collect();
        assert_eq!(refused, [(&"127.0.0.1".into(), &why.into())]);
    }
}
