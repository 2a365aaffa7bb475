//! Room on the disk: what is left for others, and what is kept in reserve for taking old deliveries out.
//!
//! On a disk that is full to the last byte, SQLite can delete nothing: taking something out begins with writing it down.
//! So recording stops while there is some left, and a file of some size, the *ballast*, is given up when even that is gone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, StatVfs, fallocate, statvfs};

use super::StoreError;
use super::bodies::Folder;

/// What must be left on the disk, in bytes; or on a small one, its sixteenth part.
const LEAST_FREE: u64 = 64 * 1024 * 1024;
const LEAST_PART: u64 = 16;

/// The name of the ballast, and its size in bytes: enough to take deliveries out, slice by slice.
const BALLAST: &str = "ballast";
const BALLAST_BYTES: u64 = 4 * 1024 * 1024;

/// For how much of the room that was found a look is good, how many bytes that are at most, and how many transactions:
/// others write to the disk, too.
const GOOD_FOR: (u64, u64, u32) = (4, 4 * 1024 * 1024, 64);

/// How much room recording may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// What must be left on the disk for a delivery to be taken, in bytes; `None` is 64 MiB, or the sixteenth part of a
    /// small disk.
    pub least_free: Option<u64>,
    /// How much space the record may take on disk, its log and large bodies included, in bytes.
    pub most: Option<u64>,
    /// Whether to keep 4 MiB in reserve, in a file beside the record, for pruning on a full disk.
    pub ballast: bool,
}

/// Watches the room of a record; looking is not free, so it is done only now and then.
#[derive(Debug)]
pub(super) struct Gauge {
    room: Room,
    file: PathBuf,
    /// Where large bodies are.
    bodies: Folder,
    /// How many bytes and transactions the last look is still good for.
    good_for: (u64, u32),
}

impl Room {
    /// All there is.
    pub const ALL: Self = Self { least_free: Some(0), most: None, ballast: false };

    /// How many bytes may still be taken by the record in `file`.
    fn left(&self, file: &Path, bodies: &Folder) -> Result<u64, StoreError> {
        let mut left = u64::MAX;
        if let Some(most) = self.most {
            left = most.saturating_sub(bytes_on_disk(file, bodies));
            if left == 0 {
                return Err(StoreError::AtLimit { file: file.to_path_buf(), most });
            }
        }
        // Where the file system does not say how it stands, writing will.
        let Some(disk) = disk_of(file) else { return Ok(left) };
        let (free, least) = (free(&disk), self.least(&disk));
        if free < least {
            return Err(StoreError::Low { file: file.to_path_buf(), free, least });
        }
        Ok(left.min(free - least))
    }

    fn least(&self, disk: &StatVfs) -> u64 {
        self.least_free
            .unwrap_or_else(|| LEAST_FREE.min(disk.f_blocks.saturating_mul(disk.f_frsize) / LEAST_PART))
    }
}

impl Gauge {
    pub(super) fn new(room: Room, file: &Path, bodies: Folder) -> Self {
        Self { room, file: file.to_path_buf(), bodies, good_for: (0, 0) }
    }

    /// Whether there is room for a transaction of so many bytes, about.
    pub(super) fn admit(&mut self, bytes: u64) -> Result<(), StoreError> {
        if self.room == Room::ALL {
            return Ok(());
        }
        if self.good_for.1 == 0 || self.good_for.0 < bytes {
            self.look_again();
            let left = self.room.left(&self.file, &self.bodies)?;
            let (part, most, transactions) = GOOD_FOR;
            self.good_for = ((left / part).min(most), transactions);
        }
        self.good_for = (self.good_for.0.saturating_sub(bytes), self.good_for.1 - 1);
        Ok(())
    }

    /// Somebody has found the disk full: what was seen before is true no more.
    pub(super) fn look_again(&mut self) {
        self.good_for = (0, 0);
    }

    /// Takes the ballast in, unless it is there or there is no room for it. It is no loss when that fails.
    pub(super) fn take_ballast(&self) {
        let path = self.file.with_file_name(BALLAST);
        if !self.room.ballast || path.symlink_metadata().is_ok() {
            return;
        }
        let has_room = disk_of(&path)
            .is_some_and(|disk| free(&disk) >= self.room.least(&disk).saturating_add(BALLAST_BYTES));
        if !has_room {
            return;
        }
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        if let Ok(file) = made
            && fill(&file).is_err()
        {
            drop(fs::remove_file(&path));
        }
    }
}

/// Does what makes room or needs little of it; when the disk is full, once more without the ballast.
pub(super) fn with_reserve<T>(
    file: &Path,
    mut work: impl FnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    match work() {
        Err(StoreError::Full { .. }) if give_up_ballast(file) => work(),
        done => done,
    }
}

/// Gives the ballast up; whether there was one.
fn give_up_ballast(file: &Path) -> bool {
    fs::remove_file(file.with_file_name(BALLAST)).is_ok()
}

/// The space that the database in `file` takes, its log and large bodies included, in bytes.
pub(super) fn bytes_on_disk(file: &Path, bodies: &Folder) -> u64 {
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    let length = |path: &Path| fs::metadata(path).map(|found| found.len()).unwrap_or_default();
    length(file) + length(Path::new(&log)) + bodies.space_on_disk()
}

fn disk_of(file: &Path) -> Option<StatVfs> {
    // Some that are made of other things than disks have no blocks.
    statvfs(file.parent()?).ok().filter(|disk| disk.f_blocks > 0)
}

fn free(disk: &StatVfs) -> u64 {
    disk.f_bavail.saturating_mul(disk.f_frsize)
}

/// Makes the file take its space, not only have its length.
fn fill(mut file: &File) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, BALLAST_BYTES).map_err(io::Error::from) {
        // Not every file system can.
        Err(error) if error.kind() != ErrorKind::StorageFull => {}
        done => return done,
    }
    let zeros = [0; 16 * 1024];
    (0..BALLAST_BYTES / zeros.len() as u64).try_for_each(|_| file.write_all(&zeros))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn there_is_room_until_a_limit_is_reached() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.db");
        fs::write(&file, [0; 600]).unwrap();
        fs::write(folder.path().join("x.db-wal"), [0; 400]).unwrap();
        let left = |least_free, most| {
            Room { least_free: Some(least_free), most, ballast: false }.left(&file, &Folder::beside(&file))
        };
        assert!(left(0, None).unwrap() > 1000);
        assert_eq!(left(0, Some(1001)), Ok(1));
        assert!(matches!(left(0, Some(1000)), Err(StoreError::AtLimit { most: 1000, .. })));
        assert!(matches!(left(u64::MAX, None), Err(StoreError::Low { least: u64::MAX, .. })));
    }

    #[test]
    fn a_look_is_good_for_a_part_of_the_room_and_for_some_transactions() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.db");
        let grow = |bytes: u64| File::create(&file).unwrap().set_len(bytes).unwrap();
        let room = Room { least_free: Some(0), most: Some(1000), ballast: false };
        let mut gauge = Gauge::new(room, &file, Folder::beside(&file));
        assert_eq!(gauge.admit(100), Ok(()));
        grow(1000);
        assert_eq!(gauge.admit(150), Ok(()), "that is the quarter of 1000 together");
        assert!(gauge.admit(1).is_err());
        grow(0);
        assert_eq!(gauge.admit(500), Ok(()), "it goes on by itself");
        assert_eq!(gauge.admit(0), Ok(()));
        grow(1000);
        let admitted = (0..1000).take_while(|_| gauge.admit(0).is_ok()).count();
        assert_eq!(admitted, GOOD_FOR.2 as usize - 2);
        assert!(gauge.admit(0).is_err(), "what was refused is looked at each time");
    }

    #[test]
    fn the_ballast_takes_its_space_and_gives_it_up() {
        let folder = tempfile::tempdir().unwrap();
        let (file, ballast) = (folder.path().join("x.db"), folder.path().join(BALLAST));
        assert!(!give_up_ballast(&file));
        let take = |room| Gauge::new(room, &file, Folder::beside(&file)).take_ballast();
        take(Room { least_free: Some(u64::MAX), ballast: true, ..Room::default() });
        take(Room::default());
        assert!(!ballast.exists(), "there is no room for it, or no use");
        take(Room { least_free: Some(0), ballast: true, ..Room::default() });
        let found = fs::metadata(&ballast).unwrap();
        assert_eq!((found.mode() & 0o777, found.len()), (0o600, BALLAST_BYTES));
        assert!(found.blocks() * 512 >= BALLAST_BYTES);
        assert!(give_up_ballast(&file) && !ballast.exists());
    }
}
