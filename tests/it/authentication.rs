//! Every contract's authentication on the wire: heads as each sender writes them, secrets of their own, verdicts,
//! replays, and nothing of a credential on disk.

use std::process::Command;

use serde_json::{Value, json};

use crate::assurance::report;
use crate::handler::{Handler, RawRequest};
use crate::world::{Done, World};

const PLAIN: &str = "s3cret";
const WHSEC: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const OTHER_WHSEC: &str = "whsec_b2xkLXNlY3JldC1vbGQtc2VjcmV0LW9sZC1zZWNyZXQ=";
const FAILED: &str =
    r#"{"event":"bot.failed","data":{"bot_id":"7c0e7a52-4d1b-4a86-9f0e-2b6d5a1c9e33"},"extra":null}"#;
const STATUS: &str = r#"{"event":"bot.status_change","data":{"bot_id":"7c0e7a52-4d1b-4a86-9f0e-2b6d5a1c9e33","status":{"code":"joining_call"}}}"#;
const ALERT: &str = r#"{"alert_rule_id":"7","message":"webhook_delivery_exhausted"}"#;

/// A project with bodies, since these contracts need no fixtures to be signed for.
fn world() -> World {
    let world = World::new();
    for (name, body) in [("failed.json", FAILED), ("status.json", STATUS), ("alert.json", ALERT)] {
        world.write(name, body);
    }
    world
}

/// A request as it stood on the wire, with what is different each time put in brackets.
fn head(request: &RawRequest) -> String {
    let lines = request.headers.iter().map(|(name, value)| {
        let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        let value = match name.to_ascii_lowercase().as_str() {
            "host" => "[HOST]".into(),
            "user-agent" if value.starts_with("mbaas-dev/") => "mbaas-dev/[VERSION]".into(),
            _ => value,
        };
        format!("{name}: {value}\n")
    });
    format!("{}\n{}", request.line, lines.collect::<String>())
}

fn object(done: &Done) -> Value {
    let [object] = done.objects().try_into().unwrap_or_else(|_| panic!("{}", done.whole()));
    object
}

#[test]
fn each_contract_is_sent_with_the_head_of_its_sender() {
    let (world, handler) = (world(), Handler::start());
    let mut heads = String::new();
    for arguments in [
        &["failed.json", "--contract", "v2", "--secret", WHSEC][..],
        &["failed.json", "--contract", "v2", "--secret", WHSEC, "--header-style", "standard"],
        &["failed.json", "--contract", "v2", "--secret", WHSEC, "--secret", OTHER_WHSEC],
        &["failed.json", "--contract", "v1", "--secret", PLAIN],
        &["status.json", "--contract", "v1", "--secret", PLAIN],
        &["failed.json", "--contract", "callback", "--secret", PLAIN],
        &["failed.json", "--contract", "callback", "--secret", PLAIN, "--method", "PUT"],
        &["alert.json", "--contract", "alert", "--secret", PLAIN],
    ] {
        let done = world.run(&[&["trigger"], arguments, &["--json", "--to", &handler.target()]].concat());
        assert_eq!((done.code(), &object(&done)["signature"]), (0, &json!("valid")), "{}", done.whole());
        let words: Vec<&str> = arguments.iter().filter(|word| !word.starts_with("whsec")).copied().collect();
        heads += &format!("$ {}\n{}\n", words.join(" "), head(&handler.next()));
    }
    insta::assert_snapshot!(heads);
}

#[test]
fn through_listen_the_head_and_the_verdict_are_the_same() {
    let (world, handler) = (world(), Handler::start());
    let secrets = ["--secret", &format!("v2={WHSEC}"), "--secret", &format!("callback={PLAIN}")];
    let mut listen = world.listen(&[&["--forward", &handler.target()], &secrets[..]].concat());
    for (contract, body) in [("v2", "failed.json"), ("callback", "failed.json"), ("v1", "status.json")] {
        let direct = ["trigger", body, "--contract", contract, "--to", &handler.target()];
        assert_eq!(world.run(&[&direct[..], &secrets].concat()).code(), 0);
        let straight = head(&handler.next());
        // The secrets are those of the running listen.
        let done = world.run_process(&["trigger", body, "--contract", contract]);
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        let kept = |head: &str| -> Vec<String> {
            head.lines().map(|line| line.split(": ").next().unwrap().to_owned()).collect()
        };
        assert_eq!(kept(&head(&handler.next())), kept(&straight), "{contract}");
        assert_eq!(listen.next("attempt")["signature"], "valid", "{contract}");
    }
}

#[test]
fn what_a_sender_sends_again_is_a_delivery_of_its_own_each_time() {
    let (world, handler) = (world(), Handler::start());
    handler.become_(crate::handler::answer(500, &[], b"no"));
    let listen = world.listen(&["--forward", &handler.target(), "--secret", &format!("v2={WHSEC}")]);
    let sent = ["trigger", "failed.json", "--contract", "v2", "--secret", WHSEC];
    assert_eq!(world.run_process(&sent).status.code(), Some(3));
    // The same message to the byte, as a sender does that was not answered with 2xx.
    let first = handler.next();
    let mut head = format!("{}\r\n", first.line);
    for (name, value) in &first.headers {
        head += &format!("{}: {}\r\n", String::from_utf8_lossy(name), String::from_utf8_lossy(value));
    }
    let tries = 20;
    for _ in 0..tries {
        let mut stream = std::net::TcpStream::connect(listen.address()).unwrap();
        let close = "Connection: close\r\n\r\n";
        std::io::Write::write_all(&mut stream, format!("{head}{close}{}", first.body_text()).as_bytes())
            .unwrap();
        let mut answered = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answered).unwrap();
        assert!(answered.starts_with("HTTP/1.1 500 "), "{answered}");
        assert_eq!(handler.next().header("svix-id"), first.header("svix-id"));
    }
    let listed = world.run(&["deliveries", "list", "--json", "--limit", "100"]).objects();
    let shown = listed.iter().filter(|object| object["signature"] == "valid").count();
    report("P3", tries, (tries + 1).abs_diff(shown));
    assert_eq!(shown, tries + 1);
}

#[test]
fn strict_refuses_what_is_not_authenticated_in_every_contract() {
    let (world, handler) = (world(), Handler::start());
    let secrets = ["--secret", PLAIN, "--secret", &format!("v2={WHSEC}")];
    let listen =
        world.listen(&[&["--forward", &handler.target(), "--verify", "strict"], &secrets[..]].concat());
    let mut inputs = 0;
    for (contract, modes) in [
        ("v2", &["wrong-secret", "tampered", "missing", "malformed", "stale", "future", "missing-id"][..]),
        ("v2", &["missing-timestamp", "missing-signature"]),
        ("preview", &["wrong-secret", "tampered", "missing", "malformed"]),
        ("v1", &["wrong-secret", "missing", "malformed"]),
        ("callback", &["wrong-secret", "missing", "malformed"]),
        ("alert", &["wrong-secret", "missing", "malformed"]),
    ] {
        for mode in modes {
            let arguments = ["trigger", "failed.json", "--contract", contract, "--sign", mode, "--json"];
            let done = world.run_process(&arguments);
            assert_eq!(done.status.code(), Some(3), "{contract} {mode}: {done:?}");
            let delivery: Value = serde_json::from_slice(&done.stdout).unwrap();
            assert_eq!(delivery["not_forwarded"], "signature", "{contract} {mode}: {delivery}");
            inputs += 1;
        }
        let done = world.run_process(&["trigger", "failed.json", "--contract", contract]);
        assert_eq!(done.status.code(), Some(0), "{contract}: {done:?}");
    }
    let done = world.run_process(&["trigger", "failed.json", "--contract", "v2", "--sign", "rotated"]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(handler.drain().len(), 7, "only what was right got through");
    drop(listen);
    report("S21", inputs, 0);
}

#[test]
fn a_replay_is_a_new_message_unless_it_keeps_its_id() {
    let (world, handler) = (world(), Handler::start());
    let (to, secrets) =
        (handler.target(), ["--secret", &format!("v2={WHSEC}"), "--secret", &format!("v1={PLAIN}")]);
    let run = |arguments: &[&str]| {
        let done = world.run(&[arguments, &["--to", &to, "--json"], &secrets[..]].concat());
        assert_eq!((done.code(), &object(&done)["signature"]), (0, &json!("valid")), "{}", done.whole());
        (handler.next(), done.errors())
    };
    let id = |request: &RawRequest| request.header("svix-id").unwrap().to_vec();
    let first = run(&["trigger", "failed.json", "--contract", "v2"]).0;
    let new = run(&["replay", "1"]).0;
    let same = run(&["replay", "1", "--keep-id"]).0;
    assert_ne!(id(&new), id(&first));
    assert_eq!(id(&same), id(&first));
    let edited = run(&["replay", "1", "--set", "data.error_code=\"X\""]).0;
    assert_eq!(edited.header("content-length").unwrap(), edited.body.len().to_string().as_bytes());
    let names =
        |request: &RawRequest| request.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&new), names(&first), "each field stands where it stood");

    // The credential of v1 was never recorded; it comes again from the secret.
    let first = run(&["trigger", "status.json", "--contract", "v1"]).0;
    let (again, errors) = run(&["replay", "5", "--keep-id"]);
    assert_eq!(again.headers, first.headers);
    assert_eq!(errors, "note: #5 has no message id that could be kept\n");
    let done = world.run(&["replay", "5", "--raw", "--to", &to, "--json", "--secret", PLAIN]);
    assert_eq!(object(&done)["signature"], "missing", "{}", done.whole());
    assert_eq!(handler.next().header("x-meeting-baas-api-key"), None);
}

#[test]
fn a_secret_that_v2_cannot_have_is_refused_with_how_to_make_one() {
    let world = world();
    let refused = |arguments: &[&str]| {
        let done = world.run(arguments);
        assert_eq!(done.code(), 2, "{arguments:?}: {}", done.whole());
        done.errors()
    };
    let said = refused(&["trigger", "bot.failed", "--contract", "v2", "--secret", PLAIN, "--print"]);
    insta::assert_snapshot!(said, @r"
    error: the secret from --secret is not a v2 secret, which begins with `whsec_`
    hint: `mbaas-dev secret new --contract v2` makes one for this project; that of a real endpoint is `whsec_` and base64 as well, and is given with `--secret v2=whsec_…`
    ");
    for arguments in [
        &["sign", "failed.json", "--contract", "v2", "--secret", PLAIN][..],
        &["verify", "failed.json", "--contract", "v2", "--secret", PLAIN],
        &["secret", "show", "--contract", "v2", "--secret", PLAIN],
    ] {
        assert_eq!(refused(arguments), said, "{arguments:?}");
    }
    let broken = refused(&["sign", "failed.json", "--contract", "v2", "--secret", "whsec_s3cret!"]);
    assert!(
        broken.starts_with("error: the secret from --secret is not a v2 secret: what follows"),
        "{broken}"
    );

    // The way out that is shown is one.
    world.write("webhook_config.json", r#"{"webhook_url": "https://x.test", "secret": "plain"}"#);
    assert!(refused(&["sign", "failed.json", "--contract", "v2"]).contains("webhook_config.json"));
    let made = world.run(&["secret", "new", "--contract", "v2"]);
    assert!(made.text().starts_with("whsec_"), "{}", made.whole());
    assert_eq!(world.run(&["secret", "show", "--contract", "v2"]).text(), made.text());
    assert_eq!(world.run(&["secret", "show"]).text(), "plain\n");
    assert_eq!(world.run(&["sign", "failed.json", "--contract", "v2"]).code(), 0);
    let hexadecimal = world.run(&["secret", "new", "--contract", "callback"]).text();
    assert!(hexadecimal.trim_end().len() == 64, "{hexadecimal}");
    assert_eq!(world.run(&["secret", "show", "--contract", "callback"]).text(), hexadecimal);
}

#[test]
fn secrets_of_contracts_come_from_the_settings_and_the_environment() {
    let world = world();
    world.write(
        "mbaas-dev.toml",
        format!("[secrets]\nv2 = [\"{WHSEC}\", \"{OTHER_WHSEC}\"]\ncallback = \"toml\"\n"),
    );
    let show = |contract: &str, environment: &[(&str, &str)]| {
        let mut command: Command = world.command(&["secret", "show", "--contract", contract, "--json"]);
        let output = command.envs(environment.iter().copied()).output().unwrap();
        let object: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        (object["secret"].as_str().unwrap().to_owned(), object["source"].as_str().unwrap().to_owned())
    };
    let file = world.folder().join("mbaas-dev.toml").display().to_string();
    let for_all = ("MBAAS_DEV_SECRET", "all");
    assert_eq!(show("v2", &[for_all]), (WHSEC.to_owned(), file.clone()));
    assert_eq!(show("callback", &[for_all]), ("toml".to_owned(), file));
    assert_eq!(show("alert", &[for_all]), ("all".to_owned(), "MBAAS_DEV_SECRET".to_owned()));
    let of_callback = ("MBAAS_DEV_SECRET_CALLBACK", "env");
    assert_eq!(show("callback", &[of_callback]), ("env".to_owned(), "MBAAS_DEV_SECRET_CALLBACK".to_owned()));
    let signed = world.run(&["sign", "failed.json", "--contract", "v2"]).text();
    assert_eq!(signed.matches("v1,").count(), 2, "both secrets sign: {signed}");

    for (text, told) in [
        (
            "[secrets]\nv3 = \"x\"",
            "2:1: `v3` is not a contract; there are preview, v1, v2, callback and alert",
        ),
        ("[secrets]\nv2 = 7", "2:6: `secrets.v2` must be a text that is not empty, or a list of them"),
        ("[secrets]\nv2 = []", "2:6: `secrets.v2` must be a text that is not empty, or a list of them"),
        ("[secrets]\nv2 = \"\"", "2:6: `secrets.v2` must be a text that is not empty, or a list of them"),
        ("secrets = 1", "1:11: `secrets` is a table: `[secrets]` and below it `v2 = \"whsec_…\"`"),
    ] {
        world.write("mbaas-dev.toml", text);
        let done = world.run(&["sign", "failed.json", "--contract", "v2"]);
        let expected = format!("error: {}/mbaas-dev.toml:{told}\n", world.folder().display());
        assert_eq!((done.code(), done.errors()), (2, expected), "{text}");
    }
}

#[test]
fn no_credential_of_any_contract_is_on_disk_or_shown() {
    let (world, handler) = (world(), Handler::start());
    for (contract, secret) in [
        ("v1", "canary-of-v1"),
        ("callback", "canary-of-callback"),
        ("alert", "canary-of-alert"),
        ("v2", WHSEC),
    ] {
        let secret = format!("{contract}={secret}");
        let arguments = ["trigger", "failed.json", "--contract", contract, "--to", &handler.target()];
        assert_eq!(world.run(&[&arguments[..], &["--secret", &secret]].concat()).code(), 0);
    }
    let mut inputs = 0;
    let mut shown =
        vec![world.run(&["deliveries", "export"]), world.run(&["deliveries", "export", "--no-redact"])];
    for number in ["1", "2", "3", "4"] {
        shown.push(world.run(&["deliveries", "show", number]));
        shown.push(world.run(&["deliveries", "show", number, "--json"]));
        shown.push(world.run(&["deliveries", "show", number, "--curl"]));
    }
    for done in shown {
        inputs += 1;
        let whole = done.whole();
        assert!(!whole.contains("canary") && !whole.contains(WHSEC), "{whole}");
    }
    for entry in std::fs::read_dir(world.folder().join(".mbaas-dev")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        inputs += 1;
        let found = [&b"canary"[..], WHSEC.as_bytes()]
            .iter()
            .any(|canary| bytes.windows(canary.len()).any(|window| window == *canary));
        assert!(!found, "{}", path.display());
    }
    println!("inputs={inputs} violations=0");
}

#[test]
fn of_a_credential_that_is_not_on_disk_only_the_verdict_of_its_arrival_is_known() {
    let (world, handler) = (world(), Handler::start());
    let to = handler.target();
    for mode in ["valid", "wrong-secret", "missing"] {
        let trigger = ["trigger", "failed.json", "--contract", "callback", "--sign", mode, "--to", &to];
        drop(world.run(&[&trigger[..], &["--secret", PLAIN]].concat()));
    }
    let said = |arguments: &[&str]| world.run(arguments).whole();
    insta::assert_snapshot!(said(&["verify", "#1"]), @r"
    exit: 0
    --- stdout
    valid
    --- stderr
    note: what authenticates #1 is not on disk, so this is what was found when it arrived
    ");
    insta::assert_snapshot!(said(&["verify", "#2", "--json"]), @r#"
    exit: 4
    --- stdout
    {"v":1,"contract":"callback","signature":"invalid","as_of_arrival":true}
    --- stderr
    note: what authenticates #2 is not on disk, so this is what was found when it arrived
    "#);
    insta::assert_snapshot!(said(&["verify", "#1", "--secret", "another"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: #1 cannot be checked against another secret: what it was authenticated with is not on disk
    hint: without --secret, `verify` says what was found when it arrived
    ");
    // Nothing is masked where nothing was.
    assert_eq!(world.run(&["verify", "#3", "--contract", "callback", "--secret", PLAIN]).text(), "missing\n");
}

#[test]
fn the_time_stamp_of_a_recorded_message_is_held_against_the_time_of_its_arrival() {
    let (world, handler) = (world(), Handler::start());
    let to = handler.target();
    let secrets = ["--secret", WHSEC];
    let trigger = ["trigger", "failed.json", "--contract", "v2", "--to", &to];
    assert_eq!(world.run(&[&trigger[..], &secrets].concat()).code(), 0);
    assert_eq!(world.run(&[&["verify", "#1"], &secrets[..]].concat()).text(), "valid\n");
    for (at, verdict) in [("2026-11-24T09:10:52Z", "valid\n"), ("2026-11-24T09:10:53Z", "invalid\n")] {
        assert_eq!(
            world.run(&[&["verify", "#1", "--at", at], &secrets[..]].concat()).text(),
            verdict,
            "{at}"
        );
    }
    // The real clock is far from the one of this test.
    let output = world.run_process(&[&["verify", "#1"], &secrets[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn verify_explains_in_one_sentence_with_the_fix() {
    let world = world();
    world.write("spaced.json", FAILED.replace(':', ": ").replace(',', ", "));
    world.write("ended.json", format!("{FAILED}\n"));
    let sign = |arguments: &[&str]| -> Vec<String> {
        let signed = world.run(&[&["sign", "failed.json"], arguments].concat()).text();
        signed.lines().flat_map(|line| ["--header".to_owned(), line.to_owned()]).collect()
    };
    let v2 = ["--contract", "v2", "--secret", WHSEC];
    let preview = ["--contract", "preview", "--secret", PLAIN];
    let headers = sign(&v2);
    let hexadecimal = sign(&preview);
    let without_id: Vec<String> = headers[2..].to_vec();
    let base64 = "X-MeetingBaas-Signature: v1,AAAA".to_owned();
    let mut transcript = String::new();
    for (what, file, headers, secrets) in [
        ("as it is", "failed.json", &headers, &v2),
        ("written again", "spaced.json", &headers, &v2),
        ("a line feed", "ended.json", &hexadecimal, &preview),
        ("no id", "failed.json", &without_id, &v2),
        ("five minutes later", "failed.json", &headers, &v2),
        ("another contract", "failed.json", &headers, &preview),
        ("no signature", "failed.json", &vec!["--header".to_owned(), base64], &preview),
        ("nothing", "failed.json", &vec![], &preview),
        ("another secret", "failed.json", &hexadecimal, &["--contract", "preview", "--secret", "other"]),
    ] {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let at: &[&str] = if what.starts_with("five") { &["--at", "2026-11-24T09:10:53Z"] } else { &[] };
        let done = world.run(&[&["verify", file, "--explain"], &headers[..], secrets, at].concat());
        assert_eq!(done.code(), if what == "as it is" { 0 } else { 4 }, "{what}: {}", done.whole());
        assert_eq!(done.errors(), "", "{what}");
        transcript += &format!("{what}:\n{}\n", done.text());
    }
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let json = world.run(&[&["verify", "spaced.json", "--explain", "--json"], &headers[..], &v2].concat());
    transcript += &format!("as JSON:\n{}", json.text());
    insta::assert_snapshot!(transcript);
}

#[test]
fn listen_says_why_what_arrives_does_not_verify_and_the_record_keeps_it() {
    let (world, handler) = (world(), Handler::start());
    world.write("mbaas-dev.toml", format!("[secrets]\nv2 = \"{WHSEC}\"\ncallback = \"{PLAIN}\"\n"));
    let mut listen = world.listen(&["--forward", &handler.target(), "--secret", "preview=p"]);
    let mut notes = String::new();
    let mut note = |what: &str, headers: &[(&str, &str)], body: &str| {
        let mut request =
            format!("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        let mut stream = std::net::TcpStream::connect(listen.address()).unwrap();
        std::io::Write::write_all(&mut stream, format!("{request}\r\n{body}").as_bytes()).unwrap();
        drop(std::io::Read::read_to_end(&mut stream, &mut Vec::new()));
        let seen = listen.next("attempt");
        notes += &format!("{what}: {}\n  {}\n", seen["signature"].as_str().unwrap(), seen["signature_note"]);
    };
    note("the secret of callbacks for alerts", &[("x-mb-alert-secret", PLAIN)], ALERT);
    note("an HMAC for a secret", &[("x-mb-secret", &"00".repeat(32))], FAILED);
    note(
        "an old time stamp",
        &[("svix-id", "msg_1"), ("svix-timestamp", "1"), ("svix-signature", "v1,AAAA")],
        FAILED,
    );
    note("no time stamp", &[("svix-id", "msg_1"), ("svix-signature", "v1,AAAA")], FAILED);
    note("upper case", &[("X-MeetingBaas-Signature", &"AB".repeat(32))], FAILED);
    note("nothing", &[], r#"{"event":"complete","data":{}}"#);
    let large = format!("{{\"event\":\"complete\",\"data\":\"{}\"}}", "x".repeat(40_000));
    note("too large to be looked into in passing", &[("X-MeetingBaas-Signature", &"ab".repeat(32))], &large);
    insta::assert_snapshot!(notes.replace(world.folder().to_str().unwrap(), "[FOLDER]"));
    let shown = world.run(&["deliveries", "show", "1"]).text();
    let hint = "  hint: another secret fits that is known here, the one for callback from";
    assert!(shown.contains(hint), "{shown}");
    let explained = world.run(&["verify", "#1", "--explain"]);
    assert!(explained.text().starts_with("invalid\nanother secret fits"), "{}", explained.whole());
    let moved = World::new();
    let exported = world.run(&["deliveries", "export"]).stdout;
    assert_eq!(moved.run_with_input(&["deliveries", "import", "-"], &exported).code(), 0);
    assert!(moved.run(&["deliveries", "show", "1"]).text().contains(hint));
}
