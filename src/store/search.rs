//! Looking for a text in deliveries, in upper or lower case.

use rusqlite::{CachedStatement, Connection, Row};

use super::bodies::Folder;
use super::needle::Needle;
use super::row;

/// A search through the deliveries of a list and their answers.
pub(super) struct Search<'c> {
    needle: Needle,
    answers: CachedStatement<'c>,
    bodies: &'c Folder,
    /// The last large body.
    large: Vec<u8>,
}

impl<'c> Search<'c> {
    pub(super) fn new(
        connection: &'c Connection,
        bodies: &'c Folder,
        needle: Needle,
    ) -> rusqlite::Result<Self> {
        let answers = connection.prepare_cached("SELECT body FROM attempts WHERE delivery = ?1")?;
        Ok(Self { needle, answers, bodies, large: Vec::new() })
    }

    /// Whether the delivery of a row of [`select`](super::select::select) has the text.
    pub(super) fn finds(&mut self, row: &Row<'_>) -> rusqlite::Result<bool> {
        for column in ["path", "headers"] {
            if self.needle.is_in_value(row.get_ref(column)?) {
                return Ok(true);
            }
        }
        let Self { needle, bodies, large, answers } = self;
        if is_in_body(needle, bodies, large, row)? {
            return Ok(true);
        }
        let mut answers = answers.query([row.get::<_, i64>("number")?])?;
        while let Some(answer) = answers.next()? {
            if is_in_body(needle, bodies, large, answer)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether the body of a row has the text; a large one is read into `large`.
fn is_in_body(
    needle: &Needle,
    bodies: &Folder,
    large: &mut Vec<u8>,
    row: &Row<'_>,
) -> rusqlite::Result<bool> {
    match row::place(row)? {
        None => Ok(needle.is_in_value(row.get_ref("body")?)),
        Some(place) => {
            bodies.read(&place, large).map_err(row::lost)?;
            Ok(needle.is_in(large))
        }
    }
}
