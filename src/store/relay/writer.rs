//! The thread that owns the relay's writing connection: it commits what has gathered, then answers.
//!
//! What was delivered is deleted along with what comes next, or a moment later: nobody waits for that.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior, params};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::channels::Channels;
use super::claims::{self, Granted};
use super::{Claim, Claimant, Message, NoClaim, NotGivenUp, StoreError, Stored, schema};
use crate::model::{ChannelId, Clock};

/// How many commands go into one transaction at most.
const BATCH: usize = 256;

/// How many bytes of messages go into one transaction at most, not counting the last one.
const BATCH_BYTES: usize = 16 * 1024 * 1024;

/// How long delivered messages may stay on disk when nothing else is written.
const LINGER: Duration = Duration::from_millis(50);

/// How many messages are expired at a time.
const EXPIRED_AT_ONCE: i64 = 512;

/// From how many pages of log on it is copied back.
const LONG_LOG_PAGES: i64 = 2048;

/// What the handles send to the thread.
pub(super) enum Command {
    /// Keep a message.
    Put(Put),
    /// Make somebody the owner of a channel.
    Claim(Claimant, oneshot::Sender<Result<Claim, NoClaim>>),
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
    pub queue: mpsc::Receiver<Command>,
    pub channels: Arc<Mutex<Channels>>,
    pub clock: Clock,
    /// Whether the last transaction succeeded.
    pub writes: Arc<std::sync::atomic::AtomicBool>,
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
                other => {
                    // In order: what came before is done before.
                    self.commit(std::mem::take(&mut batch));
                    self.alone(other);
                }
            }
            if batch.puts.len() + batch.claims.len() < BATCH && bytes < BATCH_BYTES {
                next = self.queue.try_recv().ok();
            }
        }
        self.commit(batch);
    }

    fn alone(&mut self, command: Command) {
        // Nobody may be waiting any more, which is all the same here.
        match command {
            Command::Put(put) => self.commit(Batch { puts: vec![put], claims: Vec::new() }),
            Command::Claim(claimant, reply) => {
                self.commit(Batch { puts: Vec::new(), claims: vec![(claimant, reply)] });
            }
            Command::Expire(before, reply) => drop(reply.send(self.expire(before))),
            Command::GiveUp(claimant, discard, reply) => drop(reply.send(self.give_up(&claimant, discard))),
            Command::ForgetGivenUp(before, reply) => drop(reply.send(self.forget_given_up(before))),
            Command::Close => self.queue.close(),
        }
    }

    fn commit(&mut self, batch: Batch) {
        let Batch { mut puts, claims } = batch;
        if puts.is_empty() && claims.is_empty() {
            return;
        }
        let (channels, clock) = (Arc::clone(&self.channels), self.clock.clone());
        let done = {
            let mut channels = self.channels();
            // One may have been given up since they were asked for; whoever sent them asks again and hears of it.
            puts.retain(|put| channels.get(put.channel).is_some_and(|channel| !channel.is_given_up));
            channels.take_done()
        };
        let outcome = self.transact(|connection| {
            let seqs = insert(connection, &puts)?;
            delete(connection, &done)?;
            let mut granted = Granted::default();
            let channels = channels.lock().unwrap_or_else(PoisonError::into_inner);
            let decide =
                |(claimant, _): &(Claimant, _)| granted.decide(connection, &channels, claimant, &clock);
            let grants: Vec<_> = claims.iter().map(decide).collect::<rusqlite::Result<_>>()?;
            Ok((seqs, grants))
        });
        let mut channels = channels.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody may be waiting any more, which is all the same here.
        match outcome {
            Ok((seqs, grants)) => {
                channels.deleted(&done);
                for (Put { channel, message, reply, .. }, seq) in puts.into_iter().zip(seqs) {
                    channels.kept(channel, Stored { seq, message });
                    reply.send(Ok(seq)).ok();
                }
                for ((claimant, reply), grant) in claims.into_iter().zip(grants) {
                    let claim = grant.map(|grant| grant.take_effect(&mut channels, &claimant));
                    drop(reply.send(claim));
                }
            }
            Err(error) => {
                channels.put_back(done);
                for put in puts {
                    put.reply.send(Err(error.clone())).ok();
                }
                for (_, reply) in claims {
                    drop(reply.send(Err(error.clone().into())));
                }
            }
        }
    }

    fn delete_done(&mut self) {
        let done = self.channels().take_done();
        if done.is_empty() {
            return;
        }
        match self.transact(|connection| delete(connection, &done)) {
            Ok(()) => self.channels().deleted(&done),
            // The next time will do: until then they are known as delivered.
            Err(_) => self.channels().put_back(done),
        }
    }

    fn give_up(&mut self, claimant: &Claimant, discard: bool) -> Result<u64, NotGivenUp> {
        let (channels, clock) = (Arc::clone(&self.channels), self.clock.clone());
        let (id, epoch, gone) = self.transact(|connection| {
            let channels = channels.lock().unwrap_or_else(PoisonError::into_inner);
            claims::give_up(connection, &channels, claimant, discard, &clock)
        })??;
        self.channels().given_up(id, epoch);
        Ok(gone)
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
        let before = before.as_microsecond();
        let gone: Vec<(ChannelId, i64, u64)> = self.transact(|connection| {
            let mut oldest = connection.prepare_cached(
                "SELECT m.seq, c.id, m.bytes, m.arrived_at FROM messages AS m
                 JOIN channels AS c ON c.number = m.channel ORDER BY m.seq LIMIT ?1",
            )?;
            let mut rows = oldest.query([EXPIRED_AT_ONCE])?;
            let mut gone = Vec::new();
            while let Some(row) = rows.next()? {
                if row.get::<_, i64>(3)? >= before {
                    break;
                }
                gone.push((ChannelId::from_bytes(row.get(1)?), row.get(0)?, unsigned(row.get(2)?)));
            }
            drop(rows);
            let mut delete = connection.prepare_cached("DELETE FROM messages WHERE seq = ?1")?;
            gone.iter().try_for_each(|(_, seq, _)| delete.execute([seq]).map(drop))?;
            Ok(gone)
        })?;
        let mut channels = self.channels();
        for (id, seq, bytes) in &gone {
            channels.expired(*id, *seq, *bytes);
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
        self.writes.store(outcome.is_ok(), std::sync::atomic::Ordering::Relaxed);
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

fn insert(connection: &Connection, puts: &[Put]) -> rusqlite::Result<Vec<i64>> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO messages (channel, id, arrived_at, bytes, sealed) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let mut seqs = Vec::with_capacity(puts.len());
    for Put { number, message, sealed, .. } in puts {
        let (bytes, arrived_at) = (signed(message.bytes()), message.arrived_at.as_microsecond());
        insert.execute(params![number, message.id.bytes(), arrived_at, bytes, sealed])?;
        seqs.push(connection.last_insert_rowid());
    }
    Ok(seqs)
}

fn delete(connection: &Connection, done: &[(ChannelId, i64)]) -> rusqlite::Result<()> {
    let mut delete = connection.prepare_cached("DELETE FROM messages WHERE seq = ?1")?;
    done.iter().try_for_each(|(_, seq)| delete.execute([seq]).map(drop))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
