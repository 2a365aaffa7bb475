//! A thread that writes what has gathered in one transaction, and then says so.
//!
//! The trees are those of `mbaas-dev`'s record: requests by number, by id, by event and by time, and answers.

use std::path::Path;
use std::sync::mpsc;

use bytes::Bytes;
use rusqlite::{Connection, params};
use tokio::sync::oneshot;

const TABLES: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 4096;
    CREATE TABLE deliveries (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, received_at INTEGER NOT NULL,
        event TEXT NOT NULL, path TEXT NOT NULL, headers BLOB NOT NULL, body BLOB NOT NULL
    );
    CREATE INDEX deliveries_event ON deliveries (event);
    CREATE INDEX deliveries_received_at ON deliveries (received_at);
    CREATE TABLE attempts (
        delivery INTEGER NOT NULL, number INTEGER NOT NULL, status INTEGER NOT NULL,
        headers BLOB NOT NULL, body BLOB NOT NULL, PRIMARY KEY (delivery, number)
    ) WITHOUT ROWID;
";

/// Where there is something to write.
pub type Queue = mpsc::Sender<Job>;

/// A request, and the answers to earlier ones.
pub struct Job {
    pub before: Vec<Answered>,
    pub path: String,
    pub headers: Vec<u8>,
    pub body: Bytes,
    /// Gets its number once it is on disk.
    pub tell: oneshot::Sender<i64>,
}

/// What came of the request of that number.
pub struct Answered {
    pub delivery: i64,
    pub status: u16,
    pub headers: Vec<u8>,
    pub body: Bytes,
}

/// A new file.
pub struct Record {
    connection: Connection,
    /// Stands for ids and times: it only has to grow as they do.
    clock: i64,
}

impl Record {
    pub fn create(file: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(file)?;
        connection.execute_batch(TABLES)?;
        Ok(Self { connection, clock: 0 })
    }

    /// Writes on a thread of its own what comes into the queue.
    pub fn start(mut self) -> Queue {
        let (queue, jobs) = mpsc::channel();
        std::thread::spawn(move || {
            while let Ok(first) = jobs.recv() {
                self.write(std::iter::once(first).chain(jobs.try_iter())).expect("a disk with room");
            }
        });
        queue
    }

    fn write(&mut self, jobs: impl Iterator<Item = Job>) -> rusqlite::Result<()> {
        let Self { connection, clock } = self;
        let execute = |statement, parameters: &[&dyn rusqlite::ToSql]| {
            connection.prepare_cached(statement)?.execute(parameters)
        };
        let mut told = Vec::new();
        execute("BEGIN IMMEDIATE", &[])?;
        for Job { before, path, headers, body, tell } in jobs {
            for Answered { delivery, status, headers, body } in before {
                let answer = params![delivery, status, headers, &body[..]];
                execute("INSERT INTO attempts VALUES (?, 1, ?, ?, ?)", answer)?;
            }
            *clock += 1;
            let id = u128::from(clock.unsigned_abs()).to_be_bytes();
            let delivery = params![id, *clock, "bot.completed", path, headers, &body[..]];
            execute("INSERT INTO deliveries VALUES (NULL, ?, ?, ?, ?, ?, ?)", delivery)?;
            told.push((tell, connection.last_insert_rowid()));
        }
        execute("COMMIT", &[])?;
        for (tell, number) in told {
            // Whoever waited for it may have left.
            tell.send(number).ok();
        }
        Ok(())
    }
}
