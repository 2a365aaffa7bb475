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
        let (delivery, end) = finished(update)?;
        self.finished += 1;
        self.failed += u64::from(end == End::Failed);
        let expected =
            self.expect.as_ref().is_some_and(|expect| expect.matches(delivery.kind.event_type.as_ref()));
        if expected {
            return Some(Reached { acknowledged: end == End::Acknowledged });
        }
        let enough = self.exit_after.is_some_and(|number| self.finished >= number);
        enough.then_some(Reached { acknowledged: self.failed == 0 })
    }
}

/// How a delivery came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Its handler acknowledged it, or nothing is forwarded at all, and its sender was told 2xx.
    Acknowledged,
    /// Its sender was told 2xx, but the handler that there is did not get it.
    PassedOver,
    /// Its sender was told that it failed.
    Failed,
}

/// A delivery that came to its end, and how.
fn finished(update: &Update) -> Option<(&Delivery, End)> {
    match update {
        Update::Attempted(delivery, Then::Over) => {
            Some((delivery, if delivery.is_acknowledged() { End::Acknowledged } else { End::Failed }))
        }
        Update::NotForwarded(delivery) => {
            let end = match delivery.not_forwarded? {
                NotForwarded::NoTarget => End::Acknowledged,
                NotForwarded::Filtered | NotForwarded::Disabled | NotForwarded::Incomplete => End::PassedOver,
                NotForwarded::Unverified | NotForwarded::TooLarge => End::Failed,
            };
            Some((delivery, end))
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
