//! What a `listen` in a script waits for: an event, or a number of deliveries.

use crate::model::{Delivery, EventFilter, NotForwarded, Then, Update};

/// What is waited for; either, both or neither.
#[derive(Clone, Debug, Default)]
pub struct Goal {
    /// The event that must come.
    pub expect: Option<EventFilter>,
    /// How many deliveries must come to their end.
    pub exit_after: Option<u64>,
    finished: u64,
    failed: u64,
}

/// What was waited for has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Whether all of it was acknowledged.
    pub acknowledged: bool,
}

impl Goal {
    /// Waits for these.
    pub fn new(expect: Option<EventFilter>, exit_after: Option<u64>) -> Self {
        Self { expect, exit_after, finished: 0, failed: 0 }
    }

    /// Takes an update into account.
    pub fn count(&mut self, update: &Update) -> Option<Reached> {
        let (delivery, acknowledged) = finished(update)?;
        self.finished += 1;
        self.failed += u64::from(!acknowledged);
        let expected =
            self.expect.as_ref().is_some_and(|expect| expect.matches(delivery.kind.event_type.as_ref()));
        if expected {
            return Some(Reached { acknowledged });
        }
        let enough = self.exit_after.is_some_and(|number| self.finished >= number);
        enough.then_some(Reached { acknowledged: self.failed == 0 })
    }
}

/// A delivery that came to its end, and whether it was acknowledged, or its sender told 2xx where nothing is forwarded.
fn finished(update: &Update) -> Option<(&Delivery, bool)> {
    match update {
        Update::Attempted(delivery, Then::Over) => {
            Some((delivery, delivery.last_attempt().is_some_and(|attempt| attempt.outcome.is_acknowledged())))
        }
        Update::NotForwarded(delivery) => {
            Some((delivery, delivery.not_forwarded != Some(NotForwarded::Unverified)))
        }
        Update::Attempted(_, Then::AgainIn(_))
        | Update::Fired(..)
        | Update::Received(_)
        | Update::Held(_)
        | Update::TargetDown(..)
        | Update::TargetUp(_)
        | Update::TunnelUp(..)
        | Update::TunnelDown(_)
        | Update::Trouble(_) => None,
    }
}
