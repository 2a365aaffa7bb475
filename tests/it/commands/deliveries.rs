//! `deliveries list` and `deliveries show`.

use std::process::{Command, Stdio};

use mbaas_dev::cli::{self, Context, Exit, Output};
use mbaas_dev::model::Clock;
use serde_json::Value;

use super::super::handler::{Handler, RawRequest, nobody};
use super::super::world::World;
use super::{Transcript, assert_is_delivery, exchange, obliging, request, target};

const BINARY: &[u8] = b"\xff\0\x1b[31mbinary";

/// A record with a bit of everything; the newest has the highest number.
fn recorded() -> (World, Handler) {
    let (world, handler) = (World::new(), obliging());
    world.write("binary.bin", BINARY);
    world.write("text.txt", "first line\n\tsecond\r\nthird");
    world.write("empty.json", "");
    let at = |path: &str| target(&handler, path);
    let (nobody, _kept) = nobody();
    for arguments in [
        &["trigger", "meeting.completed@minimal", "--to", &at("/lines")][..], // #1
        &["trigger", "meeting.failed", "--to", &at("/unauthorized"), "--sign", "wrong-secret"], // #2
        &["trigger", "text.txt", "--raw", "--to", &at("/ok")],                // #3
        &["trigger", "./binary.bin", "--raw", "--to", &at("/express")],       // #4
        &["trigger", "empty.json", "--raw", "--to", &at("/nothing")],         // #5
        &["trigger", "event.added", "--to", &nobody],                         // #6
        &["replay", "6", "--to", &at("/binary")],                             // #7
    ] {
        let done = world.run(arguments);
        // What is no JSON is sent with a warning.
        let is_warned = done.errors().starts_with("warning: the body is not JSON");
        assert!(done.errors().is_empty() || is_warned && arguments.contains(&"--raw"), "{}", done.whole());
    }
    (world, handler)
}

#[test]
fn a_list_is_aligned_and_newest_first() {
    let (world, _handler) = recorded();
    let mut transcript = Transcript::of(&world);
    let done = transcript.run(&["deliveries", "list"]);
    let column = |line: &str| line.find('#').unwrap();
    let columns: Vec<usize> = done.text().lines().map(column).collect();
    assert!(columns.iter().all(|at| *at == columns[0]), "{}", done.text());
    let done = transcript.run(&["deliveries", "list", "--json"]);
    done.objects().iter().for_each(assert_is_delivery);
    drop(transcript.run(&["deliveries", "list", "--limit", "2"]));
    drop(transcript.run(&["deliveries", "list", "--event", "nothing.*"]));
    drop(transcript.run(&["deliveries", "list", "--event", "nothing.*", "--json"]));
    transcript.assert("list");
}

#[test]
fn each_filter_keeps_what_it_says() {
    let (world, handler) = recorded();
    let listening = world.listen(&["--forward", &target(&handler, "/ok"), "--verify", "off"]);
    let body = br#"{"event":"unheard.of","text":"GR\u00fc\u00dfE Zebra"}"#;
    let wire =
        request(b"/?plane=KITE", &[("X-Colour", b"Vermilion"), ("Authorization", b"Bearer tok3n")], body);
    let answer = exchange(&listening.address(), &wire).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    drop(listening); // #8
    let cases: &[(&[&str], &[u64])] = &[
        (&[], &[8, 7, 6, 5, 4, 3, 2, 1]),
        (&["--limit", "3"], &[8, 7, 6]),
        (&["--event", "meeting.*"], &[2, 1]),
        (&["--event", "event.added"], &[7, 6]),
        (&["--event", "*"], &[8, 7, 6, 5, 4, 3, 2, 1]),
        (&["--event", "meeting.?ailed"], &[2]),
        (&["--event", "meeting"], &[]),
        (&["--contract", "preview"], &[7, 6, 5, 4, 3, 2, 1]),
        (&["--contract", "v2"], &[]),
        (&["--origin", "trigger"], &[6, 5, 4, 3, 2, 1]),
        (&["--origin", "replay"], &[7]),
        (&["--origin", "ingress"], &[8]),
        (&["--failed"], &[7, 6, 4, 2]),
        (&["--failed", "--event", "event.*", "--limit", "1"], &[7]),
        // In the body, in any case; then a header, the path, an answer, bytes that are no text.
        (&["--search", "MEETING_NOT_FOUND"], &[2]),
        (&["--search", "second"], &[3, 1]),
        (&["--search", "zebra"], &[8]),
        (&["--search", "vermilion"], &[8]),
        (&["--search", "x-colour: verm"], &[8]),
        (&["--search", "plane=kite"], &[8]),
        (&["--search", "invalid SIGNATURE"], &[2]),
        (&["--search", "cannot read properties"], &[4]),
        (&["--search", "31mBINARY"], &[4]),
        (&["--search", "tok3n"], &[]),
        (&["--search", "nowhere at all"], &[]),
        (&["--search", "second", "--origin", "trigger", "--event", "meeting.completed"], &[1]),
    ];
    let mut wrong = Vec::new();
    for (filters, numbers) in cases {
        let done = world.run(&[&["deliveries", "list", "--json"], *filters].concat());
        let found: Vec<u64> =
            done.objects().iter().map(|object| object["number"].as_u64().unwrap()).collect();
        if (done.code(), found.as_slice()) != (0, *numbers) {
            wrong.push(format!("{filters:?}: {found:?} instead of {numbers:?} {}", done.errors()));
        }
    }
    println!("inputs={} violations={}", cases.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn since_counts_back_from_now() {
    let (world, _handler) = recorded();
    // The clock of the record stands at 09:05:52.208.
    for (now, since, count) in [
        ("2026-11-24T09:05:52.208Z", "10m", 7),
        ("2026-11-24T09:15:52.208Z", "10m", 7),
        ("2026-11-24T09:15:52.209Z", "10m", 0),
        ("2026-11-24T09:15:53Z", "1h 30m", 7),
        ("2026-11-24T09:05:53Z", "1", 7),
        ("2026-11-24T09:05:54Z", "1", 0),
        ("2026-11-24T09:05:52.208Z", "0s", 7),
        ("2027-11-24T09:05:52.208Z", "9000h", 7),
        ("2026-11-24T09:05:52.208Z", "4294967295", 7),
        // Before there were times.
        ("2026-11-24T09:05:52.208Z", "999999999h", 7),
    ] {
        let path = world.folder().join("output");
        let context = Context {
            clock: Clock::fixed(now.parse().unwrap(), 0),
            folder: world.folder().to_owned(),
            environment: |_| None,
            input: Box::new(std::io::empty()),
            input_is_terminal: false,
            output: Output::to(Box::new(std::fs::File::create(&path).unwrap()), Box::new(std::io::sink())),
        };
        let words = ["mbaas-dev", "deliveries", "list", "--since", since];
        assert_eq!(cli::run(words.map(Into::into), context), Exit::Done, "{since}");
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), count, "{since} at {now}");
    }
}

#[test]
fn bodies_of_every_kind_are_shown() {
    let (world, _handler) = recorded();
    let mut transcript = Transcript::of(&world);
    for number in ["1", "#2", "3", "4", "5", "6", "7"] {
        let done = transcript.run(&["deliveries", "show", number]);
        assert_eq!((done.code(), done.errors().as_str()), (0, ""));
    }
    transcript.assert("show");
}

#[test]
fn a_delivery_is_one_json_object_with_headers_bodies_and_answers() {
    let (world, _handler) = recorded();
    let mut transcript = Transcript::of(&world);
    for number in ["1", "4", "5", "6"] {
        let done = transcript.run(&["deliveries", "show", number, "--json"]);
        let [mut object] = done.objects().try_into().unwrap();
        let fields = object.as_object_mut().unwrap();
        assert!(fields.shift_remove("headers").is_some_and(|headers| headers.is_array()));
        assert!(fields.shift_remove("body").is_some() != fields.shift_remove("body_b64").is_some());
        assert!(fields.shift_remove("schema").is_some());
        for attempt in object["attempts"].as_array_mut().unwrap() {
            let attempt = attempt.as_object_mut().unwrap();
            for more in ["headers", "body", "body_b64", "body_cut", "detail"] {
                attempt.shift_remove(more);
            }
        }
        object.as_object_mut().unwrap().shift_remove("hint");
        assert_is_delivery(&object);
    }
    transcript.assert("show_json");
}

#[test]
fn the_body_alone_is_what_was_received_to_the_byte() {
    let (world, handler) = recorded();
    assert_eq!(world.run(&["deliveries", "show", "4", "--body"]).stdout, BINARY);
    assert_eq!(world.run(&["deliveries", "show", "5", "--body"]).stdout, b"");
    let sent: Vec<Vec<u8>> = handler.drain().into_iter().map(|request| request.body).collect();
    assert_eq!(world.run(&["deliveries", "show", "1", "--body"]).stdout, sent[0]);
    let signed: Value = serde_json::from_slice(&sent[0]).unwrap();
    assert_eq!(signed["event"], "complete");
}

#[test]
fn a_recorded_delivery_is_a_curl_command_that_verifies_again() {
    let (world, _handler) = recorded();
    let mut transcript = Transcript::of(&world);
    for number in ["2", "4", "5"] {
        let done = transcript.run(&["deliveries", "show", number, "--curl"]);
        assert_eq!((done.code(), done.errors().as_str()), (0, ""));
    }
    transcript.assert("show_curl");
}

/// What a sender sends: method, headers, body.
type Sent<'a> = (&'a str, &'a [(&'a str, &'a [u8])], &'a [u8]);

#[test]
fn a_pasted_curl_command_is_the_same_request_again() {
    if Command::new("curl").arg("--version").output().is_err() {
        return println!("skipped: curl is not installed");
    }
    let (world, handler) = (World::new(), obliging());
    let listening = world.listen(&["--forward", &handler.target()]);
    let large = [b"{\"a\":\"".as_slice(), "x".repeat(200_000).as_bytes(), b"\"}"].concat();
    let requests: &[Sent<'_>] = &[
        (
            "POST",
            &[("Content-Type", b"application/json"), ("Accept", b"*/*"), ("User-Agent", b"a")],
            b"{\"it's\": \"$HOME `x` \\\\ \"}",
        ),
        ("POST", &[], b"no type, no agent"),
        ("POST", &[("Content-Type", b"text/plain")], b"@/etc/hostname"),
        ("POST", &[("Content-Type", b"text/plain")], b"\0\xff\r\n\t\x1b[0m"),
        ("POST", &[("Content-Type", b"text/plain")], b""),
        ("GET", &[("Accept", b"text/html")], b""),
        ("PUT", &[("X-Twice", b"1"), ("x-twice", b"2"), ("X-Quote", b"it's \"$HOME\"; `x`")], b"put"),
        ("DELETE", &[("X-Empty", b"")], b""),
        ("POST", &[("X-Latin", b"caf\xe9"), ("X-Utf8", "café".as_bytes())], b"{}"),
        ("POST", &[("Content-Type", b"application/json")], &large),
    ];
    let mut differences = Vec::new();
    for (number, (method, headers, body)) in requests.iter().enumerate() {
        let mut wire = request(b"/ok?a=1&b=it's", headers, body);
        wire.splice(..4, method.bytes());
        let answer = exchange(&listening.address(), &wire).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        let first = handler.next();
        let newest = world.run(&["deliveries", "list", "--limit", "1", "--json"]).objects().remove(0);
        // It goes to the running listen, which hands it on.
        let curl = world.run(&["deliveries", "show", newest["id"].as_str().unwrap(), "--curl"]).text();
        let script = world.write("pasted.sh", &curl);
        let pasted = Command::new("sh").arg(script).stdin(Stdio::null()).output().unwrap();
        let Some(second) = handler.drain().pop() else {
            differences.push(format!(
                "{method} #{}: nothing was sent: {}",
                number + 1,
                String::from_utf8_lossy(&pasted.stderr)
            ));
            continue;
        };
        let told = |request: &RawRequest| {
            let mut fields: Vec<_> = request
                .headers
                .iter()
                .map(|(name, value)| format!("{}: {}", name.escape_ascii(), value.escape_ascii()))
                .filter(|field| !field.starts_with("Expect: ") && !field.starts_with("Host: "))
                .filter(|field| field != "Content-Length: 0")
                .collect();
            fields.sort_unstable();
            (request.line.clone(), fields, request.body.escape_ascii().to_string())
        };
        if told(&first) != told(&second) {
            let short = |request| format!("{:?}", told(request)).chars().take(400).collect::<String>();
            differences.push(format!("{method} #{}:\n  {}\n  {}", number + 1, short(&first), short(&second)));
        }
    }
    println!("inputs={} violations={}", requests.len(), differences.len());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn credentials_are_shown_as_what_is_kept_of_them() {
    let (world, handler) = (World::new(), obliging());
    let listening = world.listen(&["--forward", &target(&handler, "/ok")]);
    let headers: &[(&str, &[u8])] =
        &[("Authorization", b"Bearer tok3n"), ("x-meeting-baas-api-key", b"k3y"), ("X-Other", b"seen")];
    exchange(&listening.address(), &request(b"/", headers, br#"{"event":"complete"}"#)).unwrap();
    assert_eq!(handler.next().header("authorization"), Some(&b"Bearer tok3n"[..]));
    drop(listening);
    for arguments in [&[][..], &["--json"], &["--curl"]] {
        let shown = world.run(&[&["deliveries", "show", "1"], arguments].concat()).text();
        assert!(!shown.contains("tok3n") && !shown.contains("k3y") && shown.contains("seen"), "{shown}");
        assert_eq!(shown.contains("[masked]"), arguments != ["--curl"], "{shown}");
    }
}

#[test]
fn an_empty_record_and_unknown_deliveries_are_said() {
    let world = World::new();
    let mut transcript = Transcript::of(&world);
    for (arguments, code) in [
        (&["deliveries", "list"][..], 0),
        (&["deliveries", "list", "--json"], 0),
        (&["deliveries", "list", "--quiet"], 0),
        (&["deliveries", "show", "1"], 2),
        (&["deliveries", "show", "#12", "--json"], 2),
        (&["deliveries", "show", "dlv_00000000000000000000000000000000"], 2),
        (&["deliveries", "show", "soon"], 2),
        (&["deliveries", "show"], 2),
        (&["deliveries", "show", "1", "--body", "--json"], 2),
        (&["deliveries", "list", "--origin", "mars"], 2),
        (&["deliveries", "list", "--contract", "v3"], 2),
        (&["deliveries", "list", "--limit", "0"], 2),
        (&["deliveries", "list", "--since", "yesterday"], 2),
    ] {
        assert_eq!(transcript.run(arguments).code(), code, "{arguments:?}");
    }
    transcript.assert("nothing_recorded");
    assert!(!world.folder().join(".mbaas-dev").exists(), "a command that only reads left a trace");
}
