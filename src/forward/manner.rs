//! How a request leaves: at once, as it should, or slowly, or not to its end.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// How a request leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// As fast as it is taken.
    #[default]
    Whole,
    /// Its body in pieces, the last of which leaves after so long.
    Slowly(Duration),
    /// The connection is reset after so many bytes of its body.
    BrokenOff(usize),
}

/// In how many pieces a slow body leaves.
const PIECES: u32 = 20;

/// A body on its way out.
pub enum Outgoing {
    /// As fast as it is taken.
    Whole(Full<Bytes>),
    /// Piece by piece.
    Slow(Slow),
    /// The beginning of a body, and how long the whole is said to be.
    Broken { begun: Option<Bytes>, rested: bool, announced: u64 },
}

/// A body that leaves piece by piece.
pub struct Slow {
    left: Bytes,
    piece: usize,
    pause: Duration,
    resting: Pin<Box<Sleep>>,
}

/// The end of a body that is broken off on purpose.
#[derive(Debug, thiserror::Error)]
#[error("broken off on purpose")]
pub struct OnPurpose;

impl Outgoing {
    /// The body of a request that leaves in that manner.
    pub fn new(body: Bytes, manner: Manner) -> Self {
        match manner {
            Manner::Whole => Self::Whole(Full::new(body)),
            Manner::Slowly(time) => {
                let pause = time / PIECES;
                let piece = body.len().div_ceil(PIECES as usize).max(1);
                Self::Slow(Slow { left: body, piece, pause, resting: Box::pin(tokio::time::sleep(pause)) })
            }
            Manner::BrokenOff(after) => {
                let announced = body.len() as u64;
                Self::Broken { begun: Some(body.slice(..after.min(body.len()))), rested: false, announced }
            }
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = OnPurpose;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OnPurpose>>> {
        match &mut *self {
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Slow(slow) => slow.poll_piece(cx),
            Self::Broken { begun, rested, .. } => match begun.take() {
                Some(begun) if !begun.is_empty() => Poll::Ready(Some(Ok(Frame::data(begun)))),
                // What was given is written before the end is asked for.
                _ if !*rested => {
                    *rested = true;
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                _ => Poll::Ready(Some(Err(OnPurpose))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Slow(slow) => slow.left.is_empty(),
            Self::Broken { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Slow(slow) => SizeHint::with_exact(slow.left.len() as u64),
            Self::Broken { announced, .. } => SizeHint::with_exact(*announced),
        }
    }
}

impl Slow {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OnPurpose>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        std::task::ready!(self.resting.as_mut().poll(cx));
        let next = self.resting.deadline() + self.pause;
        self.resting.as_mut().reset(next);
        let piece = self.left.split_to(self.piece.min(self.left.len()));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}
