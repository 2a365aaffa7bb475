//! What came through a relay: once, in order, and not forgotten when it is pruned.

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
    let record = async |channel, seq, after| store.record(relayed(&clock, channel, seq, after)).await.ok();
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
