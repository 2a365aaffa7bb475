//! Help, versions, completions and the manual.

use std::io::Write;
use std::process::{Command, Stdio};

use clap::CommandFactory;
use mbaas_dev::cli::Cli;

use super::super::world::World;
use super::{Transcript, assert_whole};

/// Every command and subcommand as the words that call it, the program itself first.
fn every_command() -> Vec<(Vec<String>, clap::Command)> {
    fn below(path: &[String], command: &clap::Command, found: &mut Vec<(Vec<String>, clap::Command)>) {
        found.push((path.to_vec(), command.clone()));
        for subcommand in command.get_subcommands() {
            below(&[path, &[subcommand.get_name().to_owned()]].concat(), subcommand, found);
        }
    }
    let mut found = Vec::new();
    below(&[], &Cli::command(), &mut found);
    found
}

/// What the real program says, which knows no terminal and no environment: its lines have the same width everywhere.
fn say(world: &World, path: &[String], last: &str) -> String {
    let words: Vec<&str> = path.iter().map(String::as_str).chain([last]).collect();
    // Help shows the values of variables.
    let output = world.command(&words).env_remove("MBAAS_DEV_INSPECTOR_PORT").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{words:?}");
    assert_eq!(output.stderr, b"", "{words:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_command_has_help_that_is_kept_in_a_snapshot() {
    let world = World::new();
    let commands = every_command();
    assert!(commands.len() >= 17, "{}", commands.len());
    for (path, _) in &commands {
        let name = [&["help".to_owned()], path.as_slice()].concat().join("_");
        assert_whole(&name, &say(&world, path, "--help"));
    }
    assert!(!world.folder().join(".mbaas-dev").exists(), "asking for help leaves a trace");
}

#[test]
fn short_help_says_the_same_in_fewer_lines() {
    let world = World::new();
    for (path, _) in every_command() {
        let (short, long) = (say(&world, &path, "-h"), say(&world, &path, "--help"));
        let first = |text: &str| text.lines().next().unwrap().trim_end_matches('.').to_owned();
        assert_eq!(first(&short), first(&long), "{path:?}");
        assert!(short.lines().count() < long.lines().count(), "{path:?}");
        for line in short.lines().chain(long.lines()) {
            assert!(line.chars().count() <= 100, "{path:?}: {line}");
        }
    }
    assert_whole("short_help", &say(&world, &[], "-h"));
    let help = world.run_process(&["help", "deliveries", "list"]);
    assert_eq!(
        String::from_utf8(help.stdout).unwrap(),
        say(&world, &["deliveries".to_owned(), "list".to_owned()], "--help")
    );
}

#[test]
fn every_command_and_every_option_is_described() {
    let mut silent = Vec::new();
    for (path, command) in every_command() {
        if command.get_about().is_none() {
            silent.push(format!("mbaas-dev {}", path.join(" ")));
        }
        for argument in command.get_arguments().filter(|argument| argument.get_help().is_none()) {
            silent.push(format!("mbaas-dev {} {}", path.join(" "), argument.get_id()));
        }
    }
    assert!(silent.is_empty(), "nothing is said about {silent:?}");
}

#[test]
fn the_version_is_data_and_misuse_is_not() {
    let world = World::new();
    let mut transcript = Transcript::of(&world);
    for arguments in [
        &["--version"][..],
        &["-V"],
        &[],
        &["frobnicate"],
        &["lisen"],
        &["--frobnicate"],
        &["trigger"],
        &["trigger", "meeting.started", "--tto", "3000"],
        &["deliveries"],
        &["deliveries", "frobnicate"],
        &["replay"],
        &["completions"],
        &["secret", "show", "more"],
        &["listen", "--version"],
        &["deliveries", "list", "-V"],
        &["listen", "--port", "70000"],
        &["listen", "--parallel", "many"],
        &["listen", "--within", "soon"],
        &["listen", "--max-body", "huge"],
        &["deliveries", "list", "--limit", "0"],
        &["deliveries", "list", "--contract", "v3"],
        &["deliveries", "list", "--origin", "mars"],
    ] {
        let output = world.run_process(arguments);
        let code = output.status.code().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        assert_eq!(code == 0, output.stderr.is_empty(), "{arguments:?}");
        assert_eq!(code == 0, !output.stdout.is_empty(), "{arguments:?}");
        let whole =
            format!("exit: {code}\n--- stdout\n{}--- stderr\n{}", text(&output.stdout), text(&output.stderr));
        transcript.keep(arguments, &whole);
    }
    transcript.assert("misuse");
}

#[test]
fn completions_name_every_command_and_the_one_for_bash_works() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = world.run(&["completions", shell]);
        assert_eq!((done.code(), done.errors().as_str()), (0, ""), "{shell}");
        let script = done.text();
        for (path, command) in every_command() {
            if let Some(name) = path.last() {
                assert!(script.contains(name.as_str()), "{shell} does not know {path:?}");
            }
            for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(script.contains(flag), "{shell} does not know --{flag} of {path:?}");
            }
        }
    }
    let script = world.run(&["completions", "bash"]).text();
    // Completes as the shell does after a tab.
    let complete = r#"
        function=$(complete -p mbaas-dev | sed 's/.*-F \([^ ]*\).*/\1/')
        COMP_WORDS=(mbaas-dev deliveries sh) COMP_CWORD=2
        "$function" mbaas-dev sh deliveries
        echo "${COMPREPLY[@]}"
    "#;
    assert_eq!(bash(&["-n"], &script), "");
    assert_eq!(bash(&[], &format!("{script}{complete}")), "show\n");
}

/// What bash makes of a script; nothing on stderr, exit code 0.
fn bash(arguments: &[&str], script: &str) -> String {
    pipe(Command::new("bash").args(arguments), script.as_bytes())
}

fn pipe(command: &mut Command, input: &[u8]) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    // A reader that has seen enough closes the pipe.
    writer.join().unwrap().ok();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{command:?}");
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_manual_renders_without_a_warning_and_describes_every_command() {
    let page = World::new().run(&["man"]);
    assert_eq!((page.code(), page.errors().as_str()), (0, ""));
    let page = page.text();
    assert_eq!(page.lines().filter(|line| line.starts_with(".TH ")).count(), 1, "a page has one title");
    assert_eq!(page.lines().filter(|line| *line == ".SH NAME").count(), 1, "and one name");
    let plain: String = page.replace("\\-", "-").replace("\\fB", "").replace("\\fR", "").replace("\\fI", "");
    for (path, _) in every_command() {
        let name = [&["mbaas-dev".to_owned()], path.as_slice()].concat();
        assert!(plain.contains(&name.join("-")) || plain.contains(&name.join(" ")), "no {name:?}");
    }
    let installed =
        Command::new("groff").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !installed.is_ok_and(|status| status.success()) {
        println!("skipped: groff is not installed, so the page is not rendered");
        return;
    }
    // As man(1) calls it: the encoding is that of the page. All warnings are on.
    let text = pipe(Command::new("groff").args(["-k", "-man", "-Tutf8", "-ww", "-P-cbou"]), page.as_bytes());
    // How lines are filled is groff's own.
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for (path, command) in every_command() {
        let name = [&["mbaas-dev".to_owned()], path.as_slice()].concat().join(" ");
        assert!(words.contains(&format!("SYNOPSIS {name} ")), "the manual does not say how {name} is called");
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(!about.is_empty() || path == ["man"], "{name}");
    }
    assert!(words.contains("--max-body <SIZE> [default: 32M]"), "{text}");
}
