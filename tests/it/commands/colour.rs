//! Colour: never in JSON, always where it is asked for, and as NO_COLOR wants it.

use std::process::Command;

use super::super::world::World;
use super::{assert_whole, obliging, target};

const ESCAPE: u8 = 0x1b;

/// Commands that print data, each with an acknowledged and a failed delivery behind it.
fn commands(ok: &str, bad: &str) -> Vec<Vec<String>> {
    [
        &["trigger", "meeting.started", "--to", ok][..],
        &["trigger", "meeting.failed", "--to", bad],
        &["trigger", "event.added", "-v", "--to", ok],
        &["replay", "1", "--to", ok],
        &["deliveries", "list"],
        &["deliveries", "show", "2"],
        &["events", "list"],
        &["events", "show", "meeting.failed"],
        &["verify", "#1"],
    ]
    .iter()
    .map(|words| words.iter().map(|word| (*word).to_owned()).collect())
    .collect()
}

fn words(command: &[String]) -> Vec<&str> {
    command.iter().map(String::as_str).collect()
}

/// The text without its colours.
fn plain(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut characters = std::str::from_utf8(bytes).unwrap().chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            assert_eq!(characters.next(), Some('['));
            assert!(characters.by_ref().take_while(|c| *c != 'm').all(|c| c.is_ascii_digit() || c == ';'));
        } else {
            text.push(character);
        }
    }
    text
}

#[test]
fn colour_is_there_when_it_is_asked_for_and_changes_no_text() {
    let handler = obliging();
    let (ok, bad) = (target(&handler, "/ok"), target(&handler, "/express"));
    let (coloured, plain_world) = (World::new(), World::new());
    for command in commands(&ok, &bad) {
        let always = coloured.run(&[&words(&command)[..], &["--color", "always"]].concat());
        let never = plain_world.run(&[&words(&command)[..], &["--color", "never"]].concat());
        assert!(always.stdout.contains(&ESCAPE), "{command:?} has no colour: {}", always.text());
        assert!(!never.stdout.contains(&ESCAPE), "{command:?}: {}", never.text());
        let without_ids = |text: &str| {
            text.split_whitespace()
                .filter(|word| !word.contains('-') && !word.starts_with("dlv_") && word.len() < 60)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(without_ids(&plain(&always.stdout)), without_ids(&never.text()), "{command:?}");
    }
}

#[test]
fn json_and_what_is_copied_has_no_colour_ever() {
    let handler = obliging();
    let (ok, bad) = (target(&handler, "/ok"), target(&handler, "/express"));
    let world = World::new();
    for command in commands(&ok, &bad) {
        let command: Vec<&str> = words(&command).into_iter().filter(|word| *word != "-v").collect();
        let done = world.run(&[&command[..], &["--json", "--color", "always"]].concat());
        assert!(!done.objects().is_empty(), "{command:?}: {}", done.whole());
        assert!(!done.stdout.contains(&ESCAPE), "{command:?}: {}", done.text());
    }
    for command in [
        &["deliveries", "show", "1", "--body"][..],
        &["deliveries", "show", "1", "--curl"],
        &["trigger", "meeting.started", "--print"],
        &["trigger", "meeting.started", "--curl"],
        &["secret", "show"],
        &["secret", "show", "--json"],
        &["sign", "-"],
        &["completions", "bash"],
        &["man"],
    ] {
        let done = world.run(&[command, &["--color", "always"]].concat());
        assert!(!done.stdout.is_empty() && !done.stdout.contains(&ESCAPE), "{command:?}");
    }
}

#[test]
fn complaints_are_coloured_when_it_is_asked_for() {
    let world = World::new();
    let done = world.run(&["trigger", "no.such.event", "--color", "always"]);
    assert_eq!((done.code(), done.stdout.as_slice()), (2, &b""[..]));
    assert!(done.stderr.contains(&ESCAPE), "{}", done.errors());
    assert!(plain(&done.stderr).starts_with("error: there is no event"), "{}", plain(&done.stderr));
}

#[test]
fn a_terminal_has_colour_unless_it_has_none_or_no_color_is_set_to_something() {
    let world = World::new();
    let installed = Command::new("script").arg("--version").output();
    if !installed.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("util-linux")) {
        return println!("skipped: script of util-linux is not installed, so there is no terminal to try");
    }
    let on_a_terminal = |environment: Option<(&str, &str)>, more: &str| {
        let program = format!("{} events list {more}", env!("CARGO_BIN_EXE_mbaas-dev"));
        let mut command = Command::new("script");
        command.args(["-qec", &program, "/dev/null"]).current_dir(world.folder()).env_remove("NO_COLOR");
        command.env("TERM", "xterm");
        command.stdin(std::process::Stdio::null()).envs(environment);
        let output = command.output().unwrap();
        assert!(output.status.success() && output.stdout.len() > 1000, "{output:?}");
        output.stdout.contains(&ESCAPE)
    };
    assert!(on_a_terminal(None, ""));
    assert!(on_a_terminal(Some(("NO_COLOR", "")), ""), "an empty NO_COLOR counts as none");
    assert!(!on_a_terminal(Some(("NO_COLOR", "1")), ""));
    assert!(!on_a_terminal(None, "--color never"));
    assert!(on_a_terminal(Some(("NO_COLOR", "1")), "--color always"));
    assert!(!on_a_terminal(Some(("TERM", "dumb")), ""), "that one would show the colours as text");
    assert!(on_a_terminal(Some(("TERM", "dumb")), "--color always"));
    assert!(!on_a_terminal(None, "--json"));
    // Not a terminal.
    assert!(!world.run_process(&["events", "list"]).stdout.contains(&ESCAPE));
}

#[test]
fn coloured_lines_say_by_colour_what_they_say_by_words() {
    let handler = obliging();
    let world = World::new();
    let mut text = String::new();
    for (event, path, mode) in
        [("meeting.started", "/ok", "valid"), ("meeting.failed", "/unauthorized", "tampered")]
    {
        let to = target(&handler, path);
        let done = world.run(&["trigger", event, "--sign", mode, "--color", "always", "--to", &to]);
        text += &done.text().replace('\u{1b}', "␛");
    }
    assert_whole("colour", &text);
}
