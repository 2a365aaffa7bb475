//! The text index: made behind, never in the way, and never needed for a search to be right.

use tempfile::{TempDir, tempdir};

use super::super::{Limits, Pruner, stretches, texts};
use super::*;

fn found(folder: &Path, text: &str) -> Vec<i64> {
    let query = Query { search: Some(text.to_owned()), limit: 100, ..Query::default() };
    numbers(&reader(folder).list(&query).unwrap())
}

/// Those that the index has a text for.
fn indexed(folder: &Path, trigram: &str) -> Vec<i64> {
    let outsider = outsider(folder);
    let text = "SELECT rowid FROM texts WHERE texts MATCH '\"' || ?1 || '\"' ORDER BY rowid DESC";
    let mut statement = outsider.prepare(text).unwrap();
    statement.query_map([trigram], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

fn watermark(folder: &Path) -> i64 {
    texts::watermark(&outsider(folder)).unwrap()
}

/// Fills the index with what there is.
pub(super) fn fill(folder: &Path) {
    let mut outsider = outsider(folder);
    while texts::fill(&mut outsider, || true).unwrap() {}
    while stretches::fill(&mut outsider, || true).unwrap() {}
}

/// A record of so many deliveries, each with its number in its path, and of every third the word `zebra` in its body.
async fn recorded(count: i64) -> TempDir {
    let folder = tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let clock = clock(1);
    for number in 1..=count {
        let mut one = incoming(&clock);
        one.request.path = format!("/number-{number}/");
        if number % 3 == 0 {
            one.request.body = Bytes::from_static(b"\xff\0a Zebra");
        }
        record(&store, &one).await;
    }
    store.close().await;
    folder
}

#[tokio::test]
async fn it_is_made_by_itself_when_nothing_comes() {
    let folder = tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let clock = clock(1);
    for _ in 0..600 {
        record(&store, &incoming(&clock)).await;
    }
    for _ in 0..200 {
        if watermark(folder.path()) == 600 {
            assert_eq!(indexed(folder.path(), "hoo").len(), 600);
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it goes up to {} after 10 s", watermark(folder.path()));
}

#[tokio::test]
async fn a_slice_ends_when_it_is_told_to_and_the_next_goes_on() {
    let folder = recorded(10).await;
    let mut outsider = outsider(folder.path());
    let asked = std::cell::Cell::new(0);
    let three = || asked.replace(asked.get() + 1) < 3;
    assert!(texts::fill(&mut outsider, three).unwrap());
    assert_eq!((watermark(folder.path()), indexed(folder.path(), "num")), (3, vec![3, 2, 1]));
    assert_eq!(found(folder.path(), "zebra"), [9, 6, 3]);
    fill(folder.path());
    assert_eq!((watermark(folder.path()), indexed(folder.path(), "num").len()), (10, 10));
    assert!(!texts::fill(&mut outsider, || true).unwrap());
    assert_eq!(found(folder.path(), "zebra"), [9, 6, 3]);
}

#[tokio::test]
async fn what_is_attempted_again_is_found_at_once_and_indexed_again() {
    let folder = recorded(5).await;
    fill(folder.path());
    let store = Store::open(folder.path()).unwrap();
    let mut attempt = answered(1, 200);
    if let Outcome::Answered(answer) = &mut attempt.outcome {
        answer.body = Bytes::from_static(b"giraffe");
    }
    store.record_attempt(2, Arc::new(attempt), Waiting::AsBefore).await.unwrap();
    assert_eq!(found(folder.path(), "GIRAFFE"), [2]);
    store.close().await;
    fill(folder.path());
    assert_eq!(indexed(folder.path(), "gir"), [2]);
    assert_eq!((found(folder.path(), "giraffe"), found(folder.path(), "number-2/")), (vec![2], vec![2]));
    let again = "SELECT count(*) FROM texts_again";
    assert_eq!(outsider(folder.path()).query_row(again, [], |row| row.get(0)), Ok(0));
}

#[tokio::test]
async fn what_is_pruned_leaves_it() {
    let folder = recorded(9).await;
    fill(folder.path());
    let mut pruner = Pruner::open(folder.path(), clock(1)).unwrap().unwrap();
    let limits = Limits { keep: Some(4), ..Limits::default() };
    pruner.prune(&limits, Duration::ZERO, || true).unwrap();
    assert_eq!(
        (indexed(folder.path(), "num"), indexed(folder.path(), "zeb")),
        (vec![9, 8, 7, 6], vec![9, 6])
    );
    // An attempt that ends after its delivery went brings nothing back.
    let store = Store::open(folder.path()).unwrap();
    record_attempt(&store, 1, answered(1, 200)).await;
    store.close().await;
    fill(folder.path());
    assert_eq!(indexed(folder.path(), "num"), [9, 8, 7, 6]);
    assert_eq!(found(folder.path(), "number"), [9, 8, 7, 6]);
}

#[tokio::test]
async fn a_damaged_one_keeps_nothing_from_being_found_or_recorded() {
    let folder = recorded(9).await;
    fill(folder.path());
    outsider(folder.path()).execute("UPDATE texts_data SET block = x'ffffffffff'", []).unwrap();
    assert_eq!(found(folder.path(), "zebra"), [9, 6, 3]);
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(record(&store, &incoming(&clock(2))).await, 10);
    record_attempt(&store, 1, answered(1, 200)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(record(&store, &incoming(&clock(3))).await, 11);
    store.close().await;
    assert_eq!(found(folder.path(), "zebra"), [9, 6, 3]);
}

#[tokio::test]
async fn pages_of_a_search_follow_each_other() {
    let folder = recorded(30).await;
    fill(folder.path());
    let mut query = Query { search: Some("ZEBRA".to_owned()), limit: 3, ..Query::default() };
    let mut seen = Vec::new();
    loop {
        let page = numbers(&reader(folder.path()).list(&query).unwrap());
        let Some(last) = page.last() else { break };
        query.before = Some(*last);
        seen.extend(page);
    }
    assert!(seen.into_iter().eq((1..=10).rev().map(|third| third * 3)));
}
