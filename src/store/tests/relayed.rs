//! What came through a relay: once, in order, and not forgotten when it is pruned.

use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use tokio::task::JoinSet;

use super::*;
use crate::model::{ChannelId, Line, Relayed};
use crate::store::{Limits, Pruner, StoreError};

fn relayed(clock: &Clock, channel: ChannelId, seq: i64, after: i64) -> Arc<Incoming> {
    let line = Line::new(0);
    let relayed =
        Relayed { channel, seq, after, arrived_at: moment(-7), late: seq == 5, line, sent_on_with: None };
    Arc::new(Incoming { origin: Origin::Tunnel, relayed: Some(relayed), ..incoming(clock) })
}

#[tokio::test]
async fn each_is_recorded_once_and_none_before_what_it_comes_after() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock(1));
    let store = Store::open(folder.path()).unwrap();
    let (one, other) = (ChannelId::new(&clock), ChannelId::new(&clock));
    let record = async |channel, seq, after| {
        store.record(relayed(&clock, channel, seq, after)).await.ok().map(|delivery| delivery.number)
    };
    assert_eq!(record(one, 3, 0).await, Some(1));
    assert_eq!(record(one, 3, 0).await, None, "it is there");
    assert_eq!(record(one, 2, 0).await, None, "its time is over");
    assert_eq!(record(one, 9, 5).await, None, "one before it is missing");
    assert_eq!(record(other, 9, 0).await, Some(2), "channels do not wait for each other");
    assert_eq!(record(one, 5, 3).await, Some(3));
    assert_eq!(record(one, 9, 5).await, Some(4));
    let error = store.record(relayed(&clock, one, 9, 5)).await.unwrap_err();
    assert!(matches!(error, StoreError::OutOfTurn { .. }), "{error}");

    let reader = Reader::open(folder.path()).unwrap().unwrap();
    let found = reader.relayed(&one, 5).unwrap().unwrap().delivery;
    assert_eq!((found.number, found.late_since), (3, Some(moment(-7))));
    assert!(reader.relayed(&one, 4).unwrap().is_none());
    let late = |delivery: &Delivery| delivery.late_since.is_some();
    let listed = reader.list(&Query { limit: 10, ..Query::default() }).unwrap();
    assert_eq!(listed.iter().map(late).collect::<Vec<_>>(), [false, true, false, false]);
    assert_eq!(reader.last_relayed(&one).unwrap(), 9);
}

#[tokio::test]
async fn those_that_are_recorded_together_keep_the_rule_one_by_one() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock(2));
    let store = Store::open(folder.path()).unwrap();
    let channel = ChannelId::new(&clock);
    let turns = [(1, 0), (1, 0), (4, 2), (2, 1), (4, 2), (3, 2), (5, 4)];
    let jobs = turns.map(|(seq, after)| {
        let (store, incoming) = (store.clone(), relayed(&clock, channel, seq, after));
        tokio_util::task::TaskTracker::new().spawn(async move { store.record(incoming).await.is_ok() })
    });
    let mut outcomes = Vec::new();
    for job in jobs {
        outcomes.push(job.await.unwrap());
    }
    assert_eq!(outcomes, [true, false, false, true, true, false, true]);
}

/// A fifth of them never arrive, a fifth of those that do come again, and all come in any order, many at a time.
#[tokio::test]
async fn whatever_is_lost_comes_again_or_overtakes_each_is_recorded_once_and_in_order() {
    const MESSAGES: i64 = 100;
    let (mut inputs, mut violations) = (0, 0);
    for seed in 0..5 {
        let (folder, clock) = (tempfile::tempdir().unwrap(), clock(seed));
        let store = Store::open(folder.path()).unwrap();
        let (channel, mut random) = (ChannelId::new(&clock), StdRng::seed_from_u64(seed));
        let mut left: Vec<i64> = (1..=MESSAGES).collect();
        while !left.is_empty() {
            left.shuffle(&mut random);
            let mut under_way = JoinSet::new();
            // A relay has no more than so many under way, of which the oldest are among.
            let oldest = left.iter().min().copied().unwrap_or_default();
            for seq in left.iter().copied().filter(|seq| *seq < oldest + 32) {
                if random.random_bool(0.2) {
                    continue;
                }
                inputs += 1;
                let (store, incoming) = (store.clone(), relayed(&clock, channel, seq, seq - 1));
                under_way.spawn(async move { store.record(incoming).await.is_ok().then_some(seq) });
            }
            while let Some(recorded) = under_way.join_next().await {
                let Some(seq) = recorded.unwrap() else { continue };
                if !random.random_bool(0.2) {
                    left.retain(|one| *one != seq);
                }
            }
            // The relay asks how far the record is when it opens the next tunnel.
            let reader = Reader::open(folder.path()).unwrap().unwrap();
            let last = reader.last_relayed(&channel).unwrap();
            if random.random_bool(0.5) {
                left.retain(|one| *one > last);
            }
        }
        let recorded = Connection::open(folder.path().join("deliveries.db")).unwrap();
        let mut rows = recorded.prepare("SELECT seq FROM relayed ORDER BY delivery").unwrap();
        let rows: Vec<i64> = rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        violations += usize::from(rows != (1..=MESSAGES).collect::<Vec<_>>());
    }
    println!("inputs={inputs} violations={violations} (D20)");
    assert_eq!(violations, 0);
}

#[tokio::test]
async fn what_was_pruned_is_not_recorded_again() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock(3));
    let store = Store::open(folder.path()).unwrap();
    let channel = ChannelId::new(&clock);
    for seq in 1..=4 {
        store.record(relayed(&clock, channel, seq, seq - 1)).await.unwrap();
    }
    store.record(Arc::new(incoming(&clock))).await.unwrap();
    let mut pruner = Pruner::open(folder.path(), clock.clone()).unwrap().unwrap();
    let limits = Limits { keep: Some(1), ..Limits::default() };
    assert_eq!(pruner.prune(&limits, Duration::ZERO, || true).unwrap().gone(), 4);
    let reader = Reader::open(folder.path()).unwrap().unwrap();
    assert_eq!(reader.last_relayed(&channel).unwrap(), 4);
    assert!(store.record(relayed(&clock, channel, 4, 3)).await.is_err());
    assert!(store.record(relayed(&clock, channel, 5, 4)).await.is_ok());
}
