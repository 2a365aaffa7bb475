//! Reading bodies out of segments. Anything may stand in their place, and any place may stand in a row.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::{Folder, Place, StoreError};

/// Finds places that cannot hold a body, without reading what they hold.
#[derive(Debug)]
pub(in crate::store) struct Inspector<'a> {
    folder: &'a Folder,
    /// The segment that was looked at last, and its length.
    last: Option<(u64, Result<u64, StoreError>)>,
}

impl Folder {
    /// Reads a body in place of what `into` holds.
    pub(in crate::store) fn read(&self, place: &Place, into: &mut Vec<u8>) -> Result<(), StoreError> {
        into.clear();
        let path = self.segment(place.segment);
        let (file, end) = open(&path)?;
        check(place, end, &path)?;
        let length = usize::try_from(place.length).unwrap_or(usize::MAX);
        let mut read = || {
            into.try_reserve_exact(length)
                .map_err(|_too_large| io::Error::from(io::ErrorKind::OutOfMemory))?;
            into.resize(length, 0);
            file.read_exact_at(into, place.offset)
        };
        read().map_err(|error: io::Error| StoreError::Lost { file: path, detail: error.to_string() })
    }
}

impl<'a> Inspector<'a> {
    pub(in crate::store) fn new(folder: &'a Folder) -> Self {
        Self { folder, last: None }
    }

    /// Whether a body can stand at that place.
    pub(in crate::store) fn inspect(&mut self, place: &Place) -> Result<(), StoreError> {
        let path = self.folder.segment(place.segment);
        let end = match &self.last {
            Some((segment, end)) if *segment == place.segment => end.clone(),
            _ => open(&path).map(|(_, end)| end),
        };
        self.last = Some((place.segment, end.clone()));
        check(place, end?, &path)
    }
}

/// Opens a segment, and tells how long it is.
fn open(path: &Path) -> Result<(File, u64), StoreError> {
    let lost = |detail: String| StoreError::Lost { file: path.to_path_buf(), detail };
    match path.symlink_metadata() {
        Ok(found) if found.is_symlink() => return Err(StoreError::Symlink { file: path.to_path_buf() }),
        // A pipe would be waited for.
        Ok(found) if !found.is_file() => return Err(lost("it is not a file".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(lost("it is not there".to_owned()));
        }
        _ => {}
    }
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    let open = || {
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let length = file.metadata()?.len();
        Ok((file, length))
    };
    open().map_err(|error: io::Error| lost(error.to_string()))
}

fn check(place: &Place, end: u64, path: &Path) -> Result<(), StoreError> {
    if place.end().is_none_or(|place| place > end) {
        let detail = "it ends before the body does".to_owned();
        return Err(StoreError::Lost { file: path.to_path_buf(), detail });
    }
    Ok(())
}
