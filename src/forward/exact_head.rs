//! Writes the head of a request exactly as given, whatever the HTTP library would have made of it.
//!
//! hyper keeps neither the order of repeated headers nor, without private types, the case of their names. So hyper
//! writes a head of its own with the same framing, and this stream, which lies beneath it, puts ours in its place.
//! Everything else, the body, its framing and the answer, is hyper's work.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Where the head of the next request on a connection is left for its stream.
#[derive(Clone, Debug, Default)]
pub struct NextHead(Arc<Mutex<Option<Bytes>>>);

impl NextHead {
    /// Leaves the head of the request that is sent next, ending with the empty line.
    pub fn set(&self, head: Bytes) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(head);
    }

    fn take(&self) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A stream that replaces the heads written to it.
pub struct ExactHead<T> {
    io: T,
    next: NextHead,
    /// What is left to write of our head.
    ours: Bytes,
    /// How many bytes of the empty line that ends the other head have been seen; `None` outside of a head.
    seen: Option<usize>,
}

/// The end of every head.
const END: &[u8] = b"\r\n\r\n";

impl<T> ExactHead<T> {
    /// A stream over `io`, and the place where heads are left for it.
    pub fn new(io: T) -> (Self, NextHead) {
        let next = NextHead::default();
        (Self { io, next: next.clone(), ours: Bytes::new(), seen: None }, next)
    }

    /// How many of `written` belong to a head that is replaced.
    fn replaced(&mut self, written: &[u8]) -> usize {
        if self.seen.is_none() {
            let Some(head) = self.next.take() else { return 0 };
            self.ours = head;
            self.seen = Some(0);
        }
        for (index, byte) in written.iter().enumerate() {
            let seen = self.seen.unwrap_or_default();
            // The end begins with a CR, and CR comes only at line ends: a mismatch restarts there at the latest.
            let seen = if *byte == END[seen] { seen + 1 } else { usize::from(*byte == END[0]) };
            if seen == END.len() {
                self.seen = None;
                return index + 1;
            }
            self.seen = Some(seen);
        }
        written.len()
    }
}

impl<T: AsyncWrite + Unpin> ExactHead<T> {
    /// Writes what is left of our head and then `slices`; how many bytes of `slices` were taken.
    fn write_behind_head(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            if self.ours.is_empty() {
                return Pin::new(&mut self.io).poll_write_vectored(cx, slices);
            }
            let both: Vec<IoSlice<'_>> = std::iter::once(IoSlice::new(&self.ours))
                .chain(slices.iter().map(|s| IoSlice::new(s)))
                .collect();
            let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, &both))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_head = written.min(self.ours.len());
            self.ours.advance(of_head);
            if written > of_head {
                return Poll::Ready(Ok(written - of_head));
            }
        }
    }

    fn write_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.ours.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.ours))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.ours.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ExactHead<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some((first, rest)) = slices.split_first() else { return Poll::Ready(Ok(0)) };
        let replaced = self.replaced(first);
        if replaced == 0 {
            return self.write_behind_head(cx, slices);
        }
        let behind: Vec<IoSlice<'_>> = std::iter::once(IoSlice::new(&first[replaced..]))
            .chain(rest.iter().map(|slice| IoSlice::new(slice)))
            .filter(|slice| !slice.is_empty())
            .collect();
        if behind.is_empty() {
            return Poll::Ready(Ok(replaced));
        }
        // The head is taken in any case: what cannot be written behind it now comes again with the next call.
        match self.write_behind_head(cx, &behind) {
            Poll::Ready(Ok(written)) => Poll::Ready(Ok(replaced + written)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Ready(Ok(replaced)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_head(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_head(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ExactHead<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    proptest! {
        #[test]
        fn heads_are_replaced_and_bodies_kept_however_writes_are_split(
            bodies in proptest::collection::vec("[a-z\r\n]{0,40}", 1..4),
            chunk in 1..50usize,
            pipe in 1..30usize,
        ) {
            let (near, mut far) = tokio::io::duplex(pipe);
            let (mut stream, next) = ExactHead::new(near);
            let expected: String =
                bodies.iter().map(|body| format!("POST /exact HTTP/1.1\r\nX-Odd: 1\r\n\r\n{body}")).collect();
            let write = async {
                for body in &bodies {
                    next.set(Bytes::from_static(b"POST /exact HTTP/1.1\r\nX-Odd: 1\r\n\r\n"));
                    let whole = format!("POST / HTTP/1.1\r\nx-odd: 1\r\nhost: x\r\n\r\n{body}");
                    for part in whole.as_bytes().chunks(chunk) {
                        stream.write_all(part).await.unwrap();
                    }
                    stream.flush().await.unwrap();
                }
                drop(stream);
            };
            let read = async {
                let mut all = String::new();
                far.read_to_string(&mut all).await.unwrap();
                all
            };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let ((), all) = runtime.block_on(async { tokio::join!(write, read) });
            prop_assert_eq!(all, expected);
        }
    }
}
