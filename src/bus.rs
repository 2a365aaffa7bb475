//! Broadcast of updates to observers: bounded, and allowed to drop, since the store is the truth.

use tokio::sync::broadcast;

use crate::model::Update;

/// How many updates an observer may be behind before it misses some.
pub const CAPACITY: usize = 4096;

/// A cloneable handle to the broadcast.
#[derive(Clone, Debug)]
pub struct Bus(broadcast::Sender<Update>);

impl Bus {
    /// A bus without observers.
    pub fn new() -> Self {
        Self(broadcast::channel(CAPACITY).0)
    }

    /// Tells every observer; nobody listening is fine.
    pub fn publish(&self, update: Update) {
        // The only error is that there is no observer at the moment.
        drop(self.0.send(update));
    }

    /// Hears everything that is published from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Update> {
        self.0.subscribe()
    }
}

impl Default for Bus {
    fn default() -> Self {
        Self::new()
    }
}
