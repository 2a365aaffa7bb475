//! What there is to write: a delivery, or what came of one.

use std::sync::Arc;

use super::bodies::Place;
use super::insert::{self, Inserts};
use crate::model::{Attempt, Delivery, Incoming, Relayed, Target};

/// Something to write.
#[derive(Debug)]
pub(super) enum Job {
    /// A delivery, answered with its number.
    Delivery(Arc<Incoming>, Waiting),
    /// An attempt at the delivery of that number, answered with it.
    Attempt(i64, Arc<Attempt>, Waiting),
}

/// Whether a delivery waits for its target to come back.
#[derive(Debug)]
pub enum Waiting {
    /// As it was.
    AsBefore,
    /// It waits for this one.
    For(Target),
    /// It does not wait any more.
    NoMore,
}

impl Job {
    /// The body that it is to put.
    pub(super) fn body(&self) -> &[u8] {
        match self {
            Self::Delivery(incoming, _) => &incoming.request.body,
            Self::Attempt(_, attempt, _) => insert::answer_body(attempt),
        }
    }

    /// What it has become under its number, if it is a delivery.
    pub(super) fn delivery(&self, number: i64) -> Option<Arc<Delivery>> {
        match self {
            Self::Delivery(incoming, waiting) => {
                let held = matches!(waiting, Waiting::For(_));
                Some(Arc::new(Delivery { held, ..Delivery::recorded(incoming, number) }))
            }
            Self::Attempt(..) => None,
        }
    }

    /// How it came through a relay.
    pub(super) fn relayed(&self) -> Option<&Relayed> {
        match self {
            Self::Delivery(incoming, _) => incoming.relayed.as_ref(),
            Self::Attempt(..) => None,
        }
    }

    /// Puts it, with its body or the place of that.
    ///
    /// What came of a delivery that is `gone`, or was deleted meanwhile, is of no interest any more.
    pub(super) fn put(
        &self,
        inserts: &mut Inserts<'_>,
        body: Option<Place>,
        gone: i64,
    ) -> rusqlite::Result<i64> {
        let (delivery, waiting) = match self {
            Self::Attempt(delivery, ..) if *delivery <= gone => return Ok(*delivery),
            Self::Delivery(incoming, waiting) => (inserts.delivery(incoming, body)?, waiting),
            Self::Attempt(delivery, attempt, waiting) => {
                inserts.attempt(*delivery, attempt, body)?;
                (*delivery, waiting)
            }
        };
        inserts.waiting(delivery, waiting)?;
        Ok(delivery)
    }
}
