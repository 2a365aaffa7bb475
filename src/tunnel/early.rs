//! A handler's answer that comes before its delivery is recorded by `listen`: the sender need not wait for that, since the
//! relay has the request on disk until it hears of it. A field of the answer says that it will, and a trailer that it does.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// How long the body of such an answer may be, in bytes: the relay has it in memory.
pub const LONGEST: usize = 16 * 1024;

const RECORDED: HeaderName = HeaderName::from_static("mbaas-dev-recorded");
const LATER: HeaderValue = HeaderValue::from_static("later");
const NOW: HeaderValue = HeaderValue::from_static("now");

/// Says that the trailers will tell that the delivery is recorded.
pub fn promise(headers: &mut HeaderMap) {
    headers.insert(RECORDED, LATER);
}

/// Whether they will; the field is for nobody else.
pub fn take_promise(headers: &mut HeaderMap) -> bool {
    headers.remove(RECORDED) == Some(LATER)
}

/// The trailers that tell it.
pub fn keep() -> HeaderMap {
    HeaderMap::from_iter([(RECORDED, NOW)])
}

/// Whether they do.
pub fn is_kept(trailers: &HeaderMap) -> bool {
    trailers.get(RECORDED) == Some(&NOW)
}
