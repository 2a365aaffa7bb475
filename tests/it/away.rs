//! Handlers that go away and come back: told once, waited for in order, tried again.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use rusqlite::Connection;
use serde_json::Value;

use crate::assurance::{report, tier};
use crate::durability::Sender;
use crate::handler::{Handler, HeldPort, answer, when_told};
use crate::world::{Background, Listening, World};

/// A handler that can be killed and started again at the same place: each line of its output is a body that it got.
const RESTARTABLE: &str = "
    const http = require('node:http');
    const server = http.createServer((request, response) => {
        const chunks = [];
        request.on('data', chunk => chunks.push(chunk));
        request.on('end', () => {
            process.stdout.write(Buffer.concat(chunks) + '\\n');
            response.end('{}');
        });
    });
    server.listen(Number(process.env.PORT), '127.0.0.1', () => process.stdout.write('READY\\n'));
    process.stdin.on('end', () => process.exit()).resume();
";

fn start(port: &HeldPort) -> Background {
    let mut command = Command::new("node");
    command.args(["-e", RESTARTABLE]);
    let port = port.number().to_string();
    let mut handler = Background::start(&mut command, &BTreeMap::from([("PORT", port)]));
    assert_eq!(next_line(&mut handler), "READY");
    handler
}

fn next_line(handler: &mut Background) -> String {
    let mut line = String::new();
    handler.stdout.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// Sends a numbered event through the running listen; the status that its sender was told.
fn send(listening: &Listening, number: usize) -> u16 {
    let response = std::process::Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Content-Type: application/json"])
        .args(["-d", &format!(r#"{{"event":"event.added","n":{number}}}"#), &listening.url()])
        .output()
        .unwrap();
    String::from_utf8(response.stdout).unwrap().parse().unwrap()
}

#[test]
fn what_comes_while_the_handler_is_away_is_held_and_goes_on_in_order_even_after_a_restart() {
    let count = tier(60, 999);
    let (world, port) = (World::new(), HeldPort::take());
    let hold = ["--forward", &port.target(), "--hold", "--verify", "off"].map(str::to_owned);
    let hold: Vec<&str> = hold.iter().map(String::as_str).collect();
    let mut listening = world.listen(&hold);
    let mut got = Vec::new();
    let mut handler = start(&port);
    for number in 0..count / 3 {
        assert_eq!(send(&listening, number), 200);
        got.push(next_line(&mut handler));
    }
    drop(handler);
    for number in count / 3..count / 2 {
        assert_eq!(send(&listening, number), 202, "the sender need not try again");
    }
    assert_eq!(listening.next("target_down")["target"], format!("http://{}/", port.target()));
    let held = listening.next("held");
    assert_eq!(held["held"], true, "{held}");
    let (status, _) = listening.interrupt();
    assert_eq!(status.code(), Some(130));

    let mut listening = world.listen(&hold);
    for number in count / 2..2 * count / 3 {
        assert_eq!(send(&listening, number), 202);
    }
    let mut handler = start(&port);
    for _ in count / 3..2 * count / 3 {
        got.push(next_line(&mut handler));
    }
    listening.next("target_up");
    // They may come while the last that were held are still on their way.
    for number in 2 * count / 3..count {
        assert!([200, 202].contains(&send(&listening, number)));
        got.push(next_line(&mut handler));
    }
    let numbers: Vec<u64> =
        got.iter().map(|body| serde_json::from_str::<Value>(body).unwrap()["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..count as u64).collect::<Vec<_>>());
    let waiting = world.run(&["deliveries", "list", "--json", "--limit", "10000"]).objects();
    assert!(waiting.iter().all(|delivery| delivery.get("held").is_none()), "nothing waits any more");
    report("D9", count, 0);
    report("P2", count, 0);
    report("P4", count, 0);
}

#[test]
fn without_hold_going_and_coming_back_are_told_once_and_nothing_else_changes() {
    let (world, port) = (World::new(), HeldPort::take());
    let mut listening = world.listen(&["--forward", &port.target(), "--verify", "off"]);
    assert_eq!([send(&listening, 1), send(&listening, 2)], [502, 502]);
    let _handler = start(&port);
    let up = listening.next("target_up");
    assert_eq!(up["target"], format!("http://{}/", port.target()));
    assert_eq!(send(&listening, 3), 200);
    let (_, rest) = listening.interrupt();
    let told: Vec<&Value> = rest.iter().map(|line| &line["type"]).collect();
    assert_eq!(told, ["received", "attempt", "summary"]);
}

#[test]
fn what_was_not_acknowledged_is_tried_again_until_it_is() {
    let world = World::new();
    let tries = AtomicUsize::new(0);
    let (bad, good) = (answer(500, &[], b"no"), answer(200, &[], b"yes"));
    let handler = Handler::scripted(Box::new(move |request, stream| {
        let script = if tries.fetch_add(1, Ordering::SeqCst) == 0 { &bad } else { &good };
        script(request, stream)
    }));
    let mut listening = world.listen(&["--forward", &handler.target(), "--retry", "3", "--verify", "off"]);
    assert_eq!(send(&listening, 1), 500, "the sender is told at once");
    let retry = listening.next("retry");
    assert_eq!((&retry["number"], &retry["in_ms"]), (&1.into(), &1000.0.into()), "{retry}");
    let attempt = listening.next("attempt");
    assert_eq!((&attempt["attempt"]["number"], &attempt["attempt"]["status"]), (&2.into(), &200.into()));
    assert_eq!(handler.next().body, handler.next().body, "the same request is sent again");
    let (_, rest) = listening.interrupt();
    let sums = rest.last().unwrap();
    assert_eq!(
        (&sums["received"], &sums["acknowledged"], &sums["failed"]),
        (&1.into(), &1.into(), &0.into())
    );
    let recorded = world.run(&["deliveries", "show", "1", "--json"]).objects();
    let statuses: Vec<&Value> =
        recorded[0]["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["status"]).collect();
    assert_eq!(statuses, [500, 200]);
}

#[test]
fn what_was_to_be_tried_again_is_told_of_at_the_end() {
    let (world, handler) = (World::new(), Handler::answering(500, ""));
    let retry = ["--forward", &handler.target(), "--retry", "9", "--verify", "off"].map(str::to_owned);
    let retry: Vec<&str> = retry.iter().map(String::as_str).collect();
    let mut listening = world.listen(&retry);
    assert_eq!([send(&listening, 1), send(&listening, 2)], [500, 500]);
    for _ in 0..2 {
        listening.next("retry");
    }
    let (_, rest) = listening.interrupt();
    let sums = rest.last().unwrap();
    assert_eq!((&sums["failed"], &sums["not_retried"]), (&2.into(), &2.into()), "{sums}");
    assert_eq!(world.run(&["deliveries", "list", "--failed", "--json"]).objects().len(), 2);

    let listen = ["listen", "--port", "0", "--exit-after", "9"];
    let mut child = world.command(&[&listen[..], &retry].concat()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let address = greeted(&mut stderr);
    assert_eq!(Sender::connect(&address).unwrap().post(b"{}").unwrap().status, 500);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut shown = String::new();
    while !shown.contains("tried again in") {
        assert!(stdout.read_line(&mut shown).unwrap() > 0, "{shown}");
    }
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let mut sums = String::new();
    stderr.read_to_string(&mut sums).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    insta::with_settings!({ filters => [(r"\d+\.\d+ (ms|s)\b", "[DURATION]")] }, {
        insta::assert_snapshot!(sums, @r"

        1 delivery · 0 acknowledged · 1 failed (1 × 500) · p50 [DURATION], p99 [DURATION]
        1 delivery was to be tried again: `mbaas-dev replay --failed` sends it
        ");
    });
}

/// Reads the greeting of a `listen`; the address of its ingress.
fn greeted(stderr: &mut impl BufRead) -> String {
    let mut greeting = String::new();
    while !greeting.ends_with("\n\n") {
        assert!(stderr.read_line(&mut greeting).unwrap() > 0, "{greeting}");
    }
    greeting.split("http://").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
}

#[test]
fn a_script_waits_for_the_last_try_of_what_it_expects() {
    let world = World::new();
    for (good_from, retries, code, sums) in [(2, "2", 0, (1, 0)), (9, "1", 3, (0, 1))] {
        let tries = AtomicUsize::new(0);
        let (bad, good) = (answer(500, &[], b"no"), answer(200, &[], b"yes"));
        let handler = Handler::scripted(Box::new(move |request, stream| {
            let script = if tries.fetch_add(1, Ordering::SeqCst) + 1 < good_from { &bad } else { &good };
            script(request, stream)
        }));
        let target = handler.target();
        let expect = ["--forward", &target, "--retry", retries, "--verify", "off", "--expect", "event.added"];
        let listening = world.listen(&expect);
        assert_eq!(send(&listening, 1), 500);
        let (status, rest) = listening.wait();
        assert_eq!(status.code(), Some(code), "{rest:?}");
        let summary = rest.last().unwrap();
        let told = (summary["acknowledged"].as_u64().unwrap(), summary["failed"].as_u64().unwrap());
        assert_eq!((summary["received"].as_u64(), told), (Some(1), sums), "{summary}");
    }
}

/// A `listen` that was killed while its handler was at a delivery.
fn killed_at_work() -> (World, Handler) {
    let world = World::new();
    let (_tell, script) = when_told();
    let handler = Handler::scripted(script);
    let mut listening = world.listen(&["--forward", &handler.target(), "--verify", "off"]);
    let mut sender = Sender::connect(&listening.address()).unwrap();
    sender.send("", b"{}").unwrap();
    handler.next();
    listening.next("received");

    // Another one leaves it alone.
    let second = world.listen(&["--forward", &handler.target()]);
    assert_eq!(second.interrupt().0.code(), Some(130));
    assert!(world.run(&["deliveries", "list", "--failed", "--json"]).objects().is_empty());
    listening.kill();
    handler.become_(answer(200, &[], b""));
    (world, handler)
}

#[test]
fn what_a_killed_listen_was_at_has_failed_for_the_next_one() {
    let (world, handler) = killed_at_work();
    let listening = world.listen(&["--forward", &handler.target()]);
    let failed = world.run(&["deliveries", "list", "--failed", "--json"]).objects();
    assert_eq!((failed.len(), &failed[0]["attempts"][0]["error"]), (1, &"reset".into()), "{failed:?}");
    assert!(handler.drain().is_empty(), "nothing is sent by itself");
    assert_eq!(world.run(&["replay", "--failed"]).code(), 0);
    handler.next();
    assert_eq!(listening.interrupt().0.code(), Some(130));
}

#[test]
fn a_record_that_cannot_be_written_at_the_start_keeps_no_listen_from_running() {
    let (world, handler) = killed_at_work();
    let other = Connection::open(world.folder().join(".mbaas-dev/deliveries.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut listening = world.listen(&["--forward", &handler.target()]);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(listening.next("error")["code"], "store");
}

#[test]
fn what_a_killed_listen_was_at_goes_on_with_hold() {
    let (world, handler) = killed_at_work();
    let mut listening = world.listen(&["--forward", &handler.target(), "--hold"]);
    handler.next();
    let attempt = listening.next("attempt");
    let came =
        |at: usize| (attempt["attempts"][at]["status"].clone(), attempt["attempts"][at]["error"].clone());
    assert_eq!(came(0), (Value::Null, "reset".into()), "{attempt}");
    assert_eq!(came(1), (200.into(), Value::Null), "{attempt}");
    assert_eq!((&attempt["number"], &attempt["held"]), (&1.into(), &Value::Null), "{attempt}");
}

#[test]
fn what_waits_has_not_failed_and_is_not_sent_twice() {
    let (world, port) = (World::new(), HeldPort::take());
    let listening = world.listen(&["--forward", &port.target(), "--hold"]);
    let run = |arguments: &[&str]| {
        let output = world.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    run(&["trigger", "meeting.started"]);
    let said = run(&["replay", "--failed"]);
    assert!(said.starts_with("1 left out: a `listen --hold` sends what waits"), "{said}");
    assert_eq!(run(&["deliveries", "list", "--json"]).lines().count(), 1);
    let shown = run(&["deliveries", "show", "1"]);
    assert!(shown.contains("it waits: a `listen --hold` sends it") && !shown.contains("replay"), "{shown}");
    drop(listening.interrupt());
}

#[test]
fn a_list_tells_what_waits_from_what_was_filtered() {
    let (world, port) = (World::new(), HeldPort::take());
    world.write("mbaas-dev.toml", "[listen]\nevents = \"event.added\"\n");
    let listening = world.listen(&["--forward", &port.target(), "--hold", "--verify", "off"]);
    // The first is tried, the second waits behind it, and nothing subscribes to the last.
    assert_eq!([send(&listening, 1), send(&listening, 2)], [202, 202]);
    assert_eq!(Sender::connect(&listening.address()).unwrap().post(b"{}").unwrap().status, 200);
    let list = world.run(&["deliveries", "list"]).text();
    let came: Vec<&str> = list.lines().map(|line| line.split_whitespace().rev().nth(3).unwrap()).collect();
    assert_eq!(came, ["-", "held", "held"], "{list}");
}

#[test]
fn what_waits_is_told_with_hold_and_so_is_a_target_that_is_none_any_more() {
    let (world, port, other) = (World::new(), HeldPort::take(), Handler::start());
    let hold = ["listen", "--port", "0", "--hold", "--verify", "off", "--exit-after", "1"];
    let mut said = String::new();
    for target in [&port.target(), &other.target()] {
        let mut child = world.command(&[&hold[..], &["--forward", target]].concat()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let address = greeted(&mut stderr);
        let status = Sender::connect(&address).unwrap().post(b"{}").unwrap().status;
        if status == 202 {
            let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
            assert!(kill.success());
        }
        let stdout = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        let mut sums = String::new();
        stderr.read_to_string(&mut sums).unwrap();
        if status == 202 {
            said += &format!("{stdout}{sums}");
        } else {
            // What else there is comes in any order.
            let lines = stdout.lines().skip_while(|line| !line.starts_with("error")).take(2);
            said.extend(lines.map(|line| format!("{line}\n")));
        }
    }
    let filters = [
        (r"127\.0\.0\.1:\d+", "127.0.0.1:[PORT]"),
        (r"\d\d:\d\d:\d\d\.\d{3}", "[TIME]"),
        (r" *\d+\.\d+ (ms|s)\b", " [DURATION]"),
    ];
    insta::with_settings!({ filters => filters }, {
        insta::assert_snapshot!(said, @r"
        ✗ http://127.0.0.1:[PORT]/ is down: nobody listens at 127.0.0.1:[PORT]
                      what comes meanwhile waits, and goes on in order when it is back
        [TIME]  POST /                   #1      ingress   held                 unchecked        2 B
                      held, and sent on in order

        1 delivery · 0 acknowledged · 1 held
        error: deliveries of an earlier run wait for http://127.0.0.1:[PORT]/, to which nothing goes now
                      hint: they are sent when somebody listens there; `mbaas-dev replay NUMBER --to TARGET` sends one elsewhere, `mbaas-dev deliveries prune --held` deletes them
        ");
    });
    let done = world.run(&["replay", "1", "--to", &other.target()]);
    assert_eq!(done.code(), 0, "{}", done.whole());
    assert!(done.errors().starts_with("note: #1 waits for its target all the same"), "{}", done.whole());
    let prune = |options: &[&str]| world.run(&[&["deliveries", "prune"], options].concat()).text();
    let left = prune(&["--keep", "0"]);
    assert!(left.starts_with("deleted 2 deliveries · 1 left, 1 of which wait for"), "{left}");
    let gone = prune(&["--held"]);
    assert!(gone.starts_with("deleted 1 delivery · 0 left · "), "{gone}");
}
