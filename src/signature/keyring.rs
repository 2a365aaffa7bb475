//! Which secret signs which event: one for all, and others for the endpoints that have their own.

use crate::model::{EventFilter, EventType, Secret};

/// The secrets of a project.
#[derive(Clone, Debug)]
pub struct Keyring {
    default: Secret,
    special: Vec<(EventFilter, Secret)>,
}

impl Keyring {
    /// One secret for everything.
    pub fn new(default: Secret) -> Self {
        Self { default, special: Vec::new() }
    }

    /// Uses another secret for some event types; of several that match, the first counts.
    pub fn add(&mut self, events: EventFilter, secret: Secret) {
        self.special.push((events, secret));
    }

    /// The secret for an event type.
    pub fn secret(&self, event_type: Option<&EventType>) -> &Secret {
        let matching = self.special.iter().find(|(events, _)| events.matches(event_type));
        matching.map_or(&self.default, |(_, secret)| secret)
    }

    /// The secret of everything that has none of its own.
    pub fn default_secret(&self) -> &Secret {
        &self.default
    }

    /// The secrets of some event types, in order.
    pub fn special(&self) -> impl Iterator<Item = (&EventFilter, &Secret)> {
        self.special.iter().map(|(events, secret)| (events, secret))
    }
}
