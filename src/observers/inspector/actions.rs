//! What the page does: send recorded deliveries again, make events, delete.
//!
//! Where requests may go is limited to what `listen` was told, unless the user said otherwise on the command line: the
//! page shows what strangers sent.

use axum::extract::{Path, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Inspector;
use super::answer::{Fault, object_answer};
use super::question::named;
use crate::fixture::{Artifacts, Catalogue, Entry, Fixture};
use crate::json::{Json as Parsed, Path as Place};
use crate::model::{BadTarget, Contract, EventName, FORMAT_VERSION, Headers, Origin, Target};
use crate::signature::{HeaderStyle, Keyring, SignMode};
use crate::sources::again::{Again, Repeat, again};
use crate::sources::compose::{self, Patch};
use crate::sources::dispatch::{DispatchError, Parcel, Road, Sent};
use crate::sources::maker::{Event, Maker};
use crate::store::remove;

type Answer = Result<Response, Fault>;

/// How a recorded delivery is sent again.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReplayOrder {
    /// Where to; without it, where such deliveries go.
    to: Option<String>,
    /// Whether the very bytes are sent, with the old signature.
    raw: bool,
    /// Whether it keeps its message id, as another attempt at the same message.
    keep_id: bool,
    /// Another body; JSON is brought into canonical form.
    body: Option<String>,
    /// Other headers, all of them; the signature is made afresh.
    headers: Option<Vec<(String, HeaderText)>>,
    /// Fields to set, by their paths.
    set: Map<String, Value>,
    /// Fields to take away.
    unset: Vec<String>,
}

/// A header's value, as `deliveries show --json` writes it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum HeaderText {
    Text(String),
    Bytes { b64: String },
}

/// An event to send.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TriggerOrder {
    /// Its name, with or without a variant.
    event: String,
    /// Its contract; without it, the first that has it.
    contract: Option<String>,
    /// Where to; without it, where such deliveries go.
    to: Option<String>,
    /// A body in the place of the fixture's.
    body: Option<String>,
    /// Fields to set, by their paths.
    #[serde(default)]
    set: Map<String, Value>,
    /// Fields to take away.
    #[serde(default)]
    unset: Vec<String>,
    /// How long the meeting is to be, in minutes, for events that know of it.
    minutes: Option<u32>,
    /// Right, or wrong in a way that handlers must survive.
    sign: Option<String>,
}

/// `POST /api/deliveries/{id}/replay`: sends it again; the new delivery.
pub async fn replay(State(inspector): State<Inspector>, Path(id): Path<String>, order: Bytes) -> Answer {
    let order: ReplayOrder = read(&order)?;
    let way = inspector.way(order.to.as_deref())?;
    let mut recorded = inspector.find(&id).await?;
    if let Some(headers) = &order.headers {
        recorded.request.headers = edited_headers(headers)?;
    }
    let patches = patches(&order.set, &order.unset)?;
    let body = edited_body(&recorded.request.body, order.body, &patches, order.raw)?;
    let how = match (order.raw, order.keep_id) {
        (true, _) => Repeat::Raw,
        (false, true) => Repeat::WithItsId,
        (false, false) => Repeat::Afresh,
    };
    let Again { parcel, notes } = again(recorded, body, how, &way.keys, &inspector.0.parts.clock)
        .map_err(|error| Fault::bad_request(error.to_string()))?;
    way.send(&inspector, parcel, &notes).await
}

/// `POST /api/trigger`: makes an event and sends it; the new delivery.
pub async fn trigger(State(inspector): State<Inspector>, order: Bytes) -> Answer {
    let order: TriggerOrder = read(&order)?;
    let way = inspector.way(order.to.as_deref())?;
    let parcel = parcel(&inspector, &way, order)?;
    way.send(&inspector, parcel, &[]).await
}

/// `DELETE /api/deliveries/{id}`.
pub async fn delete(State(inspector): State<Inspector>, Path(id): Path<String>) -> Answer {
    let number = inspector.find(&id).await?.delivery.number;
    let folder = inspector.0.parts.folder.clone();
    let removed = tokio::task::spawn_blocking(move || remove(&folder, number)).await;
    let ended =
        |_| Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "ended", "it broke off and was not deleted");
    if !removed.map_err(ended)?? {
        let message = format!("delivery {id} waits for its target and stays");
        return Err(Fault::new(StatusCode::CONFLICT, "held", message));
    }
    // The only error is that nobody watches.
    drop(inspector.0.deletions.send(()));
    Ok(object_answer(&json!({ "v": FORMAT_VERSION, "deleted": [number] })))
}

fn parcel(inspector: &Inspector, way: &Way, order: TriggerOrder) -> Result<Parcel, Fault> {
    let parts = &inspector.0.parts;
    let bad = |error: &dyn std::fmt::Display| Fault::bad_request(error.to_string());
    let name: EventName = order.event.parse().map_err(|error| bad(&error))?;
    let contract = order.contract.map(|name| name.parse::<Contract>()).transpose().map_err(|e| bad(&e))?;
    let catalogue = Catalogue::embedded();
    let entry = catalogue.find(&name, contract).map_err(|unknown| bad(&unknown))?.clone();
    if let Some(minutes) = order.minutes {
        check_minutes(minutes, &entry)?;
    }
    let mut event = Event::from(entry);
    if let Some(body) = order.body {
        event.fixture = Fixture::new("the body", body.into_bytes());
    }
    let mode = named(order.sign, "way to sign", SignMode::ALL.map(|mode| (mode.as_str(), mode)))?;
    let maker = Maker {
        event,
        minutes: order.minutes,
        patches: patches(&order.set, &order.unset)?,
        mode: mode.unwrap_or_default(),
        style: HeaderStyle::default(),
        method: None,
        raw: false,
        origin: Origin::Trigger,
        names: parts.names.clone(),
        artifacts: way.artifacts.clone(),
        environment: parts.environment,
    };
    maker.make(&parts.clock, &way.keys).map_err(|error| Fault::bad_request(format!("{error:#}")))
}

/// Fails where no meeting is so long, or where the event knows nothing of it.
fn check_minutes(minutes: u32, entry: &Entry) -> Result<(), Fault> {
    let about = entry.fixture.about().map_err(|error| Fault::bad_request(error.to_string()))?;
    if about.is_none_or(|about| about.minutes.is_empty()) {
        return Err(Fault::bad_request(format!("{} is of no meeting that was recorded", entry.name))
            .hint("leave `minutes` out; `takes_minutes` in /api/events says which events take it"));
    }
    if !(1..=480).contains(&minutes) {
        return Err(Fault::bad_request("`minutes` is from 1 to 480"));
    }
    Ok(())
}

/// Where an order goes, and what it is signed with.
struct Way {
    road: Road,
    keys: Keyring,
    /// Where the files of meetings can be fetched.
    artifacts: Artifacts,
}

impl Inspector {
    /// The way to `to`, or to wherever such deliveries go.
    fn way(&self, to: Option<&str>) -> Result<Way, Fault> {
        let parts = &self.0.parts;
        let through = (parts.through)();
        let keys = through.as_ref().map_or_else(|| parts.keys.clone(), |through| through.keys.clone());
        let artifacts = through.as_ref().map(|through| through.artifacts.clone()).unwrap_or_default();
        let to = to
            .map(str::parse::<Target>)
            .transpose()
            .map_err(|error: BadTarget| Fault::bad_request(error.to_string()))?;
        let target = match (to, through) {
            (to, Some(through)) if to.as_ref().is_none_or(|to| *to == through.ingress) => {
                let (forward, folder) = (parts.forward.clone(), parts.folder.clone());
                let road = Road::Listen { forward, ingress: through.ingress, token: through.token, folder };
                return Ok(Way { road, keys, artifacts });
            }
            (Some(to), through) => {
                let configured = through.map(|through| through.targets).unwrap_or_default();
                let is_known = parts.targets.iter().chain(&configured).any(|known| *known == to);
                if !is_known && !parts.any_target {
                    let message = format!("the inspector may not send to {to}");
                    return Err(Fault::new(StatusCode::FORBIDDEN, "target", message)
                        .hint("start it with --allow-any-target, or make it a target of `listen`"));
                }
                to
            }
            (None, _) => parts.targets.first().cloned().ok_or_else(|| {
                Fault::new(StatusCode::CONFLICT, "no_target", "no listen is running in this project")
                    .hint("start `mbaas-dev listen --forward localhost:3000`")
            })?,
        };
        let road = Road::Direct { pipeline: parts.pipeline.clone(), target, keys: keys.clone() };
        Ok(Way { road, keys, artifacts })
    }
}

impl Way {
    async fn send(self, inspector: &Inspector, parcel: Parcel, notes: &[String]) -> Answer {
        let Sent { delivery, .. } =
            self.road.send(&inspector.0.parts.clock, parcel).await.map_err(|error| match error {
                DispatchError::Store(error) => error.into(),
                error @ DispatchError::NotTaken { .. } => {
                    Fault::new(StatusCode::BAD_GATEWAY, "not_taken", error.to_string())
                }
            })?;
        let object = serde_json::to_value(&delivery);
        let mut object = object.map_err(|error| Fault::bad_request(error.to_string()))?;
        if !notes.is_empty() {
            object["notes"] = notes.into();
        }
        Ok(object_answer(&object))
    }
}

/// The body of a replay: as it was recorded, unless another one is given or it is edited.
fn edited_body(
    recorded: &Bytes,
    given: Option<String>,
    patches: &[Patch],
    raw: bool,
) -> Result<Bytes, Fault> {
    let is_given = given.is_some();
    let body = given.map_or_else(|| recorded.clone(), Bytes::from);
    if raw || (!is_given && patches.is_empty()) {
        return Ok(body);
    }
    match Parsed::parse(&body) {
        Ok(mut json) => {
            compose::edit(&mut json, patches).map_err(|error| Fault::bad_request(error.to_string()))?;
            Ok(Bytes::from(json.to_canonical()))
        }
        Err(_) if patches.is_empty() => Ok(body),
        Err(error) => Err(Fault::bad_request(format!("its body is not JSON and cannot be edited: {error}"))),
    }
}

fn edited_headers(given: &[(String, HeaderText)]) -> Result<Headers, Fault> {
    let mut headers = Headers::new();
    for (name, value) in given {
        let bad = || Fault::bad_request(format!("`{}` is no header that can be sent", name.escape_debug()));
        let value = match value {
            HeaderText::Text(text) => text.clone().into_bytes(),
            HeaderText::Bytes { b64 } => STANDARD.decode(b64).map_err(|_not_base64| bad())?,
        };
        HeaderName::from_bytes(name.as_bytes()).map_err(|_bad| bad())?;
        HeaderValue::from_bytes(&value).map_err(|_bad| bad())?;
        headers.push(name.clone(), value);
    }
    headers.drop_hop_by_hop();
    Ok(headers)
}

fn patches(set: &Map<String, Value>, unset: &[String]) -> Result<Vec<Patch>, Fault> {
    let path = |text: &str| {
        text.parse::<Place>()
            .map_err(|error| Fault::bad_request(format!("`{}`: {error}", text.escape_debug())))
    };
    let set = set.iter().map(|(place, value)| {
        let value = Parsed::parse(value.to_string().as_bytes())
            .map_err(|error| Fault::bad_request(error.to_string()))?;
        Ok(Patch::Set(path(place)?, value))
    });
    set.chain(unset.iter().map(|place| Ok(Patch::Unset(path(place)?)))).collect()
}

/// An order as JSON; what cannot be read says where.
pub(super) fn read<T: serde::de::DeserializeOwned>(order: &Bytes) -> Result<T, Fault> {
    serde_json::from_slice(order)
        .map_err(|error| Fault::bad_request(format!("the request cannot be read: {error}")))
}
