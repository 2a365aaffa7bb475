//! An attempt: one try at handing a delivery to one target, and its outcome, which is data and never an `Err`.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use super::Headers;
use super::delivery::named;

/// How much of a handler's answer is kept, in bytes; the rest is passed on but not recorded.
pub const KEPT_ANSWER_BYTES: usize = 1024 * 1024;

/// How much of a handler's answer observers get to see, in bytes: what waits for a slow one is bounded.
pub const SHOWN_ANSWER_BYTES: usize = 16 * 1024;

/// One try at handing a delivery to one target.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Counts from 1 within the delivery.
    pub number: u32,
    /// The URL that the request was sent to.
    pub target: String,
    /// When it was sent.
    pub started_at: Timestamp,
    /// From sending to the end of the answer, or to the failure.
    pub duration: Duration,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of an attempt.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The target answered, with whatever status.
    Answered(Answer),
    /// There was no whole answer.
    Failed(Failure),
}

/// A target's answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers, in order.
    pub headers: Headers,
    /// The body, up to [`KEPT_ANSWER_BYTES`].
    pub body: Bytes,
    /// Whether there was more than was kept.
    pub cut: bool,
}

/// Why there was no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind, for programs.
    pub kind: FailureKind,
    /// What happened, for people.
    pub detail: String,
}

named! {
    /// The kinds of failure.
    FailureKind {
        /// Nobody listens at the target.
        Refused = "refused",
        /// No whole answer in time.
        Timeout = "timeout",
        /// The connection broke.
        Reset = "reset",
        /// The target's name has no address.
        Dns = "dns",
        /// The TLS handshake failed.
        Tls = "tls",
        /// The answer is over every limit.
        TooLarge = "too_large",
        /// The answer is not HTTP.
        Protocol = "protocol",
    }
}

impl Attempt {
    /// Whether its answer is longer than what observers show.
    pub fn is_long(&self) -> bool {
        matches!(&self.outcome, Outcome::Answered(answer) if answer.body.len() > SHOWN_ANSWER_BYTES)
    }

    /// The attempt with no more of its answer's body than observers show.
    #[must_use]
    pub fn at_a_glance(&self) -> Self {
        let mut glance = self.clone();
        if let Outcome::Answered(answer) = &mut glance.outcome
            && answer.body.len() > SHOWN_ANSWER_BYTES
        {
            // A copy: a slice would keep the whole.
            answer.body = Bytes::copy_from_slice(&answer.body[..SHOWN_ANSWER_BYTES]);
            answer.cut = true;
        }
        glance
    }
}

impl Outcome {
    /// Whether the target acknowledged: a 2xx status, and nothing else.
    pub fn is_acknowledged(&self) -> bool {
        matches!(self, Self::Answered(answer) if (200..300).contains(&answer.status))
    }
}
