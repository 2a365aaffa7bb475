//! Broadcast of updates to observers: bounded, and allowed to drop, since the store is the truth.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::broadcast;

use crate::model::Update;

/// How many updates an observer may be behind before it misses some.
pub const CAPACITY: usize = 4096;

/// A cloneable handle to the broadcast.
#[derive(Clone, Debug)]
pub struct Bus(Arc<RwLock<Option<broadcast::Sender<Update>>>>);

impl Bus {
    /// A bus without observers.
    pub fn new() -> Self {
        Self(Arc::new(RwLock::new(Some(broadcast::channel(CAPACITY).0))))
    }

    /// Tells every observer; nobody listening is fine.
    pub fn publish(&self, update: Update) {
        if let Some(sender) = &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            // The only error is that there is no observer at the moment.
            drop(sender.send(update.at_a_glance()));
        }
    }

    /// Hears everything that is published from now on; ends at once when the bus is closed already.
    pub fn subscribe(&self) -> broadcast::Receiver<Update> {
        let sender = self.0.read().unwrap_or_else(PoisonError::into_inner);
        sender.as_ref().map_or_else(|| broadcast::channel(1).1, broadcast::Sender::subscribe)
    }

    /// Ends every observer once it has heard what was published, whoever still holds a handle.
    pub fn close(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Default for Bus {
    fn default() -> Self {
        Self::new()
    }
}
