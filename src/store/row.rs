//! How the words of the model stand in rows, both ways. Anything may stand in a row that was not written here, so
//! reading one ends in an error and never in a panic.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::types::{FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{CachedStatement, Row};

use super::StoreError;
use super::bodies::{Folder, Place};
use crate::model::{
    Answer, Attempt, Contract, Delivery, DeliveryId, Failure, FailureKind, Headers, Kind, NotForwarded,
    Origin, Outcome, Request, Verdict,
};

/// An id as it stands in a row: its 16 bytes, which sort by time as the text does.
pub(super) fn id_bytes(id: &DeliveryId) -> [u8; 16] {
    let digits = id.as_str().strip_prefix("dlv_").unwrap_or_default();
    let mut bytes = [0; 16];
    hex::decode_to_slice(digits, &mut bytes).expect("an id is `dlv_` and 32 hexadecimal digits");
    bytes
}

/// A duration as it stands in a row.
pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// The delivery of a row of [`select::delivery_columns`](super::select::delivery_columns), without its attempts.
pub(super) fn delivery(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    Ok(Delivery {
        id: read(row, "id", id)?,
        number: row.get("number")?,
        received_at: read(row, "received_at", timestamp)?,
        origin: read(row, "origin", |value| named(value, Origin::from_name))?,
        replay_of: read(row, "replay_of", |value| optional(value, id))?,
        kind: Kind {
            contract: read(row, "contract", |value| optional(value, parsed::<Contract>))?,
            event_type: read(row, "event_type", |value| optional(value, parsed))?,
            wire_event: row.get("wire_event")?,
        },
        signature: read(row, "signature", |value| named(value, Verdict::from_name))?,
        signature_note: row.get("signature_note")?,
        method: row.get("method")?,
        path: row.get("path")?,
        body_bytes: read(row, "body_bytes", unsigned)?,
        not_forwarded: read(row, "not_forwarded", |value| {
            optional(value, |value| named(value, NotForwarded::from_name))
        })?,
        late_since: read(row, "late_since", |value| optional(value, timestamp))?,
        held: row.get("held")?,
        attempts: Vec::new(),
    })
}

/// The request of a row that has `method`, `path`, `headers` and `body`; a large body is read from its place.
pub(super) fn request(row: &Row<'_>, bodies: &Folder) -> rusqlite::Result<Request> {
    let (headers, trailers) = Headers::from_block_with(&bytes(row, "headers")?);
    let (method, path) = (row.get("method")?, row.get("path")?);
    Ok(Request { method, path, headers, body: body(row, bodies)?, trailers })
}

/// The attempt of a row of [`select::attempts`](super::select::attempts); a large body is read from its place.
fn attempt(row: &Row<'_>, bodies: &Folder) -> rusqlite::Result<Attempt> {
    let status: Option<u16> = row.get("status")?;
    let outcome = match status {
        Some(status) => Outcome::Answered(Answer {
            status,
            headers: headers(row)?,
            body: body(row, bodies)?,
            cut: row.get("cut")?,
        }),
        None => Outcome::Failed(Failure {
            kind: read(row, "error", |value| named(value, FailureKind::from_name))?,
            detail: row.get("detail")?,
        }),
    };
    Ok(Attempt {
        number: row.get("number")?,
        target: row.get("target")?,
        started_at: read(row, "started_at", timestamp)?,
        duration: Duration::from_micros(read(row, "duration_us", unsigned)?),
        outcome,
    })
}

/// The attempts at a delivery; `statement` is one of [`select::attempts`](super::select::attempts).
pub(super) fn attempts(
    statement: &mut CachedStatement<'_>,
    delivery: i64,
    bodies: &Folder,
) -> rusqlite::Result<Vec<Arc<Attempt>>> {
    statement.query_map([delivery], |row| attempt(row, bodies).map(Arc::new))?.collect()
}

fn headers(row: &Row<'_>) -> rusqlite::Result<Headers> {
    Ok(Headers::from_block(&bytes(row, "headers")?))
}

fn bytes(row: &Row<'_>, column: &str) -> rusqlite::Result<Bytes> {
    Ok(Bytes::from(row.get::<_, Vec<u8>>(column)?))
}

fn body(row: &Row<'_>, bodies: &Folder) -> rusqlite::Result<Bytes> {
    let Some(place) = place(row)? else { return bytes(row, "body") };
    let mut body = Vec::new();
    bodies.read(&place, &mut body).map_err(lost)?;
    Ok(Bytes::from(body))
}

/// Where the body of a row is; `None` when the row has it.
pub(super) fn place(row: &Row<'_>) -> rusqlite::Result<Option<Place>> {
    read(row, "body", Place::of)
}

/// An error of a body, as one of the row that points at it.
pub(super) fn lost(error: StoreError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
}

/// Reads a column with `decode`; an error names the column.
pub(super) fn read<T>(
    row: &Row<'_>,
    column: &str,
    decode: impl FnOnce(ValueRef<'_>) -> FromSqlResult<T>,
) -> rusqlite::Result<T> {
    let index = row.as_ref().column_index(column)?;
    let value = row.get_ref(index)?;
    decode(value).map_err(|error| {
        let error = format!("`{column}`: {error}");
        rusqlite::Error::FromSqlConversionFailure(index, value.data_type(), error.into())
    })
}

fn optional<T>(
    value: ValueRef<'_>,
    decode: impl FnOnce(ValueRef<'_>) -> FromSqlResult<T>,
) -> FromSqlResult<Option<T>> {
    if value == ValueRef::Null { Ok(None) } else { decode(value).map(Some) }
}

fn id(value: ValueRef<'_>) -> FromSqlResult<DeliveryId> {
    format!("dlv_{}", hex::encode(value.as_blob()?)).parse().map_err(strange)
}

pub(super) fn timestamp(value: ValueRef<'_>) -> FromSqlResult<Timestamp> {
    Timestamp::from_microsecond(value.as_i64()?).map_err(|error| strange(error.to_string()))
}

fn unsigned(value: ValueRef<'_>) -> FromSqlResult<u64> {
    let number = value.as_i64()?;
    u64::try_from(number).map_err(|_negative| FromSqlError::OutOfRange(number))
}

fn parsed<T: FromStr<Err: ToString>>(value: ValueRef<'_>) -> FromSqlResult<T> {
    value.as_str()?.parse().map_err(|error: T::Err| strange(error.to_string()))
}

fn named<T>(value: ValueRef<'_>, from_name: impl FnOnce(&str) -> Option<T>) -> FromSqlResult<T> {
    let name = value.as_str()?;
    from_name(name).ok_or_else(|| strange(format!("nothing is named {name:?} here")))
}

fn strange(detail: String) -> FromSqlError {
    FromSqlError::Other(detail.into())
}
