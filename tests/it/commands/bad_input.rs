//! Bad input: one clear sentence on stderr, the right exit code, nothing on stdout, no panic.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use super::super::handler::nobody;
use super::super::world::{Done, World};
use super::{Handler, exchange, request};

/// Checks a table of bad input: each is complained about with the expected first line, behind `error: `.
struct Table<'a> {
    world: &'a World,
    inputs: usize,
    wrong: Vec<String>,
}

impl<'a> Table<'a> {
    fn of(world: &'a World) -> Self {
        Self { world, inputs: 0, wrong: Vec::new() }
    }

    fn row(&mut self, arguments: &[&str], code: u8, sentence: &str) {
        self.check(&format!("{arguments:?}"), &self.world.run(arguments), code, sentence);
    }

    fn check(&mut self, what: &str, done: &Done, code: u8, sentence: &str) {
        self.inputs += 1;
        let said = done.errors().replace(self.world.folder().to_str().unwrap(), "[FOLDER]");
        let first = said.lines().next().unwrap_or_default();
        let fine = done.stdout.is_empty()
            && done.code() == code
            && first.strip_prefix("error: ") == Some(sentence)
            && said.lines().filter(|line| line.starts_with("error: ")).count() == 1
            && !said.contains("panicked");
        if !fine {
            self.wrong.push(format!(
                "{what}\n   code {} {:?}\n   {}",
                done.code(),
                done.text(),
                said.trim_end()
            ));
        }
    }
}

impl Drop for Table<'_> {
    fn drop(&mut self) {
        println!("inputs={} violations={}", self.inputs, self.wrong.len());
        assert!(std::thread::panicking() || self.wrong.is_empty(), "\n{}", self.wrong.join("\n"));
    }
}

#[test]
fn what_is_not_a_target_is_named_with_the_reason() {
    const TRY: &str = "(try `3000`, `localhost:3000`, `localhost:3000/hooks`, `https://host/hooks` or `unix:/path/to.sock`)";
    let world = World::new();
    let mut table = Table::of(&world);
    for (text, reason) in [
        ("", "it is empty"),
        ("0", "the port is a number from 1 to 65535"),
        ("65536", "the port is a number from 1 to 65535"),
        ("localhost:", "the port is a number from 1 to 65535"),
        ("localhost:http", "the port is a number from 1 to 65535"),
        ("localhost:+80", "the port is a number from 1 to 65535"),
        ("localhost:80:80", "the port is a number from 1 to 65535"),
        (":3000", "it has no host name"),
        ("http://", "it has no host name"),
        ("/hooks", "it has no host name"),
        ("//host/hooks", "it has no host name"),
        ("ex ample.test", "it has a character that no URL has"),
        ("host/a b", "it has a character that no URL has"),
        ("host\n", "it has a character that no URL has"),
        ("host\\hooks", "it has a backslash"),
        ("ftp://host", "only http, https and unix are spoken"),
        ("ws://host:3000", "only http, https and unix are spoken"),
        ("http://user@host", "it has a user name"),
        ("host/#part", "a fragment is never sent"),
        ("[::1", "the bracket of its IPv6 address is not closed"),
        ("[nonsense]:1", "what stands in brackets is not an IPv6 address"),
        ("[::1]3000", "after the address comes `:` and the port"),
        ("host/ü", "its path has characters that must be percent-encoded"),
        ("hôte:3000", "it has no host name"),
    ] {
        let shown = text.escape_debug();
        let sentence =
            format!("invalid value '{text}' for '--to <TARGET>': `{shown}` is not a target: {reason} {TRY}");
        table.row(&["trigger", "meeting.started", "--to", text], 2, sentence.lines().next().unwrap());
    }
    table.row(
        &["listen", "--forward", "localhost:99999"],
        2,
        &format!("invalid value 'localhost:99999' for '--forward <TARGET>': `localhost:99999` is not a target: the port is a number from 1 to 65535 {TRY}"),
    );
}

#[test]
fn unknown_events_are_answered_with_the_nearest_name() {
    let world = World::new();
    let mut table = Table::of(&world);
    for (name, sentence) in [
        ("meeting.complete", "there is no event `meeting.complete`; did you mean `meeting.completed`?"),
        ("meeting.faild", "there is no event `meeting.faild`; did you mean `meeting.failed`?"),
        (
            "transcription.avaliable",
            "there is no event `transcription.avaliable`; did you mean `transcription.available`?",
        ),
        (
            "meeting.failed@acces_denied",
            "there is no event `meeting.failed@acces_denied`; did you mean `meeting.failed@access_denied`?",
        ),
        (
            "meeting.started@long",
            "there is no event `meeting.started@long`; `meeting.started` has no variants",
        ),
        (
            "meeting.completed@zzz",
            "there is no event `meeting.completed@zzz`; the variants of `meeting.completed` are long, minimal, unicode",
        ),
        ("ping", "there is no event `ping`"),
        (
            "Meeting.Completed",
            "`Meeting.Completed` is not an event name: 1 to 64 lower-case letters, digits, `.`, `_` and `-`, starting with a letter or digit",
        ),
        (
            "",
            "`` is not an event name: 1 to 64 lower-case letters, digits, `.`, `_` and `-`, starting with a letter or digit",
        ),
        (
            "meeting.failed@",
            "`meeting.failed@` is not an event name: 1 to 64 lower-case letters, digits, `.`, `_` and `-`, starting with a letter or digit",
        ),
    ] {
        table.row(&["trigger", name, "--to", "9"], 2, sentence);
    }
    let preview = ["trigger", "complete", "--contract", "preview", "--to", "9"];
    let sentence =
        "there is no event `complete` in preview; `complete` is the wire event of `meeting.completed`";
    table.row(&preview, 2, sentence);
    for (contract, sentence) in [
        ("v2", "there is no event `meeting.failed` in v2; preview has it"),
        (
            "v3",
            "invalid value 'v3' for '--contract <CONTRACT>': `v3` is not a contract; there are preview, v1, v2, callback and alert",
        ),
        (
            "Preview",
            "invalid value 'Preview' for '--contract <CONTRACT>': `Preview` is not a contract; there are preview, v1, v2, callback and alert",
        ),
    ] {
        table.row(&["trigger", "meeting.failed", "--contract", contract, "--to", "9"], 2, sentence);
    }
}

#[test]
fn malformed_edits_say_where_and_what_was_expected() {
    let world = World::new();
    let mut table = Table::of(&world);
    for (flag, edit, sentence) in [
        ("--set", "data.error", "--set data.error: there is no `=` between path and value"),
        ("--set", "", "--set : there is no `=` between path and value"),
        ("--set", "=1", "--set =1: column 1 of the path: expected a key, found its end"),
        (
            "--set",
            "data.error=",
            "--set data.error=: the value is not JSON: line 1, column 1: expected a value, found the end of the input",
        ),
        (
            "--set",
            "data.error=access_denied",
            "--set data.error=access_denied: the value is not JSON: line 1, column 1: expected a value, found `access_denied`",
        ),
        (
            "--set",
            "data.error='single'",
            "--set data.error='single': the value is not JSON: line 1, column 1: expected a value, found `'single'`; strings take straight double quotes",
        ),
        (
            "--set",
            "data.error={\"a\":1,}",
            "--set data.error={\"a\":1,}: the value is not JSON: line 1, column 8: expected a key in double quotes, found `}`; remove the comma before it",
        ),
        (
            "--set",
            "data.error=1 2",
            "--set data.error=1 2: the value is not JSON: line 1, column 3: expected the end of the input, found `2`",
        ),
        (
            "--set",
            "data..error=1",
            "--set data..error=1: column 6 of the path: expected a key after `.`, found `.error`",
        ),
        (
            "--set",
            "data.list[x]=1",
            "--set data.list[x]=1: column 11 of the path: expected the number of an item or a key in double quotes after `[`, found `x`",
        ),
        ("--set", "data.list[0=1", "--set data.list[0=1: column 12 of the path: expected `]`, found its end"),
        (
            "--set",
            "data[\"error]=1",
            "--set data[\"error]=1: column 6 of the path: expected a string with a closing `\"`, found `\"error]` without one",
        ),
        ("--set", "event.x=1", "setting `event.x`: `event` is a string, so it has no key `x`"),
        (
            "--set",
            "data[0]=1",
            "setting `data[0]`: `data` is an object, so it has no item `[0]`; its keys are written `.key` or `[\"key\"]`",
        ),
        (
            "--set",
            "data.speakers[7]=\"x\"",
            "setting `data.speakers[7]`: `data.speakers` has 4 items, so there is no item `[7]`; `[4]` appends one",
        ),
        ("--set-string", "data.error", "--set-string data.error: there is no `=` between path and value"),
        (
            "--unset",
            "data.no_such_key",
            "unsetting `data.no_such_key`: `data` has no key `no_such_key`; the nearest it has: `bot_id`, `speakers`, `transcript`",
        ),
        (
            "--unset",
            "data.speakers[9]",
            "unsetting `data.speakers[9]`: `data.speakers` has 4 items, so there is no item `[9]`",
        ),
        ("--unset", "", "--unset : column 1 of the path: expected a key, found its end"),
        ("--unset", ".", "unsetting `.`: the whole (`.`) cannot be removed"),
        (
            "--unset",
            "data.error=1",
            "--unset data.error=1: column 11 of the path: expected `.` or `[` (odd keys are written `[\"like this\"]`), found `=`",
        ),
    ] {
        table.row(&["trigger", "meeting.completed", flag, edit, "--to", "9"], 2, sentence);
    }
}

#[test]
fn files_that_cannot_be_read_or_filled_in_are_named_with_the_place() {
    let world = World::new();
    world.write("empty.json", "");
    world.write("blank.json", " \n\n");
    world.write("array.json", "[]");
    world.write("comma.json", "{\n  \"event\": \"complete\",\n}");
    world.write("cut.json", "{\"event\": \"compl");
    world.write("latin.json", b"{\"event\": \"\xe9\"}".as_slice());
    world.write("function.json", "{\n  \"event\": \"x\",\n  \"id\": \"{{ idd('bot') }}\"\n}");
    world.write("open.json", "{\"event\": \"{{ id('bot') \"}");
    world.write("syntax.json", "{\"event\": \"a {{ 1 + }}\"}");
    world.write("home.json", "{\"event\": \"{{ env('HOME') }}\"}");
    world.write("unset.json", "{\"event\": \"{{ env('MBAAS_NOT_SET') }}\"}");
    world.write("about.json", "{\"$fixture\": 7, \"event\": \"x\"}");
    world.write("page.html", "<!doctype html>");
    world.write("folder/inside.txt", "");
    let mut table = Table::of(&world);
    for (file, sentence) in [
        ("nobody.json", "cannot read [FOLDER]/nobody.json: No such file or directory (os error 2)"),
        ("./nobody", "cannot read [FOLDER]/./nobody: No such file or directory (os error 2)"),
        ("folder", "there is no event `folder`"),
        ("folder/", "cannot read [FOLDER]/folder/: Is a directory (os error 21)"),
        ("./folder", "cannot read [FOLDER]/./folder: Is a directory (os error 21)"),
        ("/proc/self/mem", "cannot read /proc/self/mem: Input/output error (os error 5)"),
        ("empty.json", "empty.json:1:1: expected a value, found the end of the input"),
        ("blank.json", "blank.json:3:1: expected a value, found the end of the input"),
        (
            "array.json",
            "array.json:1:1: expected an object, the body of an event, found a value of type array",
        ),
        (
            "comma.json",
            "comma.json:3:1: expected a key in double quotes, found `}`; remove the comma before it",
        ),
        ("cut.json", "cut.json:1:11: expected a string with a closing `\"`, found `\"compl` without one"),
        ("latin.json", "latin.json:1:12: expected UTF-8, found the byte 0xe9"),
        ("function.json", "function.json:3:13: there is no function `idd`; did you mean `id`?"),
        (
            "open.json",
            "open.json:1:12: expected `}}` after this `{{`, outside of strings and brackets (a plain `{{` is written `{{ '{{' }}`)",
        ),
        ("syntax.json", "syntax.json:1:19: unexpected end of input, expected expression"),
        ("home.json", "home.json:1:15: `env` reads only names that start with `MBAAS_`, not `HOME`"),
        (
            "unset.json",
            "unset.json:1:15: the environment has no `MBAAS_NOT_SET`; `env('MBAAS_NOT_SET', 'text')` gives a default",
        ),
        (
            "about.json",
            "about.json:1:14: expected an object that describes the fixture, found a value of type number",
        ),
        ("page.html", "page.html:1:1: expected a value, found `<`"),
    ] {
        table.row(&["trigger", file, "--to", "9"], 2, sentence);
    }
    table.check(
        "stdin",
        &world.run_with_input(&["trigger", "-", "--to", "9"], b"{\"event\""),
        2,
        "<stdin>:1:9: expected `:`, found the end of the input",
    );
    table.check(
        "no stdin",
        &world.run_with_input(&["trigger", "-", "--to", "9"], b""),
        2,
        "<stdin>:1:1: expected a value, found the end of the input",
    );
    table.row(
        &["sign", "nobody.json"],
        2,
        "cannot read [FOLDER]/nobody.json: No such file or directory (os error 2)",
    );
    table.row(&["sign", "folder"], 2, "cannot read [FOLDER]/folder: Is a directory (os error 21)");
    table.row(
        &["verify", "nobody.json"],
        2,
        "cannot read [FOLDER]/nobody.json: No such file or directory (os error 2)",
    );
    table.row(
        &["trigger", "meeting.started", "--raw", "--to", "9"],
        2,
        "--raw sends the bytes of a file: give a FILE or -",
    );
    table.row(
        &["trigger", "meeting.started", "--sign", "stale", "--to", "9"],
        2,
        "a preview signature carries no time stamp, so it cannot be stale",
    );
    table.row(
        &["trigger", "meeting.started"],
        2,
        "no listen is running in this project, and no --to says where to send",
    );
}

#[test]
fn values_of_flags_and_flags_that_conflict_are_refused() {
    let world = World::new();
    let mut table = Table::of(&world);
    let trigger = ["trigger", "meeting.started", "--to", "9"];
    for (flags, sentence) in [
        (
            &["--timeout", "soon"][..],
            "invalid value 'soon' for '--timeout <DURATION>': `soon` is not a duration such as `30s`, `10m` or `1h 30m`",
        ),
        (
            &["--timeout", ""],
            "invalid value '' for '--timeout <DURATION>': `` is not a duration such as `30s`, `10m` or `1h 30m`",
        ),
        (
            &["--timeout=-1s"],
            "invalid value '-1s' for '--timeout <DURATION>': `-1s` is not a duration such as `30s`, `10m` or `1h 30m`",
        ),
        (
            &["--timeout", "99999999999999999999"],
            "invalid value '99999999999999999999' for '--timeout <DURATION>': `99999999999999999999` is not a duration such as `30s`, `10m` or `1h 30m`",
        ),
        (&["--rate", "fast"], "invalid value 'fast' for '--rate <N>': `fast` is not a number"),
        (&["--rate", "0"], "invalid value '0' for '--rate <N>': the rate is from 0.001 to 100000"),
        (&["--rate", "NaN"], "invalid value 'NaN' for '--rate <N>': the rate is from 0.001 to 100000"),
        (&["--rate", "inf"], "invalid value 'inf' for '--rate <N>': the rate is from 0.001 to 100000"),
        (&["--rate=-1"], "invalid value '-1' for '--rate <N>': the rate is from 0.001 to 100000"),
        (&["--rate", "1e9"], "invalid value '1e9' for '--rate <N>': the rate is from 0.001 to 100000"),
        (
            &["--count", "0"],
            "invalid value '0' for '--count <N>': `0` is not a whole number from 1 to 1000000000",
        ),
        (
            &["--count=-1"],
            "invalid value '-1' for '--count <N>': `-1` is not a whole number from 1 to 1000000000",
        ),
        (
            &["--count", "1.5"],
            "invalid value '1.5' for '--count <N>': `1.5` is not a whole number from 1 to 1000000000",
        ),
        (
            &["--count", "4294967296"],
            "invalid value '4294967296' for '--count <N>': `4294967296` is not a whole number from 1 to 1000000000",
        ),
        (&["--sign", "badly"], "invalid value 'badly' for '--sign <MODE>'"),
        (&["--raw", "--set", "a=1"], "the argument '--raw' cannot be used with '--set <PATH=JSON>'"),
        (&["--print", "--curl"], "the argument '--print' cannot be used with '--curl'"),
        (&["--print", "--count", "3"], "the argument '--print' cannot be used with '--count <N>'"),
        (&["--curl", "--rate", "3"], "the argument '--curl' cannot be used with '--rate <N>'"),
        (
            &["--duplicate", "2", "--fault", "duplicate=3"],
            "--duplicate cannot be used with `--fault duplicate`",
        ),
        (
            &["--fault", "gzip", "--fault", "gzip-signed"],
            "the fault `gzip` cannot be used with `gzip-signed`",
        ),
        (&["--print", "--json"], "the argument '--print' cannot be used with '--json'"),
        (&["--curl", "--json"], "the argument '--curl' cannot be used with '--json'"),
        (&["--quiet", "--verbose"], "the argument '--quiet' cannot be used with '--verbose'"),
        (&["--color", "purple"], "invalid value 'purple' for '--color <WHEN>'"),
        (&["--secret", ""], "the secret from --secret is empty"),
        (&["--secret"], "a value is required for '--secret <[CONTRACT=]SECRET>' but none was supplied"),
        (&["--count", "1", "--count", "2"], "the argument '--count <N>' cannot be used multiple times"),
        (&["meeting.failed"], "unexpected argument 'meeting.failed' found"),
    ] {
        table.row(&[&trigger, flags].concat(), 2, sentence);
    }
    drop(table);
    assert!(!world.folder().join(".mbaas-dev").exists(), "a command that was not understood left a trace");
}

#[test]
fn values_of_listen_are_refused_too() {
    let world = World::new();
    let mut table = Table::of(&world);
    for (flags, sentence) in [
        (
            &["--port", "65536"][..],
            "invalid value '65536' for '--port <PORT>': `65536` is not a whole number from 0 to 65535",
        ),
        (
            &["--port", "http"],
            "invalid value 'http' for '--port <PORT>': `http` is not a whole number from 0 to 65535",
        ),
        (
            &["--port=-1"],
            "invalid value '-1' for '--port <PORT>': `-1` is not a whole number from 0 to 65535",
        ),
        (
            &["--bind", "localhost"],
            "invalid value 'localhost' for '--bind <ADDRESS>': `localhost` is not an IP address such as `127.0.0.1`, `0.0.0.0` or `::1`",
        ),
        (
            &["--bind", "127.0.0.1:80"],
            "invalid value '127.0.0.1:80' for '--bind <ADDRESS>': `127.0.0.1:80` is not an IP address such as `127.0.0.1`, `0.0.0.0` or `::1`",
        ),
        (
            &["--parallel", "0"],
            "invalid value '0' for '--parallel <N>': `0` is not a whole number from 1 to 10000",
        ),
        (
            &["--parallel", "10001"],
            "invalid value '10001' for '--parallel <N>': `10001` is not a whole number from 1 to 10000",
        ),
        (
            &["--parallel", "many"],
            "invalid value 'many' for '--parallel <N>': `many` is not a whole number from 1 to 10000",
        ),
        (
            &["--max-body", "0"],
            "invalid value '0' for '--max-body <SIZE>': `0` is not a size from 1 to 1024M, such as `512K` or `32M`",
        ),
        (
            &["--max-body", "2G"],
            "invalid value '2G' for '--max-body <SIZE>': `2G` is not a size from 1 to 1024M, such as `512K` or `32M`",
        ),
        (
            &["--max-body", "1.5M"],
            "invalid value '1.5M' for '--max-body <SIZE>': `1.5M` is not a size from 1 to 1024M, such as `512K` or `32M`",
        ),
        (
            &["--max-body", "lots"],
            "invalid value 'lots' for '--max-body <SIZE>': `lots` is not a size from 1 to 1024M, such as `512K` or `32M`",
        ),
        (
            &["--max-body", "99999999999999999999M"],
            "invalid value '99999999999999999999M' for '--max-body <SIZE>': `99999999999999999999M` is not a size from 1 to 1024M, such as `512K` or `32M`",
        ),
        (
            &["--timeout", "never"],
            "invalid value 'never' for '--timeout <DURATION>': `never` is not a duration such as `30s`, `10m` or `1h 30m`",
        ),
        (&["--verify", "maybe"], "invalid value 'maybe' for '--verify <MODE>'"),
        (&["--secret", ""], "the secret from --secret is empty"),
        (&["--port", "5421", "--inspector-port", "5421"], "--port and --inspector-port are both 5421"),
        (&["extra"], "unexpected argument 'extra' found"),
    ] {
        table.row(&[&["listen"], flags].concat(), 2, sentence);
    }
    drop(table);
    assert!(!world.folder().join(".mbaas-dev").exists(), "a command that was not understood left a trace");
}

#[test]
fn values_of_other_commands_are_refused_too() {
    let world = World::new();
    let mut table = Table::of(&world);
    for (command, sentence) in [
        (
            &["replay", "--since", "1 fortnight"][..],
            "invalid value '1 fortnight' for '--since <DURATION>': `1 fortnight` is not a duration such as `30s`, `10m` or `1h 30m`",
        ),
        (
            &["replay", "--last", "0"],
            "invalid value '0' for '--last [<N>]': `0` is not a whole number from 1 to 1000000",
        ),
        (
            &["replay", "--last", "two"],
            "invalid value 'two' for '--last [<N>]': `two` is not a whole number from 1 to 1000000",
        ),
        (&["replay", "1", "--failed"], "the argument '[ID|#N]...' cannot be used with '--failed'"),
        (
            &["replay", "--last", "--raw", "--set", "a=1"],
            "the argument '--raw' cannot be used with '--set <PATH=JSON>'",
        ),
        (
            &["replay", "#"],
            "invalid value '#' for '[ID|#N]...': `#` is not a delivery id, which is `dlv_` and 32 hexadecimal digits, and not a number either",
        ),
        (&["replay", "-1"], "unexpected argument '-1' found"),
        (
            &["replay", "99999999999999999999"],
            "invalid value '99999999999999999999' for '[ID|#N]...': `99999999999999999999` is not a delivery id, which is `dlv_` and 32 hexadecimal digits, and not a number either",
        ),
        (&["deliveries", "list", "--limit", "-1"], "unexpected argument '-1' found"),
        (&["deliveries", "list", "--since", "-5m"], "unexpected argument '-5' found"),
        (&["deliveries", "show", "1", "2"], "unexpected argument '2' found"),
        (&["completions", "tcsh"], "invalid value 'tcsh' for '<SHELL>'"),
        (
            &["verify", "-", "--header", "nocolon"],
            "invalid value 'nocolon' for '--header <NAME: VALUE>': a header is `Name: value`",
        ),
        (
            &["sign", "-", "--contract", "v2", "--at", "yesterday"],
            "invalid value 'yesterday' for '--at <TIME>': `yesterday` is not a time such as `2026-11-24T09:05:52Z`, with \
             its zone, or `1795511152`, in whole seconds since 1970",
        ),
        (&["verify", "12"], "there is no file 12"),
        (&["fixtures", "validate", "."], "there is no fixture in [FOLDER]/."),
        (&["fixtures", "validate", ".", "--contract", "v2"], "there is no fixture of v2 in [FOLDER]/."),
        (&["events", "show"], "the following required arguments were not provided:"),
    ] {
        table.row(command, 2, sentence);
    }
    drop(table);
    assert!(!world.folder().join(".mbaas-dev").exists(), "a command that was not understood left a trace");
}

#[test]
fn settings_and_state_that_cannot_be_used_are_named() {
    let world = World::new();
    world.write("not.json", "{\n  secret: 1\n}");
    world.write("number.json", r#"{"webhook_url": "http://x", "secret": 12}"#);
    world.write("void.json", r#"{"webhook_url": "http://x", "secret": ""}"#);
    world.write("file", "");
    world.write("damaged/secrets.json", "{\"project\": \"whsec_topsecret\"");
    world.write("wrong/secrets.json", "{\"project\": [\"whsec_topsecret\"]}");
    std::fs::create_dir_all(world.folder().join("linked")).unwrap();
    std::os::unix::fs::symlink("../not.json", world.folder().join("linked/secrets.json")).unwrap();
    std::os::unix::fs::symlink("nowhere", world.folder().join("dangling")).unwrap();
    let mut table = Table::of(&world);
    for command in
        [&["secret", "show"][..], &["sign", "not.json"], &["trigger", "meeting.started", "--to", "9"]]
    {
        for (flags, code, sentence) in [
            (["--config", "nobody.json"], 2, "[FOLDER]/nobody.json: No such file or directory (os error 2)"),
            (
                ["--config", "not.json"],
                2,
                "[FOLDER]/not.json:2:3: expected JSON: an object with webhook_url, events, secret and enabled",
            ),
            (
                ["--config", "number.json"],
                2,
                "[FOLDER]/number.json: `secret` must be a text that is not empty",
            ),
            (["--config", "void.json"], 2, "[FOLDER]/void.json: `secret` must be a text that is not empty"),
            (["--config", "."], 2, "[FOLDER]/.: Is a directory (os error 21)"),
            (["--data-dir", "file"], 1, "[FOLDER]/file is not a folder; it is left alone"),
            (
                ["--data-dir", "file/below"],
                1,
                "cannot open [FOLDER]/file/below/listen.json: Not a directory (os error 20)",
            ),
            (
                ["--data-dir", "damaged"],
                1,
                "[FOLDER]/damaged/secrets.json is damaged: no secrets can be read from it (line 1, column 29)",
            ),
            (
                ["--data-dir", "wrong"],
                1,
                "[FOLDER]/wrong/secrets.json is damaged: no secrets can be read from it (line 1, column 12)",
            ),
            (
                ["--data-dir", "linked"],
                1,
                "[FOLDER]/linked/secrets.json is not a regular file; it is left alone",
            ),
            (
                ["--data-dir", "/proc/nowhere"],
                1,
                "cannot make /proc/nowhere: No such file or directory (os error 2)",
            ),
        ] {
            let arguments = [command, &flags].concat();
            let done = world.run(&arguments);
            assert!(!done.errors().contains("topsecret"), "{}", done.errors());
            table.check(&format!("{arguments:?}"), &done, code, sentence);
        }
    }
    for command in
        [&["deliveries", "list"][..], &["deliveries", "show", "1"], &["replay", "--last", "--to", "9"]]
    {
        table.row(
            &[command, &["--data-dir", "file"]].concat(),
            1,
            "[FOLDER]/file is not a folder; it is left alone",
        );
        let below = "`[FOLDER]/file/below/deliveries.db` cannot be opened: Not a directory (os error 20)";
        table.row(&[command, &["--data-dir", "file/below"]].concat(), 1, below);
    }
    table.row(
        &["secret", "show", "--data-dir", "dangling"],
        1,
        "[FOLDER]/dangling is not a folder; it is left alone",
    );
    world.write("webhook_config.json", "nonsense");
    let sentence = "[FOLDER]/webhook_config.json:1:2: expected JSON: an object with webhook_url, events, secret and enabled";
    table.row(&["secret", "show"], 2, sentence);
    table.row(&["listen", "--port", "0"], 2, sentence);
}

#[test]
fn settings_that_stand_in_the_wrong_place_or_form_are_told_where_and_how_they_belong() {
    let world = World::new();
    let mut table = Table::of(&world);
    for secret in ["v2=abc", "v2=whsec_", "v2='whsec_b3RoZXI='"] {
        let wrong = match secret {
            "v2=abc" => ", which begins with `whsec_`",
            "v2=whsec_" => ": what follows `whsec_` is not base64",
            _ => ": it still stands in quotes",
        };
        let sentence = format!("the secret from --secret is not a v2 secret{wrong}");
        table.row(&["listen", "--port", "0", "--secret", secret], 2, &sentence);
        table.row(&["secret", "show", "--contract", "v2", "--secret", secret], 2, &sentence);
    }
    for utf_16 in [&b"\xff\xfe{\0}\0"[..], b"\0{\0}"] {
        world.write("webhook_config.json", utf_16);
        let sentence = "[FOLDER]/webhook_config.json: it is in UTF-16; save it as UTF-8";
        table.row(&["secret", "show"], 2, sentence);
    }
    world.write("mbaas-dev.toml", "port = 5407\n");
    let sentence = "[FOLDER]/mbaas-dev.toml:1:1: there is no option `port` of all commands; it belongs below `[inspector]` or \
         `[listen]`";
    table.row(&["secret", "show"], 2, sentence);
    world.write("mbaas-dev.toml", "within = \"1s\"\n");
    let sentence = "[FOLDER]/mbaas-dev.toml:1:1: there is no option `within` of all commands; it belongs below `[listen]`";
    table.row(&["secret", "show"], 2, sentence);
}

#[test]
fn a_taken_port_is_said_with_who_to_ask() {
    let world = World::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let done = world.run(&["listen", "--port", &port.to_string()]);
    let said = done.whole().replace(&port.to_string(), "[PORT]");
    insta::assert_snapshot!(said, @r"
    exit: 1
    --- stdout
    --- stderr
    error: cannot listen on 127.0.0.1:[PORT]: Address already in use (os error 98)
    hint: `ss -ltnp 'sport = :[PORT]'` (or `lsof -i :[PORT]`) tells who has it; `--port 0` takes any free port
    ");
    let done = world.run(&["listen", "--port", "0", "--bind", "203.0.113.7"]);
    insta::assert_snapshot!(done.whole(), @r"
    exit: 1
    --- stdout
    --- stderr
    error: cannot listen on 203.0.113.7:0: Cannot assign requested address (os error 99)
    hint: this machine has no such address: give `--bind` one that `ip addr` shows
    ");
}

#[test]
fn a_target_that_cannot_be_reached_is_named_by_its_reason() {
    let world = World::new();
    // It says something, and not TLS, to whoever connects.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = plain.local_addr().unwrap();
    std::thread::spawn(move || {
        plain.accept().and_then(|(mut stream, _)| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    });
    // An empty label is in no name, so nobody is asked for its address.
    let (nobody, _kept) = nobody();
    let unreachable = [nobody, "nobody..invalid:3000".to_owned(), format!("https://{address}")];
    for to in unreachable {
        let done = world.run(&["trigger", "meeting.started", "--to", &to]);
        assert_eq!((done.code(), done.errors().as_str()), (5, ""), "{to}");
        assert!(done.text().contains("hint: "), "{}", done.text());
    }
    let silent = Handler::scripted(Box::new(|_, stream| {
        // Answers nothing until the sender has gone.
        std::io::Read::read(stream, &mut [0; 1]).map(|_| ())
    }));
    let done = world.run(&["trigger", "meeting.started", "--timeout", "100ms", "--to", &silent.target()]);
    assert_eq!(done.code(), 5);
    assert!(done.text().contains("timeout"), "{}", done.text());
}

#[test]
fn a_body_over_the_limit_is_refused_and_said() {
    let world = World::new();
    let mut listening = world.listen(&["--max-body", "1K"]);
    let answer = exchange(&listening.address(), &request(b"/", &[], &[b' '; 1025])).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&answer));
    let error = listening.next("error");
    assert_eq!(
        (&error["code"], &error["hint"]),
        (&"body_too_large".into(), &"raise the limit with --max-body".into())
    );
    let done = world.run(&["trigger", "meeting.completed@long"]);
    assert_eq!(done.code(), 1);
    insta::with_settings!({filters => [(r"127\.0\.0\.1:\d+", "127.0.0.1:[PORT]")]}, {
        insta::assert_snapshot!(done.whole(), @r"
        exit: 1
        --- stdout
        --- stderr
        error: the running listen at http://127.0.0.1:[PORT]/ did not take the request: 413 a body over the limit of 1024 bytes was refused
        ");
    });
}

#[test]
fn a_working_directory_that_is_gone_is_said() {
    let world = World::new();
    for arguments in ["secret show", "deliveries list", "trigger meeting.started --to 9"] {
        let script = format!(
            "mkdir gone && cd gone && rmdir ../gone && exec {} {arguments}",
            env!("CARGO_BIN_EXE_mbaas-dev")
        );
        let output = Command::new("sh")
            .args(["-c", &script])
            .current_dir(world.folder())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("error: ") && said.lines().count() <= 2, "{arguments}: {said:?}");
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{arguments}");
    }
}

#[test]
fn commands_that_need_no_record_work_without_one() {
    let world = World::new();
    for arguments in [&["events", "list"][..], &["completions", "bash"], &["man"], &["deliveries", "list"]] {
        assert_eq!(world.run(arguments).code(), 0);
    }
    assert!(!world.folder().join(".mbaas-dev").exists());
}
