//! The inspector's page in a real Chromium: what can be done on it, what it does by itself, what hostile bytes do to it,
//! and whether everybody can use it. The steps are in `tests/browser/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Client, Inspected, token, url};
use crate::handler::{Handler, HeldPort};
use crate::world::World;

/// Runs the steps of that name against an inspector; what they printed.
fn steps(name: &str, inspected: &Inspected, more: &[(&str, &str)]) -> String {
    let ingress = inspected.listening.url();
    run(name, &inspected.world, &url(&inspected.listening), &[&[("INGRESS", &*ingress)], more].concat())
}

pub fn run(name: &str, world: &World, inspector: &str, more: &[(&str, &str)]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let tools = std::env::var_os("MBAAS_TEST_TOOLS").map(PathBuf::from);
    let tools =
        tools.expect("the tests of the page need tools: run `tests/run --tools`, then set MBAAS_TEST_TOOLS");
    let done = Command::new("node")
        .arg(folder.join(format!("{name}.mjs")))
        .env("MBAAS_TEST_TOOLS", tools)
        .env("INSPECTOR", inspector)
        .env("TOKEN", token(world.folder(), inspector))
        .env("PICTURES", std::env::var_os("MBAAS_TEST_PICTURES").unwrap_or_default())
        .envs(more.iter().copied())
        .output()
        .expect("node runs");
    let (said, complained) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{name}: {said}\n{complained}");
    print!("{said}");
    said.into_owned()
}

#[test]
fn everything_can_be_done_by_mouse_and_by_keyboard() {
    steps("actions", &Inspected::start(&[]), &[]);
}

#[test]
fn what_comes_in_is_seen_at_once_and_nothing_is_missed_or_moved() {
    steps("live", &Inspected::start(&[]), &[]);
}

#[test]
fn nothing_that_comes_over_the_wire_runs_or_leaves_or_hides() {
    let said = steps("hostile", &Inspected::start(&[]), &[]);
    assert!(said.contains("violations=0 (S6)"), "{said}");
}

#[test]
fn a_handler_that_is_away_is_told_and_so_is_its_coming_back() {
    let port = HeldPort::take();
    let inspected = Inspected::start(&["--route", &format!("event.updated={}", port.target())]);
    steps("away", &inspected, &[("PORT", &port.number().to_string())]);
}

#[test]
fn a_page_on_another_port_can_neither_read_nor_send() {
    let said = steps("foreign", &Inspected::start(&[]), &[]);
    assert!(said.contains("violations=0 (S4)"), "{said}");
}

#[test]
fn no_view_keeps_anybody_out() {
    let said = steps("accessible", &Inspected::start(&[]), &[]);
    assert!(said.contains("violations=0"), "{said}");
}

#[test]
fn a_screen_reader_gets_what_is_seen_and_hears_of_failures_and_not_of_every_row() {
    let rejecting = Handler::answering(500, "no");
    let inspected = Inspected::start(&["--route", &format!("meeting.failed={}", rejecting.target())]);
    insta::assert_snapshot!("inspector_spoken", steps("spoken", &inspected, &[]));
}

#[test]
fn whoever_sees_it_first_finds_what_failed_mends_it_and_sees_it_succeed() {
    let world = World::new();
    let demo = world.start(&["demo", "--stay", "--json"]);
    run("story", &world, &url(&demo), &[]);
}

#[test]
fn a_hundred_thousand_deliveries_are_scrolled_through() {
    const TOTAL: usize = 100_000;
    let inspected = Inspected::start(&[]);
    import(&inspected.world, TOTAL);
    steps("scroll", &inspected, &[("TOTAL", &TOTAL.to_string())]);
}

#[test]
fn the_page_is_small() {
    let inspected = Inspected::start(&[]);
    // A page of the list is part of it.
    let done = inspected.world.run(&["trigger", "meeting.completed", "--count", "120"]);
    assert_eq!(done.code(), 0, "{}", done.whole());
    assert!(steps("weight", &inspected, &[]).contains("transferred="));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/observers/inspector/page");
    let names = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_file()).collect()
    };
    let mut sum = 0;
    for file in [names(&folder), names(&folder.join("vendor"))].concat() {
        let path = format!("/page/{}", file.strip_prefix(&folder).unwrap().display());
        let plain = inspected.client.get(&path);
        assert_eq!((plain.status, plain.header("content-encoding")), (200, None), "{path}");
        assert_eq!(plain.body, std::fs::read(&file).unwrap(), "{path}");
        let packed = inspected.client.get_with(&path, "Accept-Encoding: br, gzip\r\n");
        assert_eq!((packed.status, packed.header("content-encoding")), (200, Some("gzip")), "{path}");
        sum += packed.body.len();
        let tag = format!("If-None-Match: {}\r\nAccept-Encoding: gzip\r\n", packed.header("etag").unwrap());
        assert_eq!(inspected.client.get_with(&path, &tag).status, 304, "{path}");
    }
    assert!(sum < 60_000, "{sum} bytes are transferred");
}

/// Runs what a delivery is copied as for pytest; the rest of it is the runner's.
const RUN: &str = "import runpy, sys
tests = [run for name, run in runpy.run_path(sys.argv[1]).items() if name.startswith('test_')]
assert len(tests) == 1
tests[0]()";

#[test]
fn what_is_copied_as_a_test_sends_the_very_bytes_and_signs_them() {
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let (world, handler) = (World::new(), Handler::start());
    let listening = world.listen(&["--forward", &handler.target(), "--secret", SECRET, "--verify", "strict"]);
    let client = Client::new(&url(&listening), &token(world.folder(), &url(&listening)));
    let inspected = Inspected { world, handler, listening, client };
    let odd = r##"text="\"#\\ \u202e \u0007 \ufeff 👩🏽‍💻 ñ""##;
    for arguments in [
        &["meeting.completed@unicode", "--set", &odd.replacen("text", "data.odd", 1)][..],
        &["bot.completed", "--contract", "v2"],
        &["bot.status_change", "--contract", "v1"],
        &["bot.failed", "--contract", "callback"],
    ] {
        // By the clock of the machine, as those that are run below.
        let done = inspected.world.run_process(&[&["trigger"], arguments].concat());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    }
    let folder = inspected.world.folder().to_owned();
    let ran = |command: &mut Command| {
        let done = command.current_dir(&folder).output().unwrap();
        assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    };
    steps("ready", &inspected, &[("FOLDER", &folder.to_string_lossy())]);
    for number in 1..=4 {
        let body = std::fs::read(folder.join(format!("{number}.body"))).unwrap();
        let mut python = Command::new("python3");
        python.args(["-c", RUN, &format!("{number}.py")]);
        // It is refused unless it is signed as its contract has it.
        ran(python.env("HANDLER", inspected.listening.url()).env("MBAAS_DEV_SECRET", SECRET));
        let sent = inspected.client.object(&format!("/api/deliveries/{}", number + 4));
        assert_eq!(sent["body"].as_str().unwrap().as_bytes(), body, "{number}");
        // The crates that it takes are not here; what it sends is.
        let rust = std::fs::read_to_string(folder.join(format!("{number}.rs"))).unwrap();
        let constant = rust.lines().find(|line| line.starts_with("const BODY")).expect("its body");
        let program = format!("{constant}\nfn main() {{ print!(\"{{BODY}}\"); }}");
        std::fs::write(folder.join("body.rs"), program).unwrap();
        ran(Command::new("rustc").args(["--edition", "2024", "-o", "printed", "body.rs"]));
        assert_eq!(ran(&mut Command::new(folder.join("printed"))), body, "{number}");
    }
}

fn import(world: &World, total: usize) {
    let file = world.folder().join("many.ndjson");
    let one = |number: usize| {
        let id = format!("dlv_01a20d8d{number:024x}");
        let status = if number.is_multiple_of(17) { 500 } else { 200 };
        format!(
            r#"{{"v":1,"id":"{id}","received_at":"2026-11-24T02:18:24.123456Z","origin":"ingress","contract":"preview","event_type":"meeting.failed","wire_event":"failed","method":"POST","path":"/","signature":"valid","replay_of":null,"headers":[],"body":"{{\"number\":{number}}}","attempts":[{{"number":1,"target":"http://localhost:3000/","started_at":"2026-11-24T02:18:24.123456Z","duration_ms":1.5,"status":{status},"error":null,"headers":[],"body":"","body_cut":false}}]}}"#
        ) + "\n"
    };
    std::fs::write(&file, (0..total).map(one).collect::<String>()).unwrap();
    let done = world.run(&["deliveries", "import", &file.to_string_lossy()]);
    assert_eq!(done.code(), 0, "{}", done.whole());
}
