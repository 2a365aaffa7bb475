//! Giving the space of bodies back, and removing segments that nobody needs.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::{BLOCK, Folder, Place};

/// What `stat` counts blocks in, whatever the file system's own are.
const STAT_BLOCK: u64 = 512;

impl Folder {
    /// The space that the segments take on disk, in bytes.
    pub(in crate::store) fn space_on_disk(&self) -> u64 {
        let segments = self.segments().unwrap_or_default();
        let space = |number| fs::symlink_metadata(self.segment(number)).map_or(0, |found| space_of(&found));
        segments.into_iter().map(space).sum()
    }

    /// Gives the space of bodies back that no row points at any more. Where the file system cannot do so, it comes
    /// back when the whole segment goes.
    pub(in crate::store) fn give_back(&self, places: &mut [Place]) {
        places.sort_unstable();
        for places in places.chunk_by(|a, b| a.segment == b.segment) {
            let Some(file) = open(&self.segment(places[0].segment)) else { continue };
            for place in places {
                punch(&file, place.offset, place.space());
            }
        }
    }

    /// Goes through the segments that nobody writes to: removes those that no row points into, and gives back what
    /// else no row points at, such as what was appended right before a crash. `referenced` gives the places in the
    /// segment of that number; it is asked while the segment is locked.
    pub(in crate::store) fn sweep(
        &self,
        mut referenced: impl FnMut(u64) -> rusqlite::Result<Vec<Place>>,
    ) -> rusqlite::Result<()> {
        let segments = self.segments().unwrap_or_default();
        for number in &segments {
            let path = self.segment(*number);
            let Some(file) = open(&path) else { continue };
            if file.try_lock().is_err() {
                continue;
            }
            let mut places = referenced(*number)?;
            if !places.is_empty() {
                places.sort_unstable();
                give_gaps_back(&file, &places);
            } else if Some(number) == segments.last() {
                // It keeps its number from being given again: a reader may still have places in it.
                file.set_len(0).ok();
            } else {
                fs::remove_file(&path).ok();
            }
        }
        Ok(())
    }
}

/// The range of the places of the segment of that number, as columns.
pub(in crate::store) fn range_of(segment: u64) -> (String, String) {
    let digits = super::DIGITS;
    // A semicolon comes after a colon.
    (format!("{segment:0digits$}:"), format!("{segment:0digits$};"))
}

/// Opens a segment to change it; `None` when there is none, or something else stands there.
fn open(path: &Path) -> Option<File> {
    if !fs::symlink_metadata(path).is_ok_and(|found| found.is_file()) {
        return None;
    }
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    OpenOptions::new().write(true).custom_flags(flags).open(path).ok()
}

fn give_gaps_back(file: &File, places: &[Place]) {
    let Ok(found) = file.metadata() else { return };
    let needed: u64 = places.iter().map(Place::space).sum();
    if space_of(&found) <= needed {
        return;
    }
    let mut end = 0;
    let ends = places.iter().map(|place| (place.offset, place.offset.saturating_add(place.space())));
    for (start, next) in ends.chain([(found.len().next_multiple_of(BLOCK as u64), 0)]) {
        if start > end {
            punch(file, end, start - end);
        }
        end = end.max(next);
    }
}

fn space_of(found: &fs::Metadata) -> u64 {
    found.blocks() * STAT_BLOCK
}

/// Makes a hole; its space is free then. Failing is no loss.
#[cfg(target_os = "linux")]
fn punch(file: &File, offset: u64, length: u64) {
    use rustix::fs::{FallocateFlags, fallocate};
    fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, length).ok();
}

/// Makes a hole, where it is known how.
#[cfg(not(target_os = "linux"))]
fn punch(_file: &File, _offset: u64, _length: u64) {}
