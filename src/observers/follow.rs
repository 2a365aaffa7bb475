//! Follows the bus without missing anything: whoever lags re-reads the store, which is the truth.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;

use crate::bus::{self, Subscription};
use crate::model::{Delivery, Then, Update};
use crate::store::{Query, Reader, Selector, StoreError};

/// How many deliveries are re-read at a time.
const PAGE: usize = 500;

/// How many numbers that were never heard of are remembered; they belong to other processes as a rule.
const MOST_GAPS: usize = 10_000;

/// How many updates are shown at a time.
const MOST_AT_ONCE: usize = 512;

/// How long to rest after showing something: under load, showing many at once costs far less than being woken for each.
const REST: Duration = Duration::from_millis(5);

/// Calls `show` with the updates, as many at a time as there are, until the bus closes or `show` breaks. Blocks; meant
/// for a thread of its own.
///
/// When the bus dropped something, the deliveries concerned are read from the store in `folder`, and shown once. Those
/// that other processes recorded there are not.
pub fn follow(mut updates: Subscription, folder: &Path, mut show: impl FnMut(&[Update]) -> ControlFlow<()>) {
    let mut heard = Heard::default();
    let mut is_over = false;
    while !is_over {
        let (mut batch, mut news) = (Vec::new(), Some(updates.blocking_recv()));
        while let Some(next) = news {
            match next {
                Ok(update) => batch.extend(Some(update).filter(|update| heard.is_news(update))),
                // When the store cannot be read, what was dropped stays unseen, and is still in the record.
                Err(RecvError::Lagged(_)) => {
                    batch.extend(heard.catch_up(folder, &updates).unwrap_or_default());
                }
                Err(RecvError::Closed) => is_over = true,
            }
            news = if is_over || batch.len() >= MOST_AT_ONCE { None } else { updates.try_recv() };
        }
        is_over |= show(&batch).is_break();
        if !is_over {
            std::thread::sleep(REST);
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
    /// Deliveries whose end was not heard of, and how much of them was.
    open: BTreeMap<i64, usize>,
    /// What was read from the store, and may still come over the bus.
    caught_up: HashSet<News>,
    /// How many more updates may have been on the bus already when the store was read.
    on_the_bus: usize,
}

/// What an update tells of a delivery: its number, and 0 for its coming or one more than its attempts for what came of it.
type News = (i64, usize);

fn news_of(update: &Update) -> Option<News> {
    match update {
        Update::Received(delivery) => Some((delivery.number, 0)),
        Update::Attempted(delivery, _) | Update::NotForwarded(delivery) | Update::Held(delivery) => {
            Some((delivery.number, delivery.attempts.len() + 1))
        }
        Update::Fired(..)
        | Update::TargetDown(..)
        | Update::TargetUp(_)
        | Update::TunnelUp(..)
        | Update::TunnelDown(_)
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
        let Some((number, told)) = news_of(update) else { return };
        match update {
            Update::Received(_) => self.receive(number),
            Update::Attempted(_, Then::Over) | Update::NotForwarded(_) => {
                self.open.remove(&number);
            }
            _ => {
                self.open.insert(number, told);
            }
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
        self.open.insert(number, 0);
    }

    /// What was missed of those deliveries that are our own, oldest first.
    fn catch_up(&mut self, folder: &Path, updates: &Subscription) -> Result<Vec<Update>, StoreError> {
        let is_own = |number| updates.is_own(number);
        let Some(reader) = Reader::open(folder)? else { return Ok(Vec::new()) };
        let mut missed = Vec::new();
        for number in self.gaps.iter().chain(self.open.keys()).filter(|number| is_own(**number)) {
            missed.extend(reader.find(&Selector::Number(*number))?.map(|recorded| recorded.delivery));
        }
        let mut before = None;
        loop {
            let after = self.highest.or(updates.first_own().map(|first| first - 1));
            let query = Query { after, before, limit: PAGE, ..Query::default() };
            let page = reader.list(&query)?;
            before = page.last().map(|delivery| delivery.number);
            let is_last = page.len() < PAGE;
            missed.extend(page.into_iter().filter(|delivery| is_own(delivery.number)));
            if is_last {
                break;
            }
        }
        missed.sort_by_key(|delivery| delivery.number);
        let is_known = |update: &Update| {
            news_of(update)
                .is_some_and(|(number, told)| self.open.get(&number).is_some_and(|known| *known >= told))
        };
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
pub fn updates_of(delivery: Delivery) -> Vec<Update> {
    let delivery = Arc::new(delivery);
    let received = Update::Received(Arc::clone(&delivery));
    let then = match delivery.not_forwarded {
        Some(_) => Some(Update::NotForwarded(delivery)),
        None if delivery.held => Some(Update::Held(delivery)),
        // Whether it is tried again is not on record.
        None => (!delivery.attempts.is_empty()).then_some(Update::Attempted(delivery, Then::Over)),
    };
    std::iter::once(received).chain(then).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Bus;
    use crate::model::{Clock, Incoming, Trouble};
    use crate::store::Store;

    fn incoming(clock: &Clock, path: &str) -> Arc<Incoming> {
        let mut incoming = Incoming::plain(clock);
        path.clone_into(&mut incoming.request.path);
        Arc::new(incoming)
    }

    #[test]
    fn what_was_missed_is_read_from_the_record_and_what_others_recorded_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::real();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let bus = Bus::new();
        let updates = bus.subscribe();
        runtime.block_on(async {
            let store = Store::open(folder.path()).unwrap();
            for path in ["/others", "/ours/1", "/others", "/ours/2", "/others"] {
                let incoming = incoming(&clock, path);
                let number = store.record(Arc::clone(&incoming)).await.unwrap().number;
                if path.starts_with("/ours") {
                    bus.publish(Update::Received(Arc::new(Delivery::recorded(&incoming, number))));
                }
            }
            store.close().await;
        });
        let trouble = Trouble { code: "test", message: String::new(), hint: String::new() };
        let trouble = Arc::new(trouble);
        (0..bus::CAPACITY).for_each(|_| bus.publish(Update::Trouble(Arc::clone(&trouble))));
        bus.close();
        let mut seen = Vec::new();
        follow(updates, folder.path(), |updates| {
            for update in updates {
                if let Update::Received(delivery) = update {
                    seen.push(delivery.path.clone());
                }
            }
            ControlFlow::Continue(())
        });
        assert_eq!(seen, ["/ours/1", "/ours/2"]);
    }

    #[test]
    fn gaps_and_open_ends_are_remembered() {
        let mut heard = Heard::default();
        for number in [4, 7, 5] {
            heard.receive(number);
        }
        assert_eq!(heard.gaps, BTreeSet::from([6]), "what was there before we listened is no gap");
        assert_eq!(heard.open.into_keys().collect::<Vec<_>>(), [4, 5, 7]);
    }
}
