//! Reads the body of a request, within limits of size, of time, and of memory for all bodies together.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming as WireBody};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use crate::model::Headers;

/// How long a body may take.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// Altogether, without the time in which it waits for room.
    all: Duration,
    /// Until something comes of it.
    silence: Duration,
    /// How long it waits for room altogether: less than senders wait for an answer.
    room: Duration,
}

const TIMES: Times =
    Times { all: Duration::from_mins(1), silence: Duration::from_secs(10), room: Duration::from_secs(20) };

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
    times: Times,
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
        Self { limit, times: TIMES, room: Arc::new(Semaphore::new(units)) }
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
        let (mut room, mut patience) = (None, self.times.room);
        // Before a byte is read: what waits meanwhile waits with the sender.
        self.make_room(&mut room, announced, &mut patience).await?;
        let mut read = self.gather(body, announced, &mut room, &mut patience).await?;
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
        patience: &mut Duration,
    ) -> Result<ReadBody, NoBody> {
        let (mut whole, mut first) = (BytesMut::new(), Bytes::new());
        let (mut trailers, mut is_complete) = (Headers::new(), true);
        let mut due = Instant::now() + self.times.all;
        loop {
            let next = timeout_at(due.min(Instant::now() + self.times.silence), body.frame()).await;
            let Some(frame) = next.map_err(|_elapsed| NoBody::TooSlow)? else { break };
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
                // Whoever waits for room is not slow.
                due += self.make_room(room, length, patience).await?;
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

    /// Sees to it that there is room for so many bytes, which takes some of the `patience` that there is for a body; how much.
    async fn make_room(
        &self,
        room: &mut Option<OwnedSemaphorePermit>,
        bytes: usize,
        patience: &mut Duration,
    ) -> Result<Duration, NoBody> {
        let taken = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let wanted = if bytes <= SMALL { 0 } else { bytes.div_ceil(UNIT) };
        let Ok(more @ 1..) = u32::try_from(wanted.saturating_sub(taken)) else { return Ok(Duration::ZERO) };
        // What grows takes twice as much, as its memory does, so that it does not ask for each frame.
        let more = if taken > 0 { more.max(u32::try_from(taken).unwrap_or(more)) } else { more };
        let most = u32::try_from(self.limit.div_ceil(UNIT).saturating_sub(taken)).unwrap_or(u32::MAX);
        let begun = Instant::now();
        let acquired = timeout(*patience, Arc::clone(&self.room).acquire_many_owned(more.min(most))).await;
        let Ok(Ok(acquired)) = acquired else { return Err(NoBody::Crowded) };
        match room {
            Some(room) => room.merge(acquired),
            None => *room = Some(acquired),
        }
        let waited = begun.elapsed();
        *patience = patience.saturating_sub(waited);
        Ok(waited)
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

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use http_body_util::Empty;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncWriteExt;
    use tokio::sync::mpsc;
    use tokio_util::task::TaskTracker;

    use super::*;

    /// Others give room up every so often, a little at a time: it grows, and is never the one that is too slow.
    #[tokio::test]
    async fn who_waits_for_room_again_and_again_is_told_that_there_is_none_and_not_that_it_is_slow() {
        let times = Times { all: Duration::from_millis(400), room: Duration::from_millis(200), ..TIMES };
        let reader = Arc::new(BodyReader { times, ..BodyReader::new(2 * 1024 * 1024) });
        let room = Arc::clone(&reader.room);
        let (tell, mut told) = mpsc::channel(1);
        let (mut near, far) = tokio::io::duplex(4 * 1024 * 1024);
        let service = service_fn(move |request: Request<WireBody>| {
            let (reader, tell) = (Arc::clone(&reader), tell.clone());
            async move {
                let read = reader.read(&mut request.into_body()).await;
                tell.send(read.map(|read| read.bytes.len())).await.unwrap();
                Ok::<_, hyper::Error>(Response::new(Empty::<Bytes>::new()))
            }
        });
        let tasks = TaskTracker::new();
        tasks.spawn(async move { http1::Builder::new().serve_connection(TokioIo::new(far), service).await });
        let all = u32::try_from(room.available_permits()).unwrap();
        let mut others = room.acquire_many_owned(all).await.unwrap();
        tasks.spawn(async move {
            while let Some(some) = others.split(64) {
                tokio::time::sleep(Duration::from_millis(150)).await;
                drop(some);
            }
        });
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        near.write_all(head).await.unwrap();
        for _ in 0..32 {
            near.write_all(b"8000\r\n").await.unwrap();
            near.write_all(&vec![b'x'; 0x8000]).await.unwrap();
            near.write_all(b"\r\n").await.unwrap();
        }
        near.write_all(b"0\r\n\r\n").await.unwrap();
        assert_eq!(told.recv().await, Some(Err(NoBody::Crowded)));
    }
}
