//! What can be asked of the record.

use jiff::Timestamp;

use crate::model::{Contract, Delivery, DeliveryId, Origin, Request};

/// Which deliveries to list: those for which everything that is set holds.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Its event type fits this pattern, in which `*` stands for any text and `?` for any character. A delivery that
    /// was not recognised has no event type and fits `*` only, as with [`EventFilter`](crate::model::EventFilter).
    pub event: Option<String>,
    /// It follows this contract.
    pub contract: Option<Contract>,
    /// It came to be like this.
    pub origin: Option<Origin>,
    /// Its last attempt was not acknowledged. One without attempts has not failed.
    pub failed: bool,
    /// It failed, and no later delivery repeats it: a replay stands for what it repeats.
    pub unresolved: bool,
    /// It arrived then or later.
    pub since: Option<Timestamp>,
    /// Its path, its headers, its body or the body of an answer contains this text, in upper or lower case.
    pub search: Option<String>,
    /// Its number is below this: the next page of a list is what comes before its last delivery.
    pub before: Option<i64>,
    /// Its number is above this.
    pub after: Option<i64>,
    /// How many to list at most; the newest ones win.
    pub limit: usize,
}

/// Which delivery to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The one with this id.
    Id(DeliveryId),
    /// The one with this number.
    Number(i64),
}

/// A delivery with everything that was kept of it.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The delivery; its attempts have whole answers.
    pub delivery: Delivery,
    /// The request, with credentials masked.
    pub request: Request,
}
