//! What scripts get and do.

use serde_json::{Value, json};

use super::{Inspected, token, url};
use crate::handler::{Handler, nobody};
use crate::world::World;

#[test]
fn lists_are_those_of_the_command_line_page_by_page() {
    let inspected = Inspected::start(&[]);
    for event in ["meeting.completed", "meeting.failed", "event.added", "meeting.started", "meeting.failed"] {
        inspected.trigger(event);
    }
    let printed = inspected.world.run(&["deliveries", "list", "--json"]).objects();
    let all = inspected.client.object("/api/deliveries?total=true");
    assert_eq!(all["deliveries"], Value::from(printed));
    assert_eq!((&all["next"], &all["total"]), (&Value::Null, &json!(5)));
    let numbers = |question: &str| -> Vec<i64> {
        let page = inspected.client.object(&format!("/api/deliveries?{question}"));
        page["deliveries"].as_array().unwrap().iter().map(|one| one["number"].as_i64().unwrap()).collect()
    };
    assert_eq!(inspected.client.object("/api/deliveries?limit=2")["next"], 4);
    assert_eq!(numbers("limit=2&before=4"), [3, 2]);
    assert_eq!(numbers("limit=2&offset=3"), [2, 1]);
    assert_eq!(numbers("event=meeting.*&limit=2"), [5, 4]);
    assert_eq!(numbers("event=&status=2xx&signature=valid&origin=trigger&contract=preview"), [5, 4, 3, 2, 1]);
    assert_eq!(numbers("status=failed"), [0; 0]);
    assert_eq!(numbers("search=EVENT.ADDED"), [3]);
    assert_eq!(numbers("since=1h&until=2000-01-01T00:00:00Z"), [0; 0]);
    for (question, code) in [
        ("status=9xx", 400),
        ("origin=mars", 400),
        ("since=soon", 400),
        ("limit=x", 400),
        ("limit=0", 400),
        ("limit=1", 200),
        ("limit=1000", 200),
        ("limit=1001", 400),
        ("colour=red", 400),
    ] {
        let answer = inspected.client.get(&format!("/api/deliveries?{question}"));
        assert_eq!(answer.status, code, "{question}: {}", answer.text());
    }
    for (path, code) in [
        ("/api/stats?buckets=0", 400),
        ("/api/stats?buckets=1000", 200),
        ("/api/stats?buckets=1001", 400),
        ("/api/export/ndjson?limit=0", 400),
        ("/api/export/ndjson?limit=1001", 200),
    ] {
        assert_eq!(inspected.client.get(path).status, code, "{path}");
    }
}

#[test]
fn what_is_filtered_is_exported_as_on_the_command_line() {
    let inspected = Inspected::start(&[]);
    for event in ["meeting.completed", "meeting.failed", "meeting.started"] {
        inspected.trigger(event);
    }
    let bot = "0b9aca9a-7d5f-4bbf-8a3b-fd2a3a8f5a1c";
    for bot in [bot, &format!("{bot}-not")] {
        let order =
            json!({ "event": "meeting.failed", "set": { "data.bot_id": bot, "data.password": "CANARY" } });
        assert_eq!(inspected.client.post("/api/trigger", &order).status, 200);
    }
    for (format, question, arguments) in [
        ("ndjson", "", &[][..]),
        ("ndjson", "?limit=2&event=meeting.*", &["--limit", "2", "--event", "meeting.*"]),
        ("har", "?event=meeting.failed", &["--event", "meeting.failed"]),
        ("curl", "?search=canary", &["--search", "CANARY"]),
        ("curl", "?status=5xx", &["--failed"]),
    ] {
        let answer = inspected.client.get(&format!("/api/export/{format}{question}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let arguments = [&["deliveries", "export", "--format", format], arguments].concat();
        assert_eq!(answer.text(), inspected.world.run(&arguments).text(), "{format}{question}");
        assert!(!answer.text().contains("CANARY"), "{format}");
        assert!(
            answer.header("content-disposition").unwrap().starts_with("attachment; filename=\"deliveries.")
        );
    }
    let of_bot = inspected.client.get(&format!("/api/export/ndjson?bot={bot}")).text();
    assert_eq!(of_bot.lines().count(), 1);
    assert!(of_bot.contains("\"number\":4"), "{of_bot}");
    let listed = inspected.client.object(&format!("/api/deliveries?total=true&bot={bot}"));
    assert_eq!((listed["deliveries"].as_array().unwrap().len(), &listed["total"]), (1, &Value::Null));
    let answer = inspected.client.get("/api/export/harr");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("did you mean `har`?"), "{}", answer.text());
}

#[test]
fn bots_are_listed_from_the_one_that_was_heard_of_last_and_page_by_page() {
    let rejecting = Handler::answering(500, "no");
    let inspected = Inspected::start(&["--route", &format!("meeting.failed={}", rejecting.target())]);
    let nothing = json!({ "v": 1, "bots": [], "next": null });
    assert_eq!(inspected.client.object("/api/timeline"), nothing);
    let send = |event: &str, bot: &str| {
        let order = json!({ "event": event, "set": { "data.bot_id": bot } });
        assert_eq!(inspected.client.post("/api/trigger", &order).status, 200);
    };
    send("meeting.started", "first");
    send("meeting.started", "second");
    send("meeting.failed", "first");
    inspected.trigger("calendar.synced");
    let seen = |page: &Value| -> Vec<(String, i64, i64, i64)> {
        let bots = page["bots"].as_array().unwrap().iter();
        let number = |bot: &Value, key: &str| bot[key].as_i64().unwrap();
        let seen = |bot: &Value| {
            let id = bot["bot_id"].as_str().unwrap().to_owned();
            (id, number(bot, "number"), number(bot, "deliveries"), number(bot, "failed"))
        };
        bots.map(seen).collect()
    };
    let page = inspected.client.object("/api/timeline");
    assert_eq!(seen(&page), [("first".to_owned(), 3, 2, 1), ("second".to_owned(), 2, 1, 0)], "{page}");
    assert_eq!((&page["bots"][0]["event_type"], &page["next"]), (&json!("meeting.failed"), &Value::Null));
    // A page ends after so many deliveries, and the next one goes on below it.
    let done = inspected.world.run(&["trigger", "calendar.synced", "--count", "498", "--json"]);
    assert_eq!(done.code(), 0);
    let page = inspected.client.object("/api/timeline");
    assert_eq!((seen(&page), &page["next"]), (vec![("first".to_owned(), 3, 1, 1)], &json!(3)));
    let page = inspected.client.object("/api/timeline?before=3");
    let expected = [("second".to_owned(), 2, 1, 0), ("first".to_owned(), 1, 1, 0)];
    assert_eq!((seen(&page), &page["next"]), (expected.to_vec(), &Value::Null));
}

#[test]
fn one_delivery_has_everything_and_its_bytes_are_only_ever_saved() {
    let inspected = Inspected::start(&[]);
    inspected.trigger("meeting.failed");
    let printed = inspected.world.run(&["deliveries", "show", "1", "--json"]).objects().remove(0);
    assert_eq!(inspected.client.object("/api/deliveries/1"), printed);
    let id = printed["id"].as_str().unwrap();
    assert_eq!(inspected.client.object(&format!("/api/deliveries/{id}")), printed);
    let short = inspected.client.object("/api/deliveries/1?most=10");
    assert_eq!((&short["body_omitted"], short.get("body")), (&json!(true), None));
    assert_eq!(short["attempts"][0]["body_omitted"], true);
    for (path, expected) in [
        ("/api/deliveries/1/body", printed["body"].as_str().unwrap()),
        ("/api/deliveries/1/attempts/1/body", r#"{"status":"success"}"#),
    ] {
        let answer = inspected.client.get(path);
        assert_eq!(answer.text(), expected, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/octet-stream"), "{path}");
        assert!(answer.header("content-disposition").unwrap().starts_with("attachment"), "{path}");
    }
    let curl = inspected.client.get("/api/deliveries/1/curl").body;
    assert_eq!(curl, inspected.world.run(&["deliveries", "show", "1", "--curl"]).stdout);
    let fixture = inspected.client.get("/api/deliveries/1/fixture").body;
    assert_eq!(fixture, inspected.world.run(&["fixtures", "from", "1"]).stdout);
    for (path, status) in [
        ("/api/deliveries/2", 404),
        ("/api/deliveries/x", 400),
        ("/api/deliveries/1/attempts/2/body", 404),
        ("/api/nothing", 404),
        ("/page/../openapi.json", 404),
        ("/page/%2e%2e/mod.rs", 404),
    ] {
        let answer = inspected.client.get(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
}

#[test]
fn a_delivery_is_replayed_as_it_was_edited_or_raw_and_verifies() {
    let inspected = Inspected::start(&[]);
    inspected.trigger("meeting.failed");
    inspected.handler.next();
    let replay = |order: Value| {
        let answer = inspected.client.post("/api/deliveries/1/replay", &order);
        assert_eq!(answer.status, 200, "{}", answer.text());
        (answer.json(), inspected.handler.next())
    };
    let (object, request) = replay(json!({}));
    assert_eq!((&object["origin"], &object["number"]), (&json!("replay"), &json!(2)));
    assert_eq!(object["attempts"][0]["status"], 200);
    assert!(request.body_text().contains(r#""event":"failed""#));
    let (object, request) = replay(json!({ "set": { "data.error": "changed" } }));
    assert_eq!(object["signature"], "valid");
    assert!(request.body_text().contains(r#""error":"changed""#), "{}", request.body_text());
    let body = "{ \"event\": \"failed\",\n \"data\": {\"bot_id\": 1.50} }";
    let headers = json!([["X-Mine", "1"], ["X-MeetingBaas-Signature", "old"], ["x-mine", "2"]]);
    let (object, request) = replay(json!({ "body": body, "headers": headers }));
    assert_eq!(object["signature"], "valid");
    assert_eq!(request.body_text(), r#"{"event":"failed","data":{"bot_id":1.5}}"#);
    let mine = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"x-mine")).count();
    assert_eq!(mine, 2);
    let (object, request) = replay(json!({ "body": body, "raw": true }));
    assert_eq!((request.body_text(), &object["signature"]), (body, &json!("invalid")));
    for order in [
        json!({ "headers": [["a b", "1"]] }),
        json!({ "headers": [["a", "1\r\nx: y"]] }),
        json!({ "set": { "data..x": 1 } }),
        json!({ "colour": "red" }),
        json!("x"),
    ] {
        let answer = inspected.client.post("/api/deliveries/1/replay", &order);
        assert!((400..=422).contains(&answer.status), "{order}: {}", answer.text());
    }
}

#[test]
fn events_are_listed_shown_and_triggered() {
    let inspected = Inspected::start(&[]);
    let printed = inspected.world.run(&["events", "list", "--json"]).objects();
    assert_eq!(inspected.client.object("/api/events")["events"], Value::from(printed));
    let shown = inspected.client.object("/api/events/preview/meeting.failed@access_denied");
    assert_eq!(shown["sample"]["event"], "failed");
    let fixture = inspected.client.get("/api/fixtures/preview/meeting.failed");
    assert!(fixture.text().contains("$fixture"), "{}", fixture.text());
    assert_eq!(inspected.client.get("/api/fixtures/preview/..%2f..%2fCargo").status, 400);
    let order = json!({ "event": "meeting.failed", "set": { "data.error": "x" }, "unset": ["data.bot_id"] });
    let answer = inspected.client.post("/api/trigger", &order);
    assert_eq!((answer.status, &answer.json()["origin"]), (200, &json!("trigger")), "{}", answer.text());
    let request = inspected.handler.next();
    assert!(request.body_text().contains(r#""error":"x""#) && !request.body_text().contains("bot_id"));
    let order =
        json!({ "event": "meeting.failed", "body": "{\"event\": \"failed\"}", "sign": "wrong-secret" });
    let answer = inspected.client.post("/api/trigger", &order);
    assert_eq!((answer.status, &answer.json()["signature"]), (200, &json!("invalid")), "{}", answer.text());
    assert_eq!(inspected.handler.next().body_text(), r#"{"event":"failed"}"#);
    for order in [
        json!({ "event": "meeting.fialed" }),
        json!({ "event": "meeting.failed", "body": "{" }),
        json!({ "event": "meeting.failed", "sign": "softly" }),
    ] {
        let answer = inspected.client.post("/api/trigger", &order);
        assert_eq!(answer.status, 400, "{order}: {}", answer.text());
    }
}

#[test]
fn a_body_is_held_against_the_schema_of_its_event_before_it_is_sent() {
    let inspected = Inspected::start(&[]);
    let check = |order: &Value| inspected.client.post("/api/check", order);
    let sample = inspected.client.object("/api/events/v2/bot.completed")["sample"].clone();
    let mut draft = json!({ "contract": "v2", "event": "bot.completed", "body": sample.to_string() });
    assert_eq!(check(&draft).json()["findings"], json!([]));
    let mut wrong = sample;
    wrong["data"]["duration_seconds"] = "long".into();
    draft["body"] = wrong.to_string().into();
    let answer = check(&draft);
    let finding = &answer.json()["findings"][0];
    assert_eq!((answer.status, &finding["path"]), (200, &json!("data.duration_seconds")));
    let at = draft["body"].as_str().unwrap().find(r#""long""#).unwrap();
    assert_eq!((&finding["line"], &finding["column"]), (&json!(1), &json!(at + 1)));
    for (key, value) in [("body", "{"), ("contract", "v9"), ("event", "No Event"), ("colour", "red")] {
        let mut bad = draft.clone();
        bad[key] = value.into();
        assert!((400..=422).contains(&check(&bad).status), "{key}: {}", check(&bad).text());
    }
    assert_eq!(inspected.client.object("/api/status")["deliveries"], 0, "nothing is sent");
}

#[test]
fn requests_go_to_configured_targets_only_unless_any_is_allowed() {
    let other = Handler::start();
    let inspected = Inspected::start(&["--route", &format!("calendar.*={}", other.target())]);
    inspected.trigger("meeting.failed");
    let replay = |to: &str| inspected.client.post("/api/deliveries/1/replay", &json!({ "to": to }));
    let answer = replay(&other.target());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.json()["attempts"][0]["target"].as_str().unwrap().contains(&other.port().to_string()));
    for to in ["localhost:1", "http://192.0.2.1/", "https://example.com", "unix:/tmp/x.sock"] {
        let answer = replay(to);
        assert_eq!(answer.status, 403, "{to}: {}", answer.text());
        assert!(answer.json()["hint"].as_str().unwrap().contains("--allow-any-target"));
    }
    assert_eq!(replay("http://a@b").status, 400);
    drop(inspected);
    let inspected = Inspected::start(&["--allow-any-target"]);
    inspected.trigger("meeting.failed");
    let answer = inspected.client.post("/api/deliveries/1/replay", &json!({ "to": other.target() }));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn a_deleted_delivery_is_gone_and_one_that_waits_stays() {
    let (nobody, _socket) = nobody();
    let inspected = Inspected::start(&["--hold", "--route", &format!("meeting.started={nobody}")]);
    inspected.trigger("meeting.failed");
    inspected.trigger("meeting.started");
    let answer = inspected.client.delete("/api/deliveries/1");
    assert_eq!((answer.status, answer.json()["deleted"].clone()), (200, json!([1])));
    assert_eq!(inspected.client.get("/api/deliveries/1").status, 404);
    assert_eq!(inspected.client.delete("/api/deliveries/1").status, 404);
    let answer = inspected.client.delete("/api/deliveries/2");
    assert_eq!((answer.status, answer.json()["error"].clone()), (409, json!("held")));
    let status = inspected.client.object("/api/status");
    assert_eq!((&status["deliveries"], &status["targets"][0]["down"]), (&json!(1), &json!(true)));
    assert_eq!(inspected.client.object("/api/status")["last"], 2);
}

#[test]
fn the_inspector_alone_shows_the_record_and_sends_through_the_running_listen() {
    let inspected = Inspected::start(&[]);
    inspected.trigger("meeting.failed");
    let world = &inspected.world;
    let alone = world.start(&["inspector", "--json"]);
    assert_eq!(alone.ready["ingress"], Value::Null, "{}", alone.ready);
    let client = super::Client::new(&url(&alone), &token(world.folder(), &url(&alone)));
    assert_eq!(client.object("/api/deliveries"), inspected.client.object("/api/deliveries"));
    assert_eq!(client.object("/api/status")["ingress"], inspected.listening.url());
    let answer = client.post("/api/deliveries/1/replay", &json!({}));
    assert_eq!((answer.status, &answer.json()["number"]), (200, &json!(2)), "{}", answer.text());
    alone.signal("INT");
    let (status, _) = alone.wait();
    assert_eq!(status.code(), Some(130));
    let secrets = std::fs::read_to_string(world.folder().join(".mbaas-dev/secrets.json")).unwrap();
    assert!(!secrets.contains(&client.token), "what ended leaves no token");
}

#[test]
fn without_a_listen_there_is_a_reason_why_nothing_is_sent() {
    let world = World::new();
    let handler = Handler::start();
    assert_eq!(world.run(&["trigger", "meeting.failed", "--to", &handler.target()]).code(), 0);
    let alone = world.start(&["inspector", "--json"]);
    let client = super::Client::new(&url(&alone), &token(world.folder(), &url(&alone)));
    let answer = client.post("/api/deliveries/1/replay", &json!({}));
    assert_eq!(answer.status, 409, "{}", answer.text());
    let alone = world.start(&["inspector", "--json", "--to", &handler.target()]);
    let client = super::Client::new(&url(&alone), &token(world.folder(), &url(&alone)));
    let answer = client.post("/api/deliveries/1/replay", &json!({}));
    assert_eq!((answer.status, &answer.json()["attempts"][0]["status"]), (200, &json!(200)));
}
