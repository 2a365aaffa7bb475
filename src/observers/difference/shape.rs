//! Differences for programs: the JSON shape of each.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{BodyDifference, Ended, HeaderDifference, OutcomeDifference, RequestDifference, Sides};
use crate::json::{Change, Json};
use crate::model::{Delivery, FORMAT_VERSION, millis};

/// The object of a comparison: of two deliveries, or of what came of them.
pub fn object(from: &Delivery, to: &Delivery, answers: bool, difference: Value) -> Value {
    let side = |delivery: &Delivery| json!({ "id": delivery.id.as_str(), "number": delivery.number });
    let of = if answers { "answers" } else { "requests" };
    let mut object = json!({ "v": FORMAT_VERSION, "of": of, "a": side(from), "b": side(to) });
    if let (Value::Object(object), Value::Object(difference)) = (&mut object, difference) {
        object.extend(difference);
    }
    object
}

impl RequestDifference {
    /// As an object: `method` and `path` are null when they are the same.
    pub fn to_value(&self) -> Value {
        json!({
            "same": self.is_none(),
            "method": unless_same(&self.method),
            "path": unless_same(&self.path),
            "headers": headers(&self.headers),
            "body": body(&self.body),
        })
    }
}

impl OutcomeDifference {
    /// As an object; `same` is about everything but the latency.
    pub fn to_value(&self) -> Value {
        let status = |ended| match ended {
            Some(Ended::Status(status)) => Some(status),
            Some(Ended::Error(_)) | None => None,
        };
        let error = |ended| match ended {
            Some(Ended::Error(error)) => Some(error),
            Some(Ended::Status(_)) | None => None,
        };
        let Sides { from, to } = self.ended;
        json!({
            "same": self.is_none(),
            "status": { "from": status(from), "to": status(to) },
            "error": { "from": error(from), "to": error(to) },
            "latency_ms": { "from": self.latency.from.map(millis), "to": self.latency.to.map(millis) },
            "headers": headers(&self.headers),
            "body": body(&self.body),
        })
    }
}

fn unless_same(sides: &Sides<String>) -> Value {
    if sides.is_same() { Value::Null } else { json!({ "from": sides.from, "to": sides.to }) }
}

fn headers(headers: &[HeaderDifference]) -> Value {
    let values = |values: &[bytes::Bytes]| -> Value { values.iter().map(|value| text(value)).collect() };
    headers
        .iter()
        .map(|header| {
            json!({
                "name": String::from_utf8_lossy(&header.name),
                "from": values(&header.values.from),
                "to": values(&header.values.to),
            })
        })
        .collect()
}

/// A text; what is not UTF-8 is an object with its base64.
fn text(value: &[u8]) -> Value {
    match std::str::from_utf8(value) {
        Ok(text) => text.into(),
        Err(_) => json!({ "b64": STANDARD.encode(value) }),
    }
}

fn body(body: &BodyDifference) -> Value {
    match body {
        BodyDifference::Same => json!({ "kind": "same" }),
        BodyDifference::Json(changes) => {
            json!({ "kind": "json", "changes": changes.iter().map(change).collect::<Value>() })
        }
        BodyDifference::Text(unified) => json!({ "kind": "text", "diff": unified }),
        BodyDifference::Binary { from, to } => {
            json!({ "kind": "binary", "bytes": { "from": from, "to": to } })
        }
    }
}

fn change(change: &Change) -> Value {
    let (kind, path, values) = match change {
        Change::Added { path, value } => ("added", path, vec![("value", value)]),
        Change::Removed { path, value } => ("removed", path, vec![("value", value)]),
        Change::Changed { path, from, to } => ("changed", path, vec![("from", from), ("to", to)]),
    };
    let mut object = Map::new();
    object.insert("change".to_owned(), kind.into());
    object.insert("path".to_owned(), path.to_string().into());
    object.extend(values.into_iter().map(|(name, value)| (name.to_owned(), plain(value))));
    Value::Object(object)
}

/// The same value for the other JSON library; one that it cannot hold (a lone surrogate) as the text of its JSON.
fn plain(value: &Json) -> Value {
    let text = value.to_canonical();
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}
