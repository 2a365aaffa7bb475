//! Watches a folder of fixtures and fires each that is saved.
//!
//! News from the operating system is only a nudge: after a short silence the folder is read anew and compared with
//! what was there before. So it does not matter whether an editor writes in place or renames, whether a folder is
//! deleted and comes back, or how many files a branch switch touches: what has changed is fired, once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::compose;
use super::routing::Router;
use crate::bus::Bus;
use crate::contract::WireNames;
use crate::fixture::{Artifacts, FileKind, Fixture, FixtureError, Run};
use crate::model::{Clock, Contract, DeliveryId, Incoming, Origin, Request, Trouble, Update, Verdict};
use crate::signature::{self, Keyring, Signing};

/// How long nothing may happen before a change counts as finished: several writes of one save are one.
const SILENCE: Duration = Duration::from_millis(80);

/// How often silence is waited for, while somebody goes on writing.
const MOST_SILENCES: usize = 25;

/// How often the folder is looked at without a nudge: it may have been deleted, and its watch with it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How many files are watched.
const MOST_FILES: usize = 10_000;

/// How many firings may wait for their answers; with more, the next waits for one of them.
const MOST_UNDER_WAY: usize = 256;

/// How deep folders are read.
const DEEPEST: usize = 8;

/// The largest file that is read, in bytes.
pub const LARGEST_FILE: u64 = 32 * 1024 * 1024;

/// What a file was when it was last looked at: when it changed, how long it is, and which file it is.
pub type Stamp = (i64, i64, u64, u64);

/// A folder's files.
pub type Files = BTreeMap<PathBuf, Stamp>;

/// What is in a folder of fixtures.
#[derive(Debug, Default)]
pub struct Found {
    /// The fixtures.
    pub files: Files,
    /// Fixtures that are larger than [`LARGEST_FILE`].
    pub too_large: Files,
    /// Folders below it that cannot be read, and why.
    pub unreadable: Vec<(PathBuf, io::Error)>,
    /// Links that look like fixtures or lead to folders; they are not followed.
    pub links: Vec<PathBuf>,
}

/// The source.
pub struct Watch {
    /// The folder.
    pub folder: PathBuf,
    /// Its files as they were when the watch was made: what is saved from then on is fired.
    pub files: Files,
    /// Where deliveries go.
    pub router: Router,
    /// What they are signed with.
    pub keys: Keyring,
    /// Tells events by their wire names.
    pub names: WireNames,
    /// Hears of files that cannot be fired.
    pub bus: Bus,
    /// Time and ids.
    pub clock: Clock,
    /// Where the files of meetings can be fetched.
    pub artifacts: Artifacts,
    /// What templates may read of the environment.
    pub environment: fn(&str) -> Option<String>,
}

impl Watch {
    /// Watches until `stop` is cancelled.
    ///
    /// # Errors
    ///
    /// The operating system has no watch to give. A folder that is missing is waited for.
    pub async fn run(self, stop: CancellationToken) -> notify::Result<()> {
        let (nudge, mut nudges) = mpsc::channel::<()>(1);
        // Something may have been saved before there was a watch.
        nudge.try_send(()).ok();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading is no news, and we read ourselves.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                // One nudge that waits is as good as many: a full channel is fine.
                nudge.try_send(()).ok();
            }
        })?;
        let mut watched = None;
        let (mut files, mut too_large) = (self.files.clone(), Files::new());
        let (mut told, under_way) = (BTreeSet::new(), Arc::new(Semaphore::new(MOST_UNDER_WAY)));
        loop {
            watch_again(&mut watcher, &self.folder, &mut watched);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = timeout(LOOK_AGAIN, nudges.recv()) => {}
            }
            for _ in 0..MOST_SILENCES {
                if timeout(SILENCE, nudges.recv()).await.is_err() {
                    break;
                }
            }
            let Found { files: now, too_large: large_now, unreadable, .. } = match read_folder(&self.folder) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    self.report_once(&mut told, vec![(self.folder.clone(), error)]);
                    continue;
                }
            };
            self.report_once(&mut told, unreadable);
            for path in changed(&too_large, &large_now) {
                self.report_size(&path);
            }
            too_large = large_now;
            for path in changed(&files, &now) {
                let permit = tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    permit = Arc::clone(&under_way).acquire_owned() => permit,
                };
                // Nobody closes the semaphore.
                let Ok(permit) = permit else { return Ok(()) };
                self.fire(&path, permit).await;
            }
            files = now;
        }
    }

    /// Tells which folders cannot be read; of each once, until it can be.
    fn report_once(&self, told: &mut BTreeSet<PathBuf>, unreadable: Vec<(PathBuf, io::Error)>) {
        told.retain(|known| unreadable.iter().any(|(folder, _)| folder == known));
        for (folder, error) in unreadable {
            if told.contains(&folder) {
                continue;
            }
            let message = format!("cannot read {}: {error}", folder.display());
            let hint = "its fixtures are not fired until it can be read; all others are".to_owned();
            self.bus.publish(Update::Trouble(Arc::new(Trouble { code: "watch", message, hint })));
            told.insert(folder);
        }
    }

    fn report_size(&self, path: &Path) {
        let message = format!("{} is larger than {} MiB", path.display(), LARGEST_FILE >> 20);
        let hint = "it is not fired until it is smaller; all others are".to_owned();
        self.bus.publish(Update::Trouble(Arc::new(Trouble { code: "fixture", message, hint })));
    }

    async fn fire(&self, path: &Path, until_answered: OwnedSemaphorePermit) {
        let name = path.strip_prefix(&self.folder).unwrap_or(path);
        match self.incoming(path) {
            Ok(Some(incoming)) => {
                let file = name.display().to_string().into();
                self.bus.publish(Update::Fired(incoming.id.clone(), file));
                // What the store has to say was published already.
                drop(self.router.send_off(Arc::new(incoming), until_answered).await);
            }
            Ok(None) => {}
            Err(message) => {
                let hint = "nothing was sent; the next save is tried again".to_owned();
                self.bus.publish(Update::Trouble(Arc::new(Trouble { code: "fixture", message, hint })));
            }
        }
    }

    /// Makes the delivery of a file; nothing when the file is gone again.
    fn incoming(&self, path: &Path) -> Result<Option<Incoming>, String> {
        let source = match fs::read(path) {
            Ok(source) => source,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
        };
        let body = self.body(path, source).map_err(|error| error.to_string())?;
        let FileKind { kind, .. } = FileKind::of(&self.names, path, &body);
        let contract = kind.contract.unwrap_or(Contract::Preview);
        let signing = Signing::right(contract, self.keys.key(contract, kind.event_type.as_ref()));
        let stamp = signature::Stamp::new(&self.clock);
        let request: Request = compose::request(&signing, &stamp, body).map_err(|error| error.to_string())?;
        Ok(Some(Incoming {
            id: DeliveryId::new(&self.clock),
            received_at: self.clock.now(),
            origin: Origin::Watch,
            replay_of: None,
            kind,
            signature: Verdict::Valid,
            signature_note: None,
            not_forwarded: None,
            relayed: None,
            request,
        }))
    }

    fn body(&self, path: &Path, source: Vec<u8>) -> Result<Bytes, FixtureError> {
        let run = Run::new(&self.clock, self.environment).with_artifacts(self.artifacts.clone());
        let body = Fixture::new(path.display().to_string(), source).render(&run)?;
        Ok(Bytes::from(body.to_canonical()))
    }
}

/// Watches the folder that is there now: another one of the same name is not the one that was watched.
fn watch_again(watcher: &mut RecommendedWatcher, folder: &Path, watched: &mut Option<u64>) {
    let inode = fs::metadata(folder).ok().filter(fs::Metadata::is_dir).map(|folder| folder.ino());
    if inode == *watched {
        return;
    }
    // Fails when the old one is gone already.
    drop(watcher.unwatch(folder));
    *watched = inode.filter(|_| watcher.watch(folder, RecursiveMode::Recursive).is_ok());
}

/// Which files are new or were written since, in order of their paths.
fn changed(before: &Files, now: &Files) -> Vec<PathBuf> {
    now.iter()
        .filter(|(path, stamp)| before.get(*path) != Some(stamp))
        .map(|(path, _)| path.clone())
        .collect()
}

/// The fixtures below a folder: regular files that end in `.json`, without hidden ones; links are not followed.
///
/// # Errors
///
/// The folder itself cannot be read.
pub fn read_folder(folder: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    let mut folders = Vec::new();
    found.take(fs::read_dir(folder)?, 0, &mut folders);
    while let Some((folder, depth)) = folders.pop() {
        match fs::read_dir(&folder) {
            Ok(entries) => found.take(entries, depth, &mut folders),
            // It has gone since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => found.unreadable.push((folder, error)),
        }
    }
    Ok(found)
}

impl Found {
    /// Takes in what is in one folder; those in it are read next.
    fn take(&mut self, entries: fs::ReadDir, depth: usize, folders: &mut Vec<(PathBuf, usize)>) {
        for entry in entries.flatten() {
            let path = entry.path();
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            let Ok(about) = entry.metadata() else { continue };
            if hidden || self.files.len() + self.too_large.len() >= MOST_FILES {
                continue;
            }
            if about.is_dir() && depth < DEEPEST {
                folders.push((path, depth + 1));
            } else if about.is_symlink() && (is_fixture(&path) || path.is_dir()) {
                self.links.push(path);
            } else if about.is_file() && is_fixture(&path) {
                let files = if about.len() > LARGEST_FILE { &mut self.too_large } else { &mut self.files };
                files.insert(path, (about.mtime(), about.mtime_nsec(), about.len(), about.ino()));
            }
        }
    }
}

fn is_fixture(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_or_written_has_changed_and_what_is_gone_has_not() {
        let files = |list: &[(&str, i64)]| -> Files {
            list.iter().map(|(name, time)| (PathBuf::from(name), (*time, 0, 1, 1))).collect()
        };
        let before = files(&[("a", 1), ("b", 1), ("c", 1)]);
        let now = files(&[("a", 1), ("c", 2), ("d", 1)]);
        assert_eq!(changed(&before, &now), [PathBuf::from("c"), PathBuf::from("d")]);
        assert!(changed(&now, &now).is_empty());
    }

    #[test]
    fn only_fixtures_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("preview")).unwrap();
        fs::create_dir_all(at(".git")).unwrap();
        for name in ["a.json", "preview/b.json", ".c.json", ".git/d.json", "e.json~", "4913"] {
            fs::write(at(name), "{}").unwrap();
        }
        std::os::unix::fs::symlink(at("a.json"), at("link.json")).unwrap();
        let found = read_folder(folder.path()).unwrap();
        assert_eq!(found.files.into_keys().collect::<Vec<_>>(), [at("a.json"), at("preview/b.json")]);
        assert_eq!(found.links, [at("link.json")]);
    }
}
