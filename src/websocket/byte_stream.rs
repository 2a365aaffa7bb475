//! The binary messages of a WebSocket, read and written as streams of bytes, one after the other.
//!
//! Where messages begin and end means nothing, but that one without content ends a stream; what comes behind it belongs to
//! the next. Between two streams nothing is in memory but the WebSocket itself. Text is refused, pings are answered, and a
//! peer that sends more without content than any sane one is cut off.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::{Sink, SinkExt, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// The most bytes that are written as one message.
const LARGEST_WRITTEN: usize = 64 * 1024;

/// The largest message and the largest frame that is read.
const LARGEST_READ: usize = 256 * 1024;

/// How many messages without content are taken in a row: a flood of them costs nothing to send.
const MOST_EMPTY: u32 = 64;

/// How long it must have been silent before one for it to begin another row.
const NO_FLOOD: Duration = Duration::from_secs(1);

/// Why a WebSocket was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goodbye {
    /// The code, see [`code`](super::code).
    pub code: u16,
    /// What the code means here.
    pub reason: String,
}

/// A stream over the binary messages of a WebSocket.
pub struct ByteStream<T> {
    socket: WebSocketStream<T>,
    /// What was read of a message and not yet passed on.
    read: Bytes,
    empty: u32,
    ending: Ending,
    is_closing: bool,
    /// Whether this stream was ended by the other side, and by us.
    is_over: (bool, bool),
}

/// What is heard of the other side.
enum Heard {
    /// Bytes of the stream.
    Content(Bytes),
    /// The stream is over; another one may follow.
    Over,
    /// A sign of life.
    Sign,
    /// Nothing more will come.
    End,
}

/// A cloneable handle to the end of a stream: it asks for it, and knows how it came.
#[derive(Clone, Debug)]
pub struct Ending(Arc<Mutex<End>>);

#[derive(Debug)]
struct End {
    ours: Option<Goodbye>,
    theirs: Option<Goodbye>,
    reader: Option<Waker>,
    heard_at: Instant,
}

impl Ending {
    fn new() -> Self {
        let heard_at = Instant::now();
        Self(Arc::new(Mutex::new(End { ours: None, theirs: None, reader: None, heard_at })))
    }

    /// Waits until nothing was heard of the other side for so long.
    pub async fn silence(&self, limit: Duration) {
        loop {
            let silence = self.lock().heard_at.elapsed();
            let Some(rest) = limit.checked_sub(silence).filter(|rest| !rest.is_zero()) else { return };
            sleep(rest).await;
        }
    }

    /// Something was heard of the other side: after how long.
    fn hears(&self) -> Duration {
        let mut end = self.lock();
        let silence = end.heard_at.elapsed();
        end.heard_at += silence;
        silence
    }

    /// Closes the WebSocket as soon as somebody reads from it: the stream ends then.
    pub fn close(&self, code: u16, reason: &str) {
        let mut end = self.lock();
        end.ours = Some(Goodbye { code, reason: reason.to_owned() });
        if let Some(reader) = end.reader.take() {
            reader.wake();
        }
    }

    /// What the other side said when it closed.
    pub fn theirs(&self) -> Option<Goodbye> {
        self.lock().theirs.clone()
    }

    fn lock(&self) -> MutexGuard<'_, End> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a WebSocket is set up, of which so much is read at a time: an idle one has a buffer for that, and nothing else.
pub(super) fn config(read_at_once: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(read_at_once)
        .write_buffer_size(LARGEST_WRITTEN)
        .max_write_buffer_size(4 * LARGEST_WRITTEN)
        .max_message_size(Some(LARGEST_READ))
        .max_frame_size(Some(LARGEST_READ))
}

impl<T: AsyncRead + AsyncWrite + Unpin> ByteStream<T> {
    pub(super) fn new(socket: WebSocketStream<T>) -> Self {
        let ending = Ending::new();
        Self { socket, read: Bytes::new(), empty: 0, ending, is_closing: false, is_over: (false, false) }
    }

    /// A handle to its end.
    pub fn ending(&self) -> Ending {
        self.ending.clone()
    }

    /// Waits until the other side begins with a stream, and asks for a sign of life `every` so often. `false` when nothing
    /// will come any more.
    pub async fn rest(&mut self, every: Duration) -> io::Result<bool> {
        loop {
            let Ok(heard) = timeout(every, self.hear()).await else {
                self.send(Message::Ping(Bytes::new())).await?;
                continue;
            };
            match heard? {
                Heard::Content(bytes) => {
                    (self.read, self.is_over) = (bytes, (false, false));
                    return Ok(true);
                }
                Heard::End => return Ok(false),
                Heard::Over | Heard::Sign => {}
            }
        }
    }

    /// Ends this stream, and waits until the other side has done so as well; what it still says is of no interest.
    pub async fn end(&mut self) -> io::Result<()> {
        if !self.is_over.1 {
            self.send(Message::Binary(Bytes::new())).await?;
        }
        while !self.is_over.0 {
            if let Heard::End = self.hear().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        (self.read, self.is_over) = (Bytes::new(), (false, false));
        Ok(())
    }

    async fn send(&mut self, message: Message) -> io::Result<()> {
        self.socket.send(message).await.map_err(io_error)
    }

    async fn hear(&mut self) -> io::Result<Heard> {
        std::future::poll_fn(|cx| self.poll_hear(cx)).await
    }

    /// Reads until there is something to pass on; nothing at the end.
    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        loop {
            if self.is_over.0 {
                return Poll::Ready(Ok(Bytes::new()));
            }
            match ready!(self.poll_hear(cx))? {
                Heard::Content(bytes) => return Poll::Ready(Ok(bytes)),
                Heard::End => return Poll::Ready(Ok(Bytes::new())),
                Heard::Over | Heard::Sign => {}
            }
        }
    }

    fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Heard>> {
        loop {
            if ready!(self.poll_goodbye(cx))? {
                return Poll::Ready(Ok(Heard::End));
            }
            let message = match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                None => return Poll::Ready(Ok(Heard::End)),
                // Whoever has said goodbye need not wait for ours.
                Some(Err(_)) if self.ending.theirs().is_some() => return Poll::Ready(Ok(Heard::End)),
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
                Some(Ok(message)) => message,
            };
            let silence = self.ending.hears();
            match message {
                Message::Binary(bytes) if !bytes.is_empty() => {
                    self.empty = 0;
                    return Poll::Ready(Ok(Heard::Content(bytes)));
                }
                Message::Close(frame) => {
                    let goodbye = frame.map_or_else(
                        || Goodbye { code: 1005, reason: String::new() },
                        |frame| Goodbye { code: frame.code.into(), reason: frame.reason.to_string() },
                    );
                    self.ending.lock().theirs = Some(goodbye);
                }
                Message::Text(_) => {
                    self.ending.close(CloseCode::Unsupported.into(), "only binary messages are understood");
                }
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {
                    // Those that come one at a time are no flood.
                    self.empty = if silence >= NO_FLOOD { 1 } else { self.empty + 1 };
                    if self.empty > MOST_EMPTY {
                        self.ending.close(CloseCode::Policy.into(), "too many messages without content");
                    } else if message.is_binary() {
                        self.is_over.0 = true;
                        return Poll::Ready(Ok(Heard::Over));
                    } else {
                        return Poll::Ready(Ok(Heard::Sign));
                    }
                }
            }
        }
    }

    /// Says goodbye when that was asked for; whether it was.
    fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let goodbye = {
            let mut end = self.ending.lock();
            end.reader = Some(cx.waker().clone());
            end.ours.take()
        };
        if let Some(Goodbye { code, reason }) = goodbye {
            let frame = CloseFrame { code: code.into(), reason: reason.into() };
            self.is_closing = true;
            // Whatever cannot be said any more is not said.
            Pin::new(&mut self.socket).start_send(Message::Close(Some(frame))).ok();
        }
        if self.is_closing {
            ready!(Pin::new(&mut self.socket).poll_flush(cx)).ok();
        }
        Poll::Ready(Ok(self.is_closing))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for ByteStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            self.read = ready!(self.poll_content(cx))?;
        }
        let length = self.read.len().min(buf.remaining());
        buf.put_slice(&self.read[..length]);
        self.read.advance(length);
        if self.read.is_empty() {
            // A slice keeps the whole buffer that it was read into.
            self.read = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ByteStream<T> {
    /// Not vectored on purpose: whoever writes through it gathers small things first.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(io_error)?;
        let part = &buf[..buf.len().min(LARGEST_WRITTEN)];
        if !part.is_empty() {
            let message = Message::Binary(Bytes::copy_from_slice(part));
            Pin::new(&mut self.socket).start_send(message).map_err(io_error)?;
        }
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(io_error)
    }

    /// Ends the stream; the WebSocket stays.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_over.1 {
            ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(io_error)?;
            self.is_over.1 = true;
            Pin::new(&mut self.socket).start_send(Message::Binary(Bytes::new())).map_err(io_error)?;
        }
        self.poll_flush(cx)
    }
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::NotConnected.into(),
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    async fn pair() -> (ByteStream<DuplexStream>, ByteStream<DuplexStream>) {
        let (near, far) = duplex(8 * 1024);
        let socket = |io, role| WebSocketStream::from_raw_socket(io, role, Some(config(4096)));
        (ByteStream::new(socket(near, Role::Server).await), ByteStream::new(socket(far, Role::Client).await))
    }

    #[tokio::test]
    async fn bytes_come_out_as_they_went_in_both_ways_at_once() {
        let (server, client) = pair().await;
        let pattern: Vec<u8> = (0..1_000_003_u32).map(|number| number.to_le_bytes()[0]).collect();
        let exchange = |stream: ByteStream<DuplexStream>, pattern: Vec<u8>| async move {
            let (mut read, mut write) = tokio::io::split(stream);
            let mut seen = Vec::new();
            let writing = async {
                for part in pattern.chunks(70_001) {
                    write.write_all(part).await.unwrap();
                }
                write.flush().await.unwrap();
            };
            let length = pattern.len() as u64;
            let mut limited = (&mut read).take(length);
            let reading = limited.read_to_end(&mut seen);
            let ((), read) = tokio::join!(writing, reading);
            read.unwrap();
            seen
        };
        let (a, b) = tokio::join!(exchange(server, pattern.clone()), exchange(client, pattern.clone()));
        assert!(a == pattern && b == pattern);
    }

    #[tokio::test]
    async fn a_goodbye_ends_the_stream_and_says_why() {
        let (mut server, mut client) = pair().await;
        let (ours, theirs) = (server.ending(), client.ending());
        let mut seen = Vec::new();
        let serving = tokio_util::task::TaskTracker::new()
            .spawn(async move { server.read_to_end(&mut Vec::new()).await });
        ours.close(super::super::code::DISPLACED, "a newer one");
        client.read_to_end(&mut seen).await.unwrap();
        assert_eq!(theirs.theirs(), Some(Goodbye { code: 4409, reason: "a newer one".to_owned() }));
        assert_eq!(serving.await.unwrap().unwrap(), 0);
    }

    #[tokio::test]
    async fn streams_follow_each_other_and_both_rest_in_between() {
        const EVERY: Duration = Duration::from_millis(20);
        let (mut server, mut client) = pair().await;
        for number in 0..3_u8 {
            let ask = async {
                // Nothing but signs of life come before it begins.
                assert!(timeout(5 * EVERY, server.rest(EVERY)).await.is_err());
                server.write_all(&[number; 9]).await.unwrap();
                server.shutdown().await.unwrap();
                let mut heard = Vec::new();
                server.read_to_end(&mut heard).await.unwrap();
                server.end().await.unwrap();
                heard
            };
            let answer = async {
                assert!(client.rest(EVERY).await.unwrap());
                let mut heard = Vec::new();
                client.read_to_end(&mut heard).await.unwrap();
                client.write_all(&heard[1..]).await.unwrap();
                client.end().await.unwrap();
            };
            let (heard, ()) = tokio::join!(ask, answer);
            assert_eq!(heard, [number; 8]);
        }
        drop(client);
        assert!(!server.rest(EVERY).await.is_ok_and(|begins| begins));
        timeout(EVERY, server.ending().silence(Duration::ZERO)).await.unwrap();
    }

    #[tokio::test]
    async fn text_and_floods_of_nothing_end_it() {
        for flood in [vec![Message::text("x")], vec![Message::Ping(Bytes::new()); 100]] {
            let (mut server, mut client) = pair().await;
            let ending = client.ending();
            let serving = tokio_util::task::TaskTracker::new()
                .spawn(async move { server.read_to_end(&mut Vec::new()).await });
            for message in flood {
                // The other side may have closed already.
                if Pin::new(&mut client.socket).start_send(message).is_err() {
                    break;
                }
            }
            client.flush().await.ok();
            client.read_to_end(&mut Vec::new()).await.ok();
            assert!(matches!(ending.theirs().unwrap().code, 1003 | 1008));
            assert_eq!(serving.await.unwrap().unwrap(), 0);
        }
    }
}
