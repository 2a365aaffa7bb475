//! The SELECT behind a list, built so that each kind of list walks one index from its newest end and stops early.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::{Came, Query, bodies, stretches};

/// The columns of a delivery, for [`row::delivery`](super::row::delivery), but for `number` and `body_bytes`.
const DELIVERY: &str = "d.id AS id, d.received_at AS received_at, d.origin AS origin,
    d.replay_of AS replay_of, d.contract AS contract, d.event_type AS event_type, d.wire_event AS wire_event,
    d.signature AS signature, d.signature_note AS signature_note, d.not_forwarded AS not_forwarded,
    EXISTS (SELECT 1 FROM held WHERE held.delivery = d.number) AS held,
    (SELECT late_since FROM relayed WHERE relayed.delivery = d.number) AS late_since, d.method AS method, d.path AS path";

/// The columns of a delivery, for [`row::delivery`](super::row::delivery), but for `number`.
///
/// SQLite knows the length of a body without reading it.
pub(super) fn delivery_columns() -> String {
    format!("{DELIVERY}, {} AS body_bytes", bodies::length_of("d.body"))
}

/// The SELECT for the attempts at a delivery, for [`row::attempts`](super::row::attempts), `answers` being the columns
/// `headers` and `body`, or something of that name.
pub(super) fn attempts(answers: &str) -> String {
    format!(
        "SELECT number, target, started_at, duration_us, status, error, detail, cut, {answers}
         FROM attempts WHERE delivery = ?1 ORDER BY number"
    )
}

/// What a SELECT is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Road {
    /// All deliveries that fit.
    List,
    /// The one with the number that is the first value, if it fits.
    Single,
}

/// How many event types are looked up one by one; with more, a pattern is tried on every delivery.
const FEW: usize = 32;

/// Up to how many deliveries since a time the lowest number among them is looked for.
const MANY: usize = 10_000;

/// A statement and its values.
#[derive(Debug)]
pub(super) struct Select {
    pub(super) text: String,
    pub(super) values: Vec<Value>,
}

/// Which event types are asked for.
enum Events {
    Any,
    Of(Vec<String>),
    Like(String),
}

/// The SELECTs for `query` on a road, one behind the other newest first and without its limit; none when nothing can be
/// found. When there is text to search for, they have the columns `headers` and `body` as well and leave the searching to
/// their reader. Passing over what comes first is left to the reader then as well, and when there are several.
pub(super) fn select(connection: &Connection, query: &Query, road: Road) -> rusqlite::Result<Vec<Select>> {
    let Some(Parts { values, key, walks }) = parts(connection, query, road)? else { return Ok(Vec::new()) };
    let bodies = if query.is_of_text() { ", d.headers AS headers, d.body AS body" } else { "" };
    let columns = delivery_columns();
    let passes = road == Road::List && query.offset > 0 && !query.is_of_text() && walks.len() == 1;
    let select = |Walk { parts, order }: Walk| {
        let parts = parts.into_iter().map(|part| format!("SELECT {key} AS number, {columns}{bodies} {part}"));
        let mut text = parts.collect::<Vec<_>>().join(" UNION ALL ") + " ORDER BY " + order;
        if passes {
            // Rows are passed over without their columns being read.
            text += &format!(" LIMIT -1 OFFSET {}", query.offset);
        }
        Select { text, values: values.clone() }
    };
    Ok(walks.into_iter().map(select).collect())
}

/// The SELECT that counts what fits `query`, its limit and its text left out of account.
pub(super) fn count(connection: &Connection, query: &Query) -> rusqlite::Result<Option<Select>> {
    let Some(Parts { values, walks, .. }) = parts(connection, query, Road::List)? else { return Ok(None) };
    let parts = walks.into_iter().flat_map(|walk| walk.parts);
    let parts = parts.map(|part| format!("SELECT count(*) AS fits {part}"));
    let text = format!("SELECT sum(fits) FROM ({})", parts.collect::<Vec<_>>().join(" UNION ALL "));
    Ok(Some(Select { text, values }))
}

/// The values of a query, the column it is ordered by, and its walks, the newest first.
struct Parts {
    values: Vec<Value>,
    key: &'static str,
    walks: Vec<Walk>,
}

/// FROM and WHERE, for each event type if there are such, and the order of all.
struct Walk {
    parts: Vec<String>,
    order: &'static str,
}

fn parts(connection: &Connection, query: &Query, road: Road) -> rusqlite::Result<Option<Parts>> {
    let is_of_failures = is_of_failures(query);
    let events = match &query.event {
        None => Events::Any,
        Some(pattern) if is_all(pattern) => Events::Any,
        // Failures are few and have their own index, and so has a number.
        Some(pattern) if is_of_failures || road == Road::Single => Events::Like(glob(pattern)),
        Some(pattern) if !pattern.contains(['*', '?']) => Events::Of(vec![pattern.clone()]),
        Some(pattern) => events_like(connection, glob(pattern))?,
    };
    let mut select = Select { text: String::new(), values: Vec::new() };
    let (table, key) = if is_of_failures {
        // The order of a CROSS JOIN is kept.
        let table = "attempts AS a INDEXED BY attempts_unacknowledged
            CROSS JOIN deliveries AS d ON d.number = a.delivery";
        (table, "a.delivery")
    } else {
        ("deliveries AS d", "d.number")
    };
    let mut conditions = match road {
        Road::List => vec!["TRUE".to_owned()],
        Road::Single => vec![format!("{key} = {}", select.bind(Value::Null))],
    };
    select.conditions(query, road, key, &mut conditions);
    let mut parts = Vec::new();
    match events {
        Events::Any if road == Road::List && !is_of_failures && !stretches::words(query).is_empty() => {
            let walks = vec![behind(&conditions), by_stretches(query, &conditions)];
            return Ok(Some(Parts { values: select.values, key, walks }));
        }
        Events::Any => parts.push(conditions),
        Events::Like(pattern) => {
            conditions.push(format!("d.event_type GLOB {}", select.bind(pattern)));
            parts.push(conditions);
        }
        // Each walks its stretch of the index; SQLite merges them as it goes.
        Events::Of(names) => {
            for name in names {
                let condition = format!("d.event_type = {}", select.bind(name));
                parts.push(conditions.iter().cloned().chain([condition]).collect());
            }
        }
    }
    if parts.is_empty() {
        return Ok(None);
    }
    let part = |conditions: Vec<String>| format!("FROM {table} WHERE {}", conditions.join(" AND "));
    let parts = parts.into_iter().map(part).collect();
    let walks = vec![Walk { parts, order: "number DESC" }];
    Ok(Some(Parts { values: select.values, key, walks }))
}

/// The walk along what is in no whole stretch yet.
fn behind(conditions: &[String]) -> Walk {
    let (rest, all) = (stretches::rest(), conditions.join(" AND "));
    let part = format!("FROM deliveries AS d WHERE d.number >= {rest} AND {all}");
    Walk { parts: vec![part], order: "number DESC" }
}

/// The walk along the stretches that have something that the query is for.
fn by_stretches(query: &Query, conditions: &[String]) -> Walk {
    let length = stretches::LENGTH;
    let mut conditions = conditions.to_vec();
    for (at, word) in stretches::words(query).iter().enumerate() {
        conditions.push(match at {
            0 => format!("o.what = '{word}'"),
            _ => format!("EXISTS (SELECT 1 FROM occurs WHERE what = '{word}' AND stretch = o.stretch)"),
        });
    }
    conditions.extend(query.before.map(|before| format!("o.stretch <= {}", before.div_euclid(length))));
    conditions.extend(query.after.map(|after| format!("o.stretch >= {}", after.div_euclid(length))));
    // The order of a CROSS JOIN is kept.
    let part = format!(
        "FROM occurs AS o CROSS JOIN deliveries AS d
             ON d.number BETWEEN o.stretch * {length} AND o.stretch * {length} + {length} - 1
         WHERE {}",
        conditions.join(" AND ")
    );
    Walk { parts: vec![part], order: "o.stretch DESC, number DESC" }
}

/// Whether the list walks the index of what was not acknowledged.
fn is_of_failures(query: &Query) -> bool {
    query.failed || query.unresolved || query.came.is_some_and(Came::is_failure)
}

impl Select {
    /// Adds a value and gives its name in the text.
    fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    /// Adds all conditions but that on the event type; `key` is the column that the list is ordered by.
    fn conditions(&mut self, query: &Query, road: Road, key: &str, conditions: &mut Vec<String>) {
        if is_of_failures(query) {
            conditions.push("NOT a.acknowledged".to_owned());
            conditions.push(
                "NOT EXISTS (SELECT 1 FROM attempts AS later
                     WHERE later.delivery = a.delivery AND later.number > a.number)"
                    .to_owned(),
            );
        }
        if query.unresolved {
            conditions.push(
                "NOT EXISTS (SELECT 1 FROM deliveries AS replay
                     WHERE replay.replay_of = d.id AND replay.number > d.number
                     AND (EXISTS (SELECT 1 FROM attempts AS tried WHERE tried.delivery = replay.number)
                          OR EXISTS (SELECT 1 FROM held WHERE held.delivery = replay.number)))"
                    .to_owned(),
            );
        }
        conditions.extend(query.came.and_then(|came| self.came(came)));
        if let Some(before) = query.before {
            conditions.push(format!("{key} < {}", self.bind(before)));
        }
        if let Some(after) = query.after {
            conditions.push(format!("{key} > {}", self.bind(after)));
        }
        if let Some(since) = query.since {
            let since = self.bind(since.as_microsecond());
            // The clock may have been set back, so a number says nothing about the time; but the lowest number since
            // then is where the walk may end. When there are many, the walk finds enough long before.
            conditions.push(format!("d.received_at >= {since}"));
            if road == Road::List {
                conditions.push(format!(
                    "{key} >= (SELECT iif(count(*) > {MANY}, 0, min(number)) FROM (
                         SELECT number FROM deliveries INDEXED BY deliveries_received_at
                         WHERE received_at >= {since} LIMIT {MANY} + 1
                     ))"
                ));
            }
        }
        if let Some(until) = query.until {
            conditions.push(format!("d.received_at < {}", self.bind(until.as_microsecond())));
        }
        if let Some(verdict) = query.signature {
            conditions.push(format!("d.signature = {}", self.bind(verdict.as_str().to_owned())));
        }
        if let Some(contract) = query.contract {
            conditions.push(format!("d.contract = {}", self.bind(contract.as_str().to_owned())));
        }
        if let Some(origin) = query.origin {
            conditions.push(format!("d.origin = {}", self.bind(origin.as_str().to_owned())));
        }
    }
}

impl Select {
    /// The condition on the last attempt; none where the walk is along those already.
    fn came(&mut self, came: Came) -> Option<String> {
        let last = "(SELECT last.acknowledged FROM attempts AS last
            WHERE last.delivery = d.number ORDER BY last.number DESC LIMIT 1)";
        match came {
            Came::Failed => None,
            Came::Unanswered => Some("a.status IS NULL".to_owned()),
            Came::Acknowledged | Came::Status(2) => Some(last.to_owned()),
            Came::Status(class) => {
                let lowest = self.bind(i64::from(class) * 100);
                Some(format!("a.status BETWEEN {lowest} AND {lowest} + 99"))
            }
            Came::Nothing => Some("NOT EXISTS (SELECT 1 FROM attempts WHERE delivery = d.number)".to_owned()),
        }
    }
}

/// The event types that occur and fit a pattern. It hops through the index from one to the next, however many
/// deliveries there are of each.
fn events_like(connection: &Connection, pattern: String) -> rusqlite::Result<Events> {
    let mut statement = connection.prepare_cached(
        "WITH RECURSIVE types (name) AS (
             SELECT min(event_type) FROM deliveries
             UNION ALL
             SELECT (SELECT min(event_type) FROM deliveries WHERE event_type > name)
                 FROM types WHERE name IS NOT NULL
         )
         SELECT name FROM types WHERE name GLOB ?1 LIMIT ?2",
    )?;
    // One more than a few tells that there are many.
    let limit = i64::try_from(FEW + 1).unwrap_or(i64::MAX);
    let names =
        statement.query_map((&pattern, limit), |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    Ok(if names.len() > FEW { Events::Like(pattern) } else { Events::Of(names) })
}

/// Whether a pattern fits everything, deliveries that were not recognised too.
fn is_all(pattern: &str) -> bool {
    !pattern.is_empty() && pattern.chars().all(|c| c == '*')
}

/// Our pattern as one of SQLite's, which knows sets in brackets as well.
fn glob(pattern: &str) -> String {
    pattern.replace('[', "[[]")
}

#[cfg(test)]
mod tests {
    use rusqlite::params_from_iter;

    use super::*;
    use crate::store::schema;

    /// How SQLite goes about a query, in a record with some event types.
    fn plan(query: &Query, road: Road) -> String {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection, std::path::Path::new("-"), schema::MIGRATIONS).unwrap();
        for event_type in ["a.1", "a.2", "b"] {
            connection
                .execute(
                    "INSERT INTO deliveries (id, event_type, received_at, origin, signature, method, path, headers, body)
                     VALUES (?1, ?1, 0, '', '', '', '', '', '')",
                    [event_type],
                )
                .unwrap();
        }
        let mut steps = Vec::new();
        for select in select(&connection, query, road).unwrap() {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", select.text)).unwrap();
            let rows =
                statement.query_map(params_from_iter(&select.values), |row| row.get::<_, String>(3)).unwrap();
            steps.extend(rows.collect::<Result<Vec<_>, _>>().unwrap());
        }
        steps.join("\n")
    }

    #[test]
    fn every_list_walks_an_index_and_sorts_nothing() {
        let event = |pattern: &str| Query { event: Some(pattern.to_owned()), ..Query::default() };
        let since = Some(jiff::Timestamp::UNIX_EPOCH);
        let origin = Some(crate::model::Origin::Api);
        for (query, way) in [
            (Query::default(), "SCAN d"),
            (Query { before: Some(5), ..Query::default() }, "SEARCH d USING INTEGER PRIMARY KEY (rowid<?)"),
            (Query { since, ..Query::default() }, "SEARCH d USING INTEGER PRIMARY KEY (rowid>?)"),
            (Query { since, ..Query::default() }, "USING COVERING INDEX deliveries_received_at"),
            (event("b"), "SEARCH d USING INDEX deliveries_event_type (event_type=?)"),
            (event("a.*"), "MERGE (UNION ALL)"),
            (Query { before: Some(5), ..event("a.*") }, "deliveries_event_type (event_type=? AND rowid<?)"),
            (Query { failed: true, ..Query::default() }, "SCAN a USING INDEX attempts_unacknowledged"),
            (
                Query { unresolved: true, ..Query::default() },
                "INDEX deliveries_replay_of (replay_of=? AND rowid>?)",
            ),
            (Query { failed: true, before: Some(5), ..event("a.*") }, "attempts_unacknowledged (delivery<?)"),
            (Query { origin, ..Query::default() }, "SEARCH o USING PRIMARY KEY (what=?)"),
            (
                Query { origin, before: Some(5), ..Query::default() },
                "o USING PRIMARY KEY (what=? AND stretch<?)",
            ),
            (
                Query { came: Some(Came::Nothing), ..Query::default() },
                "d USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
            ),
        ] {
            let list = plan(&query, Road::List);
            assert!(list.contains(way), "{query:?}\n{list}");
            assert!(!list.contains("TEMP B-TREE"), "{query:?}\n{list}");
            let single = plan(&query, Road::Single);
            let key = if is_of_failures(&query) { "(delivery=?" } else { "(rowid=?)" };
            assert!(single.contains(key) && !single.contains("received_at"), "{query:?}\n{single}");
            assert!(!single.contains("TEMP B-TREE"), "{query:?}\n{single}");
        }
    }
}
