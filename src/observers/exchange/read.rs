//! Reads a delivery from a line of NDJSON. A file may come from anywhere, so nothing in it is believed.

use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;

use crate::model::{
    Answer, Attempt, FORMAT_VERSION, Failure, FailureKind, Headers, Incoming, KEPT_ANSWER_BYTES, Kind,
    NotForwarded, Origin, Outcome, Request, Verdict,
};

/// A delivery with headers, body and answers; fields that follow from others are passed over.
#[derive(Deserialize)]
struct Line {
    v: u64,
    id: String,
    received_at: String,
    origin: String,
    contract: Option<String>,
    event_type: Option<String>,
    wire_event: Option<String>,
    method: String,
    path: String,
    signature: String,
    signature_note: Option<String>,
    not_forwarded: Option<String>,
    replay_of: Option<String>,
    headers: Vec<(String, FieldValue)>,
    body: Option<String>,
    body_b64: Option<String>,
    #[serde(default)]
    trailers: Vec<(String, FieldValue)>,
    attempts: Vec<AttemptShape>,
}

#[derive(Deserialize)]
struct AttemptShape {
    number: u32,
    target: String,
    started_at: String,
    duration_ms: f64,
    duration_us: Option<u64>,
    status: Option<u16>,
    error: Option<String>,
    detail: Option<String>,
    #[serde(default)]
    headers: Vec<(String, FieldValue)>,
    body: Option<String>,
    body_b64: Option<String>,
    #[serde(default)]
    body_cut: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FieldValue {
    Text(String),
    Bytes { b64: String },
}

/// The delivery and its attempts on a line, or what is wrong with it. What is quoted of the line is hostile.
pub fn read(line: &[u8]) -> Result<(Incoming, Vec<Attempt>), String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| {
        let message = error.to_string();
        let what = message.split(" at line 1 column ").next().unwrap_or_default();
        format!("column {}: {what}", error.column())
    })?;
    if line.v != u64::from(FORMAT_VERSION) {
        return Err(format!("`v` is {}, and this program knows 1 only: update mbaas-dev", line.v));
    }
    let mut attempts: Vec<Attempt> = Vec::with_capacity(line.attempts.len().min(64));
    for (index, shape) in line.attempts.into_iter().enumerate() {
        let attempt = attempt(shape).map_err(|error| format!("attempt {}: {error}", index + 1))?;
        if attempts.last().map_or(0, |before| before.number) >= attempt.number {
            return Err("`attempts` are not numbered in their order".to_owned());
        }
        attempts.push(attempt);
    }
    let incoming = Incoming {
        id: parsed("id", &line.id)?,
        received_at: time("received_at", &line.received_at)?,
        origin: named("origin", &line.origin, Origin::from_name)?,
        replay_of: optional("replay_of", line.replay_of)?,
        kind: Kind {
            contract: optional("contract", line.contract)?,
            event_type: optional("event_type", line.event_type)?,
            wire_event: line.wire_event,
        },
        signature: named("signature", &line.signature, Verdict::from_name)?,
        signature_note: line.signature_note.map(Into::into),
        not_forwarded: line
            .not_forwarded
            .map(|why| named("not_forwarded", &why, NotForwarded::from_name))
            .transpose()?,
        relayed: None,
        request: Request {
            method: method(line.method)?,
            path: path(line.path)?,
            headers: headers(line.headers)?,
            body: body(line.body, line.body_b64)?,
            trailers: headers(line.trailers)?,
        },
    };
    Ok((incoming, attempts))
}

fn attempt(shape: AttemptShape) -> Result<Attempt, String> {
    let duration = match shape.duration_us {
        Some(micros) => Duration::from_micros(micros),
        None => Duration::try_from_secs_f64(shape.duration_ms / 1000.0)
            .map_err(|_negative| "`duration_ms` is not a duration".to_owned())?,
    };
    let outcome = match (shape.status, shape.error) {
        (Some(status @ 100..=999), None) => {
            let mut body = body(shape.body, shape.body_b64)?;
            let cut = shape.body_cut || body.len() > KEPT_ANSWER_BYTES;
            body.truncate(KEPT_ANSWER_BYTES);
            Outcome::Answered(Answer { status, headers: headers(shape.headers)?, body, cut })
        }
        (None, Some(error)) => Outcome::Failed(Failure {
            kind: named("error", &error, FailureKind::from_name)?,
            detail: shape.detail.unwrap_or_default(),
        }),
        _ => return Err("it has either a `status` from 100 to 999 or an `error`".to_owned()),
    };
    let started_at = time("started_at", &shape.started_at)?;
    Ok(Attempt { number: shape.number, target: shape.target, started_at, duration, outcome })
}

fn body(text: Option<String>, encoded: Option<String>) -> Result<Bytes, String> {
    match (text, encoded) {
        (Some(text), None) => Ok(Bytes::from(text)),
        (None, Some(encoded)) => base64("body_b64", &encoded),
        (None, None) => Err("there is neither `body` nor `body_b64`".to_owned()),
        (Some(_), Some(_)) => Err("there are both `body` and `body_b64`".to_owned()),
    }
}

fn base64(field: &str, encoded: &str) -> Result<Bytes, String> {
    STANDARD.decode(encoded).map(Bytes::from).map_err(|error| format!("`{field}` is not base64: {error}"))
}

/// Fields as HTTP has them: what could not have come over the wire does not get into the record.
fn headers(fields: Vec<(String, FieldValue)>) -> Result<Headers, String> {
    let mut headers = Headers::new();
    for (name, value) in fields {
        let value = match value {
            FieldValue::Text(text) => Bytes::from(text),
            FieldValue::Bytes { b64 } => base64("b64", &b64)?,
        };
        let is_field = http::HeaderName::from_bytes(name.as_bytes()).is_ok()
            && http::HeaderValue::from_bytes(&value).is_ok();
        if !is_field {
            return Err(format!("`{name}` is not a header field that HTTP allows"));
        }
        headers.push(name, value);
    }
    Ok(headers)
}

fn method(method: String) -> Result<String, String> {
    match http::Method::from_bytes(method.as_bytes()) {
        Ok(_) => Ok(method),
        Err(_) => Err(format!("`{method}` is not a method")),
    }
}

fn path(path: String) -> Result<String, String> {
    let is_path = path.starts_with('/') && !path.bytes().any(|byte| byte <= b' ' || byte == 0x7f);
    if is_path { Ok(path) } else { Err(format!("`{path}` is not a path")) }
}

fn time(field: &str, text: &str) -> Result<Timestamp, String> {
    let time: Timestamp = parsed(field, text)?;
    // The record keeps microseconds.
    Timestamp::from_microsecond(time.as_microsecond()).map_err(|error| format!("`{field}`: {error}"))
}

fn named<T>(field: &str, name: &str, from_name: impl FnOnce(&str) -> Option<T>) -> Result<T, String> {
    from_name(name).ok_or_else(|| format!("`{field}` cannot be `{name}`"))
}

fn parsed<T: FromStr<Err: ToString>>(field: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| format!("`{field}`: {}", error.to_string()))
}

fn optional<T: FromStr<Err: ToString>>(field: &str, text: Option<String>) -> Result<Option<T>, String> {
    text.map(|text| parsed(field, &text)).transpose()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn good() -> Value {
        json!({
            "v": 1, "id": format!("dlv_{}", "a".repeat(32)), "number": 7,
            "received_at": "2026-11-24T02:18:24.123456Z", "origin": "ingress", "contract": "preview",
            "event_type": "meeting.failed", "wire_event": "failed", "method": "POST", "path": "/x?y=1",
            "body_bytes": 2, "signature": "valid", "replay_of": null,
            "headers": [["Host", "a"], ["X", {"b64": "/w=="}]], "body": "{}",
            "attempts": [
                {"number": 1, "target": "http://localhost/", "started_at": "2026-11-24T02:18:25Z",
                 "duration_ms": 8.1, "duration_us": 8123, "status": 200, "error": null,
                 "headers": [["A", "b"]], "body_b64": "/w==", "body_cut": true},
                {"number": 2, "target": "http://localhost/", "started_at": "2026-11-24T02:18:26Z",
                 "duration_ms": 0.5, "status": null, "error": "refused", "detail": "nobody"},
            ],
        })
    }

    #[test]
    fn everything_is_read_to_the_byte_and_to_the_microsecond() {
        let (incoming, attempts) = read(good().to_string().as_bytes()).unwrap();
        assert_eq!(incoming.request.headers.iter().last().unwrap().1.as_ref(), b"\xff");
        assert_eq!(incoming.received_at.as_microsecond() % 1_000_000, 123_456);
        assert_eq!(incoming.kind.wire_event.as_deref(), Some("failed"));
        assert_eq!(attempts[0].duration, Duration::from_micros(8123));
        assert!(
            matches!(&attempts[0].outcome, Outcome::Answered(answer) if answer.cut && answer.body[..] == b"\xff"[..])
        );
        assert_eq!(attempts[1].duration, Duration::from_micros(500));
        assert!(matches!(&attempts[1].outcome, Outcome::Failed(failure) if failure.detail == "nobody"));
    }

    #[test]
    fn what_could_not_have_been_recorded_is_refused_with_its_field() {
        for (pointer, value, complaint) in [
            ("/v", json!(2), "`v` is 2"),
            ("/id", json!("x"), "`id`: `x`"),
            ("/received_at", json!("yesterday"), "`received_at`"),
            ("/origin", json!("mars"), "`origin` cannot be `mars`"),
            ("/contract", json!("v9"), "`contract`"),
            ("/event_type", json!("../x"), "`event_type`"),
            ("/method", json!("A B"), "is not a method"),
            ("/path", json!("//\n"), "is not a path"),
            ("/path", json!("http://evil/"), "is not a path"),
            ("/signature", json!(null), "column"),
            ("/headers/0/0", json!("A: b\r\nC"), "is not a header field"),
            ("/headers/0/1", json!("a\r\nb: c"), "is not a header field"),
            ("/headers/1/1/b64", json!("!"), "is not base64"),
            ("/body", json!(null), "neither `body` nor"),
            ("/attempts/0/status", json!(99), "attempt 1"),
            ("/attempts/0/error", json!("refused"), "attempt 1: it has either"),
            ("/attempts/1/error", json!("tired"), "attempt 2: `error` cannot be"),
            ("/attempts/1/duration_ms", json!(-1), "`duration_ms` is not"),
            ("/attempts/1/number", json!(1), "not numbered in their order"),
        ] {
            let mut line = good();
            *line.pointer_mut(pointer).unwrap() = value;
            let error = read(line.to_string().as_bytes()).unwrap_err();
            assert!(error.contains(complaint), "{pointer}: {error}");
        }
        assert!(read(b"{").unwrap_err().starts_with("column 1: EOF"));
        assert!(read(b"{}").unwrap_err().contains("missing field `v`"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&bytes).is_err());
        }
    }
}
