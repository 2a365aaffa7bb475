//! Damaged records: what can be read of them is saved, and no loss is silent.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use tempfile::TempDir;

use super::*;
use crate::store::repair;

/// How many deliveries are recorded, and how many of them have large bodies.
const DELIVERIES: usize = 60;
const LARGE: usize = 6;

/// What happens to a whole record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mutation {
    /// Some bytes of the first hundred, which say what the file is.
    Head,
    /// Some bytes of the first page, which says where everything is.
    FirstPage,
    /// Up to 4 KiB anywhere.
    Overwritten,
    CutShort,
    Empty,
    NoMagic,
    /// The file of large bodies: cut short, or gone.
    Bodies,
    /// The log, in a record that was not closed.
    Log,
}

const MUTATIONS: [Mutation; 8] = [
    Mutation::Head,
    Mutation::FirstPage,
    Mutation::Overwritten,
    Mutation::CutShort,
    Mutation::Empty,
    Mutation::NoMagic,
    Mutation::Bodies,
    Mutation::Log,
];

const DATABASE: &str = "deliveries.db";
const LOG: &str = "deliveries.db-wal";
const SEGMENT: &str = "bodies/000000000001";

/// The files of a record, by their paths in the state folder.
type Files = BTreeMap<&'static str, Vec<u8>>;

/// The files of a record as it is when it was closed, and as it is when whoever writes is killed.
async fn records() -> [Files; 2] {
    let folder = tempdir();
    let store = Store::open(folder.path()).unwrap();
    let clock = clock(1);
    for number in 0..DELIVERIES {
        let mut one = incoming(&clock);
        let length = if number < LARGE { 40_000 } else { 100 + number * 37 };
        one.request.body = format!("{number} ").repeat(length / 2).into();
        let number = record(&store, &one).await;
        record_attempt(&store, number, answered(1, 200)).await;
    }
    let killed = files(folder.path());
    store.close().await;
    let closed = files(folder.path());
    assert!(killed.contains_key(LOG) && !closed.contains_key(LOG));
    [closed, killed]
}

/// In memory, where there is a file system for that: this would wait for the disk thousands of times.
fn tempdir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn files(folder: &Path) -> Files {
    let content = |name: &'static str| Some((name, fs::read(folder.join(name)).ok()?));
    [DATABASE, LOG, SEGMENT].into_iter().filter_map(content).collect()
}

fn put(files: &Files) -> TempDir {
    let folder = tempdir();
    fs::create_dir(folder.path().join("bodies")).unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn mutated(mutation: Mutation, whole: &Files, random: &mut StdRng) -> Files {
    let mut files = whole.clone();
    let database = files.get_mut(DATABASE).unwrap();
    let mut scribble = |bytes: &mut [u8]| {
        for _ in 0..random.random_range(1..20) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
    };
    match mutation {
        Mutation::Head => scribble(&mut database[..100]),
        Mutation::FirstPage => scribble(&mut database[..4096]),
        Mutation::Overwritten => {
            let length = random.random_range(1024..=4096);
            let start = random.random_range(0..database.len() - length);
            random.fill_bytes(&mut database[start..start + length]);
        }
        Mutation::CutShort => database.truncate(random.random_range(1..database.len())),
        Mutation::Empty => database.clear(),
        Mutation::NoMagic => random.fill_bytes(&mut database[..16]),
        Mutation::Bodies if random.random_ratio(1, 3) => drop(files.remove(SEGMENT)),
        Mutation::Bodies => {
            let segment = files.get_mut(SEGMENT).unwrap();
            segment.truncate(random.random_range(0..segment.len()));
        }
        Mutation::Log => {
            let log = files.get_mut(LOG).unwrap();
            let start = random.random_range(0..log.len() - 100);
            random.fill_bytes(&mut log[start..start + 100]);
        }
    }
    files
}

/// The bodies that are recorded, by id; `None` when not all can be read.
fn recorded(folder: &Path) -> Option<BTreeMap<String, Bytes>> {
    let reader = Reader::open(folder).ok().flatten()?;
    let list = reader.list(&Query { limit: 1000, ..Query::default() }).ok()?;
    let body = |delivery: &Delivery| {
        let found = reader.find(&Selector::Number(delivery.number)).ok().flatten()?;
        Some((delivery.id.to_string(), found.request.body))
    };
    list.iter().map(body).collect()
}

/// The damaged files that were kept.
fn asides(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_one =
        |path: &PathBuf| path.to_str().is_some_and(|it| it.contains(".corrupt-") && !it.ends_with("-wal"));
    paths.filter(is_one).collect()
}

#[tokio::test]
async fn what_can_be_read_of_a_damaged_record_is_saved_and_no_loss_is_silent() {
    let is_full = std::env::var_os("MBAAS_TEST_FULL").is_some_and(|value| !value.is_empty());
    let inputs = if is_full { 4000 } else { 304 };
    let [closed, killed] = records().await;
    let originals = recorded(put(&closed).path()).unwrap();
    assert_eq!((originals.len(), recorded(put(&killed).path()).unwrap()), (DELIVERIES, originals.clone()));
    let mut random = StdRng::seed_from_u64(6);
    let mut violations = 0;
    let mut sums: BTreeMap<Mutation, (usize, usize)> = BTreeMap::new();
    for input in 0..inputs {
        let mutation = MUTATIONS[input % MUTATIONS.len()];
        let whole = if mutation == Mutation::Log { &killed } else { &closed };
        let damaged = mutated(mutation, whole, &mut random);
        let folder = put(&damaged);
        let repaired = repair(folder.path(), &clock(2));
        let mut fail = |what: &str| {
            violations += 1;
            println!("input {input}, {mutation:?}: {what}: {repaired:?}");
        };
        let asides = asides(folder.path());
        let (is_told, kept) =
            (matches!(repaired, Ok(Some(_))), asides.iter().map(|it| fs::read(it).unwrap()));
        if kept.collect::<Vec<_>>() != vec![damaged[DATABASE].clone(); usize::from(is_told)] {
            fail("what was damaged is not kept as it was");
        }
        let found = match (&repaired, recorded(folder.path())) {
            (_, Some(found)) => found,
            // What looks like somebody else's is left alone.
            (Err(StoreError::Foreign { .. } | StoreError::Newer { .. }), None) => continue,
            _ => {
                fail("it cannot be read after it was repaired");
                continue;
            }
        };
        let (saved, known) =
            repaired.iter().flatten().next().map_or((found.len(), 0), |it| (it.saved, it.known));
        // What a page was overwritten with can look like rows.
        if saved != found.len() || known > DELIVERIES + 20 {
            fail(&format!("{} are there", found.len()));
        }
        // What was in a log and not yet copied back is gone with it, and leaves no trace.
        if found.len() < DELIVERIES && !is_told && mutation != Mutation::Log {
            fail(&format!("a silent loss: {} are there", found.len()));
        }
        // What was overwritten may be the bytes of a body.
        let may_differ = matches!(mutation, Mutation::Overwritten | Mutation::FirstPage);
        if !may_differ && found.iter().any(|(id, body)| originals.get(id) != Some(body)) {
            fail("a delivery is there that never came, or not as it came");
        }
        let sums = sums.entry(mutation).or_default();
        *sums = (sums.0 + found.len(), sums.1 + DELIVERIES);
    }
    println!("saved of what there was: {sums:?}");
    println!("inputs={inputs} violations={violations} (D6)");
    assert_eq!(violations, 0);
    // Where the pages of the table are whole, all is saved.
    for mutation in [Mutation::Head, Mutation::NoMagic] {
        assert_eq!(sums[&mutation].0, sums[&mutation].1, "{mutation:?}");
    }
    assert!(sums[&Mutation::Bodies].0 * DELIVERIES >= sums[&Mutation::Bodies].1 * (DELIVERIES - LARGE));
    assert!(sums[&Mutation::Overwritten].0 * 10 > sums[&Mutation::Overwritten].1 * 7);
    assert!(sums[&Mutation::CutShort].0 * 5 > sums[&Mutation::CutShort].1);
}

#[tokio::test]
async fn numbers_that_were_lost_are_not_given_again_and_what_waits_still_waits() {
    let folder = tempdir();
    let store = Store::open(folder.path()).unwrap();
    let clock = clock(1);
    let target = || "localhost:3000".parse::<crate::model::Target>().unwrap();
    for _ in 0..3 {
        store.record_held(Arc::new(incoming(&clock)), target()).await.unwrap();
    }
    let mut large = incoming(&clock);
    large.request.body = vec![b'x'; 40_000].into();
    assert_eq!(record(&store, &large).await, 4);
    store.close().await;
    fs::remove_dir_all(folder.path().join("bodies")).unwrap();
    let repaired = repair(folder.path(), &clock).unwrap().unwrap();
    assert_eq!((repaired.saved, repaired.known, repaired.bare), (3, 4, 0));
    assert!(repaired.to_string().contains("3 of its 4 deliveries were saved into a new one"), "{repaired}");
    assert_eq!(reader(folder.path()).first_held(&target().to_string()), Ok(Some(1)));
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(record(&store, &incoming(&clock)).await, 5);
    store.close().await;
    assert_eq!(repair(folder.path(), &clock), Ok(None));
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_costs_its_attempt_and_not_the_delivery() {
    let folder = tempdir();
    let store = Store::open(folder.path()).unwrap();
    let number = record(&store, &incoming(&clock(1))).await;
    let body = vec![b'x'; 40_000].into();
    let answer = Answer { status: 200, headers: Headers::new(), body, cut: false };
    record_attempt(&store, number, attempt(1, Outcome::Answered(answer))).await;
    store.close().await;
    fs::remove_dir_all(folder.path().join("bodies")).unwrap();
    let repaired = repair(folder.path(), &clock(2)).unwrap().unwrap();
    assert_eq!((repaired.saved, repaired.known, repaired.bare), (1, 1, 1));
    assert!(repaired.to_string().ends_with("1 of them without their attempts"), "{repaired}");
    assert_eq!(find(folder.path(), 1).delivery.attempts.len(), 0);
}
