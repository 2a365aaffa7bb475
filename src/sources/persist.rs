//! A simulated sender: it sends a message once, or again and again until it is acknowledged or given up, while things
//! go wrong on the way.

use std::time::Duration;

use anyhow::Result;

use super::dispatch::{Road, Sent};
use super::maker::{Maker, Message};
use super::pace::Pace;
use crate::contract::retry::{Ladder, Next, Reply};
use crate::model::{Answer, FailureKind, Outcome};
use crate::scenario::Faults;
use crate::signature::Keyring;

/// A simulated sender.
#[derive(Clone, Copy)]
pub struct Sender<'a> {
    /// The way to the handler.
    pub road: &'a Road,
    /// What it signs with.
    pub keys: &'a Keyring,
    /// Its time.
    pub pace: &'a Pace,
    /// Its schedule, when it tries again.
    pub ladder: Option<&'static Ladder>,
    /// What goes wrong on the way.
    pub faults: &'a Faults,
}

/// One attempt of a sender.
#[derive(Clone, Debug)]
pub struct Try {
    /// Counts from 1.
    pub number: usize,
    /// How many attempts there are at the most.
    pub of: usize,
    /// How long the real sender would have waited since the attempt before this one.
    pub waited: Duration,
    /// What came of it; `None` when it was lost on the way.
    pub sent: Option<Sent>,
    /// What the sender does now; `None` when it never tries again.
    pub next: Option<Next>,
}

impl Try {
    /// Whether another attempt follows.
    pub fn is_tried_again(&self) -> bool {
        matches!(self.next, Some(Next::After(_)))
    }
}

impl Sender<'_> {
    /// Sends a message of `maker`, each attempt under the same id, signed for its time and told when it is over; the
    /// last one.
    ///
    /// # Errors
    ///
    /// When it cannot be signed, sent or recorded, and when telling fails.
    pub async fn send(
        &self,
        maker: &Maker,
        message: &Message,
        mut tell: impl FnMut(&Try) -> Result<()>,
    ) -> Result<Try> {
        let Self { road, keys, pace, ladder, faults } = *self;
        let (mut number, mut waited) = (1, Duration::ZERO);
        loop {
            pace.wait(faults.wait(pace.clock.chance())).await;
            let is_lost = faults.loss.happens(pace.clock.chance()) || number <= faults.first_lost as usize;
            let sent = if is_lost {
                None
            } else {
                let parcel = maker.parcel(&message.again(&pace.clock), keys, faults)?;
                Some(road.send(pace.real(), parcel).await?)
            };
            let (now, chance) = (pace.clock.now(), pace.clock.chance());
            let next = ladder.map(|ladder| ladder.next(number, &reply(sent.as_ref()), now, chance));
            let of = ladder.map_or(1, Ladder::attempts);
            let attempt = Try { number, of, waited, sent, next };
            tell(&attempt)?;
            let Some(Next::After(pause)) = next else { return Ok(attempt) };
            pace.wait(pause).await;
            (number, waited) = (number + 1, pause);
        }
    }
}

/// What a sender learns of an attempt: what the handler did or, where it was not asked, what `listen` said.
fn reply(sent: Option<&Sent>) -> Reply<'_> {
    let Some(sent) = sent else { return Reply::NoAnswer };
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
