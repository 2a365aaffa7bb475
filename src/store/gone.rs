//! Which numbers were given and are not there any more.
//!
//! Numbers are given in their order and never twice, so with these few stretches it is known how many deliveries there are
//! above or below a number, and which one is the thousandth, without counting rows; and that some were deleted.

use rusqlite::Connection;

/// A stretch of numbers, both ends included.
pub type Stretch = (i64, i64);

/// Notes that these numbers were taken out, in the transaction that does it.
pub(super) fn add(connection: &Connection, mut numbers: Vec<i64>) -> rusqlite::Result<()> {
    numbers.sort_unstable();
    let mut runs: Vec<Stretch> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    // What follows on something that is noted becomes part of it.
    let mut before = connection
        .prepare_cached("SELECT first, last FROM gone WHERE first < ?1 ORDER BY first DESC LIMIT 1")?;
    let mut behind = connection.prepare_cached("DELETE FROM gone WHERE first = ?1 RETURNING last")?;
    let mut put = connection.prepare_cached("INSERT OR REPLACE INTO gone (first, last) VALUES (?1, ?2)")?;
    for (first, last) in runs {
        let near: Option<Stretch> =
            optional(before.query_row([first], |row| Ok((row.get(0)?, row.get(1)?))))?;
        let far: Option<i64> = optional(behind.query_row([last + 1], |row| row.get(0)))?;
        let first = near.filter(|near| near.1 + 1 == first).map_or(first, |near| near.0);
        put.execute((first, far.unwrap_or(last)))?;
    }
    Ok(())
}

/// The highest number that was given; 0 when there was none.
pub(super) fn last_given(connection: &Connection) -> rusqlite::Result<i64> {
    let text = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'deliveries'";
    connection.query_row(text, [], |row| row.get(0))
}

/// Has the next delivery numbered after `last`, if it would not be anyway: the numbers up to it were given elsewhere.
pub(super) fn give_after(connection: &mut Connection, last: i64) -> rusqlite::Result<()> {
    if last_given(connection)? >= last {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM sqlite_sequence WHERE name = 'deliveries'", [])?;
    transaction.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('deliveries', ?1)", [last])?;
    note_all(&transaction)?;
    transaction.commit()
}

/// Notes anew what is not there, of all numbers that were given.
pub(super) fn note_all(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM gone", [])?;
    let mut put = connection.prepare("INSERT INTO gone (first, last) VALUES (?1, ?2)")?;
    let mut statement =
        connection.prepare("SELECT number FROM deliveries WHERE number > 0 ORDER BY number")?;
    let mut rows = statement.query([])?;
    let mut next: i64 = 1;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        if number > next {
            put.execute((next, number - 1))?;
        }
        next = number.saturating_add(1);
    }
    let given = last_given(connection)?;
    if given >= next {
        put.execute((next, given))?;
    }
    Ok(())
}

/// How many deliveries there are with numbers above `after` and below `before`.
pub(super) fn count(
    connection: &Connection,
    after: Option<i64>,
    before: Option<i64>,
) -> rusqlite::Result<i64> {
    let (lowest, highest) = (after.unwrap_or(0).max(0).saturating_add(1), highest(connection, before)?);
    if highest < lowest {
        return Ok(0);
    }
    let text = "SELECT coalesce(sum(min(last, ?2) - max(first, ?1) + 1), 0) FROM gone
        WHERE first <= ?2 AND last >= ?1";
    let gone: i64 = connection.prepare_cached(text)?.query_row((lowest, highest), |row| row.get(0))?;
    Ok((highest - lowest + 1).saturating_sub(gone))
}

/// The number below which a list goes on that passes over so many of the newest below `before`.
pub(super) fn passed(connection: &Connection, before: Option<i64>, offset: usize) -> rusqlite::Result<i64> {
    let mut left = i64::try_from(offset).unwrap_or(i64::MAX);
    let mut top = highest(connection, before)?;
    let text = "SELECT first, last FROM gone WHERE first <= ?1 ORDER BY first DESC";
    let mut statement = connection.prepare_cached(text)?;
    let mut rows = statement.query([top])?;
    while let Some(row) = rows.next()? {
        let (first, last): Stretch = (row.get(0)?, row.get(1)?);
        let there = top - last.min(top);
        if there > left {
            break;
        }
        left -= there;
        top = first - 1;
    }
    Ok(top.saturating_sub(left).saturating_add(1))
}

/// How many numbers are gone in all.
pub(super) fn sum(connection: &Connection) -> rusqlite::Result<i64> {
    let text = "SELECT coalesce(sum(last - first + 1), 0) FROM gone";
    connection.prepare_cached(text)?.query_row([], |row| row.get(0))
}

/// All stretches, lowest first, up to so many of the highest.
pub(super) fn stretches(connection: &Connection, most: usize) -> rusqlite::Result<Vec<Stretch>> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let text = "SELECT first, last FROM gone ORDER BY first DESC LIMIT ?1";
    let mut statement = connection.prepare_cached(text)?;
    let rows = statement.query_map([most], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut stretches = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    stretches.reverse();
    Ok(stretches)
}

fn highest(connection: &Connection, before: Option<i64>) -> rusqlite::Result<i64> {
    let newest = "SELECT coalesce(max(number), 0) FROM deliveries";
    let newest: i64 = connection.prepare_cached(newest)?.query_row([], |row| row.get(0))?;
    Ok(before.map_or(newest, |before| newest.min(before.saturating_sub(1))))
}

fn optional<T>(found: rusqlite::Result<T>) -> rusqlite::Result<Option<T>> {
    match found {
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(None),
        found => found.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::store::schema;

    fn record(deliveries: i64) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection, std::path::Path::new("-"), schema::MIGRATIONS).unwrap();
        for number in 1..=deliveries {
            let text =
                "INSERT INTO deliveries (id, received_at, origin, signature, method, path, headers, body)
                VALUES (?1, 0, '', '', '', '', '', '')";
            connection.execute(text, [number]).unwrap();
        }
        connection
    }

    proptest! {
        #[test]
        fn what_is_there_is_known_without_counting_it(
            removals in proptest::collection::vec(proptest::collection::btree_set(1_i64..30, 0..8), 0..6),
            before in proptest::option::of(-1_i64..35),
            after in proptest::option::of(-1_i64..35),
            offset in 0_usize..35,
        ) {
            let connection = record(29);
            let mut there: BTreeSet<i64> = (1..30).collect();
            for numbers in removals {
                let gone: Vec<i64> = numbers.into_iter().filter(|number| there.remove(number)).collect();
                for number in &gone {
                    connection.execute("DELETE FROM deliveries WHERE number = ?1", [number]).unwrap();
                }
                add(&connection, gone).unwrap();
            }
            let noted = stretches(&connection, 100).unwrap();
            prop_assert!(noted.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{:?}", noted);
            prop_assert_eq!(sum(&connection).unwrap(), 29 - i64::try_from(there.len()).unwrap());
            let is_within = |number: &&i64| {
                before.is_none_or(|before| **number < before) && after.is_none_or(|after| **number > after)
            };
            let expected = i64::try_from(there.iter().filter(is_within).count()).unwrap();
            prop_assert_eq!(count(&connection, after, before).unwrap(), expected);
            let below = there.iter().rev().filter(|number| before.is_none_or(|before| **number < before));
            let rest: Vec<i64> = below.skip(offset).copied().collect();
            let limit = passed(&connection, before, offset).unwrap();
            let found: Vec<i64> = there.iter().rev().copied().filter(|number| *number < limit).collect();
            prop_assert_eq!(found, rest);
            note_all(&connection).unwrap();
            prop_assert_eq!(stretches(&connection, 100).unwrap(), noted);
        }
    }
}
