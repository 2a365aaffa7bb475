//! Reads the body of a request, within limits of size, of time, and of memory for all bodies together.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming as WireBody};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::model::Headers;

/// How long a body may take altogether, from when there is room for it.
const BODY_TIME: Duration = Duration::from_mins(1);

/// How long nothing may come of a body.
const BODY_SILENCE: Duration = Duration::from_secs(10);

/// How long a body waits for room at the most: less than senders wait for an answer.
const ROOM_TIME: Duration = Duration::from_secs(20);

/// How much of a body over the limit is read and thrown away, and for how long at the most.
const MOST_DISCARDED: usize = 256 * 1024 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// How much all large bodies may take that are in memory at a time, in bytes; one of the largest fits in any case.
const ROOM: usize = 48 * 1024 * 1024;

/// Bodies up to this size, in bytes, are not counted: there are never more of them than connections.
const SMALL: usize = 16 * 1024;

/// What room is given out in, in bytes.
const UNIT: usize = 1024;

/// Why a body is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBody {
    /// It is over the limit of size.
    TooLarge,
    /// It does not come on.
    TooSlow,
    /// There is no room for it now.
    Crowded,
}

/// A body, as far as it came.
#[derive(Debug)]
pub struct ReadBody {
    /// The body; its room is taken until the last of its bytes is let go.
    pub bytes: Bytes,
    /// What came behind it.
    pub trailers: Headers,
    /// Whether it came to its end.
    pub is_complete: bool,
}

/// Reads bodies.
#[derive(Debug)]
pub struct BodyReader {
    limit: usize,
    room: Arc<Semaphore>,
}

/// Bytes with the room that they take.
struct Housed {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Housed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl BodyReader {
    /// Takes bodies of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let units = ROOM.max(limit).div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        Self { limit, room: Arc::new(Semaphore::new(units)) }
    }

    /// The largest body that is taken, in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Reads a body.
    pub async fn read(&self, body: &mut WireBody) -> Result<ReadBody, NoBody> {
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > self.limit {
            return Err(NoBody::TooLarge);
        }
        let mut room = None;
        // Before a byte is read: what waits meanwhile waits with the sender.
        self.make_room(&mut room, announced).await?;
        let read = timeout(BODY_TIME, self.gather(body, announced, &mut room)).await;
        let mut read = read.map_err(|_elapsed| NoBody::TooSlow)??;
        if let Some(room) = room {
            read.bytes = Bytes::from_owner(Housed { bytes: read.bytes, _room: room });
        }
        Ok(read)
    }

    async fn gather(
        &self,
        body: &mut WireBody,
        announced: usize,
        room: &mut Option<OwnedSemaphorePermit>,
    ) -> Result<ReadBody, NoBody> {
        let (mut whole, mut first) = (BytesMut::new(), Bytes::new());
        let (mut trailers, mut is_complete) = (Headers::new(), true);
        while let Some(frame) =
            timeout(BODY_SILENCE, body.frame()).await.map_err(|_elapsed| NoBody::TooSlow)?
        {
            let Ok(frame) = frame else {
                is_complete = false;
                break;
            };
            let data = match frame.into_data() {
                Ok(data) => data,
                Err(frame) => {
                    trailers = frame.into_trailers().as_ref().map(Headers::from).unwrap_or_default();
                    continue;
                }
            };
            let length = whole.len() + first.len() + data.len();
            if length > self.limit {
                return Err(NoBody::TooLarge);
            }
            if length > announced {
                self.make_room(room, length).await?;
            }
            // A body that comes in one piece, which is most, is not copied.
            if first.is_empty() && whole.is_empty() {
                first = data;
                continue;
            }
            if whole.is_empty() {
                whole.reserve(announced);
                whole.extend_from_slice(&std::mem::take(&mut first));
            }
            whole.extend_from_slice(&data);
        }
        let bytes = if whole.is_empty() { first } else { whole.freeze() };
        Ok(ReadBody { bytes, trailers, is_complete })
    }

    /// Sees to it that there is room for so many bytes.
    async fn make_room(&self, room: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Result<(), NoBody> {
        let taken = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let wanted = if bytes <= SMALL { 0 } else { bytes.div_ceil(UNIT) };
        let Ok(more @ 1..) = u32::try_from(wanted.saturating_sub(taken)) else { return Ok(()) };
        // What grows takes twice as much, as its memory does, so that it does not ask for each frame.
        let more = if taken > 0 { more.max(u32::try_from(taken).unwrap_or(more)) } else { more };
        let most = u32::try_from(self.limit.div_ceil(UNIT).saturating_sub(taken)).unwrap_or(u32::MAX);
        let acquired = timeout(ROOM_TIME, Arc::clone(&self.room).acquire_many_owned(more.min(most))).await;
        let Ok(Ok(acquired)) = acquired else { return Err(NoBody::Crowded) };
        match room {
            Some(room) => room.merge(acquired),
            None => *room = Some(acquired),
        }
        Ok(())
    }
}

/// Reads on for a while, so that a sender that writes its whole body first is not cut off in the middle of it and
/// gets to read why it was refused.
pub async fn discard(mut body: WireBody) {
    let all = async {
        let mut left = MOST_DISCARDED;
        while let Some(Ok(frame)) = body.frame().await
            && left > 0
        {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        }
    };
    drop(timeout(DISCARD_TIME, all).await);
}
