//! Takes deliveries over from elsewhere, with the ids, times and attempts that they had there.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::insert::Inserts;
use super::{StoreError, file, row};
use crate::model::{Attempt, Incoming};

/// How many pages of log are copied back at once: a `listen` that runs meanwhile may have nothing to write for hours.
const LOG_PAGES: i64 = 1000;

/// A connection for taking deliveries over, beside whoever else writes. Its methods block.
#[derive(Debug)]
pub struct Importer {
    file: PathBuf,
    connection: Connection,
}

/// A delivery from elsewhere.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The delivery; it gets a number of its own here.
    pub incoming: Incoming,
    /// What became of it there; their numbers rise.
    pub attempts: Vec<Attempt>,
}

impl Importer {
    /// Opens the record in `folder`, which exists, making it when there is none.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let file = file::locate(folder)?;
        let connection = file::open_for_writing(&file)?;
        connection
            .pragma_update(None, "wal_autocheckpoint", LOG_PAGES)
            .map_err(|error| StoreError::from_sqlite(&file, &error))?;
        Ok(Self { file, connection })
    }

    /// Records those whose id is not there yet, in one transaction; how many those are.
    pub fn add(&mut self, batch: &[Imported]) -> Result<usize, StoreError> {
        let added = add(&mut self.connection, batch);
        added.map_err(|error| StoreError::from_sqlite(&self.file, &error))
    }
}

fn add(connection: &mut Connection, batch: &[Imported]) -> rusqlite::Result<usize> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut added = 0;
    {
        let mut inserts = Inserts::prepare(&transaction)?;
        let mut known = transaction.prepare_cached("SELECT 1 FROM deliveries WHERE id = ?1")?;
        for Imported { incoming, attempts } in batch {
            let id = row::id_bytes(&incoming.id);
            if known.query_row([id], |_| Ok(())).optional()?.is_some() {
                continue;
            }
            let number = inserts.delivery(incoming)?;
            attempts.iter().try_for_each(|attempt| inserts.attempt(number, attempt))?;
            added += 1;
        }
    }
    transaction.commit()?;
    Ok(added)
}
