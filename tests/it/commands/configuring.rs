//! `config`, `fixtures` and `secret show --write-env`: what a project keeps in files.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::super::world::World;
use super::{Transcript, obliging, target};

#[test]
fn settings_are_shown_with_where_they_come_from() {
    let world = World::new();
    let mut transcript = Transcript::of(&world);
    let _plain = transcript.run(&["config", "show", "--json"]);
    world.write("mbaas-dev.toml", "color = \"never\"\n\n[listen]\nforward = \"3000/hooks\"\nport = 4500\n");
    world.write(
        "webhook_config.json",
        r#"{"webhook_url": "https://x.test/hooks", "events": ["meeting.failed"], "secret": "of the file"}"#,
    );
    for (arguments, code) in [
        (&["config", "show"][..], 0),
        (&["config", "show", "demo"], 0),
        (&["config", "show", "trigger"], 2),
        (&["config", "show", "events"], 2),
        (&["config", "show", "nothing"], 2),
        (&["config", "show", "replay"], 2),
    ] {
        let done = transcript.run(arguments);
        assert_eq!(done.code(), code, "{}", done.whole());
        assert!(!done.text().contains("of the file"), "{}", done.text());
    }
    let output =
        world.command(&["config", "show"]).env("MBAAS_DEV_ACCESS_TOKEN", "of the relay").output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let line = shown.lines().find(|line| line.starts_with("access-token ")).unwrap();
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>(),
        ["access-token", "[masked]", "MBAAS_DEV_ACCESS_TOKEN"]
    );
    assert!(!shown.contains("of the relay"));
    // What every command takes counts here as it does for all.
    let given = world.run(&["--data-dir", "elsewhere", "--color=always", "-q", "config", "show"]).text();
    for expected in [
        ["data-dir", "elsewhere", "--data-dir"],
        ["color", "always", "--color"],
        ["quiet", "true", "--quiet"],
    ] {
        let mut lines = given.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        assert!(lines.any(|line| line.iter().zip(expected).all(|(word, of)| word.contains(of))), "{given}");
    }
    for settings in [
        "color = \"never\"\n[listen]\nprot = 4500\n",
        "[listen]\n\nport = \"many\"\n",
        "[listen]\nhold = true\nforward = [{ port = 3000 }]\n",
        "[listen]\nroute = [\"*=example.test\"]\n",
        "[trigger]\nport = 1\n[listn]\n",
        "color = \"sometimes\"\n",
        "port 4500\n",
    ] {
        world.write("mbaas-dev.toml", settings);
        let done = transcript.run(&["config", "show"]);
        assert_eq!((done.code(), done.text().as_str()), (2, ""), "{settings}");
    }
    transcript.assert("config");
}

#[test]
fn variables_of_the_environment_are_checked_and_what_is_empty_is_not_set() {
    let world = World::new();
    let show = |variables: &[(&str, &str)]| {
        let mut command = world.command(&["config", "show"]);
        command.envs(variables.iter().copied()).output().unwrap()
    };
    let wrong = show(&[("MBAAS_DEV_PORT", "x")]);
    assert_eq!(wrong.status.code(), Some(2));
    let said = String::from_utf8(wrong.stderr).unwrap();
    insta::assert_snapshot!(said, @"error: invalid value 'x' for '--port <PORT>': `x` is not a whole number from 0 to 65535");

    let given =
        show(&[("MBAAS_DEV_HOLD", "yes"), ("MBAAS_DEV_MAX_BODY", "1M"), ("MBAAS_DEV_COLOR", "never")]);
    let given = String::from_utf8(given.stdout).unwrap();
    let set: Vec<Vec<&str>> = given.lines().map(|line| line.split_whitespace().collect()).collect();
    for line in [
        ["hold", "yes", "MBAAS_DEV_HOLD"],
        ["max-body", "1M", "MBAAS_DEV_MAX_BODY"],
        ["color", "never", "MBAAS_DEV_COLOR"],
    ] {
        assert!(set.contains(&line.to_vec()), "{given}");
    }
    let wrong = show(&[("MBAAS_DEV_HOLD", "perhaps")]);
    assert_eq!(wrong.status.code(), Some(2));

    let plain = show(&[]);
    let names = [
        "HOLD",
        "ROUTE",
        "COLOR",
        "PORT",
        "FORWARD",
        "CONFIG",
        "DATA_DIR",
        "TUNNEL",
        "ACCESS_TOKEN",
        "SECRET",
        "SECRET_V2",
    ];
    let names = names.map(|name| format!("MBAAS_DEV_{name}"));
    let empty = show(&names.each_ref().map(|name| (name.as_str(), "")));
    assert_eq!(String::from_utf8(empty.stderr).unwrap(), "");
    assert_eq!(String::from_utf8(empty.stdout).unwrap(), String::from_utf8(plain.stdout).unwrap());
}

#[test]
fn endpoints_that_cannot_be_used_are_named() {
    let world = World::new();
    let mut transcript = Transcript::of(&world);
    for config in [
        "",
        " \n",
        "{\n",
        "[]",
        "7",
        "{}",
        r#"{"webhook_url": 7}"#,
        r#"{"webhook_url": "ftp://x"}"#,
        r#"{"webhook_url": "http://x", "event": ["meeting.failed"]}"#,
        r#"{"webhook_url": "http://x", "events": ["meeting.faild"]}"#,
        r#"{"webhook_url": "http://x", "events": ["meeting.*"]}"#,
        r#"{"webhook_url": "http://x", "events": []}"#,
        r#"{"webhook_url": "http://x", "enabled": "yes"}"#,
        r#"[{"webhook_url": "http://x"}, {"webhook_url": "http://x", "secret": ""}]"#,
    ] {
        world.write("webhook_config.json", config);
        let done = world.run(&["secret", "show", "--quiet"]);
        transcript.keep(&[config], &if config == "[]" { String::new() } else { done.whole() });
        assert_eq!(done.code(), if config == "[]" { 0 } else { 2 }, "{config}: {}", done.whole());
    }
    world.write(
        "webhook_config.json",
        "\u{feff}{\"webhook_url\": \"http://x\", \"secret\": \"behind a mark\"}",
    );
    assert_eq!(world.run(&["secret", "show"]).text(), "behind a mark\n");
    // The file of the page, and what the other contracts send.
    let known =
        r#"{"webhook_url": "http://x", "events": ["meeting.failed", "bot.completed"], "secret": "x"}"#;
    world.write("webhook_config.json", known);
    assert_eq!(world.run(&["secret", "show"]).text(), "x\n");
    transcript.assert("endpoints");
}

#[test]
fn fixtures_are_copied_listed_checked_and_sent() {
    let (world, handler) = (World::new(), obliging());
    let mut transcript = Transcript::of(&world);
    for arguments in [
        &["fixtures", "list"][..],
        &["fixtures", "validate"],
        &["fixtures", "init"],
        &["fixtures", "init", "fixtures"],
    ] {
        assert_eq!(transcript.run(arguments).code(), 0, "{arguments:?}");
    }
    let copied = world.run(&["fixtures", "list", "fixtures", "--json"]).objects();
    assert_eq!(copied.len(), world.run(&["fixtures", "list", "--json"]).objects().len());
    let to = target(&handler, "/ok");
    let done = world.run(&["trigger", "fixtures/preview/meeting.failed@access_denied.json", "--to", &to]);
    assert_eq!(done.code(), 0, "{}", done.whole());
    world.write("empty/README.md", "no fixture");
    world.write("mine/preview/meeting.failed@mine.json", "{\"event\": \"failed\",}");
    world.write("mine/preview/meeting.started.json", "{\"event\": \"{{ idd() }}\"}");
    world.write("mine/preview/calendar.synced.json", "{\"event\": \"calendar.synced\"}");
    for (arguments, code) in [
        (&["fixtures", "list", "mine"][..], 0),
        (&["fixtures", "validate", "mine"], 1),
        (&["fixtures", "validate", "mine", "--json"], 1),
        (&["fixtures", "validate", "mine/preview/meeting.started.json"], 1),
        (&["fixtures", "list", "mine/preview/meeting.started.json"], 0),
        (&["fixtures", "validate", "nowhere"], 2),
        (&["fixtures", "validate", "empty"], 2),
        (&["fixtures", "list", "empty"], 0),
        (&["fixtures", "list", "mine", "--contract", "v2"], 0),
        (&["fixtures", "init", "mine/preview/calendar.synced.json"], 2),
    ] {
        assert_eq!(transcript.run(arguments).code(), code, "{arguments:?}");
    }
    transcript.assert("fixtures");
}

#[test]
fn the_secret_is_written_into_a_file_of_variables() {
    let world = World::new();
    world.write(".env.local", "A=1\nWEBHOOK_SECRET=old\nB=2");
    let mut transcript = Transcript::of(&world);
    let secret = ["--secret", "it's $new \"quoted\""];
    for (variable, code) in
        [(".env.local:WEBHOOK_SECRET", 0), (".env:S", 0), (".env", 2), (":S", 2), (".env:1S", 2)]
    {
        let done = transcript.run(&[&["secret", "show", "--write-env", variable][..], &secret].concat());
        assert_eq!(done.code(), code, "{}", done.whole());
        assert!(!done.text().contains("quoted"), "the secret was printed: {}", done.whole());
    }
    let done = world.run(&["secret", "show", "--write-env", "new/.env:S"]);
    assert_eq!(done.code(), 2);
    // The folder is not there; that the file is written under another name first is nobody's business.
    let folder = world.folder().display();
    assert_eq!(
        done.errors(),
        format!("error: cannot write {folder}/new/.env: No such file or directory (os error 2)\n")
    );
    let read = |name: &str| std::fs::read_to_string(world.folder().join(name)).unwrap();
    transcript.text += &format!("{}---\n{}", read(".env.local"), read(".env"));
    transcript.assert("write_env");
}

#[test]
fn a_folder_that_cannot_be_written_to_is_told_by_a_name_that_its_user_knows() {
    let world = World::new();
    let closed = world.write("closed/state/.gitignore", "*\n").parent().unwrap().to_owned();
    for folder in [&closed, closed.parent().unwrap()] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o500)).unwrap();
    }
    let mut told = String::new();
    for arguments in [
        &["secret", "show", "--secret", "x", "--write-env", "closed/.env:S"][..],
        &["deliveries", "export", "-o", "closed/out.har"],
        &["fixtures", "init", "closed/fixtures"],
        &["secret", "new", "--data-dir", "closed/state"],
        &["secret", "new", "--data-dir", "closed/other"],
    ] {
        let output = world.without_privileges(arguments).output().unwrap();
        told +=
            &String::from_utf8(output.stderr).unwrap().replace(world.folder().to_str().unwrap(), "[FOLDER]");
    }
    insta::assert_snapshot!(told, @r"
    error: cannot write [FOLDER]/closed/.env: permission denied
    error: cannot write [FOLDER]/closed/out.har: permission denied
    error: cannot write [FOLDER]/closed/fixtures/preview/calendar.synced.json: Permission denied (os error 13)
    error: cannot open [FOLDER]/closed/state/lock: Permission denied (os error 13)
    hint: another folder can be given with --data-dir
    error: cannot make [FOLDER]/closed/other: Permission denied (os error 13)
    hint: another folder can be given with --data-dir
    ");
    fs::set_permissions(closed.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(closed, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn an_option_beats_the_variable_of_another_that_it_goes_in_the_place_of() {
    let world = World::new();
    let relay = |more: &[&str]| {
        let options = ["relay", "--public-url", "https://hooks.example", "--access-tokens", "none.toml"];
        let mut command = world.command(&[&options[..], more].concat());
        let done = command.env("MBAAS_DEV_ACCESS_TOKEN", "sesame").output().unwrap();
        assert_eq!(done.status.code(), Some(2));
        String::from_utf8(done.stderr).unwrap()
    };
    // That file is not there.
    let said = relay(&[]);
    assert!(said.contains("none.toml` cannot be used"), "{said}");
    let said = relay(&["--access-token", "x"]);
    assert!(said.contains("'--access-tokens <FILE>' cannot be used with '--access-token <TOKEN>'"), "{said}");
}
