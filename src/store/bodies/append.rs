//! Appending bodies to a segment.
//!
//! The bodies go past the page cache where the file system lets them (`O_DIRECT`): it would cost ten times the CPU to have
//! a copy there that nobody is going to read soon. For that they are copied once, into a buffer that begins at a block.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

use super::{BLOCK, Folder, Place, StoreError, is_large};
use crate::store::file::Identity;

/// From this size on a segment is full, in bytes; the bodies of one transaction stay together.
const FULL: u64 = 64 * 1024 * 1024;

/// How much is written at once at most, in bytes.
const CHUNK: usize = 1024 * 1024;

/// Appends to segments of its own.
#[derive(Debug)]
pub(in crate::store) struct Appender {
    folder: Folder,
    open: Option<Segment>,
}

/// A segment that was made and locked here.
#[derive(Debug)]
struct Segment {
    number: u64,
    path: PathBuf,
    file: File,
    identity: Identity,
    is_direct: bool,
    /// Where the next body goes.
    end: u64,
    /// Where the newest bodies begin.
    newest: u64,
    buffer: Buffer,
}

/// Bytes that begin at a block in memory.
#[derive(Debug)]
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    filled: usize,
}

impl Appender {
    pub(in crate::store) fn new(folder: Folder) -> Self {
        Self { folder, open: None }
    }

    /// Puts those of the bodies that are large where they stay, and gives the place of each once it is on disk. When
    /// that fails, it fails for all large ones, and takes no space.
    pub(in crate::store) fn place<'a>(
        &mut self,
        bodies: impl Iterator<Item = &'a [u8]>,
    ) -> Vec<Result<Option<Place>, StoreError>> {
        let bodies: Vec<&[u8]> = bodies.collect();
        let large: Vec<&[u8]> = bodies.iter().copied().filter(|body| is_large(body)).collect();
        let mut places = self.append(&large).map(Vec::into_iter);
        let place = |body: &&[u8]| match &mut places {
            _ if !is_large(body) => Ok(None),
            Ok(places) => Ok(places.next()),
            Err(error) => Err(error.clone()),
        };
        bodies.iter().map(place).collect()
    }

    /// Takes the bodies that were placed last back: no row points at them, nor will.
    pub(in crate::store) fn take_back(&mut self) {
        let is_back = self.open.as_mut().is_none_or(|segment| segment.take_back().is_ok());
        if !is_back {
            self.open = None;
        }
    }

    fn append(&mut self, bodies: &[&[u8]]) -> Result<Vec<Place>, StoreError> {
        if bodies.is_empty() {
            // There is nothing new to be taken back.
            self.open.iter_mut().for_each(|segment| segment.newest = segment.end);
            return Ok(Vec::new());
        }
        let segment = self.segment()?;
        let appended = segment.append(bodies).map_err(|error| StoreError::from_io(&segment.path, &error));
        match &appended {
            Ok(_) => {}
            // It goes on where it was once there is space again.
            Err(StoreError::Full { .. }) => self.take_back(),
            Err(_) => self.open = None,
        }
        appended
    }

    /// The segment to append to: a new one when there is none, or it is full, or it is not the one at its path any more.
    fn segment(&mut self) -> Result<&mut Segment, StoreError> {
        let usable =
            |segment: &Segment| segment.end < FULL && segment.identity == Identity::of(&segment.path);
        let segment = match self.open.take().filter(usable) {
            Some(segment) => segment,
            None => Segment::make(&self.folder)?,
        };
        Ok(self.open.insert(segment))
    }
}

impl Segment {
    /// Makes a segment with a number above all others, locks it, and makes its name durable.
    fn make(folder: &Folder) -> Result<Self, StoreError> {
        folder.check()?;
        let failed = |error: io::Error| StoreError::from_io(&folder.0, &error);
        folder.make().map_err(failed)?;
        let last = folder.segments().map_err(failed)?.pop().unwrap_or_default();
        for number in last + 1.. {
            let path = folder.segment(number);
            let failed = |error: io::Error| StoreError::from_io(&path, &error);
            // A new file is never behind a link.
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            let file = match made {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                made => made.map_err(failed)?,
            };
            match file.try_lock() {
                // Somebody who tidies up took it for left behind.
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Ok(()) => {}
            }
            let identity = Identity::of(&path);
            if identity != Identity::of_file(&file) {
                continue;
            }
            File::open(&folder.0).and_then(|folder| folder.sync_all()).map_err(failed)?;
            let is_direct = go_direct(&file, true);
            let buffer = Buffer::new();
            return Ok(Self { number, path, file, identity, is_direct, end: 0, newest: 0, buffer });
        }
        Err(failed(ErrorKind::StorageFull.into()))
    }

    /// Writes the bodies one after the other, and waits until all are on disk.
    fn append(&mut self, bodies: &[&[u8]]) -> io::Result<Vec<Place>> {
        self.newest = self.end;
        self.buffer.filled = 0;
        let mut written = self.end;
        let mut places = Vec::with_capacity(bodies.len());
        for body in bodies {
            let length = body.len() as u64;
            let place = Place { segment: self.number, offset: self.end, length };
            self.end += place.space();
            places.push(place);
            let mut rest = *body;
            while !rest.is_empty() {
                rest = self.buffer.fill(rest);
                if self.buffer.is_full() {
                    written += self.write(written)?;
                }
            }
            self.buffer.pad();
        }
        self.write(written)?;
        self.file.sync_data()?;
        Ok(places)
    }

    /// Writes what the buffer has to `offset`; how many bytes that is.
    fn write(&mut self, offset: u64) -> io::Result<u64> {
        let bytes = self.buffer.content();
        let mut outcome = self.file.write_all_at(bytes, offset);
        // Some file systems take the mode and not the writes; and one that gets full may stop within a block.
        if self.is_direct && outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::InvalidInput) {
            self.is_direct = go_direct(&self.file, false);
            outcome = self.file.write_all_at(bytes, offset);
        }
        outcome?;
        let length = bytes.len() as u64;
        self.buffer.filled = 0;
        Ok(length)
    }

    fn take_back(&mut self) -> io::Result<()> {
        if self.end > self.newest {
            self.file.set_len(self.newest)?;
            self.end = self.newest;
        }
        Ok(())
    }
}

impl Buffer {
    fn new() -> Self {
        let bytes = vec![0; CHUNK + BLOCK];
        let start = bytes.as_ptr().align_offset(BLOCK).min(BLOCK);
        Self { bytes, start, filled: 0 }
    }

    /// Takes in what there is room for; gives the rest.
    fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (now, rest) = bytes.split_at(bytes.len().min(CHUNK - self.filled));
        let from = self.start + self.filled;
        self.bytes[from..from + now.len()].copy_from_slice(now);
        self.filled += now.len();
        rest
    }

    fn pad(&mut self) {
        let padded = self.filled.next_multiple_of(BLOCK);
        self.bytes[self.start + self.filled..self.start + padded].fill(0);
        self.filled = padded;
    }

    fn is_full(&self) -> bool {
        self.filled == CHUNK
    }

    fn content(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.filled]
    }
}

/// Has writes to the file go past the page cache, or not; whether they do now.
#[cfg(target_os = "linux")]
fn go_direct(file: &File, direct: bool) -> bool {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let switched = fcntl_getfl(file).and_then(|mut flags| {
        flags.set(OFlags::DIRECT, direct);
        fcntl_setfl(file, flags)
    });
    direct && switched.is_ok()
}

/// Has writes to the file go past the page cache, or not; whether they do now.
#[cfg(not(target_os = "linux"))]
fn go_direct(_file: &File, _direct: bool) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use tempfile::tempdir;

    use super::super::LARGE;
    use super::*;

    fn body(length: usize, seed: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from((at * 7 + at / 251 + seed) % 256).unwrap()).collect()
    }

    fn read(folder: &Folder, place: &Place) -> Vec<u8> {
        let mut bytes = Vec::new();
        folder.read(place, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn bodies_of_every_size_come_out_as_they_went_in() {
        let outer = tempdir().unwrap();
        let folder = Folder::beside(&outer.path().join("x.db"));
        let mut appender = Appender::new(folder.clone());
        let sizes = [0, 1, LARGE - 1, LARGE, LARGE + 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5, 40_000];
        let bodies: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(seed, size)| body(*size, seed)).collect();
        for _ in 0..3 {
            let places = appender.place(bodies.iter().map(Vec::as_slice));
            for (body, place) in bodies.iter().zip(places) {
                match place.unwrap() {
                    None => assert!(body.len() < LARGE),
                    Some(place) => assert!(read(&folder, &place) == *body, "{place}"),
                }
            }
        }
        assert_eq!(folder.segments().unwrap(), [1]);
        let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder.0), mode(&folder.segment(1))), (0o700, 0o600));
        // An appender has a segment of its own, above the last one.
        fs::write(folder.segment(5), "").unwrap();
        let one = Appender::new(folder.clone()).place([&body(LARGE, 1)[..]].into_iter()).pop().unwrap();
        assert_eq!(one, Ok(Some(Place { segment: 6, offset: 0, length: LARGE as u64 })));
    }

    #[test]
    fn a_segment_that_is_full_or_gone_is_followed_by_another() {
        let outer = tempdir().unwrap();
        let folder = Folder::beside(&outer.path().join("x.db"));
        let mut appender = Appender::new(folder.clone());
        let large = body(LARGE, 1);
        let mut place = || appender.place([&large[..]].into_iter()).pop().unwrap().unwrap().unwrap();
        assert_eq!((place().segment, place().segment), (1, 1));
        fs::remove_dir_all(&folder.0).unwrap();
        let next = place();
        assert_eq!((next.segment, next.offset, read(&folder, &next)), (1, 0, large.clone()));
        appender.open.as_mut().unwrap().end = FULL;
        let next = appender.place([&large[..]].into_iter()).pop().unwrap().unwrap().unwrap();
        assert_eq!((next.segment, next.offset, read(&folder, &next)), (2, 0, large));
    }

    #[test]
    fn what_is_taken_back_makes_room_for_what_follows() {
        let outer = tempdir().unwrap();
        let folder = Folder::beside(&outer.path().join("x.db"));
        let mut appender = Appender::new(folder.clone());
        let mut place = |seed, is_kept: bool| {
            let body = body(LARGE + 1, seed);
            let place = appender.place([&body[..]].into_iter()).pop().unwrap().unwrap().unwrap();
            if !is_kept {
                appender.take_back();
            }
            (place, body)
        };
        let kept = place(1, true);
        let lost = place(2, false);
        let next = place(3, true);
        assert_eq!(lost.0, next.0);
        assert!(read(&folder, &kept.0) == kept.1 && read(&folder, &next.0) == next.1);
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let outer = tempdir().unwrap();
        let precious = outer.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        let folder = Folder::beside(&outer.path().join("x.db"));
        fs::create_dir(&folder.0).unwrap();
        std::os::unix::fs::symlink(&precious, folder.segment(1)).unwrap();
        let large = body(LARGE, 1);
        let place = |folder: &Folder| Appender::new(folder.clone()).place([&large[..]].into_iter()).remove(0);
        assert_eq!(place(&folder).unwrap().unwrap().segment, 2);
        let planted = Place { segment: 1, offset: 0, length: 8 };
        let error = folder.read(&planted, &mut Vec::new()).unwrap_err();
        assert_eq!(error, StoreError::Symlink { file: folder.segment(1) });

        let elsewhere = tempdir().unwrap();
        let linked = Folder::beside(&elsewhere.path().join("x.db"));
        std::os::unix::fs::symlink(&folder.0, &linked.0).unwrap();
        assert_eq!(place(&linked), Err(StoreError::Symlink { file: linked.0.clone() }));
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
        assert_eq!(folder.segments().unwrap(), [1, 2]);
    }
}
