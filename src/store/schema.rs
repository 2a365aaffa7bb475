//! The tables, as a list of steps from an empty file to the newest format.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// The steps, oldest first; `PRAGMA user_version` counts how many were taken.
///
/// Only ever add to the end. A new name in a column of names (`origin`, `signature`, `contract`, `error`) needs a
/// step as well, an empty one: older programs take an unknown name for damage.
pub(super) const MIGRATIONS: &[&str] =
    &[FIRST, ATTEMPTS_BY_KEY, SIGNATURE_NOTE, LARGE_BODIES, TEXT_INDEX, RELAYED, LONG_LISTS, TOO_LARGE];

/// Times are microseconds since 1970; an id is its 16 bytes; headers are a block of lines with credentials masked, and
/// trailers stand behind an empty line of it.
///
/// A body comes last in its row, so that reading the rest never follows the chain of pages that holds it.
///
/// `held` has the deliveries that wait for their target to come back.
///
/// What each index is for: `event_type` and `unacknowledged` for lists of one event and of failures, `received_at`
/// for lists since a time, `replay_of` for failures that were replayed. The second and the last are partial: an
/// ordinary acknowledged delivery pays nothing for them. Whether an attempt was acknowledged stands with the attempt,
/// since changing a delivery's row would write its body again.
const FIRST: &str = "
    CREATE TABLE deliveries (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id BLOB NOT NULL UNIQUE,
        received_at INTEGER NOT NULL,
        origin TEXT NOT NULL,
        replay_of BLOB,
        contract TEXT,
        event_type TEXT,
        wire_event TEXT,
        signature TEXT NOT NULL,
        not_forwarded TEXT,
        method TEXT NOT NULL,
        path TEXT NOT NULL,
        headers BLOB NOT NULL,
        body BLOB NOT NULL
    );
    CREATE INDEX deliveries_event_type ON deliveries (event_type);
    CREATE INDEX deliveries_received_at ON deliveries (received_at);
    CREATE INDEX deliveries_replay_of ON deliveries (replay_of) WHERE replay_of IS NOT NULL;
    CREATE TABLE attempts (
        delivery INTEGER NOT NULL,
        number INTEGER NOT NULL,
        target TEXT NOT NULL,
        started_at INTEGER NOT NULL,
        duration_us INTEGER NOT NULL,
        acknowledged INTEGER NOT NULL,
        status INTEGER,
        error TEXT,
        detail TEXT,
        cut INTEGER NOT NULL,
        headers BLOB NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (delivery, number)
    );
    CREATE INDEX attempts_unacknowledged ON attempts (delivery, number) WHERE NOT acknowledged;
    CREATE TABLE held (
        delivery INTEGER PRIMARY KEY,
        target TEXT NOT NULL
    );
";

/// An attempt stands in one tree, by its key, and not in one by row number and in another by key: a page less to write
/// for each transaction.
const ATTEMPTS_BY_KEY: &str = "
    ALTER TABLE attempts RENAME TO former;
    DROP INDEX attempts_unacknowledged;
    CREATE TABLE attempts (
        delivery INTEGER NOT NULL,
        number INTEGER NOT NULL,
        target TEXT NOT NULL,
        started_at INTEGER NOT NULL,
        duration_us INTEGER NOT NULL,
        acknowledged INTEGER NOT NULL,
        status INTEGER,
        error TEXT,
        detail TEXT,
        cut INTEGER NOT NULL,
        headers BLOB NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (delivery, number)
    ) WITHOUT ROWID;
    INSERT INTO attempts SELECT * FROM former ORDER BY delivery, number;
    DROP TABLE former;
    CREATE INDEX attempts_unacknowledged ON attempts (delivery, number) WHERE NOT acknowledged;
";

/// Few deliveries have one, and where there is none it takes no room, nor does it stand behind the body for a reader.
const SIGNATURE_NOTE: &str = "ALTER TABLE deliveries ADD COLUMN signature_note TEXT";

/// The body of a row may be text: the place of the body, in a file of its own (`bodies`). The indexes find those few.
const LARGE_BODIES: &str = "
    CREATE INDEX deliveries_large ON deliveries (body) WHERE typeof(body) = 'text';
    CREATE INDEX attempts_large ON attempts (body) WHERE typeof(body) = 'text';
";

/// The text index (`texts`), up to which delivery it goes, and which of those got another attempt since. It has no texts of
/// its own, only which deliveries have which three characters in a row.
const TEXT_INDEX: &str = "
    CREATE VIRTUAL TABLE texts USING fts5 (
        text, content = '', contentless_delete = 1, detail = none, tokenize = 'trigram'
    );
    INSERT INTO texts (texts, rank) VALUES ('automerge', 0), ('usermerge', 8);
    CREATE TABLE texts_watermark (number INTEGER NOT NULL);
    INSERT INTO texts_watermark VALUES (0);
    CREATE TABLE texts_again (delivery INTEGER PRIMARY KEY);
";

/// What came through a relay: exactly once, and in the order of its channel.
///
/// A row stays when its delivery goes, as long as it is the newest of its channel: it says how far that is recorded.
const RELAYED: &str = "
    CREATE TABLE relayed (
        delivery INTEGER PRIMARY KEY,
        channel BLOB NOT NULL,
        seq INTEGER NOT NULL,
        late_since INTEGER
    );
    CREATE UNIQUE INDEX relayed_seq ON relayed (channel, seq);
";

/// `not_forwarded` may be `too_large`.
const TOO_LARGE: &str = "";

/// What makes lists of a million fast: which numbers are not there any more (`gone`), and what occurs in which stretch of
/// numbers (`stretches`). Whoever inserts pays for neither.
const LONG_LISTS: &str = "
    CREATE TABLE gone (first INTEGER PRIMARY KEY, last INTEGER NOT NULL);
    INSERT INTO gone
        SELECT before + 1, number - 1 FROM (
            SELECT number, lag(number, 1, 0) OVER (ORDER BY number) AS before FROM deliveries
        ) WHERE number > before + 1;
    INSERT INTO gone
        SELECT newest + 1, seq FROM sqlite_sequence,
            (SELECT coalesce(max(number), 0) AS newest FROM deliveries)
        WHERE name = 'deliveries' AND seq > newest;
    CREATE TABLE occurs (what TEXT NOT NULL, stretch INTEGER NOT NULL, PRIMARY KEY (what, stretch)) WITHOUT ROWID;
";

/// How many steps `connection` has behind it.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Whether a file is of the newest format; an error, before anything is changed in it, when it is a sound database
/// that is not ours, or of a format that is not known here.
pub(super) fn check_owner(connection: &Connection, file: &Path) -> Result<bool, StoreError> {
    // One statement sees one moment: another process may be making the tables.
    let look = "SELECT user_version, (SELECT count(*) FROM sqlite_schema),
        (SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('deliveries', 'attempts'))
        FROM pragma_user_version";
    let seen = connection.query_row(look, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let (found, things, ours): (i64, i64, i64) =
        seen.map_err(|error| StoreError::from_sqlite(file, &error))?;
    let is_current = is_current(file, found, MIGRATIONS)?;
    if (found == 0 && things > 0) || (found > 0 && ours < 2) {
        let detail = "its tables are others".to_owned();
        return Err(StoreError::Foreign { file: file.to_path_buf(), detail });
    }
    Ok(is_current)
}

/// How a file of format `found` relates to the newest of `migrations`: whether it is current, or an error when this
/// program cannot know it.
pub(super) fn is_current(file: &Path, found: i64, migrations: &[&str]) -> Result<bool, StoreError> {
    let file = || file.to_path_buf();
    let known = i64::try_from(migrations.len()).expect("there are few migrations");
    match found {
        ..0 => Err(StoreError::Damaged { file: file(), detail: format!("its format is {found}") }),
        found if found > known => Err(StoreError::Newer { file: file(), found, known }),
        found => Ok(found == known),
    }
}

/// Takes the steps that are missing, each in one transaction; other processes may be doing the same.
pub(super) fn migrate(
    connection: &mut Connection,
    file: &Path,
    migrations: &[&str],
) -> Result<(), StoreError> {
    let failed = |error: rusqlite::Error| StoreError::from_sqlite(file, &error);
    // A current file is told without the lock for writing.
    while !is_current(file, version(connection).map_err(failed)?, migrations)? {
        take_a_step(connection, migrations).map_err(failed)?;
    }
    Ok(())
}

/// Takes the step that is next now that nobody else can take it, if there is one.
fn take_a_step(connection: &mut Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&transaction)?;
    if let Some(step) = usize::try_from(found).ok().and_then(|found| migrations.get(found)) {
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", found + 1)?;
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    const STEPS: &[&str] = &["CREATE TABLE a (x)", "INSERT INTO a VALUES (1)", "INSERT INTO a VALUES (2)"];

    fn connect(file: &Path) -> Connection {
        let connection = Connection::open(file).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
        connection
    }

    fn sum(connection: &Connection) -> i64 {
        connection.query_row("SELECT sum(x) FROM a", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn an_older_file_gets_the_steps_that_it_lacks() {
        let folder = tempdir().unwrap();
        let file = folder.path().join("x.db");
        let mut connection = connect(&file);
        migrate(&mut connection, &file, &STEPS[..2]).unwrap();
        assert_eq!((version(&connection).unwrap(), sum(&connection)), (2, 1));
        migrate(&mut connection, &file, STEPS).unwrap();
        assert_eq!((version(&connection).unwrap(), sum(&connection)), (3, 3));
        let newer = migrate(&mut connection, &file, &STEPS[..2]).unwrap_err();
        assert_eq!(newer, StoreError::Newer { file, found: 3, known: 2 });
    }

    #[test]
    fn attempts_of_the_first_format_are_all_kept() {
        let folder = tempdir().unwrap();
        let file = folder.path().join("x.db");
        let mut connection = connect(&file);
        migrate(&mut connection, &file, &MIGRATIONS[..1]).unwrap();
        connection
            .execute_batch(
                "INSERT INTO attempts VALUES
                    (2, 1, 'a', 3, 4, 1, 200, NULL, NULL, 0, x'01', zeroblob(100000)),
                    (1, 2, 'b', 5, 6, 0, NULL, 'refused', 'nobody', 1, x'', x'ff')",
            )
            .unwrap();
        let rows = |connection: &Connection| {
            let mut statement = connection.prepare("SELECT * FROM attempts ORDER BY delivery").unwrap();
            let row = |row: &rusqlite::Row<'_>| (0..12).map(|at| row.get(at)).collect();
            let rows = statement.query_map([], row).unwrap();
            rows.collect::<Result<Vec<Vec<rusqlite::types::Value>>, _>>().unwrap()
        };
        let before = rows(&connection);
        migrate(&mut connection, &file, MIGRATIONS).unwrap();
        assert_eq!((before.len(), rows(&connection)), (2, before));
        let failed =
            "SELECT count(*) FROM attempts INDEXED BY attempts_unacknowledged WHERE NOT acknowledged";
        assert_eq!(connection.query_row(failed, [], |row| row.get(0)), Ok(1));
    }

    #[test]
    fn a_step_is_taken_once_however_many_try() {
        let folder = tempdir().unwrap();
        let file = folder.path().join("x.db");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| migrate(&mut connect(&file), &file, STEPS).unwrap());
            }
        });
        assert_eq!(sum(&connect(&file)), 3);
    }

    #[test]
    fn a_step_that_fails_leaves_nothing_behind() {
        let folder = tempdir().unwrap();
        let file = folder.path().join("x.db");
        let mut connection = connect(&file);
        let failing = ["CREATE TABLE a (x)", "INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)"];
        migrate(&mut connection, &file, &failing).unwrap_err();
        assert_eq!(version(&connection).unwrap(), 1);
        migrate(&mut connection, &file, STEPS).unwrap();
        assert_eq!(sum(&connection), 3);
    }
}
