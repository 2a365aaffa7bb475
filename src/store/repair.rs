//! A damaged record is kept beside a new one, into which goes what can still be read of it.
//!
//! SQLite goes from page to page; where one is damaged, what lies behind it is out of reach by that road. So the numbers of
//! deliveries are gathered on several roads (the table and two indexes, each from both ends), and each delivery is then
//! looked up by itself. Where the first page is damaged, which says where everything is, that of a new record says the same.
//!
//! The damaged file stays in its place until the new one is whole, so that a crash leaves one of the two.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, params_from_iter};

use super::{Reader, Selector, StoreError, file, gone, health};
use crate::model::Clock;

/// How many deliveries go into one transaction.
const BATCH: usize = 500;

/// What SQLite keeps beside a file, by the ends of their names.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// The fewest bytes that a row takes: an index has no more rows than the file has room for, even if its pages go round in
/// circles.
const SMALLEST_ROW: u64 = 8;

/// How far the next number may be above those that are saved, when the damaged file says so.
const FARTHEST_NUMBER: i64 = 1_000_000;

/// The size of a page in a new file, and where the kind of the first page stands: that of one without pages below it.
const PAGE: usize = 4096;
const KIND: usize = 100;
const LEAF: u8 = 0x0d;

/// Where the first page says what the file is and how it is to be read, which is the same in all of ours.
const HEAD: [std::ops::Range<usize>; 3] = [0..24, 44..48, 56..60];

/// Where the first page says how many pages there are; where it says nothing, the length of the file counts.
const PAGES: std::ops::Range<usize> = 28..32;

/// What was damaged, and what was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// The file, which is a new one now.
    pub file: PathBuf,
    /// The damaged file.
    pub aside: PathBuf,
    /// What was wrong with it.
    pub why: String,
    /// How many deliveries were saved.
    pub saved: usize,
    /// How many of them without their attempts.
    pub bare: usize,
    /// How many there were, as far as can be told.
    pub known: usize,
}

/// The new record while it is being filled.
struct Fresh {
    file: PathBuf,
    connection: Connection,
    /// The numbers of the deliveries of which there is a trace.
    known: BTreeSet<i64>,
    /// The last number that was given, as far as the damaged file says so.
    last: i64,
}

impl fmt::Display for Repaired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` was damaged ({}): ", self.file.display(), self.why)?;
        match (self.saved, self.known) {
            (0, 0) => f.write_str("there was no delivery in it that could be saved"),
            (0, known) => write!(f, "none of its {known} deliveries could be saved"),
            (saved, known) if saved == known => {
                write!(f, "all of its {saved} deliveries were saved into a new one")
            }
            (saved, known) => write!(f, "{saved} of its {known} deliveries were saved into a new one"),
        }?;
        match self.bare {
            0 => Ok(()),
            bare => write!(f, ", {bare} of them without their attempts"),
        }
    }
}

impl Repaired {
    /// What to do about it.
    pub fn hint(&self) -> String {
        format!("nothing needs to be done; the damaged file is kept as `{}`", self.aside.display())
    }
}

/// Reads everything in the record in `folder`, and repairs it when not all can be read; `None` when all is well. Nobody
/// should be writing to it.
pub fn repair(folder: &Path, clock: &Clock) -> Result<Option<Repaired>, StoreError> {
    let file = match file::locate(folder, file::NAME) {
        Err(StoreError::NotFound { .. }) => return Ok(None),
        file => file?,
    };
    // To examine it would make tables in it.
    let why = if file::is_empty(&file) { Ok(None) } else { health::examine_up_to(folder, u64::MAX) };
    let why = match why {
        Err(StoreError::Damaged { detail, .. }) => Some(detail),
        Err(error) => return Err(error),
        Ok(None) => file::is_empty(&file).then(|| file::EMPTY.to_owned()),
        Ok(Some(health)) => {
            let damage = health.damage.into_iter().flatten().next();
            match damage.or_else(|| health.lost.first().map(ToString::to_string)) {
                // SQLite takes what is missing of the last page for zeros. A log may have the whole of it.
                None if !is_of_whole_pages(&file) && !file::has_log(&file) => Some(CUT_SHORT.to_owned()),
                None => what_cannot_be_read(&file)?,
                why => why,
            }
        }
    };
    why.map(|why| salvage(&file, why, clock)).transpose()
}

/// Saves what can be read in `file`, which is damaged, into a new one in its place, and keeps it aside.
pub(super) fn salvage(file: &Path, why: String, clock: &Clock) -> Result<Repaired, StoreError> {
    let failed = |error: io::Error| StoreError::from_io(file, &error);
    let _alone = lock(file)?;
    let (new, scratch) = (with_end(file, ".new"), with_end(file, ".scratch"));
    for left_behind in [&new, &scratch] {
        remove(left_behind).map_err(failed)?;
    }
    let mut fresh = Fresh::make(new)?;
    // With another head, rows would be taken for something else.
    let has_head = first_page(file).is_ok_and(|page| fresh.has_the_head_of(&page));
    if has_head && is_of_whole_pages(file) {
        fresh.take(file)?;
    } else if has_head && copy(file, &scratch).is_ok() {
        fresh.take(&scratch)?;
    }
    if fresh.is_lacking()? && fresh.lend_first_page(file, &scratch).is_ok() {
        fresh.take(&scratch)?;
    }
    remove(&scratch).map_err(failed)?;
    let (new, saved, bare, known) = fresh.finish()?;
    let aside = exchange(file, &new, clock).map_err(failed)?;
    Ok(Repaired { file: file.to_path_buf(), aside, why, saved, bare, known })
}

impl Fresh {
    fn make(file: PathBuf) -> Result<Self, StoreError> {
        let connection = file::open_for_writing(&file)?;
        // Others look at its first page.
        copy_back(&connection).map_err(|error| StoreError::from_sqlite(&file, &error))?;
        Ok(Self { file, connection, known: BTreeSet::new(), last: 0 })
    }

    /// Whether a first page says the same of how to read its file.
    fn has_the_head_of(&self, page: &[u8]) -> bool {
        first_page(&self.file).is_ok_and(|own| HEAD.into_iter().all(|part| own[part.clone()] == page[part]))
    }

    /// Whether there is a trace of more than was taken over, or none at all.
    fn is_lacking(&self) -> Result<bool, StoreError> {
        let count = self.count()?;
        Ok(count == 0 || count < self.known.len())
    }

    /// Takes over what can be read in another file. What cannot be read there is passed over; an error is about this one.
    fn take(&mut self, from: &Path) -> Result<(), StoreError> {
        let Ok(old) = open_leniently(from) else { return Ok(()) };
        self.known.extend(numbers(&old, from));
        if let Ok(last) = old.query_row(LAST_NUMBER, [], |row| row.get(0)) {
            self.last = self.last.max(last);
        }
        let failed = |error: rusqlite::Error| StoreError::from_sqlite(&self.file, &error);
        let (deliveries, attempts) = (columns(&old, "deliveries"), columns(&old, "attempts"));
        let Ok(mut delivery) = old.prepare(&select(&deliveries, "deliveries", "number")) else {
            return Ok(());
        };
        let mut attempt = old.prepare(&select(&attempts, "attempts", "delivery")).ok();
        let numbers: Vec<i64> = self.known.iter().copied().collect();
        for batch in numbers.chunks(BATCH) {
            let transaction = self.connection.transaction().map_err(failed)?;
            for number in batch {
                let Ok(row) = delivery.query_row([number], values) else { continue };
                if !put(&transaction, "deliveries", &deliveries, row).map_err(failed)? {
                    continue;
                }
                let rows = attempt.as_mut().and_then(|attempt| attempt.query_map([number], values).ok());
                for row in rows.into_iter().flatten().map_while(Result::ok) {
                    put(&transaction, "attempts", &attempts, row).map_err(failed)?;
                }
            }
            transaction.commit().map_err(failed)?;
        }
        self.take_all(&old, "held", &["delivery", "target"]).map_err(failed)?;
        self.take_all(&old, "relayed", &["delivery", "channel", "seq", "late_since"]).map_err(failed)
    }

    /// Takes over a small table: what waits for its target, and what came through a relay.
    fn take_all(&self, old: &Connection, table: &str, columns: &[&str]) -> rusqlite::Result<()> {
        let columns: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
        let text = format!("SELECT {} FROM {table}", columns.join(", "));
        let Ok(mut found) = old.prepare(&text) else { return Ok(()) };
        let Ok(rows) = found.query_map([], values) else { return Ok(()) };
        for row in rows.map_while(Result::ok) {
            put(&self.connection, table, &columns, row)?;
        }
        Ok(())
    }

    /// Makes a copy of the damaged file that has the first page of this one.
    fn lend_first_page(&self, damaged: &Path, scratch: &Path) -> io::Result<()> {
        let mut page = first_page(&self.file)?;
        if page[KIND] != LEAF {
            return Err(ErrorKind::Unsupported.into());
        }
        page[PAGES].fill(0);
        copy(damaged, scratch)?;
        OpenOptions::new().write(true).open(scratch)?.write_all_at(&page, 0)
    }

    fn count(&self) -> Result<usize, StoreError> {
        let count = self.connection.query_row("SELECT count(*) FROM deliveries", [], |row| row.get(0));
        let count: i64 = count.map_err(|error| StoreError::from_sqlite(&self.file, &error))?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// Takes out again what a reader could not make sense of, and closes the file: its path, how many deliveries were
    /// saved, how many of them without their attempts, and of how many there is a trace.
    fn finish(self) -> Result<(PathBuf, usize, usize, usize), StoreError> {
        let failed = |error: rusqlite::Error| StoreError::from_sqlite(&self.file, &error);
        let reader = Reader::at(self.file.clone())?;
        let is_sound = |number| matches!(reader.find(&Selector::Number(number)), Ok(Some(_)));
        let unsound: Vec<i64> = self.known.iter().copied().filter(|number| !is_sound(*number)).collect();
        let mut bare = 0;
        for number in unsound {
            let gone = self.connection.execute("DELETE FROM attempts WHERE delivery = ?1", [number]);
            gone.map_err(failed)?;
            if is_sound(number) {
                bare += 1;
            } else {
                self.connection
                    .execute("DELETE FROM deliveries WHERE number = ?1", [number])
                    .map_err(failed)?;
            }
        }
        drop(reader);
        let saved = self.count()?;
        self.keep_numbers().and_then(|()| copy_back(&self.connection)).map_err(failed)?;
        let (known, file) = (self.known.len().max(saved), self.file.clone());
        self.connection.close().map_err(|(_, error)| failed(error))?;
        Ok((file, saved, bare, known))
    }

    /// Sees to it that numbers are not given again, and that only what is there waits for its target.
    fn keep_numbers(&self) -> rusqlite::Result<()> {
        self.connection
            .execute("DELETE FROM held WHERE delivery NOT IN (SELECT number FROM deliveries)", [])?;
        let newest: i64 =
            self.connection
                .query_row("SELECT coalesce(max(number), 0) FROM deliveries", [], |row| row.get(0))?;
        let is_likely = |number: &i64| (0..FARTHEST_NUMBER).contains(&(number - newest));
        let last = self.known.last().copied().into_iter().chain([self.last]).filter(is_likely).max();
        self.connection.execute("DELETE FROM sqlite_sequence WHERE name = 'deliveries'", [])?;
        let text = "INSERT INTO sqlite_sequence (name, seq) VALUES ('deliveries', ?1)";
        self.connection.execute(text, [last.unwrap_or(newest)])?;
        gone::note_all(&self.connection)
    }
}

/// What is wrong with a file that ends within a page.
const CUT_SHORT: &str = "its end is missing";

const LAST_NUMBER: &str = "SELECT seq FROM sqlite_sequence WHERE name = 'deliveries'";

/// The first thing in a file whose structure is sound that cannot be read all the same.
fn what_cannot_be_read(file: &Path) -> Result<Option<String>, StoreError> {
    let reader = Reader::at(file.to_path_buf())?;
    for number in numbers(&file::open_for_reading(file)?, file) {
        match reader.find(&Selector::Number(number)) {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(Some(format!("#{number} is in an index and not in the table"))),
            Err(StoreError::Damaged { detail, .. }) => return Ok(Some(format!("#{number}: {detail}"))),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn first_page(file: &Path) -> io::Result<Vec<u8>> {
    let mut page = vec![0; PAGE];
    File::open(file)?.read_exact_at(&mut page, 0)?;
    Ok(page)
}

/// SQLite reads zeros behind the end of a file, as if they had been written.
fn is_of_whole_pages(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.len() % PAGE as u64 == 0)
}

/// Copies the whole pages of a damaged file, and its log.
fn copy(damaged: &Path, scratch: &Path) -> io::Result<()> {
    remove(scratch)?;
    let length = fs::copy(damaged, scratch)?;
    OpenOptions::new().write(true).open(scratch)?.set_len(length - length % PAGE as u64)?;
    let log = with_end(damaged, "-wal");
    if log.exists() {
        fs::copy(log, with_end(scratch, "-wal"))?;
    }
    Ok(())
}

/// Opens a damaged file for reading as much as can be.
fn open_leniently(file: &Path) -> Result<Connection, StoreError> {
    let connection = file::open_for_reading(file)?;
    // A file that is shorter than it says, or has something odd among its tables, is read all the same with the first.
    connection
        .pragma_update(None, "writable_schema", true)
        .and_then(|()| connection.pragma_update(None, "cell_size_check", false))
        .map_err(|error| StoreError::from_sqlite(file, &error))?;
    Ok(connection)
}

/// The numbers of deliveries of which there is a trace.
fn numbers(old: &Connection, file: &Path) -> BTreeSet<i64> {
    let roads = [
        ("NOT INDEXED", "number"),
        ("INDEXED BY deliveries_received_at", "received_at"),
        ("INDEXED BY sqlite_autoindex_deliveries_1", "id"),
    ];
    let bytes: u64 =
        ["", "-wal"].iter().filter_map(|end| fs::metadata(with_end(file, end)).ok()).map(|it| it.len()).sum();
    let most = usize::try_from(bytes / SMALLEST_ROW).unwrap_or(usize::MAX);
    let mut found = BTreeSet::new();
    for (index, order) in roads {
        for direction in ["ASC", "DESC"] {
            let text = format!("SELECT number FROM deliveries {index} ORDER BY {order} {direction}");
            let Ok(mut statement) = old.prepare(&text) else { continue };
            let Ok(rows) = statement.query_map([], |row| row.get::<_, i64>(0)) else { continue };
            found.extend(rows.take(most).map_while(Result::ok).filter(|number| *number > 0));
        }
    }
    found
}

/// The columns of a table.
fn columns(connection: &Connection, table: &str) -> Vec<String> {
    let columns = || {
        let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
        statement.query_map([table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()
    };
    columns().unwrap_or_default()
}

fn select(columns: &[String], table: &str, key: &str) -> String {
    format!("SELECT {} FROM {table} WHERE {key} = ?1", names(columns))
}

fn names(columns: &[String]) -> String {
    let quoted = columns.iter().map(|column| format!("\"{}\"", column.replace('"', "\"\"")));
    quoted.collect::<Vec<_>>().join(", ")
}

fn values(row: &rusqlite::Row<'_>) -> rusqlite::Result<Vec<Value>> {
    (0..row.as_ref().column_count()).map(|column| row.get(column)).collect()
}

/// Puts a row into a table, if the table takes it.
fn put(new: &Connection, table: &str, columns: &[String], row: Vec<Value>) -> rusqlite::Result<bool> {
    let places = vec!["?"; row.len()].join(", ");
    let text = format!("INSERT OR IGNORE INTO {table} ({}) VALUES ({places})", names(columns));
    let put = new.prepare_cached(&text).and_then(|mut statement| statement.execute(params_from_iter(row)));
    match put {
        Ok(rows) => Ok(rows > 0),
        // Whatever else is wrong with it, such as a number that is none.
        Err(error) if is_about_the_row(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_about_the_row(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(
        code,
        Some(
            ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig | ErrorCode::Unknown
        )
    )
}

fn copy_back(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// Keeps the damaged file aside, and puts the new one in its place; where the former is now. The log goes first: it must
/// never come to stand beside a file that it does not belong to.
fn exchange(file: &Path, new: &Path, clock: &Clock) -> io::Result<PathBuf> {
    let time = clock.now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let mut aside = with_end(file, &format!(".corrupt-{time}"));
    let mut number = 2;
    while aside.symlink_metadata().is_ok() {
        aside = with_end(file, &format!(".corrupt-{time}-{number}"));
        number += 1;
    }
    // With a second name, there is a record at every moment; not every file system has such.
    let is_linked = fs::hard_link(file, &aside).is_ok();
    let (log, log_aside) = (with_end(file, "-wal"), with_end(&aside, "-wal"));
    let has_log = match fs::rename(&log, &log_aside) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    let exchanged = remove(&with_end(file, "-shm"))
        .and_then(|()| if is_linked { Ok(()) } else { fs::rename(file, &aside) })
        .and_then(|()| fs::rename(new, file));
    if let Err(error) = exchanged {
        if has_log && file.exists() {
            // What stands there still is the damaged file, and part of it may be in its log only.
            fs::rename(log_aside, log)?;
        }
        return Err(error);
    }
    file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())?;
    Ok(aside)
}

/// Has everybody else wait who wants to repair.
fn lock(file: &Path) -> Result<File, StoreError> {
    let failed = |error: io::Error| StoreError::from_io(file, &error);
    let folder = File::open(file.parent().unwrap_or(file)).map_err(failed)?;
    match folder.try_lock() {
        Ok(()) => Ok(folder),
        Err(TryLockError::WouldBlock) => Err(StoreError::Busy { file: file.to_path_buf() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Removes a file and what SQLite keeps beside it.
fn remove(file: &Path) -> io::Result<()> {
    for end in BESIDE.iter().chain(&[""]) {
        match fs::remove_file(with_end(file, end)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn with_end(file: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(end);
    name.into()
}
