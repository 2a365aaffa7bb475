//! What occurs in each stretch of numbers, so that a list can pass over those that have nothing that it is for.
//!
//! It is made behind, as the text index is ([`fill`], when the writer has nothing else to do), for whole stretches only: in
//! those, no delivery is inserted any more. What occurs there may be gone later, and then the stretch is looked through
//! for nothing; what does not occur never comes.

use rusqlite::{Connection, TransactionBehavior};

use super::{Came, Query};

/// How many numbers a stretch has; tests record few.
pub(super) const LENGTH: i64 = if cfg!(test) { 4 } else { 256 };

/// How many stretches are looked through in one transaction: it takes some 5 ms.
const MOST: usize = 8;

/// Something that stands for every stretch that was looked through.
const LOOKED_AT: &str = "";

/// What a delivery without attempts is.
const UNTRIED: &str = "untried";

/// What of a query can be looked up here, as it stands in the table; names are ours.
pub(super) fn words(query: &Query) -> Vec<String> {
    let named = [
        query.signature.map(|verdict| format!("signature {}", verdict.as_str())),
        query.origin.map(|origin| format!("origin {}", origin.as_str())),
        query.contract.map(|contract| format!("contract {}", contract.as_str())),
        (query.came == Some(Came::Nothing)).then(|| UNTRIED.to_owned()),
    ];
    named.into_iter().flatten().collect()
}

/// The number from which on nothing was looked at, in SQL.
pub(super) fn rest() -> String {
    format!("(SELECT coalesce(max(stretch) + 1, 0) * {LENGTH} FROM occurs WHERE what = '{LOOKED_AT}')")
}

/// Looks through some stretches that were not looked at yet, while it may go on; whether there may be more.
pub(super) fn fill(connection: &mut Connection, go_on: impl Fn() -> bool) -> rusqlite::Result<bool> {
    // Whether there is anything to do is told without the lock for writing.
    if next(connection)?.is_none() {
        return Ok(false);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for _ in 0..MOST {
        let Some(stretch) = next(&transaction)? else { break };
        let text = format!(
            "INSERT OR IGNORE INTO occurs (what, stretch)
             SELECT '{LOOKED_AT}', ?1
             UNION SELECT 'signature ' || signature, ?1 FROM deliveries WHERE number BETWEEN ?2 AND ?3
             UNION SELECT 'origin ' || origin, ?1 FROM deliveries WHERE number BETWEEN ?2 AND ?3
             UNION SELECT 'contract ' || contract, ?1 FROM deliveries
                 WHERE number BETWEEN ?2 AND ?3 AND contract IS NOT NULL
             UNION SELECT '{UNTRIED}', ?1 FROM deliveries AS d WHERE number BETWEEN ?2 AND ?3
                 AND NOT EXISTS (SELECT 1 FROM attempts WHERE delivery = d.number)"
        );
        let first = stretch * LENGTH;
        transaction.prepare_cached(&text)?.execute((stretch, first, first + LENGTH - 1))?;
        if !go_on() {
            break;
        }
    }
    transaction.commit()?;
    Ok(true)
}

/// The lowest whole stretch with deliveries that was not looked at.
fn next(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let text = format!(
        "SELECT min(number), (SELECT max(number) FROM deliveries) FROM deliveries WHERE number >= {}",
        rest()
    );
    let ends: (Option<i64>, Option<i64>) =
        connection.prepare_cached(&text)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (Some(lowest), Some(newest)) = ends else { return Ok(None) };
    let stretch = lowest / LENGTH;
    // Numbers only grow: whatever comes stands above the newest.
    let is_whole = newest / LENGTH > stretch || newest % LENGTH == LENGTH - 1;
    Ok(Some(stretch).filter(|_| is_whole))
}

/// Forgets the stretches below the oldest delivery.
pub(super) fn forget_old(connection: &Connection) -> rusqlite::Result<()> {
    let text = format!(
        "DELETE FROM occurs WHERE stretch < (SELECT coalesce(min(number), 0) FROM deliveries) / {LENGTH}
             AND stretch < (SELECT max(stretch) FROM occurs WHERE what = '{LOOKED_AT}')"
    );
    connection.execute(&text, []).map(drop)
}
