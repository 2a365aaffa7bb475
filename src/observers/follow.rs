//! Follows the bus without missing anything: whoever lags re-reads the store, which is the truth.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

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
                Ok(missed) => missed.iter().filter(|update| heard.is_news(update)).try_for_each(&mut show),
                // The store cannot be read: what was dropped stays unseen, and is still in the record.
                Err(_) => ControlFlow::Continue(()),
            },
        };
        if flow.is_break() {
            return;
        }
    }
}

/// Which deliveries were shown, and which of those are still without an outcome.
#[derive(Debug, Default)]
struct Heard {
    highest: Option<i64>,
    gaps: BTreeSet<i64>,
    open: BTreeSet<i64>,
}

impl Heard {
    /// Whether an update is news; it is not any more afterwards.
    fn is_news(&mut self, update: &Update) -> bool {
        match update {
            Update::Received(delivery) => self.receive(delivery.number),
            Update::Attempted(delivery) | Update::NotForwarded(delivery, _) => {
                self.open.remove(&delivery.number)
            }
            Update::TargetDown(..) | Update::TargetUp(_) | Update::Trouble(_) => true,
        }
    }

    fn receive(&mut self, number: i64) -> bool {
        let is_news = match self.highest {
            Some(highest) if number <= highest => self.gaps.remove(&number),
            Some(highest) => {
                self.gaps.extend((highest + 1..number).take(MOST_GAPS));
                true
            }
            None => true,
        };
        while self.gaps.len() > MOST_GAPS {
            self.gaps.pop_first();
        }
        self.highest = self.highest.max(Some(number));
        if is_news {
            self.open.insert(number);
        }
        is_news
    }

    /// What was missed, oldest first.
    fn catch_up(&self, folder: &Path) -> Result<Vec<Update>, StoreError> {
        let Some(reader) = Reader::open(folder)? else { return Ok(Vec::new()) };
        let mut missed = Vec::new();
        for number in self.gaps.iter().chain(&self.open) {
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
        Ok(missed.into_iter().flat_map(updates_of).collect())
    }
}

/// The updates that a recorded delivery gave rise to.
fn updates_of(delivery: Delivery) -> Vec<Update> {
    let delivery = Arc::new(delivery);
    let received = Update::Received(Arc::clone(&delivery));
    if delivery.attempts.is_empty() { vec![received] } else { vec![received, Update::Attempted(delivery)] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shown_is_not_news_again_and_gaps_are() {
        let mut heard = Heard::default();
        assert!(heard.receive(4));
        assert!(heard.receive(7));
        assert!(!heard.receive(7));
        assert!(heard.receive(5), "5 was published after 7 and is still news");
        assert!(!heard.receive(5));
        assert!(!heard.receive(3), "what was there before we listened is not");
        assert_eq!(heard.gaps, BTreeSet::from([6]));
        assert_eq!(heard.open, BTreeSet::from([4, 5, 7]));
    }
}
