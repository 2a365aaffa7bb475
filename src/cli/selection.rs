//! Which recorded deliveries are meant: by id, by number.

use super::report::Usage;
use crate::app::state::StateFolder;
use crate::model::DeliveryId;
use crate::store::{Reader, Recorded, Selector};

/// Reads an id, a number or `#` and a number.
pub fn selector(text: &str) -> Result<Selector, String> {
    if let Ok(number) = text.strip_prefix('#').unwrap_or(text).parse::<i64>() {
        return Ok(Selector::Number(number));
    }
    text.parse::<DeliveryId>().map(Selector::Id).map_err(|error| format!("{error}, and not a number either"))
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
