//! Power cuts, disks that fail and programs that die at any write, played with `strace`: it sees every write, makes single
//! ones fail, and kills at them.
//!
//! What a power cut leaves is worked out from the order of what was written and synced: all that a finished `fdatasync`
//! covers is there; of what was written since, any sectors may be there or not. Names (files made and removed) follow each
//! other and are durable with the next sync of anything, as on file systems with a journal. It is no proof against disks
//! that lie about a sync.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use mbaas_dev::model::Clock;
use rusqlite::Connection;

use crate::assurance::{Random, report, tier};
use crate::durability::{PATIENCE, Sender, limit, run_to_end};
use crate::handler::{Handler, nobody};
use crate::world::{Listening, World};

/// What a disk writes as a whole or not at all, in bytes.
const SECTOR: usize = 512;
const SEED: u64 = 0x0070_6f77_6572;

/// The program under `strace`, which goes on as its parent's child with these options.
fn traced(options: &[&str], command: &Command) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["-D", "-f", "-q"]).args(options).arg(command.get_program()).args(command.get_args());
    traced.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    traced.env("PATH", std::env::var_os("PATH").unwrap());
    traced.current_dir(command.get_current_dir().unwrap());
    traced.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    traced
}

/// Something that happened to the record, in the order in which it did.
#[derive(Debug)]
enum Event {
    Made(String),
    Removed(String),
    Written { file: String, offset: usize, bytes: Vec<u8> },
    Cut { file: String, length: usize },
    Synced(String),
    Acknowledged(String),
}

/// The bytes in all quoted texts of a line, which `strace -xx` writes as `\x41\x42`.
fn unescaped(text: &str) -> Vec<u8> {
    let digits = text.split("\\x").skip(1).filter_map(|part| part.get(..2));
    digits.filter_map(|digits| u8::from_str_radix(digits, 16).ok()).collect()
}

/// The name of a file of the record within its folder, from what stands in a line; `None` for other files.
fn name_in(state: &Path, text: &str) -> Option<String> {
    let path = String::from_utf8(unescaped(text)).ok()?;
    let name = Path::new(&path).strip_prefix(state).ok()?.to_str()?.to_owned();
    let is_recorded =
        name.starts_with("deliveries.db") && !name.ends_with("-shm") || name.starts_with("bodies/");
    is_recorded.then_some(name)
}

/// Reads what `strace` wrote.
fn events(state: &Path, log: &str) -> Vec<Event> {
    let (mut events, mut unfinished) = (Vec::new(), HashMap::new());
    let mut there = BTreeSet::new();
    for line in log.lines() {
        let (pid, call) = line.trim_start().split_once(' ').unwrap();
        let call = call.trim_start();
        // What is sent may arrive at once; what is written or synced is so when the call ends.
        let is_sent = ["sendto(", "writev(", "write(", "sendmsg("].iter().any(|name| call.starts_with(name));
        if is_sent {
            let said = String::from_utf8_lossy(&unescaped(call)).into_owned();
            if let Some((_, behind)) = said.split_once("mbaas-dev-delivery: ") {
                events.push(Event::Acknowledged(behind.split('\r').next().unwrap().to_owned()));
            }
            continue;
        }
        if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
            unfinished.insert(pid.to_owned(), begun.to_owned());
            continue;
        }
        let whole = match call.strip_prefix("<... ") {
            Some(resumed) => {
                let Some(begun) = unfinished.remove(pid) else { continue };
                begun + resumed.split_once("resumed>").unwrap().1
            }
            None => call.to_owned(),
        };
        let Some((arguments, result)) = whole.rsplit_once(" = ") else { continue };
        let Some((name, arguments)) = arguments.split_once('(') else { continue };
        if result.starts_with('-') {
            continue;
        }
        // A descriptor's path stands in angle brackets, a path in quotes.
        let in_brackets = || name_in(state, arguments.split_once('<')?.1.split_once('>')?.0);
        let in_quotes = || name_in(state, arguments.split('"').nth(1)?);
        let last_number = || {
            arguments
                .trim_end()
                .trim_end_matches(')')
                .rsplit(", ")
                .next()
                .and_then(|number| number.parse::<usize>().ok())
        };
        match name {
            "openat" => {
                if let Some(file) = in_quotes()
                    && arguments.contains("O_CREAT")
                    && there.insert(file.clone())
                {
                    events.push(Event::Made(file));
                }
            }
            "unlink" => {
                if let Some(file) = in_quotes() {
                    there.remove(&file);
                    events.push(Event::Removed(file));
                }
            }
            "pwrite64" => {
                if let Some(file) = in_brackets() {
                    let mut bytes = unescaped(arguments.split('"').nth(1).unwrap());
                    bytes.truncate(result.trim().parse().unwrap());
                    events.push(Event::Written { file, offset: last_number().unwrap(), bytes });
                }
            }
            "ftruncate" => {
                if let Some(file) = in_brackets() {
                    events.push(Event::Cut { file, length: last_number().unwrap() });
                }
            }
            "fdatasync" | "fsync" => {
                // Of a folder too: it makes names durable.
                events.push(Event::Synced(in_brackets().unwrap_or_default()));
            }
            _ => {}
        }
    }
    events
}

/// A file on the disk: what is certainly there, and what may be.
#[derive(Clone, Default)]
struct OnDisk {
    durable: Vec<u8>,
    pending: Vec<(usize, Option<Vec<u8>>)>,
}

impl OnDisk {
    fn apply(content: &mut Vec<u8>, offset: usize, bytes: Option<&[u8]>) {
        match bytes {
            None => content.resize(offset, 0),
            Some(bytes) => {
                content.resize(content.len().max(offset + bytes.len()), 0);
                content[offset..offset + bytes.len()].copy_from_slice(bytes);
            }
        }
    }

    fn sync(&mut self) {
        for (offset, bytes) in self.pending.drain(..) {
            Self::apply(&mut self.durable, offset, bytes.as_deref());
        }
    }

    /// What may be found after a power cut. `kept` says of each sector whether it got there.
    fn after_cut(&self, mut kept: impl FnMut() -> bool) -> Vec<u8> {
        let mut content = self.durable.clone();
        for (offset, bytes) in &self.pending {
            match bytes {
                None if kept() => Self::apply(&mut content, *offset, None),
                None => {}
                Some(bytes) => {
                    for (at, sector) in bytes.chunks(SECTOR).enumerate() {
                        if kept() {
                            Self::apply(&mut content, offset + at * SECTOR, Some(sector));
                        }
                    }
                }
            }
        }
        content
    }
}

/// What is on the disk when the power fails before event number `cut`, and what was acknowledged by then.
fn power_cut(events: &[Event], cut: usize, random: &mut Random) -> (BTreeMap<String, Vec<u8>>, Vec<String>) {
    let mut files: Vec<OnDisk> = Vec::new();
    let (mut now, mut durable): (BTreeMap<String, usize>, BTreeMap<String, usize>) = Default::default();
    let (mut pending_names, mut acknowledged) = (Vec::new(), Vec::new());
    for event in &events[..cut] {
        match event {
            Event::Made(file) => {
                files.push(OnDisk::default());
                now.insert(file.clone(), files.len() - 1);
                pending_names.push((file.clone(), Some(files.len() - 1)));
            }
            Event::Removed(file) => {
                now.remove(file);
                pending_names.push((file.clone(), None));
            }
            Event::Written { file, offset, bytes } => {
                files[now[file]].pending.push((*offset, Some(bytes.clone())));
            }
            Event::Cut { file, length } => files[now[file]].pending.push((*length, None)),
            Event::Synced(file) => {
                if let Some(file) = now.get(file) {
                    files[*file].sync();
                }
                for (file, made) in pending_names.drain(..) {
                    match made {
                        Some(made) => durable.insert(file, made),
                        None => durable.remove(&file),
                    };
                }
            }
            Event::Acknowledged(id) => acknowledged.push(id.clone()),
        }
    }
    let names = random.below(pending_names.len() + 1);
    for (file, made) in pending_names.into_iter().take(names) {
        match made {
            Some(made) => durable.insert(file, made),
            None => durable.remove(&file),
        };
    }
    // All of what is not certain, nothing of it, or any part.
    let odds = random.pick(&[0, 0, 1, 2, 3, 4, 4]);
    let left = durable.into_iter().map(|(name, file)| {
        let content = files[file].after_cut(|| random.below(4) < odds);
        (name, content)
    });
    (left.collect(), acknowledged)
}

/// Records with a `listen` that is traced; what happened, and the body of each delivery by its id.
fn recorded_under_trace(world: &World) -> (Vec<Event>, HashMap<String, Vec<u8>>) {
    let handler = Handler::start();
    let log = world.folder().join("trace");
    let options = [
        "--seccomp-bpf",
        "-xx",
        "-y",
        "-s",
        "1100000",
        "-o",
        log.to_str().unwrap(),
        "-e",
        "trace=openat,pwrite64,fdatasync,fsync,ftruncate,unlink,sendto,sendmsg,write,writev",
    ];
    let listen = ["listen", "--json", "--port", "0", "--forward", &handler.target(), "--verify", "off"];
    let mut listening = Listening::start(&mut traced(&options, &world.command(&listen)));
    let address = listening.address();
    let bodies: HashMap<String, Vec<u8>> = thread::scope(|scope| {
        let send = |sender: usize| {
            let address = &address;
            scope.spawn(move || {
                let mut connection = Sender::connect(address).unwrap();
                let mut bodies = Vec::new();
                for number in 0..12 {
                    let name = format!("{{\"sender\":{sender},\"number\":{number}}}");
                    let repeats = if number % 4 == 3 { 50_000 / name.len() } else { 1 };
                    let body = name.repeat(repeats).into_bytes();
                    let reply = connection.post(&body).unwrap();
                    assert_eq!(reply.status, 200);
                    bodies.push((reply.header("mbaas-dev-delivery").unwrap().to_owned(), body));
                }
                bodies
            })
        };
        let senders: Vec<_> = (0..4).map(send).collect();
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    });
    for _ in &bodies {
        listening.next("attempt");
    }
    // Its end is traced as well: the log is copied back and removed.
    let pid = listening.pid();
    let _limit = limit(pid);
    listening.interrupt();
    let start = Clock::real().now();
    let text = loop {
        let text = fs::read_to_string(&log).unwrap();
        if text.lines().any(|line| line.starts_with(&pid.to_string()) && line.contains("+++ exited with")) {
            break text;
        }
        assert!(Clock::real().now() < start + PATIENCE, "strace does not end");
        thread::yield_now();
    };
    (events(&world.folder().join(".mbaas-dev"), &text), bodies)
}

/// What a record lacks of what was acknowledged, or is otherwise wrong with it.
fn faults(world: &World, acknowledged: &[String], bodies: &HashMap<String, Vec<u8>>) -> Vec<String> {
    // Recording goes on.
    let goes_on = world.run(&["trigger", "meeting.failed", "--to", &nobody().0]);
    let mut faults = Vec::new();
    if goes_on.code() != 5 {
        faults.push(format!("nothing more can be recorded: {}", goes_on.errors()));
    }
    let done = world.run(&["deliveries", "export", "--no-redact"]);
    if done.code() != 0 {
        faults.push(format!("it cannot be read: {}", done.errors()));
        return faults;
    }
    let mut recorded = HashMap::new();
    for object in done.objects() {
        let body = object["body"].as_str().unwrap_or_default().as_bytes().to_vec();
        if recorded.insert(object["id"].as_str().unwrap().to_owned(), body).is_some() {
            faults.push(format!("{} is there twice", object["id"]));
        }
    }
    for id in acknowledged {
        match recorded.get(id) {
            None => faults.push(format!("{id} was acknowledged and is lost")),
            Some(body) if bodies.get(id).is_some_and(|sent| sent != body) => {
                faults.push(format!("{id} has another body"));
            }
            Some(_) => {}
        }
    }
    let connection = Connection::open(world.folder().join(".mbaas-dev/deliveries.db")).unwrap();
    let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    if sound != "ok" {
        faults.push(sound);
    }
    faults
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_at_any_moment() {
    let world = World::new();
    let (events, bodies) = recorded_under_trace(&world);
    let all = events.iter().filter(|event| matches!(event, Event::Acknowledged(_))).count();
    let syncs = events.iter().filter(|event| matches!(event, Event::Synced(_))).count();
    println!("{} events, {syncs} syncs, {all} acknowledged", events.len());
    assert_eq!(all, bodies.len(), "each is seen to be acknowledged");
    let mut random = Random(SEED);
    let cuts = tier(120, 500);
    let mut violations = Vec::new();
    for _ in 0..cuts {
        let cut = random.below(events.len() + 1);
        let (files, acknowledged) = power_cut(&events, cut, &mut random);
        let found = World::new();
        fs::create_dir_all(found.folder().join(".mbaas-dev/bodies")).unwrap();
        for (name, content) in &files {
            found.write(&format!(".mbaas-dev/{name}"), content);
        }
        let faults = faults(&found, &acknowledged, &bodies);
        violations
            .extend(faults.into_iter().map(|fault| format!("cut before {cut} of {}: {fault}", events.len())));
    }
    report("D2", cuts, violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn a_disk_that_fails_costs_no_more_than_a_503() {
    let faults_of_disks = [
        "pwrite64:error=EIO",
        "pwrite64:error=ENOSPC",
        "fdatasync:error=EIO",
        "pwrite64:retval=0",
        "fdatasync:error=ENOSPC",
    ];
    let handler = Handler::start();
    let (mut inputs, mut violations) = (0, Vec::new());
    for fault in faults_of_disks {
        for nth in 1..=tier(6, 60) {
            let what = format!("{fault}, number {nth}");
            let world = World::new();
            // The tables are there already, so that it is deliveries that fail.
            assert_eq!(world.run(&["trigger", "meeting.failed", "--to", &nobody().0]).code(), 5);
            let inject = format!("inject={fault}:when={nth}");
            let options = ["-o", "/dev/null", "-e", "trace=pwrite64,fdatasync", "-e", &inject];
            let listen =
                ["listen", "--json", "--port", "0", "--forward", &handler.target(), "--verify", "off"];
            let mut command = traced(&options, &world.command(&listen));
            inputs += 1;
            let listening = match Listening::try_start(&mut command) {
                Ok(listening) => listening,
                Err(output) => {
                    // The write was one of those at the start, and it says so.
                    let said = String::from_utf8_lossy(&output.stderr).into_owned();
                    if output.status.code() != Some(1) || !said.contains("hint: ") {
                        violations.push(format!("{what}: {}, {said}", output.status));
                    }
                    let faults = faults(&world, &[], &HashMap::new());
                    violations.extend(faults.into_iter().map(|fault| format!("{what}: {fault}")));
                    continue;
                }
            };
            let _limit = limit(listening.pid());
            let mut sender = Sender::connect(&listening.address()).unwrap();
            let (mut acknowledged, mut bodies) = (Vec::new(), HashMap::new());
            let mut last = 0;
            for number in 0..10 {
                let name = format!("{{\"number\":{number}}}");
                let body = name.repeat(if number % 5 == 2 { 50_000 / name.len() } else { 1 }).into_bytes();
                let reply = sender.post(&body).unwrap();
                last = reply.status;
                match reply.status {
                    200 => {
                        let id = reply.header("mbaas-dev-delivery").unwrap().to_owned();
                        bodies.insert(id.clone(), body);
                        acknowledged.push(id);
                    }
                    503 if reply.header("retry-after").is_some() => {}
                    status => violations.push(format!("{what}: {status}")),
                }
            }
            // The fault may have met the last of them.
            if last != 200 && sender.post(b"{}").unwrap().status != 200 {
                violations.push(format!("{what}: it does not recover"));
            }
            let (status, _) = listening.interrupt();
            if status.code() != Some(130) {
                violations.push(format!("{what}: {status}"));
            }
            let faults = faults(&world, &acknowledged, &bodies);
            violations.extend(faults.into_iter().map(|fault| format!("{what}: {fault}")));
        }
    }
    report("D4", inputs, violations.len());
    report("P9", inputs, violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// The records that earlier versions wrote, oldest format first: `tests/golden/format-N.sql`.
fn golden() -> Vec<(usize, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    (1..1000)
        .map(|format| (format, folder.join(format!("format-{format}.sql"))))
        .take_while(|(_, path)| path.exists())
        .collect()
}

/// A project with the record of an earlier version.
fn with_golden(path: &Path) -> World {
    let world = World::new();
    fs::create_dir(world.folder().join(".mbaas-dev")).unwrap();
    let connection = Connection::open(world.folder().join(".mbaas-dev/deliveries.db")).unwrap();
    connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL").unwrap();
    connection.execute_batch(&fs::read_to_string(path).unwrap()).unwrap();
    world
}

/// What a command says about the deliveries of a record, without what is of this version only.
fn deliveries(world: &World) -> Vec<serde_json::Value> {
    let done = world.run(&["deliveries", "export", "--no-redact", "--event", "golden.*"]);
    assert_eq!(done.code(), 0, "{}", done.errors());
    done.objects()
}

#[test]
fn records_of_every_earlier_format_are_taken_over_and_dying_on_the_way_loses_nothing() {
    let (mut inputs, mut violations) = (0, Vec::new());
    let golden = golden();
    let newest = {
        let world = World::new();
        assert_eq!(world.run(&["trigger", "meeting.failed", "--to", &nobody().0]).code(), 5);
        let connection = Connection::open(world.folder().join(".mbaas-dev/deliveries.db")).unwrap();
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0)).unwrap()
    };
    assert_eq!(golden.len(), usize::try_from(newest).unwrap(), "each format has its golden record");
    let record = ["trigger", "meeting.failed", "--to", "127.0.0.1:9"];
    for (format, path) in &golden {
        let expected = {
            let world = with_golden(path);
            // A reader takes it as it is, before anybody writes.
            let before = deliveries(&world);
            assert_eq!(run_to_end(world.command(&record)).status.code(), Some(5));
            let after = deliveries(&world);
            if before != after || after.len() != 3 + usize::from(*format > 7) {
                violations.push(format!("format {format}: {before:?} became {after:?}"));
            }
            inputs += 1;
            after
        };
        // Killed at the first write, the second, and so on, until it is through.
        for nth in (1..).step_by(tier(3, 1)) {
            let world = with_golden(path);
            let inject = format!("inject=pwrite64:signal=KILL:when={nth}");
            let options = ["-o", "/dev/null", "-e", "trace=pwrite64", "-e", &inject];
            let output = run_to_end(traced(&options, &world.command(&record)));
            inputs += 1;
            let found = deliveries(&world);
            if found != expected {
                violations.push(format!("format {format}, killed at write {nth}: {found:?}"));
            }
            let again = run_to_end(world.command(&record));
            if again.status.code() != Some(5) || deliveries(&world) != expected {
                let said = String::from_utf8_lossy(&again.stderr).into_owned();
                violations
                    .push(format!("format {format}, killed at write {nth}, then {}: {said}", again.status));
            }
            if output.status.code().is_some() {
                break;
            }
        }
    }
    report("D7", inputs, violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn a_newer_format_is_left_alone_and_told() {
    let world = with_golden(&golden().pop().unwrap().1);
    let database = world.folder().join(".mbaas-dev/deliveries.db");
    let connection = Connection::open(&database).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let before = fs::read(&database).unwrap();
    for arguments in [
        &["deliveries", "list"][..],
        &["trigger", "meeting.failed", "--to", "127.0.0.1:9"],
        &["listen", "--port", "0"],
    ] {
        let done = run_to_end(world.command(arguments));
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.code() == Some(1) && said.contains("newer"), "{arguments:?}: {said}");
    }
    assert_eq!(fs::read(&database).unwrap(), before);
    report("D7", 3, 0);
}
