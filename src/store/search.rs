//! Looking for texts in deliveries, in upper or lower case.

use rusqlite::{CachedStatement, Connection, Row};

use super::bodies::Folder;
use super::needle::Needle;
use super::{Query, row, texts};

/// What is looked for in the deliveries of a list and their answers.
pub(super) struct Texts<'c> {
    /// A text that may stand anywhere.
    anywhere: Option<Needle>,
    /// One that stands in the body of the request.
    in_body: Option<Needle>,
    answers: CachedStatement<'c>,
    bodies: &'c Folder,
    /// The last large body.
    large: Vec<u8>,
}

impl<'c> Texts<'c> {
    pub(super) fn new(
        connection: &'c Connection,
        bodies: &'c Folder,
        query: &Query,
    ) -> rusqlite::Result<Self> {
        let answers = connection.prepare_cached("SELECT body FROM attempts WHERE delivery = ?1")?;
        let anywhere = query.search.as_deref().map(Needle::new);
        let in_body = query.bot.as_deref().map(|bot| Needle::new(&format!("\"{bot}\"")));
        Ok(Self { anywhere, in_body, answers, bodies, large: Vec::new() })
    }

    /// What the text index is asked for; none when it cannot help.
    pub(super) fn trigrams(&self) -> Option<String> {
        // Few deliveries are about one bot.
        self.in_body.as_ref().and_then(texts::query).or_else(|| self.anywhere.as_ref().and_then(texts::query))
    }

    /// Whether the delivery of a row of [`select`](super::select::select) has them all.
    pub(super) fn are_in(&mut self, row: &Row<'_>) -> rusqlite::Result<bool> {
        let Self { anywhere, in_body, answers, bodies, large } = self;
        if let Some(needle) = in_body
            && !is_in_body(needle, bodies, large, row)?
        {
            return Ok(false);
        }
        let Some(needle) = anywhere else { return Ok(true) };
        for column in ["path", "headers"] {
            if needle.is_in_value(row.get_ref(column)?) {
                return Ok(true);
            }
        }
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
