//! A relay's store in one SQLite file, for a relay that is one process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::channels::{Channel, Channels, Next};
use super::messages::{self, Found as Read, Stretch};
use super::writer::{Alone, Command, Put, Writer};
use super::{
    Answer, Call, Claim, Claimant, Found, Health, Key, Message, MessageId, NoClaim, NotGivenUp, Pending,
    RelayStore, Stored, TokenHash, Waiting, schema,
};
use crate::model::{ChannelId, Clock};
use crate::store::bodies::{Appender, Folder};
use crate::store::room::{Gauge, bytes_on_disk};
use crate::store::{Room, StoreError, file};

/// The name of the file within its folder.
const NAME: &str = "relay.db";

/// How many commands may wait for the thread; whoever brings one more waits for room.
const QUEUE: usize = 1024;

/// A relay's store; the thread that writes ends when it is closed or dropped.
pub struct SqliteRelay {
    file: PathBuf,
    folder: Folder,
    key: Arc<Key>,
    queue: mpsc::Sender<Command>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
    channels: Arc<Mutex<Channels>>,
    calls: Arc<Mutex<Calls>>,
    readers: Arc<Mutex<Vec<Connection>>>,
    writes: Arc<AtomicBool>,
}

type Calls = HashMap<MessageId, oneshot::Sender<Answer>>;

impl SqliteRelay {
    /// Opens the store in `folder`, which exists, making it when there is none. While there is no `room`, messages are
    /// refused. Blocks.
    pub fn open(folder: &Path, key: Key, room: Room, clock: Clock) -> Result<Self, StoreError> {
        let file = file::locate(folder, NAME)?;
        let folder = Folder::of_relay(&file);
        folder.check()?;
        let connection = schema::open_for_writing(&file)?;
        let channels = load(&connection).map_err(|error| StoreError::from_sqlite(&file, &error))?;
        let channels = Arc::new(Mutex::new(channels));
        let (queue, waiting) = mpsc::channel(QUEUE);
        let writes = Arc::new(AtomicBool::new(true));
        let room = Gauge::new(room, &file, folder.clone());
        room.take_ballast();
        let writer = Writer {
            file: file.clone(),
            connection: Some(connection),
            bodies: Appender::new(folder.clone()),
            folder: folder.clone(),
            room,
            queue: waiting,
            channels: Arc::clone(&channels),
            clock,
            writes: Arc::clone(&writes),
        };
        let (alive, ended) = oneshot::channel();
        // Only to wait for the queue with a limit of time; it runs on the thread itself.
        let timer = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let run = |timer| {
            writer.run(&timer);
            drop(alive);
        };
        timer
            .and_then(|timer| std::thread::Builder::new().name("relay".to_owned()).spawn(move || run(timer)))
            .map_err(|error| StoreError::Other { file: file.clone(), detail: error.to_string() })?;
        Ok(Self {
            file,
            folder,
            key: Arc::new(key),
            queue,
            ended: Mutex::new(Some(ended)),
            channels,
            calls: Arc::default(),
            readers: Arc::default(),
            writes,
        })
    }

    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closed(&self) -> StoreError {
        StoreError::Closed { file: self.file.clone() }
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Command,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(command(reply)).await.map_err(|_unsent| self.closed())?;
        answer.await.map_err(|_dropped| self.closed())?
    }

    /// Reads messages that wait, and how far that was. One that cannot be read is an error once, and then passed over.
    async fn read(&self, stretch: Stretch) -> Result<(), StoreError> {
        let _reading = Reading::begin(&self.channels, stretch.channel);
        let (file, key, readers) = (self.file.clone(), Arc::clone(&self.key), Arc::clone(&self.readers));
        let folder = self.folder.clone();
        let read = move || {
            let pooled = readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match pooled {
                Some(connection) => connection,
                None => file::open_for_reading(&file)?,
            };
            let found = messages::read(&connection, &file, &folder, &key, stretch)?;
            readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            Ok::<_, StoreError>(found)
        };
        let read = tokio::task::spawn_blocking(read).await;
        let Read { messages, to, lost } = read.map_err(|_ended| self.closed())??;
        let (mut channels, id) = (self.channels(), stretch.channel);
        channels.was_read(id, stretch.after, to, messages);
        let is_news = |(seq, bytes, _): &(i64, u64, _)| channels.lost(id, *seq, *bytes);
        let news: Vec<_> = lost.into_iter().filter(is_news).collect();
        drop(channels);
        news.into_iter().next().map_or(Ok(()), |(_, _, error)| Err(error))
    }
}

impl RelayStore for SqliteRelay {
    fn claim(&self, claimant: Claimant) -> Pending<'_, Result<Claim, NoClaim>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let sent = self.queue.send(Command::Claim(claimant, reply)).await;
            sent.map_err(|_unsent| self.closed())?;
            answer.await.map_err(|_dropped| self.closed())?
        })
    }

    fn give_up(&self, claimant: Claimant, discard: bool) -> Pending<'_, Result<u64, NotGivenUp>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let sent = self.queue.send(Command::Alone(Alone::GiveUp(claimant, discard, reply))).await;
            sent.map_err(|_unsent| self.closed())?;
            answer.await.map_err(|_dropped| self.closed())?
        })
    }

    fn forget_given_up(&self, before: Timestamp) -> Pending<'_, Result<u64, StoreError>> {
        Box::pin(self.ask(move |reply| Command::Alone(Alone::ForgetGivenUp(before, reply))))
    }

    fn leave(&self, channel: ChannelId, epoch: i64) {
        self.channels().left(channel, epoch);
    }

    fn find(&self, channel: ChannelId) -> Pending<'_, Found> {
        let found = self.channels().find(channel);
        Box::pin(std::future::ready(found))
    }

    fn put(&self, channel: ChannelId, message: Arc<Message>) -> Pending<'_, Result<i64, StoreError>> {
        Box::pin(async move {
            let number = self.channels().get(channel).map(|channel| channel.number);
            let number = number.ok_or_else(|| self.closed())?;
            let sealed = self.key.seal(&channel, &message.id, &message.request);
            self.ask(|reply| Command::Put(Put { channel, number, message, sealed, reply })).await
        })
    }

    fn next(&self, channel: ChannelId, epoch: i64, after: i64) -> Pending<'_, Result<Stored, StoreError>> {
        Box::pin(async move {
            loop {
                let next = self.channels().next(channel, epoch, after);
                match next {
                    Next::Here(stored) => return Ok(stored),
                    Next::OnDisk { number, after, up_to } => {
                        self.read(Stretch { channel, number, after, up_to }).await?;
                    }
                    Next::ToCome(news) => news.notified().await,
                    Next::Nowhere => std::future::pending().await,
                }
            }
        })
    }

    fn ack(&self, channel: ChannelId, epoch: i64, stored: &Stored) -> bool {
        self.channels().acked(channel, epoch, stored)
    }

    fn call(&self, id: MessageId) -> Call {
        let (sender, answer) = oneshot::channel();
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).insert(id, sender);
        Call { answer, hang_up: Box::new(HangUp { id, calls: Arc::clone(&self.calls) }) }
    }

    fn answer(&self, id: MessageId, answer: Answer) {
        let waiting = self.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        // Whoever waited may have left at this moment.
        waiting.map(|waiting| waiting.send(answer).ok());
    }

    fn expire(&self, before: Timestamp) -> Pending<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let mut all = 0;
            loop {
                let gone = self.ask(|reply| Command::Alone(Alone::Expire(before, reply))).await?;
                all += gone;
                if gone == 0 {
                    return Ok(all);
                }
            }
        })
    }

    fn waiting(&self, tenant: &str) -> (Waiting, Waiting) {
        let channels = self.channels();
        (channels.in_all(), channels.waiting_of(tenant))
    }

    fn health(&self) -> Health {
        let (waiting, channels, owned) = self.channels().sums();
        let bytes_on_disk = bytes_on_disk(&self.file, &self.folder);
        Health { writes: self.writes.load(Ordering::Relaxed), waiting, channels, owned, bytes_on_disk }
    }

    fn close(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            // An error means that the thread has ended already.
            self.queue.send(Command::Alone(Alone::Close)).await.ok();
            let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(ended) = ended {
                // It never sends anything: it is dropped at the end.
                drop(ended.await);
            }
        })
    }
}

/// Whoever reads messages of a channel from disk, until it is dropped: what is delivered and deleted meanwhile is not taken for
/// something that waits.
struct Reading<'a> {
    channels: &'a Mutex<Channels>,
    channel: ChannelId,
}

impl<'a> Reading<'a> {
    fn begin(channels: &'a Mutex<Channels>, channel: ChannelId) -> Self {
        channels.lock().unwrap_or_else(PoisonError::into_inner).begins_to_read(channel);
        Self { channels, channel }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).ends_reading(self.channel);
    }
}

/// Takes a caller off the list when it is dropped.
struct HangUp {
    id: MessageId,
    calls: Arc<Mutex<Calls>>,
}

impl Drop for HangUp {
    fn drop(&mut self) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// The channels, and how much waits in each.
fn load(connection: &Connection) -> rusqlite::Result<Channels> {
    let mut channels = Channels::default();
    let mut statement = connection.prepare(
        "SELECT c.number, c.id, c.token, c.tenant, c.epoch,
             coalesce(m.last, 0), coalesce(m.messages, 0), coalesce(m.bytes, 0), c.given_up_at IS NOT NULL
         FROM channels AS c LEFT JOIN
             (SELECT channel, max(seq) AS last, count(*) AS messages, sum(bytes) AS bytes
              FROM messages GROUP BY channel) AS m ON m.channel = c.number",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let tenant: String = row.get(3)?;
        let count = |column| row.get(column).map(|count: i64| u64::try_from(count).unwrap_or_default());
        let (messages, bytes) = (count(6)?, count(7)?);
        let mut channel = Channel::new(row.get(0)?, TokenHash(row.get(2)?), tenant.into(), row.get(4)?);
        channel.last = row.get(5)?;
        channel.waiting = Waiting { messages, bytes };
        channel.is_given_up = row.get(8)?;
        channels.insert(ChannelId::from_bytes(row.get(1)?), channel);
    }
    Ok(channels)
}
