//! The inspector's answers: JSON objects, faults that teach, and files that a browser saves and never shows.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::response::Parts;
use serde_json::{Value, json};

use super::guard::Refusal;
use crate::model::FORMAT_VERSION;
use crate::store::StoreError;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Something that was asked for and is not to be had.
#[derive(Debug)]
pub struct Fault {
    status: StatusCode,
    /// For programs.
    code: &'static str,
    /// What is wrong.
    message: String,
    /// What to do; may be empty.
    hint: String,
}

impl Fault {
    /// A fault without a hint.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), hint: String::new() }
    }

    /// The client asked wrongly.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "request", message)
    }

    /// There is nothing of that name.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// The same with a sentence that says what to do.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: hint.into(), ..self }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store", error.to_string()).hint(error.hint())
    }
}

impl From<Refusal> for Fault {
    fn from(Refusal { status, code, message }: Refusal) -> Self {
        Self::new(status, code, message)
    }
}

impl Fault {
    fn object(&self) -> Value {
        let Self { code, message, hint, .. } = self;
        json!({ "v": FORMAT_VERSION, "error": code, "message": message, "hint": hint })
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = object_answer(&self.object());
        *response.status_mut() = self.status;
        response
    }
}

/// Whether it is what the router says by itself of a request that no handler of ours got to see.
pub fn is_of_router(answer: &Parts) -> bool {
    answer.status.is_client_error() && answer.headers.get(CONTENT_TYPE).is_none_or(|kind| kind != JSON)
}

/// The same as every other fault says it; the new body.
pub fn said_as_fault(answer: &mut Parts, text: &[u8]) -> Bytes {
    let code = match answer.status {
        StatusCode::METHOD_NOT_ALLOWED => "method",
        StatusCode::PAYLOAD_TOO_LARGE => "too_large",
        _ => "request",
    };
    let text = String::from_utf8_lossy(text);
    let message = match answer.status {
        StatusCode::METHOD_NOT_ALLOWED => "this takes another method".to_owned(),
        // It says first what it did itself, and then what is wrong.
        _ => text.split_once(": ").map_or(&*text, |(_, why)| why).to_owned(),
    };
    let fault =
        Fault::new(answer.status, code, message).hint("/api/openapi.json says what there is to ask for");
    answer.headers.insert(CONTENT_TYPE, JSON);
    // It is that of the text.
    answer.headers.remove(CONTENT_LENGTH);
    fault.object().to_string().into()
}

/// A JSON object.
pub fn object_answer(object: &Value) -> Response {
    text_answer(object.to_string())
}

/// JSON that is text already.
pub fn text_answer(json: String) -> Response {
    let mut response = Response::new(Body::from(json));
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// Bytes from the wire: a browser saves them under `name`, which is ours, whatever they are.
pub fn file_answer(bytes: impl Into<Bytes>, name: &str) -> Response {
    let mut response = Response::new(Body::from(bytes.into()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    response
}
