//! Fixtures that fire when they are saved, however an editor goes about it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::handler::{Handler, answer, when_told};
use crate::world::{Listening, World};

fn watching() -> (World, Handler, Listening) {
    let (world, handler) = (World::new(), Handler::start());
    assert_eq!(world.run(&["fixtures", "init"]).code(), 0);
    let listening = world.listen(&["--forward", &handler.target(), "--fixtures", "fixtures"]);
    (world, handler, listening)
}

/// The next firing: the event and what the handler got.
fn fired(listening: &mut Listening, handler: &Handler) -> (String, Value) {
    let attempt = listening.next("attempt");
    assert_eq!((&attempt["origin"], &attempt["signature"]), (&"watch".into(), &"valid".into()), "{attempt}");
    let body = serde_json::from_slice(&handler.next().body).unwrap();
    (attempt["event_type"].as_str().unwrap().to_owned(), body)
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn a_saved_fixture_is_fired_once_however_it_is_saved() {
    let (world, handler, mut listening) = watching();
    let folder = world.folder().join("fixtures/preview");

    edit(&folder.join("meeting.failed.json"), "meeting_not_found", "edited_in_place");
    let (event, body) = fired(&mut listening, &handler);
    assert_eq!((event.as_str(), &body["data"]["error"]), ("meeting.failed", &"edited_in_place".into()));

    // As vim and most others do: a new file takes the place of the old one.
    fs::copy(folder.join("meeting.started.json"), folder.join("4913~")).unwrap();
    fs::rename(folder.join("4913~"), folder.join("meeting.started.json")).unwrap();
    assert_eq!(fired(&mut listening, &handler).0, "meeting.started");

    // Several writes of one save.
    for _ in 0..5 {
        edit(&folder.join("event.added.json"), "{", "{");
    }
    assert_eq!(fired(&mut listening, &handler).0, "event.added");

    fs::write(folder.join("mine.json"), r#"{"event":"complete","data":{}}"#).unwrap();
    assert_eq!(fired(&mut listening, &handler).0, "meeting.completed", "its body says what it is");

    fs::remove_dir_all(world.folder().join("fixtures")).unwrap();
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("calendar.synced.json"), r#"{"event":"calendar.synced","data":{}}"#).unwrap();
    assert_eq!(fired(&mut listening, &handler).0, "calendar.synced");

    let (_, rest) = listening.interrupt();
    let more: Vec<&Value> = rest.iter().filter(|line| line["type"] == "attempt").collect();
    assert!(more.is_empty(), "nothing is fired twice: {more:?}");
    assert!(handler.drain().is_empty());
}

#[test]
fn a_broken_fixture_is_reported_with_its_place_and_the_watch_goes_on() {
    let (world, handler, mut listening) = watching();
    let path = world.folder().join("fixtures/preview/meeting.failed.json");
    let good = fs::read_to_string(&path).unwrap();

    fs::write(&path, "{\n  \"event\": \"failed\",\n  \"data\": {]\n}").unwrap();
    let error = listening.next("error");
    assert_eq!(error["code"], "fixture");
    assert!(error["message"].as_str().unwrap().contains("meeting.failed.json:3:12: expected"), "{error}");

    fs::write(&path, good.replace("{{ id('bot') }}", "{{ idd('bot') }}")).unwrap();
    let error = listening.next("error");
    assert!(error["message"].as_str().unwrap().contains("did you mean `id`"), "{error}");
    assert!(handler.drain().is_empty(), "nothing was sent");

    fs::write(&path, good).unwrap();
    assert_eq!(fired(&mut listening, &handler).0, "meeting.failed");
}

#[test]
fn a_fixture_that_is_too_large_is_reported_once_for_each_change() {
    let world = World::new();
    assert_eq!(world.run(&["fixtures", "init", "--contract", "preview"]).code(), 0);
    let path = world.folder().join("fixtures/preview/large.json");
    // Nothing but a hole, which takes no room.
    let grow = |mib: u64| {
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(&path).unwrap();
        file.set_len(mib * 1024 * 1024).unwrap();
    };
    grow(33);
    assert!(world.run(&["fixtures", "validate", "fixtures"]).errors().contains("large.json is larger than"));
    let handler = Handler::start();
    let mut listening = world.listen(&["--forward", &handler.target(), "--fixtures", "fixtures"]);
    let error = listening.next("error");
    assert_eq!(error["code"], "fixture", "{error}");
    let told = error["message"].as_str().unwrap().replace(world.folder().to_str().unwrap(), "[FOLDER]");
    insta::assert_snapshot!(format!("{told}\n{}", error["hint"].as_str().unwrap()), @r"
    [FOLDER]/fixtures/preview/large.json is larger than 32 MiB
    it is not fired until it is smaller; all others are
    ");

    grow(34);
    assert_eq!(listening.next("error"), error);
    edit(&path.with_file_name("meeting.failed.json"), "{", "{");
    fired(&mut listening, &handler);
    fs::write(&path, r#"{"event":"event.added","data":{}}"#).unwrap();
    assert_eq!(fired(&mut listening, &handler).0, "event.added");
    let (_, rest) = listening.interrupt();
    assert!(rest.iter().all(|line| line["type"] != "error"), "{rest:?}");
}

#[test]
fn a_branch_switch_fires_what_changed_and_nothing_else() {
    let (world, handler, mut listening) = watching();
    let folder = world.folder().join("fixtures/preview");
    let mut changed: Vec<String> = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("meeting.failed@") {
            edit(&path, "\"event\": \"failed\"", "\"event\":  \"failed\"");
            changed.push(name);
        }
    }
    assert!(changed.len() > 10);
    for _ in &changed {
        assert_eq!(fired(&mut listening, &handler).0, "meeting.failed");
    }
    let (_, rest) = listening.interrupt();
    assert!(rest.iter().all(|line| line["type"] != "attempt"), "{rest:?}");
}

#[test]
fn from_the_second_firing_of_a_file_on_the_difference_of_the_answers_is_told() {
    let (world, handler, mut listening) = watching();
    let folder = world.folder().join("fixtures/preview");
    let json = |status, body: &str| {
        let headers = [("Content-Type", "application/json"), ("Set-Cookie", "session=canary")];
        answer(status, &headers, body.as_bytes())
    };
    let mut save = |file: &str, script| {
        handler.become_(script);
        edit(&folder.join(file), "{", "{");
        let fired = listening.next("fired");
        assert_eq!(fired["file"], format!("preview/{file}"));
        let attempt = listening.next("attempt");
        assert_eq!(attempt["id"], fired["id"]);
        assert!(!attempt.to_string().contains("canary"), "{attempt}");
        handler.next();
        attempt
    };
    let (failed, started) = ("meeting.failed.json", "meeting.started.json");
    let first = save(failed, json(401, r#"{"error":"Invalid signature","seen":["a"]}"#));
    assert_eq!(first.get("diff"), None, "there is nothing to compare it with");
    assert_eq!(save(started, json(200, "{}")).get("diff"), None, "another file is another matter");

    let second = save(failed, json(200, r#"{"seen":["a","b"],"status":"success"}"#));
    let diff = &second["diff"];
    assert_eq!((&diff["before"], &diff["same"]), (&first["id"], &json!(false)));
    assert_eq!(diff["status"], json!({"from": 401, "to": 200}));
    assert!(diff["latency_ms"]["from"].is_f64() && diff["latency_ms"]["to"].is_f64(), "{diff}");
    let changes = json!([
        {"change": "removed", "path": "error", "value": "Invalid signature"},
        {"change": "added", "path": "seen[1]", "value": "b"},
        {"change": "added", "path": "status", "value": "success"},
    ]);
    assert_eq!(diff["body"], json!({"kind": "json", "changes": changes}));

    // More than observers hear of: both are read from the record.
    let long = |last: &str| format!("{}{last}\n", "line\n".repeat(20_000));
    save(failed, answer(200, &[], long("one").as_bytes()));
    let text = save(failed, answer(200, &[], long("two").as_bytes()));
    assert_eq!(text["diff"]["body"]["kind"], "text");
    let shown = text["diff"]["body"]["diff"].as_str().unwrap();
    assert!(shown.ends_with("-one\n+two\n") && shown.len() < 100, "{shown}");

    let third = save(started, json(200, "{}"));
    assert_eq!((&third["diff"]["same"], &third["diff"]["body"]["kind"]), (&json!(true), &json!("same")));
}

#[test]
fn a_handler_that_hangs_holds_up_no_other_fixture_and_not_the_next_save_of_its_own() {
    let (world, handler, hung) = (World::new(), Handler::start(), Handler::start());
    assert_eq!(world.run(&["fixtures", "init"]).code(), 0);
    let route = format!("meeting.failed={}", hung.target());
    let arguments = ["--forward", &handler.target(), "--route", &route, "--timeout", "0"];
    let mut listening = world.listen(&[&arguments[..], &["--fixtures", "fixtures"]].concat());
    let folder = world.folder().join("fixtures/preview");
    let save = |file: &str| edit(&folder.join(file), "{", "{");

    let (tell, script) = when_told();
    hung.become_(script);
    save("meeting.failed.json");
    hung.next();
    save("meeting.started.json");
    assert_eq!(fired(&mut listening, &handler).0, "meeting.started");

    hung.become_(answer(200, &[], b"second"));
    save("meeting.failed.json");
    hung.next();
    let second = listening.next("attempt");
    assert_eq!(second.get("diff"), None, "the first has not been answered");
    tell.send(()).unwrap();
    let first = listening.next("attempt");
    assert!(first["number"].as_i64() < second["number"].as_i64(), "{first}");
    assert_eq!(first.get("diff"), None, "what it would be compared with came later");

    hung.become_(answer(200, &[], b"third"));
    save("meeting.failed.json");
    assert_eq!(listening.next("attempt")["diff"]["before"], second["id"]);
}
#[test]
fn a_folder_that_cannot_be_read_is_told_once_and_the_rest_is_watched() {
    let (world, handler) = (World::new(), Handler::start());
    assert_eq!(world.run(&["fixtures", "init"]).code(), 0);
    let closed = world.folder().join("fixtures/closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let arguments = ["listen", "--json", "--port", "0", "--forward", &handler.target()];
    let arguments = [&arguments[..], &["--fixtures", "fixtures"]].concat();
    let mut listening = Listening::start(&mut world.without_privileges(&arguments));

    let error = listening.next("error");
    assert_eq!(error["code"], "watch");
    assert!(error["message"].as_str().unwrap().contains("fixtures/closed"), "{error}");
    for name in ["meeting.failed", "meeting.started"] {
        edit(&world.folder().join(format!("fixtures/preview/{name}.json")), "{", "{");
        assert_eq!(fired(&mut listening, &handler).0, name);
    }
    let (_, rest) = listening.interrupt();
    assert!(rest.iter().all(|line| line["type"] != "error"), "{rest:?}");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_folder_that_is_not_there_yet_is_waited_for_and_told_of() {
    let (world, handler) = (World::new(), Handler::start());
    let greeting = |world: &World| {
        let arguments = ["listen", "--port", "0", "--fixtures", "mine", "--expect", "x", "--within", "10ms"];
        let said = String::from_utf8(world.run_process(&arguments).stderr).unwrap();
        said.lines().find(|line| line.starts_with("  fixtures")).map(str::to_owned)
    };
    insta::assert_snapshot!(greeting(&world).unwrap(), @"  fixtures    mine is not there yet (`mbaas-dev fixtures init mine` makes it)");
    let mut listening = world.listen(&["--forward", &handler.target(), "--fixtures", "mine"]);
    assert!(listening.ready["fixtures"].as_str().unwrap().ends_with("/mine"), "{}", listening.ready);
    world.write("mine/failed.json", r#"{"event":"failed","data":{}}"#);
    assert_eq!(fired(&mut listening, &handler).0, "meeting.failed");
    insta::assert_snapshot!(greeting(&world).unwrap(), @"  fixtures    mine");

    let other = World::new();
    other.write("mine", "");
    insta::assert_snapshot!(greeting(&other).unwrap(), @"  fixtures    mine is no folder: nothing is fired until it is");
}

#[test]
fn links_in_a_folder_of_fixtures_are_told_of() {
    let world = World::new();
    world.write("real.json", r#"{"event":"failed","data":{}}"#);
    world.write("mine/plain.txt", "");
    std::os::unix::fs::symlink(world.folder().join("real.json"), world.folder().join("mine/linked.json"))
        .unwrap();
    for command in ["list", "validate"] {
        let done = world.run(&["fixtures", command, "mine"]);
        assert!(
            done.errors().starts_with("note: mine/linked.json is a link and passed over"),
            "{}",
            done.whole()
        );
    }
}
