//! Takes deliveries over from elsewhere, with the ids, times and attempts that they had there.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::bodies::{Appender, Folder, Place};
use super::insert::{self, Inserts};
use super::{StoreError, file, row};
use crate::model::{Attempt, Incoming};

/// How many pages of log are copied back at once: a `listen` that runs meanwhile may have nothing to write for hours.
const LOG_PAGES: i64 = 1000;

/// A connection for taking deliveries over, beside whoever else writes. Its methods block.
#[derive(Debug)]
pub struct Importer {
    file: PathBuf,
    connection: Connection,
    bodies: Appender,
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
        let file = file::locate(folder, file::NAME)?;
        let connection = file::open_for_writing(&file)?;
        connection
            .pragma_update(None, "wal_autocheckpoint", LOG_PAGES)
            .map_err(|error| StoreError::from_sqlite(&file, &error))?;
        let bodies = Appender::new(Folder::beside(&file));
        Ok(Self { file, connection, bodies })
    }

    /// Records those whose id is not there yet, in one transaction; how many those are.
    pub fn add(&mut self, batch: &[Imported]) -> Result<usize, StoreError> {
        let failed = |error: rusqlite::Error| StoreError::from_sqlite(&self.file, &error);
        let mut unknown = Vec::with_capacity(batch.len());
        for imported in batch {
            if !is_known(&self.connection, imported).map_err(failed)? {
                unknown.push(imported);
            }
        }
        let places = self.bodies.place(unknown.iter().flat_map(|imported| imported.bodies()));
        let places: Vec<Option<Place>> = places.into_iter().collect::<Result<_, _>>()?;
        let added = add(&mut self.connection, &unknown, places.into_iter());
        if added.is_err() && self.connection.is_autocommit() {
            // Surely nothing of it was written.
            self.bodies.take_back();
        }
        added.map_err(failed)
    }
}

impl Imported {
    /// The body of the request, and those of the answers.
    fn bodies(&self) -> impl Iterator<Item = &[u8]> {
        let answers = self.attempts.iter().map(insert::answer_body);
        std::iter::once(&self.incoming.request.body[..]).chain(answers)
    }
}

fn is_known(connection: &Connection, imported: &Imported) -> rusqlite::Result<bool> {
    let mut known = connection.prepare_cached("SELECT 1 FROM deliveries WHERE id = ?1")?;
    let found = known.query_row([row::id_bytes(&imported.incoming.id)], |_| Ok(())).optional()?;
    Ok(found.is_some())
}

/// Records those that are not known yet; `places` has a place or none for each of the bodies.
fn add(
    connection: &mut Connection,
    batch: &[&Imported],
    mut places: impl Iterator<Item = Option<Place>>,
) -> rusqlite::Result<usize> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut added = 0;
    {
        let mut inserts = Inserts::prepare(&transaction)?;
        for imported in batch {
            let Imported { incoming, attempts } = imported;
            let body = places.next().flatten();
            let answers: Vec<Option<Place>> = places.by_ref().take(attempts.len()).collect();
            // Somebody else may be taking over the same, and it may come twice.
            if is_known(&transaction, imported)? {
                continue;
            }
            let number = inserts.delivery(incoming, body)?;
            for (attempt, body) in attempts.iter().zip(answers) {
                inserts.attempt(number, attempt, body)?;
            }
            added += 1;
        }
    }
    transaction.commit()?;
    Ok(added)
}
