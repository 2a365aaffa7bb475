//! Broadcast of updates to observers: bounded, and allowed to drop, since the store is the truth.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::model::Update;

/// How many updates an observer may be behind before it misses some.
pub const CAPACITY: usize = 4096;

/// How many runs of numbers are remembered: there is a new one where another process has recorded something.
const MOST_RUNS: usize = 10_000;

/// A cloneable handle to the broadcast.
#[derive(Clone, Debug)]
pub struct Bus(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    sender: RwLock<Option<broadcast::Sender<Update>>>,
    /// The numbers of the deliveries that were published, which are those of this process.
    own: Arc<Mutex<Numbers>>,
}

/// What an observer holds.
#[derive(Debug)]
pub struct Subscription {
    updates: broadcast::Receiver<Update>,
    own: Arc<Mutex<Numbers>>,
}

impl Bus {
    /// A bus without observers.
    pub fn new() -> Self {
        let sender = RwLock::new(Some(broadcast::channel(CAPACITY).0));
        Self(Arc::new(Parts { sender, own: Arc::default() }))
    }

    /// Tells every observer; nobody listening is fine.
    pub fn publish(&self, update: Update) {
        if let Update::Received(delivery) = &update {
            self.0.own.lock().unwrap_or_else(PoisonError::into_inner).insert(delivery.number);
        }
        if let Some(sender) = &*self.0.sender.read().unwrap_or_else(PoisonError::into_inner) {
            // The only error is that there is no observer at the moment.
            drop(sender.send(update.at_a_glance()));
        }
    }

    /// Hears everything that is published from now on; ends at once when the bus is closed already.
    pub fn subscribe(&self) -> Subscription {
        let sender = self.0.sender.read().unwrap_or_else(PoisonError::into_inner);
        let updates = sender.as_ref().map_or_else(|| broadcast::channel(1).1, broadcast::Sender::subscribe);
        Subscription { updates, own: Arc::clone(&self.0.own) }
    }

    /// Ends every observer once it has heard what was published, whoever still holds a handle.
    pub fn close(&self) {
        *self.0.sender.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Default for Bus {
    fn default() -> Self {
        Self::new()
    }
}

impl Subscription {
    /// Waits for the next update.
    pub async fn recv(&mut self) -> Result<Update, RecvError> {
        self.updates.recv().await
    }

    /// Waits for the next update, on a thread that may block.
    pub fn blocking_recv(&mut self) -> Result<Update, RecvError> {
        self.updates.blocking_recv()
    }

    /// The next update, when there is one already.
    pub fn try_recv(&mut self) -> Option<Result<Update, RecvError>> {
        match self.updates.try_recv() {
            Ok(update) => Some(Ok(update)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Closed) => Some(Err(RecvError::Closed)),
            Err(TryRecvError::Lagged(missed)) => Some(Err(RecvError::Lagged(missed))),
        }
    }

    /// The lowest number that was published here and is remembered.
    pub fn first_own(&self) -> Option<i64> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).0.keys().next().copied()
    }

    /// Whether the delivery of that number was ever published here: others were recorded by other processes.
    pub fn is_own(&self, number: i64) -> bool {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).contains(number)
    }
}

/// A set of numbers that mostly follow one another: each run by its first, and its last.
#[derive(Debug, Default)]
struct Numbers(BTreeMap<i64, i64>);

impl Numbers {
    fn insert(&mut self, number: i64) {
        let before = self.0.range(..=number).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| last >= number) {
            return;
        }
        let first = before.filter(|(_, last)| last + 1 == number).map_or(number, |(first, _)| first);
        let last = self.0.remove(&(number + 1)).unwrap_or(number);
        self.0.insert(first, last);
        if self.0.len() > MOST_RUNS {
            self.0.pop_first();
        }
    }

    fn contains(&self, number: i64) -> bool {
        self.0.range(..=number).next_back().is_some_and(|(_, last)| *last >= number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_in_any_order_are_remembered_in_runs(numbers in proptest::collection::vec(1_i64..40, 0..60)) {
            let mut own = Numbers::default();
            for number in &numbers {
                own.insert(*number);
            }
            for number in 0..42 {
                prop_assert_eq!(own.contains(number), numbers.contains(&number));
            }
            let ends = own.0.iter().collect::<Vec<_>>();
            prop_assert!(ends.windows(2).all(|pair| pair[0].1 + 1 < *pair[1].0), "{:?}", ends);
        }
    }

    #[test]
    fn runs_are_bounded() {
        let mut own = Numbers::default();
        (0..30_000).for_each(|number| own.insert(2 * number));
        assert_eq!(own.0.len(), MOST_RUNS);
        assert!(own.contains(59_998) && !own.contains(59_997) && !own.contains(0));
    }
}
