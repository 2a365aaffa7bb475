//! What came of deliveries in a stretch of time, for sums over many of them: without headers and bodies.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Row;

use super::{Reader, StoreError, row};

/// What came of a delivery, by its last attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameOf<'r> {
    /// The delivery's number.
    pub number: i64,
    /// When it arrived.
    pub received_at: Timestamp,
    /// Its event type, where it was recognised.
    pub event_type: Option<&'r str>,
    /// The last attempt; none where it was not handed to anybody so far.
    pub last: Option<LastAttempt<'r>>,
}

/// The last attempt at a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastAttempt<'r> {
    /// The status of the answer; none where there was no whole answer.
    pub status: Option<u16>,
    /// Why there was none.
    pub error: Option<&'r str>,
    /// How long it took.
    pub duration: Duration,
}

impl LastAttempt<'_> {
    /// Whether it was answered with a 2xx status.
    pub fn is_acknowledged(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// The newest come first, so that whoever looks at some only looks at the newest.
const OUTCOMES: &str = "
    SELECT d.number AS number, d.received_at AS received_at, d.event_type AS event_type,
        a.delivery AS tried, a.status AS status, a.error AS error, a.duration_us AS duration_us
    FROM deliveries AS d INDEXED BY deliveries_received_at
    LEFT JOIN attempts AS a ON a.delivery = d.number
        AND a.number = (SELECT max(number) FROM attempts WHERE delivery = d.number)
    WHERE d.received_at >= ?1 AND d.received_at < ?2
    ORDER BY d.received_at DESC LIMIT ?3";

impl Reader {
    /// Tells what came of the deliveries that arrived in a stretch of time, newest first, `most` of them at most; how
    /// many those were.
    pub fn outcomes(
        &self,
        since: Timestamp,
        until: Timestamp,
        most: usize,
        mut tell: impl FnMut(CameOf<'_>),
    ) -> Result<usize, StoreError> {
        self.at_one_moment(|| {
            let mut statement = self.connection.prepare_cached(OUTCOMES)?;
            let limit = i64::try_from(most).unwrap_or(i64::MAX);
            let mut rows = statement.query((since.as_microsecond(), until.as_microsecond(), limit))?;
            let mut told = 0;
            while let Some(row) = rows.next()? {
                tell(came_of(row)?);
                told += 1;
            }
            Ok(told)
        })
    }
}

fn came_of<'r>(row: &'r Row<'_>) -> rusqlite::Result<CameOf<'r>> {
    let text = |column| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_str_or_null()?);
    let last = match row.get::<_, Option<i64>>("tried")? {
        Some(_) => Some(LastAttempt {
            status: row.get("status")?,
            error: text("error")?,
            duration: Duration::from_micros(row.get::<_, i64>("duration_us")?.unsigned_abs()),
        }),
        None => None,
    };
    Ok(CameOf {
        number: row.get("number")?,
        received_at: row::read(row, "received_at", row::timestamp)?,
        event_type: text("event_type")?,
        last,
    })
}
