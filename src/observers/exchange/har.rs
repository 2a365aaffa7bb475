//! HAR 1.2, as browsers' developer tools read it: one entry for each attempt.
//!
//! <http://www.softwareishard.com/blog/har-12-spec/>. What the format has no place for stands in fields that begin with
//! `_`, as it asks for. An attempt without an answer has the status 0, as in the HAR files of browsers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::model::{Answer, Attempt, Delivery, Headers, Outcome, Request, millis};
use crate::store::Recorded;

/// What stands before the first entry.
pub const START: &str = concat!(
    r#"{"log":{"version":"1.2","creator":{"name":"mbaas-dev","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#""},"entries":["#
);

/// What stands between two entries.
pub const BETWEEN: &str = ",\n";

/// What stands behind the last entry.
pub const END: &str = "]}}\n";

/// The entries of a delivery: one for each attempt, and one without an answer when there was none.
pub fn entries(recorded: &Recorded) -> Vec<Value> {
    let Recorded { delivery, request } = recorded;
    if delivery.attempts.is_empty() {
        let host = request.headers.get_str("host").unwrap_or("localhost");
        let url = format!("http://{host}{}", delivery.path);
        let started = format!("{:.6}", delivery.received_at);
        return vec![entry(delivery, request, &url, &started, None)];
    }
    let of_attempt = |attempt: &Attempt| {
        let started = format!("{:.6}", attempt.started_at);
        entry(delivery, request, &attempt.target, &started, Some(attempt))
    };
    delivery.attempts.iter().map(|attempt| of_attempt(attempt)).collect()
}

fn entry(
    delivery: &Delivery,
    request: &Request,
    url: &str,
    started: &str,
    attempt: Option<&Attempt>,
) -> Value {
    let took = attempt.map(|attempt| millis(attempt.duration)).unwrap_or_default();
    let (answer, error) = match attempt.map(|attempt| &attempt.outcome) {
        Some(Outcome::Answered(answer)) => (Some(answer), None),
        Some(Outcome::Failed(failure)) => {
            (None, Some(format!("{}: {}", failure.kind.as_str(), failure.detail)))
        }
        None => (None, Some("not forwarded".to_owned())),
    };
    let mut response = response(answer);
    if let Some(error) = error {
        response["_error"] = error.into();
    }
    json!({
        "startedDateTime": started,
        "time": took,
        "request": request_object(request, url),
        "response": response,
        "cache": {},
        "timings": { "blocked": -1, "dns": -1, "connect": -1, "send": 0, "wait": took, "receive": 0, "ssl": -1 },
        "_id": delivery.id.as_str(),
        "_number": delivery.number,
        "_origin": delivery.origin.as_str(),
        "_event_type": delivery.kind.event_type.as_ref().map(crate::model::EventType::as_str),
        "_signature": delivery.signature.as_str(),
        "_attempt": attempt.map(|attempt| attempt.number),
    })
}

fn request_object(request: &Request, url: &str) -> Value {
    let mut object = json!({
        "method": request.method,
        "url": url,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": headers(&request.headers),
        "queryString": query(url),
        "headersSize": -1,
        "bodySize": request.body.len(),
    });
    if !request.trailers.is_empty() {
        object["_trailers"] = headers(&request.trailers);
    }
    if !request.body.is_empty() {
        let mut data = content(&request.headers, &request.body);
        if let Some(encoding) = data.remove("encoding") {
            // The format knows text only here.
            data.insert("_encoding".to_owned(), encoding);
        }
        object["postData"] = Value::Object(data);
    }
    object
}

fn response(answer: Option<&Answer>) -> Value {
    let Some(answer) = answer else {
        return json!({
            "status": 0, "statusText": "", "httpVersion": "HTTP/1.1", "cookies": [], "headers": [],
            "content": { "size": 0, "mimeType": "x-unknown" }, "redirectURL": "", "headersSize": -1, "bodySize": -1,
        });
    };
    let mut content = content(&answer.headers, &answer.body);
    content.insert("size".to_owned(), answer.body.len().into());
    if answer.cut {
        content.insert("comment".to_owned(), "the answer was longer than what is kept".into());
    }
    let reason = http::StatusCode::from_u16(answer.status).ok().and_then(|status| status.canonical_reason());
    json!({
        "status": answer.status,
        "statusText": reason.unwrap_or_default(),
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": headers(&answer.headers),
        "content": content,
        "redirectURL": answer.headers.get_str("location").unwrap_or_default(),
        "headersSize": -1,
        "bodySize": if answer.cut { json!(-1) } else { json!(answer.body.len()) },
    })
}

fn content(headers: &Headers, body: &[u8]) -> Map<String, Value> {
    let mut content = Map::new();
    let kind = headers.get_str("content-type").unwrap_or("application/octet-stream");
    content.insert("mimeType".to_owned(), kind.into());
    if let Ok(text) = std::str::from_utf8(body) {
        content.insert("text".to_owned(), text.into());
    } else {
        content.insert("text".to_owned(), STANDARD.encode(body).into());
        content.insert("encoding".to_owned(), "base64".into());
    }
    content
}

fn headers(headers: &Headers) -> Value {
    let field = |(name, value): (&bytes::Bytes, &bytes::Bytes)| json!({ "name": String::from_utf8_lossy(name), "value": String::from_utf8_lossy(value) });
    headers.iter().map(field).collect()
}

/// The parameters of the URL, as written.
fn query(url: &str) -> Value {
    let query = url.split_once('?').map(|(_, query)| query.split('#').next().unwrap_or_default());
    let parameters = query.into_iter().flat_map(|query| query.split('&')).filter(|part| !part.is_empty());
    parameters
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            json!({ "name": name, "value": value })
        })
        .collect()
}
