//! The thread that owns the writing connection: it commits what has gathered, then answers, then tidies up.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::StoreError;
use super::bodies::{Appender, Folder, Place};
use super::file::{self, Identity};
use super::insert::Inserts;
use super::job::Job;
use super::later::Later;
use super::outbox::{Outbox, Reply};
use super::room::{Gauge, Room};
use super::{gone, repair, stretches, texts};
use crate::model::Clock;

/// How many jobs go into one transaction at most.
const BATCH_JOBS: usize = 256;

/// How many bytes of bodies go into one transaction at most, not counting its last job.
const BATCH_BYTES: usize = 16 * 1024 * 1024;

/// About how many bytes a job takes beside its body.
const JOB_BYTES: u64 = 1024;

/// How long what was put off waits for something to be written with.
const MOMENT: Duration = Duration::from_millis(2);

/// How long nothing must have come before the thread does what nobody waits for.
const QUIET: Duration = Duration::from_millis(200);

/// From how many jobs on that are not in the text index yet, and how long nothing must have come then: where something
/// comes several times a second, the index would never be made otherwise.
const BACKLOG: (usize, Duration) = (1000, Duration::from_millis(10));

/// How often it looks whether other processes have written what is not in the text index yet.
const LOOK_AROUND: Duration = Duration::from_mins(1);

/// How often the same jobs are committed when the file is replaced each time.
const TRIES: usize = 3;

/// From how many pages of log on it is copied back even while more is coming: 16 MiB in a new file.
const LONG_LOG_PAGES: i64 = 4096;

/// From how many pages of log on it is copied back before the next chore: not so many that it takes long.
const SOME_LOG_PAGES: i64 = 1024;

/// Below how many pages a log is short: half a mebibyte in a new file.
const SHORT_LOG_PAGES: i64 = 128;

/// What the handles send to the thread.
#[derive(Debug)]
pub(super) enum Command {
    /// Write this and answer once it is on disk.
    Write(Job, Reply),
    /// Write what can wait.
    Flush,
    /// Write what is waiting and end.
    Close,
}

/// What the thread found in its queue.
enum News {
    Jobs(Vec<(Job, Reply)>),
    Quiet,
    Closed,
}

/// What the thread does when nothing comes, a bit at a time: it looks for something to write before each.
#[derive(Clone, Copy, Debug)]
enum Chore {
    /// Writes what was put off.
    Later,
    /// Takes some of what was recorded into the text index.
    Index,
    /// Merges some of that.
    Merge,
    /// Notes what occurs where.
    Stretches,
    /// Copies the log back into the file.
    CopyBack,
}

/// The thread's belongings.
#[derive(Debug)]
pub(super) struct Writer {
    file: PathBuf,
    open: Option<Open>,
    bodies: Appender,
    room: Gauge,
    /// Of a writer that stays: it repairs a damaged file, and this knows the time.
    repairs: Option<Clock>,
    queue: mpsc::Receiver<Command>,
    later: Later,
    outbox: Outbox,
    chore: Chore,
    /// How long nothing must have come before the chore.
    patience: Duration,
    /// How many jobs were written since all was in the text index.
    unindexed: usize,
    /// The highest number that a delivery got.
    last: i64,
    /// Which file it went to.
    identity: Identity,
    /// The deliveries up to this number are in no file any more: they went with one that stood there before.
    gone: i64,
}

/// The connection, and the file that it goes to.
#[derive(Debug)]
struct Open {
    connection: Connection,
    identity: Identity,
}

impl Writer {
    /// Opens the file, so that what is wrong with it shows before the thread starts.
    pub(super) fn open(
        file: &Path,
        room: Room,
        repairs: Option<Clock>,
        queue: mpsc::Receiver<Command>,
        later: Later,
        outbox: Outbox,
    ) -> Result<Self, StoreError> {
        let open = Open::new(file)?;
        let failed = |error: rusqlite::Error| StoreError::from_sqlite(file, &error);
        let last = gone::last_given(&open.connection).map_err(failed)?;
        let bodies = Appender::new(Folder::beside(file));
        let room = Gauge::new(room, file, Folder::beside(file));
        room.take_ballast();
        Ok(Self {
            file: file.to_path_buf(),
            identity: open.identity,
            open: Some(open),
            bodies,
            room,
            repairs,
            queue,
            later,
            outbox,
            chore: Chore::Index,
            patience: QUIET,
            unindexed: 0,
            last,
            gone: 0,
        })
    }

    /// Starts the thread, which drops `alive` at its very end.
    pub(super) fn start(self, alive: watch::Sender<()>) -> Result<(), StoreError> {
        let file = self.file.clone();
        let failed = |error: std::io::Error| StoreError::Other { file, detail: error.to_string() };
        // Only to wait for the queue with a limit of time; it runs on the thread itself.
        let clock = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let run = |clock| {
            self.run(&clock);
            drop(alive);
        };
        clock
            .and_then(|clock| std::thread::Builder::new().name("store".to_owned()).spawn(move || run(clock)))
            .map(drop)
            .map_err(failed)
    }

    fn run(mut self, clock: &Runtime) {
        loop {
            match clock.block_on(self.news()) {
                News::Jobs(jobs) => {
                    self.write(jobs);
                    self.copy_back_a_log_of(LONG_LOG_PAGES);
                }
                News::Quiet => self.do_chore(),
                News::Closed => break,
            }
        }
        let last = self.later.take();
        self.write(last);
        // What comes now is told that there is no writer any more.
        drop(self.later.take());
        self.tidy_up();
    }

    /// Waits for jobs and takes those that have gathered.
    async fn news(&mut self) -> News {
        let first = match timeout(self.patience, self.queue.recv()).await {
            Ok(Some(first)) => first,
            Ok(None) => return News::Closed,
            Err(_elapsed) => return News::Quiet,
        };
        let mut jobs = self.later.take();
        let mut bytes: usize = jobs.iter().map(|(job, _)| job.body().len()).sum();
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Write(job, reply) => {
                    bytes += job.body().len();
                    jobs.push((job, reply));
                }
                Command::Flush => {}
                // What is in the queue is still handed out.
                Command::Close => self.queue.close(),
            }
            let is_full = jobs.len() >= BATCH_JOBS || bytes >= BATCH_BYTES;
            next = if is_full { None } else { self.queue.try_recv().ok() };
        }
        News::Jobs(jobs)
    }

    /// Does what is due, and sets what is due next.
    fn do_chore(&mut self) {
        if !matches!(self.chore, Chore::Later) {
            self.copy_back_a_log_of(SOME_LOG_PAGES);
        }
        let next = match self.chore {
            Chore::Later => {
                let patience = if self.unindexed < BACKLOG.0 { QUIET } else { BACKLOG.1 };
                (self.chore, self.patience) = (Chore::Index, patience);
                let jobs = self.later.take();
                // Sets both anew where there is something.
                self.write(jobs);
                return;
            }
            Chore::Index => {
                let more = |connection: &mut Connection, queue: &mpsc::Receiver<_>| {
                    texts::fill(connection, || queue.is_empty())
                };
                // When it fails, a search does without; it is tried again.
                if self.without_waiting(more) == Ok(true) { Chore::Merge } else { Chore::Stretches }
            }
            Chore::Merge => {
                let more = self.without_waiting(|connection, _| texts::merge(connection));
                if more == Ok(true) { Chore::Merge } else { Chore::Index }
            }
            Chore::Stretches => {
                let more = self
                    .without_waiting(|connection, queue| stretches::fill(connection, || queue.is_empty()));
                if more == Ok(true) { Chore::Stretches } else { Chore::CopyBack }
            }
            Chore::CopyBack => {
                self.copy_back("PASSIVE");
                // Pruning may have given it up.
                self.room.take_ballast();
                self.unindexed = 0;
                (self.chore, self.patience) = (Chore::Index, LOOK_AROUND);
                return;
            }
        };
        (self.chore, self.patience) = (next, Duration::ZERO);
    }

    /// Does something with the connection, if there is one, that nobody waits for.
    fn without_waiting(
        &mut self,
        work: impl FnOnce(&mut Connection, &mpsc::Receiver<Command>) -> rusqlite::Result<bool>,
    ) -> rusqlite::Result<bool> {
        let Some(open) = &mut self.open else { return Ok(false) };
        let done = file::without_waiting(&mut open.connection, |connection| work(connection, &self.queue));
        done.inspect_err(|_| self.open = None)?
    }

    /// Commits the jobs and answers each. Without room there is none for deliveries; what came of those that are
    /// recorded still belongs to them.
    fn write(&mut self, mut jobs: Vec<(Job, Reply)>) {
        if let Err(error) = self.look_for_room(&jobs) {
            let refused = jobs.extract_if(.., |(job, _)| matches!(job, Job::Delivery(..)));
            let replies: Vec<Reply> = refused.map(|(_, reply)| reply).collect();
            self.outbox.send(replies.into_iter().zip(std::iter::repeat(Err(error))));
        }
        // What was put off may have gone with others before its time was up.
        if jobs.is_empty() {
            return;
        }
        self.unindexed = self.unindexed.saturating_add(jobs.len());
        (self.chore, self.patience) = (Chore::Later, MOMENT);
        self.later.expect();
        match self.commit(&jobs).map_err(|error| self.repair(error)) {
            Ok(numbers) => {
                self.last = numbers.iter().flatten().copied().fold(self.last, i64::max);
                let outcomes = jobs.into_iter().zip(numbers).map(|((job, reply), number)| {
                    let outcome = number.map(|number| job.delivery(number));
                    (reply, outcome)
                });
                self.outbox.send(outcomes);
            }
            Err(error) => {
                let replies = jobs.into_iter().map(|(_, reply)| reply);
                self.outbox.send(replies.zip(std::iter::repeat(Err(error))));
            }
        }
    }

    /// Repairs a damaged file, if that is wanted; what is told to those who had something to write.
    fn repair(&mut self, error: StoreError) -> StoreError {
        let (StoreError::Damaged { detail, .. }, Some(clock)) = (&error, &self.repairs) else { return error };
        self.open = None;
        let repaired = repair::salvage(&self.file, detail.clone(), clock);
        // It stands elsewhere, and is the same record.
        self.identity = Identity::of(&self.file);
        repaired.map_or_else(|error| error, StoreError::Repaired)
    }

    /// Whether there is room for the jobs; where there is none, the log may have some.
    fn look_for_room(&mut self, jobs: &[(Job, Reply)]) -> Result<(), StoreError> {
        let bytes = jobs.iter().map(|(job, _)| job.body().len() as u64 + JOB_BYTES).sum();
        self.room.admit(bytes).or_else(|_| {
            let cut = |connection: &mut Connection, _: &mpsc::Receiver<_>| {
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(true))
            };
            self.without_waiting(cut).ok();
            self.room.admit(bytes)
        })
    }

    /// Commits the jobs to the file that stands at its path: what went into one that was removed or replaced meanwhile
    /// goes into its successor as well, before anybody is told that it is there.
    fn commit(&mut self, jobs: &[(Job, Reply)]) -> Result<Vec<Result<i64, StoreError>>, StoreError> {
        for _ in 0..TRIES {
            let outcomes = self.commit_once(jobs)?;
            if self.open.as_ref().is_some_and(|open| open.is_at(&self.file)) {
                return Ok(outcomes);
            }
        }
        Err(StoreError::Busy { file: self.file.clone() })
    }

    /// Puts large bodies where they stay, then commits the jobs. A connection that failed is dropped, so that the next
    /// try starts afresh.
    fn commit_once(&mut self, jobs: &[(Job, Reply)]) -> Result<Vec<Result<i64, StoreError>>, StoreError> {
        let mut open = self.opened()?;
        let placed = self.bodies.place(jobs.iter().map(|(job, _)| job.body()));
        if placed.iter().any(|place| matches!(place, Err(StoreError::Full { .. }))) {
            self.room.look_again();
        }
        let outcome = transact(&mut open.connection, jobs, &placed, self.gone);
        let is_sound = open.connection.is_autocommit();
        let told = |error: rusqlite::Error| StoreError::from_sqlite(&self.file, &error);
        match outcome {
            Ok(outcomes) => {
                self.open = Some(open);
                Ok(outcomes.into_iter().map(|outcome| outcome.map_err(told)).collect())
            }
            Err(error) => {
                let error = told(error);
                if matches!(error, StoreError::Full { .. }) {
                    self.room.look_again();
                }
                let passes = matches!(error, StoreError::Busy { .. } | StoreError::Full { .. });
                if passes && is_sound {
                    // Surely nothing of it was written.
                    self.bodies.take_back();
                    self.open = Some(open);
                }
                Err(error)
            }
        }
    }

    /// The connection, opened again when it was dropped or when its file is no longer the one at its path.
    fn opened(&mut self) -> Result<Open, StoreError> {
        if self.open.as_ref().is_some_and(|open| !open.is_at(&self.file)) {
            // The log goes by its name, and would be taken for its successor's: what is in it belongs to the file that
            // went away. Readers may be in the way of that for a while.
            if !self.empty_log() {
                return Err(StoreError::Busy { file: self.file.clone() });
            }
            self.open = None;
            // Its successor may get the same place on the disk.
            self.identity = Identity::NONE;
        }
        let mut open = self.open.take().map_or_else(|| Open::new(&self.file), Ok)?;
        if open.identity != self.identity {
            // Its numbers go on after those that were given, so that nobody takes what came of one delivery for what
            // came of another.
            gone::give_after(&mut open.connection, self.last)
                .map_err(|error| StoreError::from_sqlite(&self.file, &error))?;
            (self.identity, self.gone) = (open.identity, self.last);
        }
        Ok(open)
    }

    /// Copies the log back when it has so many pages that are not copied.
    fn copy_back_a_log_of(&self, enough: i64) {
        // This mode does nothing but count.
        if let Some((pages, copied)) = self.copy_back("NOOP")
            && pages - copied >= enough
        {
            self.copy_back("PASSIVE");
        }
    }

    /// Copies what it can of the log back into the file; gives how many pages the log has and how many of them are
    /// copied. Failing is no loss: what is in the log is on disk, and the next time will do.
    fn copy_back(&self, mode: &str) -> Option<(i64, i64)> {
        let connection = &self.open.as_ref()?.connection;
        let counts = |row: &rusqlite::Row<'_>| Ok((row.get(1)?, row.get(2)?));
        connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], counts).ok()
    }

    /// Copies the whole log back into the file and cuts it; whether it is empty now.
    fn empty_log(&self) -> bool {
        let is_blocked = |open: &Open| {
            open.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0))
        };
        self.open.as_ref().is_none_or(|open| is_blocked(open) == Ok(false))
    }

    /// Leaves the file whole, with an empty log, when nobody else uses it. A command that ends at once leaves a short log
    /// as it is: copying it back takes as many syncs as recording did, and reading it again takes no time.
    fn tidy_up(&self) {
        let Some(Open { connection, .. }) = &self.open else { return };
        let stays = self.repairs.is_some();
        let is_short = || self.copy_back("NOOP").is_some_and(|(pages, _)| pages < SHORT_LOG_PAGES);
        if !stays && is_short() {
            // What fails here is only slower.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).ok();
        } else if connection.busy_timeout(Duration::ZERO).is_ok() {
            self.empty_log();
        }
    }
}

impl Open {
    fn new(file: &Path) -> Result<Self, StoreError> {
        let before = Identity::of(file);
        let connection = file::open_for_writing(file)?;
        let open = Self { connection, identity: Identity::of(file) };
        if before.is_known() && open.identity != before {
            // Which of them was opened cannot be told.
            return Err(StoreError::Busy { file: file.to_path_buf() });
        }
        Ok(open)
    }

    /// Whether its file is the one that stands there now.
    fn is_at(&self, file: &Path) -> bool {
        self.identity == Identity::of(file)
    }
}

/// Writes the jobs in one transaction, each with the place that was found for its body. A job that cannot be written on
/// its own account (its id is taken, its body found no place) fails alone.
fn transact(
    connection: &mut Connection,
    jobs: &[(Job, Reply)],
    placed: &[Result<Option<Place>, StoreError>],
    gone: i64,
) -> rusqlite::Result<Vec<rusqlite::Result<i64>>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut inserts = Inserts::prepare(&transaction)?;
    let mut outcomes = Vec::with_capacity(jobs.len());
    for ((job, _), place) in jobs.iter().zip(placed) {
        let outcome = match place {
            Ok(place) => job.put(&mut inserts, *place, gone),
            Err(error) => Err(rusqlite::Error::ToSqlConversionFailure(error.clone().into())),
        };
        match outcome {
            Err(error) if !is_of_one_job(&error) => return Err(error),
            outcome => outcomes.push(outcome),
        }
    }
    drop(inserts);
    transaction.commit()?;
    Ok(outcomes)
}

fn is_of_one_job(error: &rusqlite::Error) -> bool {
    // No row: it is not the turn of a delivery from a relay.
    matches!(error, rusqlite::Error::ToSqlConversionFailure(_) | rusqlite::Error::QueryReturnedNoRows)
        || matches!(error.sqlite_error_code(), Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig))
}
