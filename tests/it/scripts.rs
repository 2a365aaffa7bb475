//! What scripts rely on: waiting for an event, conditions on an answer, a secret in a file, routes from a file.

use std::fs;
use std::process::{Child, Stdio};

use mbaas_dev::signature::preview;
use serde_json::json;

use crate::handler::Handler;
use crate::world::World;

/// A `listen` that ends by itself, with its ingress.
fn waiting(world: &World, handler: &Handler, arguments: &[&str]) -> (Child, String) {
    let target = handler.target();
    let all = [&["listen", "--json", "--port", "0", "--forward", &target], arguments].concat();
    let mut child = world.command(&all).stderr(Stdio::inherit()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    // Somebody must read what is printed, or the pipe closes and the listen ends for that.
    std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    (child, ready["ingress"].as_str().unwrap().to_owned())
}

fn code(mut child: Child) -> i32 {
    child.wait().unwrap().code().unwrap()
}

#[test]
fn listen_ends_when_the_event_came_and_says_whether_it_was_acknowledged() {
    for (status, expected) in [(200, 0), (500, 3)] {
        let (world, handler) = (World::new(), Handler::answering(status, "{}"));
        let (child, ingress) =
            waiting(&world, &handler, &["--expect", "meeting.*,!meeting.started", "--within", "60s"]);
        for event in ["event.added", "meeting.started", "meeting.completed"] {
            assert_ne!(world.run(&["trigger", event, "--to", &ingress]).code(), 5);
        }
        assert_eq!(code(child), expected, "the handler answered {status}");
    }
}

#[test]
fn an_event_that_its_handler_did_not_get_was_not_acknowledged() {
    let (world, handler) = (World::new(), Handler::start());
    let (child, ingress) = waiting(&world, &handler, &["--expect", "event.added", "--events", "meeting.*"]);
    assert_eq!(world.run(&["trigger", "event.added", "--to", &ingress]).code(), 0);
    assert_eq!(code(child), 3, "it was filtered");

    let (child, ingress) = waiting(&world, &handler, &["--exit-after", "1", "--events", "meeting.*"]);
    assert_eq!(world.run(&["trigger", "event.added", "--to", &ingress]).code(), 0);
    assert_eq!(code(child), 0, "nothing failed");

    let recording = world.listen(&["--expect", "event.added"]);
    assert_eq!(world.run(&["trigger", "event.added", "--to", &recording.url()]).code(), 0);
    assert_eq!(recording.wait().0.code(), Some(0), "nothing is forwarded at all");
}

#[test]
fn listen_ends_with_124_when_nothing_came_in_time() {
    let (world, handler) = (World::new(), Handler::start());
    let (child, _) = waiting(&world, &handler, &["--expect", "meeting.completed", "--within", "200ms"]);
    assert_eq!(code(child), 124);
}

#[test]
fn listen_ends_after_so_many_deliveries() {
    for (status, expected) in [(204, 0), (404, 3)] {
        let (world, handler) = (World::new(), Handler::answering(status, ""));
        let (child, ingress) = waiting(&world, &handler, &["--exit-after", "3"]);
        for _ in 0..3 {
            assert_ne!(world.run(&["trigger", "meeting.started", "--to", &ingress]).code(), 5);
        }
        assert_eq!(code(child), expected);
    }
}

#[test]
fn trigger_holds_the_answer_to_what_is_expected() {
    let (world, handler) = (World::new(), Handler::answering(401, r#"{"ok":false,"why":["a","b"]}"#));
    let run = |expected: &str| {
        let done =
            world.run(&["trigger", "meeting.started", "--to", &handler.target(), "--expect", expected]);
        (done.code(), done.errors())
    };
    assert_eq!(run("status=4xx,latency<60s,body.ok=false,body.why[1]=b"), (0, String::new()));
    assert_eq!(run("status=2xx"), (3, "expected status=2xx, and it is 401\n".to_owned()));
    assert_eq!(
        run("body.why=[\"a\"]"),
        (3, "expected body.why=[\"a\"], and it is [\"a\",\"b\"]\n".to_owned())
    );
    assert_eq!(run("status=ok").0, 2);
}

#[test]
fn the_secret_is_written_into_one_line_of_a_file() {
    let world = World::new();
    world.write(".env.local", "A=1\nWEBHOOK_SECRET=old\nB=2\n");
    let done = world.run(&["secret", "show", "--secret", "new", "--write-env", ".env.local:WEBHOOK_SECRET"]);
    assert_eq!((done.code(), done.text()), (0, String::new()));
    assert_eq!(
        fs::read_to_string(world.folder().join(".env.local")).unwrap(),
        "A=1\nWEBHOOK_SECRET=new\nB=2\n"
    );
    // As editors on Windows leave it, with a value over several lines, as other programs write keys.
    world.write(".env.local", "A=1\r\nWEBHOOK_SECRET=\"old\r\nA=2\"\r\nB='WEBHOOK_SECRET=\r\n'\r\n");
    let done = world.run(&["secret", "show", "--secret", "new", "--write-env", ".env.local:WEBHOOK_SECRET"]);
    assert_eq!(done.code(), 0, "{}", done.whole());
    let after = "A=1\r\nWEBHOOK_SECRET=new\r\nB='WEBHOOK_SECRET=\r\n'\r\n";
    assert_eq!(fs::read_to_string(world.folder().join(".env.local")).unwrap(), after);
    let done = world.run(&["secret", "show", "--secret", "a\nb", "--write-env", ".env.local:WEBHOOK_SECRET"]);
    insta::assert_snapshot!(done.whole(), @r"
    exit: 2
    --- stdout
    --- stderr
    error: the secret from --secret has a line break or another control character in it
    ");
    assert_eq!(fs::read_to_string(world.folder().join(".env.local")).unwrap(), after);
    std::os::unix::fs::symlink(world.folder().join(".env.local"), world.folder().join("link")).unwrap();
    let refused = world.run(&["secret", "show", "--secret", "x", "--write-env", "link:WEBHOOK_SECRET"]);
    assert_eq!(refused.code(), 2, "{}", refused.whole());
}

#[test]
fn an_endpoint_on_this_machine_is_its_own_handler_and_another_needs_forward() {
    let (world, own, forward) = (World::new(), Handler::start(), Handler::start());
    let endpoints = format!(
        r#"[{{"webhook_url":"http://{}/own","events":["meeting.failed"]}},
            {{"webhook_url":"https://example.test/other","events":["meeting.started"]}},
            {{"webhook_url":"https://example.test/off","enabled":false}}]"#,
        own.target()
    );
    world.write("webhook_config.json", endpoints);
    let (child, ingress) = waiting(&world, &forward, &["--exit-after", "2"]);
    for (event, handler, line) in [
        ("meeting.failed", &own, "POST /own HTTP/1.1"),
        ("meeting.started", &forward, "POST /other HTTP/1.1"),
    ] {
        assert_eq!(world.run(&["trigger", event, "--to", &ingress]).code(), 0);
        assert_eq!(handler.next().line, line);
    }
    assert_eq!(code(child), 0);

    let output = world.run_process(&["listen", "--port", "0", "--expect", "x", "--within", "10ms"]);
    let said = String::from_utf8(output.stderr).unwrap().replace(&own.target(), "[OWN]");
    let routes: Vec<&str> = said.lines().skip(2).take_while(|line| !line.contains("inspector")).collect();
    insta::assert_snapshot!(routes.join("\n"), @r"
      forwarding  http://[OWN]/own  meeting.failed
      recording   meeting.started: its host is another one, which needs --forward localhost:3000
      recording   all else: its endpoint is disabled
    ");
}

#[test]
fn endpoints_of_the_configuration_file_get_their_events_with_their_secrets() {
    let (world, meetings, calendars) = (World::new(), Handler::start(), Handler::start());
    world.write(
        "webhook_config.json",
        format!(
            r#"[{{"webhook_url":"http://{}/hooks/meetings","events":["meeting.completed","meeting.failed"],"secret":"aaa","enabled":true}},
                {{"webhook_url":"http://{}/hooks/calendars?k=v","events":["calendar.synced"],"secret":"bbb","enabled":true}},
                {{"webhook_url":"https://example.test/x","events":["event.added"],"secret":"ccc","enabled":false}}]"#,
            meetings.target(),
            calendars.target(),
        ),
    );
    let mut listening = world.listen(&[]);
    for (event, handler, line) in [
        ("meeting.completed", Some(&meetings), "POST /hooks/meetings HTTP/1.1"),
        ("calendar.synced", Some(&calendars), "POST /hooks/calendars?k=v HTTP/1.1"),
        ("event.added", None, "disabled"),
        ("meeting.started", None, "filtered"),
    ] {
        let done = world.run(&["trigger", event, "--json"]);
        assert_eq!(done.code(), 0, "{}", done.whole());
        assert_eq!(done.objects()[0]["signature"], "valid", "{event} is signed with its endpoint's secret");
        match handler {
            Some(handler) => {
                assert_eq!(handler.next().line, line);
                listening.next("attempt");
            }
            None => assert_eq!(listening.next("not_forwarded")["reason"], line),
        }
    }
    assert!(meetings.drain().is_empty() && calendars.drain().is_empty());
}

#[test]
fn an_endpoint_that_is_disabled_takes_nothing_from_one_that_is_not() {
    let (world, handler) = (World::new(), Handler::start());
    let endpoint = |path: &str, enabled: bool| {
        let url = format!("http://{}/{path}", handler.target());
        json!({"webhook_url": url, "events": ["meeting.failed"], "secret": path, "enabled": enabled})
    };
    let endpoints = json!([endpoint("old", false), endpoint("new", true)]);
    world.write("webhook_config.json", endpoints.to_string());
    let listening = world.listen(&[]);
    assert_eq!(world.run(&["trigger", "meeting.failed"]).code(), 0);
    let request = handler.next();
    assert_eq!(request.line, "POST /new HTTP/1.1");
    let signed = preview::sign(&"new".into(), &request.body);
    assert_eq!(request.header("X-MeetingBaas-Signature"), Some(signed.as_bytes()));
    drop(listening);
}

#[test]
fn a_forward_that_does_not_count_beside_the_endpoints_is_told_of() {
    let world = World::new();
    let said = |url: &str, forward: &str| {
        world.write("webhook_config.json", json!({ "webhook_url": url }).to_string());
        let output = world.run_process(&["listen", "--port", "0", "--within", "10ms", "--forward", forward]);
        let said = String::from_utf8(output.stderr).unwrap();
        said.lines().find(|line| line.contains("warning")).unwrap_or_default().trim().to_owned()
    };
    assert_eq!(said("https://example.test/hooks", "localhost:1"), "");
    insta::assert_snapshot!(said("http://localhost:1/hooks", "localhost:2"), @"warning     nothing goes to http://localhost:2/: each endpoint of webhook_config.json names a handler on this machine itself");
    insta::assert_snapshot!(said("https://example.test/hooks", "localhost:2/pre"), @"warning     the path of --forward does not count: webhook_config.json says the paths at the handler");
}

#[test]
fn flags_route_filter_and_add_headers() {
    let (world, first, second) = (World::new(), Handler::start(), Handler::start());
    let route = format!("calendar.*,event.*={}/other", second.target());
    let mut listening = world.listen(&[
        "--forward",
        &first.target(),
        "--route",
        &route,
        "--events",
        "!meeting.failed",
        "-H",
        "X-Added: yes",
        "-H",
        "User-Agent: mine",
    ]);
    for event in ["meeting.completed", "event.added", "meeting.failed"] {
        assert_eq!(world.run(&["trigger", event]).code(), 0);
    }
    let (one, other) = (first.next(), second.next());
    assert_eq!((one.line.as_str(), other.line.as_str()), ("POST / HTTP/1.1", "POST /other HTTP/1.1"));
    assert_eq!(one.header("x-added"), Some(&b"yes"[..]));
    assert_eq!(one.header("user-agent"), Some(&b"mine"[..]));
    assert_eq!(one.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"user-agent")).count(), 1);
    assert_eq!(listening.next("not_forwarded")["event_type"], "meeting.failed");
    assert!(first.drain().is_empty());
}

#[test]
fn settings_come_from_files_and_show_says_from_which() {
    let (world, handler) = (World::new(), Handler::start());
    world.write(
        "mbaas-dev.toml",
        format!("[listen]\nforward = \"{}/from-file\"\ntimeout = \"5s\"\n", handler.target()),
    );
    let shown = world.run(&["config", "show", "--json"]).objects();
    let origin = |name: &str| {
        let setting = shown.iter().find(|setting| setting["setting"] == name).unwrap();
        (setting["value"].clone(), setting["origin"].as_str().unwrap().to_owned())
    };
    assert_eq!(origin("timeout").0, "5s");
    assert!(origin("timeout").1.ends_with("/mbaas-dev.toml"));
    assert_eq!(origin("parallel"), ("64".into(), "default".to_owned()));
    assert_eq!(origin("secret"), ("[masked]".into(), "this project (generated)".to_owned()));
    let _listening = world.listen(&[]);
    assert_eq!(world.run(&["trigger", "meeting.started"]).code(), 0);
    assert_eq!(handler.next().line, "POST /from-file HTTP/1.1");
}

#[test]
fn a_file_of_the_project_cannot_send_deliveries_away() {
    let world = World::new();
    for (text, code) in [
        ("[listen]\nforward = \"https://evil.test/x\"\n", 2),
        ("[listen]\nroute = [\"*=10.0.0.1:80\"]\n", 2),
        ("[trigger]\nto = \"evil.test\"\n", 2),
        ("[listen]\nforwrd = \"3000\"\n", 2),
        ("[listn]\nforward = \"3000\"\n", 2),
        ("[listen]\nport = 99999\n", 2),
        ("[listen\n", 2),
        ("[listen]\nforward = \"localhost:3000\"\n", 0),
    ] {
        world.write("mbaas-dev.toml", text);
        let done = world.run(&["config", "show"]);
        assert_eq!(done.code(), code, "{text}{}", done.whole());
        assert!(code == 0 || done.errors().contains("mbaas-dev.toml"), "{}", done.whole());
    }
}

#[test]
fn a_glob_that_matches_no_known_event_is_told_of_at_the_start_and_waited_for_all_the_same() {
    let world = World::new();
    let said = |globs: &[&str]| {
        let listen = ["listen", "--port", "0", "--within", "10ms"];
        let output = world.run_process(&[&listen[..], globs].concat());
        String::from_utf8(output.stderr).unwrap()
    };
    let typos = ["--events", "*,meting.*,!meeting.faild", "--route", "calender.synced=1", "--expect", "ping"];
    let told = said(&typos);
    let told: Vec<&str> = told.lines().filter(|line| line.contains("known")).collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    warning     no known event matches `meting.*` of --events; did you mean `meeting.*`?
    warning     no known event matches `meeting.faild` of --events; did you mean `meeting.failed`?
    warning     no known event matches `calender.synced` of --route; did you mean `calendar.synced`?
    warning     no known event matches `ping` of --expect
                it counts all the same; `mbaas-dev events list` shows what is known
    ");
    for right in ["*", "meeting.*,!meeting.failed", "bot.?ompleted", "complete", "alert", "!event.*"] {
        let told = said(&["--expect", right, "--events", right, "--route", &format!("{right}=1")]);
        assert!(!told.contains("known event"), "{right}: {told}");
    }

    world.write("mbaas-dev.toml", "[listen]\nevents = \"bot.complted\"\n");
    let mut listening = world.listen(&["--expect", "bot.complted"]);
    let told = [listening.next_line(), listening.next_line()];
    insta::assert_snapshot!(told.map(|line| line.to_string()).join("\n"), @r#"
    {"v":1,"type":"error","code":"unknown_event","message":"no known event matches `bot.complted` of --events; did you mean `bot.completed`?","hint":"it counts all the same; `mbaas-dev events list` shows what is known"}
    {"v":1,"type":"error","code":"unknown_event","message":"no known event matches `bot.complted` of --expect; did you mean `bot.completed`?","hint":"it counts all the same; `mbaas-dev events list` shows what is known"}
    "#);
    let body = r#"{"event":"bot.complted"}"#;
    assert_eq!(world.run_with_input(&["trigger", "-", "--to", &listening.url()], body.as_bytes()).code(), 0);
    assert_eq!(listening.wait().0.code(), Some(0), "it may be newer than this program");
}

#[test]
fn an_endpoint_that_another_takes_events_from_is_told_of() {
    let world = World::new();
    world.write(
        "webhook_config.json",
        r#"[{"webhook_url": "http://localhost:1/a", "events": ["meeting.completed", "bot.completed"]},
            {"webhook_url": "http://localhost:1/b", "events": ["bot.completed", "meeting.failed", "meeting.completed"]},
            {"webhook_url": "http://localhost:1/c"},
            {"webhook_url": "http://localhost:1/d", "events": ["meeting.failed", "calendar.synced"]}]"#,
    );
    let output = world.run_process(&["listen", "--port", "0", "--within", "10ms"]);
    let told = String::from_utf8(output.stderr).unwrap();
    let told: Vec<&str> = told.lines().skip_while(|line| !line.contains("warning")).take(4).collect();
    insta::assert_snapshot!(told.join("\n"), @"
    warning     endpoint 2 of webhook_config.json does not get `bot.completed`, `meeting.completed`: endpoint 1 does
    warning     endpoint 4 of webhook_config.json does not get `meeting.failed`: endpoint 2 does
    warning     endpoint 4 of webhook_config.json does not get `calendar.synced`: endpoint 3 does
                a delivery goes to the first endpoint that it fits, and to that one only
    ");
}
