//! Recorded deliveries as other programs hold them: JSON objects with everything, entries of a HAR file.

pub mod export;
mod har;
mod read;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

pub use self::read::read;
use super::advice::advice;
use super::drift::{self, drift};
use crate::contract::redact;
use crate::model::{Headers, Outcome};
use crate::store::Recorded;

/// The delivery's object with headers, body and answers added.
pub fn whole(recorded: &Recorded) -> serde_json::Result<Value> {
    let Recorded { delivery, request } = recorded;
    let mut object = serde_json::to_value(delivery)?;
    object["headers"] = headers(&request.headers);
    add_bytes(&mut object, &request.body);
    if !request.trailers.is_empty() {
        object["trailers"] = headers(&request.trailers);
    }
    for (attempt, shape) in
        delivery.attempts.iter().zip(object["attempts"].as_array_mut().into_iter().flatten())
    {
        match &attempt.outcome {
            Outcome::Answered(answer) => {
                shape["headers"] = headers(&answer.headers);
                add_bytes(shape, &answer.body);
                shape["body_cut"] = answer.cut.into();
            }
            Outcome::Failed(failure) => shape["detail"] = failure.detail.clone().into(),
        }
    }
    Ok(object)
}

/// The delivery's object for whoever looks at it: everything, where its body is not as documented, and what to do where it
/// was not acknowledged. A body over `most` bytes is left out, and `body_omitted` says so.
pub fn shown(recorded: &Recorded, most: Option<usize>) -> serde_json::Result<Value> {
    let most = most.unwrap_or(usize::MAX);
    let mut short = recorded.clone();
    let omitted = leave_out(&mut short.request.body, most);
    let mut answers = Vec::new();
    for attempt in &mut short.delivery.attempts {
        answers.push(match &mut Arc::make_mut(attempt).outcome {
            Outcome::Answered(answer) => leave_out(&mut answer.body, most),
            Outcome::Failed(_) => false,
        });
    }
    let mut object = whole(&short)?;
    mark(&mut object, omitted);
    for (attempt, omitted) in object["attempts"].as_array_mut().into_iter().flatten().zip(answers) {
        mark(attempt, omitted);
    }
    object["schema"] = drift(recorded).as_ref().map_or(Value::Null, drift::object);
    if let Some(hint) = advice(&recorded.delivery, None) {
        object["hint"] = hint.into();
    }
    Ok(object)
}

/// Empties a body that is longer; whether it was.
fn leave_out(body: &mut Bytes, most: usize) -> bool {
    let is_longer = body.len() > most;
    if is_longer {
        body.clear();
    }
    is_longer
}

/// Says that a body was left out.
fn mark(object: &mut Value, omitted: bool) {
    if let Some(object) = object.as_object_mut().filter(|_| omitted) {
        object.remove("body");
        object.insert("body_omitted".to_owned(), true.into());
    }
}

/// A line that [`read()`] reads back without loss: the whole object, and durations to the microsecond.
pub fn line(recorded: &Recorded) -> serde_json::Result<String> {
    let mut object = whole(recorded)?;
    let shapes = object["attempts"].as_array_mut().into_iter().flatten();
    for (attempt, shape) in recorded.delivery.attempts.iter().zip(shapes) {
        shape["duration_us"] = u64::try_from(attempt.duration.as_micros()).unwrap_or(u64::MAX).into();
    }
    Ok(object.to_string())
}

/// The same delivery without what must not leave the machine.
#[must_use]
pub fn redacted(mut recorded: Recorded) -> Recorded {
    let Recorded { delivery, request } = &mut recorded;
    delivery.path = redact::text(&delivery.path);
    request.path = redact::text(&request.path);
    request.headers = redact::headers(&request.headers);
    request.trailers = redact::headers(&request.trailers);
    request.body = redact::body(&request.body);
    delivery.body_bytes = request.body.len() as u64;
    for attempt in &mut delivery.attempts {
        let attempt = Arc::make_mut(attempt);
        attempt.target = redact::text(&attempt.target);
        match &mut attempt.outcome {
            Outcome::Answered(answer) => {
                answer.headers = redact::headers(&answer.headers);
                answer.body = redact::body(&answer.body);
            }
            Outcome::Failed(failure) => failure.detail = redact::text(&failure.detail),
        }
    }
    recorded
}

/// Header fields as pairs; a value that is not UTF-8 is an object with its base64.
fn headers(headers: &Headers) -> Value {
    headers
        .iter()
        .map(|(name, value)| {
            let value = match std::str::from_utf8(value) {
                Ok(text) => Value::from(text),
                Err(_) => json!({ "b64": STANDARD.encode(value) }),
            };
            json!([String::from_utf8_lossy(name), value])
        })
        .collect()
}

fn add_bytes(object: &mut Value, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object["body"] = text.into(),
        Err(_) => object["body_b64"] = STANDARD.encode(bytes).into(),
    }
}
