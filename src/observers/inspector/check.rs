//! Whether a body is as the documentation of its event has it: asked by the page while somebody edits it.

use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::actions::read;
use super::answer::{Fault, object_answer};
use crate::fixture::Examiner;
use crate::json::{Json, Position};
use crate::model::{Contract, EventName, FORMAT_VERSION};
use crate::observers::drift;

/// How many findings say where in the text they are: each is looked for from the beginning.
const MOST_PLACED: usize = 20;

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
    let source = draft.body;
    // Large bodies take a while, as does reading the schemas for the first time.
    let examine = move || {
        let examined = Examiner::default().examine(contract, event.as_ref(), &body);
        let examined = examined.as_written(source.as_bytes());
        let mut object = drift::object(&examined);
        let shapes = object["findings"].as_array_mut().into_iter().flatten();
        for (finding, shape) in examined.findings.iter().zip(shapes).take(MOST_PLACED) {
            let Position { line, column } = finding.position(source.as_bytes());
            (shape["line"], shape["column"]) = (line.into(), column.into());
        }
        object
    };
    let schema: Value = tokio::task::spawn_blocking(examine).await.unwrap_or_default();
    let findings = schema["findings"].clone();
    Ok(object_answer(&json!({ "v": FORMAT_VERSION, "schema": schema["name"], "findings": findings })))
}
