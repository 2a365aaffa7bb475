//! Follows the bus without missing anything: whoever lags re-reads the store, which is the truth.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::bus;
use crate::model::{Delivery, Update};
use crate::store::{Query, Reader, Selector, StoreError};

/// How many deliveries are re-read at a time.
const PAGE: usize = 500;

/// How many numbers that were never heard of are remembered; they belong to other processes as a rule.
const MOST_GAPS: usize = 10_000;

/// Calls `show` for every update until the bus closes or `show` breaks. Blocks; meant for a thread of its own.
///
/// When the bus dropped something, the deliveries concerned are read from the store in `folder`, and shown once.
pub fn follow(
    mut updates: Receiver<Update>,
    folder: &Path,
    mut show: impl FnMut(&Update) -> ControlFlow<()>,
) {
    let mut heard = Heard::default();
    loop {
        let flow = match updates.blocking_recv() {
            Ok(update) if heard.is_news(&update) => show(&update),
            Ok(_) => ControlFlow::Continue(()),
            Err(RecvError::Closed) => return,
            Err(RecvError::Lagged(_)) => match heard.catch_up(folder) {
                Ok(missed) => missed.iter().try_for_each(&mut show),
                // The store cannot be read: what was dropped stays unseen, and is still in the record.
                Err(_) => ControlFlow::Continue(()),
            },
        };
        if flow.is_break() {
            return;
        }
    }
}

/// What was heard of so far.
#[derive(Debug, Default)]
struct Heard {
    /// The highest number.
    highest: Option<i64>,
    /// Lower numbers that were not heard of.
    gaps: BTreeSet<i64>,
    /// Deliveries whose end was not heard of.
    open: BTreeSet<i64>,
    /// What was read from the store, and may still come over the bus.
    caught_up: HashSet<News>,
    /// How many more updates may have been on the bus already when the store was read.
    on_the_bus: usize,
}

/// What an update tells of a delivery: its number, and 0 for its coming or one more than its attempts for its end.
type News = (i64, usize);

fn news_of(update: &Update) -> Option<News> {
    match update {
        Update::Received(delivery) => Some((delivery.number, 0)),
        Update::Attempted(delivery) | Update::NotForwarded(delivery) | Update::Held(delivery) => {
            Some((delivery.number, delivery.attempts.len() + 1))
        }
        Update::Fired(..)
        | Update::Retry(..)
        | Update::TargetDown(..)
        | Update::TargetUp(_)
        | Update::Trouble(_) => None,
    }
}

impl Heard {
    /// Whether an update is news: not when the store told it already.
    fn is_news(&mut self, update: &Update) -> bool {
        if self.on_the_bus == 0 {
            self.caught_up.clear();
        }
        self.on_the_bus = self.on_the_bus.saturating_sub(1);
        let Some(news) = news_of(update) else { return true };
        self.take_note(update);
        !self.caught_up.remove(&news)
    }

    fn take_note(&mut self, update: &Update) {
        match update {
            Update::Received(delivery) => self.receive(delivery.number),
            Update::Attempted(delivery) | Update::NotForwarded(delivery) => {
                self.open.remove(&delivery.number);
            }
            Update::Fired(..)
            | Update::Held(_)
            | Update::Retry(..)
            | Update::TargetDown(..)
            | Update::TargetUp(_)
            | Update::Trouble(_) => {}
        }
    }

    fn receive(&mut self, number: i64) {
        match self.highest {
            Some(highest) if number <= highest => {
                self.gaps.remove(&number);
            }
            Some(highest) => self.gaps.extend((highest + 1..number).take(MOST_GAPS)),
            None => {}
        }
        while self.gaps.len() > MOST_GAPS {
            self.gaps.pop_first();
        }
        self.highest = self.highest.max(Some(number));
        self.open.insert(number);
    }

    /// What was missed, oldest first.
    fn catch_up(&mut self, folder: &Path) -> Result<Vec<Update>, StoreError> {
        let Some(reader) = Reader::open(folder)? else { return Ok(Vec::new()) };
        let mut missed = Vec::new();
        for number in self.gaps.union(&self.open) {
            missed.extend(reader.find(&Selector::Number(*number))?.map(|recorded| recorded.delivery));
        }
        let mut before = None;
        loop {
            let query = Query { after: self.highest, before, limit: PAGE, ..Query::default() };
            let page = reader.list(&query)?;
            before = page.last().map(|delivery| delivery.number);
            let is_last = page.len() < PAGE;
            missed.extend(page);
            if is_last {
                break;
            }
        }
        missed.sort_by_key(|delivery| delivery.number);
        let is_known = |update: &Update| matches!(update, Update::Received(delivery) if self.open.contains(&delivery.number));
        let updates: Vec<Update> =
            missed.into_iter().flat_map(updates_of).filter(|update| !is_known(update)).collect();
        for update in &updates {
            self.take_note(update);
        }
        self.caught_up.extend(updates.iter().filter_map(news_of));
        self.on_the_bus = bus::CAPACITY;
        Ok(updates)
    }
}

/// The updates that a recorded delivery gave rise to.
fn updates_of(delivery: Delivery) -> Vec<Update> {
    let delivery = Arc::new(delivery);
    let received = Update::Received(Arc::clone(&delivery));
    let then = match delivery.not_forwarded {
        Some(_) => Some(Update::NotForwarded(delivery)),
        None if delivery.held => Some(Update::Held(delivery)),
        None => (!delivery.attempts.is_empty()).then_some(Update::Attempted(delivery)),
    };
    std::iter::once(received).chain(then).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_open_ends_are_remembered() {
        let mut heard = Heard::default();
        for number in [4, 7, 5] {
            heard.receive(number);
        }
        assert_eq!(heard.gaps, BTreeSet::from([6]), "what was there before we listened is no gap");
        assert_eq!(heard.open, BTreeSet::from([4, 5, 7]));
    }
}
