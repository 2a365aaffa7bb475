//! Where a body departs from its schema: what it breaks, what it misses, what it has more.

use std::fmt;

use serde_json::Value;

use super::Schema;
use super::check::{Breach, Patterns, breaches};
use super::field::allows;
use super::phrase::expectation;
use crate::model::nearest;

/// The most departures that are told of one body: who has more has another body.
const MOST: usize = 50;

/// A schema that bodies can be held against.
pub struct Rules {
    schema: Schema,
    patterns: Patterns,
}

/// One step from the whole body to a value within it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// To the value of this key.
    Key(String),
    /// To the item of this number, counted from 0.
    Index(usize),
}

/// A place where a body departs from its schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Departure {
    /// The way to the value, from the whole body inwards.
    pub place: Vec<Step>,
    /// What is different there.
    pub rule: Rule,
}

/// What is different from what a schema tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A value that must be there is not.
    Missing {
        /// What should be there.
        expected: String,
    },
    /// The value is of another kind.
    Unexpected {
        /// What should be there.
        expected: String,
        /// The allowed text that is most like it.
        nearest: Option<String>,
    },
    /// The schema has no such key.
    Unknown {
        /// Whether it forbids keys that it does not have.
        forbidden: bool,
        /// The key that is most like it.
        nearest: Option<String>,
    },
    /// Any text is allowed, and this one is not documented.
    Undocumented {
        /// The documented text that is most like it.
        nearest: Option<String>,
    },
}

impl Departure {
    /// Whether the schema itself is broken, and not only what is known besides.
    pub fn breaks_schema(&self) -> bool {
        !matches!(self.rule, Rule::Unknown { forbidden: false, .. } | Rule::Undocumented { .. })
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rules").field(&self.schema.label()).finish()
    }
}

impl Rules {
    pub(super) fn new(schema: Schema) -> Self {
        let patterns = Patterns::of(&schema.root);
        Self { schema, patterns }
    }

    /// The schema.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Where the body departs from the schema: by place, at most fifty.
    pub fn departures(&self, body: &Value) -> Vec<Departure> {
        let mut found = Vec::new();
        surplus(&self.schema.root, body, &mut Vec::new(), &mut found);
        let mut broken = Vec::new();
        breaches(&self.schema.root, body, &self.patterns, &mut Vec::new(), MOST, &mut broken);
        found.extend(broken.into_iter().filter_map(departure));
        found.sort();
        // A UUID that is none breaks its format and its pattern.
        found.dedup();
        found.truncate(MOST);
        found
    }
}

/// A keyword that is broken, in our words; nothing for keys that are not allowed, which are found elsewhere.
fn departure(breach: Breach<'_>) -> Option<Departure> {
    let Breach { mut place, value, schema, keyword, missing } = breach;
    if keyword == "additionalProperties" {
        return None;
    }
    let rule = if let Some(key) = missing {
        place.push(Step::Key(key.to_owned()));
        Rule::Missing { expected: expectation(&schema["properties"][key]) }
    } else {
        let allowed = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let nearest = value.as_str().and_then(|value| nearest(value, allowed)).map(str::to_owned);
        Rule::Unexpected { expected: expectation(schema), nearest }
    };
    Some(Departure { place, rule })
}

/// What a body has that its schema does not tell of: keys, and texts that are not documented.
///
/// The recursion is bounded by the depth of the schema.
fn surplus(schema: &Value, value: &Value, place: &mut Vec<Step>, found: &mut Vec<Departure>) {
    if found.len() >= MOST {
        return;
    }
    let branches = schema["anyOf"].as_array().into_iter().flatten();
    for branch in branches.filter(|branch| allows(branch, kind_of(value))) {
        surplus(branch, value, place, found);
    }
    match (value, &schema["properties"], &schema["items"]) {
        (Value::Object(members), Value::Object(known), _) => {
            let forbidden = schema["additionalProperties"] == Value::Bool(false);
            for (key, member) in members {
                // Looking for what was probably meant takes its time, and there may be a million of them.
                if found.len() >= MOST {
                    return;
                }
                place.push(Step::Key(key.clone()));
                if let Some(schema) = known.get(key) {
                    surplus(schema, member, place, found);
                } else {
                    let nearest = nearest(key, known.keys().map(String::as_str)).map(str::to_owned);
                    found
                        .push(Departure { place: place.clone(), rule: Rule::Unknown { forbidden, nearest } });
                }
                place.pop();
            }
        }
        (Value::Array(items), _, Value::Object(_)) => {
            for (index, item) in items.iter().enumerate() {
                place.push(Step::Index(index));
                surplus(&schema["items"], item, place, found);
                place.pop();
            }
        }
        (Value::String(text), ..) => {
            let known = schema["x-known"].as_object().filter(|known| !known.contains_key(text));
            // Where the schema lists what is allowed, it says so itself.
            if let Some(known) = known.filter(|_| schema.get("enum").is_none()) {
                let nearest = nearest(text, known.keys().map(String::as_str)).map(str::to_owned);
                found.push(Departure { place: place.clone(), rule: Rule::Undocumented { nearest } });
            }
        }
        _ => {}
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Contract;

    fn departures(contract: Contract, event: &str, body: &Value) -> Vec<String> {
        let rules = Schema::of(contract, &event.parse().unwrap()).unwrap().compile();
        let told = rules.departures(body).into_iter().map(|departure| {
            let steps = departure.place.iter().map(|step| match step {
                Step::Key(key) => key.clone(),
                Step::Index(index) => index.to_string(),
            });
            let place = steps.collect::<Vec<_>>().join("/");
            let mark = if departure.breaks_schema() { "!" } else { "?" };
            format!("{mark} {place} {:?}", departure.rule)
        });
        told.collect()
    }

    #[test]
    fn of_many_keys_that_are_not_known_the_first_fifty_are_told() {
        let members: serde_json::Map<String, Value> =
            (0..1000).rev().map(|number| (format!("k{number:03}"), json!(1))).collect();
        let body = json!({ "event": "complete", "data": members });
        let told = departures(Contract::Preview, "meeting.completed", &body);
        let unknown: Vec<&String> = told.iter().filter(|line| line.contains("/k")).collect();
        assert!(unknown.len() <= MOST && !unknown.is_empty(), "{told:?}");
        assert!(unknown.iter().all(|line| line.contains("/k9")), "{unknown:?}");
    }

    #[test]
    fn each_kind_of_departure_is_told_once_with_its_place() {
        let body = json!({
            "event": "bot.status_change",
            "data": {
                "bot_id": "123e4567-e89b-12d3-d456-426614174000",
                "event_id": 7,
                "status": {"code": "joining", "created_at": "2026-11-24T09:05:52+01:00", "start_time": -1},
                "bot_name": "x",
            },
        });
        assert_eq!(
            departures(Contract::V2, "bot.status_change", &body),
            [
                r#"! data/bot_id Unexpected { expected: "a UUID", nearest: None }"#,
                r#"! data/bot_name Unknown { forbidden: true, nearest: Some("bot_id") }"#,
                r#"! data/event_id Unexpected { expected: "a UUID or null", nearest: None }"#,
                r#"? data/status/code Undocumented { nearest: Some("joining_call") }"#,
                r#"! data/status/created_at Unexpected { expected: "an ISO 8601 time that ends in Z", nearest: None }"#,
                r#"! data/status/start_time Unexpected { expected: "a whole number from 0", nearest: None }"#,
                r#"! extra Missing { expected: "an object or null" }"#,
            ]
        );
    }

    #[test]
    fn items_are_told_by_their_number_and_what_is_allowed_is_named() {
        let body = json!({
            "event": "meeting.failed",
            "data": {"bot_id": "x", "transcript": [{"speaker": "A", "offset": 1, "words": [{"start": 1, "end": "2"}]}],
                "speakers": ["A", 2], "mp4": "", "event": "complete", "audio": null},
        });
        assert_eq!(
            departures(Contract::Preview, "meeting.completed", &body),
            [
                "? data/audio Unknown { forbidden: false, nearest: None }",
                r#"! data/bot_id Unexpected { expected: "a UUID", nearest: None }"#,
                r#"! data/speakers/1 Unexpected { expected: "a text", nearest: None }"#,
                r#"! data/transcript/0/words/0/end Unexpected { expected: "a number", nearest: None }"#,
                r#"! data/transcript/0/words/0/word Missing { expected: "a text" }"#,
                r#"! event Unexpected { expected: "\"complete\"", nearest: None }"#,
            ]
        );
        let body = json!({"event": "bot.status_change", "data": {"bot_id": "123e4567-e89b-12d3-a456-426614174000",
            "status": {"code": "joining", "created_at": "2026-11-24T09:05:52+01:00"}}});
        assert_eq!(
            departures(Contract::V1, "bot.status_change", &body),
            [
                r#"! data/status/code Unexpected { expected: "one of 17 texts", nearest: Some("joining_call") }"#
            ]
        );
    }

    #[test]
    fn what_is_free_is_free() {
        let body = json!({"event": "bot.failed", "data": {"bot_id": "123e4567-e89b-12d3-a456-426614174000", "event_id": null,
            "error_message": "", "error_code": "SIGTERM", "sent_at": "2026-11-24T09:05:52Z"}, "extra": {"any": [{"thing": 1}]}});
        assert!(departures(Contract::V2, "bot.failed", &body).is_empty());
    }

    #[test]
    fn a_body_of_another_kind_is_told_in_bounds() {
        let many: serde_json::Map<_, _> = (0..1000).map(|n| (n.to_string(), Value::Null)).collect();
        assert_eq!(departures(Contract::V2, "bot.failed", &Value::Object(many)).len(), MOST);
        assert_eq!(
            departures(Contract::V2, "bot.failed", &json!([])),
            [r#"!  Unexpected { expected: "an object", nearest: None }"#]
        );
    }
}
