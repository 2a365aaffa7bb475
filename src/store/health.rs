//! Whether the record is sound, and how large it is.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::bodies::{Folder, IS_LARGE, Inspector, Place};
use super::{Reader, StoreError, file, row, schema};

/// The largest file whose structure is looked through, in bytes: that reads all of it.
const LARGEST_CHECKED: u64 = 1024 * 1024 * 1024;

/// How many bodies that cannot be read are told of, at most.
const MOST_LOST: usize = 5;

/// What was found out about the record.
#[derive(Clone, Debug)]
pub struct Health {
    /// Its file.
    pub file: PathBuf,
    /// Its format, counting from 1.
    pub format: i64,
    /// What is wrong with its structure; `None` where it was not looked at since that would take too long.
    pub damage: Option<Vec<String>>,
    /// How many deliveries there are.
    pub deliveries: u64,
    /// The size of the file in bytes.
    pub bytes: u64,
    /// The size of its log in bytes.
    pub log_bytes: u64,
    /// The space that large bodies take beside the file, in bytes.
    pub body_bytes: u64,
    /// What is wrong with those that cannot be read, up to [`MOST_LOST`].
    pub lost: Vec<StoreError>,
    /// The version of SQLite.
    pub sqlite: &'static str,
}

/// Examines the record in `folder`; `None` when there is none.
pub fn examine(folder: &Path) -> Result<Option<Health>, StoreError> {
    examine_up_to(folder, LARGEST_CHECKED)
}

/// Examines the record, and looks through its structure when the file has at most so many bytes.
pub(super) fn examine_up_to(folder: &Path, largest: u64) -> Result<Option<Health>, StoreError> {
    // A reader looks at what stands there, and brings an old file up to date.
    if Reader::open(folder)?.is_none() {
        return Ok(None);
    }
    let file = file::locate(folder, file::NAME)?;
    let connection = file::open_for_reading(&file)?;
    let length = |suffix: &str| {
        let mut path = file.clone().into_os_string();
        path.push(suffix);
        std::fs::metadata(path).map(|found| found.len()).unwrap_or_default()
    };
    let bytes = length("");
    let bodies = Folder::beside(&file);
    let examined = || {
        let damage = if bytes > largest {
            None
        } else {
            let mut statement = connection.prepare("PRAGMA quick_check(5)")?;
            let lines: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            Some(lines.into_iter().filter(|line| line != "ok").collect())
        };
        let count: i64 = connection.query_row("SELECT count(*) FROM deliveries", [], |row| row.get(0))?;
        Ok(Health {
            file: file.clone(),
            format: schema::version(&connection)?,
            damage,
            deliveries: u64::try_from(count).unwrap_or_default(),
            bytes,
            log_bytes: length("-wal"),
            body_bytes: bodies.space_on_disk(),
            lost: lost(&connection, &bodies)?,
            sqlite: rusqlite::version(),
        })
    };
    examined().map(Some).map_err(|error| StoreError::from_sqlite(&file, &error))
}

/// What is wrong with large bodies whose place is not within its file.
fn lost(connection: &Connection, bodies: &Folder) -> rusqlite::Result<Vec<StoreError>> {
    let mut statement = connection.prepare(&format!(
        "SELECT body FROM deliveries INDEXED BY deliveries_large WHERE {IS_LARGE}
         UNION ALL SELECT body FROM attempts INDEXED BY attempts_large WHERE {IS_LARGE}"
    ))?;
    let mut rows = statement.query([])?;
    let mut inspector = Inspector::new(bodies);
    let mut lost = Vec::new();
    while lost.len() < MOST_LOST
        && let Some(row) = rows.next()?
    {
        let error = row::place(row)?.and_then(|place: Place| inspector.inspect(&place).err());
        lost.extend(error.filter(|error| !lost.contains(error)));
    }
    Ok(lost)
}
