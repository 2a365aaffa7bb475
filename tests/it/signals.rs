//! Ctrl-C once and twice, SIGTERM and SIGHUP, closed and slow pipes, and what a `listen` leaves behind.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;

use mbaas_dev::model::Clock;
use serde_json::Value;

use crate::assurance::report;
use crate::durability::{PATIENCE, Sender, interrupt, limit, post, run_to_end};
use crate::handler::{Handler, when_told};
use crate::world::World;

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Waits until something is so; only for what announces itself in no other way.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Clock::real().now();
    while !is_so() {
        assert!(Clock::real().now() < start + PATIENCE, "still waiting until {what}");
        thread::yield_now();
    }
}

/// Waits until nobody listens at `address` any more.
fn wait_until_refused(address: &str) {
    wait_until("connections are refused", || TcpStream::connect(address).is_err());
}

/// A `listen` as people start it: what it says, and where it listens.
fn listen_for_people(world: &World, arguments: &[&str]) -> (Child, BufReader<ChildStderr>, String) {
    let mut child = world.command(&[&["listen"], arguments].concat()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.ends_with("\n\n") {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "listen ended: {said}");
    }
    (child, stderr, said)
}

fn address_in(said: &str) -> String {
    let line = said.lines().find(|line| line.contains("listening")).unwrap();
    line.rsplit("http://").next().unwrap().to_owned()
}

#[test]
fn ctrl_c_with_nothing_under_way_ends_with_130_and_the_sums_last() {
    let (world, handler) = (World::new(), Handler::start());
    let listening = world.listen(&["--forward", &handler.target()]);
    let _limit = limit(listening.pid());
    // The connection stays open, and keeps nobody waiting.
    let mut sender = Sender::connect(&listening.address()).unwrap();
    assert_eq!(sender.post(b"{}").unwrap().status, 200);
    let start = Clock::real().now();
    let rest = interrupt(listening);
    let took = Clock::real().now().duration_since(start);
    assert!(took.as_secs_f64() < 1.5, "it waited for connections that nobody uses: {took:#}");
    let kinds: Vec<&str> = rest.iter().map(|object| object["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["received", "attempt", "summary"]);
    let mut summary = rest.into_iter().last().unwrap();
    for key in ["p50_ms", "p99_ms"] {
        let millis = std::mem::replace(&mut summary[key], "[DURATION]".into());
        assert!(millis.as_f64().is_some_and(|millis| millis > 0.0), "{millis}");
    }
    insta::assert_snapshot!(summary, @r#"{"v":1,"type":"summary","received":1,"acknowledged":1,"failed":0,"not_forwarded":0,"held":0,"not_retried":0,"failures":{},"p50_ms":"[DURATION]","p99_ms":"[DURATION]"}"#);
}

#[test]
fn people_see_the_sums_last_as_well() {
    let (world, handler) = (World::new(), Handler::answering(500, "no"));
    let (child, mut stderr, said) =
        listen_for_people(&world, &["--port", "0", "--forward", &handler.target()]);
    let _limit = limit(child.id());
    let address = address_in(&said);
    assert_eq!(post(&address, b"{}").status, 500);
    signal(&child, "INT");
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let filters = [
        (r"127\.0\.0\.1:\d+", "127.0.0.1:[PORT]"),
        (r"token=\S+", "token=[TOKEN]"),
        (r"\d\d:\d\d:\d\d\.\d{3}", "[TIME]"),
        (r" *\d+\.\d+ (ms|s)\b", " [DURATION]"),
    ];
    insta::with_settings!({ filters => filters }, {
        let stdout = String::from_utf8(output.stdout).unwrap();
        insta::assert_snapshot!(format!("{said}--- stdout\n{stdout}--- at the end\n{rest}"), @r"
        mbaas-dev listen 0.1.0
          listening   http://127.0.0.1:[PORT]
          forwarding  http://127.0.0.1:[PORT]/
          inspector   http://127.0.0.1:[PORT]/?token=[TOKEN]
          secret      from this project (generated) (`mbaas-dev secret show` prints it)
          try         mbaas-dev trigger meeting.completed

        --- stdout
        [TIME]  POST /                   #1      ingress   500 [DURATION]  missing          2 B  no
                      hint: the handler failed: its own log says why
        --- at the end

        1 delivery · 0 acknowledged · 1 failed (1 × 500) · p50 [DURATION], p99 [DURATION]
        ");
    });
}

#[test]
fn a_delivery_that_is_under_way_at_ctrl_c_is_finished_and_counted() {
    let world = World::new();
    let (tell, script) = when_told();
    let handler = Handler::scripted(script);
    let listening = world.listen(&["--forward", &handler.target()]);
    let _limit = limit(listening.pid());
    let address = listening.address();
    let mut sender = Sender::connect(&address).unwrap();
    sender.send("", b"{}").unwrap();
    handler.next();
    listening.signal("INT");
    wait_until_refused(&address);
    tell.send(()).unwrap();
    let reply = sender.receive().unwrap();
    assert_eq!((reply.status, reply.body.as_slice()), (200, &b"done"[..]));
    let (status, rest) = listening.wait();
    assert_eq!(status.code(), Some(130));
    let summary = rest.last().unwrap();
    assert_eq!((&summary["received"], &summary["acknowledged"]), (&1.into(), &1.into()), "{summary}");
    let listed = world.run(&["deliveries", "list", "--json"]).objects();
    assert_eq!(listed[0]["attempts"][0]["status"], 200);
}

#[test]
fn a_handler_that_never_answers_delays_the_end_by_two_seconds() {
    let world = World::new();
    let (_tell, script) = when_told();
    let handler = Handler::scripted(script);
    let listening = world.listen(&["--forward", &handler.target(), "--timeout", "0"]);
    let _limit = limit(listening.pid());
    let mut sender = Sender::connect(&listening.address()).unwrap();
    sender.send("", b"{}").unwrap();
    handler.next();
    let start = Clock::real().now();
    let (status, rest) = listening.interrupt();
    let took = Clock::real().now().duration_since(start);
    assert_eq!(status.code(), Some(130));
    assert!(took.as_secs_f64() > 1.9, "it did not wait for the handler, but only {took:#}");
    assert_eq!(sender.receive().unwrap().status, 502, "nobody has acknowledged it");
    let summary = rest.last().unwrap();
    assert_eq!((&summary["received"], &summary["failed"]), (&1.into(), &1.into()), "{summary}");
    let listed = world.run(&["deliveries", "list", "--failed", "--json"]).objects();
    assert_eq!(listed[0]["attempts"][0]["error"], "reset");
}

#[test]
fn requests_that_never_become_whole_do_not_hold_up_the_end() {
    let (world, handler) = (World::new(), Handler::start());
    for beginning in
        ["", "POST / HTTP/1.1\r\nHost:", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"]
    {
        let listening = world.listen(&["--forward", &handler.target()]);
        let _limit = limit(listening.pid());
        let mut stream = TcpStream::connect(listening.address()).unwrap();
        stream.write_all(beginning.as_bytes()).unwrap();
        // Connections are taken in their order: once this one is served, the other one was taken.
        assert_eq!(post(&listening.address(), b"{}").status, 200);
        let (status, rest) = listening.interrupt();
        assert_eq!(status.code(), Some(130), "{beginning:?}");
        assert_eq!(rest.last().unwrap()["received"], 1, "{beginning:?}");
    }
}

#[test]
fn a_second_ctrl_c_leaves_at_once() {
    let world = World::new();
    let (_tell, script) = when_told();
    let handler = Handler::scripted(script);
    let listening = world.listen(&["--forward", &handler.target()]);
    let _limit = limit(listening.pid());
    let address = listening.address();
    let mut sender = Sender::connect(&address).unwrap();
    sender.send("", b"{}").unwrap();
    handler.next();
    let start = Clock::real().now();
    listening.signal("INT");
    wait_until_refused(&address);
    let rest = interrupt(listening);
    let took = Clock::real().now().duration_since(start);
    assert!(took.as_secs_f64() < 1.9, "it waited for the handler: {took:#}");
    assert!(rest.iter().all(|object| object["type"] != "summary"), "an orderly end: {rest:?}");
}

#[test]
fn sigterm_and_sighup_end_in_an_orderly_way_with_0() {
    for name in ["TERM", "HUP"] {
        let world = World::new();
        let (tell, script) = when_told();
        let handler = Handler::scripted(script);
        let listening = world.listen(&["--forward", &handler.target()]);
        let _limit = limit(listening.pid());
        let address = listening.address();
        let mut sender = Sender::connect(&address).unwrap();
        sender.send("", b"{}").unwrap();
        handler.next();
        listening.signal(name);
        wait_until_refused(&address);
        tell.send(()).unwrap();
        assert_eq!(sender.receive().unwrap().status, 200, "{name}");
        let (status, rest) = listening.wait();
        assert_eq!(status.code(), Some(0), "{name}");
        assert_eq!(rest.last().unwrap()["acknowledged"], 1, "{name}");

        // The port is free again, although its connections were closed from this side.
        let port = address.rsplit(':').next().unwrap();
        let (child, _stderr, said) = listen_for_people(&world, &["--port", port]);
        assert_eq!(address_in(&said), address);
        end(child);
    }
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_listen_is_found_by_trigger_as_long_as_it_runs() {
    let (world, handler) = (World::new(), Handler::start());
    let trigger = ["trigger", "meeting.completed", "--json"];
    let listening = world.listen(&["--forward", &handler.target()]);
    assert_eq!(world.run(&trigger).objects()[0]["attempts"][0]["status"], 200);
    listening.kill();
    let done = world.run(&trigger);
    insta::assert_snapshot!(done.whole(), @r"
    exit: 2
    --- stdout
    --- stderr
    error: no listen is running in this project, and no --to says where to send
    hint: start `mbaas-dev listen --forward localhost:3000`, or give `--to localhost:3000`
    ");

    let listening = world.listen(&["--forward", &handler.target()]);
    assert_eq!(world.run(&trigger).objects()[0]["origin"], "trigger");
    interrupt(listening);
    assert_eq!(world.run(&trigger).whole(), done.whole());
}

#[test]
fn a_second_listen_of_a_project_works_and_says_that_trigger_goes_to_the_first() {
    let (world, first_handler, second_handler) = (World::new(), Handler::start(), Handler::start());
    let first = world.listen(&["--forward", &first_handler.target()]);
    let (child, _stderr, said) =
        listen_for_people(&world, &["--port", "0", "--forward", &second_handler.target()]);
    let second = address_in(&said);
    let filters = [(r"127\.0\.0\.1:\d+", "127.0.0.1:[PORT]"), (r"token=\S+", "token=[TOKEN]")];
    insta::with_settings!({ filters => filters }, {
        insta::assert_snapshot!(said, @r"
        mbaas-dev listen 0.1.0
          listening   http://127.0.0.1:[PORT]
          forwarding  http://127.0.0.1:[PORT]/
          inspector   http://127.0.0.1:[PORT]/?token=[TOKEN]
          secret      from this project (generated) (`mbaas-dev secret show` prints it)
          note        another listen of this project runs: `trigger` goes to that one
        ");
    });
    assert_eq!(post(&second, b"to the second").status, 200);
    assert_eq!(second_handler.next().body, b"to the second");
    assert_eq!(world.run(&["trigger", "meeting.completed"]).code(), 0);
    first_handler.next();
    // The end of the one does not concern the other.
    end(child);
    assert_eq!(world.run(&["trigger", "meeting.completed"]).code(), 0);
    interrupt(first);
}

#[test]
fn a_port_in_use_is_told_with_the_way_to_find_who_has_it() {
    let world = World::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run_to_end(world.command(&["listen", "--port", &port]));
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    insta::assert_snapshot!(stderr.replace(&port, "[PORT]"), @r"
    error: cannot listen on 127.0.0.1:[PORT]: Address already in use (os error 98)
    hint: `ss -ltnp 'sport = :[PORT]'` (or `lsof -i :[PORT]`) tells who has it; `--port 0` takes any free port
    ");
}

#[test]
fn a_listen_whose_output_is_closed_serves_whoever_is_under_way_and_ends_with_0() {
    let (world, handler) = (World::new(), Handler::start());
    for json in [true, false] {
        let arguments = ["listen", "--port", "0", "--forward", &handler.target(), "--json"];
        let arguments = &arguments[..arguments.len() - usize::from(!json)];
        let mut child = world.command(arguments).spawn().unwrap();
        let _limit = limit(child.id());
        let mut first = String::new();
        // Like `| head -1`.
        let address = if json {
            let mut stdout = BufReader::new(child.stdout.take().unwrap());
            stdout.read_line(&mut first).unwrap();
            let ready: Value = serde_json::from_str(&first).unwrap();
            ready["ingress"].as_str().unwrap().trim_start_matches("http://").to_owned()
        } else {
            drop(child.stdout.take());
            let mut stderr = BufReader::new(child.stderr.as_mut().unwrap());
            while !first.contains("listening") {
                stderr.read_line(&mut first).unwrap();
            }
            address_in(&first)
        };
        assert_eq!(post(&address, b"{}").status, 200);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert!(!json || stderr.is_empty(), "{stderr}");
        assert!(!stderr.contains("error") && !stderr.contains("panicked"), "{stderr}");
        wait_until_refused(&address);
    }
}

#[test]
fn a_listen_whose_output_is_full_says_so() {
    let world = World::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut child = world.command(&["listen", "--port", "0"]).stdout(full).spawn().unwrap();
    let _limit = limit(child.id());
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("listening") {
        stderr.read_line(&mut said).unwrap();
    }
    assert_eq!(post(&address_in(&said), b"{}").status, 200);
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains("error: standard output cannot be written: "), "{said}");
}

#[test]
fn a_command_whose_output_is_closed_ends_with_0_and_says_nothing() {
    let (world, handler) = (World::new(), Handler::start());
    let trigger = ["trigger", "meeting.completed@long", "--count", "30", "--to", &handler.target()];
    assert_eq!(world.run(&trigger).code(), 0);
    let commands: [&[&str]; 11] = [
        &["deliveries", "list", "--limit", "100000"],
        &["deliveries", "list", "--limit", "100000", "--json"],
        &["deliveries", "show", "1"],
        &["deliveries", "show", "1", "--body"],
        &["deliveries", "show", "1", "--json"],
        &["deliveries", "show", "1", "--curl"],
        &["events", "list"],
        &["events", "list", "--json"],
        &["man"],
        &["completions", "bash"],
        &["trigger", "meeting.completed@long", "--print"],
    ];
    for arguments in commands {
        // Nobody has ever read it.
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut command = world.command(arguments);
        let child = command.stdout(writer).spawn().unwrap();
        drop(command);
        let _limit = limit(child.id());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{arguments:?}");

        // Somebody has read a little of it.
        let mut child = world.command(arguments).spawn().unwrap();
        let _limit = limit(child.id());
        let mut beginning = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut beginning).unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
    report("D24", commands.len() * 2, 0);
}

/// More deliveries than a pipe of 64 KiB holds and the broadcast remembers.
const MANY: usize = 6000;

/// Posts that many, over several connections at once.
fn post_many(address: &str) {
    const SENDERS: usize = 12;
    thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                let mut sender = Sender::connect(address).unwrap();
                for _ in 0..MANY / SENDERS {
                    assert_eq!(sender.post(b"{}").unwrap().status, 200);
                }
            });
        }
    });
}

/// How often each number was shown, by the type of the line.
fn shown(lines: &[Value]) -> BTreeMap<&str, BTreeMap<i64, usize>> {
    let mut shown: BTreeMap<&str, BTreeMap<i64, usize>> = BTreeMap::new();
    for line in lines {
        if let Some(number) = line["number"].as_i64() {
            *shown.entry(line["type"].as_str().unwrap()).or_default().entry(number).or_default() += 1;
        }
    }
    shown
}

fn assert_each_is_shown_once(lines: &[Value], kinds: [&str; 2]) {
    let shown = shown(lines);
    let once: BTreeMap<i64, usize> = (1..=i64::try_from(MANY).unwrap()).map(|number| (number, 1)).collect();
    for kind in kinds {
        let found = shown.get(kind).cloned().unwrap_or_default();
        let wrong: Vec<_> = once.keys().filter(|number| found.get(number) != Some(&1)).collect();
        assert!(found == once, "{kind}: {} of {MANY} are not shown once, {:?}", wrong.len(), wrong.first());
    }
    report("D24", MANY, 0);
}

#[test]
fn output_that_nobody_reads_delays_no_delivery_and_misses_none() {
    let (world, handler) = (World::new(), Handler::start());
    let listening = world.listen(&["--forward", &handler.target()]);
    post_many(&listening.address());
    let lines = interrupt(listening);
    assert_each_is_shown_once(&lines, ["received", "attempt"]);
    let summary = lines.last().unwrap();
    assert_eq!((&summary["received"], &summary["acknowledged"]), (&MANY.into(), &MANY.into()), "{summary}");
}

#[test]
fn output_that_nobody_reads_misses_nothing_that_is_only_recorded() {
    let world = World::new();
    let listening = world.listen(&[]);
    post_many(&listening.address());
    let lines = interrupt(listening);
    assert_each_is_shown_once(&lines, ["received", "not_forwarded"]);
    let summary = lines.last().unwrap();
    assert_eq!((&summary["received"], &summary["not_forwarded"]), (&MANY.into(), &MANY.into()), "{summary}");
}

#[test]
fn a_second_ctrl_c_leaves_at_once_even_when_nobody_reads_the_output() {
    let (world, handler) = (World::new(), Handler::start());
    let mut child = world
        .command(&["listen", "--json", "--port", "0", "--forward", &handler.target()])
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::with_capacity(1024, child.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    let ready: Value = serde_json::from_str(&first).unwrap();
    let address = ready["ingress"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let mut sender = Sender::connect(&address).unwrap();
    for _ in 0..500 {
        assert_eq!(sender.post(b"{}").unwrap().status, 200);
    }
    drop(sender);
    let limit = limit(child.id());
    signal(&child, "INT");
    // It is not known as running any more: all that is left to do is to print.
    wait_until("listen is over", || {
        std::fs::read(world.folder().join(".mbaas-dev/listen.json")).unwrap().is_empty()
    });
    signal(&child, "INT");
    let status = child.wait().unwrap();
    drop(limit);
    assert_eq!(status.code(), Some(130), "{status}");
    drop(stdout);
}

#[test]
fn what_trigger_was_sending_at_ctrl_c_has_failed() {
    let world = World::new();
    let (_tell, script) = when_told();
    let handler = Handler::scripted(script);
    let target = handler.target();
    let mut trigger = world.command(&["trigger", "meeting.failed", "--to", &target]).spawn().unwrap();
    handler.next();
    signal(&trigger, "INT");
    assert_eq!(trigger.wait().unwrap().code(), Some(130));
    let failed = world.run(&["deliveries", "list", "--failed", "--json"]).objects();
    assert_eq!((failed.len(), &failed[0]["attempts"][0]["error"]), (1, &"reset".into()), "{failed:?}");
}

#[test]
fn ctrl_c_ends_a_long_trigger_with_130() {
    let (world, handler) = (World::new(), Handler::start());
    let listening = world.listen(&["--forward", &handler.target()]);
    let target = handler.target();
    let through_listen = ["trigger", "meeting.completed", "--count", "1000000"];
    let direct = [&through_listen[..], &["--to", &target]].concat();
    for arguments in [&through_listen[..], &direct] {
        let mut child = world.command(arguments).spawn().unwrap();
        let _limit = limit(child.id());
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        signal(&child, "INT");
        io::copy(&mut stdout, &mut io::sink()).unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{arguments:?}: {stderr}");
        assert!(stderr.contains(" of 1000000 sent · "), "{stderr}");
    }
    // What was sent is recorded, all of it with its outcome but perhaps the last of each.
    let listed = world.run(&["deliveries", "list", "--json", "--limit", "1000000"]).objects();
    let open = listed.iter().filter(|delivery| delivery["attempts"][0]["status"] != 200).count();
    assert!(!listed.is_empty() && open <= 2, "{open} of {} have no outcome", listed.len());
    interrupt(listening);
}

#[test]
fn output_that_nobody_reads_costs_no_memory_for_what_handlers_answer() {
    const ANSWER: usize = 1024 * 1024;
    let world = World::new();
    let handler = Handler::answering(200, &"x".repeat(ANSWER));
    let listening = world.listen(&["--forward", &handler.target()]);
    let mut sender = Sender::connect(&listening.address()).unwrap();
    // The pipe takes the lines of the first hundred.
    for _ in 0..300 {
        assert_eq!(sender.post(b"{}").unwrap().body.len(), ANSWER);
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", listening.pid())).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let peak: usize = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(peak < 120 * 1024, "{peak} KiB are in use");
    drop(sender);
    let lines = interrupt(listening);
    assert_eq!(lines.last().unwrap()["acknowledged"], 300);
}
