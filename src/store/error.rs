//! What can go wrong with the record, told so that its user can mend it.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rusqlite::{ErrorCode, ffi};

use super::Repaired;

/// Why the record could not be written or read. It names the file; [`hint`](Self::hint) says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another program held the file for 5 seconds.
    #[error("`{}` is locked by another program", .file.display())]
    Busy {
        /// The file.
        file: PathBuf,
    },
    /// The disk is full.
    #[error("the disk that holds `{}` is full", .file.display())]
    Full {
        /// The file.
        file: PathBuf,
    },
    /// Little is left on the disk: recording stops before it is full.
    #[error(
        "the disk that holds `{}` has {} left, and below {} nothing more is recorded",
        .file.display(), human(*.free), human(*.least)
    )]
    Low {
        /// The file.
        file: PathBuf,
        /// What is left, in bytes.
        free: u64,
        /// What must be left, in bytes.
        least: u64,
    },
    /// The record is as large as it may be.
    #[error("`{}` has reached its limit of {} (--max-disk)", .file.display(), human(*.most))]
    AtLimit {
        /// The file.
        file: PathBuf,
        /// The limit, in bytes.
        most: u64,
    },
    /// The file is not a database, or not a sound one.
    #[error("`{}` is damaged: {detail}", .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What exactly.
        detail: String,
    },
    /// What stands there is not ours.
    #[error("`{}` is not a record of mbaas-dev: {detail}", .file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// What exactly.
        detail: String,
    },
    /// The file was damaged, and is a new one now.
    #[error("{0}")]
    Repaired(Repaired),
    /// A newer version of this program wrote the file.
    #[error(
        "`{}` was written by a newer mbaas-dev: it has format {found}, and this one knows formats up to {known}",
        .file.display()
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// The format of the file, counting from 1.
        found: i64,
        /// The newest format that is known here.
        known: i64,
    },
    /// The file or its file system is read-only.
    #[error("`{}` is read-only, or the file system that it is on", .file.display())]
    ReadOnly {
        /// The file.
        file: PathBuf,
    },
    /// The file cannot be opened or made, mostly for want of a permission.
    #[error("`{}` cannot be opened: {detail}", .file.display())]
    Unwritable {
        /// The file.
        file: PathBuf,
        /// What exactly.
        detail: String,
    },
    /// The folder is not there.
    #[error("there is no folder for `{}`", .file.display())]
    NotFound {
        /// The file.
        file: PathBuf,
    },
    /// A symbolic link stands where the file should be.
    #[error("`{}` is a symbolic link, which is never followed", .file.display())]
    Symlink {
        /// The link.
        file: PathBuf,
    },
    /// A body that was kept beside the record is not there any more, or not whole.
    #[error("`{}`, which has a recorded body, cannot be read: {detail}", .file.display())]
    Lost {
        /// The file that should have it.
        file: PathBuf,
        /// What exactly.
        detail: String,
    },
    /// A delivery from a relay whose turn it is not: one before it is missing, or it is there already.
    #[error("`{}` does not have what a relay sent before this delivery", .file.display())]
    OutOfTurn {
        /// The file.
        file: PathBuf,
    },
    /// The record was closed before.
    #[error("`{}` is closed already", .file.display())]
    Closed {
        /// The file.
        file: PathBuf,
    },
    /// Anything else.
    #[error("`{}` failed: {detail}", .file.display())]
    Other {
        /// The file.
        file: PathBuf,
        /// What exactly.
        detail: String,
    },
}

impl StoreError {
    /// What to do about it: a sentence without its capital and its full stop, as hints are.
    pub fn hint(&self) -> String {
        let hint = match self {
            Self::Busy { .. } => {
                "close the program that has the file open (a database browser, say), and try again"
            }
            Self::Full { .. } => "free some space; recording goes on by itself after that",
            Self::Low { .. } => {
                "free some space (`mbaas-dev deliveries prune --keep 1000`, say); recording goes on by itself after that"
            }
            Self::AtLimit { .. } => {
                "take old deliveries out (`mbaas-dev deliveries prune --keep 1000`, or `listen --keep 7d`), or raise \
                 the limit; recording goes on by itself after that"
            }
            Self::Damaged { .. } => {
                "`mbaas-dev doctor --repair` keeps it aside, and saves what can be read into a new one"
            }
            Self::Foreign { file, .. } => {
                let file = file.display().to_string();
                let aside = quoted(&format!("{file}.old"));
                return format!(
                    "move it away (`mv {} {aside}`), or use another folder with `--data-dir`",
                    quoted(&file)
                );
            }
            Self::Repaired(repaired) => return repaired.hint(),
            Self::Newer { .. } => "update mbaas-dev, or use another folder with `--data-dir`",
            Self::ReadOnly { .. } => "make it writable, or use another folder with `--data-dir`",
            Self::Unwritable { .. } => {
                "check who owns it and its permissions, or use another folder with `--data-dir`"
            }
            Self::NotFound { .. } => "make the folder, or use another one with `--data-dir`",
            Self::Symlink { .. } => "remove the link, and use `--data-dir` to keep the file elsewhere",
            Self::Lost { .. } => {
                "put the file back if you have it; everything else that was recorded can still be used"
            }
            Self::OutOfTurn { .. } => "nothing: the relay sends both again, in order",
            Self::Closed { .. } => "start mbaas-dev again",
            Self::Other { .. } => "try again; if it stays, use another folder with `--data-dir`",
        };
        hint.to_owned()
    }

    /// What an error of the system on `file` means.
    pub(super) fn from_io(file: &Path, error: &io::Error) -> Self {
        let (file, detail) = (file.to_path_buf(), error.to_string());
        match error.kind() {
            ErrorKind::NotFound => Self::NotFound { file },
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full { file },
            ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { file },
            ErrorKind::PermissionDenied => Self::Unwritable { file, detail },
            _ => Self::Other { file, detail },
        }
    }

    /// What an error of SQLite on `file` means.
    pub(super) fn from_sqlite(file: &Path, error: &rusqlite::Error) -> Self {
        let (file, detail) = (file.to_path_buf(), error.to_string());
        let (cause, detail) = match error {
            // What reading or writing a body in a file of its own found out.
            rusqlite::Error::FromSqlConversionFailure(_, _, cause)
            | rusqlite::Error::ToSqlConversionFailure(cause)
                if let Some(cause) = cause.downcast_ref::<Self>() =>
            {
                return cause.clone();
            }
            rusqlite::Error::SqliteFailure(cause, message) => (cause, message.clone().unwrap_or(detail)),
            rusqlite::Error::SqlInputError { error, msg, .. } => (error, msg.clone()),
            rusqlite::Error::QueryReturnedNoRows => return Self::OutOfTurn { file },
            error if is_about_a_value(error) => return Self::Damaged { file, detail },
            _ => return Self::Other { file, detail },
        };
        // It quotes the whole rest of a statement that it cannot read.
        let detail = detail.lines().next().unwrap_or_default().to_owned();
        match (cause.code, cause.extended_code) {
            // Our SQL is tested, so it is the tables that do not fit it.
            (ErrorCode::Unknown, ffi::SQLITE_ERROR) => {
                Self::Foreign { file, detail: format!("its tables are others ({detail})") }
            }
            (_, ffi::SQLITE_CANTOPEN_SYMLINK) => Self::Symlink { file },
            // The former is that the index of the log cannot grow.
            (_, ffi::SQLITE_IOERR_SHMSIZE) | (ErrorCode::DiskFull, _) => Self::Full { file },
            (
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed,
                _,
            ) => Self::Busy { file },
            (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => Self::Damaged { file, detail },
            // It cannot even read there, unless somebody else has the log open.
            (ErrorCode::CannotOpen, _) if is_on_read_only_disk(&file) => Self::ReadOnly { file },
            (ErrorCode::ReadOnly, _) => Self::ReadOnly { file },
            (ErrorCode::CannotOpen | ErrorCode::PermissionDenied, _) => Self::Unwritable { file, detail },
            _ => Self::Other { file, detail },
        }
    }
}

/// Bytes as people count them.
fn human(bytes: u64) -> String {
    match bytes / 1024 {
        kilobytes @ 0..10_000 => format!("{kilobytes} KB"),
        kilobytes => format!("{} MB", kilobytes / 1024),
    }
}

/// Whether the error is that a row holds what we never write.
fn is_about_a_value(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..)
    )
}

fn is_on_read_only_disk(file: &Path) -> bool {
    let opened = std::fs::OpenOptions::new().write(true).open(file);
    opened.is_err_and(|error| error.kind() == std::io::ErrorKind::ReadOnlyFilesystem)
}

/// A path as one word of a shell.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%".contains(c);
    if path.chars().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_can_be_pasted_into_a_shell() {
        let error = StoreError::Foreign { file: "/a b/it's.db".into(), detail: "x".into() };
        assert!(error.hint().contains(r"mv '/a b/it'\''s.db' '/a b/it'\''s.db.old'"), "{}", error.hint());
        let error = StoreError::Foreign { file: "/a/b.db".into(), detail: "x".into() };
        assert!(error.hint().contains("mv /a/b.db /a/b.db.old"), "{}", error.hint());
    }

    #[test]
    fn every_error_is_one_sentence_that_names_the_file() {
        let file = || PathBuf::from("/d/deliveries.db");
        for error in [
            StoreError::Busy { file: file() },
            StoreError::Full { file: file() },
            StoreError::Low { file: file(), free: 1, least: 2 },
            StoreError::AtLimit { file: file(), most: 1 },
            StoreError::Damaged { file: file(), detail: "x".into() },
            StoreError::Foreign { file: file(), detail: "x".into() },
            StoreError::Repaired(Repaired {
                file: file(),
                aside: "/d/a".into(),
                why: "x".into(),
                saved: 3,
                bare: 1,
                known: 9,
            }),
            StoreError::Newer { file: file(), found: 9, known: 1 },
            StoreError::ReadOnly { file: file() },
            StoreError::Unwritable { file: file(), detail: "x".into() },
            StoreError::NotFound { file: file() },
            StoreError::Symlink { file: file() },
            StoreError::Lost { file: file(), detail: "x".into() },
            StoreError::OutOfTurn { file: file() },
            StoreError::Closed { file: file() },
            StoreError::Other { file: file(), detail: "x".into() },
        ] {
            let message = error.to_string();
            assert!(message.contains("`/d/deliveries.db`") && !message.ends_with('.'), "{message}");
            let hint = error.hint();
            assert!(
                hint.starts_with(|c: char| c.is_lowercase() || c == '`') && !hint.ends_with('.'),
                "{hint}"
            );
        }
    }

    #[test]
    fn codes_of_sqlite_become_kinds() {
        let kind = |code| {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            StoreError::from_sqlite(Path::new("f"), &error)
        };
        let file = || PathBuf::from("f");
        assert_eq!(kind(ffi::SQLITE_BUSY_RECOVERY), StoreError::Busy { file: file() });
        assert_eq!(kind(ffi::SQLITE_PROTOCOL), StoreError::Busy { file: file() });
        assert_eq!(kind(ffi::SQLITE_FULL), StoreError::Full { file: file() });
        assert_eq!(kind(ffi::SQLITE_IOERR_SHMSIZE), StoreError::Full { file: file() });
        assert_eq!(kind(ffi::SQLITE_READONLY_DBMOVED), StoreError::ReadOnly { file: file() });
        assert_eq!(kind(ffi::SQLITE_CANTOPEN_SYMLINK), StoreError::Symlink { file: file() });
        assert!(matches!(kind(ffi::SQLITE_CORRUPT), StoreError::Damaged { .. }));
        assert!(matches!(kind(ffi::SQLITE_NOTADB), StoreError::Damaged { .. }));
        assert!(matches!(kind(ffi::SQLITE_CANTOPEN), StoreError::Unwritable { .. }));
        assert!(matches!(kind(ffi::SQLITE_IOERR_FSYNC), StoreError::Other { .. }));
    }
}
