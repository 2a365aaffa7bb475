//! The record of everything that came in, in one SQLite file; the only module with SQL.
//!
//! A [`Store`] writes: one thread owns the only writing connection and commits what has gathered in one transaction
//! (*group commit*), so that waiting for the disk costs a busy sender next to nothing. A [`Reader`] reads, beside any
//! number of writers and in other processes too.
//!
//! Credentials in headers are masked on their way in; nothing else is changed. Times are kept to the microsecond.

mod bodies;
mod error;
mod file;
mod gone;
mod health;
mod import;
mod insert;
mod job;
mod later;
mod needle;
mod outbox;
mod outcomes;
mod page;
mod prune;
mod query;
mod reader;
pub mod relay;
mod remove;
mod repair;
mod room;
mod row;
mod schema;
mod search;
mod select;
mod stretches;
mod texts;
mod writer;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

pub use error::StoreError;
pub use gone::Stretch;
pub use health::{Health, examine};
pub use import::{Imported, Importer};
pub use job::Waiting;
pub use outcomes::{CameOf, LastAttempt};
pub use prune::{Limits, Pruned, Pruner};
pub use query::{Came, Query, Recorded, Selector};
pub use reader::Reader;
pub use remove::remove;
pub use repair::{Repaired, repair};
pub use room::Room;

use crate::model::{Attempt, Clock, Delivery, Incoming, Target};
use job::Job;
use later::{Later, PutOff};
use outbox::{Outbox, Outcome};
use writer::{Command, Writer};

/// How many jobs may wait for the thread; whoever brings one more waits for room.
const QUEUE: usize = 1024;

/// A handle to the record; clones share one thread and one connection.
#[derive(Clone, Debug)]
pub struct Store {
    file: Arc<Path>,
    queue: mpsc::Sender<Command>,
    later: Later,
    outbox: Outbox,
    /// Closes when the thread has ended.
    ended: watch::Receiver<()>,
}

impl Store {
    /// Opens the record in `folder`, which exists, making it when there is none and bringing an old one up to date.
    ///
    /// The file is `deliveries.db`, readable by its owner only. Blocks, for up to 5 seconds when another program
    /// holds the file.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::start(folder, Room::ALL, None)
    }

    /// Like [`open`](Self::open), for whoever writes for long. While there is no `room`, deliveries are refused; attempts
    /// are still written. A record that is damaged is repaired, now (what came of that is given) or when it is noticed:
    /// then all that was to be written at that moment gets [`StoreError::Repaired`].
    pub fn open_to_stay(
        folder: &Path,
        room: Room,
        clock: &Clock,
    ) -> Result<(Self, Option<Repaired>), StoreError> {
        let file = file::locate(folder, file::NAME)?;
        let start = || Self::start(folder, room, Some(clock.clone()));
        let damage = if file::is_empty(&file) {
            file::EMPTY.to_owned()
        } else {
            match start() {
                Err(StoreError::Damaged { detail, .. }) => detail,
                started => return Ok((started?, None)),
            }
        };
        let repaired = repair::salvage(&file, damage, clock)?;
        Ok((start()?, Some(repaired)))
    }

    fn start(folder: &Path, room: Room, repairs: Option<Clock>) -> Result<Self, StoreError> {
        let file = file::locate(folder, file::NAME)?;
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (alive, ended) = watch::channel(());
        let (later, outbox) = (Later::default(), Outbox::default());
        Writer::open(&file, room, repairs, waiting, later.clone(), outbox.clone())?.start(alive)?;
        Ok(Self { file: file.into(), queue, later, outbox, ended })
    }

    /// Tells somebody of every delivery that is recorded, in their order, before whoever recorded it goes on; of those that
    /// call this, only the first.
    pub fn tell(&self, tell: impl Fn(&Arc<Delivery>) + Send + Sync + 'static) {
        self.outbox.tell(tell);
    }

    /// Records a request and gives the delivery, once it is on disk.
    ///
    /// An error means that the caller must not acknowledge the request. Whoever stops waiting may find it recorded.
    pub async fn record(&self, incoming: Arc<Incoming>) -> Result<Arc<Delivery>, StoreError> {
        self.write_delivery(incoming, Waiting::AsBefore).await
    }

    /// Like [`record`](Self::record), for a delivery that waits for `target` to come back.
    pub async fn record_held(
        &self,
        incoming: Arc<Incoming>,
        target: Target,
    ) -> Result<Arc<Delivery>, StoreError> {
        self.write_delivery(incoming, Waiting::For(target)).await
    }

    /// Records an attempt at the delivery of that number, and whether that one waits now; returns once it is on disk.
    ///
    /// An attempt of the same number, recorded before, is an error and stays as it is.
    pub async fn record_attempt(
        &self,
        delivery: i64,
        attempt: Arc<Attempt>,
        waiting: Waiting,
    ) -> Result<(), StoreError> {
        self.write(Job::Attempt(delivery, attempt, waiting)).await.map(drop)
    }

    /// Like [`record_attempt`](Self::record_attempt), for an attempt that nobody is waiting to see: it is written with
    /// the next delivery, or in a moment.
    pub async fn record_attempt_later(&self, delivery: i64, attempt: Arc<Attempt>) -> Result<(), StoreError> {
        let (reply, mut wait) = self.outbox.wait();
        let job = Job::Attempt(delivery, attempt, Waiting::AsBefore);
        let command = match self.later.put_off(job, reply) {
            PutOff::Expected => None,
            PutOff::Unexpected => Some(Command::Flush),
            PutOff::Refused(job, reply) => Some(Command::Write(job, reply)),
        };
        if let Some(command) = command {
            self.queue.send(command).await.map_err(|_unsent| self.closed())?;
        }
        self.outcome(wait.outcome().await).map(drop)
    }

    /// Writes what is waiting, ends the thread and waits for that; other clones get [`StoreError::Closed`] from then
    /// on. Dropping the last clone does the same without waiting.
    pub async fn close(mut self) {
        // An error means that the thread has ended already.
        self.queue.send(Command::Close).await.ok();
        while self.ended.changed().await.is_ok() {}
    }

    /// The error of whoever comes after the end.
    pub fn closed(&self) -> StoreError {
        StoreError::Closed { file: self.file.to_path_buf() }
    }

    async fn write_delivery(
        &self,
        incoming: Arc<Incoming>,
        waiting: Waiting,
    ) -> Result<Arc<Delivery>, StoreError> {
        let written = self.write(Job::Delivery(incoming, waiting)).await?;
        written.ok_or_else(|| self.closed())
    }

    async fn write(&self, job: Job) -> Outcome {
        let (reply, mut wait) = self.outbox.wait();
        let relayed = job.relayed().cloned();
        self.queue.send(Command::Write(job, reply)).await.map_err(|_unsent| self.closed())?;
        if let Some(relayed) = relayed {
            // Whatever comes now is written behind it, or not at all.
            relayed.line.advance(relayed.seq);
        }
        self.outcome(wait.outcome().await)
    }

    fn outcome(&self, outcome: Option<Outcome>) -> Outcome {
        outcome.unwrap_or_else(|| Err(self.closed()))
    }
}

#[cfg(test)]
mod tests;
