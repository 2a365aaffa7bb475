//! Large bodies, in files beside the database: within its pages, each would be written twice, a page at a time.
//!
//! A *segment* is a file in `bodies/` to which one writer appends, the one that made and locked it ([`append`]). A row has
//! the [`Place`] of its body, and is written once the body is on disk; so a crash leaves bodies without rows, and never a
//! row without its body. Whoever prunes gives the space of single bodies back, and removes segments that nobody writes
//! to any more and no row points into ([`sweep`]). Their numbers are not given again.

mod append;
mod read;
mod sweep;

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rusqlite::ToSql;
use rusqlite::types::{FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};

use super::StoreError;

pub(super) use append::Appender;
pub(super) use read::Inspector;
pub(super) use sweep::range_of;

/// From this size on a body is a large one, in bytes.
const LARGE: usize = 32 * 1024;

/// What bodies are padded to: writing past the page cache, and giving space back, go by such blocks.
const BLOCK: usize = 4096;

/// Where a body ends at the latest, in bytes; no file system has files so large.
const FARTHEST: u64 = 1 << 60;

/// How many digits the name of a segment has.
const DIGITS: usize = 12;

/// The folder of the segments; it need not be there.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

/// Where a body stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    segment: u64,
    offset: u64,
    length: u64,
}

/// What stands in the column of a body.
#[derive(Debug)]
pub(super) enum Column<'a> {
    Body(&'a [u8]),
    Place(Place),
}

/// Whether a body goes into a segment.
pub(super) fn is_large(body: &[u8]) -> bool {
    body.len() >= LARGE
}

/// SQL for the length of a body in bytes, `column` being its column.
pub(super) fn length_of(column: &str) -> String {
    let place = format!("CAST(substr({column}, {}) AS INTEGER)", DIGITS + 2);
    format!("(CASE typeof({column}) WHEN 'text' THEN {place} ELSE length({column}) END)")
}

/// SQL for the space that a large body takes, `column` being its column.
pub(super) fn space_of(column: &str) -> String {
    format!("({} + {BLOCK} - 1) / {BLOCK} * {BLOCK}", length_of(column))
}

/// SQL that is true for the column of a large body, to the letter that of the partial indexes.
pub(super) const IS_LARGE: &str = "typeof(body) = 'text'";

impl Folder {
    /// The folder that belongs to a database.
    pub(super) fn beside(database: &Path) -> Self {
        Self(database.with_file_name("bodies"))
    }

    /// The folder that belongs to the database of a relay, which may stand beside a record.
    pub(super) fn of_relay(database: &Path) -> Self {
        Self(database.with_file_name("relay-bodies"))
    }

    /// An error when anything but a folder stands there.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let file = || self.0.clone();
        match fs::symlink_metadata(&self.0) {
            Ok(found) if found.is_symlink() => Err(StoreError::Symlink { file: file() }),
            Ok(found) if !found.is_dir() => {
                Err(StoreError::Foreign { file: file(), detail: "it is not a folder".to_owned() })
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::from_io(&self.0, &error))
            }
            _ => Ok(()),
        }
    }

    /// Makes the folder, for its owner alone, and its name durable.
    fn make(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.0.parent().map_or(Ok(()), |outer| File::open(outer)?.sync_all()),
        }
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.0.join(format!("{number:0DIGITS$}"))
    }

    /// The numbers of the segments, in order.
    fn segments(&self) -> io::Result<Vec<u64>> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut numbers = Vec::new();
        for entry in entries {
            numbers.extend(entry?.file_name().to_str().and_then(number));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }
}

impl Place {
    /// The place that a column holds, or `None` when it holds the body itself.
    pub(super) fn of(value: ValueRef<'_>) -> FromSqlResult<Option<Self>> {
        match value {
            ValueRef::Text(text) => {
                let place = std::str::from_utf8(text).ok().and_then(Self::parse);
                place.map(Some).ok_or_else(|| FromSqlError::Other("it is not the place of a body".into()))
            }
            _ => Ok(None),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (segment, rest) = text.split_once(':')?;
        let (length, offset) = rest.split_once(':')?;
        let place =
            Self { segment: number(segment)?, offset: offset.parse().ok()?, length: length.parse().ok()? };
        place.end().filter(|end| *end <= FARTHEST).map(|_| place)
    }

    /// Where it ends, without what pads it.
    fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.length)
    }

    /// The space that it takes, in bytes.
    pub(super) fn space(&self) -> u64 {
        self.length.next_multiple_of(BLOCK as u64)
    }
}

/// As it stands in a column; the length stands where [`length_of`] looks for it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0DIGITS$}:{}:{}", self.segment, self.length, self.offset)
    }
}

impl<'a> Column<'a> {
    pub(super) fn new(body: &'a [u8], place: Option<Place>) -> Self {
        place.map_or(Self::Body(body), Self::Place)
    }
}

impl ToSql for Column<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Body(body) => body.to_sql(),
            Self::Place(place) => Ok(place.to_string().into()),
        }
    }
}

/// The number of a segment, from its name.
fn number(name: &str) -> Option<u64> {
    let is_one = name.len() == DIGITS && name.bytes().all(|byte| byte.is_ascii_digit());
    if is_one { name.parse().ok() } else { None }
}
