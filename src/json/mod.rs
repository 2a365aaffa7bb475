//! JSON as JavaScript sees it: read as `JSON.parse` does, written as `JSON.stringify` does.
//!
//! Handlers verify a signature either over the bytes they received or over `JSON.stringify(JSON.parse(body))`.
//! A body that [`Json::to_canonical`] wrote satisfies both, since it is what V8 would write for it.

mod align;
mod diff;
mod edit;
mod error;
mod literal;
mod locate;
mod parse;
mod path;
mod path_error;
mod serialisers;
mod show;
mod text;
mod utf8;
mod write;

use std::borrow::Cow;

use indexmap::IndexMap;

pub use diff::{Change, diff};
pub use error::{Position, SyntaxError};
pub use locate::{locate, written_number};
pub use path::{Path, Segment};
pub use path_error::PathError;
pub use serialisers::{Serialiser, Written};
pub use text::Text;
pub use utf8::{Utf16, utf8};

/// A JSON value as JavaScript sees it.
///
/// Objects keep the order in which their keys came; the writer moves integer-like keys to the front, as
/// JavaScript does. Two objects are equal when their members are, in whatever order.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// Any number: JavaScript has only doubles. One that is not finite is written `null`.
    Number(f64),
    /// A string.
    String(Text),
    /// An array.
    Array(Vec<Json>),
    /// An object.
    Object(IndexMap<Text, Json>),
}

impl Json {
    /// A string value holding this text.
    #[must_use]
    pub fn string(plain: &str) -> Self {
        Self::String(Text::new(plain))
    }

    /// What `typeof` should have said: `null`, `boolean`, `number`, `string`, `array` or `object`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// The decoded text of a string; `None` for other kinds and for a string with a lone surrogate.
    #[must_use]
    pub fn as_str(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::String(text) => text.to_plain(),
            _ => None,
        }
    }

    /// The items of an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Json]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The members of an object.
    #[must_use]
    pub fn as_object(&self) -> Option<&IndexMap<Text, Json>> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The value of this key, when this is an object that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Json> {
        self.as_object()?.get(&Text::new(key))
    }
}

impl From<serde_json::Value> for Json {
    fn from(value: serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Null,
            Value::Bool(truth) => Self::Bool(truth),
            // Without a double there is only a number beyond all doubles, which JavaScript writes as null.
            Value::Number(number) => number.as_f64().map_or(Self::Null, Self::Number),
            Value::String(plain) => Self::string(&plain),
            Value::Array(items) => Self::Array(items.into_iter().map(Self::from).collect()),
            Value::Object(members) => Self::Object(
                members.into_iter().map(|(key, value)| (Text::new(&key), Self::from(value))).collect(),
            ),
        }
    }
}

impl From<&Json> for serde_json::Value {
    /// For checking a value, not for sending it: half of a surrogate pair becomes its escape.
    fn from(value: &Json) -> Self {
        match value {
            Json::Null => Self::Null,
            Json::Bool(truth) => Self::Bool(*truth),
            Json::Number(number) => as_serde_number(*number),
            Json::String(text) => Self::String(as_serde_text(text)),
            Json::Array(items) => Self::Array(items.iter().map(Self::from).collect()),
            Json::Object(members) => Self::Object(
                members.iter().map(|(key, value)| (as_serde_text(key), Self::from(value))).collect(),
            ),
        }
    }
}

fn as_serde_text(text: &Text) -> String {
    text.to_plain().map_or_else(|| text.escaped().to_owned(), Cow::into_owned)
}

/// A whole number as an integer, which is what a schema asks for.
#[expect(clippy::cast_possible_truncation, reason = "as far as doubles are exact, every integer is an i64")]
fn as_serde_number(number: f64) -> serde_json::Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        return serde_json::Value::from(number as i64);
    }
    // What is not finite is written as null.
    serde_json::Value::from(number)
}

#[cfg(test)]
mod tests {
    use super::Json;

    fn parse(source: &str) -> Json {
        Json::parse(source.as_bytes()).expect("the sample is well formed")
    }

    #[test]
    fn the_kind_is_javascripts_but_for_null_and_arrays() {
        let kinds: Vec<_> = parse(r#"[null, true, 1, "", [], {}]"#)
            .as_array()
            .expect("the sample is an array")
            .iter()
            .map(Json::kind)
            .collect();
        assert_eq!(kinds, ["null", "boolean", "number", "string", "array", "object"]);
    }

    #[test]
    fn the_helpers_answer_for_their_own_kind_only() {
        let body = parse(r#"{"event": "a\nb", "half": "\ud800"}"#);
        assert_eq!(body.get("event").and_then(Json::as_str).as_deref(), Some("a\nb"));
        assert_eq!(body.get("half").and_then(Json::as_str), None);
        assert_eq!(body.get("missing"), None);
        assert_eq!(Json::Null.get("event"), None);
        assert_eq!(body.as_str(), None);
        assert!(body.as_array().is_none());
        assert!(Json::Null.as_object().is_none());
    }

    #[test]
    fn a_serde_value_becomes_what_javascript_would_hold() {
        let value = serde_json::json!({
            "b": [1, 2.0, -3, u64::MAX, 9_007_199_254_740_993_u64],
            "a": {"q\"uote": "tab\t", "t": true, "n": null},
        });
        assert_eq!(
            Json::from(value).to_canonical(),
            concat!(
                r#"{"b":[1,2,-3,18446744073709552000,9007199254740992],"#,
                r#""a":{"q\"uote":"tab\t","t":true,"n":null}}"#
            )
        );
    }

    #[test]
    fn for_a_schema_whole_numbers_are_integers() {
        let value = serde_json::Value::from(&parse(r#"{"a": [2.0, 2.5, 1e300, 1e400], "half": "\ud800x"}"#));
        assert_eq!(value, serde_json::json!({"a": [2, 2.5, 1e300, null], "half": "\\ud800x"}));
    }
}
