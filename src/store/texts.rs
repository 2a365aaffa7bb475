//! The text index: which deliveries have which three characters in a row.
//!
//! It is made behind ([`fill`], when the writer has nothing else to do), and therefore never complete: it has the
//! deliveries up to a number, the *watermark*, as they were then. What it gives are candidates, to be looked through one
//! by one; those that it cannot know of are always among them: deliveries above the watermark, those that got another
//! attempt since (`texts_again`), and those with large bodies, which are not in it.

use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, Params, Row, TransactionBehavior};

use super::needle::Needle;

/// How much text is put into the index in one transaction, in bytes, not counting the last delivery: it takes some 5 ms.
const SLICE: usize = 32 * 1024;

/// How many pages of the index are merged in one transaction: it takes some 3 ms.
const MERGE: i64 = 32;

/// How many deliveries are put into the index in one transaction at most.
const MOST: i64 = 256;

/// The numbers of all deliveries that may have a text, newest first; `None` when the index is of no help. The values are
/// what [`query`] gives, the number that they are below, and the one that they are above.
pub(super) const CANDIDATES: &str = "
    SELECT rowid AS number FROM texts WHERE texts MATCH ?1 AND rowid < ?2 AND rowid > ?3
    UNION SELECT number FROM deliveries
        WHERE number > (SELECT number FROM texts_watermark) AND number < ?2 AND number > ?3
    UNION SELECT delivery FROM texts_again WHERE delivery < ?2 AND delivery > ?3
    UNION SELECT number FROM deliveries INDEXED BY deliveries_large
        WHERE typeof(body) = 'text' AND number < ?2 AND number > ?3
    UNION SELECT delivery FROM attempts INDEXED BY attempts_large
        WHERE typeof(body) = 'text' AND delivery < ?2 AND delivery > ?3
    ORDER BY number DESC";

/// What to ask the index for; `None` when it cannot tell anything about the text.
pub(super) fn query(needle: &Needle) -> Option<String> {
    let trigrams = needle.trigrams();
    let quoted = trigrams.iter().map(|trigram| format!("\"{}\"", trigram.replace('"', "\"\"")));
    let all = quoted.collect::<Vec<_>>().join(" AND ");
    if all.is_empty() { None } else { Some(all) }
}

/// Up to which delivery the index goes.
pub(super) fn watermark(connection: &Connection) -> rusqlite::Result<i64> {
    let text = "SELECT coalesce(max(number), 0) FROM texts_watermark";
    connection.prepare_cached(text)?.query_row([], |row| row.get(0))
}

/// Takes a slice of what is not in the index yet into it, while it may go on; whether that may not have been all.
pub(super) fn fill(connection: &mut Connection, go_on: impl Fn() -> bool) -> rusqlite::Result<bool> {
    // Whether there is anything to do is told without the lock for writing.
    let some = "SELECT EXISTS (SELECT 1 FROM texts_again)
        OR EXISTS (SELECT 1 FROM deliveries WHERE number > (SELECT max(number) FROM texts_watermark))";
    if !connection.prepare_cached(some)?.query_row([], |row| row.get(0))? {
        return Ok(false);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    Filling::prepare(&transaction)?.slice(go_on)?;
    transaction.commit()?;
    Ok(true)
}

/// Merges some of what the slices have made, so that a search has few places to look at; whether that may not have been
/// all.
///
/// Left to itself, the index would do so whenever it is written to, and keep whoever writes waiting now and then.
pub(super) fn merge(connection: &Connection) -> rusqlite::Result<bool> {
    let before = connection.total_changes();
    connection.prepare_cached("INSERT INTO texts (texts, rank) VALUES ('merge', ?1)")?.execute([MERGE])?;
    // One change is the command itself.
    Ok(connection.total_changes() - before > 1)
}

/// The statements that fill the index.
struct Filling<'c> {
    connection: &'c Connection,
    request: CachedStatement<'c>,
    answers: CachedStatement<'c>,
    put: CachedStatement<'c>,
    forget: CachedStatement<'c>,
    settle: CachedStatement<'c>,
    /// The text of one delivery.
    text: String,
}

impl<'c> Filling<'c> {
    fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        let prepare = |text| connection.prepare_cached(text);
        Ok(Self {
            connection,
            request: prepare("SELECT path, headers, body FROM deliveries WHERE number = ?1")?,
            answers: prepare("SELECT body FROM attempts WHERE delivery = ?1")?,
            put: prepare("INSERT OR REPLACE INTO texts (rowid, text) VALUES (?1, ?2)")?,
            forget: prepare("DELETE FROM texts WHERE rowid = ?1")?,
            settle: prepare("DELETE FROM texts_again WHERE delivery = ?1")?,
            text: String::new(),
        })
    }

    fn slice(&mut self, go_on: impl Fn() -> bool) -> rusqlite::Result<()> {
        let mut bytes = 0;
        for number in self.numbers("SELECT delivery FROM texts_again ORDER BY delivery LIMIT ?1", [MOST])? {
            if bytes >= SLICE || !go_on() {
                return Ok(());
            }
            bytes += self.put(number)?;
            self.settle.execute([number])?;
        }
        let mut watermark = watermark(self.connection)?;
        let above = "SELECT number FROM deliveries WHERE number > ?2 ORDER BY number LIMIT ?1";
        for number in self.numbers(above, [MOST, watermark])? {
            if bytes >= SLICE || !go_on() {
                break;
            }
            bytes += self.put(number)?;
            watermark = number;
        }
        self.connection
            .prepare_cached("UPDATE texts_watermark SET number = ?1")?
            .execute([watermark])
            .map(drop)
    }

    fn numbers(&self, text: &str, values: impl Params) -> rusqlite::Result<Vec<i64>> {
        let mut statement = self.connection.prepare_cached(text)?;
        statement.query_map(values, |row| row.get(0))?.collect()
    }

    /// Puts a delivery in as it is now; how much text it has.
    fn put(&mut self, number: i64) -> rusqlite::Result<usize> {
        self.text.clear();
        let mut requests = self.request.query([number])?;
        let Some(request) = requests.next()? else {
            // It was pruned, and then an attempt at it ended.
            return self.forget.execute([number]);
        };
        for column in 0..3 {
            add(&mut self.text, column, request)?;
        }
        let mut answers = self.answers.query([number])?;
        while let Some(answer) = answers.next()? {
            add(&mut self.text, 0, answer)?;
        }
        self.put.execute((number, &self.text))?;
        Ok(self.text.len())
    }
}

/// Adds what a column has, but for the place of a large body, which is no harm either.
fn add(text: &mut String, column: usize, row: &Row<'_>) -> rusqlite::Result<()> {
    if let ValueRef::Text(bytes) | ValueRef::Blob(bytes) = row.get_ref(column)? {
        // The index takes a zero for the end.
        text.extend(String::from_utf8_lossy(bytes).chars().map(|c| if c == '\0' { ' ' } else { c }));
        text.push('\n');
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema;

    #[test]
    fn candidates_are_merged_and_not_sorted() {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection, std::path::Path::new("-"), schema::MIGRATIONS).unwrap();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {CANDIDATES}")).unwrap();
        let steps = statement.query_map(("\"abc\"", 9, 0), |row| row.get::<_, String>(3)).unwrap();
        let steps: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
        let sorted = steps.iter().filter(|step| step.contains("TEMP B-TREE")).count();
        // Large bodies are few.
        assert_eq!(sorted, 2, "{steps:#?}");
        assert_eq!(steps.iter().filter(|step| step.contains("MERGE (UNION)")).count(), 4, "{steps:#?}");
    }
}
