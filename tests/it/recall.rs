//! What can be done with the record: compare, replay with a difference, export, import, prune; and `doctor`.

use serde_json::{Value, json};

use crate::assurance::report;
use crate::handler::{Handler, answer, nobody};
use crate::world::World;

/// A project with a few deliveries: 1 and 2 are `meeting.failed` with different errors, 3 went to nobody.
fn recorded() -> (World, Handler) {
    let (world, handler) = (World::new(), Handler::start());
    let to = handler.target();
    let first = world.run(&["trigger", "meeting.failed", "--to", &to]);
    assert_eq!(first.code(), 0, "{}", first.errors());
    handler.become_(answer(500, &[("Content-Type", "text/plain")], b"one\ntwo\n"));
    let set = ["--set", "data.error=\"other\"", "--set", "data.more=[1,{\"a\":2}]", "--unset", "data.bot_id"];
    let second = world.run(&[&["trigger", "meeting.failed", "--to", &to], &set[..]].concat());
    assert_eq!(second.code(), 3, "{}", second.errors());
    let third = world.run(&["trigger", "meeting.started", "--to", &nobody().0]);
    assert_eq!(third.code(), 5, "{}", third.errors());
    (world, handler)
}

#[test]
fn diff_tells_deliveries_apart_by_structure() {
    let (world, _handler) = recorded();
    let done = world.run(&["deliveries", "diff", "1", "#2"]);
    assert_eq!(done.code(), 0, "{}", done.errors());
    let text = done.text();
    assert!(text.starts_with("- #1  meeting.failed"), "{text}");
    assert!(text.contains("\n+ #2  meeting.failed"), "{text}");
    assert!(text.contains("  ~ data.error: \"") && text.contains(" → \"other\""), "{text}");
    assert!(text.contains("  + data.more: [1,{\"a\":2}]"), "{text}");
    assert!(text.contains("  - data.bot_id: \""), "{text}");
    assert!(text.contains("  ~ X-MeetingBaas-Signature: "), "{text}");
    assert!(!text.contains("event"), "what is the same is not shown: {text}");

    let objects = world.run(&["deliveries", "diff", "1", "2", "--json"]).objects();
    assert_eq!(objects.len(), 1);
    let object = &objects[0];
    assert_eq!(
        (&object["v"], &object["of"], &object["same"]),
        (&json!(1), &json!("requests"), &json!(false))
    );
    assert_eq!((&object["a"]["number"], &object["b"]["number"]), (&json!(1), &json!(2)));
    let changes = object["body"]["changes"].as_array().unwrap();
    let of = |path: &str| changes.iter().find(|change| change["path"] == path).unwrap();
    assert_eq!(of("data.more"), &json!({"change": "added", "path": "data.more", "value": [1, {"a": 2}]}));
    assert_eq!(of("data.error")["to"], "other");
    assert_eq!(of("data.bot_id")["change"], "removed");
}

#[test]
fn diff_of_what_is_the_same_prints_nothing() {
    let (world, _handler) = recorded();
    let done = world.run(&["deliveries", "diff", "2", "2"]);
    assert_eq!((done.code(), done.text().as_str()), (0, ""));
    assert!(done.errors().contains("no difference"), "{}", done.errors());
    assert_eq!(world.run(&["deliveries", "diff", "2", "2", "--json"]).objects()[0]["same"], true);
    let missing = world.run(&["deliveries", "diff", "2", "9"]);
    assert_eq!(missing.code(), 2);
    assert!(missing.errors().contains("there is no delivery #9"), "{}", missing.errors());
}

#[test]
fn diff_of_answers_compares_status_latency_headers_and_body() {
    let (world, _handler) = recorded();
    let text = world.run(&["deliveries", "diff", "1", "2", "--answers"]).text();
    for line in [
        "status   200 → 500",
        "latency  ",
        "  -{\"status\":\"success\"}",
        "  +one",
        "  ~ content-type: application/json → text/plain",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    let object = &world.run(&["deliveries", "diff", "2", "3", "--answers", "--json"]).objects()[0];
    assert_eq!(object["status"], json!({"from": 500, "to": null}));
    assert_eq!(object["error"], json!({"from": null, "to": "refused"}));
    assert!(object["latency_ms"]["from"].is_number());
}

#[test]
fn replay_shows_what_the_handler_answered_then_and_now() {
    let (world, handler) = recorded();
    handler.become_(answer(200, &[], br#"{"status":"success","took":7}"#));
    let done = world.run(&["replay", "1", "--diff", "--to", &handler.target()]);
    assert_eq!(done.code(), 0, "{}", done.errors());
    let text = done.text();
    assert!(text.contains("status   200, as before") && text.contains("  + took: 7"), "{text}");

    let done = world.run(&["replay", "2", "3", "--diff", "--json", "--to", &handler.target()]);
    let diffs: Vec<Value> = done.objects().into_iter().map(|object| object["diff"].clone()).collect();
    assert_eq!(diffs.len(), 2);
    assert_eq!(diffs[0]["status"], json!({"from": 500, "to": 200}));
    assert_eq!(diffs[0]["body"]["kind"], "text");
    assert_eq!(diffs[1]["error"], json!({"from": "refused", "to": null}));
    let plain = world.run(&["replay", "1", "--json", "--to", &handler.target()]).objects();
    assert!(plain[0].get("diff").is_none());
}

#[test]
fn replay_through_a_running_listen_shows_the_difference_too() {
    let handler = Handler::start();
    let world = World::new();
    let mut listen = world.listen(&["--forward", &handler.target()]);
    assert_eq!(world.run(&["trigger", "meeting.failed"]).code(), 0);
    listen.next("attempt");
    handler.become_(answer(401, &[("Content-Type", "application/json")], br#"{"error":"no"}"#));
    let done = world.run(&["replay", "--last", "--diff"]);
    assert_eq!(done.code(), 3, "{}", done.errors());
    assert!(done.text().contains("status   200 → 401"), "{}", done.text());
    assert!(done.text().contains("  - status: \"success\"\n"), "{}", done.text());
}

#[test]
fn hostile_bodies_are_compared_without_reaching_the_terminal() {
    let (world, handler) = (World::new(), Handler::start());
    let hostile = "{\"a\u{202e}\":\"\u{9b}2J\",\"b\":\"x\"}";
    for (name, body) in [("a.json", "{}"), ("b.json", hostile), ("c.txt", "\u{1b}]0;title\u{7}\r\nx")] {
        let file = world.write(name, body);
        let sent = world.run(&["trigger", file.to_str().unwrap(), "--raw", "--to", &handler.target()]);
        assert_eq!(sent.code(), 0, "{}", sent.errors());
    }
    for pair in [["1", "2"], ["2", "3"], ["1", "3"]] {
        let text = world.run(&["-v", "deliveries", "diff", pair[0], pair[1]]).text();
        assert!(text.lines().count() > 3);
        let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(bad), "{text:?}");
    }
}

/// What `export` writes of a project.
fn exported(world: &World, arguments: &[&str]) -> String {
    let done = world.run(&[&["deliveries", "export"], arguments].concat());
    assert_eq!(done.code(), 0, "{}", done.errors());
    done.text()
}

#[test]
fn what_was_exported_is_imported_without_loss() {
    let (world, handler) = recorded();
    handler.become_(answer(200, &[("X-Bytes", "é")], b"\xff\x00binary"));
    let file = world.write("odd.bin", b"\x00\xfe{");
    assert_eq!(world.run(&["trigger", file.to_str().unwrap(), "--raw", "--to", &handler.target()]).code(), 0);
    assert_eq!(world.run(&["replay", "2", "--to", &handler.target()]).code(), 0);
    let lines = exported(&world, &["--no-redact"]);
    assert_eq!(lines.lines().count(), 5);

    let other = World::new();
    assert_eq!(other.run(&["trigger", "calendar.synced", "--to", &handler.target()]).code(), 0);
    let done = other.run_with_input(&["deliveries", "import", "-"], lines.as_bytes());
    assert_eq!((done.code(), done.text().as_str()), (0, "5 imported · 0 skipped (already there)\n"));
    let shown = |world: &World, number: usize| {
        let mut object =
            world.run(&["deliveries", "show", &number.to_string(), "--json"]).objects().remove(0);
        object["number"].take();
        object
    };
    for number in 1..=5 {
        assert_eq!(shown(&other, number + 1), shown(&world, number));
    }
    // Again through a file: nothing is there twice, whatever its number is elsewhere.
    let path = world.folder().join("all.ndjson");
    exported(&other, &["--no-redact", "-o", path.to_str().unwrap()]);
    let again = world.run(&["deliveries", "import", "all.ndjson", "--json"]);
    assert_eq!(again.objects(), [json!({"v": 1, "imported": 1, "skipped": 5, "malformed": 0})]);
    assert_eq!(world.run(&["deliveries", "list", "--json"]).objects().len(), 6);
}

#[test]
fn malformed_lines_are_reported_and_leave_nothing() {
    let (world, _handler) = recorded();
    let lines = exported(&world, &[]);
    let lines: Vec<&str> = lines.lines().collect();
    let hostile_header = lines[1].replace("[\"Accept\",\"*/*\"]", "[\"A: b\\r\\nEvil\",\"\u{1b}[2J\"]");
    assert_ne!(hostile_header, lines[1]);
    let long = format!("{{\"body\":\"{}\"}}", "x".repeat(64 * 1024 * 1024));
    let input =
        [lines[0], "", "{\"v\":1", &hostile_header, &long, "not json \u{1b}[31m", lines[2]].join("\n");
    let other = World::new();
    let done = other.run_with_input(&["deliveries", "import", "-"], input.as_bytes());
    assert_eq!(done.code(), 1);
    assert_eq!(done.text(), "2 imported · 0 skipped (already there) · 4 malformed\n");
    let told: Vec<String> = done.errors().lines().map(|line| line.chars().take(6).collect()).collect();
    assert_eq!(told, ["line 3", "line 4", "line 5", "line 6"]);
    assert!(!done.errors().contains('\u{1b}'), "{:?}", done.errors());
    assert!(done.errors().contains("longer than 64 MiB"), "{}", done.errors());
    assert_eq!(other.run(&["deliveries", "list", "--json"]).objects().len(), 2);
    assert_eq!(world.run(&["deliveries", "import", "nowhere.ndjson"]).code(), 2);
}

#[test]
fn an_import_passes_over_a_byte_order_mark_and_names_utf_16() {
    let (world, _handler) = recorded();
    let lines = exported(&world, &[]);
    let other = World::new();
    let marked = format!("\u{feff}{lines}");
    let done = other.run_with_input(&["deliveries", "import", "-"], marked.as_bytes());
    assert_eq!(done.text(), "3 imported · 0 skipped (already there)\n", "{}", done.errors());
    let units: Vec<u8> = marked.encode_utf16().flat_map(u16::to_le_bytes).collect();
    other.write("windows.ndjson", units);
    let done = other.run(&["deliveries", "import", "windows.ndjson"]);
    assert_eq!(
        (done.code(), done.errors().as_str()),
        (2, "error: windows.ndjson: it is in UTF-16; save it as UTF-8\n")
    );
}

#[test]
fn a_dash_is_standard_output_and_a_folder_that_is_not_there_is_said() {
    let (world, _handler) = recorded();
    for command in [&["deliveries", "export"][..], &["fixtures", "from", "1"], &["scenario", "record"]] {
        let plain = world.run(command);
        let dash = world.run(&[command, &["-o", "-"]].concat());
        assert_eq!((dash.code(), dash.text()), (0, plain.text()), "{command:?}");
        let done = world.run(&[command, &["-o", "new/dir/f"]].concat());
        let folder = world.folder().display();
        let sentence =
            format!("error: cannot write {folder}/new/dir/f: there is no folder {folder}/new/dir\n");
        assert_eq!((done.code(), done.errors()), (1, sentence), "{command:?}");
    }
    assert!(!world.folder().join("-").exists());
}

#[test]
fn credentials_in_an_imported_file_are_masked_on_disk() {
    let (world, _handler) = recorded();
    let line =
        exported(&world, &["1"]).replace("[\"Accept\",\"*/*\"]", "[\"Authorization\",\"Bearer CANARY\"]");
    assert!(line.contains("CANARY"));
    let other = World::new();
    assert_eq!(other.run_with_input(&["deliveries", "import", "-"], line.as_bytes()).code(), 0);
    for file in std::fs::read_dir(other.folder().join(".mbaas-dev")).unwrap().flatten() {
        let bytes = std::fs::read(file.path()).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"CANARY"), "{}", file.path().display());
    }
}

/// Places for secrets in a request and in an answer; `{}` is where each stands.
const HEADERS: [&str; 10] = [
    "Authorization: Bearer {}",
    "Cookie: session={}",
    "X-MB-Secret: {}",
    "X-Api-Key: {}",
    "X-Hub-Signature-256: sha256={}",
    "svix-signature: v1,{}",
    "webhook-signature: v1,{}",
    "Proxy-Authorization: Basic {}",
    "Referer: https://user:{}@host.test/",
    "X-Forwarded-Uri: /a?api_key={}",
];
const FIELDS: [&str; 12] = [
    r#""mp4":"https://s3.test/a.mp4?X-Amz-Signature={}""#,
    r#""audio":"https:\/\/s3.test\/a?X-Amz-Credential={}\u0026x=1""#,
    r#""transcript":"https://s3.test/t?X-Amz-Security-Token={}#end""#,
    r#""gcs":"https://gcs.test/a?GoogleAccessId=me&Signature={}""#,
    r#""basic":"https://user:{}@host.test/x""#,
    r#""deep":{"list":[{"url":"wss://h.test/?token={}"}]}"#,
    r#""note":"see (http://h.test/?password={}) and more""#,
    r#""api_key":"{}""#,
    r#""access_token":"{}""#,
    r#""extra":"{\"secret\":\"{}\"}""#,
    r#""next":"https://h.test/?to=https%3A%2F%2Fi.test%2F%3Fsig%3D{}""#,
    r#""fragment":"https://h.test/#access_token={}""#,
];

#[test]
fn exports_hold_no_secret_unless_they_are_asked_to() {
    let canary = |place: usize| format!("CANARY{place:03}");
    let fields = |from: usize| -> String {
        let planted: Vec<String> =
            FIELDS.iter().enumerate().map(|(i, field)| field.replace("{}", &canary(from + i))).collect();
        format!("{{\"event\":\"failed\",{}}}", planted.join(","))
    };
    let (in_answer, in_body, in_headers, in_path) = (fields(100), fields(200), 300, 400);
    let handler = Handler::scripted(answer(
        200,
        &[
            ("Set-Cookie", "s=CANARY500"),
            ("Location", "/?token=CANARY501"),
            ("Content-Type", "application/json"),
        ],
        in_answer.as_bytes(),
    ));
    let world = World::new();
    let mut listen = world.listen(&["--forward", &handler.target()]);
    let head: String = HEADERS
        .iter()
        .enumerate()
        .map(|(i, header)| format!("{}\r\n", header.replace("{}", &canary(in_headers + i))))
        .collect();
    let path = format!("/hooks?token={}&x=1&client_secret={}", canary(in_path), canary(in_path + 1));
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{head}Content-Length: {}\r\n\r\n{in_body}",
        in_body.len()
    );
    let mut stream = std::net::TcpStream::connect(listen.address()).unwrap();
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let mut answered = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answered).unwrap();
    assert!(answered.starts_with("HTTP/1.1 200"), "{answered}");
    // The answer is recorded a moment after the sender has it.
    listen.next("attempt");

    let planted = FIELDS.len() * 2 + HEADERS.len() + 4;
    // Credentials in headers are masked in the record itself: they are in no export.
    let never_recorded = 4 + 1;
    for format in ["ndjson", "har", "curl"] {
        let text = exported(&world, &["--format", format]);
        assert!(!text.contains("CANARY"), "{format}: {}", &text[text.find("CANARY").unwrap() - 60..]);
        assert!(text.contains("x=1"), "what is no secret stays: {text}");
        let whole = exported(&world, &["--format", format, "--no-redact"]);
        let found: std::collections::BTreeSet<&str> =
            whole.match_indices("CANARY").map(|(at, _)| &whole[at..at + 9]).collect();
        let expected = if format == "curl" {
            planted - never_recorded - FIELDS.len() - 1
        } else {
            planted - never_recorded
        };
        assert_eq!(found.len(), expected, "{format}: {found:?}");
    }
    report("S22", planted * 3, 0);
}

#[test]
fn a_redacted_export_is_imported_and_replayed_with_a_fresh_signature() {
    let (world, handler) = recorded();
    let other = World::new();
    let done = other.run_with_input(&["deliveries", "import", "-"], exported(&world, &["1"]).as_bytes());
    assert_eq!(done.code(), 0, "{}", done.errors());
    handler.drain();
    handler.become_(answer(200, &[], b""));
    let replayed = other.run(&["replay", "1", "--to", &handler.target(), "--json"]);
    assert_eq!(replayed.objects()[0]["signature"], "valid", "{}", replayed.errors());
    let signature = handler.next().header("x-meetingbaas-signature").unwrap().to_vec();
    assert_eq!(signature.len(), 64);
}

#[test]
fn exports_are_chosen_by_filters_and_come_oldest_first() {
    let (world, _handler) = recorded();
    let numbers = |arguments: &[&str]| -> Vec<i64> {
        let text = exported(&world, arguments);
        let number = |line: &str| serde_json::from_str::<Value>(line).unwrap()["number"].as_i64().unwrap();
        text.lines().map(number).collect()
    };
    assert_eq!(numbers(&[]), [1, 2, 3]);
    assert_eq!(numbers(&["--event", "meeting.f*"]), [1, 2]);
    assert_eq!(numbers(&["--failed"]), [2, 3]);
    assert_eq!(numbers(&["--limit", "2"]), [2, 3]);
    assert_eq!(numbers(&["3", "1"]), [3, 1]);
    assert_eq!(numbers(&["--search", "nothing like it"]), Vec::<i64>::new());
    assert_eq!(world.run(&["deliveries", "export", "9"]).code(), 2);
    assert_eq!(world.run(&["deliveries", "export", "1", "--failed"]).code(), 2);
    assert_eq!(exported(&World::new(), &[]), "");
}

#[test]
fn har_has_what_the_format_demands() {
    let (world, _handler) = recorded();
    assert_eq!(
        serde_json::from_str::<Value>(&exported(&World::new(), &["--format", "har"])).unwrap()["log"]["entries"],
        json!([])
    );
    let har: Value = serde_json::from_str(&exported(&world, &["--format", "har"])).unwrap();
    let log = &har["log"];
    assert_eq!((&log["version"], &log["creator"]["name"]), (&json!("1.2"), &json!("mbaas-dev")));
    let entries = log["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 3);
    for entry in entries {
        for (pointer, is_right) in [
            ("/startedDateTime", Value::is_string as fn(&Value) -> bool),
            ("/time", Value::is_number),
            ("/cache", Value::is_object),
            ("/timings/send", Value::is_number),
            ("/timings/wait", Value::is_number),
            ("/timings/receive", Value::is_number),
            ("/request/method", Value::is_string),
            ("/request/url", Value::is_string),
            ("/request/httpVersion", Value::is_string),
            ("/request/cookies", Value::is_array),
            ("/request/headers", Value::is_array),
            ("/request/queryString", Value::is_array),
            ("/request/headersSize", Value::is_i64),
            ("/request/bodySize", Value::is_number),
            ("/request/postData/mimeType", Value::is_string),
            ("/request/postData/text", Value::is_string),
            ("/response/status", Value::is_number),
            ("/response/statusText", Value::is_string),
            ("/response/httpVersion", Value::is_string),
            ("/response/cookies", Value::is_array),
            ("/response/headers", Value::is_array),
            ("/response/content/size", Value::is_number),
            ("/response/content/mimeType", Value::is_string),
            ("/response/redirectURL", Value::is_string),
            ("/response/headersSize", Value::is_i64),
            ("/response/bodySize", Value::is_number),
        ] {
            assert!(entry.pointer(pointer).is_some_and(is_right), "{pointer} of {entry}");
        }
    }
    let statuses: Vec<&Value> = entries.iter().map(|entry| &entry["response"]["status"]).collect();
    assert_eq!(statuses, [200, 500, 0]);
    assert!(entries[2]["response"]["_error"].as_str().unwrap().starts_with("refused: "));
}

#[test]
fn an_export_is_for_its_owner_and_follows_no_link() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let (world, _handler) = recorded();
    let file = world.write("out.ndjson", "before");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    exported(&world, &["-o", "out.ndjson"]);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 3);

    let victim = world.write("victim", "untouched");
    symlink(&victim, world.folder().join("link")).unwrap();
    symlink(world.folder().join("nowhere"), world.folder().join("dangling")).unwrap();
    std::fs::create_dir(world.folder().join("folder")).unwrap();
    assert!(
        std::process::Command::new("mkfifo").arg(world.folder().join("fifo")).status().unwrap().success()
    );
    for name in ["link", "dangling", "folder", "fifo", "missing/out"] {
        let done = world.run(&["deliveries", "export", "-o", name]);
        assert_eq!(done.code(), 1, "{name}");
        assert!(done.errors().contains(name), "{}", done.errors());
    }
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
    assert!(!world.folder().join("nowhere").exists());
    // A failed export leaves what was there, and no temporary file.
    assert_eq!(world.run(&["deliveries", "export", "9", "-o", "out.ndjson"]).code(), 2);
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 3);
    let left = std::fs::read_dir(world.folder()).unwrap().flatten();
    assert!(left.into_iter().all(|entry| !entry.file_name().to_string_lossy().starts_with(".tmp")));
}

#[test]
fn prune_deletes_the_oldest_and_says_what_is_left() {
    let (world, handler) = recorded();
    let nothing = World::new().run(&["deliveries", "prune", "--keep", "5"]);
    assert_eq!((nothing.code(), nothing.text().starts_with("deleted 0 deliveries · 0 left")), (0, true));
    let dry = world.run(&["deliveries", "prune", "--keep", "1", "--dry-run", "--json"]).objects().remove(0);
    assert_eq!((&dry["dry_run"], &dry["deleted"], &dry["by_count"]), (&json!(true), &json!(2), &json!(2)));
    assert_eq!(dry["bytes_after"], json!(null));
    assert_eq!(world.run(&["deliveries", "list", "--json"]).objects().len(), 3);

    let done = world.run(&["deliveries", "prune", "--keep", "1"]);
    assert!(done.text().starts_with("deleted 2 deliveries · 1 left · "), "{}", done.text());
    let left = world.run(&["deliveries", "list", "--json"]).objects();
    assert_eq!((left.len(), &left[0]["number"]), (1, &json!(3)));

    // The clock stands still in tests: everything is 0 s old, and what is older than that is nothing.
    let by_age = world.run(&["deliveries", "prune", "--older-than", "1s", "--json"]).objects().remove(0);
    assert_eq!((&by_age["by_age"], &by_age["left"]), (&json!(0), &json!(1)));
    let all = world.run(&["deliveries", "prune", "--max-size", "1K", "--json"]).objects().remove(0);
    assert_eq!((&all["by_size"], &all["left"]), (&json!(1), &json!(0)));
    world.run(&["trigger", "event.added", "--to", &handler.target()]).code();
    assert_eq!(world.run(&["deliveries", "list", "--json"]).objects()[0]["number"], 4);
    for wrong in [&["prune"][..], &["prune", "--older-than", "7"], &["prune", "--max-size", "0"]] {
        assert_eq!(world.run(&[&["deliveries"], wrong].concat()).code(), 2, "{wrong:?}");
    }
}

#[test]
fn listen_keeps_as_many_as_it_is_told_and_prune_works_beside_it() {
    let (world, handler) = recorded();
    let mut listen = world.listen(&["--forward", &handler.target(), "--keep", "2"]);
    let numbers = || -> Vec<i64> {
        let list = world.run(&["deliveries", "list", "--json"]).objects();
        list.iter().map(|delivery| delivery["number"].as_i64().unwrap()).collect()
    };
    let pruned = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        numbers() == [3, 2]
    });
    assert!(pruned, "{:?}", numbers());
    handler.become_(answer(200, &[], b""));
    assert_eq!(world.run(&["trigger", "meeting.failed"]).code(), 0);
    listen.next("attempt");
    assert_eq!(world.run(&["deliveries", "prune", "--keep", "1"]).code(), 0);
    assert_eq!(numbers(), [4]);
    assert_eq!(world.run(&["trigger", "meeting.started"]).code(), 0);
    assert_eq!(numbers(), [5, 4]);
    let (status, rest) = listen.interrupt();
    assert_eq!(status.code(), Some(130));
    assert!(rest.iter().all(|line| line["type"] != "error"), "{rest:?}");
}

/// The checks of `doctor --json` by name: whether each line of that name is well, and what it found.
fn examined(world: &World) -> (u8, Vec<(String, bool, String)>) {
    let done = world.run(&["doctor", "--json"]);
    let check = |object: Value| {
        assert_eq!(object["v"], 1);
        assert_eq!(object["ok"].as_bool().unwrap(), object["advice"].is_null());
        let text = |name: &str| object[name].as_str().unwrap().to_owned();
        (text("check"), object["ok"].as_bool().unwrap(), text("found"))
    };
    (done.code(), done.objects().into_iter().map(check).collect())
}

/// What was found wrong with something; ports depend on what else runs on the machine.
fn findings_of(world: &World, name: &str) -> Vec<String> {
    let (code, checks) = examined(world);
    let wrong: Vec<_> = checks.into_iter().filter(|(_, is_well, _)| !is_well).collect();
    assert_eq!(code, u8::from(!wrong.is_empty()));
    wrong.into_iter().filter(|(check, ..)| check == name).map(|(_, _, found)| found).collect()
}

#[test]
fn doctor_looks_at_the_ports_that_are_configured() {
    let world = World::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    world.write("mbaas-dev.toml", format!("[listen]\nport = {port}\n"));
    let (code, checks) = examined(&world);
    let ports: Vec<&String> =
        checks.iter().filter(|(name, ..)| name == "ports").map(|(_, _, found)| found).collect();
    assert_eq!((code, ports.len()), (1, 2));
    assert_eq!(*ports[0], format!("{port} (listen) is taken by another program"));
}

#[test]
fn doctor_finds_nothing_in_a_new_project_and_leaves_no_trace() {
    let world = World::new();
    let (_, checks) = examined(&world);
    let names: Vec<&str> = checks.iter().map(|(name, ..)| name.as_str()).collect();
    for name in [
        "state folder",
        "database",
        "clock",
        "mbaas-dev.toml",
        "webhook_config.json",
        "ports",
        "listen",
        "handler's answers",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(checks.iter().all(|(name, is_well, _)| *is_well || name == "ports"), "{checks:?}");
    assert!(!world.folder().join(".mbaas-dev").exists());
    let text = world.run(&["doctor"]).text();
    assert!(text.lines().all(|line| line.starts_with("ok  ") || line.starts_with("finding  ")), "{text}");
    assert_eq!(text.lines().count(), checks.len());
}

#[test]
fn doctor_finds_damaged_files_and_wrong_settings() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let (world, _handler) = recorded();
    assert_eq!(findings_of(&world, "state folder"), Vec::<String>::new());
    let state = world.folder().join(".mbaas-dev");
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o750)).unwrap();
    symlink("/dev/null", state.join("lock.link")).unwrap();
    assert!(findings_of(&world, "state folder")[0].contains("mode 0750"));
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o700)).unwrap();

    for damaged in ["", "{\"project\": \"whsec_topsecret"] {
        world.write("damaged/secrets.json", damaged);
        let done = world.run(&["doctor", "--data-dir", "damaged", "--json"]);
        let found = done.objects().into_iter().filter(|check| check["ok"] == false);
        let found: Vec<Value> = found
            .filter(|check| check["found"].as_str().unwrap().contains("secrets.json is damaged"))
            .collect();
        assert_eq!((done.code(), found.len()), (1, 1), "{}", done.whole());
        let advice = found[0]["advice"].as_str().unwrap();
        let secrets = world.folder().join("damaged/secrets.json");
        let moving = format!("`mv {0} {0}.old`", secrets.display());
        assert!(advice.contains(&moving) && !done.text().contains("topsecret"), "{advice}");
        let sent = world.run(&["trigger", "meeting.started", "--to", "9", "--data-dir", "damaged"]);
        assert!(sent.errors().contains(&format!("hint: {advice}")), "{}", sent.whole());
        // What it says helps.
        std::fs::rename(&secrets, secrets.with_extension("json.old")).unwrap();
        assert_eq!(world.run(&["secret", "show", "--data-dir", "damaged"]).code(), 0);
    }

    world.write("webhook_config.json", r#"{"webhook_url":"x","event":[]}"#);
    assert!(findings_of(&world, "webhook_config.json")[0].contains("unknown key `event`"));
    for (content, complaint) in [
        ("[listen]\nprot = 1\n", "prot"),
        ("[listen", "mbaas-dev.toml:1"),
        ("[listen]\nport = \"x\"\n", "port"),
    ] {
        world.write("mbaas-dev.toml", content);
        assert!(findings_of(&world, "mbaas-dev.toml")[0].contains(complaint), "{content}");
    }
    std::fs::write(
        state.join("deliveries.db"),
        "not a database at all, but long enough to be taken for one".repeat(99),
    )
    .unwrap();
    std::fs::remove_file(state.join("deliveries.db-wal")).ok();
    assert!(findings_of(&world, "database")[0].contains("is damaged"));
}

#[test]
fn doctor_knows_the_traps_of_handlers_from_the_record() {
    let (world, handler) = (World::new(), Handler::answering(401, "{}"));
    for event in ["meeting.failed", "meeting.started", "event.added"] {
        assert_eq!(world.run(&["trigger", event, "--to", &handler.target()]).code(), 3);
    }
    assert!(findings_of(&world, "handler's answers")[0].contains("refuses every delivery"));
    handler.become_(answer(413, &[], b""));
    assert_eq!(world.run(&["trigger", "meeting.failed", "--to", &handler.target()]).code(), 3);
    let found = findings_of(&world, "handler's answers");
    assert!(found.len() == 1 && found[0].starts_with("#4: 413"), "{found:?}");
    handler.become_(answer(200, &[], b""));
    assert_eq!(world.run(&["replay", "4", "--to", &handler.target()]).code(), 0);
    assert_eq!(findings_of(&world, "handler's answers"), Vec::<String>::new());
    assert_eq!(findings_of(&world, "handler"), Vec::<String>::new());
}

#[test]
fn doctor_finds_a_handler_that_is_not_there_or_on_the_other_family() {
    let world = World::new();
    let listener = std::net::TcpListener::bind("[::1]:0");
    let Ok(listener) = listener else { return eprintln!("skipped: there is no IPv6 here") };
    let port = listener.local_addr().unwrap().port();
    let listen = world.listen(&["--forward", &format!("127.0.0.1:{port}")]);
    assert!(findings_of(&world, "handler")[0].contains("::1 only"));
    let (_, checks) = examined(&world);
    let reachable = checks.iter().find(|(name, ..)| name == "listen").unwrap();
    assert!(reachable.1 && reachable.2.contains(&listen.address()), "{reachable:?}");
    drop(listener);
    assert!(findings_of(&world, "handler")[0].contains("nobody listens"));
    // Nothing of this became a delivery.
    assert!(world.run(&["deliveries", "list", "--json"]).objects().is_empty());
}

#[test]
fn doctor_asks_for_a_handler_that_gave_no_answer_and_for_none_that_did_its_work() {
    let (world, handler) = (World::new(), Handler::start());
    assert_eq!(world.run(&["trigger", "event.added", "--to", &handler.target()]).code(), 0);
    drop(handler);
    assert_eq!(findings_of(&world, "handler"), Vec::<String>::new());
    let (nobody, _held) = nobody();
    assert_eq!(world.run(&["trigger", "event.added", "--to", &nobody]).code(), 5);
    assert!(findings_of(&world, "handler")[0].contains("nobody listens"));
}

#[test]
fn doctor_looks_at_every_handler_that_is_configured() {
    let (world, handler) = (World::new(), Handler::start());
    let ((first, _first), (second, _second)) = (nobody(), nobody());
    let settings = format!("[listen]\nforward = \"{first}\"\nroute = [\"meeting.*={}\"]\n", handler.target());
    world.write("mbaas-dev.toml", settings);
    world.write(
        "webhook_config.json",
        format!(r#"{{"webhook_url":"http://{second}/x","events":["event.added"]}}"#),
    );
    assert_eq!(world.run(&["trigger", "event.added", "--to", &handler.target()]).code(), 0);
    let (code, checks) = examined(&world);
    let handlers: Vec<_> = checks.iter().filter(|(name, ..)| name == "handler").collect();
    assert_eq!((code, handlers.len()), (1, 2), "{handlers:?}");
    assert!(handlers[0].1 && handlers[0].2.contains(&handler.target()), "{handlers:?}");
    assert!(!handlers[1].1 && handlers[1].2.contains(&second), "{handlers:?}");
}

#[test]
fn doctor_finds_a_folder_in_which_nothing_can_be_made() {
    let world = World::new();
    let closed = world.folder().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o500)).unwrap();
    let output = world.without_privileges(&["doctor", "--data-dir", "closed/a/b"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let said = said.replace(world.folder().to_str().unwrap(), "[FOLDER]");
    insta::assert_snapshot!(said.lines().next().unwrap_or_default(), @"finding  state folder         [FOLDER]/closed/a/b is not there, and cannot be made in [FOLDER]/closed: Permission denied (os error 13): give another folder with --data-dir");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn only_doctor_runs_with_settings_that_cannot_be_used() {
    let world = World::new();
    world.write("mbaas-dev.toml", "[listen");
    for command in [&["deliveries", "list"][..], &["trigger", "doctor", "--to", "1"]] {
        assert_eq!(world.run(command).code(), 2, "{command:?}");
    }
    assert_eq!(world.run(&["doctor"]).code(), 1);
}
