//! A file for the user alone: mode 0600, never written through a link, there as a whole or not at all.

use std::fs::{self, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file on its way; dropped without [`finish`](Self::finish), it leaves no trace.
#[derive(Debug)]
pub struct PrivateFile {
    path: PathBuf,
    // Temporary files are made with mode 0600.
    file: BufWriter<NamedTempFile>,
}

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {reason}", .path.display())]
pub struct CannotWrite {
    path: PathBuf,
    reason: String,
}

impl PrivateFile {
    /// A file that will stand at `path`, in the place of a regular file that may be there.
    pub fn at(path: &Path) -> Result<Self, CannotWrite> {
        let cannot = |reason: String| CannotWrite { path: path.to_owned(), reason };
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_symlink() => {
                return Err(cannot("it is a link; it is left alone".to_owned()));
            }
            Ok(found) if !found.is_file() => {
                return Err(cannot("it is not a regular file; it is left alone".to_owned()));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(cannot(error.to_string())),
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let file = NamedTempFile::new_in(folder).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => cannot(format!("there is no folder {}", folder.display())),
            _ => cannot(without_path(error).to_string()),
        })?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    /// Lets other users read it, for what is made for them.
    pub fn readable_by_all(self) -> Result<Self, CannotWrite> {
        let mode = Permissions::from_mode(0o644);
        self.file.get_ref().as_file().set_permissions(mode).map_err(|error| self.cannot(error))?;
        Ok(self)
    }

    /// Adds to the file.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), CannotWrite> {
        self.file.write_all(bytes).map_err(|error| self.cannot(error))
    }

    /// Puts the file in its place.
    pub fn finish(self) -> Result<(), CannotWrite> {
        let path = self.path;
        let cannot = |error| CannotWrite { path: path.clone(), reason: without_path(error).to_string() };
        let file = self.file.into_inner().map_err(|error| cannot(error.into_error()))?;
        file.as_file().sync_all().map_err(cannot)?;
        file.persist(&path).map_err(|error| cannot(error.error))?;
        Ok(())
    }

    fn cannot(&self, error: io::Error) -> CannotWrite {
        CannotWrite { path: self.path.clone(), reason: without_path(error).to_string() }
    }
}

/// The error without what tempfile adds, which is the name of a file that nobody knows.
pub fn without_path(error: io::Error) -> io::Error {
    if error.get_ref().is_some() { error.kind().into() } else { error }
}
