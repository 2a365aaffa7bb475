//! The record as a whole, on real files.

mod faults;
mod large;
mod list;
mod relayed;
mod repair;
mod texts;
mod write;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::Connection;

use super::{Query, Reader, Recorded, Selector, Store, StoreError, Waiting};
use crate::model::{
    Answer, Attempt, Clock, Delivery, DeliveryId, Failure, FailureKind, Headers, Incoming, Kind, Origin,
    Outcome, Request, Verdict,
};

/// A moment within the microsecond that the record keeps.
fn moment(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(1_790_000_000_000_000 + micros).unwrap()
}

/// A clock with ids of its own.
fn clock(seed: u64) -> Clock {
    Clock::fixed(moment(0), seed)
}

/// A plain delivery.
fn incoming(clock: &Clock) -> Incoming {
    let plain = Incoming::plain(clock);
    let request = Request { path: "/hook".to_owned(), body: Bytes::from_static(b"{}"), ..plain.request };
    Incoming { request, ..plain }
}

/// An attempt that got an answer.
fn answered(number: u32, status: u16) -> Attempt {
    let answer = Answer { status, headers: Headers::new(), body: Bytes::new(), cut: false };
    attempt(number, Outcome::Answered(answer))
}

/// An attempt that got none.
fn refused(number: u32) -> Attempt {
    let failure = Failure { kind: FailureKind::Refused, detail: "nobody listens".to_owned() };
    attempt(number, Outcome::Failed(failure))
}

fn attempt(number: u32, outcome: Outcome) -> Attempt {
    Attempt {
        number,
        target: "http://localhost:3000/".to_owned(),
        started_at: moment(7),
        duration: Duration::from_micros(1234),
        outcome,
    }
}

async fn record(store: &Store, incoming: &Incoming) -> i64 {
    store.record(Arc::new(incoming.clone())).await.unwrap().number
}

async fn record_attempt(store: &Store, delivery: i64, attempt: Attempt) {
    store.record_attempt(delivery, Arc::new(attempt), Waiting::AsBefore).await.unwrap();
}

fn reader(folder: &Path) -> Reader {
    Reader::open(folder).unwrap().expect("there is a record")
}

fn numbers(deliveries: &[Delivery]) -> Vec<i64> {
    deliveries.iter().map(|delivery| delivery.number).collect()
}

/// Everything that is recorded, newest first.
fn all(folder: &Path) -> Vec<Delivery> {
    reader(folder).list(&Query { limit: usize::MAX, ..Query::default() }).unwrap()
}

fn find(folder: &Path, number: i64) -> Recorded {
    reader(folder).find(&Selector::Number(number)).unwrap().expect("it was recorded")
}

/// The file of the record, as another program would open it.
fn outsider(folder: &Path) -> Connection {
    Connection::open(folder.join("deliveries.db")).unwrap()
}
