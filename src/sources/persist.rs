//! Sends a message as its sender would: again and again, until it is acknowledged or given up.

use std::time::Duration;

use anyhow::Result;

use super::dispatch::{Road, Sent};
use super::maker::Maker;
use crate::contract::retry::{Ladder, Next, Reply};
use crate::model::{Answer, Clock, FailureKind, Outcome, Speed};
use crate::signature::Keyring;

/// How a sender persists.
#[derive(Clone, Copy, Debug)]
pub struct Persistence {
    /// Its schedule.
    pub ladder: &'static Ladder,
    /// How much faster than in reality time passes between attempts.
    pub speed: Speed,
}

/// One attempt of a sender, and what it does afterwards.
#[derive(Clone, Debug)]
pub struct Try {
    /// Counts from 1.
    pub number: usize,
    /// How many attempts there are at the most.
    pub of: usize,
    /// How long the real sender would have waited before this attempt.
    pub waited: Duration,
    /// What came of it.
    pub sent: Sent,
    /// What the sender does now.
    pub next: Next,
}

impl Persistence {
    /// Sends the next event of `maker`, each attempt under the same id, signed for its time and told when it is over;
    /// the last one. Ids, times and chances are those of `clock`, except for those of the record.
    ///
    /// # Errors
    ///
    /// When it cannot be made, signed, sent or recorded, and when telling fails.
    pub async fn send(
        &self,
        road: &Road,
        (clock, record): (&Clock, &Clock),
        maker: &Maker,
        keys: &Keyring,
        mut tell: impl FnMut(&Try) -> Result<()>,
    ) -> Result<Try> {
        let mut message = maker.message(clock)?;
        let (mut number, mut waited) = (1, Duration::ZERO);
        loop {
            let sent = road.send(record, maker.parcel(&message, keys)?).await?;
            let next = self.ladder.next(number, &reply(&sent), clock.now(), clock.chance());
            let attempt = Try { number, of: self.ladder.attempts(), waited, sent, next };
            tell(&attempt)?;
            let Next::After(pause) = next else { return Ok(attempt) };
            clock.sleep(self.speed.shrink(pause)).await;
            message = message.again(clock);
            (number, waited) = (number + 1, pause);
        }
    }
}

/// What a sender learns of an attempt: what the handler did or, where it was not asked, what `listen` said.
fn reply(sent: &Sent) -> Reply<'_> {
    match sent.delivery.last_attempt().map(|attempt| &attempt.outcome) {
        _ if sent.delivery.held => Reply::Answered(202, None),
        Some(Outcome::Answered(Answer { status, headers, .. })) => {
            Reply::Answered(*status, headers.get("retry-after").map(AsRef::as_ref))
        }
        Some(Outcome::Failed(failure)) if failure.kind == FailureKind::Timeout => Reply::TimedOut,
        Some(Outcome::Failed(_)) => Reply::NoAnswer,
        None if sent.accepted => Reply::Answered(200, None),
        None => Reply::Answered(401, None),
    }
}
