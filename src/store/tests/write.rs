//! What goes in comes out, from any number of writers.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use tempfile::tempdir;
use tokio::task::JoinSet;

use super::super::StoreError;
use super::*;
use crate::model::Contract;
use crate::store::Room;

fn whole_incoming(clock: &Clock) -> Incoming {
    let mut headers = Headers::new();
    headers.push("X-Odd-CASE", &b"caf\xe9 \xff"[..]);
    headers.push("x-twice", "one");
    headers.push("X-Twice", "two: and a colon");
    headers.push("x-empty", "");
    Incoming {
        id: DeliveryId::new(clock),
        received_at: moment(123_456),
        origin: Origin::Replay,
        replay_of: Some(DeliveryId::new(clock)),
        kind: Kind {
            contract: Some(Contract::V2),
            event_type: Some("bot.completed".parse().unwrap()),
            wire_event: Some("bot.completed".to_owned()),
        },
        signature: Verdict::Invalid,
        signature_note: Some("the line feed at the end was not signed".into()),
        not_forwarded: None,
        relayed: None,
        request: Request {
            method: "PATCH".to_owned(),
            path: "/a%20b?x=1&y=\u{e9}\0".to_owned(),
            headers,
            body: (0..=255).cycle().take(40_000).collect::<Vec<u8>>().into(),
            trailers: [("X-Checksum", "1"), ("x-checksum", "2")].into_iter().collect(),
        },
    }
}

/// `Debug` shows every field, so it stands in for comparing deliveries and attempts.
fn shown(value: &impl std::fmt::Debug) -> String {
    format!("{value:#?}")
}

#[tokio::test]
async fn a_delivery_comes_out_as_it_went_in() {
    let folder = tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let incoming = whole_incoming(&clock(1));
    let number = record(&store, &incoming).await;
    let by_number = find(folder.path(), number);
    let by_id = reader(folder.path()).find(&Selector::Id(incoming.id.clone())).unwrap().unwrap();
    assert_eq!(by_number.request, incoming.request);
    assert_eq!(shown(&by_number.delivery), shown(&Delivery::recorded(&incoming, number)));
    assert_eq!(shown(&by_id), shown(&by_number));
    assert_eq!(shown(&all(folder.path())), shown(&[by_number.delivery]));
    assert!(reader(folder.path()).find(&Selector::Number(number + 1)).unwrap().is_none());
    assert!(reader(folder.path()).find(&Selector::Number(-1)).unwrap().is_none());
}

#[tokio::test]
async fn attempts_come_out_as_they_went_in_and_lists_leave_the_answers_out() {
    let folder = tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let number = record(&store, &incoming(&clock(1))).await;
    let answer = Answer {
        status: 500,
        headers: [("Content-Type", "text/plain"), ("X-A", "1")].into_iter().collect(),
        body: vec![0xff; 100_000].into(),
        cut: true,
    };
    let attempts = [refused(1), attempt(2, Outcome::Answered(answer.clone())), answered(u32::MAX, 204)];
    for attempt in &attempts {
        record_attempt(&store, number, attempt.clone()).await;
    }
    assert_eq!(shown(&find(folder.path(), number).delivery.attempts), shown(&attempts.to_vec()));
    let outline = Answer { headers: Headers::new(), body: Bytes::new(), ..answer };
    let [first, _, last] = attempts;
    let outlines = vec![first, attempt(2, Outcome::Answered(outline)), last];
    assert_eq!(shown(&all(folder.path())[0].attempts), shown(&outlines));
}

#[tokio::test]
async fn no_credential_reaches_the_disk() {
    const CANARY: &str = "canary-5f1d";
    let folder = tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let mut request = incoming(&clock(1));
    request.request.headers =
        [("X-MB-Secret", CANARY), ("cookie", CANARY), ("x-kept", "kept-9a")].into_iter().collect();
    let number = record(&store, &request).await;
    let headers = [("Set-Cookie", CANARY)].into_iter().collect();
    let answer = Answer { status: 200, headers, body: Bytes::new(), cut: false };
    record_attempt(&store, number, attempt(1, Outcome::Answered(answer))).await;
    let on_disk = || -> Vec<u8> {
        let files = fs::read_dir(folder.path()).unwrap();
        files.flat_map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
    };
    let is_on_disk = |text: &str| on_disk().windows(text.len()).any(|window| window == text.as_bytes());
    assert!(is_on_disk("kept-9a") && !is_on_disk(CANARY));
    store.close().await;
    assert!(is_on_disk("kept-9a") && !is_on_disk(CANARY));
    let found = find(folder.path(), number);
    assert_eq!(found.request.headers.get_str("x-mb-secret"), Some("[masked]"));
}

#[tokio::test]
async fn everyone_in_a_crowd_is_answered_with_a_number_of_their_own() {
    let folder = tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let clock = clock(1);
    let mut crowd = JoinSet::new();
    for _ in 0..2000 {
        let (store, incoming) = (store.clone(), incoming(&clock));
        crowd.spawn(async move {
            let number = record(&store, &incoming).await;
            record_attempt(&store, number, answered(1, 200)).await;
            number
        });
    }
    let given: BTreeSet<i64> = crowd.join_all().await.into_iter().collect();
    assert!(given.into_iter().eq(1..=2000));
    let recorded = all(folder.path());
    assert!(numbers(&recorded).into_iter().eq((1..=2000).rev()));
    assert!(recorded.iter().all(|delivery| delivery.attempts.len() == 1));
}

#[tokio::test]
async fn what_cannot_be_written_fails_alone() {
    let folder = tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let clock = clock(1);
    let twice = incoming(&clock);
    let mut crowd = JoinSet::new();
    for i in 0..50 {
        let (store, one) = (store.clone(), if i % 10 == 0 { twice.clone() } else { incoming(&clock) });
        crowd.spawn(async move { store.record(Arc::new(one)).await });
    }
    let outcomes = crowd.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 46);
    assert_eq!(all(folder.path()).len(), 46);
    record_attempt(&store, 1, answered(1, 200)).await;
    let again = store.record_attempt(1, Arc::new(refused(1)), Waiting::AsBefore).await;
    assert!(matches!(again, Err(StoreError::Other { .. })), "{again:?}");
    assert!(find(folder.path(), 1).delivery.attempts[0].outcome.is_acknowledged());
}

#[tokio::test]
async fn closing_writes_what_waits_and_leaves_one_file() {
    let folder = tempdir().unwrap();
    let clock = clock(1);
    let store = Store::open_to_stay(folder.path(), Room::ALL, &clock).unwrap().0;
    let other = store.clone();
    let mut crowd = JoinSet::new();
    for _ in 0..100 {
        let (store, incoming) = (store.clone(), incoming(&clock));
        crowd.spawn(async move { store.record(Arc::new(incoming)).await });
    }
    // Everyone stands in the queue before it closes: one turn of the runtime need not be enough for all.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    store.close().await;
    assert!(crowd.join_all().await.iter().all(Result::is_ok));
    let late = other.record(Arc::new(incoming(&clock))).await;
    assert!(matches!(late, Err(StoreError::Closed { .. })), "{late:?}");
    other.close().await;
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, ["deliveries.db"]);
    assert_eq!(all(folder.path()).len(), 100);
}

#[tokio::test]
async fn numbers_go_on_after_opening_again_and_are_never_given_twice() {
    let folder = tempdir().unwrap();
    let clock = clock(1);
    for expected in 1..=3 {
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(record(&store, &incoming(&clock)).await, expected);
        store.close().await;
    }
    outsider(folder.path()).execute("DELETE FROM deliveries", []).unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(record(&store, &incoming(&clock)).await, 4);
}

#[tokio::test]
async fn the_log_is_copied_back_when_nothing_comes() {
    let folder = tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let clock = clock(1);
    for _ in 0..20 {
        let mut one = incoming(&clock);
        one.request.body = vec![b'x'; 20_000].into();
        record(&store, &one).await;
    }
    let size = || fs::metadata(folder.path().join("deliveries.db")).unwrap().len();
    for _ in 0..100 {
        if size() > 300_000 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the file has {} bytes after 5 s", size());
}

/// Records `count` deliveries, eight at a time.
async fn record_many(folder: &Path, clock: Clock, count: usize) {
    let store = Store::open(folder).unwrap();
    let mut crowd = JoinSet::new();
    for _ in 0..8 {
        let (store, clock) = (store.clone(), clock.clone());
        crowd.spawn(async move {
            for _ in 0..count / 8 {
                let number = record(&store, &incoming(&clock)).await;
                record_attempt(&store, number, answered(1, 200)).await;
            }
        });
    }
    crowd.join_all().await;
    store.close().await;
}

/// The other process is this very test, told by a variable which folder to write to.
#[tokio::test]
async fn two_processes_on_one_file_lose_nothing() {
    if let Some(folder) = std::env::var_os("STORE_TEST_FOLDER") {
        return record_many(Path::new(&folder), Clock::real(), 1000).await;
    }
    let folder = tempdir().unwrap();
    let (_, module) = module_path!().split_once("::").unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--quiet"])
        .arg(format!("{module}::two_processes_on_one_file_lose_nothing"))
        .env("STORE_TEST_FOLDER", folder.path())
        .spawn()
        .unwrap();
    record_many(folder.path(), Clock::real(), 1000).await;
    assert!(child.wait().unwrap().success());
    let recorded = all(folder.path());
    assert!(numbers(&recorded).into_iter().eq((1..=2000).rev()));
    assert!(recorded.iter().all(|delivery| delivery.attempts.len() == 1));
}

#[test]
fn many_openings_of_a_new_file_at_once_all_succeed() {
    let folder = tempdir().unwrap();
    let clocks = clock(1);
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let store = Store::open(folder.path()).unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(record(&store, &incoming(&clocks)));
            });
        }
    });
    assert_eq!(all(folder.path()).len(), 12);
}
