//! Flask, FastAPI with uvicorn, and Express: handlers as their users write them accept what we sign, and refuse what
//! is signed wrong. They come from `tests/handlers/` and run in the unchanged frameworks that `tests/run` installs.

use std::collections::BTreeMap;
use std::io::{BufRead, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mbaas_dev::model::Contract;
use mbaas_dev::signature::SignMode;
use serde_json::{Value, json};

use crate::assurance::Random;
use crate::canonical;
use crate::handler::{Handler, HeldPort};
use crate::world::{Background, Done, World};

const SECRET: &str = "your-webhook-secret-key";
const OTHER_SECRET: &str = "another-secret";
const PATH: &str = "/webhooks/meetingbaas";
const SEED: u64 = 0x6672_616d_6573;

/// What a shell, a printf format or a JSON writer might trip over.
const NASTY: &str =
    "it's \"so\" $HOME ${PATH} $(id) `id` \\ \\n \\\\ !! %s %% & | ; < > * ? ~ #\t\r\n'\u{7f}🎙️\u{2028}";

#[test]
fn every_event_and_variant_is_accepted_except_the_long_one_by_express() {
    let mut tally = Tally::default();
    for app in start_all() {
        let world = World::new();
        for event in every_event(&world) {
            let (code, delivery) = trigger(&world, &app, &[&event]);
            let too_long = app.framework == Framework::Express && event == "meeting.completed@long";
            let expected = if too_long { (3, 413) } else { (0, 200) };
            tally.hold((code, status(&delivery)) == expected && delivery["signature"] == "valid", || {
                format!("{:?} {event}: exit {code}, {delivery}", app.framework)
            });
        }
    }
    tally.end(3 * 25);
}

#[test]
fn bodies_of_every_contract_are_accepted_when_they_are_signed_for_preview() {
    let mut tally = Tally::default();
    for app in start_all() {
        let world = World::new();
        for contract in ["v1", "v2", "callback", "alert"] {
            assert_eq!(world.run(&["fixtures", "init", "--contract", contract]).code(), 0);
            for file in names_of(&world.folder().join("fixtures").join(contract)) {
                let path = format!("fixtures/{contract}/{file}");
                let (code, delivery) = trigger(&world, &app, &[&path, "--contract", "preview"]);
                let expected = match (contract, file.as_str()) {
                    // These handlers read what the Webhooks API page has: `event`, a transcript, a message.
                    ("alert", _)
                    | ("v1", "complete@no-transcription.json" | "failed@getting-started.json") => (3, 422),
                    ("v1", "complete@long.json") if app.framework == Framework::Express => (3, 413),
                    _ => (0, 200),
                };
                tally.hold((code, status(&delivery)) == expected && delivery["signature"] == "valid", || {
                    format!("{:?} {path}: exit {code}, {delivery}", app.framework)
                });
            }
        }
    }
    tally.end(3 * 240);
}

/// The names of the files in a folder.
fn names_of(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = names.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_express_refuses_for_its_length_comes_with_a_hint_at_the_limit() {
    let world = World::new();
    let app = Framework::Express.start();
    let done = world.run(&["trigger", "meeting.completed@long", "--to", &app.target(), "--secret", SECRET]);
    assert_eq!(done.code(), 3, "{}", done.whole());
    insta::with_settings!({ filters => [(r"\d+\.\d ms", "[TIME]"), (r" +\[TIME\]", " [TIME]"), (r"4\d\d\.\d KB", "[SIZE]")] }, {
        insta::assert_snapshot!(done.whole(), @r#"
        exit: 3
        --- stdout
        09:05:52.208  meeting.completed        #1      trigger   413 [TIME]  valid       [SIZE]  {"error":"request entity too large"}
                      hint: [SIZE] are more than the handler takes: Express stops at 100 KB unless told `express.json({ limit: '5mb' })`
        --- stderr
        "#);
    });
}

#[test]
fn every_way_of_signing_wrong_is_refused() {
    let mut tally = Tally::default();
    let wrong = |mode: &SignMode| !mode.is_right() && mode.check(Contract::Preview).is_ok();
    for app in start_all() {
        let world = World::new();
        for event in every_event(&world).iter().filter(|event| !event.contains('@')) {
            for mode in SignMode::ALL.into_iter().filter(wrong) {
                let (code, delivery) = trigger(&world, &app, &[event, "--sign", mode.as_str()]);
                let (verdict, reason) = match mode {
                    SignMode::Missing => ("missing", "missing signature"),
                    _ => ("invalid", "invalid signature"),
                };
                let answer = answer(&world, &delivery);
                let refused = (code, status(&delivery)) == (3, 401) && answer.contains(reason);
                tally.hold(refused && delivery["signature"] == verdict, || {
                    format!("{:?} {event} {mode}: exit {code}, {delivery}, {answer}", app.framework)
                });
            }
        }
    }
    tally.end(3 * 9 * 4);
}

#[test]
fn a_preview_signature_cannot_be_stale() {
    let done = World::new().run(&["trigger", "meeting.completed", "--to", "1", "--sign", "stale"]);
    insta::assert_snapshot!(done.whole(), @r"
    exit: 2
    --- stdout
    --- stderr
    error: a preview signature carries no time stamp, so it cannot be stale
    hint: a preview event can be signed valid, wrong-secret, tampered, missing, malformed
    ");
}

#[test]
fn through_listen_a_handler_is_reached_lost_and_reached_again() {
    for framework in Framework::ALL {
        let world = World::new();
        let port = HeldPort::take();
        let app = framework.spawn(SECRET, port.number()).ready();
        let mut listen = world.listen(&["--forward", &app.target(), "--secret", SECRET]);
        let mut run = |arguments: &[&str]| {
            let output = world.run_process(&[arguments, &["--json"]].concat());
            let delivery: Value = serde_json::from_slice(&output.stdout)
                .unwrap_or_else(|_| panic!("{framework:?} {arguments:?}: {output:?}"));
            let seen = listen.next("attempt");
            assert_eq!(seen["id"], delivery["id"], "both sides see the same delivery");
            assert_eq!(seen["attempts"], delivery["attempts"], "both sides see the same outcome");
            (output.status.code().unwrap(), delivery)
        };

        let (code, delivery) = run(&["trigger", "meeting.completed"]);
        assert_eq!((code, status(&delivery)), (0, 200), "{framework:?}: {delivery}");
        assert_eq!(delivery["signature"], "valid");

        drop(app);
        let (code, lost) = run(&["trigger", "meeting.completed"]);
        assert_eq!(code, 5, "{framework:?}: {lost}");
        assert_eq!(lost["attempts"][0]["error"], "refused", "{framework:?}: {lost}");
        let recorded = world.run(&["deliveries", "list", "--failed", "--json"]).objects();
        assert_eq!(recorded, std::slice::from_ref(&lost), "{framework:?}: it is recorded");

        let _again = framework.spawn(SECRET, port.number()).ready();
        let (code, replayed) = run(&["replay", "--failed"]);
        assert_eq!((code, status(&replayed)), (0, 200), "{framework:?}: {replayed}");
        assert_eq!(replayed["replay_of"], lost["id"]);

        let nothing = world.run(&["replay", "--failed"]);
        assert_eq!(nothing.code(), 0, "{}", nothing.whole());
        insta::allow_duplicates! {
            insta::assert_snapshot!(nothing.whole(), @r"
            exit: 0
            --- stdout
            --- stderr
            nothing to replay: no recorded delivery matches
            ");
        }
    }
}

#[test]
fn edited_bodies_are_accepted_and_say_what_was_asked_for() {
    let nasty = format!("data.message={NASTY}");
    let nasty_json = format!("data.message={}", json!(NASTY));
    let edits: &[(&[&str], &str)] = &[
        (&["--set", r#"data.error="access_denied""#], r#""error":"access_denied","#),
        (&["--set-string", "data.message=🎙️ \"quoted\" \\"], r#""message":"🎙️ \"quoted\" \\"}"#),
        (&["--set-string", &nasty], &json!(NASTY).to_string()),
        (&["--set", &nasty_json], &json!(NASTY).to_string()),
        (&["--set-string", "data.message={{ id('bot') }}"], r#""message":"{{ id('bot') }}"}"#),
        (&["--set", "data.new.list[0].deep=true"], r#","new":{"list":[{"deep":true}]}}"#),
        (&["--set", "data.new=[]", "--set", "data.new[0]=2.0"], r#","new":[2]}"#),
        (&["--set", "data.numbers=[2.0, 1e21, -0, 1e-7, 0.10, 1E400]"], "[2,1e+21,0,1e-7,0.1,null]"),
        (&["--set", r#"data.keys={"b":1,"2":2,"a":3,"1":4,"b":5}"#], r#"{"1":4,"2":2,"b":5,"a":3}"#),
        (&["--set", r#"data.text="\u0041\/\ud83d\u000a\u00e9""#], r#""text":"A/\ud83d\né"}"#),
        (&["--set", r#"data["odd.key"]=null"#], r#","odd.key":null}"#),
    ];
    for app in start_all() {
        let world = World::new();
        for (edit, expected) in edits {
            let (code, delivery) = trigger(&world, &app, &[&["meeting.failed"], *edit].concat());
            assert_eq!((code, status(&delivery)), (0, 200), "{:?} {edit:?}: {delivery}", app.framework);
            let body = recorded_body(&world, &delivery);
            assert!(body.contains(expected), "{edit:?}: {expected} is not in {body}");
        }
        let (code, delivery) = trigger(&world, &app, &["meeting.failed", "--unset", "data.message"]);
        assert_eq!((code, status(&delivery)), (3, 422), "{:?}: {delivery}", app.framework);
        assert!(answer(&world, &delivery).contains("missing data.message"), "{:?}", app.framework);
    }
}

#[test]
fn whatever_is_set_the_body_stays_canonical_so_that_every_framework_verifies_it() {
    const TOGETHER: usize = 8;
    let mut random = Random(SEED);
    let values: Vec<String> = (0..240).map(|_| canonical::source(&mut random)).collect();
    let mut tally = Tally::default();
    let mut arrived = Vec::new();
    for app in start_all() {
        let world = World::new();
        for values in values.chunks(TOGETHER) {
            let sets: Vec<String> =
                values.iter().enumerate().map(|(at, value)| format!("data.set.v{at}={value}")).collect();
            let edits = sets.iter().flat_map(|set| ["--set", set]);
            let arguments: Vec<&str> = std::iter::once("meeting.failed").chain(edits).collect();
            let (code, delivery) = trigger(&world, &app, &arguments);
            let accepted = (code, status(&delivery)) == (0, 200);
            for value in values {
                tally.hold(accepted, || format!("{:?} {value}", app.framework));
            }
            arrived.push(json!([recorded_body(&world, &delivery), values]));
        }
    }
    // What arrived is what JavaScript would have put there.
    let verdicts = ask_node(
        "([body, values]) => values.map((value, at) =>
            JSON.stringify(JSON.parse(body).data.set['v' + at]) === JSON.stringify(JSON.parse(value)))",
        &arrived,
    );
    for (verdicts, [body, values]) in verdicts.iter().zip(arrived.iter().map(|pair| [&pair[0], &pair[1]])) {
        for (verdict, value) in verdicts.as_array().unwrap().iter().zip(values.as_array().unwrap()) {
            tally.hold(*verdict == true, || format!("{value} is not in {body}"));
        }
    }
    tally.end(2 * 3 * 240);
}

#[test]
fn bytes_sent_raw_verify_where_bytes_are_verified() {
    let pretty = "{\n  \"event\": \"failed\",\n  \"data\": { \"bot_id\": \"b\", \"error\": \"e\", \"message\": \"m\" }\n}\n";
    for app in start_all() {
        let world = World::new();
        world.write("pretty.json", pretty);
        let (code, delivery) = trigger(&world, &app, &["pretty.json", "--raw"]);
        let expected = if app.framework == Framework::Express { (3, 401) } else { (0, 200) };
        assert_eq!((code, status(&delivery)), expected, "{:?}: {delivery}", app.framework);
        assert_eq!(delivery["signature"], "valid", "it is signed over the very bytes");
        assert_eq!(recorded_body(&world, &delivery), pretty);
        let (code, delivery) = trigger(&world, &app, &["pretty.json"]);
        assert_eq!((code, status(&delivery)), (0, 200), "{:?}, in canonical form: {delivery}", app.framework);
    }
}

#[test]
fn a_pasted_curl_command_is_accepted() {
    let nasty = format!("data.message={NASTY}");
    let events: [&[&str]; 3] =
        [&["meeting.completed"], &["meeting.completed@unicode"], &["meeting.failed", "--set-string", &nasty]];
    for app in start_all() {
        let world = World::new();
        let mut listen = world.listen(&["--forward", &app.target(), "--secret", SECRET]);
        for event in events {
            let to = ["--curl", "--to", &app.target(), "--secret", SECRET];
            let command = world.run(&[&["trigger"], event, &to].concat()).text();
            assert_eq!(accepted_by_shell(&world, &command), Ok(()), "{:?}: {command}", app.framework);

            // Without --to it goes to the running listen, and so does what is shown of the record.
            let command = world.run(&[&["trigger"], event, &["--curl"]].concat()).text();
            assert_eq!(accepted_by_shell(&world, &command), Ok(()), "{:?}: {command}", app.framework);
            let first = listen.next("attempt");
            let command = world.run(&["deliveries", "show", first["id"].as_str().unwrap(), "--curl"]).text();
            assert_eq!(accepted_by_shell(&world, &command), Ok(()), "{:?}: {command}", app.framework);
            let second = listen.next("attempt");
            assert_eq!((&second["signature"], status(&second)), (&json!("valid"), 200), "{command}");
            assert_eq!(recorded_body(&world, &second), recorded_body(&world, &first));
        }
    }
}

#[test]
fn a_pasted_curl_command_sends_any_bytes() {
    let world = World::new();
    let handler = Handler::start();
    let every_byte: Vec<u8> = (0..=255).collect();
    for body in [&every_byte, NASTY.as_bytes(), b"@pretty.json", b"'", b"\n", b"", b"nul\0", b"-", b"\\'\\"] {
        world.write("body.json", body);
        let command =
            world.run(&["trigger", "body.json", "--raw", "--curl", "--to", &handler.target()]).text();
        assert_eq!(accepted_by_shell(&world, &command), Ok(()), "{command}");
        let request = handler.next();
        assert_eq!(request.line, "POST / HTTP/1.1");
        assert_eq!(request.body, body, "{command}");
        let signature = format!(
            "X-MeetingBaas-Signature: {}",
            String::from_utf8_lossy(request.header("x-meetingbaas-signature").unwrap())
        );
        let verified = world.run_with_input(&["verify", "-", "--header", &signature], body);
        assert_eq!(verified.code(), 0, "{command}");
    }
}

#[test]
fn what_print_shows_is_a_request_that_verifies() {
    for app in start_all() {
        let world = World::new();
        for event in ["meeting.completed", "meeting.completed@unicode", "calendar.synced"] {
            let to = ["--print", "--to", &app.target(), "--secret", SECRET];
            let done = world.run(&[&["trigger", event], to.as_slice()].concat());
            let text = done.text();
            let (head, body) = text.split_once("\n\n").unwrap();
            let head = format!("{head}\nConnection: close").replace('\n', "\r\n");
            let mut stream = TcpStream::connect(("127.0.0.1", app.port)).unwrap();
            write!(stream, "{head}\r\n\r\n{body}").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{:?}: {answer}\n{text}", app.framework);
        }
    }
}

#[test]
fn a_replay_is_signed_for_the_secret_that_counts_now() {
    for framework in Framework::ALL {
        let world = World::new();
        let app = framework.spawn(OTHER_SECRET, 0).ready();
        let (code, recorded) = trigger(&world, &app, &["meeting.completed"]);
        assert_eq!((code, status(&recorded)), (3, 401), "{framework:?}: it is signed for another secret");

        let replay = ["replay", "1", "--to", &app.target(), "--secret", OTHER_SECRET, "--json"];
        let done = world.run(&replay);
        let replayed = &done.objects()[0];
        assert_eq!((done.code(), status(replayed)), (0, 200), "{framework:?}: {replayed}");
        assert_eq!((&replayed["signature"], &replayed["replay_of"]), (&json!("valid"), &recorded["id"]));
        assert_eq!(recorded_body(&world, replayed), recorded_body(&world, &recorded));

        let done = world.run(&[replay.as_slice(), &["--raw"]].concat());
        let replayed = &done.objects()[0];
        assert_eq!((done.code(), status(replayed)), (3, 401), "{framework:?}: {replayed}");
        assert_eq!((&replayed["signature"], &replayed["replay_of"]), (&json!("invalid"), &recorded["id"]));
    }
}

#[test]
fn a_signature_is_what_the_page_computes_in_python() {
    let mut random = Random(SEED);
    let pairs: Vec<(String, Vec<u8>)> = (0..200).map(|_| (secret(&mut random), bytes(&mut random))).collect();
    let input: String =
        pairs.iter().map(|(secret, body)| format!("{}\n", json!([secret, hex::encode(body)]))).collect();
    let python = "import hashlib, hmac, json, sys
for line in sys.stdin:
    secret, body = json.loads(line)
    print(hmac.new(secret.encode(), bytes.fromhex(body), hashlib.sha256).hexdigest())";
    let output = pipe(Command::new(tools().join("venv/bin/python")).args(["-c", python]), &input);

    let world = World::new();
    let mut tally = Tally::default();
    for ((secret, body), expected) in pairs.iter().zip(output.lines()) {
        let secret = format!("--secret={secret}");
        let signed = world.run_with_input(&["sign", "-", &secret], body);
        let header = format!("X-MeetingBaas-Signature: {expected}");
        tally.hold(signed.text() == format!("{header}\n"), || {
            format!("{secret} {body:?}: {}", signed.whole())
        });

        let verify = ["verify", "-", "--header", &header, &secret];
        let done = world.run_with_input(&verify, body);
        tally.hold(done.whole() == "exit: 0\n--- stdout\nvalid\n--- stderr\n", || done.whole());
        let done = world.run_with_input(&verify, &changed(&mut random, body));
        tally.hold(done.whole() == "exit: 4\n--- stdout\ninvalid\n--- stderr\n", || done.whole());
    }
    tally.end(3 * 200);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framework {
    Flask,
    FastApi,
    Express,
}

/// A handler that starts, or runs; killed when dropped.
struct App {
    framework: Framework,
    port: u16,
    process: Background,
}

impl Framework {
    const ALL: [Self; 3] = [Self::Flask, Self::FastApi, Self::Express];

    fn start(self) -> App {
        self.spawn(SECRET, 0).ready()
    }

    /// Starts a handler with a secret, on a port or on any free one.
    fn spawn(self, secret: &str, port: u16) -> App {
        let tools = tools();
        let (program, script) = match self {
            Self::Flask => (tools.join("venv/bin/python"), "flask_handler.py"),
            Self::FastApi => (tools.join("venv/bin/python"), "fastapi_handler.py"),
            Self::Express => ("node".into(), "express_handler.mjs"),
        };
        let mut command = Command::new(program);
        command.arg(root().join("tests/handlers").join(script)).env("MBAAS_TEST_TOOLS", tools);
        let environment = BTreeMap::from([("WEBHOOK_SECRET", secret.to_owned()), ("PORT", port.to_string())]);
        App { framework: self, port, process: Background::start(&mut command, &environment) }
    }
}

impl App {
    /// Waits until it listens.
    fn ready(mut self) -> Self {
        let mut line = String::new();
        self.process.stdout.read_line(&mut line).unwrap();
        let port = line.trim_end().strip_prefix("READY ");
        self.port =
            port.unwrap_or_else(|| panic!("{:?} did not start: {line:?}", self.framework)).parse().unwrap();
        self
    }

    fn target(&self) -> String {
        format!("127.0.0.1:{}{PATH}", self.port)
    }
}

/// A handler in each framework. They start at the same time.
fn start_all() -> [App; 3] {
    Framework::ALL.map(|framework| framework.spawn(SECRET, 0)).map(App::ready)
}

/// Counts what was tried, and collects what went wrong.
#[derive(Default)]
pub struct Tally {
    inputs: usize,
    violations: Vec<String>,
}

impl Tally {
    pub fn hold(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        self.inputs += 1;
        if !holds {
            self.violations.push(otherwise());
        }
    }

    pub fn end(self, expected: usize) {
        println!("inputs={} violations={}", self.inputs, self.violations.len());
        assert!(self.violations.is_empty(), "{:#?}", &self.violations[..self.violations.len().min(10)]);
        assert!(self.inputs >= expected, "{} inputs are fewer than {expected}", self.inputs);
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder with the frameworks.
pub fn tools() -> PathBuf {
    let given = std::env::var_os("MBAAS_TEST_TOOLS").map(PathBuf::from);
    let tools = given.unwrap_or_else(|| root().join("target/test-tools"));
    for needed in ["venv/bin/python", "node/node_modules/express"] {
        assert!(
            tools.join(needed).exists(),
            "Flask, FastAPI and Express are not in {}: run `tests/run`, which installs them, or `tests/run --tools`",
            tools.display()
        );
    }
    tools
}

/// The name of every event of the preview contract and of every variant.
fn every_event(world: &World) -> Vec<String> {
    let mut names = Vec::new();
    for event in world.run(&["events", "list", "--contract", "preview", "--json"]).objects() {
        let name = event["event_type"].as_str().unwrap();
        names.push(name.to_owned());
        names.extend(
            event["variants"].as_array().unwrap().iter().map(|variant| format!("{name}@{}", text(variant))),
        );
    }
    let files = std::fs::read_dir(root().join("fixtures/preview")).unwrap().count();
    assert_eq!(names.len(), files, "each file is an event or a variant: {names:?}");
    names
}

/// Triggers an event straight to a handler; the exit code and the recorded delivery.
fn trigger(world: &World, app: &App, arguments: &[&str]) -> (u8, Value) {
    let to = ["--to", &app.target(), "--secret", SECRET, "--json"];
    let done = world.run(&[&["trigger"], arguments, &to].concat());
    (done.code(), only_object(&done))
}

fn only_object(done: &Done) -> Value {
    let [object] = done.objects().try_into().unwrap_or_else(|_| panic!("not one object: {}", done.whole()));
    object
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a string"))
}

/// The status of the only attempt; 0 when there was no answer.
fn status(delivery: &Value) -> u64 {
    delivery["attempts"][0]["status"].as_u64().unwrap_or_default()
}

fn recorded_body(world: &World, delivery: &Value) -> String {
    world.run(&["deliveries", "show", text(&delivery["id"]), "--body"]).text()
}

/// The body of what the handler answered.
fn answer(world: &World, delivery: &Value) -> String {
    let shown = world.run(&["deliveries", "show", text(&delivery["id"]), "--json"]);
    text(&only_object(&shown)["attempts"][0]["body"]).to_owned()
}

/// Runs a command as a user who pasted it; what went wrong, if the handler did not say that all is well.
fn accepted_by_shell(world: &World, command: &str) -> Result<(), String> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(world.folder()).stdin(Stdio::null()).env_clear();
    let output =
        shell.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", world.folder()).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).replace(' ', "");
    let accepted = output.status.success() && stdout.trim() == r#"{"status":"success"}"#;
    accepted.then_some(()).ok_or_else(|| format!("{output:?}"))
}

/// What a JavaScript function says to each value, by one process of Node.js.
pub fn ask_node(function: &str, inputs: &[Value]) -> Vec<Value> {
    let script = format!(
        "const answer = {function};
        const lines = require('fs').readFileSync(0, 'utf8').trimEnd().split('\\n');
        process.stdout.write(JSON.stringify(lines.map((line) => answer(JSON.parse(line)))));"
    );
    let input: String = inputs.iter().map(|input| format!("{input}\n")).collect();
    let answers: Vec<Value> =
        serde_json::from_str(&pipe(Command::new("node").args(["-e", &script]), &input)).unwrap();
    assert_eq!(answers.len(), inputs.len(), "Node.js answers each input");
    answers
}

/// Runs a program that reads its input to the end before it writes much; its output.
pub fn pipe(command: &mut Command, input: &str) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A secret of any characters, and at least one.
fn secret(random: &mut Random) -> String {
    const PIECES: [&str; 12] = ["a", "Z", "0", " ", "-", "=", "\"", "\\", "é", "秘密", "🔑", "\u{2028}"];
    (0..=random.below(100)).map(|_| random.pick(&PIECES)).collect()
}

fn bytes(random: &mut Random) -> Vec<u8> {
    (0..random.below(3000)).map(|_| u8::try_from(random.below(256)).unwrap()).collect()
}

/// A body that differs in one bit, or by one byte when it has none.
fn changed(random: &mut Random, body: &[u8]) -> Vec<u8> {
    let mut changed = body.to_vec();
    if changed.is_empty() {
        return vec![b' '];
    }
    let at = random.below(changed.len());
    changed[at] ^= 1 << random.below(8);
    changed
}
