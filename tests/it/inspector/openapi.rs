//! The description of the REST in OpenAPI: it names every route and nothing else, and real answers are as it says.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Inspected;
use super::forged::ROUTES;
use crate::handler::Handler;

/// Asks, and holds what comes against the schema that the description has for it.
struct Examiner<'a> {
    inspected: &'a Inspected,
    description: Value,
    /// The operations that were asked.
    asked: BTreeSet<String>,
}

impl Examiner<'_> {
    fn ask(&mut self, method: &str, template: &str, path: &str, order: Option<&Value>) -> Value {
        let operation = &self.description["paths"][template][method];
        let name = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {template}"));
        self.asked.insert(name.to_owned());
        if let Some(order) = order {
            self.hold(&operation["requestBody"]["content"]["application/json"]["schema"], order, name);
        }
        let client = &self.inspected.client;
        let answer = match (method, order) {
            ("post", Some(order)) => client.post(path, order),
            ("delete", _) => client.delete(path),
            _ => client.get(path),
        };
        let is_good = answer.status == 200;
        let response = if is_good {
            &operation["responses"]["200"]
        } else {
            &self.description["components"]["responses"]["Fault"]
        };
        let content = response["content"].as_object().unwrap_or_else(|| panic!("{name}: {}", answer.status));
        let kind = answer.header("content-type").unwrap();
        let described = content.get(kind).unwrap_or_else(|| panic!("{name} answers {kind}"));
        if kind != "application/json" {
            return Value::Null;
        }
        self.hold(&described["schema"], &answer.json(), name);
        answer.json()
    }

    fn hold(&self, schema: &Value, value: &Value, what: &str) {
        let mut whole = schema.clone();
        whole["components"] = self.description["components"].clone();
        let validator = jsonschema::draft202012::new(&whole).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{what}: {errors:#?}\n{value:#}");
    }
}

#[test]
fn every_route_is_described_and_answers_as_it_is_described() {
    let rejecting = Handler::answering(500, "no");
    let route = format!("meeting.failed={}", rejecting.target());
    let inspected = Inspected::start(&["--route", &route, "--route", "event.added=localhost:1"]);
    for event in ["meeting.completed", "meeting.failed", "event.added"] {
        inspected.trigger(event);
    }
    let description = inspected.client.object("/api/openapi.json");
    assert_eq!(description["openapi"], "3.1.0");
    let mut examiner =
        Examiner { inspected: &inspected, description: description.clone(), asked: BTreeSet::new() };
    for path in ["/api/deliveries?total=true", "/api/deliveries?limit=1", "/api/deliveries?status=x"] {
        examiner.ask("get", "/api/deliveries", path, None);
    }
    for number in 1..=3 {
        examiner.ask("get", "/api/deliveries/{id}", &format!("/api/deliveries/{number}"), None);
        examiner.ask("get", "/api/deliveries/{id}", &format!("/api/deliveries/{number}?most=9"), None);
    }
    for (template, path) in [
        ("/api/deliveries/{id}", "/api/deliveries/99"),
        ("/api/deliveries/{id}/body", "/api/deliveries/1/body"),
        ("/api/deliveries/{id}/curl", "/api/deliveries/1/curl"),
        ("/api/deliveries/{id}/fixture", "/api/deliveries/1/fixture"),
        ("/api/deliveries/{id}/attempts/{n}/body", "/api/deliveries/1/attempts/1/body"),
        ("/api/deliveries/diff", "/api/deliveries/diff?a=1&b=2"),
        ("/api/deliveries/diff", "/api/deliveries/diff?a=1&b=2&answers=true"),
        ("/api/events", "/api/events"),
        ("/api/events/{contract}/{event}", "/api/events/v2/bot.failed"),
        ("/api/events/{contract}/{event}", "/api/events/alert/alert@minimal"),
        ("/api/fixtures/{contract}/{event}", "/api/fixtures/v2/bot.failed"),
        ("/api/export/{format}", "/api/export/ndjson?bot=nobody"),
        ("/api/export/{format}", "/api/export/har?limit=2"),
        ("/api/export/{format}", "/api/export/curl?status=failed"),
        ("/api/export/{format}", "/api/export/hra"),
        ("/api/stats", "/api/stats?buckets=3"),
        ("/api/stats", "/api/stats?since=2000-01-01T00:00:00Z"),
        ("/api/stats", "/api/stats?since=soon"),
        ("/api/timeline", "/api/timeline"),
        ("/api/timeline", "/api/timeline?before=2"),
        ("/api/status", "/api/status"),
        ("/api/openapi.json", "/api/openapi.json"),
        // What is asked wrongly, too.
        ("/api/deliveries", "/api/deliveries?colour=red"),
        ("/api/deliveries", "/api/deliveries?limit=-1"),
        ("/api/deliveries/{id}", "/api/deliveries/1?most=x"),
        ("/api/deliveries/{id}/attempts/{n}/body", "/api/deliveries/1/attempts/one/body"),
        ("/api/deliveries/{id}/fixture", "/api/deliveries/99/fixture"),
        ("/api/deliveries/diff", "/api/deliveries/diff?a=1"),
        ("/api/stats", "/api/stats?buckets=many"),
        ("/api/timeline", "/api/timeline?before=99999999999999999999"),
        ("/api/live", "/api/live?after=x"),
    ] {
        examiner.ask("get", template, path, None);
    }
    let shown = inspected.client.object("/api/deliveries/2");
    let body: Value = serde_json::from_str(shown["body"].as_str().unwrap()).unwrap();
    let bot = body["data"]["bot_id"].as_str().unwrap();
    let life = examiner.ask("get", "/api/timeline/{bot_id}", &format!("/api/timeline/{bot}"), None);
    assert_eq!(life["entries"].as_array().unwrap().len(), 1, "{life}");
    assert_eq!(life["oddities"][0]["kind"], "not_acknowledged", "{life}");
    for order in
        [json!({}), json!({ "set": { "data.error": "x" }, "headers": [["a", "b"]], "to": "localhost:1" })]
    {
        examiner.ask("post", "/api/deliveries/{id}/replay", "/api/deliveries/1/replay", Some(&order));
    }
    for order in [
        json!({ "event": "meeting.completed", "minutes": 3, "unset": ["data.speakers"] }),
        json!({ "event": "bot.failed", "contract": "v2", "sign": "stale" }),
    ] {
        examiner.ask("post", "/api/trigger", "/api/trigger", Some(&order));
    }
    let draft = json!({ "contract": "preview", "event": "meeting.failed", "body": "{\"event\": \"failed\", \"x\": 1}" });
    let checked = examiner.ask("post", "/api/check", "/api/check", Some(&draft));
    assert!(!checked["findings"].as_array().unwrap().is_empty(), "{checked}");
    examiner.ask("delete", "/api/deliveries/{id}", "/api/deliveries/1", None);
    examiner.asked.insert("watch".to_owned());
    let operations = description["paths"].as_object().unwrap().values();
    let operations = operations.flat_map(|path| path.as_object().unwrap().values());
    let described: BTreeSet<String> =
        operations.map(|one| one["operationId"].as_str().unwrap().to_owned()).collect();
    assert_eq!(described, examiner.asked, "each operation is asked");
    // What forged requests are tried on is every route that is described, and the other way round.
    let is_like = |template: &str, path: &str| {
        let (mut template, path) = (template.split('/'), path.split('?').next().unwrap());
        path.split('/').all(|part| template.next().is_some_and(|own| own == part || own.starts_with('{')))
            && template.next().is_none()
    };
    for (method, path) in ROUTES
        .iter()
        .filter(|(method, path)| path.starts_with("/api/") && !["OPTIONS", "PUT"].contains(method))
    {
        let templates = description["paths"].as_object().unwrap();
        let known = templates
            .iter()
            .any(|(template, all)| is_like(template, path) && all.get(method.to_lowercase()).is_some());
        assert!(known, "{method} {path} is not described");
    }
    assert_eq!(described.len(), ROUTES.len() - 4, "each operation is among the routes that are forged");
}

#[test]
fn another_method_is_refused_as_everything_else_is() {
    let inspected = Inspected::start(&[]);
    let client = &inspected.client;
    for answer in [client.post("/api/status", &json!({})), client.delete("/api/status")] {
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET,HEAD")));
        let object = answer.json();
        assert_eq!((&object["v"], &object["error"]), (&json!(1), &json!("method")), "{object}");
        assert!(object["message"].is_string() && object["hint"].is_string(), "{object}");
    }
}

#[test]
fn the_picture_of_the_traffic_counts_what_came() {
    let failing = Handler::answering(500, "no");
    let route = format!("meeting.failed={}", failing.target());
    let inspected = Inspected::start(&["--route", &route, "--route", "event.added=localhost:1"]);
    for event in ["meeting.completed", "meeting.completed", "meeting.failed", "event.added"] {
        inspected.trigger(event);
    }
    let stats = inspected.client.object("/api/stats?buckets=4");
    let counts = |object: &Value| {
        ["deliveries", "acknowledged", "rejected", "unanswered", "untried"]
            .map(|key| object[key].as_u64().unwrap())
    };
    assert_eq!(counts(&stats), [4, 2, 1, 1, 0], "{stats:#}");
    assert_eq!((stats["buckets"].as_array().unwrap().len(), &stats["whole"]), (4, &json!(true)));
    assert_eq!(counts(&stats["buckets"][3]), [4, 2, 1, 1, 0], "what came just now is in the last bucket");
    assert_eq!(
        (&stats["events"][0]["event_type"], &stats["events"][0]["deliveries"]),
        (&json!("meeting.completed"), &json!(2))
    );
    assert!(stats["events"][0]["p50_ms"].as_f64().unwrap() <= stats["events"][0]["max_ms"].as_f64().unwrap());
    assert_eq!(stats["slowest"].as_array().unwrap().len(), 3, "what was not answered was not slow");
    let before = inspected.client.object("/api/stats?until=2000-01-02T00:00:00Z");
    assert_eq!(counts(&before), [0; 5]);
    assert_eq!(inspected.client.get("/api/stats?since=10m&until=20m").status, 400);
}
