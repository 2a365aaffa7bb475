//! The binary messages of a WebSocket, read and written as one stream of bytes.
//!
//! Where messages begin and end means nothing. Text is refused, pings are answered, and a peer that sends more of
//! either than any sane one is cut off.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// The most bytes that are written as one message.
const LARGEST_WRITTEN: usize = 64 * 1024;

/// The largest message and the largest frame that is read.
const LARGEST_READ: usize = 256 * 1024;

/// How many messages without content are taken between two with content: a flood of them costs nothing to send.
const MOST_EMPTY: u32 = 64;

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
}

/// A cloneable handle to the end of a stream: it asks for it, and knows how it came.
#[derive(Clone, Debug, Default)]
pub struct Ending(Arc<Mutex<End>>);

#[derive(Debug, Default)]
struct End {
    ours: Option<Goodbye>,
    theirs: Option<Goodbye>,
    reader: Option<Waker>,
}

impl Ending {
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

/// How a WebSocket with little memory is set up: an idle one has a buffer of 4 KiB and no more.
pub(super) fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(LARGEST_WRITTEN)
        .max_write_buffer_size(4 * LARGEST_WRITTEN)
        .max_message_size(Some(LARGEST_READ))
        .max_frame_size(Some(LARGEST_READ))
}

impl<T: AsyncRead + AsyncWrite + Unpin> ByteStream<T> {
    pub(super) fn new(socket: WebSocketStream<T>) -> Self {
        Self { socket, read: Bytes::new(), empty: 0, ending: Ending::default(), is_closing: false }
    }

    /// A handle to its end.
    pub fn ending(&self) -> Ending {
        self.ending.clone()
    }

    /// Reads until there is something to pass on; nothing at the end.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        loop {
            if ready!(self.poll_goodbye(cx))? {
                return Poll::Ready(Ok(Bytes::new()));
            }
            let message = match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                None => return Poll::Ready(Ok(Bytes::new())),
                // Whoever has said goodbye need not wait for ours.
                Some(Err(_)) if self.ending.theirs().is_some() => return Poll::Ready(Ok(Bytes::new())),
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
                Some(Ok(message)) => message,
            };
            match message {
                Message::Binary(bytes) if !bytes.is_empty() => {
                    self.empty = 0;
                    return Poll::Ready(Ok(bytes));
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
                    self.empty += 1;
                    if self.empty > MOST_EMPTY {
                        self.ending.close(CloseCode::Policy.into(), "too many messages without content");
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
            self.read = ready!(self.poll_message(cx))?;
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
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(io_error)?;
        let all: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut message = BytesMut::with_capacity(all.min(LARGEST_WRITTEN));
        for slice in slices {
            let room = LARGEST_WRITTEN - message.len();
            message.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        let length = message.len();
        if length > 0 {
            let message = Message::Binary(message.freeze());
            Pin::new(&mut self.socket).start_send(message).map_err(io_error)?;
        }
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(io_error)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx).map_err(io_error)
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
        let socket = |io, role| WebSocketStream::from_raw_socket(io, role, Some(config()));
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
