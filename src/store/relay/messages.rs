//! The messages in the tables. Large ones stand in segments beside them, as the bodies of a record do ([`bodies`](crate::store::bodies)):
//! their rows have a text that says where.

use std::collections::HashSet;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, params};

use super::writer::Put;
use super::{Key, Message, MessageId, StoreError, Stored};
use crate::model::ChannelId;
use crate::store::bodies::{Column, Folder, Place, range_of};
use crate::store::remove::places;

/// How many messages are read at a time, and how many bytes of them, not counting the last.
const READ_AT_ONCE: (usize, u64) = (64, 256 * 1024);

/// How many messages are expired at a time.
const EXPIRED_AT_ONCE: i64 = 512;

/// Some messages of a channel.
#[derive(Clone, Copy)]
pub(super) struct Stretch {
    pub channel: ChannelId,
    /// The number of the channel in the tables.
    pub number: i64,
    /// They are behind this number,
    pub after: i64,
    /// and not behind this one.
    pub up_to: i64,
}

/// What was read.
pub(super) struct Found {
    pub messages: Vec<Stored>,
    /// What waits up to this number was read.
    pub to: i64,
    /// What waits as well, but cannot be read: numbers, the bytes of their bodies, and why not.
    pub lost: Vec<(i64, u64, StoreError)>,
}

/// A message that was deleted because it was too old: its channel, its number, and the bytes of its body.
pub(super) type Expired = (ChannelId, i64, u64);

/// Inserts messages, of which the large ones have their place already; their numbers.
pub(super) fn insert(connection: &Connection, puts: &[(Put, Option<Place>)]) -> rusqlite::Result<Vec<i64>> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO messages (channel, id, arrived_at, bytes, sealed) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let mut seqs = Vec::with_capacity(puts.len());
    for (Put { number, message, sealed, .. }, place) in puts {
        let (bytes, arrived_at) = (signed(message.bytes()), message.arrived_at.as_microsecond());
        let sealed = Column::new(sealed, *place);
        insert.execute(params![number, message.id.bytes(), arrived_at, bytes, sealed])?;
        seqs.push(connection.last_insert_rowid());
    }
    Ok(seqs)
}

/// Deletes the messages of these numbers; the space of the places is to be given back once that is committed.
pub(super) fn delete(
    connection: &Connection,
    seqs: impl Iterator<Item = i64>,
) -> rusqlite::Result<Vec<Place>> {
    // Most come one after the other, and go with one statement.
    let mut seqs: Vec<i64> = seqs.collect();
    seqs.sort_unstable();
    let mut freed = Vec::new();
    for stretch in seqs.chunk_by(|one, next| one + 1 == *next) {
        freed.extend(delete_where(
            connection,
            "seq BETWEEN ?1 AND ?2",
            [stretch[0], stretch[stretch.len() - 1]],
        )?);
    }
    Ok(freed)
}

/// Deletes all messages of a channel, as [`delete`] does.
pub(super) fn delete_all(connection: &Connection, number: i64) -> rusqlite::Result<Vec<Place>> {
    delete_where(connection, "channel = ?1", [number])
}

/// Deletes some messages that arrived before then, as [`delete`] does.
pub(super) fn expire(
    connection: &Connection,
    before: Timestamp,
) -> rusqlite::Result<(Vec<Expired>, Vec<Place>)> {
    let before = before.as_microsecond();
    let mut oldest = connection.prepare_cached(
        "SELECT m.seq, c.id, m.bytes, m.arrived_at FROM messages AS m
         JOIN channels AS c ON c.number = m.channel ORDER BY m.seq LIMIT ?1",
    )?;
    let mut rows = oldest.query([EXPIRED_AT_ONCE])?;
    let mut gone = Vec::new();
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(3)? >= before {
            break;
        }
        gone.push((ChannelId::from_bytes(row.get(1)?), row.get(0)?, unsigned(row.get(2)?)));
    }
    drop(rows);
    let freed = delete(connection, gone.iter().map(|(_, seq, _)| *seq))?;
    Ok((gone, freed))
}

/// The places in a segment that rows point at.
pub(super) fn places_in(connection: &Connection, segment: u64) -> rusqlite::Result<Vec<Place>> {
    let text = "SELECT sealed FROM messages INDEXED BY messages_large
        WHERE typeof(sealed) = 'text' AND sealed >= ?1 AND sealed < ?2";
    places(&mut *connection.prepare_cached(text)?, range_of(segment))
}

/// Reads some messages, the oldest first.
pub(super) fn read(
    connection: &Connection,
    file: &Path,
    folder: &Folder,
    key: &Key,
    stretch: Stretch,
) -> Result<Found, StoreError> {
    let failed = |error: rusqlite::Error| StoreError::from_sqlite(file, &error);
    let mut found = Found { messages: Vec::new(), to: stretch.up_to, lost: Vec::new() };
    fill(connection, file, folder, key, stretch, &mut found).map_err(failed)?;
    // What was delivered meanwhile is not lost.
    let mut gone = HashSet::new();
    for (seq, ..) in &found.lost {
        let look = "SELECT 1 FROM messages WHERE seq = ?1";
        if connection.query_row(look, [seq], |_| Ok(())).optional().map_err(failed)?.is_none() {
            gone.insert(*seq);
        }
    }
    found.lost.retain(|(seq, ..)| !gone.contains(seq));
    Ok(found)
}

fn fill(
    connection: &Connection,
    file: &Path,
    folder: &Folder,
    key: &Key,
    stretch: Stretch,
    found: &mut Found,
) -> rusqlite::Result<()> {
    let (most, most_bytes) = READ_AT_ONCE;
    let Stretch { channel, number, after, up_to } = stretch;
    let mut statement = connection.prepare_cached(
        "SELECT seq, id, arrived_at, bytes, sealed FROM messages
         WHERE channel = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq",
    )?;
    let mut rows = statement.query([number, after, up_to])?;
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let (seq, id) = (row.get(0)?, MessageId::from_bytes(row.get(1)?));
        let damaged = "a message was written with another key, or is damaged";
        let place = Place::of(row.get_ref(4)?)?;
        let sealed = match &place {
            Some(place) => {
                let mut sealed = Vec::new();
                folder.read(place, &mut sealed).map(|()| sealed)
            }
            None => Ok(row.get(4)?),
        };
        let damage = || StoreError::Damaged { file: file.to_path_buf(), detail: damaged.to_owned() };
        let request = sealed.and_then(|sealed| key.open(&channel, &id, sealed).ok_or_else(damage));
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                found.lost.push((seq, unsigned(row.get(3)?), error));
                continue;
            }
        };
        let arrived_at = Timestamp::from_microsecond(row.get(2)?).map_err(|error| unreadable(2, error))?;
        let message = Message { id, arrived_at, request };
        bytes += message.bytes();
        found.messages.push(Stored { seq, message: Arc::new(message) });
        if found.messages.len() >= most || bytes >= most_bytes {
            found.to = seq;
            return Ok(());
        }
    }
    Ok(())
}

fn unreadable(column: usize, why: impl Into<Box<dyn Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, why.into())
}

fn delete_where(
    connection: &Connection,
    condition: &str,
    values: impl Params + Clone,
) -> rusqlite::Result<Vec<Place>> {
    let large = format!("SELECT sealed FROM messages WHERE {condition} AND typeof(sealed) = 'text'");
    let freed = places(&mut *connection.prepare_cached(&large)?, values.clone())?;
    connection.prepare_cached(&format!("DELETE FROM messages WHERE {condition}"))?.execute(values)?;
    Ok(freed)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
