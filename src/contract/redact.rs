//! What must not leave the machine with a recording, and what stands in its place.
//!
//! Gone are credentials and signatures in headers; user names and passwords in URLs; the values of query parameters that
//! are named like a secret (signed media URLs work for whoever has them, for hours); texts in JSON, parts of forms,
//! elements and lines whose name says that they are one; and what hides such a thing below base64 or percent-encoding.
//! Everything else stays as it is, to the byte.

use std::borrow::Cow;

use bytes::Bytes;

use super::credentials::{MASK, is_credential};
use super::{redact_json, redact_multipart, redact_text};
use crate::model::Headers;

/// How many layers of encoding, or of JSON within strings, are looked through: a URL is often a parameter of another.
pub(super) const MOST_LAYERS: usize = 4;

/// Lower-case parts of names of headers that carry a credential or a signature.
const HEADER_PARTS: [&str; 9] =
    ["token", "secret", "api-key", "apikey", "password", "signature", "authorization", "auth-", "cookie"];

/// The same headers with credentials and signatures masked, and without secrets in URLs.
///
/// The mask is that of the record, so that what is imported again is replayed without the fields that it stands for.
pub fn headers(headers: &Headers) -> Headers {
    let redacted = |(name, value): (&Bytes, &Bytes)| {
        let value = if is_credential(name) || is_secret_name(name) {
            MASK
        } else {
            bytes(value, redact_text::redact)
        };
        (name.clone(), value)
    };
    headers.iter().map(redacted).collect()
}

/// Whether a header, or a part of a form, of that name is a secret.
pub(super) fn is_secret_name(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    HEADER_PARTS.iter().any(|part| name.contains(part))
}

/// The same text, such as a path or a URL, without secrets.
pub fn text(text: &str) -> String {
    String::from_utf8_lossy(&redact_text::redact(text.as_bytes())).into_owned()
}

/// The same body without secrets: JSON, whole or cut, is looked at string by string, a form part by part, anything else
/// as text.
pub fn body(body: &Bytes) -> Bytes {
    bytes(body, |body| content(body, 0))
}

/// The same content, that was found below so many layers, without secrets.
pub(super) fn content(content: &[u8], layer: usize) -> Cow<'_, [u8]> {
    if matches!(content.trim_ascii_start().first(), Some(b'{' | b'[' | b'"')) {
        return redact_json::redact_layer(content, layer);
    }
    match redact_multipart::boundary(content) {
        Some(boundary) if layer < MOST_LAYERS => redact_multipart::redact(content, boundary, layer),
        _ => redact_text::redact_layer(content, layer),
    }
}

fn bytes(original: &Bytes, redact: fn(&[u8]) -> Cow<'_, [u8]>) -> Bytes {
    match redact(original) {
        Cow::Borrowed(_) => original.clone(),
        Cow::Owned(changed) => Bytes::from(changed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_and_credentials_go_and_the_rest_stays() {
        let fields =
            |fields: &[(&'static str, &'static str)]| -> Headers { fields.iter().copied().collect() };
        let secret = fields(&[
            ("X-MeetingBaas-Signature", "0a1b"),
            ("svix-signature", "v1,abc"),
            ("Webhook-Signature", "v1,abc"),
            ("Stripe-Signature", "t=1"),
            ("Cookie", "a=b"),
            ("X-Api-Key", "k"),
            ("X-MB-Secret", "s"),
            ("X-Auth-Token", "t"),
        ]);
        assert!(headers(&secret).iter().all(|(_, value)| value == &MASK));
        let plain = fields(&[("svix-id", "msg_1"), ("Content-Type", "application/json"), ("Host", "a:1")]);
        assert_eq!(headers(&plain), plain);
        let url = fields(&[("Referer", "http://u:p@h/?token=t"), ("Location", "/a?x=1&sig=s")]);
        let shown =
            fields(&[("Referer", "http://REDACTED@h/?token=REDACTED"), ("Location", "/a?x=1&sig=REDACTED")]);
        assert_eq!(headers(&url), shown);
    }

    #[test]
    fn bodies_are_redacted_as_what_they_are() {
        let redacted = |source: &'static str| body(&Bytes::from_static(source.as_bytes()));
        assert_eq!(redacted(r#" {"u":"/?key=1"}"#), r#" {"u":"/?key=REDACTED"}"#);
        assert_eq!(redacted("a=1&password=hunter2"), "a=1&password=REDACTED");
        assert_eq!(redacted(""), "");
        let form = |password: &str, json: &str| {
            format!(
                "--b-1\r\nContent-Disposition: form-data; name=\"user\"\r\n\r\nana\r\n--b-1\r\n\
                 Content-Disposition: form-data; name=\"password\"\r\n\r\n{password}\r\n--b-1\r\n\
                 content-disposition: form-data; name=data; filename=\"a.json\"\r\n\
                 Content-Type: application/json\r\n\r\n{json}\r\n--b-1--\r\n"
            )
        };
        let sent = Bytes::from(form("hun\r\nter2", r#"{"token":"t","a":1.0}"#));
        let shown = form("REDACTED", r#"{"token":"[masked]","a":1.0}"#);
        assert_eq!(body(&sent), shown);
        assert_eq!(body(&Bytes::from(shown.clone())), shown);
    }
}
