//! The tables of a relay, as a list of steps from an empty file to the newest format.

use std::path::Path;

use rusqlite::Connection;

use super::StoreError;
use crate::store::{file, schema};

/// The steps, oldest first; only ever add to the end.
const MIGRATIONS: &[&str] = &[FIRST, GIVEN_UP, LARGE];

/// Times are microseconds since 1970; `token` is the SHA-256 of a listen token; `sealed` is an encrypted request.
///
/// Numbers of messages rise over all channels and are never given twice. `sealed` comes last in its row, so that reading the rest never follows the chain
/// of pages that holds it.
const FIRST: &str = "
    CREATE TABLE channels (
        number INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,
        token BLOB NOT NULL UNIQUE,
        tenant TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        opened_at INTEGER NOT NULL,
        claimed_at INTEGER NOT NULL
    );
    CREATE TABLE messages (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        channel INTEGER NOT NULL,
        id BLOB NOT NULL,
        arrived_at INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        sealed BLOB NOT NULL
    );
    CREATE INDEX messages_channel ON messages (channel, seq);
";

/// When a channel was given up.
const GIVEN_UP: &str = "ALTER TABLE channels ADD COLUMN given_up_at INTEGER;";

/// Large messages stand in segments beside the tables: in their place, `sealed` is a text that says where. Those that were there
/// before stay in the tables.
const LARGE: &str = "CREATE INDEX messages_large ON messages (sealed) WHERE typeof(sealed) = 'text';";

/// Opens a relay's file for writing, making it when there is none, with its tables up to date.
pub(super) fn open_for_writing(path: &Path) -> Result<Connection, StoreError> {
    let mut connection = file::open_new_for_writing(path, |connection| check_owner(connection, path))?;
    schema::migrate(&mut connection, path, MIGRATIONS)?;
    Ok(connection)
}

fn check_owner(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let look = "SELECT user_version, (SELECT count(*) FROM sqlite_schema),
        (SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('channels', 'messages'))
        FROM pragma_user_version";
    let seen = connection.query_row(look, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let (found, things, ours): (i64, i64, i64) =
        seen.map_err(|error| StoreError::from_sqlite(path, &error))?;
    schema::is_current(path, found, MIGRATIONS)?;
    if (found == 0 && things > 0) || (found > 0 && ours < 2) {
        let detail = "its tables are not those of a relay".to_owned();
        return Err(StoreError::Damaged { file: path.to_path_buf(), detail });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::params;

    use super::*;

    #[test]
    fn channels_of_the_first_format_are_there_and_not_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(FIRST).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        let insert = "INSERT INTO channels VALUES (1, ?1, ?2, 'all', 7, 0, 0)";
        old.execute(insert, params![[1_u8; 16], [2_u8; 32]]).unwrap();
        drop(old);
        let new = open_for_writing(&path).unwrap();
        let look = "SELECT epoch, given_up_at FROM channels";
        let seen = new.query_row(look, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(seen, (7, None::<i64>));
    }
}
