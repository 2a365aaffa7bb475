//! What can be wrong with a state folder, and what to do about it.

use std::io;
use std::path::PathBuf;

/// Something wrong with the state folder.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The operating system refused.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A link or a special file stands where one of ours belongs.
    #[error("{} is not {expected}; it is left alone", .path.display())]
    NotOurs {
        /// What it is.
        path: PathBuf,
        /// What it must be.
        expected: &'static str,
    },
    /// A file of ours that does not say what it must.
    #[error("{} is damaged: {reason}", .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// How.
        reason: String,
    },
    /// The file of secrets, in which nothing can be understood.
    #[error("{} is damaged: no secrets can be read from it (line {line}, column {column})", .path.display())]
    NoSecrets {
        /// Where it is.
        path: PathBuf,
        /// Where what is wrong with it stands.
        line: usize,
        /// In which column.
        column: usize,
    },
}

impl StateError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NoSecrets { path, .. } => format!(
                "it holds the project's secret: move it away (`mv {0} {0}.old`), and a new secret is made, which your handler \
                 needs then (`mbaas-dev secret show`)",
                path.display()
            ),
            Self::Io { .. } | Self::NotOurs { .. } | Self::Damaged { .. } => {
                "another folder can be given with --data-dir".to_owned()
            }
        }
    }
}
