//! What hyper lets through and we do not: requests that two servers could read in two ways.
//!
//! hyper itself refuses most of what is malformed. What it accepts was measured; each rule here closes one gap.

use http::{Method, StatusCode, Uri, Version};

use super::wire_heads::Head;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status that says so.
    pub status: StatusCode,
    /// One sentence.
    pub message: &'static str,
}

/// Checks a request of HTTP/1; HTTP/2 has none of these ambiguities.
pub fn check(version: Version, method: &Method, uri: &Uri, head: &Head) -> Result<(), Refusal> {
    let refuse = |status, message| Err(Refusal { status, message });
    let bad = |message| refuse(StatusCode::BAD_REQUEST, message);
    if method == Method::CONNECT {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "this is not a forward proxy");
    }
    if version > Version::HTTP_11 {
        return Ok(());
    }
    let headers = &head.headers;
    let mut hosts = headers.get_all("host");
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return bad("there is more than one Host"),
        (None, None) if version == Version::HTTP_11 => return bad("there is no Host"),
        (Some(host), None)
            if uri.authority().is_some_and(|named| !named.as_str().as_bytes().eq_ignore_ascii_case(host)) =>
        {
            return bad("the URL names another host than Host");
        }
        _ => {}
    }
    if head.has_bare_line_feed {
        return bad("a line ends with a line feed alone");
    }
    let mut codings = headers.get_all("transfer-encoding");
    let Some(coding) = codings.next() else { return Ok(()) };
    if headers.get("content-length").is_some() {
        return bad("there is both a Content-Length and a Transfer-Encoding");
    }
    if codings.next().is_some() || !coding.trim_ascii().eq_ignore_ascii_case(b"chunked") {
        return refuse(StatusCode::NOT_IMPLEMENTED, "no transfer coding but chunked is understood");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(
        version: Version,
        method: &str,
        uri: &str,
        headers: &[(&'static str, &'static str)],
        lf: bool,
    ) -> u16 {
        let head = Head { headers: headers.iter().copied().collect(), has_bare_line_feed: lf };
        let method: Method = method.parse().unwrap();
        check(version, &method, &uri.parse().unwrap(), &head)
            .map_or_else(|refusal| refusal.status.as_u16(), |()| 200)
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let host = ("Host", "a");
        for (expected, uri, headers, lf) in [
            (200, "/", &[host][..], false),
            (400, "/", &[host, ("HOST", "b")], false),
            (400, "/", &[], false),
            (200, "http://a/x", &[host], false),
            (400, "http://evil/x", &[host], false),
            (400, "/", &[host], true),
            (200, "/", &[host, ("Transfer-Encoding", "Chunked")], false),
            (400, "/", &[host, ("Transfer-Encoding", "chunked"), ("Content-Length", "3")], false),
            (501, "/", &[host, ("Transfer-Encoding", "gzip, chunked")], false),
            (501, "/", &[host, ("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")], false),
        ] {
            assert_eq!(status(Version::HTTP_11, "POST", uri, headers, lf), expected, "{uri} {headers:?}");
        }
        assert_eq!(status(Version::HTTP_10, "POST", "/", &[], false), 200);
        assert_eq!(status(Version::HTTP_2, "POST", "/", &[], false), 200);
        assert_eq!(status(Version::HTTP_11, "CONNECT", "a:1", &[host], false), 405);
    }
}
