//! `GET /api/export/{format}`: what the filters of the list let through, as a file that is redacted as `deliveries export`
//! does it.

use axum::extract::{Path, Query as Asked, State};
use axum::response::Response;
use http::StatusCode;

use super::Inspector;
use super::answer::{Fault, file_answer};
use super::question::{Question, named};
use crate::model::Target;
use crate::observers::exchange::export::{Export, Format};
use crate::observers::exchange::redacted;
use crate::store::{Query, Reader, Selector, StoreError};

/// How many bytes an export may have; the command line knows no such bound, since it writes piece by piece.
const LARGEST: usize = 64 * 1024 * 1024;

/// What came of looking.
enum Looked {
    Whole(Vec<u8>),
    TooLarge,
    /// A delivery cannot be expressed.
    Inexpressible(serde_json::Error),
}

/// `GET /api/export/{format}`, oldest first; `limit` takes the newest ones only.
pub async fn export(
    State(inspector): State<Inspector>,
    Path(format): Path<String>,
    Asked(mut question): Asked<Question>,
) -> Result<Response, Fault> {
    let formats = Format::ALL.map(|format| (format.as_str(), format));
    let Some(format) = named(Some(format), "format", formats)? else {
        return Err(Fault::not_found("there is no export without a format"));
    };
    let most = question.take_limit()?.unwrap_or(usize::MAX);
    let query = question.query(&inspector.0.parts.clock)?;
    let busy = || {
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "another export is being made")
            .hint("try again when it is there")
    };
    let place = std::sync::Arc::clone(&inspector.0.exports).try_acquire_owned();
    let place = place.map_err(|_full| busy())?;
    let target = (inspector.0.parts.through)().map(|through| through.ingress);
    let export = Export::new(format, target.unwrap_or_else(|| Target::local("localhost", 4400)));
    let look = move |reader: &Reader| {
        let whole = write(reader, &query, most, export);
        drop(place);
        whole
    };
    match inspector.read(look).await?.unwrap_or_else(|| Looked::Whole(Vec::new())) {
        Looked::Whole(bytes) => Ok(file_answer(bytes, &format!("deliveries.{}", format.ending()))),
        Looked::TooLarge => {
            let message = format!("this export has more than {} MiB", LARGEST / 1024 / 1024);
            Err(Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
                .hint("choose fewer, or run `mbaas-dev deliveries export -o FILE`"))
        }
        Looked::Inexpressible(error) => {
            Err(Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "json", error.to_string()))
        }
    }
}

fn write(reader: &Reader, query: &Query, most: usize, mut export: Export) -> Result<Looked, StoreError> {
    let mut room = LARGEST as u64;
    let numbers = reader.numbers(query, most, |page| {
        room = room.saturating_sub(page.iter().map(|delivery| delivery.body_bytes).sum());
        room > 0
    })?;
    if room == 0 {
        return Ok(Looked::TooLarge);
    }
    let mut bytes = export.start().as_bytes().to_vec();
    for number in numbers.into_iter().rev() {
        // What was deleted meanwhile is not wanted any more.
        let Some(recorded) = reader.find(&Selector::Number(number))? else { continue };
        match export.piece(&redacted(recorded)) {
            Ok(piece) => bytes.extend(piece),
            Err(error) => return Ok(Looked::Inexpressible(error)),
        }
        if bytes.len() > LARGEST {
            return Ok(Looked::TooLarge);
        }
    }
    bytes.extend(export.end().as_bytes());
    Ok(Looked::Whole(bytes))
}
