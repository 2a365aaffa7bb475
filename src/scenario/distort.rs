//! What becomes of a request that was signed right and is damaged on its way.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::Faults;
use super::fault::Signed;
use crate::model::{Headers, Request};

/// A body compressed with gzip; the same each time.
pub fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("memory takes everything");
    encoder.finish().expect("memory takes everything").into()
}

/// The request as it leaves with these faults.
#[must_use]
pub fn distorted(request: Request, faults: &Faults) -> Request {
    let mut body = request.body;
    if faults.gzip == Some(Signed::Plain) {
        body = gzip(&body);
    }
    if let Some(share) = faults.truncate {
        body.truncate(share.of(body.len()));
    }
    let mut headers = Headers::new();
    for (name, value) in request.headers.iter() {
        if name.eq_ignore_ascii_case(b"content-length") {
            headers.push(name.clone(), body.len().to_string());
        } else if name.eq_ignore_ascii_case(b"content-type") {
            match faults.content_type.as_deref() {
                Some("") => {}
                Some(other) => headers.push(name.clone(), other.to_owned()),
                None => headers.push(name.clone(), value.clone()),
            }
            if faults.gzip.is_some() {
                headers.push("content-encoding", "gzip");
            }
        } else {
            headers.push(name.clone(), value.clone());
        }
    }
    Request { headers, body, ..request }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn request() -> Request {
        let fields = [("Content-Type", "application/json"), ("X-Sign", "s"), ("Content-Length", "14")];
        Request {
            method: "POST".to_owned(),
            path: "/".to_owned(),
            headers: fields.into_iter().collect(),
            body: Bytes::from_static(br#"{"event":"xy"}"#),
            trailers: Headers::new(),
        }
    }

    fn with(faults: &[&str]) -> Request {
        let mut all = Faults::default();
        for fault in faults {
            all.add(fault).unwrap();
        }
        distorted(request(), &all)
    }

    fn text(request: &Request) -> String {
        String::from_utf8(request.headers.to_block().to_vec()).unwrap()
    }

    #[test]
    fn only_what_is_asked_for_is_changed() {
        assert_eq!(with(&[]), request());
        assert_eq!(with(&["duplicate", "delay=1s", "slow=1s", "reset"]), request());
        let cut = with(&["truncate"]);
        assert_eq!((&cut.body[..], cut.headers.get_str("content-length")), (&b"{\"event"[..], Some("7")));
        assert_eq!(with(&["truncate=0%"]).body, "");
        let plain = with(&["content-type=text/plain"]);
        assert_eq!(text(&plain), "Content-Type: text/plain\r\nX-Sign: s\r\nContent-Length: 14\r\n");
        assert_eq!(text(&with(&["content-type="])), "X-Sign: s\r\nContent-Length: 14\r\n");
    }

    #[test]
    fn what_is_compressed_can_be_read_again() {
        let compressed = with(&["gzip"]);
        let mut body = String::new();
        flate2::read::GzDecoder::new(&compressed.body[..]).read_to_string(&mut body).unwrap();
        assert_eq!(body.as_bytes(), request().body);
        assert_eq!(compressed.headers.get_str("content-encoding"), Some("gzip"));
        let length = compressed.body.len().to_string();
        assert_eq!(compressed.headers.get_str("content-length"), Some(length.as_str()));
        assert_eq!(compressed, with(&["gzip"]), "the same each time");
        // It was compressed before it was signed: here only its name is put on it.
        assert_eq!(with(&["gzip-signed"]).body, request().body);
    }
}
