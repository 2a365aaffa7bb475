//! Large bodies: kept beside the database, read and searched like any, and missed without harm to the rest.

use std::fs;
use std::path::PathBuf;

use tempfile::{TempDir, tempdir};

use super::super::{Imported, Importer, Limits, Pruner, StoreError, examine};
use super::*;

/// A body of so many bytes, with a text of its own at its end.
fn body(bytes: usize, text: &str) -> Bytes {
    let mut body: Vec<u8> = (0..=255).cycle().take(bytes - text.len()).collect();
    body.extend_from_slice(text.as_bytes());
    body.into()
}

fn with_body(clock: &Clock, body: Bytes) -> Incoming {
    let mut incoming = incoming(clock);
    incoming.request.body = body;
    incoming
}

fn with_answer(number: u32, body: Bytes) -> Attempt {
    attempt(number, Outcome::Answered(Answer { status: 200, headers: Headers::new(), body, cut: false }))
}

fn segment(folder: &Path, number: u64) -> PathBuf {
    folder.canonicalize().unwrap().join(format!("bodies/{number:012}"))
}

/// A record whose first delivery has a large body and whose second has a large answer; the third has neither.
async fn recorded() -> TempDir {
    let (folder, clock) = (tempdir().unwrap(), clock(1));
    let store = Store::open(folder.path()).unwrap();
    record(&store, &with_body(&clock, body(1_000_000, "REQUEST-8a"))).await;
    let number = record(&store, &incoming(&clock)).await;
    record_attempt(&store, number, with_answer(1, body(2_000_000, "answer-8b"))).await;
    record(&store, &incoming(&clock)).await;
    store.close().await;
    folder
}

fn found(folder: &Path, text: &str) -> Result<Vec<i64>, StoreError> {
    let query = Query { search: Some(text.to_owned()), limit: 10, ..Query::default() };
    reader(folder).list(&query).map(|list| numbers(&list))
}

fn prune(folder: &Path, limits: Limits) {
    Pruner::open(folder, clock(9)).unwrap().unwrap().prune(&limits, Duration::ZERO, || true).unwrap();
}

#[tokio::test]
async fn they_come_out_as_they_went_in_and_are_found_and_measured() {
    let folder = recorded().await;
    assert!(find(folder.path(), 1).request.body == body(1_000_000, "REQUEST-8a"));
    let answered = find(folder.path(), 2).delivery.attempts;
    assert_eq!(shown_body(&answered[0]), body(2_000_000, "answer-8b"));
    let sizes: Vec<u64> = all(folder.path()).iter().map(|delivery| delivery.body_bytes).collect();
    assert_eq!(sizes, [2, 2, 1_000_000]);
    assert_eq!(found(folder.path(), "request-8A"), Ok(vec![1]));
    assert_eq!(found(folder.path(), "Answer-8b"), Ok(vec![2]));
    assert_eq!(found(folder.path(), "-8c"), Ok(Vec::new()));
    assert!(fs::metadata(folder.path().join("deliveries.db")).unwrap().len() < 100_000);
    let health = examine(folder.path()).unwrap().unwrap();
    assert_eq!((health.lost, health.damage), (Vec::new(), Some(Vec::new())));
    assert!((3_000_000..3_100_000).contains(&health.body_bytes), "{}", health.body_bytes);
}

fn shown_body(attempt: &Attempt) -> Bytes {
    let Outcome::Answered(answer) = &attempt.outcome else { panic!("{attempt:?}") };
    answer.body.clone()
}

#[tokio::test]
async fn importing_keeps_them_and_takes_no_space_for_what_is_known() {
    let (folder, clock) = (tempdir().unwrap(), clock(1));
    let imported = Imported {
        incoming: with_body(&clock, body(100_000, "a")),
        attempts: vec![refused(1), with_answer(2, body(200_000, "b")), with_answer(3, Bytes::new())],
    };
    let small = Imported { incoming: incoming(&clock), attempts: vec![with_answer(1, body(40_000, "c"))] };
    let mut importer = Importer::open(folder.path()).unwrap();
    let batch = [imported.clone(), small];
    assert_eq!(importer.add(&batch), Ok(2));
    let space = fs::metadata(segment(folder.path(), 1)).unwrap().len();
    assert_eq!(importer.add(&batch), Ok(0));
    assert_eq!(fs::metadata(segment(folder.path(), 1)).unwrap().len(), space);
    let first = find(folder.path(), 1);
    assert!(first.request.body == imported.incoming.request.body);
    assert_eq!(format!("{:?}", first.delivery.attempts), format!("{:?}", imported.attempts));
    assert!(shown_body(&find(folder.path(), 2).delivery.attempts[0]) == body(40_000, "c"));
}

#[tokio::test]
async fn one_that_is_lost_is_told_and_the_rest_can_be_used() {
    let folder = recorded().await;
    let path = segment(folder.path(), 1);
    let lost = |detail: &str| StoreError::Lost { file: path.clone(), detail: detail.to_owned() };
    let get = |number| reader(folder.path()).find(&Selector::Number(number)).map(|found| found.is_some());
    let lost_now = || examine(folder.path()).unwrap().unwrap().lost;

    // The second body stands behind the first.
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1_500_000).unwrap();
    let short = lost("it ends before the body does");
    assert_eq!((get(1), get(2), get(3)), (Ok(true), Err(short.clone()), Ok(true)));
    assert_eq!(numbers(&all(folder.path())), [3, 2, 1]);
    assert_eq!(found(folder.path(), "8a"), Err(short.clone()));
    assert_eq!(lost_now(), [short]);

    fs::remove_file(&path).unwrap();
    let missing = lost("it is not there");
    assert_eq!((get(1), get(3), lost_now()), (Err(missing.clone()), Ok(true), vec![missing]));
    fs::create_dir(&path).unwrap();
    assert_eq!(get(1), Err(lost("it is not a file")));
    fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink(folder.path().join("deliveries.db"), &path).unwrap();
    assert_eq!(get(1), Err(StoreError::Symlink { file: path.clone() }));
    // What was lost can go, and whatever stands there stays.
    prune(folder.path(), Limits { keep: Some(1), ..Limits::default() });
    assert!(path.is_symlink());
    assert_eq!((numbers(&all(folder.path())), lost_now()), (vec![3], Vec::new()));
}

#[tokio::test]
async fn strange_places_are_damage_and_never_a_panic() {
    let folder = recorded().await;
    let outsider = outsider(folder.path());
    let (mut lost, mut damaged) = (0, 0);
    for place in [
        "",
        "x",
        ":",
        "::",
        "000000000001",
        "000000000001:5",
        "000000000001:5:",
        "000000000001:-5:0",
        "1:5:0",
        "00000000001é:5:0",
        "000000000001:5:18446744073709551616",
        "000000000001:18446744073709551615:1",
        "000000000001:18446744073709551615:0",
        "000000000001:9223372036854775807:4096",
        "999999999999:5:0",
        "000000000001:5:99999999",
        "../../../../../etc/passwd:5:0",
        "/etc/passwd:5:0",
        "+00000000001:5:0",
    ] {
        outsider.execute("UPDATE deliveries SET body = ?1 WHERE number = 1", [place]).unwrap();
        match reader(folder.path()).find(&Selector::Number(1)).map(drop) {
            Err(StoreError::Lost { .. }) => lost += 1,
            Err(StoreError::Damaged { .. }) => damaged += 1,
            other => panic!("{place:?}: {other:?}"),
        }
        // Lengths that are none are damage to a list, too; but it ends.
        reader(folder.path()).list(&Query { limit: 9, ..Query::default() }).ok();
        found(folder.path(), "8a").ok();
        examine(folder.path()).ok();
        let limits = Limits { keep: Some(3), max_bytes: Some(u64::MAX), ..Limits::default() };
        Pruner::open(folder.path(), clock(9)).unwrap().unwrap().prune(&limits, Duration::ZERO, || true).ok();
    }
    assert_eq!((lost, damaged), (2, 17));
    assert!(find(folder.path(), 2).delivery.attempts.len() == 1);
}

#[tokio::test]
async fn a_link_in_the_place_of_their_folder_is_refused() {
    let (folder, elsewhere) = (tempdir().unwrap(), tempdir().unwrap());
    let link = folder.path().canonicalize().unwrap().join("bodies");
    fs::write(folder.path().join("deliveries.db"), "").unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), &link).unwrap();
    let refused = StoreError::Symlink { file: link.clone() };
    assert_eq!(Store::open(folder.path()).map(drop), Err(refused.clone()));
    assert_eq!(Reader::open(folder.path()).map(drop), Err(refused.clone()));
    fs::remove_file(&link).unwrap();

    // It may be planted later, too. What is small is recorded all the same.
    let store = Store::open(folder.path()).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), &link).unwrap();
    let large = with_body(&clock(1), body(100_000, "a"));
    let (small, large) =
        tokio::join!(store.record(Arc::new(incoming(&clock(2)))), store.record(Arc::new(large.clone())));
    assert_eq!((small.unwrap().number, large.unwrap_err()), (1, refused));
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    fs::remove_file(&link).unwrap();
    assert_eq!(record(&store, &with_body(&clock(3), body(100_000, "a"))).await, 2);
    assert!(find(folder.path(), 2).request.body == body(100_000, "a"));
}

#[tokio::test]
async fn what_could_not_be_recorded_takes_no_space() {
    let folder = recorded().await;
    let store = Store::open(folder.path()).unwrap();
    let clock = clock(2);
    let outsider = outsider(folder.path());
    let large = Arc::new(with_body(&clock, body(100_000, "x")));
    assert_eq!(store.record(Arc::clone(&large)).await.unwrap().number, 4);
    let length = || fs::metadata(segment(folder.path(), 2)).unwrap().len();
    assert_eq!(length(), 102_400);
    outsider.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let again = Arc::new(with_body(&clock, body(200_000, "y")));
    let error = store.record(Arc::clone(&again)).await.unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }), "{error:?}");
    assert_eq!(length(), 102_400);
    outsider.execute_batch("COMMIT").unwrap();
    assert_eq!(store.record(again).await.unwrap().number, 5);
    assert!(find(folder.path(), 5).request.body == body(200_000, "y"));
    assert!(find(folder.path(), 4).request.body == large.request.body);
}

#[tokio::test]
async fn pruning_gives_their_space_back_and_leaves_what_others_write_alone() {
    let folder = recorded().await;
    let store = Store::open(folder.path()).unwrap();
    let clock = clock(2);
    for text in ["a", "b", "c"] {
        record(&store, &with_body(&clock, body(500_000, text))).await;
    }
    let space = || examine(folder.path()).unwrap().unwrap().body_bytes;
    assert!((4_500_000..4_600_000).contains(&space()), "{}", space());
    // The first segment belongs to nobody any more: it goes as a whole. The second is still written to.
    prune(folder.path(), Limits { keep: Some(2), ..Limits::default() });
    assert!(!segment(folder.path(), 1).exists());
    assert!((1_000_000..1_100_000).contains(&space()), "{}", space());
    assert!(find(folder.path(), 5).request.body == body(500_000, "b"));
    assert_eq!(record(&store, &with_body(&clock, body(500_000, "d"))).await, 7);
    assert!(find(folder.path(), 7).request.body == body(500_000, "d"));
    prune(folder.path(), Limits { keep: Some(0), ..Limits::default() });
    assert!(space() < 100_000, "{}", space());
    assert_eq!(record(&store, &with_body(&clock, body(500_000, "e"))).await, 8);
    assert!(find(folder.path(), 8).request.body == body(500_000, "e"));
    store.close().await;
    prune(folder.path(), Limits { keep: Some(0), ..Limits::default() });
    // The last one stays, and is empty: its number must not be given again.
    assert_eq!(fs::metadata(segment(folder.path(), 2)).unwrap().len(), 0);
    let store = Store::open(folder.path()).unwrap();
    record(&store, &with_body(&clock, body(500_000, "f"))).await;
    assert!(segment(folder.path(), 3).exists());
}

#[tokio::test]
async fn what_a_crash_left_without_a_row_is_found_and_given_back() {
    let folder = recorded().await;
    // As if the second and the third had been appended right before a crash.
    outsider(folder.path()).execute("DELETE FROM attempts WHERE delivery = 2", []).unwrap();
    let stray = segment(folder.path(), 2);
    fs::write(&stray, vec![b'x'; 1_000_000]).unwrap();
    let newest = segment(folder.path(), 3);
    fs::write(&newest, vec![b'x'; 1_000_000]).unwrap();
    prune(folder.path(), Limits::default());
    assert!(!stray.exists() && fs::metadata(&newest).unwrap().len() == 0);
    let space = examine(folder.path()).unwrap().unwrap().body_bytes;
    assert!((1_000_000..1_010_000).contains(&space), "{space}");
    assert!(find(folder.path(), 1).request.body == body(1_000_000, "REQUEST-8a"));
}
