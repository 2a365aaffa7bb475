//! Looking for a text in deliveries, in upper or lower case.

use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, Row};

use super::bodies::Folder;
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
    pub(super) fn new(connection: &'c Connection, bodies: &'c Folder, text: &str) -> rusqlite::Result<Self> {
        let answers = connection.prepare_cached("SELECT body FROM attempts WHERE delivery = ?1")?;
        Ok(Self { needle: Needle::new(text), answers, bodies, large: Vec::new() })
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

/// A text to look for.
struct Needle {
    lower: String,
}

impl Needle {
    fn new(text: &str) -> Self {
        Self { lower: text.to_lowercase() }
    }

    fn is_in_value(&self, value: ValueRef<'_>) -> bool {
        match value {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => self.is_in(bytes),
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => false,
        }
    }

    /// Whether `bytes` contain the text. They need not be text themselves; upper and lower case are alike, beyond
    /// ASCII too when the text has letters beyond it.
    fn is_in(&self, bytes: &[u8]) -> bool {
        if !self.lower.is_ascii() {
            return String::from_utf8_lossy(bytes).to_lowercase().contains(&self.lower);
        }
        let lower = self.lower.as_bytes();
        let Some(first) = lower.first() else { return true };
        // Looking for one byte is much faster than comparing at every place.
        bytes
            .windows(lower.len())
            .any(|window| window[0].to_ascii_lowercase() == *first && window.eq_ignore_ascii_case(lower))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_found_in_either_case_and_between_bytes_that_are_not_text() {
        for (needle, bytes, is_in) in [
            ("", &b""[..], true),
            ("", b"x", true),
            ("x", b"", false),
            ("Bot_ID", b"{\"bot_id\":1}", true),
            ("bot_id", b"\xff\0BOT_ID", true),
            ("bot_id", b"bot_i", false),
            ("100%", b"100%", true),
            ("100%", b"1000", false),
            ("MÜNCHEN", "münchen \u{1F600}".as_bytes(), true),
            ("münchen", b"\xffM\xc3\x9cNCHEN", true),
            ("münchen", b"munchen", false),
        ] {
            assert_eq!(Needle::new(needle).is_in(bytes), is_in, "{needle:?} {bytes:?}");
        }
    }
}
