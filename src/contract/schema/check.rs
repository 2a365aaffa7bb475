//! Holds a value against a schema: JSON Schema 2020-12, of which the keywords that our schemas use, with formats.
//!
//! A schema is data of ours and not of strangers, so a small part of the standard does; the whole of it, which the tests hold
//! this against, is a sixth of the program.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use fluent_uri::Uri;
use jiff::Timestamp;
use regex_lite::Regex;
use serde_json::Value;

use super::departure::Step;

const UUID: &str = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$";

/// As RFC 3339 writes it; whether there is such a day is another question.
const DATE_TIME: &str = r"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$";

/// The patterns of a schema and of the formats, ready to be matched.
#[derive(Debug)]
pub(super) struct Patterns(BTreeMap<String, Regex>);

/// A keyword that a value breaks.
#[derive(Clone, Debug)]
pub(super) struct Breach<'a> {
    /// The way to the value, from the whole inwards.
    pub place: Vec<Step>,
    /// The value.
    pub value: &'a Value,
    /// The schema that the keyword stands in.
    pub schema: &'a Value,
    /// The keyword.
    pub keyword: &'a str,
    /// The key that is missing, where that is what is wrong.
    pub missing: Option<&'a str>,
}

impl Patterns {
    /// Those of a schema and of all within it.
    ///
    /// # Panics
    ///
    /// When one is no regular expression.
    pub(super) fn of(schema: &Value) -> Self {
        let mut found = BTreeMap::new();
        collect(schema, &mut found);
        for format in [UUID, DATE_TIME] {
            found.insert(format.to_owned(), Regex::new(format).expect("it is a constant"));
        }
        Self(found)
    }

    fn fit(&self, pattern: &str, text: &str) -> bool {
        self.0.get(pattern).is_none_or(|pattern| pattern.is_match(text))
    }
}

fn collect(schema: &Value, found: &mut BTreeMap<String, Regex>) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::String(pattern)) = members.get("pattern") {
                found
                    .entry(pattern.clone())
                    .or_insert_with(|| Regex::new(pattern).expect("a test compiles every schema"));
            }
            members.values().for_each(|member| collect(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

/// What a value breaks of a schema, keyword by keyword, into `found`, until that holds `most`.
///
/// The recursion is bounded by the depth of the schema.
pub(super) fn breaches<'a>(
    schema: &'a Value,
    value: &'a Value,
    patterns: &Patterns,
    place: &mut Vec<Step>,
    most: usize,
    found: &mut Vec<Breach<'a>>,
) {
    for (keyword, rule) in schema.as_object().into_iter().flatten() {
        if found.len() >= most {
            return;
        }
        let breach = |missing| Breach { place: place.clone(), value, schema, keyword, missing };
        match (keyword.as_str(), value) {
            ("required", Value::Object(members)) => {
                let keys = rule.as_array().into_iter().flatten().filter_map(Value::as_str);
                found.extend(keys.filter(|key| !members.contains_key(*key)).map(|key| breach(Some(key))));
            }
            ("properties", Value::Object(members)) => {
                for (key, schema) in rule.as_object().into_iter().flatten() {
                    if let Some(member) = members.get(key) {
                        place.push(Step::Key(key.clone()));
                        breaches(schema, member, patterns, place, most, found);
                        place.pop();
                    }
                }
            }
            ("items", Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    place.push(Step::Index(index));
                    breaches(rule, item, patterns, place, most, found);
                    place.pop();
                }
            }
            _ if !holds(keyword, rule, schema, value, patterns) => found.push(breach(None)),
            _ => {}
        }
    }
}

/// Whether a value holds to one keyword, where that is not asked of what is within the value.
fn holds(keyword: &str, rule: &Value, schema: &Value, value: &Value, patterns: &Patterns) -> bool {
    match (keyword, value) {
        ("type", _) => match rule {
            Value::Array(names) => names.iter().any(|name| is_a(name, value)),
            name => is_a(name, value),
        },
        ("const", _) => rule == value,
        ("enum", _) => rule.as_array().is_none_or(|allowed| allowed.contains(value)),
        ("anyOf", _) => {
            let mut branches = rule.as_array().into_iter().flatten();
            branches.any(|branch| {
                let mut found = Vec::new();
                breaches(branch, value, patterns, &mut Vec::new(), 1, &mut found);
                found.is_empty()
            })
        }
        ("additionalProperties", Value::Object(members)) => {
            *rule != Value::Bool(false) || members.keys().all(|key| schema["properties"].get(key).is_some())
        }
        ("pattern", Value::String(text)) => rule.as_str().is_none_or(|pattern| patterns.fit(pattern, text)),
        ("format", Value::String(text)) => match rule.as_str() {
            Some("uuid") => patterns.fit(UUID, text),
            Some("date-time") => patterns.fit(DATE_TIME, text) && Timestamp::from_str(text).is_ok(),
            Some("uri") => Uri::parse(text.as_str()).is_ok(),
            _ => true,
        },
        ("minimum", Value::Number(_)) => value.as_f64() >= rule.as_f64(),
        ("maximum", Value::Number(_)) => value.as_f64() <= rule.as_f64(),
        ("exclusiveMinimum", Value::Number(_)) => value.as_f64() > rule.as_f64(),
        ("minItems", Value::Array(items)) => rule.as_u64().is_none_or(|least| items.len() as u64 >= least),
        ("maxItems", Value::Array(items)) => rule.as_u64().is_none_or(|most| items.len() as u64 <= most),
        _ => true,
    }
}

fn is_a(name: &Value, value: &Value) -> bool {
    match (name.as_str().unwrap_or_default(), value) {
        ("null", Value::Null)
        | ("boolean", Value::Bool(_))
        | ("number", Value::Number(_))
        | ("string", Value::String(_))
        | ("array", Value::Array(_))
        | ("object", Value::Object(_)) => true,
        // 1.0 is a whole number.
        ("integer", Value::Number(number)) => {
            number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::contract::schema::all;

    type Told = BTreeSet<(Vec<Step>, String, Option<String>)>;

    /// What this says.
    fn ours(schema: &Value, patterns: &Patterns, value: &Value) -> Told {
        let mut found = Vec::new();
        breaches(schema, value, patterns, &mut Vec::new(), usize::MAX, &mut found);
        let told = found.into_iter();
        told.map(|breach| (breach.place, breach.keyword.to_owned(), breach.missing.map(str::to_owned)))
            .collect()
    }

    /// What a library says that has all of the standard.
    fn theirs(validator: &jsonschema::Validator, value: &Value) -> Told {
        let told = validator.iter_errors(value).map(|error| {
            let steps = error.instance_path().segments().map(|segment| match segment {
                jsonschema::paths::LocationSegment::Property(key) => Step::Key(key.to_string()),
                jsonschema::paths::LocationSegment::Index(index) => Step::Index(index),
            });
            let missing = match error.kind() {
                jsonschema::error::ValidationErrorKind::Required { property } => {
                    property.as_str().map(str::to_owned)
                }
                _ => None,
            };
            let keyword = error.schema_path().as_str().rsplit_once('/').unwrap().1.to_owned();
            (steps.collect(), keyword, missing)
        });
        told.collect()
    }

    /// A value that has everything that a schema tells of.
    fn sample(schema: &Value) -> Value {
        if let Some(branches) = schema["anyOf"].as_array() {
            return sample(&branches[0]);
        }
        if let Some(value) = schema.get("const").or(schema["enum"].get(0)) {
            return value.clone();
        }
        let name = schema["type"].as_str().or(schema["type"][0].as_str());
        match (name, schema["format"].as_str()) {
            (Some("object"), _) => {
                let members = schema["properties"].as_object().into_iter().flatten();
                members.map(|(key, schema)| (key.clone(), sample(schema))).collect()
            }
            (Some("array"), _) => json!([sample(&schema["items"])]),
            (Some("integer" | "number"), _) => json!(1),
            (Some("boolean"), _) => json!(true),
            (Some("string"), Some("uuid")) => json!("123e4567-e89b-42d3-a456-426614174000"),
            (Some("string"), Some("date-time")) => json!("2026-11-24T09:05:52Z"),
            (Some("string"), _) => json!("https://example.com/a?b=c"),
            _ => Value::Null,
        }
    }

    /// Every place within a value.
    fn places(value: &Value, place: &str, found: &mut Vec<String>) {
        found.push(place.to_owned());
        match value {
            Value::Object(members) => {
                members.iter().for_each(|(key, member)| places(member, &format!("{place}/{key}"), found));
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(at, item)| places(item, &format!("{place}/{at}"), found));
            }
            _ => {}
        }
    }

    #[test]
    fn it_says_what_a_whole_implementation_of_the_standard_says() {
        let others = [
            json!(null),
            json!(true),
            json!(0),
            json!(-1),
            json!(1.0),
            json!(0.5),
            json!(9_007_199_254_740_992_u64),
            json!(-1e300),
            json!(u64::MAX),
            json!(""),
            json!("é"),
            json!("complete"),
            json!("zoom"),
            json!("123e4567-e89b-12d3-d456-426614174000"),
            json!("00000000-0000-0000-0000-000000000000"),
            json!("123E4567-E89B-42D3-A456-426614174000"),
            json!("123e4567e89b42d3a456426614174000"),
            json!("{123e4567-e89b-42d3-a456-426614174000}"),
            json!("2026-11-24T09:05:52+01:00"),
            json!("2026-11-24t09:05:52.123456789z"),
            json!("2026-02-29T09:05:52Z"),
            json!("2024-02-29T09:05:52Z"),
            json!("2026-11-24 09:05:52Z"),
            json!("2026-11-24T09:05Z"),
            json!("2026-11-24T24:00:00Z"),
            json!("2026-11-24T09:05:52+0100"),
            json!("2026-11-24T09:05:52"),
            json!("2026-11-24"),
            json!("2026-11-24T09:05:52.Z"),
            json!("http://[::1]/"),
            json!("http://[::1/"),
            json!("//example.com"),
            json!("a:b"),
            json!("http://exa mple"),
            json!("1:b"),
            json!("https://example.com/é"),
            json!("https://example.com/%zz"),
            json!("https://example.com/%20#x"),
            json!([]),
            json!([1]),
            json!(["a", 2]),
            json!([{}, {}]),
            json!({}),
            json!({"a": 1, "event": null}),
        ];
        let mut inputs = 0;
        for schema in all() {
            let label = schema.label();
            let patterns = Patterns::of(&schema.root);
            let validator = jsonschema::options().should_validate_formats(true).build(&schema.root).unwrap();
            let mut check = |value: &Value| {
                assert_eq!(
                    ours(&schema.root, &patterns, value),
                    theirs(&validator, value),
                    "{label}: {value}"
                );
                inputs += 1;
            };
            let whole = sample(&schema.root);
            check(&whole);
            let mut found = Vec::new();
            places(&whole, "", &mut found);
            for place in found {
                for other in &others {
                    let mut value = whole.clone();
                    *value.pointer_mut(&place).unwrap() = other.clone();
                    check(&value);
                }
                let mut value = whole.clone();
                match value.pointer_mut(&place).unwrap() {
                    Value::Object(members) => drop(members.insert("more".to_owned(), json!(1))),
                    Value::Array(items) => items.extend(items.clone()),
                    _ => {}
                }
                check(&value);
                if let Some((Value::Object(members), key)) =
                    place.rsplit_once('/').map(|(of, key)| (value.pointer_mut(of).unwrap(), key))
                {
                    members.remove(key);
                    check(&value);
                }
            }
        }
        assert!(inputs > 20_000, "{inputs}");
    }

    fn keywords(schema: &Value, found: &mut BTreeSet<String>) {
        for (keyword, rule) in schema.as_object().into_iter().flatten() {
            found.insert(keyword.clone());
            let within: Vec<&Value> = match (keyword.as_str(), rule) {
                ("properties", Value::Object(members)) => members.values().collect(),
                ("anyOf", Value::Array(branches)) => branches.iter().collect(),
                ("items" | "additionalProperties", schema) => vec![schema],
                // It says nothing in JSON.
                ("propertyNames", names) => {
                    assert_eq!(*names, json!({"type": "string"}));
                    continue;
                }
                _ => continue,
            };
            for schema in within {
                keywords(schema, found);
            }
        }
    }

    #[test]
    fn the_schemas_use_no_keyword_that_it_does_not_know() {
        let mut found = BTreeSet::new();
        for schema in all() {
            keywords(&schema.root, &mut found);
        }
        let known = [
            "$id",
            "$schema",
            "additionalProperties",
            "anyOf",
            "const",
            "description",
            "enum",
            "exclusiveMinimum",
            "format",
            "items",
            "maxItems",
            "maximum",
            "minItems",
            "minimum",
            "pattern",
            "properties",
            "propertyNames",
            "required",
            "type",
        ];
        let unknown = found.iter().filter(|one| !one.starts_with("x-") && !known.contains(&one.as_str()));
        assert_eq!(unknown.collect::<Vec<_>>(), Vec::<&String>::new());
    }
}
