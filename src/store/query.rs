//! What can be asked of the record.

use std::str::FromStr;

use jiff::Timestamp;

use crate::model::{Contract, Delivery, DeliveryId, Origin, Request, Verdict};

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
    /// This came of it.
    pub came: Option<Came>,
    /// Checking its signature gave this.
    pub signature: Option<Verdict>,
    /// It arrived then or later.
    pub since: Option<Timestamp>,
    /// It arrived earlier.
    pub until: Option<Timestamp>,
    /// Its path, its headers, its body or the body of an answer contains this text, in upper or lower case.
    pub search: Option<String>,
    /// Its body says that it is about this bot: the id stands in it as a string of JSON.
    pub bot: Option<String>,
    /// Its number is below this: the next page of a list is what comes before its last delivery.
    pub before: Option<i64>,
    /// Its number is above this.
    pub after: Option<i64>,
    /// How many of the newest that fit are passed over.
    pub offset: usize,
    /// How many to list at most; the newest ones win.
    pub limit: usize,
}

impl Query {
    /// Whether the texts of deliveries have to be read to know which fit.
    pub(super) fn is_of_text(&self) -> bool {
        self.search.is_some() || self.bot.is_some()
    }

    /// Whether everything fits that has a number in its bounds.
    pub(super) fn is_plain(&self) -> bool {
        let Self {
            event,
            contract,
            origin,
            failed,
            unresolved,
            came,
            signature,
            since,
            until,
            search,
            bot,
            ..
        } = self;
        let is_of_text = search.is_some() || bot.is_some();
        let is_of_time = since.is_some() || until.is_some();
        let is_of_kind = event.is_some() || contract.is_some() || origin.is_some() || signature.is_some();
        !(is_of_text || is_of_time || is_of_kind || *failed || *unresolved || came.is_some())
    }
}

/// What came of a delivery, by its last attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// A 2xx status.
    Acknowledged,
    /// Anything but a 2xx status.
    Failed,
    /// A status of this class: 5 for 500 to 599.
    Status(u16),
    /// No whole answer.
    Unanswered,
    /// It was not handed to anybody so far.
    Nothing,
}

impl Came {
    /// Whether the index of what was not acknowledged has it.
    pub(super) fn is_failure(self) -> bool {
        match self {
            Self::Failed | Self::Unanswered => true,
            Self::Status(class) => class != 2,
            Self::Acknowledged | Self::Nothing => false,
        }
    }
}

/// Which delivery to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The one with this id.
    Id(DeliveryId),
    /// The one with this number.
    Number(i64),
}

impl FromStr for Selector {
    type Err = String;

    /// Reads an id, a number or `#` and a number.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(number) = text.strip_prefix('#').unwrap_or(text).parse::<i64>() {
            return Ok(Self::Number(number));
        }
        text.parse::<DeliveryId>().map(Self::Id).map_err(|error| format!("{error}, and not a number either"))
    }
}

/// A delivery with everything that was kept of it.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The delivery; its attempts have whole answers.
    pub delivery: Delivery,
    /// The request, with credentials masked.
    pub request: Request,
}
