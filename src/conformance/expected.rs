//! Which answers hold, and what is wrong with the others.

use std::fmt;
use std::time::Duration;

use crate::model::{Attempt, Outcome};

/// What a handler is expected to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// To answer 2xx before its sender gives up.
    Acknowledged,
    /// To answer 4xx.
    Refused,
    /// To answer long before its sender gives up.
    Prompt,
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// It is no 2xx.
    NotAcknowledged(u16),
    /// It came after its sender had given up, which it does after so long.
    TooLate(Duration),
    /// It is a 2xx, to what should have been refused.
    Taken(u16),
    /// It is a 5xx, to what should have been refused.
    FailedInstead(u16),
    /// It is neither 2xx, 4xx nor 5xx, to what should have been refused.
    NeitherNor(u16),
    /// There is none.
    NoAnswer(&'static str),
    /// It should have come within so long.
    Slow(Duration),
}

/// Which part of its sender's patience an answer may take: the rest is for the network, for many events at once and for a
/// process that has just started, none of which there is here.
const SHARE: u32 = 10;

/// How soon an answer should come to a sender that waits so long.
pub fn promptly(limit: Duration) -> Duration {
    limit / SHARE
}

/// Whether an answer came soon enough for a sender that waits so long.
pub fn is_prompt(took: Duration, limit: Duration) -> bool {
    took <= promptly(limit)
}

impl Expected {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Refused => "refused",
            Self::Prompt => "prompt",
        }
    }

    /// What is wrong with an attempt at a delivery whose sender waits for at most `limit`; `None` when it is as it should be.
    pub fn violation(self, attempt: &Attempt, limit: Option<Duration>) -> Option<Violation> {
        let status = match &attempt.outcome {
            Outcome::Answered(answer) => answer.status,
            Outcome::Failed(failure) => return Some(Violation::NoAnswer(failure.kind.as_str())),
        };
        let is_late = limit.is_some_and(|limit| attempt.duration > limit);
        match (self, status) {
            (Self::Acknowledged, 200..300) if is_late => limit.map(Violation::TooLate),
            (Self::Acknowledged, 200..300) | (Self::Refused, 400..500) => None,
            (Self::Acknowledged, _) => Some(Violation::NotAcknowledged(status)),
            (Self::Refused, 200..300) => Some(Violation::Taken(status)),
            (Self::Refused, 500..600) => Some(Violation::FailedInstead(status)),
            (Self::Refused, _) => Some(Violation::NeitherNor(status)),
            (Self::Prompt, _) => {
                let slow = limit.filter(|limit| !is_prompt(attempt.duration, *limit));
                slow.map(|limit| Violation::Slow(promptly(limit)))
            }
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAcknowledged(status) => write!(f, "expected 2xx, and it answered {status}"),
            Self::TooLate(limit) => {
                write!(f, "expected 2xx within {limit:?}, after which the sender gives up")
            }
            Self::Taken(status) => write!(f, "expected 4xx, and it took a forgery ({status})"),
            Self::FailedInstead(status) => {
                write!(f, "expected 4xx, and it failed instead of refusing ({status})")
            }
            Self::NeitherNor(status) => write!(f, "expected 4xx, and {status} neither takes nor refuses"),
            Self::NoAnswer(kind) => write!(f, "expected an answer, and there was none ({kind})"),
            Self::Slow(time) => write!(f, "expected every answer within {time:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;

    use super::*;
    use crate::model::{Answer, Failure, FailureKind, Headers};

    const LIMIT: Duration = Duration::from_secs(30);

    fn attempt(outcome: Outcome, took: Duration) -> Attempt {
        Attempt {
            number: 1,
            target: "http://localhost:3000/".to_owned(),
            started_at: Timestamp::UNIX_EPOCH,
            duration: took,
            outcome,
        }
    }

    fn answered(status: u16) -> Outcome {
        Outcome::Answered(Answer { status, headers: Headers::new(), body: Bytes::new(), cut: false })
    }

    fn said(expected: Expected, outcome: Outcome, took: Duration) -> String {
        let violation = expected.violation(&attempt(outcome, took), Some(LIMIT));
        violation.map_or_else(String::new, |violation| violation.to_string())
    }

    #[test]
    fn every_status_is_judged_by_what_is_expected() {
        let (taken, refused) = (Expected::Acknowledged, Expected::Refused);
        for (expected, status, message) in [
            (taken, 200, ""),
            (taken, 202, ""),
            (taken, 299, ""),
            (taken, 199, "expected 2xx, and it answered 199"),
            (taken, 302, "expected 2xx, and it answered 302"),
            (taken, 401, "expected 2xx, and it answered 401"),
            (taken, 500, "expected 2xx, and it answered 500"),
            (refused, 400, ""),
            (refused, 401, ""),
            (refused, 499, ""),
            (refused, 200, "expected 4xx, and it took a forgery (200)"),
            (refused, 204, "expected 4xx, and it took a forgery (204)"),
            (refused, 302, "expected 4xx, and 302 neither takes nor refuses"),
            (refused, 500, "expected 4xx, and it failed instead of refusing (500)"),
            (refused, 999, "expected 4xx, and 999 neither takes nor refuses"),
        ] {
            assert_eq!(said(expected, answered(status), Duration::ZERO), message, "{status}");
        }
        for expected in [taken, refused] {
            let failure = Failure { kind: FailureKind::Reset, detail: String::new() };
            let message = "expected an answer, and there was none (reset)";
            assert_eq!(said(expected, Outcome::Failed(failure), Duration::ZERO), message);
        }
    }

    #[test]
    fn an_answer_may_take_as_long_as_its_sender_waits_and_should_take_a_tenth_of_that() {
        let late = "expected 2xx within 30s, after which the sender gives up";
        let slow = "expected every answer within 3s";
        for (expected, millis, message) in [
            (Expected::Acknowledged, 30_000, ""),
            (Expected::Acknowledged, 30_001, late),
            (Expected::Refused, 30_001, ""),
            (Expected::Prompt, 3000, ""),
            (Expected::Prompt, 3001, slow),
        ] {
            assert_eq!(
                said(
                    expected,
                    answered(if expected == Expected::Refused { 401 } else { 200 }),
                    Duration::from_millis(millis)
                ),
                message
            );
        }
        let patient = attempt(answered(200), LIMIT * 9);
        assert_eq!(Expected::Acknowledged.violation(&patient, None), None);
    }
}
