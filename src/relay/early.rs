//! An answer whose delivery is not recorded yet: the sender gets it at once, and the relay waits for what comes behind it.

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use http::header::CONTENT_LENGTH;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};

use crate::serve::Body;
use crate::tunnel::early::{LONGEST, is_kept};

/// What comes behind such an answer.
pub struct Promise(RecvStream);

/// The answer for the sender, and what comes behind it; nothing when it breaks off, or is longer than it may be.
pub async fn split(response: Response<RecvStream>) -> Option<(Response<Body>, Promise)> {
    let (head, mut stream) = response.into_parts();
    let length = match head.status {
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Some(0),
        _ => head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok()),
    };
    let mut read = BytesMut::new();
    // Without a length, its end is seen by what comes behind it.
    while length.is_none_or(|length| read.len() < length) {
        let Some(data) = stream.data().await else { break };
        let data = data.ok()?;
        if read.len() + data.len() > LONGEST {
            return None;
        }
        stream.flow_control().release_capacity(data.len()).ok()?;
        read.extend_from_slice(&data);
    }
    let answer = Full::new(Bytes::from(read)).map_err(|never| match never {}).boxed();
    Some((Response::from_parts(head, answer), Promise(stream)))
}

impl Promise {
    /// Waits until the delivery is recorded, or until it is certain that it will not be.
    pub async fn kept(mut self) -> bool {
        // Nothing is to come but the end of the body, and the trailers.
        let is_over = self.0.data().await.is_none_or(|data| data.is_ok_and(|data| data.is_empty()));
        is_over && matches!(self.0.trailers().await, Ok(Some(trailers)) if is_kept(&trailers))
    }
}
