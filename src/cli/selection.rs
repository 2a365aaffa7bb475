//! Which recorded deliveries are meant: by id, by number, by what they are.

use std::time::Duration;

use clap::Args;

use super::arguments::since;
use super::report::Usage;
use crate::app::state::StateFolder;
use crate::model::{Clock, Contract, Origin, duration};
use crate::store::{Query, Reader, Recorded, Selector, StoreError};

/// Filters; several narrow the choice.
#[derive(Clone, Debug, Default, Args)]
pub struct FilterArgs {
    /// Only those whose event type matches: meeting.*
    #[arg(long, value_name = "GLOB")]
    event: Option<String>,
    /// Only those of a contract: preview, v2, v1, callback or alert
    #[arg(long, value_name = "CONTRACT")]
    contract: Option<Contract>,
    /// Only those that came to be so: ingress, tunnel, trigger, watch, replay, scenario or api
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    origin: Option<Origin>,
    /// Only those that the handler did not acknowledge
    #[arg(long)]
    failed: bool,
    /// Only those since so long ago: 10m, 2h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    since: Option<Duration>,
    /// Only those with this text in path, headers, body or answer, in any case
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
}

impl FilterArgs {
    /// The same filters, for deliveries with this text.
    #[must_use]
    pub fn searching(&self, text: &str) -> Self {
        Self { search: Some(text.to_owned()), ..self.clone() }
    }

    /// What is asked of the record.
    pub fn query(&self, limit: usize, clock: &Clock) -> Query {
        Query {
            event: self.event.clone(),
            contract: self.contract,
            origin: self.origin,
            failed: self.failed,
            since: self.since.map(|ago| since(clock, ago)),
            search: self.search.clone(),
            limit,
            ..Query::default()
        }
    }

    /// The numbers of all that match, newest first and `most` at the most.
    pub fn numbers(&self, reader: &Reader, most: usize, clock: &Clock) -> Result<Vec<i64>, StoreError> {
        reader.numbers(&self.query(0, clock), most, |_| true)
    }
}

fn origin(text: &str) -> Result<Origin, String> {
    Origin::from_name(text).ok_or_else(|| {
        format!(
            "`{}` is not an origin; there are ingress, tunnel, trigger, watch, replay, scenario and api",
            text.escape_debug()
        )
    })
}

/// Reads an id, a number or `#` and a number.
pub fn selector(text: &str) -> Result<Selector, String> {
    text.parse()
}

/// The delivery that is meant; it is an error when there is none.
pub fn find(state: &StateFolder, selector: &Selector) -> anyhow::Result<Recorded> {
    let found = match Reader::open(state.path())? {
        Some(reader) => reader.find(selector)?,
        None => None,
    };
    Ok(found.ok_or_else(|| not_found(selector))?)
}

fn not_found(selector: &Selector) -> Usage {
    let what = match selector {
        Selector::Id(id) => id.to_string(),
        Selector::Number(number) => format!("#{number}"),
    };
    Usage::new(format!("there is no delivery {what}"), "`mbaas-dev deliveries list` shows what there is")
}
