//! What is asked of the list: the query of `GET /api/deliveries`, in the words of `deliveries list`.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::answer::Fault;
use crate::model::{Clock, Contract, Origin, Verdict, nearest};
use crate::store::{Came, Query};

/// How many deliveries a page has unless it says so.
const PAGE: usize = 100;

/// How many it may have.
const LONGEST_PAGE: usize = 1000;

/// What may have come of a delivery.
const STATUSES: [(&str, Came); 9] = [
    ("acknowledged", Came::Acknowledged),
    ("failed", Came::Failed),
    ("error", Came::Unanswered),
    ("none", Came::Nothing),
    ("1xx", Came::Status(1)),
    ("2xx", Came::Status(2)),
    ("3xx", Came::Status(3)),
    ("4xx", Came::Status(4)),
    ("5xx", Came::Status(5)),
];

/// The query of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Question {
    event: Option<String>,
    contract: Option<String>,
    origin: Option<String>,
    /// One of [`STATUSES`].
    status: Option<String>,
    signature: Option<String>,
    search: Option<String>,
    /// The id of the bot that they are about.
    bot: Option<String>,
    since: Option<String>,
    until: Option<String>,
    before: Option<i64>,
    after: Option<i64>,
    offset: usize,
    limit: Option<usize>,
    /// Whether to count all that fit.
    pub total: bool,
}

impl Question {
    /// How many are wanted, where it is said, for whoever knows no pages.
    pub fn take_limit(&mut self) -> Result<Option<usize>, Fault> {
        number(self.limit.take(), "limit", usize::MAX)
    }

    /// What is asked of the record.
    pub fn query(&self, clock: &Clock) -> Result<Query, Fault> {
        let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Ok(Query {
            event: text(&self.event),
            contract: named(text(&self.contract), "contract", Contract::ALL.map(|it| (it.as_str(), it)))?,
            origin: named(text(&self.origin), "origin", Origin::ALL.iter().map(|it| (it.as_str(), *it)))?,
            came: named(text(&self.status), "status", STATUSES)?,
            signature: named(
                text(&self.signature),
                "signature",
                Verdict::ALL.iter().map(|it| (it.as_str(), *it)),
            )?,
            search: text(&self.search),
            bot: text(&self.bot),
            since: moment(text(&self.since), "since", clock)?,
            until: moment(text(&self.until), "until", clock)?,
            before: self.before,
            after: self.after,
            offset: self.offset,
            limit: number(self.limit, "limit", LONGEST_PAGE)?.unwrap_or(PAGE),
            ..Query::default()
        })
    }
}

/// What a name stands for; an unknown one is told which there are.
pub fn named<T>(
    name: Option<String>,
    what: &str,
    known: impl IntoIterator<Item = (&'static str, T)>,
) -> Result<Option<T>, Fault> {
    let Some(name) = name else { return Ok(None) };
    let mut names = Vec::new();
    for (known, value) in known {
        if known == name {
            return Ok(Some(value));
        }
        names.push(known);
    }
    let meant = nearest(&name, names.iter().copied());
    let meant = meant.map(|meant| format!("did you mean `{meant}`? ")).unwrap_or_default();
    Err(Fault::bad_request(format!("`{}` is no {what}", name.escape_debug()))
        .hint(format!("{meant}there are {}", names.join(", "))))
}

/// A number from 1 to `most`.
pub fn number(number: Option<usize>, what: &str, most: usize) -> Result<Option<usize>, Fault> {
    match number {
        Some(wrong) if wrong < 1 || wrong > most => {
            let upper = if most == usize::MAX { " on".to_owned() } else { format!(" to {most}") };
            Err(Fault::bad_request(format!("`{what}` is {wrong}"))
                .hint(format!("give a number from 1{upper}")))
        }
        number => Ok(number),
    }
}

/// A time: `2026-11-24T09:00:00Z`, or `10m` for so long ago.
pub fn moment(text: Option<String>, what: &str, clock: &Clock) -> Result<Option<Timestamp>, Fault> {
    let Some(text) = text else { return Ok(None) };
    let ago = || text.parse::<SignedDuration>().ok().and_then(|ago| clock.now().checked_sub(ago).ok());
    let time = text.parse::<Timestamp>().ok().or_else(ago);
    time.map(Some).ok_or_else(|| {
        Fault::bad_request(format!("`{}` is no time for `{what}`", text.escape_debug()))
            .hint("give `2026-11-24T09:00:00Z`, or `10m` for so long ago")
    })
}
