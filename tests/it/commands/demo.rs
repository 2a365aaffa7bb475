//! `demo`: the first minute of a new user.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read};

use serde_json::Value;

use super::super::relaying::signal;
use super::super::world::World;
use super::{assert_is_delivery, assert_whole, interrupt};

/// The events of the preview contract.
const EVENTS: usize = 9;

#[test]
fn the_demo_shows_every_event_acknowledged_and_what_to_try_next() {
    let world = World::new();
    let output = world.run_process(&["demo"]);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), EVENTS);
    let whole = format!("exit: 0\n--- stdout\n{}--- stderr\n{}", text(&output.stdout), text(&output.stderr));
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"(?m)^\d\d:\d\d:\d\d\.\d{3}", "[TIME]");
    settings.add_filter(r" +\d+\.\d ms  ", "  [LATENCY]  ");
    settings.add_filter(r"p50 \d+\.\d ms, p99 \d+\.\d ms", "p50 [LATENCY], p99 [LATENCY]");
    settings.bind(|| assert_whole("demo", &whole));
    let recorded = world.run(&["deliveries", "list", "--json"]).objects();
    assert_eq!(recorded.len(), EVENTS);
    for delivery in &recorded {
        assert_is_delivery(delivery);
        assert_eq!(
            (&delivery["signature"], &delivery["attempts"][0]["status"]),
            (&"valid".into(), &200.into())
        );
    }
}

#[test]
fn the_demo_speaks_json_lines() {
    let output = World::new().run_process(&["demo", "--json"]);
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |kind: &str| lines.iter().filter(|line| line["type"] == kind).count();
    assert_eq!((count("received"), count("attempt"), count("summary")), (EVENTS, EVENTS, 1), "{text}");
    let summary = lines.last().unwrap();
    assert_eq!((&summary["acknowledged"], &summary["failed"]), (&EVENTS.into(), &0.into()));
    assert!(lines.iter().all(|line| line["v"] == 1));
    // As `listen --json` does, so that a script knows where to send to.
    assert_eq!(lines[0]["type"], "ready", "{}", lines[0]);
}

#[test]
fn a_demo_whose_output_is_closed_is_done_and_one_whose_output_is_full_says_so() {
    let world = World::new();
    for stays in [false, true] {
        let arguments = if stays { &["demo", "--stay"][..] } else { &["demo"] };
        // Like `| head -1`.
        let mut child = world.command(arguments).spawn().unwrap();
        let (mut stdout, mut line) = (BufReader::new(child.stdout.take().unwrap()), String::new());
        stdout.read_line(&mut line).unwrap();
        drop(stdout);
        if stays {
            // It looks when something is to be shown.
            let mut stderr = BufReader::new(child.stderr.as_mut().unwrap());
            while !line.contains("running until Ctrl-C") && stderr.read_line(&mut line).unwrap() > 0 {}
            drop(world.run_process(&["trigger", "meeting.completed"]));
        }
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert!(!stderr.contains("error"), "{stderr}");

        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = world.command(arguments).stdout(full).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("error: standard output cannot be written: "), "{stderr}");
    }
}

#[test]
fn a_demo_that_stays_takes_events_of_another_process_until_ctrl_c() {
    let world = World::new();
    let mut child = world.command(&["demo", "--stay"]).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("running until Ctrl-C") {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
    }
    let done = world.run_process(&["trigger", "meeting.completed@unicode", "--json"]);
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let object: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_is_delivery(&object);
    // Before it came one that the handler refused, for the inspector.
    assert_eq!((&object["number"], &object["signature"]), (&(EVENTS + 2).into(), &"valid".into()));
    let refused = world.run_process(&["deliveries", "list", "--failed", "--json"]);
    let refused: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!((&refused["number"], &refused["attempts"][0]["status"]), (&(EVENTS + 1).into(), &422.into()));
    // Its handler knows how the events of each contract are signed, and refuses what is not.
    for (event, contract) in
        [("bot.completed", "v2"), ("complete", "v1"), ("bot.failed", "callback"), ("alert", "alert")]
    {
        for (sign, code) in [("valid", 0), ("wrong-secret", 3)] {
            let arguments = ["trigger", event, "--contract", contract, "--sign", sign];
            let done = world.run_process(&arguments);
            let said = String::from_utf8_lossy(&done.stdout);
            assert_eq!(done.status.code(), Some(code), "{contract}, {sign}: {said}");
        }
    }
    assert_eq!(interrupt(child), Some(130));
    // Nothing of it is left: trigger does not find it any more.
    assert_eq!(world.run_process(&["trigger", "meeting.completed"]).status.code(), Some(2));
}

#[test]
fn a_demo_that_stays_claims_nothing_of_what_it_did_not_see() {
    let world = World::new();
    let mut child = world.command(&["demo", "--stay"]).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("running until Ctrl-C") {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
    }
    signal(child.id(), "TERM");
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
    assert!(said.contains("1 failed (1 × 422)") && !said.contains("Every event"), "{said}");
}
