//! `GET /api/timeline`: which bots the newest deliveries are about, so that a timeline can be chosen.

use std::collections::HashMap;

use axum::extract::{Query as Asked, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Inspector;
use super::answer::{Fault, object_answer};
use crate::contract::bot_of;
use crate::model::{Delivery, FORMAT_VERSION};
use crate::store::{Query, Reader, Selector, StoreError};

/// How many deliveries are looked at for an answer.
const MOST: usize = 500;

/// How large their bodies may be together, in bytes, not counting the last one.
const MOST_BYTES: u64 = 16 * 1024 * 1024;

/// Where to go on.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Deliveries with numbers below this are looked at.
    before: Option<i64>,
}

/// The bots of a stretch of the record, the one that was heard of last first.
#[derive(Debug, Default)]
struct Bots {
    found: Vec<Bot>,
    /// Where each stands.
    places: HashMap<String, usize>,
    /// Below which delivery the next stretch begins.
    next: Option<i64>,
}

/// What the stretch has of a bot.
#[derive(Debug)]
struct Bot {
    id: String,
    newest: Delivery,
    deliveries: u64,
    failed: u64,
}

/// `GET /api/timeline`: the bots that the newest deliveries are about, in pages of so many deliveries.
pub async fn bots(State(inspector): State<Inspector>, Asked(place): Asked<Place>) -> Result<Response, Fault> {
    let bots = inspector.read(move |reader| Bots::before(reader, place.before)).await?.unwrap_or_default();
    Ok(object_answer(&bots.object()))
}

impl Bots {
    fn before(reader: &Reader, before: Option<i64>) -> Result<Self, StoreError> {
        let mut this = Self::default();
        let newest = reader.list(&Query { before, limit: MOST, ..Query::default() })?;
        let (mut bytes, is_page, mut looked) = (0, newest.len() == MOST, None);
        for delivery in newest {
            if bytes >= MOST_BYTES {
                this.next = looked;
                return Ok(this);
            }
            bytes += delivery.body_bytes;
            looked = Some(delivery.number);
            // What was deleted meanwhile is about nobody.
            let Some(recorded) = reader.find(&Selector::Number(delivery.number))? else { continue };
            if let Some(id) = bot_of(&recorded.request.body) {
                this.add(id, delivery);
            }
        }
        this.next = looked.filter(|_| is_page);
        Ok(this)
    }

    fn add(&mut self, id: String, delivery: Delivery) {
        let failed = u64::from(delivery.last_attempt().is_some_and(|last| !last.outcome.is_acknowledged()));
        if let Some(place) = self.places.get(&id) {
            let bot = &mut self.found[*place];
            bot.deliveries += 1;
            bot.failed += failed;
            return;
        }
        self.places.insert(id.clone(), self.found.len());
        self.found.push(Bot { id, newest: delivery, deliveries: 1, failed });
    }

    fn object(&self) -> Value {
        let bot = |Bot { id, newest, deliveries, failed }: &Bot| {
            json!({
                "bot_id": id,
                "number": newest.number,
                "received_at": newest.received_at.to_string(),
                "contract": newest.kind.contract.map(crate::model::Contract::as_str),
                "event_type": newest.kind.event_type.as_ref().map(crate::model::EventType::as_str),
                "deliveries": deliveries,
                "failed": failed,
            })
        };
        let bots: Vec<Value> = self.found.iter().map(bot).collect();
        json!({ "v": FORMAT_VERSION, "bots": bots, "next": self.next })
    }
}
