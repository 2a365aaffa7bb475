//! Large messages: what they take on disk is free again when they are done with, and one that is lost holds nobody up.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::params;
use tempfile::{TempDir, tempdir};

use super::*;
use crate::model::Headers;
use crate::store::Room;
use crate::store::bodies::Folder;

/// The length of a body that goes into a segment, in bytes.
const LARGE: usize = 60_000;

fn open(folder: &TempDir) -> SqliteRelay {
    let clock = Clock::real();
    SqliteRelay::open(folder.path(), Key::new(&[3; 32], clock.clone()), Room::ALL, clock).unwrap()
}

fn claimant(token: u8) -> Claimant {
    Claimant { token: TokenHash([token; 32]), tenant: "team".into(), most_channels: None, has: 0 }
}

fn message(text: &str) -> Message {
    let clock = Clock::real();
    let body = Bytes::from(format!("{text:LARGE$}"));
    let (method, path) = ("POST".to_owned(), "/".to_owned());
    let request = Request { method, path, headers: Headers::new(), body, trailers: Headers::new() };
    Message { id: MessageId::new(&clock), arrived_at: clock.now(), request }
}

async fn put(store: &SqliteRelay, claim: &Claim, texts: &[&str]) {
    for text in texts {
        store.put(claim.channel, Arc::new(message(text))).await.unwrap();
    }
}

/// The first words of what comes next.
async fn texts(store: &SqliteRelay, claim: &Claim, count: usize) -> Vec<String> {
    let (mut after, mut texts) = (0, Vec::new());
    for _ in 0..count {
        let stored = store.next(claim.channel, claim.epoch, after).await.unwrap();
        after = stored.seq;
        texts.push(String::from_utf8_lossy(&stored.message.request.body).trim_end().to_owned());
    }
    texts
}

fn space(folder: &TempDir) -> u64 {
    Folder::of_relay(&folder.path().join("relay.db")).space_on_disk()
}

fn segments(folder: &TempDir) -> Vec<String> {
    let names = fs::read_dir(folder.path().join("relay-bodies")).unwrap();
    let mut names: Vec<String> =
        names.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// Waits until what was delivered is deleted, which nobody is told.
async fn until_space_is(folder: &TempDir, expected: u64) {
    for _ in 0..2000 {
        if space(folder) == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} bytes are in use, and not {expected}", space(folder));
}

#[tokio::test]
async fn what_is_delivered_expired_or_given_up_takes_no_space_any_more() {
    let folder = tempdir().unwrap();
    let store = open(&folder);
    let of_one = (LARGE + 4096) as u64 / 4096 * 4096;
    let (one, other) = (store.claim(claimant(1)).await.unwrap(), store.claim(claimant(2)).await.unwrap());
    put(&store, &one, &["a", "b", "c"]).await;
    put(&store, &other, &["d", "e"]).await;
    assert_eq!(space(&folder), 5 * of_one);
    assert!(store.health().bytes_on_disk > 5 * of_one);
    let second = store.next(one.channel, one.epoch, 1).await.unwrap();
    assert!(store.ack(one.channel, one.epoch, &second));
    until_space_is(&folder, 4 * of_one).await;
    assert_eq!(store.give_up(claimant(2), true).await.unwrap(), 2);
    until_space_is(&folder, 2 * of_one).await;
    assert_eq!(texts(&store, &one, 2).await, ["a", "c"]);
    assert_eq!(store.expire(Timestamp::MAX).await.unwrap(), 2);
    until_space_is(&folder, 0).await;
    store.close().await;
    assert_eq!(segments(&folder), ["000000000001"]);
}

#[tokio::test]
async fn what_was_written_right_before_a_crash_is_tidied_up_and_the_rest_stays() {
    let folder = tempdir().unwrap();
    let store = open(&folder);
    let claim = store.claim(claimant(1)).await.unwrap();
    put(&store, &claim, &["a", "b"]).await;
    store.close().await;
    drop(store);
    let before = space(&folder);
    // Bodies of a transaction that never was: behind others, and in a segment of their own.
    let outer = folder.path().join("relay-bodies");
    let first = outer.join("000000000001");
    let (whole, more) = (fs::read(&first).unwrap(), vec![1; LARGE]);
    fs::write(&first, [&whole[..], &more].concat()).unwrap();
    fs::write(outer.join("000000000002"), &more).unwrap();
    fs::write(outer.join("000000000003"), &more).unwrap();
    let store = open(&folder);
    assert_eq!(store.expire(Timestamp::UNIX_EPOCH).await.unwrap(), 0);
    assert_eq!(
        (space(&folder), segments(&folder)),
        (before, vec!["000000000001".into(), "000000000003".into()])
    );
    let claim = store.claim(claimant(1)).await.unwrap();
    put(&store, &claim, &["c"]).await;
    assert_eq!(texts(&store, &claim, 3).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn one_that_is_lost_is_told_once_and_holds_up_none_behind_it() {
    let folder = tempdir().unwrap();
    let store = open(&folder);
    let claim = store.claim(claimant(1)).await.unwrap();
    store.leave(claim.channel, claim.epoch);
    put(&store, &claim, &["a"]).await;
    store.close().await;
    // As after going back to a copy that was made while they were delivered.
    fs::remove_dir_all(folder.path().join("relay-bodies")).unwrap();
    let store = open(&folder);
    let claim = store.claim(claimant(1)).await.unwrap();
    assert_eq!(claim.waiting, 1);
    put(&store, &claim, &["b"]).await;
    let error = store.next(claim.channel, claim.epoch, 0).await.unwrap_err();
    assert!(matches!(error, StoreError::Lost { .. } | StoreError::Damaged { .. }), "{error}");
    for _ in 0..2 {
        assert_eq!(texts(&store, &claim, 1).await, ["b"]);
    }
    assert_eq!(store.health().waiting, Waiting { messages: 1, bytes: LARGE as u64 });
    assert_eq!(store.expire(Timestamp::MAX).await.unwrap(), 2);
    assert_eq!(store.health().waiting, Waiting::default());
}

#[tokio::test]
async fn a_small_one_that_cannot_be_read_holds_up_none_behind_it_either() {
    let folder = tempdir().unwrap();
    let store = open(&folder);
    let claim = store.claim(claimant(1)).await.unwrap();
    store.leave(claim.channel, claim.epoch);
    let small = Message { request: Request { body: Bytes::new(), ..message("").request }, ..message("") };
    store.put(claim.channel, Arc::new(small)).await.unwrap();
    put(&store, &claim, &["a"]).await;
    store.close().await;
    let connection = rusqlite::Connection::open(folder.path().join("relay.db")).unwrap();
    connection.execute("UPDATE messages SET sealed = x'00' WHERE typeof(sealed) = 'blob'", []).unwrap();
    let store = open(&folder);
    let claim = store.claim(claimant(1)).await.unwrap();
    let error = store.next(claim.channel, claim.epoch, 0).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert_eq!(texts(&store, &claim, 1).await, ["a"]);
}

#[tokio::test]
async fn messages_of_earlier_formats_come_out_of_the_tables() {
    let folder = tempdir().unwrap();
    let store = open(&folder);
    let claim = store.claim(claimant(1)).await.unwrap();
    store.close().await;
    let old = message("old");
    insert_as_before(folder.path(), &claim, &old);
    let store = open(&folder);
    let claim = store.claim(claimant(1)).await.unwrap();
    put(&store, &claim, &["new"]).await;
    assert_eq!(texts(&store, &claim, 2).await, ["old", "new"]);
    let stored = store.next(claim.channel, claim.epoch, 0).await.unwrap();
    assert!(store.ack(claim.channel, claim.epoch, &stored));
    assert_eq!(store.health().waiting, Waiting { messages: 1, bytes: LARGE as u64 });
}

/// Takes a database back to the format before, with a message in it.
fn insert_as_before(folder: &Path, claim: &Claim, message: &Message) {
    let key = Key::new(&[3; 32], Clock::real());
    let sealed = key.seal(&claim.channel, &message.id, &message.request);
    let connection = rusqlite::Connection::open(folder.join("relay.db")).unwrap();
    connection.execute_batch("DROP INDEX messages_large; PRAGMA user_version = 2").unwrap();
    let insert = "INSERT INTO messages (channel, id, arrived_at, bytes, sealed) VALUES (1, ?1, ?2, ?3, ?4)";
    let (at, bytes) = (message.arrived_at.as_microsecond(), message.bytes().cast_signed());
    connection.execute(insert, params![message.id.bytes(), at, bytes, sealed]).unwrap();
}
