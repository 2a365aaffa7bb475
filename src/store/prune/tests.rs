//! Pruning of real records.

use bytes::Bytes;
use tempfile::{TempDir, tempdir};

use super::*;
use crate::model::{Answer, Attempt, Headers, Incoming, Outcome, Request};
use crate::store::{Imported, Importer, Query, Reader};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

/// A record of so many deliveries, one each second, with bodies of so many bytes.
fn record(deliveries: i64, bytes: usize) -> (TempDir, Pruner) {
    let folder = tempdir().unwrap();
    let clock = Clock::fixed(at(0), 1);
    add(folder.path(), &clock, 0..deliveries, bytes);
    let pruner = Pruner::open(folder.path(), clock).unwrap().unwrap();
    (folder, pruner)
}

fn add(folder: &Path, clock: &Clock, seconds: std::ops::Range<i64>, bytes: usize) {
    let body = Bytes::from(vec![b'x'; bytes]);
    let delivery = |second| Imported {
        incoming: {
            let plain = Incoming::plain(clock);
            let request = Request { body: body.clone(), ..plain.request };
            Incoming { received_at: at(second), request, ..plain }
        },
        attempts: vec![Attempt {
            number: 1,
            target: "http://localhost/".to_owned(),
            started_at: at(second),
            duration: Duration::ZERO,
            outcome: Outcome::Answered(Answer {
                status: 200,
                headers: Headers::new(),
                body: body.clone(),
                cut: false,
            }),
        }],
    };
    let batch: Vec<Imported> = seconds.map(delivery).collect();
    let mut importer = Importer::open(folder).unwrap();
    assert_eq!(importer.add(&batch).unwrap(), batch.len());
}

fn numbers(folder: &Path) -> Vec<i64> {
    let query = Query { limit: usize::MAX, ..Query::default() };
    let list = Reader::open(folder).unwrap().unwrap().list(&query).unwrap();
    list.iter().rev().map(|delivery| delivery.number).collect()
}

fn prune(pruner: &mut Pruner, limits: Limits) -> Pruned {
    let planned = pruner.plan(&limits).unwrap();
    let pruned = pruner.prune(&limits, Duration::ZERO, || true).unwrap();
    if limits.max_bytes.is_none() {
        assert_eq!(planned, pruned);
    }
    pruned
}

#[test]
fn the_oldest_go_by_age_and_by_count() {
    let (folder, mut pruner) = record(1000, 100);
    let pruned = prune(&mut pruner, Limits { before: Some(at(300)), ..Limits::default() });
    assert_eq!(pruned, Pruned { by_age: 300, left: 700, ..Pruned::default() });
    let pruned = prune(&mut pruner, Limits { before: Some(at(400)), keep: Some(10), ..Limits::default() });
    assert_eq!(pruned, Pruned { by_age: 100, by_count: 590, left: 10, ..Pruned::default() });
    assert_eq!(numbers(folder.path()), (991..=1000).collect::<Vec<_>>());
    assert_eq!(prune(&mut pruner, Limits { keep: Some(10), ..Limits::default() }).gone(), 0);
    assert_eq!(prune(&mut pruner, Limits::default()).left, 10);
}

#[test]
fn numbers_are_never_given_again_and_attempts_go_with_their_deliveries() {
    let (folder, mut pruner) = record(5, 100);
    assert_eq!(prune(&mut pruner, Limits { keep: Some(0), ..Limits::default() }).gone(), 5);
    let attempts = pruner.connection.query_row("SELECT count(*) FROM attempts", [], count).unwrap();
    assert_eq!(attempts, 0);
    add(folder.path(), &Clock::fixed(at(9), 2), 0..1, 1);
    assert_eq!(numbers(folder.path()), [6]);
}

#[test]
fn what_waits_for_its_target_stays_unless_it_is_to_go() {
    let (folder, mut pruner) = record(10, 100);
    pruner.connection.execute_batch("INSERT INTO held VALUES (1, '3000'), (4, '3000')").unwrap();
    let pruned = prune(&mut pruner, Limits { before: Some(at(5)), ..Limits::default() });
    assert_eq!((pruned.by_age, numbers(folder.path())), (3, vec![1, 4, 6, 7, 8, 9, 10]));
    let pruned = prune(&mut pruner, Limits { keep: Some(0), ..Limits::default() });
    assert_eq!((pruned.by_count, numbers(folder.path())), (5, vec![1, 4]));
    let pruned = prune(&mut pruner, Limits { max_bytes: Some(1), ..Limits::default() });
    assert_eq!((pruned.left, pruned.held), (2, 2));
    add(folder.path(), &Clock::fixed(at(0), 2), 0..2, 100);
    let pruned = prune(&mut pruner, Limits { held: true, keep: Some(1), ..Limits::default() });
    assert_eq!(pruned, Pruned { by_held: 2, by_count: 1, left: 1, ..Pruned::default() });
    assert_eq!((pruner.held().unwrap(), numbers(folder.path())), (0, vec![12]));
}

#[test]
fn the_file_gets_smaller_and_no_larger_than_it_may() {
    let (folder, mut pruner) = record(60, 100_000);
    pruner.copy_back().unwrap();
    let before = pruner.bytes_on_disk();
    assert!(before > 11_000_000, "{before}");
    let limits = Limits { max_bytes: Some(4_000_000), ..Limits::default() };
    let planned = pruner.plan(&limits).unwrap().by_size;
    let pruned = prune(&mut pruner, limits);
    assert!(planned.abs_diff(pruned.by_size) <= 4, "planned {planned}, pruned {}", pruned.by_size);
    let after = pruner.bytes_on_disk();
    assert!((2_500_000..=4_000_000).contains(&after), "{after}");
    assert_eq!(numbers(folder.path()).last(), Some(&60));
    // An empty record has a size, too: this comes to an end.
    assert_eq!(prune(&mut pruner, Limits { max_bytes: Some(1), ..Limits::default() }).left, 0);
    assert!(pruner.bytes_on_disk() < 200_000, "{}", pruner.bytes_on_disk());
}

#[test]
fn no_slice_is_long_and_whoever_writes_gets_the_file_between_two() {
    const DELIVERIES: i64 = 3000;
    let (folder, mut pruner) = record(DELIVERIES, 10);
    let writer = Connection::open(folder.path().join("deliveries.db")).unwrap();
    writer.busy_timeout(Duration::ZERO).unwrap();
    let seen = std::cell::RefCell::new(Vec::new());
    let between = || {
        writer.execute_batch("BEGIN IMMEDIATE; ROLLBACK").expect("the file is free");
        let left: i64 = writer.query_row("SELECT count(*) FROM deliveries", [], |row| row.get(0)).unwrap();
        seen.borrow_mut().push(left);
        true
    };
    let pruned =
        pruner.prune(&Limits { keep: Some(0), ..Limits::default() }, Duration::ZERO, between).unwrap();
    assert_eq!(pruned.by_count, DELIVERIES.unsigned_abs());
    let slices: Vec<i64> =
        seen.borrow().windows(2).map(|pair| pair[0] - pair[1]).filter(|gone| *gone > 0).collect();
    let violations = slices.iter().filter(|gone| **gone > 256).count();
    println!("inputs={} violations={violations} (D8)", slices.len());
    assert_eq!((violations, slices.iter().sum()), (0, DELIVERIES), "{slices:?}");
}

#[test]
fn it_ends_when_it_is_told_to_and_goes_on_the_next_time() {
    let (_folder, mut pruner) = record(1000, 10);
    let slices = std::cell::Cell::new(0);
    let two = || slices.replace(slices.get() + 1) < 2;
    let limits = Limits { keep: Some(0), ..Limits::default() };
    let pruned = pruner.prune(&limits, Duration::ZERO, two).unwrap();
    assert!((1..=512).contains(&pruned.by_count), "{pruned:?}");
    let pruned = prune(&mut pruner, limits);
    assert_eq!(pruned.left, 0);
}

#[test]
fn where_there_is_no_record_there_is_nothing_to_prune() {
    let folder = tempdir().unwrap();
    assert!(Pruner::open(folder.path(), Clock::fixed(at(0), 1)).unwrap().is_none());
    assert!(Pruner::open(&folder.path().join("x"), Clock::fixed(at(0), 1)).unwrap().is_none());
}
