//! The file of the record: where it is, what may stand there, and how a connection to it is set up.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::insert::Inserts;
use super::{StoreError, bodies, schema};

/// The name of the record's file within its folder.
pub(super) const NAME: &str = "deliveries.db";

/// How long to wait for another program that holds the file.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait between two looks whether the file is free. SQLite by itself would soon look ten times a second only,
/// and find it taken each time where several others write without pause.
const NAP: Duration = Duration::from_millis(5);

/// The size of a page in a new file, in bytes: a transaction of few rows touches few pages, each of which is written as
/// a whole, twice.
const PAGE: i64 = 4096;

/// The size above which the write-ahead log is cut when it starts over, in bytes.
///
/// Only a reader that stays for long makes it grow so far; below, its space is better kept than freed and taken again.
const KEPT_LOG: i64 = 64 * 1024 * 1024;

/// The whole path of a file in `folder`, without symbolic links on the way: SQLite refuses every one of them, and
/// a user's folders may well stand behind some.
pub(super) fn locate(folder: &Path, name: &str) -> Result<PathBuf, StoreError> {
    let whole = if cfg!(unix) { folder.canonicalize() } else { std::path::absolute(folder) };
    match whole {
        Ok(folder) => Ok(folder.join(name)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(StoreError::NotFound { file: folder.join(name) })
        }
        Err(error) => Err(StoreError::Unwritable { file: folder.join(name), detail: error.to_string() }),
    }
}

/// What is wrong with a file that is [empty](is_empty).
pub(super) const EMPTY: &str = "it is empty";

/// Whether there is a file, and nothing in it.
pub(super) fn is_empty(file: &Path) -> bool {
    fs::symlink_metadata(file).is_ok_and(|found| found.is_file() && found.len() == 0)
}

/// Whether there is something in the log beside the file.
pub(super) fn has_log(file: &Path) -> bool {
    let mut log = OsString::from(file);
    log.push("-wal");
    fs::symlink_metadata(log).is_ok_and(|found| found.len() > 0)
}

/// Whether there is a file; an error when it or one that SQLite keeps beside it is anything but a plain file, or the
/// bodies beside it stand in anything but a folder. One that is empty, and has a log, is damaged: SQLite would take it for
/// a new one, and remove the log.
pub(super) fn exists(file: &Path) -> Result<bool, StoreError> {
    bodies::Folder::beside(file).check()?;
    let mut found = false;
    let mut has_log = false;
    for suffix in ["-journal", "-shm", "-wal", ""] {
        let mut path = OsString::from(file);
        path.push(suffix);
        let path = PathBuf::from(path);
        found = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_symlink() => return Err(StoreError::Symlink { file: path }),
            Ok(metadata) if !metadata.is_file() => {
                return Err(StoreError::Foreign { file: path, detail: "it is not a file".to_owned() });
            }
            Ok(metadata) => {
                has_log |= suffix == "-wal" && metadata.len() > 0;
                if suffix.is_empty() && metadata.len() == 0 && has_log {
                    return Err(StoreError::Damaged { file: path, detail: EMPTY.to_owned() });
                }
                true
            }
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(StoreError::Unwritable { file: path, detail: error.to_string() }),
        };
    }
    Ok(found)
}

/// Opens the record's file for writing, making it when there is none, with its tables up to date.
pub(super) fn open_for_writing(file: &Path) -> Result<Connection, StoreError> {
    let check = |connection: &Connection| schema::check_owner(connection, file).map(drop);
    let mut connection = open_new_for_writing(file, check)?;
    schema::migrate(&mut connection, file, schema::MIGRATIONS)?;
    // A file with other tables shows itself here and not at the first delivery.
    Inserts::prepare(&connection).map(drop).map_err(|error| StoreError::from_sqlite(file, &error))?;
    Ok(connection)
}

/// Opens a file for writing, making it when there is none; nothing is changed in one that `check` does not pass.
pub(super) fn open_new_for_writing(
    file: &Path,
    check: impl FnOnce(&Connection) -> Result<(), StoreError>,
) -> Result<Connection, StoreError> {
    if exists(file)? {
        return open_what_is_there(file, check);
    }
    create(file)?;
    open_what_is_there(file, check).inspect_err(|_| {
        // On a full disk, say: left there, it would be taken for one that lost everything.
        if is_empty(file) {
            drop(fs::remove_file(file));
        }
    })
}

fn open_what_is_there(
    file: &Path,
    check: impl FnOnce(&Connection) -> Result<(), StoreError>,
) -> Result<Connection, StoreError> {
    let mut connection = connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let failed = |error: rusqlite::Error| StoreError::from_sqlite(file, &error);
    if connection.is_readonly("main").map_err(failed)? {
        return Err(StoreError::ReadOnly { file: file.to_path_buf() });
    }
    check(&connection)?;
    set_up_writing(&mut connection).map_err(failed)?;
    Ok(connection)
}

/// Opens the file for reading; its tables are as they are.
pub(super) fn open_for_reading(file: &Path) -> Result<Connection, StoreError> {
    connect(file, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// Makes an empty file that only its owner can read. SQLite gives the files beside it the same mode, and makes the
/// new names durable when it first syncs its log.
fn create(file: &Path) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(file) {
        // Another process was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop).map_err(|error| StoreError::from_io(file, &error)),
    }
}

fn connect(file: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let failed = |error: rusqlite::Error| StoreError::from_sqlite(file, &error);
    let mut connection = Connection::open_with_flags(file, flags).map_err(failed)?;
    set_up(&mut connection).map_err(failed)?;
    Ok(connection)
}

fn set_up(connection: &mut Connection) -> rusqlite::Result<()> {
    wait_for_others(connection)?;
    connection.pragma_update(None, "foreign_keys", false)?;
    // A file may come from anywhere: its schema calls no functions, and its pages are checked before use.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)
}

/// Does something with a connection that nobody waits for: it may get lost, and waits for no other program. An outer error
/// means that the connection stayed so, and must not be used for anything else.
pub(super) fn without_waiting<T>(
    connection: &mut Connection,
    work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<rusqlite::Result<T>> {
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.busy_timeout(Duration::ZERO)?;
    let done = work(connection);
    be_patient(connection)?;
    Ok(done)
}

fn be_patient(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    wait_for_others(connection)
}

/// Lets a connection wait for other programs that hold the file, for [`PATIENCE`].
pub(super) fn wait_for_others(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_handler(Some(|naps: i32| {
        let is_patient = NAP.saturating_mul(naps.unsigned_abs()) < PATIENCE;
        if is_patient {
            std::thread::sleep(NAP);
        }
        is_patient
    }))
}

fn set_up_writing(connection: &mut Connection) -> rusqlite::Result<()> {
    use_write_ahead_log(connection)?;
    be_patient(connection)?;
    // On macOS, `fsync` alone leaves the data in the cache of the disk; elsewhere this changes nothing.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    // The writer copies the log back itself, when nobody waits for it.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update_and_check(None, "journal_size_limit", KEPT_LOG, |_| Ok(()))
}

/// Switches a new file to a write-ahead log. SQLite does not wait when two processes do so at once; we do.
fn use_write_ahead_log(connection: &mut Connection) -> rusqlite::Result<()> {
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if mode == "wal" {
        return Ok(());
    }
    // Only a file without a log, which is an empty one, takes this.
    connection.pragma_update(None, "page_size", PAGE)?;
    connection.busy_timeout(Duration::ZERO)?;
    let mut waited = Duration::ZERO;
    loop {
        // Only an empty file takes the first: space that pruning frees is given back, bit by bit.
        let switched = connection
            .pragma_update(None, "auto_vacuum", "INCREMENTAL")
            .and_then(|()| connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())));
        match switched {
            Err(error) if is_busy(&error) && waited < PATIENCE => {
                std::thread::sleep(NAP);
                waited += NAP;
            }
            Err(error) => return Err(error),
            Ok(()) => return wait_for_others(connection),
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
}

/// Which file stood at a path: what is written to one that was removed or replaced since is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(Option<(u64, u64)>);

impl Identity {
    /// That of no file.
    pub(super) const NONE: Self = Self(None);

    /// The file at `path` now.
    #[cfg(unix)]
    pub(super) fn of(path: &Path) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self(fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino())))
    }

    /// Whether there is a file, as far as can be told.
    pub(super) fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// An open file.
    #[cfg(unix)]
    pub(super) fn of_file(file: &fs::File) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self(file.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino())))
    }

    /// The file at `path` now: elsewhere, an open file cannot be removed.
    #[cfg(not(unix))]
    pub(super) fn of(_path: &Path) -> Self {
        Self(None)
    }
}
