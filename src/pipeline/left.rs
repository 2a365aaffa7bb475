//! Deliveries that a `listen` leaves behind when it ends: they have failed, or wait with `--hold`. Without an attempt nobody
//! would find them again.

use std::time::Duration;

use jiff::Timestamp;

use super::{Made, Pipeline};
use crate::forward::{Handed, WireAnswer};
use crate::model::{Delivery, Failure, FailureKind, Origin, Outcome, Target};
use crate::store::{Came, Query, Reader, StoreError, Waiting};

/// How many of the newest deliveries are looked at: more were hardly under way when a run ended.
const NEWEST: i64 = 1000;

/// How long it may take to write down what became of what was under way.
pub const LAST_WORDS: Duration = Duration::from_millis(500);

/// How old a delivery is that no other command may still be at.
pub const OLD: Duration = Duration::from_mins(1);

/// What became of a delivery whose answer was not waited for.
pub(super) fn handed_to_nobody(target: &Target, path: &str, since: Timestamp) -> Handed {
    let detail = "mbaas-dev ended before the handler had answered".to_owned();
    Handed {
        url: target.url_of(&target.path_for(path)),
        started_at: since,
        duration: Duration::ZERO,
        outcome: Outcome::Failed(Failure { kind: FailureKind::Reset, detail }),
        wire: WireAnswer::default(),
        rest: None,
    }
}

/// The attempt that an earlier run made and knew no end of.
pub(super) fn attempt_of_earlier(delivery: &Delivery, target: &Target) -> Made {
    handed_to_nobody(target, &delivery.path, delivery.received_at).into_attempt(1)
}

impl Pipeline {
    /// Waits for no answer any more: what is under way has failed.
    pub fn cut_off(&self) {
        self.0.cut.cancel();
    }

    /// Does the same, and waits until that is on disk, if it does not take too long.
    pub async fn end(&self) {
        self.cut_off();
        self.0.tasks.close();
        drop(tokio::time::timeout(LAST_WORDS, self.0.tasks.wait()).await);
    }

    /// Whether an attempt ended because we do.
    pub(super) fn was_cut_off(&self, outcome: &Outcome) -> bool {
        self.0.cut.is_cancelled() && matches!(outcome, Outcome::Failed(_))
    }

    /// The number of the newest delivery that is recorded.
    pub fn newest(&self) -> Result<i64, StoreError> {
        let Some(hold) = &self.0.hold else { return Ok(0) };
        Reader::open(hold.folder())?.map_or(Ok(0), |reader| reader.last_number())
    }

    /// The deliveries up to that number that earlier runs recorded and no more, oldest first. What came through a relay is
    /// not among them: it is sent again.
    pub fn left(&self, up_to: i64, now: Timestamp) -> Result<Vec<Delivery>, StoreError> {
        let Some(hold) = &self.0.hold else { return Ok(Vec::new()) };
        let Some(reader) = Reader::open(hold.folder())? else { return Ok(Vec::new()) };
        let (after, before) = (Some(up_to - NEWEST), Some(up_to + 1));
        let limit = usize::try_from(NEWEST).unwrap_or_default();
        let query = Query { came: Some(Came::Nothing), after, before, limit, ..Query::default() };
        let mut left = reader.list(&query)?;
        left.retain(|delivery| {
            let is_settled = match delivery.origin {
                // Only a `listen` takes those, and it has ended.
                Origin::Ingress | Origin::Watch => true,
                Origin::Tunnel => false,
                Origin::Trigger | Origin::Replay | Origin::Scenario | Origin::Api => {
                    now.duration_since(delivery.received_at).unsigned_abs() > OLD
                }
            };
            is_settled && !delivery.held && delivery.not_forwarded.is_none()
        });
        left.reverse();
        Ok(left)
    }

    /// Records that a delivery which an earlier run left has failed, or lets it wait for its target.
    pub async fn give_up(&self, delivery: &Delivery, target: Target) -> Result<(), StoreError> {
        let (attempt, ..) = attempt_of_earlier(delivery, &target);
        let waiting = if self.0.holds_when_away { Waiting::For(target) } else { Waiting::AsBefore };
        self.0.store.record_attempt(delivery.number, attempt, waiting).await
    }
}
