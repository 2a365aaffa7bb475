//! How many connections are served at a time, and who leaves when there is no place for another.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How long a newcomer waits before those who are there are asked to leave once more.
const PATIENCE: Duration = Duration::from_millis(250);

/// How many descriptors the rest of the program needs: the record, its readers, standard streams, the event loop.
const RESERVED: u64 = 32;

/// How many descriptors a connection may need: its own, the one to the handler, and a second handle to that one.
const FOR_EACH: u64 = 3;

/// How many descriptors a process is given if it may have them.
const ENOUGH: u64 = 8192;

/// A cloneable handle to the places for connections.
#[derive(Clone, Debug)]
pub struct Crowd {
    places: Arc<Semaphore>,
    full: Arc<Notify>,
}

/// A place, taken until it is dropped.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

impl Crowd {
    /// So many places.
    pub fn new(most: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(most)), full: Arc::default() }
    }

    /// Takes a place. When there is none, those who do nothing are asked to leave until there is one.
    ///
    /// # Panics
    ///
    /// Never: the places are not closed.
    pub async fn enter(&self) -> Place {
        loop {
            if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
                return Place(permit);
            }
            self.full.notify_waiters();
            if let Ok(Ok(permit)) = timeout(PATIENCE, Arc::clone(&self.places).acquire_owned()).await {
                return Place(permit);
            }
        }
    }

    /// Asks those who do nothing to leave.
    pub fn press(&self) {
        self.full.notify_waiters();
    }

    /// Resolves when a newcomer finds no place.
    pub async fn is_full(&self) {
        self.full.notified().await;
    }
}

/// How many connections this process has descriptors for, `most` at the most. The limit of descriptors is raised
/// first, as far as the system lets us.
pub fn affordable(most: usize) -> usize {
    match usize::try_from(descriptors().saturating_sub(RESERVED) / FOR_EACH) {
        Ok(number) => number.clamp(4, most),
        Err(_) => most,
    }
}

#[cfg(unix)]
fn descriptors() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limits = getrlimit(Resource::Nofile);
    let wanted = limits.maximum.map_or(ENOUGH, |maximum| maximum.min(ENOUGH));
    if limits.current.is_some_and(|current| current < wanted) {
        let before = limits.current.replace(wanted);
        // Some systems have a limit of their own beside this one; then it stays as it was.
        if setrlimit(Resource::Nofile, limits).is_err() {
            limits.current = before;
        }
    }
    limits.current.unwrap_or(u64::MAX)
}

#[cfg(not(unix))]
fn descriptors() -> u64 {
    u64::MAX
}
