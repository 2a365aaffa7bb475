//! Taking single deliveries out of the record, with everything that belongs to them.

use std::path::Path;

use rusqlite::{CachedStatement, Connection, Params, Statement, TransactionBehavior};

use super::bodies::{Folder, IS_LARGE, Place};
use super::{StoreError, file, gone};

/// How many pages of log are copied back at once.
const LOG_PAGES: i64 = 1000;

/// Takes out the delivery of that number, beside whoever writes; whether it is gone. One that waits for its target stays.
/// Blocks.
pub fn remove(folder: &Path, number: i64) -> Result<bool, StoreError> {
    let file = file::locate(folder, file::NAME)?;
    let mut connection = file::open_for_writing(&file)?;
    let taken = take_out(&mut connection, number).map_err(|error| StoreError::from_sqlite(&file, &error))?;
    let Some(mut bodies) = taken else { return Ok(false) };
    // Only now: a crash must not leave rows without bodies.
    Folder::beside(&file).give_back(&mut bodies);
    Ok(true)
}

/// Where its large bodies stood; `None` when it waits.
fn take_out(connection: &mut Connection, number: i64) -> rusqlite::Result<Option<Vec<Place>>> {
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let waits = "SELECT EXISTS (SELECT 1 FROM held WHERE delivery = ?1)";
    if transaction.query_row(waits, [number], |row| row.get(0))? {
        return Ok(None);
    }
    let mut removal = Removal::prepare(&transaction)?;
    let bodies = removal.take_out(number)?;
    removal.finish()?;
    transaction.commit()?;
    Ok(Some(bodies))
}

/// The statements that take a delivery out, in a transaction of the caller's.
pub(super) struct Removal<'c> {
    connection: &'c Connection,
    gone: Vec<i64>,
    large: CachedStatement<'c>,
    deletions: [CachedStatement<'c>; 4],
}

impl<'c> Removal<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        let large = connection.prepare_cached(&format!(
            "SELECT body FROM deliveries WHERE number = ?1 AND {IS_LARGE}
             UNION ALL SELECT body FROM attempts WHERE delivery = ?1 AND {IS_LARGE}"
        ))?;
        let deletions = [
            connection.prepare_cached("DELETE FROM deliveries WHERE number = ?1")?,
            connection.prepare_cached("DELETE FROM attempts WHERE delivery = ?1")?,
            connection.prepare_cached("DELETE FROM texts WHERE rowid = ?1")?,
            connection.prepare_cached("DELETE FROM held WHERE delivery = ?1")?,
        ];
        Ok(Self { connection, gone: Vec::new(), large, deletions })
    }

    /// Takes it out; the space of its large bodies is given back once the transaction is committed.
    pub(super) fn take_out(&mut self, number: i64) -> rusqlite::Result<Vec<Place>> {
        let bodies = places(&mut self.large, [number])?;
        let [delivery, others @ ..] = &mut self.deletions;
        if delivery.execute([number])? > 0 {
            self.gone.push(number);
        }
        for deletion in others {
            deletion.execute([number])?;
        }
        Ok(bodies)
    }

    /// Notes what was taken out; comes last in the transaction.
    pub(super) fn finish(self) -> rusqlite::Result<()> {
        gone::add(self.connection, self.gone)
    }
}

/// The places that a statement gives; what is none cannot be read, and points at nothing.
pub(super) fn places(statement: &mut Statement<'_>, values: impl Params) -> rusqlite::Result<Vec<Place>> {
    let place = |row: &rusqlite::Row<'_>| Ok(Place::of(row.get_ref(0)?).ok().flatten());
    statement.query_map(values, place)?.filter_map(Result::transpose).collect()
}
