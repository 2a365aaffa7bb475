//! What senders are told: by the relay itself, or by a handler, of whose answer nothing may act in a browser.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::serve::Body;

/// What keeps a page from doing anything, should a browser ever show one.
const HARMLESS: [(HeaderName, HeaderValue); 3] = [
    (
        HeaderName::from_static("content-security-policy"),
        HeaderValue::from_static("sandbox; default-src 'none'"),
    ),
    (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff")),
    (HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex")),
];

/// What concerns the whole host, or a browser that would show the answer: no sender of webhooks needs it.
const DROPPED: [&str; 27] = [
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-allow-private-network",
    "access-control-expose-headers",
    "access-control-max-age",
    "alt-svc",
    "clear-site-data",
    "content-disposition",
    "cross-origin-opener-policy",
    "expect-ct",
    "link",
    "location",
    "nel",
    "origin-agent-cluster",
    "permissions-policy",
    "public-key-pins",
    "refresh",
    "report-to",
    "reporting-endpoints",
    "service-worker-allowed",
    "set-cookie",
    "set-cookie2",
    "sourcemap",
    "strict-transport-security",
    "www-authenticate",
];

/// The types that webhooks are answered with; any other is passed on as plain text.
const KNOWN_TYPES: [&str; 4] =
    ["application/json", "application/problem+json", "text/plain", "application/octet-stream"];

/// An answer with a JSON body.
pub fn answer(status: StatusCode, body: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A text of some type.
pub fn text(kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Why something is not done.
pub fn report(status: StatusCode, error: &str, message: &str) -> Response<Body> {
    answer(status, &json!({ "error": error, "message": message }))
}

/// Something that may be done in so many seconds. It is never a 4xx, on which some senders give up for good.
pub fn try_again(seconds: u16, error: &str, message: &str) -> Response<Body> {
    let mut response = report(StatusCode::SERVICE_UNAVAILABLE, error, message);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// The request is on disk: its sender need not send it again.
pub fn kept(message: &str) -> Response<Body> {
    answer(StatusCode::ACCEPTED, &json!({ "status": "kept", "message": message }))
}

/// A handler's answer, on the host that many handlers share: it sets nothing there, leads nowhere, and nothing of it is run.
pub fn harmless(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    for name in DROPPED {
        headers.remove(name);
    }
    if headers.get(CONTENT_TYPE).is_some_and(|kind| !is_known(kind)) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    for (name, value) in HARMLESS {
        headers.insert(name, value);
    }
    response
}

fn is_known(kind: &HeaderValue) -> bool {
    let essence = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    KNOWN_TYPES.iter().any(|known| essence.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_is_a_page() {
        let kinds = [
            ("application/json", "application/json"),
            ("Application/JSON; charset=utf-8", "Application/JSON; charset=utf-8"),
            ("text/plain", "text/plain"),
            ("text/html", "text/plain; charset=utf-8"),
            ("TEXT/HTML; charset=utf-8", "text/plain; charset=utf-8"),
            ("application/xhtml+xml", "text/plain; charset=utf-8"),
            ("image/svg+xml", "text/plain; charset=utf-8"),
            ("text/xml", "text/plain; charset=utf-8"),
            ("application/pdf", "text/plain; charset=utf-8"),
            ("text/javascript", "text/plain; charset=utf-8"),
            ("multipart/x-mixed-replace; boundary=x", "text/plain; charset=utf-8"),
            ("application/json, text/html", "text/plain; charset=utf-8"),
        ];
        for (kind, expected) in kinds {
            let mut response = report(StatusCode::OK, "", "");
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            for name in DROPPED {
                response.headers_mut().insert(name, HeaderValue::from_static("a=b"));
            }
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("7"));
            let harmless = harmless(response);
            let headers = harmless.headers();
            assert_eq!(headers[CONTENT_TYPE], expected, "{kind}");
            assert!(headers["content-security-policy"].to_str().unwrap().starts_with("sandbox"));
            assert!(DROPPED.iter().all(|name| !headers.contains_key(*name)));
            assert_eq!(headers[RETRY_AFTER], "7");
        }
        println!("inputs={} violations=0", kinds.len());
    }
}
