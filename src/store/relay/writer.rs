//! The thread that owns the relay's writing connection: it commits what has gathered, then answers.
//!
//! What was delivered is deleted along with what comes next, or a moment later: nobody waits for that.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::channels::Channels;
use super::claims::{self, Granted};
use super::{Claim, Claimant, Message, NoClaim, NotGivenUp, StoreError, Stored, messages, schema};
use crate::model::{ChannelId, Clock};
use crate::store::bodies::{Appender, Folder, Place};
use crate::store::room::{Gauge, with_reserve};

/// How many commands go into one transaction at most.
const BATCH: usize = 256;

/// How many bytes of messages go into one transaction at most, not counting the last one.
const BATCH_BYTES: usize = 16 * 1024 * 1024;

/// About how many bytes a message takes beside its sealed request.
const MESSAGE_BYTES: u64 = 256;

/// How long delivered messages may stay on disk when nothing else is written.
const LINGER: Duration = Duration::from_millis(50);

/// From how many pages of log on it is copied back.
const LONG_LOG_PAGES: i64 = 2048;

/// What the handles send to the thread.
pub(super) enum Command {
    /// Keep a message.
    Put(Put),
    /// Make somebody the owner of a channel.
    Claim(Claimant, oneshot::Sender<Result<Claim, NoClaim>>),
    /// What is done by itself, after all that came before.
    Alone(Alone),
}

/// What is not committed together with others.
pub(super) enum Alone {
    /// Give the channel of a token up, and discard what waits in it or not.
    GiveUp(Claimant, bool, oneshot::Sender<Result<u64, NotGivenUp>>),
    /// Forget the channels that were given up before then.
    ForgetGivenUp(Timestamp, oneshot::Sender<Result<u64, StoreError>>),
    /// Delete what arrived before then.
    Expire(Timestamp, oneshot::Sender<Result<u64, StoreError>>),
    /// Write what is left, and end.
    Close,
}

/// A message to keep.
pub(super) struct Put {
    pub channel: ChannelId,
    pub number: i64,
    pub message: Arc<Message>,
    pub sealed: Vec<u8>,
    pub reply: oneshot::Sender<Result<i64, StoreError>>,
}

/// What is committed together.
#[derive(Default)]
struct Batch {
    puts: Vec<Put>,
    claims: Vec<(Claimant, oneshot::Sender<Result<Claim, NoClaim>>)>,
}

/// The thread's belongings.
pub(super) struct Writer {
    pub file: PathBuf,
    pub connection: Option<Connection>,
    /// Where large messages go, and what goes there.
    pub folder: Folder,
    pub bodies: Appender,
    pub queue: mpsc::Receiver<Command>,
    pub channels: Arc<Mutex<Channels>>,
    pub clock: Clock,
    pub room: Gauge,
    /// Whether the last transaction succeeded.
    pub writes: Arc<AtomicBool>,
}

impl Writer {
    pub(super) fn run(mut self, timer: &Runtime) {
        loop {
            let first = timer.block_on(async { timeout(LINGER, self.queue.recv()).await });
            match first {
                Ok(None) => break,
                Ok(Some(first)) => self.work(first),
                Err(_elapsed) => self.delete_done(),
            }
            self.copy_back_a_long_log();
        }
        self.delete_done();
        if let Some(connection) = &self.connection {
            // What cannot be copied back now is in the log, which is on disk.
            drop(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
        }
    }

    /// Takes what has gathered; what somebody waits for in a crowd is committed together.
    fn work(&mut self, first: Command) {
        let (mut batch, mut bytes, mut next) = (Batch::default(), 0, Some(first));
        while let Some(command) = next.take() {
            match command {
                Command::Put(put) => {
                    bytes += put.sealed.len();
                    batch.puts.push(put);
                }
                Command::Claim(claimant, reply) => batch.claims.push((claimant, reply)),
                Command::Alone(command) => {
                    self.commit(std::mem::take(&mut batch));
                    self.alone(command);
                }
            }
            if batch.puts.len() + batch.claims.len() < BATCH && bytes < BATCH_BYTES {
                next = self.queue.try_recv().ok();
            }
        }
        self.commit(batch);
    }

    fn alone(&mut self, command: Alone) {
        // Nobody may be waiting any more, which is all the same here.
        match command {
            Alone::Expire(before, reply) => drop(reply.send(self.expire(before))),
            Alone::GiveUp(claimant, discard, reply) => drop(reply.send(self.give_up(&claimant, discard))),
            Alone::ForgetGivenUp(before, reply) => drop(reply.send(self.forget_given_up(before))),
            Alone::Close => self.queue.close(),
        }
    }

    fn commit(&mut self, batch: Batch) {
        let Batch { mut puts, claims } = batch;
        if puts.is_empty() && claims.is_empty() {
            return;
        }
        let (channels, clock) = (Arc::clone(&self.channels), self.clock.clone());
        {
            let channels = self.channels();
            // One may have been given up since they were asked for; whoever sent them asks again and hears of it.
            puts.retain(|put| channels.get(put.channel).is_some_and(|channel| !channel.is_given_up));
        }
        let (puts, are_placed) = self.place(puts);
        let done = self.channels().take_done();
        let work = |connection: &Connection| {
            let seqs = messages::insert(connection, &puts)?;
            let freed = messages::delete(connection, done.iter().map(|(_, seq)| *seq))?;
            let mut granted = Granted::default();
            let channels = channels.lock().unwrap_or_else(PoisonError::into_inner);
            let decide =
                |(claimant, _): &(Claimant, _)| granted.decide(connection, &channels, claimant, &clock);
            let grants: Vec<_> = claims.iter().map(decide).collect::<rusqlite::Result<_>>()?;
            Ok((seqs, freed, grants))
        };
        let file = self.file.clone();
        let outcome = if puts.is_empty() {
            // Whoever takes what waits makes room.
            with_reserve(&file, || self.transact(work))
        } else {
            self.transact(work)
        };
        if !are_placed {
            self.writes.store(false, Ordering::Relaxed);
        }
        let mut channels = channels.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody may be waiting any more, which is all the same here.
        match outcome {
            Ok((seqs, mut freed, grants)) => {
                channels.deleted(&done);
                for ((Put { channel, message, reply, .. }, _), seq) in puts.into_iter().zip(seqs) {
                    channels.kept(channel, Stored { seq, message });
                    reply.send(Ok(seq)).ok();
                }
                for ((claimant, reply), grant) in claims.into_iter().zip(grants) {
                    let claim = grant.map(|grant| grant.take_effect(&mut channels, &claimant));
                    drop(reply.send(claim));
                }
                drop(channels);
                // Only now: a crash must not leave rows without bodies.
                self.folder.give_back(&mut freed);
            }
            Err(error) => {
                channels.put_back(done);
                drop(channels);
                self.room.look_again();
                if self.connection.is_some() {
                    // Surely nothing of it was written.
                    self.bodies.take_back();
                }
                for (put, _) in puts {
                    put.reply.send(Err(error.clone())).ok();
                }
                for (_, reply) in claims {
                    drop(reply.send(Err(error.clone().into())));
                }
            }
        }
    }

    /// Puts large messages where they stay, and tells those for which that failed or for which there is no room; whether there
    /// were none.
    fn place(&mut self, puts: Vec<Put>) -> (Vec<(Put, Option<Place>)>, bool) {
        let bytes = puts.iter().map(|put| put.sealed.len() as u64 + MESSAGE_BYTES).sum();
        if let Err(error) = if puts.is_empty() { Ok(()) } else { self.room.admit(bytes) } {
            for put in puts {
                put.reply.send(Err(error.clone())).ok();
            }
            return (Vec::new(), false);
        }
        let places = self.bodies.place(puts.iter().map(|put| &put.sealed[..]));
        let (mut placed, all) = (Vec::with_capacity(puts.len()), puts.len());
        for (put, place) in puts.into_iter().zip(places) {
            match place {
                Ok(place) => placed.push((put, place)),
                Err(error) => drop(put.reply.send(Err(error))),
            }
        }
        let are_all = placed.len() == all;
        (placed, are_all)
    }

    fn delete_done(&mut self) {
        let done = self.channels().take_done();
        if done.is_empty() {
            return;
        }
        let file = self.file.clone();
        let seqs = || done.iter().map(|(_, seq)| *seq);
        match with_reserve(&file, || self.transact(|connection| messages::delete(connection, seqs()))) {
            Ok(mut freed) => {
                self.channels().deleted(&done);
                self.folder.give_back(&mut freed);
                // It may have been given up for that.
                self.room.take_ballast();
            }
            // The next time will do: until then they are known as delivered.
            Err(_) => self.channels().put_back(done),
        }
    }

    fn give_up(&mut self, claimant: &Claimant, discard: bool) -> Result<u64, NotGivenUp> {
        let (channels, clock) = (Arc::clone(&self.channels), self.clock.clone());
        let file = self.file.clone();
        let give_up = || {
            self.transact(|connection| {
                let channels = channels.lock().unwrap_or_else(PoisonError::into_inner);
                claims::give_up(connection, &channels, claimant, discard, &clock)
            })
        };
        let claims::Given { id, epoch, discarded, mut freed } = with_reserve(&file, give_up)??;
        self.channels().given_up(id, epoch);
        self.folder.give_back(&mut freed);
        Ok(discarded)
    }

    fn forget_given_up(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        let gone = self.transact(|connection| claims::forget_given_up(connection, before))?;
        let mut channels = self.channels();
        for id in &gone {
            channels.forget(*id);
        }
        Ok(gone.len() as u64)
    }

    fn expire(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        let file = self.file.clone();
        let expire = || self.transact(|connection| messages::expire(connection, before));
        let (gone, mut freed) = with_reserve(&file, expire)?;
        {
            let mut channels = self.channels();
            for (id, seq, bytes) in &gone {
                channels.expired(*id, *seq, *bytes);
            }
        }
        self.folder.give_back(&mut freed);
        if let (true, Some(connection)) = (gone.is_empty(), &self.connection) {
            // What cannot be tidied up now can be later.
            self.folder.sweep(|segment| messages::places_in(connection, segment)).ok();
        }
        Ok(gone.len() as u64)
    }

    /// Runs one transaction. A connection that failed is dropped, so that the next try starts afresh.
    fn transact<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => schema::open_for_writing(&self.file)?,
        };
        let outcome = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .and_then(|transaction| work(&transaction).and_then(|done| transaction.commit().map(|()| done)));
        self.writes.store(outcome.is_ok(), Ordering::Relaxed);
        match outcome {
            Ok(done) => {
                self.connection = Some(connection);
                Ok(done)
            }
            Err(error) => {
                let error = StoreError::from_sqlite(&self.file, &error);
                let passes = matches!(error, StoreError::Busy { .. } | StoreError::Full { .. });
                if passes && connection.is_autocommit() {
                    self.connection = Some(connection);
                }
                Err(error)
            }
        }
    }

    fn copy_back_a_long_log(&self) {
        let Some(connection) = &self.connection else { return };
        let counts = |row: &rusqlite::Row<'_>| Ok((row.get(1)?, row.get(2)?));
        // The first mode does nothing but count. Failing is no loss: what is in the log is on disk.
        let counted: Option<(i64, i64)> =
            connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], counts).ok();
        if counted.is_some_and(|(pages, copied)| pages - copied >= LONG_LOG_PAGES) {
            drop(connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())));
        }
    }

    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
