//! Whether a body is as the documentation of its event has it: asked by the page while somebody edits it.

use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::actions::read;
use super::answer::{Fault, object_answer};
use crate::fixture::Examiner;
use crate::json::Json;
use crate::model::{Contract, EventName, FORMAT_VERSION};
use crate::observers::drift;

/// A body, and what it is meant to be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    contract: String,
    /// The event; without it, the one that the body says it is.
    event: Option<String>,
    body: String,
}

/// `POST /api/check`: where the body differs from the schema of its event. Nothing is sent.
pub async fn check(draft: Bytes) -> Result<Response, Fault> {
    let draft: Draft = read(&draft)?;
    let contract: Contract = draft.contract.parse().map_err(Fault::bad_request)?;
    let event = draft.event.map(|event| event.parse::<EventName>()).transpose();
    let event = event.map_err(|error| Fault::bad_request(error.to_string()))?;
    let body = Json::parse(draft.body.as_bytes()).map_err(|error| Fault::bad_request(error.to_string()))?;
    // Large bodies take a while, as does reading the schemas for the first time.
    let examine = move || drift::object(&Examiner::default().examine(contract, event.as_ref(), &body));
    let schema: Value = tokio::task::spawn_blocking(examine).await.unwrap_or_default();
    let findings = schema["findings"].clone();
    Ok(object_answer(&json!({ "v": FORMAT_VERSION, "schema": schema["name"], "findings": findings })))
}
