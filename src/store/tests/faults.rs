//! Whatever is wrong with the file is told, nothing panics, and recording goes on once it is right again.

use std::fs;
use std::path::PathBuf;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use tempfile::tempdir;

use super::*;

fn file(folder: &Path) -> PathBuf {
    folder.canonicalize().unwrap().join("deliveries.db")
}

/// Opens for writing and for reading, which must fail alike.
fn refused_as(folder: &Path) -> StoreError {
    let writing = Store::open(folder).map(drop).unwrap_err();
    let reading = Reader::open(folder).map(drop).unwrap_err();
    assert_eq!(writing, reading);
    writing
}

/// A folder with a record of a few deliveries, closed.
async fn recorded() -> tempfile::TempDir {
    let folder = tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let clock = clock(1);
    for i in 1..=20 {
        let mut one = incoming(&clock);
        one.kind.event_type = Some("bot.completed".parse().unwrap());
        one.kind.contract = Some(crate::model::Contract::V2);
        one.replay_of = Some(one.id.clone());
        one.request.body = vec![b'x'; i * 1000].into();
        let number = record(&store, &one).await;
        record_attempt(&store, number, refused(1)).await;
        record_attempt(&store, number, answered(2, 200)).await;
    }
    store.close().await;
    folder
}

/// Reads everything in every way; the outcome does not matter, only that there is one.
fn read_all(folder: &Path) {
    let Ok(Some(reader)) = Reader::open(folder) else { return };
    for failed in [false, true] {
        let event = Some("*".to_owned());
        let query = Query { event, failed, search: Some("zz".to_owned()), limit: 1000, ..Query::default() };
        reader.list(&query).ok();
    }
    for number in 1..=20 {
        reader.find(&Selector::Number(number)).ok();
    }
}

#[test]
fn the_sqlite_in_us_has_the_fix_of_its_log() {
    // Before, starting the log over could corrupt the file when two processes wrote.
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
}

#[tokio::test]
async fn no_record_yet_is_not_an_error_for_readers() {
    let folder = tempdir().unwrap();
    assert!(Reader::open(folder.path()).unwrap().is_none());
    let missing = folder.path().join("missing");
    assert!(Reader::open(&missing).unwrap().is_none());
    let error = Store::open(&missing).map(drop).unwrap_err();
    assert_eq!(error, StoreError::NotFound { file: missing.join("deliveries.db") });
}

#[test]
fn what_is_no_database_is_damaged() {
    let folder = tempdir().unwrap();
    fs::write(file(folder.path()), "This is not a database. ".repeat(1000)).unwrap();
    assert!(matches!(refused_as(folder.path()), StoreError::Damaged { .. }));
    fs::remove_file(file(folder.path())).unwrap();
    fs::create_dir(file(folder.path())).unwrap();
    assert!(matches!(refused_as(folder.path()), StoreError::Foreign { .. }));
}

#[tokio::test]
async fn an_empty_file_is_damaged_where_there_is_a_log() {
    let folder = recorded().await;
    let store = Store::open(folder.path()).unwrap();
    record(&store, &incoming(&clock(2))).await;
    fs::write(file(folder.path()), "").unwrap();
    let log = || fs::metadata(file(folder.path()).with_extension("db-wal")).unwrap().len();
    let before = log();
    assert!(matches!(refused_as(folder.path()), StoreError::Damaged { .. }));
    assert_eq!((before > 0, log()), (true, before), "SQLite would have removed it");
}

#[test]
fn an_empty_file_becomes_a_record() {
    let folder = tempdir().unwrap();
    fs::write(file(folder.path()), "").unwrap();
    assert!(all(folder.path()).is_empty());
}

#[tokio::test]
async fn other_formats_and_other_tables_are_told() {
    let folder = recorded().await;
    let set = |version: i64| outsider(folder.path()).pragma_update(None, "user_version", version).unwrap();
    let file = || file(folder.path());
    let known = i64::try_from(crate::store::schema::MIGRATIONS.len()).unwrap();
    set(99);
    assert_eq!(refused_as(folder.path()), StoreError::Newer { file: file(), found: 99, known });
    set(-1);
    assert!(matches!(refused_as(folder.path()), StoreError::Damaged { .. }));
    set(known);
    outsider(folder.path()).execute("ALTER TABLE deliveries RENAME COLUMN origin TO source", []).unwrap();
    let writing = Store::open(folder.path()).map(drop).unwrap_err();
    assert!(matches!(writing, StoreError::Foreign { .. }), "{writing:?}");
    let reading = reader(folder.path()).list(&Query { limit: 1, ..Query::default() });
    assert!(matches!(reading, Err(StoreError::Foreign { .. })), "{reading:?}");
}

#[cfg(unix)]
#[test]
fn symbolic_links_are_refused_and_left_alone() {
    for name in ["deliveries.db", "deliveries.db-wal", "deliveries.db-shm", "deliveries.db-journal"] {
        for is_dangling in [false, true] {
            let (folder, elsewhere) = (tempdir().unwrap(), tempdir().unwrap());
            let target = elsewhere.path().join("precious");
            if !is_dangling {
                fs::write(&target, "precious").unwrap();
            }
            fs::write(file(folder.path()), "").unwrap();
            let link = folder.path().canonicalize().unwrap().join(name);
            fs::remove_file(&link).ok();
            std::os::unix::fs::symlink(&target, &link).unwrap();
            assert_eq!(refused_as(folder.path()), StoreError::Symlink { file: link });
            assert_eq!(fs::read(&target).ok().as_deref(), (!is_dangling).then_some(&b"precious"[..]));
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_behind_a_link_is_fine_and_the_files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, elsewhere) = (tempdir().unwrap(), tempdir().unwrap());
    let link = elsewhere.path().join("link");
    std::os::unix::fs::symlink(folder.path(), &link).unwrap();
    let store = Store::open(&link).unwrap();
    record(&store, &incoming(&clock(1))).await;
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
    assert_eq!(files.len(), 3);
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn what_may_not_be_written_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let folder = recorded().await;
    let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    allow(&file(folder.path()), 0o400);
    if fs::OpenOptions::new().write(true).open(file(folder.path())).is_ok() {
        return; // root may write all the same
    }
    let error = Store::open(folder.path()).map(drop).unwrap_err();
    assert_eq!(error, StoreError::ReadOnly { file: file(folder.path()) });
    let empty = tempdir().unwrap();
    allow(empty.path(), 0o500);
    let error = Store::open(empty.path()).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Unwritable { .. }), "{error:?}");
    allow(empty.path(), 0o700);
}

#[tokio::test]
async fn a_locked_file_is_busy_until_it_is_released_and_can_be_read_meanwhile() {
    let folder = recorded().await;
    let store = Store::open(folder.path()).unwrap();
    let outsider = outsider(folder.path());
    outsider.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let one = Arc::new(incoming(&clock(2)));
    let error = store.record(Arc::clone(&one)).await.unwrap_err();
    assert_eq!(error, StoreError::Busy { file: file(folder.path()) });
    assert_eq!(all(folder.path()).len(), 20);
    outsider.execute_batch("COMMIT").unwrap();
    assert_eq!(store.record(one).await.unwrap().number, 21);
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_is_removed_or_replaced_while_open_is_noticed() {
    let folder = recorded().await;
    let store = Store::open(folder.path()).unwrap();
    let clock = clock(2);
    let aside = tempdir().unwrap();
    record(&store, &incoming(&clock)).await;
    fs::rename(file(folder.path()), file(aside.path())).unwrap();
    assert_eq!(record(&store, &incoming(&clock)).await, 22);
    assert_eq!((all(folder.path()).len(), all(aside.path()).len()), (1, 21));
    replace(folder.path());
    let error = store.record(Arc::new(incoming(&clock))).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    fs::remove_file(file(folder.path())).unwrap();
    assert_eq!(record(&store, &incoming(&clock)).await, 23);
    assert_eq!(all(folder.path()).len(), 1);
}

#[cfg(unix)]
#[tokio::test]
async fn what_came_of_a_delivery_that_is_gone_is_not_taken_for_what_came_of_another() {
    let folder = recorded().await;
    let store = Store::open(folder.path()).unwrap();
    let clock = clock(2);
    let deleted = record(&store, &incoming(&clock)).await;
    assert_eq!(crate::store::remove(folder.path(), deleted), Ok(true));
    record_attempt(&store, deleted, answered(1, 200)).await;
    let attempts = |of: i64| {
        outsider(folder.path())
            .query_row("SELECT count(*) FROM attempts WHERE delivery = ?1", [of], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!(attempts(deleted), 0, "nobody would ever remove it");

    let lost = record(&store, &incoming(&clock)).await;
    let other = recorded().await;
    fs::rename(file(other.path()), file(folder.path())).unwrap();
    record_attempt(&store, lost, answered(1, 200)).await;
    record_attempt(&store, 1, answered(9, 200)).await;
    assert_eq!(attempts(1), 2, "it has the number of one in the other record");
    let next = record(&store, &incoming(&clock)).await;
    assert!(next > lost, "{next}");
    record_attempt(&store, next, answered(1, 201)).await;
    assert_eq!((attempts(lost), attempts(next)), (0, 1));
}

/// Puts something that is no record in the place of the record.
fn replace(folder: &Path) {
    let garbage = folder.join("garbage");
    fs::write(&garbage, "x".repeat(10_000)).unwrap();
    fs::rename(garbage, file(folder)).unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn the_log_of_a_file_that_went_away_is_not_taken_for_that_of_its_successor() {
    let folder = recorded().await;
    let aside = tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let clock = clock(2);
    record(&store, &incoming(&clock)).await;
    // What comes now cannot be copied back from the log while this one reads.
    let reader = outsider(folder.path());
    let moment = reader.unchecked_transaction().unwrap();
    let count =
        |reader: &Connection| reader.query_row("SELECT count(*) FROM deliveries", [], |row| row.get(0));
    assert_eq!(count(&moment), Ok(21));
    record(&store, &incoming(&clock)).await;
    fs::hard_link(file(folder.path()), file(aside.path())).unwrap();
    replace(folder.path());
    let error = store.record(Arc::new(incoming(&clock))).await.unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }), "{error:?}");
    drop(moment);
    let error = store.record(Arc::new(incoming(&clock))).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    assert_eq!(all(aside.path()).len(), 22, "it is whole where it went");
    fs::remove_file(file(folder.path())).unwrap();
    assert_eq!(record(&store, &incoming(&clock)).await, 23);
    assert_eq!(all(folder.path()).len(), 1);
}

#[cfg(unix)]
#[tokio::test]
async fn what_went_into_a_file_that_was_replaced_meanwhile_is_not_acknowledged_before_it_is_in_its_successor()
{
    let rounds = 10;
    let mut violations = 0;
    for _ in 0..rounds {
        let (folder, aside) = (recorded().await, tempdir().unwrap());
        let store = Store::open(folder.path()).unwrap();
        let incoming = Arc::new(incoming(&clock(2)));
        let locked = outsider(folder.path());
        locked.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut recording = std::pin::pin!(store.record(Arc::clone(&incoming)));
        tokio::select! {
            biased;
            _ = &mut recording => unreachable!("the file is locked"),
            () = std::future::ready(()) => {}
        }
        // Once the writer has taken it, and looked which file is there, it waits for the lock.
        while store.queue.capacity() < store.queue.max_capacity() {
            std::thread::yield_now();
        }
        fs::write(aside.path().join("something"), vec![b'x'; 1_000_000]).unwrap();
        fs::rename(file(folder.path()), file(aside.path())).unwrap();
        locked.execute_batch("COMMIT").unwrap();
        drop(locked);
        let acknowledged = recording.await.is_ok();
        let is_there = all(folder.path()).iter().any(|delivery| delivery.id == incoming.id);
        violations += usize::from(acknowledged && !is_there);
    }
    println!("inputs={rounds} violations={violations} (P1)");
    assert_eq!(violations, 0);
}

#[tokio::test]
async fn strange_values_are_damage_and_never_a_panic() {
    let folder = recorded().await;
    let outsider = outsider(folder.path());
    // Without the conditions on the columns, anything can stand in them.
    outsider.pragma_update(None, "writable_schema", true).unwrap();
    outsider
        .execute("UPDATE sqlite_schema SET sql = replace(sql, 'NOT NULL', '') WHERE type = 'table'", [])
        .unwrap();
    drop(outsider);
    let outsider = super::outsider(folder.path());
    let columns = [
        (
            "deliveries",
            "id received_at origin replay_of contract event_type wire_event signature method path headers body",
        ),
        ("attempts", "target started_at duration_us status error detail cut headers body"),
    ];
    let values =
        ["NULL", "-1", "9223372036854775807", "1.5", "'strange'", "x'ff00'", "CAST(x'ff' AS TEXT)", "''"];
    for (table, columns) in columns {
        for column in columns.split(' ') {
            for value in values {
                outsider.execute_batch("SAVEPOINT before").unwrap();
                let is_hit = if table == "deliveries" { "number = 1" } else { "delivery = 1 AND number = 1" };
                outsider
                    .execute(&format!("UPDATE {table} SET {column} = {value} WHERE {is_hit}"), [])
                    .unwrap();
                outsider.execute_batch("RELEASE before").unwrap();
                read_all(folder.path());
            }
        }
        let key = if table == "deliveries" { "number" } else { "delivery" };
        outsider.execute(&format!("DELETE FROM {table} WHERE {key} = 1"), []).unwrap();
    }
}

#[tokio::test]
async fn an_unknown_name_is_damage_that_names_its_column() {
    let folder = recorded().await;
    outsider(folder.path()).execute("UPDATE deliveries SET origin = 'future' WHERE number = 3", []).unwrap();
    let error = reader(folder.path()).find(&Selector::Number(3)).map(drop).unwrap_err();
    let StoreError::Damaged { detail, .. } = error else { panic!("{error:?}") };
    assert!(detail.contains("`origin`") && detail.contains("future"), "{detail}");
}

#[tokio::test]
async fn no_damage_to_the_bytes_makes_a_panic() {
    let original = recorded().await;
    let sound = fs::read(file(original.path())).unwrap();
    let mut random = StdRng::seed_from_u64(1);
    for round in 0..60 {
        let folder = tempdir().unwrap();
        let mut bytes = sound.clone();
        if round % 4 == 0 {
            bytes.truncate(random.random_range(0..bytes.len()));
        } else {
            let length = random.random_range(1..4096);
            let start = random.random_range(0..bytes.len() - length);
            random.fill_bytes(&mut bytes[start..start + length]);
        }
        fs::write(file(folder.path()), bytes).unwrap();
        read_all(folder.path());
        if let Ok(store) = Store::open(folder.path()) {
            store.record(Arc::new(incoming(&clock(round)))).await.ok();
            store.close().await;
        }
    }
}
