//! What a schema expects of a value, in words.

use serde_json::Value;

/// The most values that are named one by one.
const MOST_NAMED: usize = 4;

/// What may stand there: an article and a noun.
struct Noun {
    article: &'static str,
    noun: String,
}

impl Noun {
    fn new(article: &'static str, noun: impl Into<String>) -> Self {
        Self { article, noun: noun.into() }
    }
}

/// What is expected, for a sentence: `a UUID or null`.
pub(super) fn expectation(schema: &Value) -> String {
    let nouns = nouns(schema).into_iter();
    nouns.map(|Noun { article, noun }| format!("{article}{noun}")).collect::<Vec<_>>().join(" or ")
}

/// What is expected, for a table: `UUID or null`.
pub(super) fn kind(schema: &Value) -> String {
    nouns(schema).into_iter().map(|Noun { noun, .. }| noun).collect::<Vec<_>>().join(" or ")
}

fn nouns(schema: &Value) -> Vec<Noun> {
    if let Some(value) = schema.get("const") {
        return vec![Noun::new("", value.to_string())];
    }
    if let Some(values) = schema["enum"].as_array() {
        return choice(values);
    }
    if let Some(branches) = schema["anyOf"].as_array() {
        return branches.iter().flat_map(nouns).collect();
    }
    match &schema["type"] {
        Value::String(name) => vec![of_type(name, schema)],
        Value::Array(names) => {
            names.iter().filter_map(Value::as_str).map(|name| of_type(name, schema)).collect()
        }
        _ => vec![Noun::new("", "anything")],
    }
}

fn choice(values: &[Value]) -> Vec<Noun> {
    if values.len() > MOST_NAMED {
        return vec![Noun::new("", format!("one of {} texts", values.len()))];
    }
    values.iter().map(|value| Noun::new("", value.to_string())).collect()
}

fn of_type(name: &str, schema: &Value) -> Noun {
    match (name, schema["format"].as_str()) {
        ("string", Some("uuid")) => Noun::new("a ", "UUID"),
        ("string", Some("uri")) => Noun::new("a ", "URL"),
        // The patterns of the vendor take no other offset.
        ("string", Some("date-time")) if schema.get("pattern").is_some() => {
            Noun::new("an ", "ISO 8601 time that ends in Z")
        }
        ("string", Some("date-time")) => Noun::new("an ", "ISO 8601 time"),
        ("string", _) => Noun::new("a ", "text"),
        ("boolean", _) => Noun::new("", "true or false"),
        ("integer", _) => Noun::new("a ", whole_number(schema)),
        ("array", _) => Noun::new("an ", array(schema)),
        ("object", _) => Noun::new("an ", "object"),
        ("number", _) => Noun::new("a ", "number"),
        (other, _) => Noun::new("", other),
    }
}

fn whole_number(schema: &Value) -> String {
    let least = schema["minimum"].as_i64().or(schema["exclusiveMinimum"].as_i64().map(|below| below + 1));
    match least.filter(|least| *least >= 0) {
        Some(least) => format!("whole number from {least}"),
        None => "whole number".to_owned(),
    }
}

fn array(schema: &Value) -> String {
    let item = kind(&schema["items"]);
    match (schema["minItems"].as_u64(), schema["maxItems"].as_u64()) {
        (Some(1), Some(1)) => format!("array of one {item}"),
        _ => format!("array of {item}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_read_well() {
        for (schema, expected) in [
            (r#"{"const": "complete"}"#, r#""complete""#),
            (r#"{"enum": ["google", "microsoft"]}"#, r#""google" or "microsoft""#),
            (r#"{"enum": [1, 2, 3, 4, 5]}"#, "one of 5 texts"),
            (r#"{"anyOf": [{"type": "string", "format": "uuid"}, {"type": "null"}]}"#, "a UUID or null"),
            (r#"{"type": ["object", "null"]}"#, "an object or null"),
            (
                r#"{"type": "string", "format": "date-time", "pattern": "Z$"}"#,
                "an ISO 8601 time that ends in Z",
            ),
            (r#"{"type": "string", "format": "uri"}"#, "a URL"),
            (r#"{"type": "integer", "minimum": 0}"#, "a whole number from 0"),
            (r#"{"type": "integer", "exclusiveMinimum": 0}"#, "a whole number from 1"),
            (r#"{"type": "integer", "minimum": -5}"#, "a whole number"),
            (r#"{"type": "array", "items": {"type": "string"}}"#, "an array of text"),
            (
                r#"{"type": "array", "items": {"type": "string", "format": "uuid"}, "minItems": 1, "maxItems": 1}"#,
                "an array of one UUID",
            ),
            (r#"{"type": "boolean"}"#, "true or false"),
            ("{}", "anything"),
        ] {
            assert_eq!(expectation(&serde_json::from_str(schema).unwrap()), expected);
        }
    }
}
