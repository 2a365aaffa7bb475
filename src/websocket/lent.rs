//! A stream that somebody has for a while: when they drop it, it comes back.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// A stream that goes back when it is dropped.
pub struct Lent<T> {
    /// It is there until this is dropped.
    stream: Option<T>,
    back: Option<oneshot::Sender<T>>,
}

/// Lends a stream, and gives where it comes back.
pub fn lend<T>(stream: T) -> (Lent<T>, oneshot::Receiver<T>) {
    let (back, comes_back) = oneshot::channel();
    (Lent { stream: Some(stream), back: Some(back) }, comes_back)
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        if let (Some(stream), Some(back)) = (self.stream.take(), self.back.take()) {
            // Without anybody who wants it back, it ends here.
            back.send(stream).ok();
        }
    }
}

impl<T: Unpin> Lent<T> {
    fn get<'a, R>(
        self: Pin<&'a mut Self>,
        ask: impl FnOnce(Pin<&'a mut T>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        match &mut self.get_mut().stream {
            Some(stream) => ask(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lent<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.get(|stream| stream.poll_read(cx, buf))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Lent<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get(|stream| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get(|stream| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(T::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get(|stream| stream.poll_shutdown(cx))
    }
}
