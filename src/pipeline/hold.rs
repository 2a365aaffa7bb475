//! Deliveries wait, and go on in order: with `--hold` while their target is away, and as long as forwarding is paused.
//!
//! The record is the queue: what waits survives the end of this process. Only what was never recorded, credentials in
//! headers, is kept in memory, so that a held delivery goes on as it came; bodies are not.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use tokio::sync::RwLock;

use super::Pipeline;
use crate::model::{Delivery, Headers, Request, Target, Then, Update};
use crate::store::{Reader, Recorded, Selector, StoreError, Waiting};

/// Of how many requests the headers are kept in memory beside the record.
const MOST_KEPT: usize = 1000;

/// How long to wait when the record cannot be read or a delivery did not go through.
const PAUSE: Duration = Duration::from_millis(500);

/// How long to wait for another process that hands over what waits for the same target.
const ANOTHER: Duration = Duration::from_millis(20);

/// The headers that a delivery goes on with after it waited, and what is said of them, if they are not those that it came with.
pub type Refresh = Box<dyn Fn(&Delivery, &Request) -> Option<(Headers, Arc<str>)> + Send + Sync>;

/// A cloneable handle to what waits.
#[derive(Clone)]
pub struct Hold(Arc<Parts>);

struct Parts {
    folder: PathBuf,
    /// Targets for which deliveries wait. Whoever lets one wait holds the lock for reading until it is recorded, so
    /// that the end of the queue is not missed.
    closed: RwLock<HashSet<String>>,
    kept: Mutex<HashMap<i64, Headers>>,
    refresh: Option<Refresh>,
}

/// The right to hand over what waits for a target, which one process of a project has at a time.
struct Gate(Option<File>);

impl Gate {
    /// The gate of a target, as a file beside the record, which is no link to elsewhere. Without one, on a file system that
    /// takes none, everybody has the right.
    fn of(folder: &Path, target: &Target) -> Self {
        let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        Self(options.open(folder.join(Self::name(target))).ok())
    }

    fn name(target: &Target) -> String {
        format!("held-{}.lock", hex::encode(&Sha256::digest(target.to_string())[..8]))
    }

    async fn enter(&self) {
        let Some(file) = &self.0 else { return };
        while let Err(TryLockError::WouldBlock) = file.try_lock() {
            tokio::time::sleep(ANOTHER).await;
        }
    }

    fn leave(&self) {
        // What cannot be unlocked was never locked.
        self.0.as_ref().map(|file| file.unlock().ok());
    }
}

/// What became of a delivery that had its turn.
#[derive(PartialEq, Eq)]
enum Turn {
    /// It went through, to whatever answer.
    Taken,
    /// Its target is away again.
    Away,
}

impl Hold {
    /// Nothing waits yet; the record is in `folder`.
    pub fn new(folder: PathBuf, refresh: Option<Refresh>) -> Self {
        Self(Arc::new(Parts { folder, closed: RwLock::default(), kept: Mutex::default(), refresh }))
    }

    /// The folder of the record.
    pub fn folder(&self) -> &Path {
        &self.0.folder
    }

    /// Whether deliveries to `target` must wait. As long as what it gives is kept, their queue is not found empty: the one
    /// that must wait is recorded meanwhile.
    pub async fn closed(&self, target: &Target) -> Option<impl Sized> {
        let closed = self.0.closed.read().await;
        // Nearly always nothing waits, and this is asked with every delivery.
        (!closed.is_empty() && closed.contains(&target.to_string())).then_some(closed)
    }

    /// Lets deliveries to `target` wait from now on; whether they did not do so before.
    pub async fn close(&self, target: &Target) -> bool {
        self.0.closed.write().await.insert(target.to_string())
    }

    /// Keeps headers as they came in memory, beside the record.
    pub fn keep(&self, number: i64, headers: &Headers) {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MOST_KEPT {
            kept.insert(number, headers.clone());
        }
    }

    /// The targets for which deliveries wait since an earlier run.
    pub fn awaited(&self) -> Result<Vec<Target>, StoreError> {
        let Some(reader) = Reader::open(&self.0.folder)? else { return Ok(Vec::new()) };
        Ok(reader.awaited()?.iter().filter_map(|target| target.parse().ok()).collect())
    }

    /// Sends on what waits for `target`, in order, each time that it is there, until nothing waits or this program ends: then
    /// the one that is under way has as long as all others.
    pub async fn drain(&self, pipeline: &Pipeline, target: &Target) {
        let (stop, gate) = (&pipeline.0.stop, Gate::of(&self.0.folder, target));
        let its_turn = async || {
            pipeline.0.presence.until_up(target).await;
            gate.enter().await;
        };
        while stop.run_until_cancelled(its_turn()).await.is_some() {
            let has_rest = match self.next(target).await {
                Ok(Some(recorded)) => self.take_turn(pipeline, target, recorded).await == Turn::Away,
                Ok(None) => {
                    let mut closed = self.0.closed.write().await;
                    // One may have come while nobody held the lock.
                    if matches!(self.next(target).await, Ok(None)) {
                        closed.remove(&target.to_string());
                        return;
                    }
                    false
                }
                Err(error) => {
                    pipeline.report(&error);
                    true
                }
            };
            gate.leave();
            if has_rest && stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
                return;
            }
        }
    }

    async fn take_turn(&self, pipeline: &Pipeline, target: &Target, recorded: Recorded) -> Turn {
        let Recorded { delivery, request } = recorded;
        // Whoever has just recorded it is still about to keep its headers.
        drop(self.0.closed.write().await);
        let request = match self.kept(delivery.number) {
            Some(headers) => Request { headers, ..request },
            None => request,
        };
        let refreshed = self.0.refresh.as_ref().and_then(|refresh| refresh(&delivery, &request));
        let (request, note) = match refreshed {
            Some((headers, note)) => (Request { headers, ..request }, Some(note)),
            None => (request, None),
        };
        let Some(handed) = pipeline.hand_on(target, &request).await else { return Turn::Away };
        let number = u32::try_from(delivery.attempts.len()).unwrap_or(u32::MAX).saturating_add(1);
        let (attempt, ..) = handed.into_attempt(number);
        pipeline.0.presence.note(target, &attempt.outcome);
        let away = super::is_away(&attempt.outcome);
        let waiting = if away { Waiting::AsBefore } else { Waiting::NoMore };
        if let Err(error) =
            pipeline.0.store.record_attempt(delivery.number, Arc::clone(&attempt), waiting).await
        {
            // It still waits, and has its turn again: better twice than never.
            pipeline.report(&error);
            return Turn::Away;
        }
        if away {
            return Turn::Away;
        }
        self.forget(delivery.number);
        let mut attempts = delivery.attempts.clone();
        attempts.push(attempt);
        let signature_note = note.or(delivery.signature_note);
        let delivery = Arc::new(Delivery { attempts, held: false, signature_note, ..delivery });
        pipeline.0.bus.publish(Update::Attempted(delivery, Then::Over));
        Turn::Taken
    }

    /// The oldest that waits.
    async fn next(&self, target: &Target) -> Result<Option<Recorded>, StoreError> {
        let (folder, target) = (self.0.folder.clone(), target.to_string());
        let read = move || {
            let Some(reader) = Reader::open(&folder)? else { return Ok(None) };
            match reader.first_held(&target)? {
                Some(number) => reader.find(&Selector::Number(number)),
                None => Ok(None),
            }
        };
        // The thread cannot have panicked: nothing in there does.
        tokio::task::spawn_blocking(read).await.unwrap_or(Ok(None))
    }

    fn kept(&self, number: i64) -> Option<Headers> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }

    /// Keeps them no more.
    pub fn forget(&self, number: i64) {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_the_place_of_a_lock_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (target, elsewhere): (Target, _) = ("3000".parse().unwrap(), folder.path().join("elsewhere"));
        std::os::unix::fs::symlink(&elsewhere, folder.path().join(Gate::name(&target))).unwrap();
        assert!(Gate::of(folder.path(), &target).0.is_none() && !elsewhere.exists());
        assert!(Gate::of(folder.path(), &"3001".parse().unwrap()).0.is_some());
    }
}
