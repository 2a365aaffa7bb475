//! The events that can be triggered, and the fixtures behind them.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::Inspector;
use super::answer::{Fault, file_answer, object_answer};
use crate::contract::schema::Schema;
use crate::fixture::{Catalogue, Entry, Run};
use crate::model::{Contract, EventName, FORMAT_VERSION};
use crate::observers::events::{object, variants, with_sample, with_schema};

type Answer = Result<Response, Fault>;

/// `GET /api/events`: every event, as `events list --json` prints them.
pub async fn list() -> Answer {
    let catalogue = Catalogue::embedded();
    let plain = catalogue.entries().filter(|entry| entry.name.variant.is_none());
    let events = plain.map(|entry| described(&catalogue, entry)).collect::<Result<Vec<Value>, Fault>>()?;
    Ok(object_answer(&json!({ "v": FORMAT_VERSION, "events": events })))
}

/// `GET /api/events/{contract}/{event}`: one of them with its fields and a sample body, as `events show --json` prints it.
pub async fn one(State(inspector): State<Inspector>, Path(path): Path<(String, String)>) -> Answer {
    let catalogue = Catalogue::embedded();
    let entry = find(&catalogue, &path)?;
    let artifacts = (inspector.0.parts.through)().map(|through| through.artifacts).unwrap_or_default();
    let run = Run::new(&inspector.0.parts.clock, inspector.0.parts.environment).with_artifacts(artifacts);
    let sample = entry.fixture.render(&run).map_err(broken)?;
    let schema = Schema::of(entry.contract, &entry.name);
    let object = with_schema(described(&catalogue, entry)?, schema.as_ref());
    Ok(object_answer(&with_sample(object, &sample).map_err(broken)?))
}

/// `GET /api/fixtures/{contract}/{event}`: its template, as a file.
pub async fn fixture(Path(path): Path<(String, String)>) -> Answer {
    let catalogue = Catalogue::embedded();
    let entry = find(&catalogue, &path)?;
    Ok(file_answer(entry.fixture.source().to_vec(), &format!("{}.json", entry.name)))
}

/// The fixture of that contract and name.
pub(super) fn find<'a>(catalogue: &'a Catalogue, path: &(String, String)) -> Result<&'a Entry, Fault> {
    let (contract, name) = path;
    let contract: Contract = contract.parse().map_err(Fault::bad_request)?;
    let name: EventName = name.parse().map_err(|error| Fault::bad_request(format!("{error}")))?;
    catalogue.find(&name, Some(contract)).map_err(|unknown| Fault::not_found(unknown.to_string()))
}

fn described(catalogue: &Catalogue, entry: &Entry) -> Result<Value, Fault> {
    let variants: Vec<&Entry> = variants(catalogue, entry).collect();
    object(entry, &variants).map_err(broken)
}

fn broken(error: impl std::fmt::Display) -> Fault {
    Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "fixture", error.to_string())
}
