//! What was acknowledged is on disk: kill -9, full disk, locked, damaged and foreign stores; and secrets stay secret.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::assurance::{Random, report, tier};
use crate::disk::Disk;
use crate::handler::{self, Handler};
use crate::world::{Listening, World};

/// How long a test waits for something that must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

const SEED: u64 = 0x6475_7261_626c_6531;

/// A sender with one connection that stays open.
pub struct Sender {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What a sender was answered.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let is_it = |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
        self.headers.iter().find(is_it).map(|(_, value)| value.as_str())
    }
}

impl Sender {
    pub fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends a request and does not wait; `headers` are whole lines.
    pub fn send(&mut self, headers: &str, body: &[u8]) -> io::Result<()> {
        let length = body.len();
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {length}\r\n\r\n");
        self.stream.write_all(&[head.as_bytes(), body].concat())
    }

    /// Waits for the next answer.
    pub fn receive(&mut self) -> io::Result<Reply> {
        loop {
            if let Some(reply) = self.take_reply() {
                return Ok(reply);
            }
            let mut chunk = [0; 8 * 1024];
            match self.stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.buffer.extend_from_slice(&chunk[..length]),
            }
        }
    }

    pub fn post(&mut self, body: &[u8]) -> io::Result<Reply> {
        self.send("", body)?;
        self.receive()
    }

    fn take_reply(&mut self) -> Option<Reply> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut fields);
        let start = match head.parse(&self.buffer).unwrap() {
            httparse::Status::Complete(start) => start,
            httparse::Status::Partial => return None,
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = head.headers.iter().map(|field| (field.name.to_owned(), text(field.value))).collect();
        let mut reply = Reply { status: head.code.unwrap(), headers, body: Vec::new() };
        let end = start + reply.header("content-length").unwrap().parse::<usize>().unwrap();
        reply.body = self.buffer.get(start..end)?.to_vec();
        self.buffer.drain(..end);
        Some(reply)
    }
}

/// Sends one request over a connection of its own.
pub fn post(address: &str, body: &[u8]) -> Reply {
    Sender::connect(address).unwrap().post(body).unwrap()
}

/// Kills a process that is still there when patience ends; until then, or until this is dropped, it does nothing.
pub fn limit(pid: u32) -> mpsc::Sender<()> {
    let (guard, dropped) = mpsc::channel::<()>();
    thread::spawn(move || {
        if dropped.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            println!("process {pid} did not end in time");
            Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
        }
    });
    guard
}

/// Runs a process that must end by itself.
pub fn run_to_end(mut command: Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _limit = limit(child.id());
    child.wait_with_output().unwrap()
}

/// Ends `listen` as Ctrl-C does, in good order; what it still printed.
pub fn interrupt(listening: Listening) -> Vec<serde_json::Value> {
    let _limit = limit(listening.pid());
    let (status, rest) = listening.interrupt();
    assert_eq!(status.code(), Some(130));
    rest
}

pub fn state(world: &World) -> PathBuf {
    world.folder().join(".mbaas-dev")
}

pub fn database(world: &World) -> PathBuf {
    state(world).join("deliveries.db")
}

/// The bodies in the record, sorted.
pub fn recorded_bodies(database: &Path) -> Vec<Vec<u8>> {
    let connection = Connection::open(database).unwrap();
    let mut statement = connection.prepare("SELECT body FROM deliveries").unwrap();
    let bodies = statement.query_map([], |row| Ok(body(database, &row.get(0)?))).unwrap();
    let mut bodies: Vec<_> = bodies.map(Result::unwrap).collect();
    bodies.sort();
    bodies
}

/// The body that a column has, or that stands where the column says: `SEGMENT:LENGTH:OFFSET`.
fn body(database: &Path, column: &Value) -> Vec<u8> {
    let place = match column {
        Value::Blob(body) => return body.clone(),
        Value::Text(place) => place,
        other => panic!("{other:?}"),
    };
    let [segment, length, offset] = place.split(':').collect::<Vec<_>>()[..] else { panic!("{place}") };
    let file = fs::File::open(database.with_file_name("bodies").join(segment)).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    file.read_exact_at(&mut body, offset.parse().unwrap()).unwrap();
    body
}

/// What one sender sent, and what it was told about it.
struct Ledger {
    /// The size of its bodies, when it is more than they need.
    bytes: usize,
    letters: Vec<Letter>,
}

#[derive(Default)]
struct Letter {
    name: String,
    tries: usize,
    /// The id under which it was answered.
    answered: Option<String>,
}

impl Ledger {
    /// Sends one body after the other until the connection breaks; the one that was not answered then is sent
    /// again the next time, as a real sender would.
    fn send(&mut self, name: &str, address: &str, answered: &mpsc::Sender<()>) {
        let Ok(mut sender) = Sender::connect(address) else { return };
        loop {
            if self.letters.last().is_none_or(|letter| letter.answered.is_some()) {
                let name = format!(r#"{{"sender":"{name}","number":{}}}"#, self.letters.len());
                self.letters.push(Letter { name, ..Letter::default() });
            }
            let letter = self.letters.last_mut().unwrap();
            letter.tries += 1;
            let Ok(reply) = sender.post(&letter.body(self.bytes)) else { return };
            assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
            letter.answered = Some(reply.header("mbaas-dev-delivery").unwrap().to_owned());
            // Nobody counts any more once it was decided to kill.
            answered.send(()).ok();
        }
    }
}

impl Letter {
    /// Its name, repeated until there are so many bytes.
    fn body(&self, bytes: usize) -> Vec<u8> {
        let mut body = self.name.repeat(bytes / self.name.len() + 1);
        body.truncate(bytes.max(self.name.len()));
        body.into_bytes()
    }
}

#[test]
fn whatever_was_answered_survives_kills() {
    let world = World::new();
    let (letters, again) = survives(&world, tier(20, 200), 8, 0, 250);
    assert!(letters > 500 && again > 0, "the kills met no load");
}

#[test]
fn large_bodies_that_were_answered_survive_kills_too() {
    const BYTES: usize = 1024 * 1024;
    let world = World::new();
    let (letters, again) = survives(&world, tier(8, 40), 4, BYTES, 20);
    assert!(letters > 20 && again > 0, "the kills met no load");

    // What was appended right before a kill, and has no row, takes no space for long.
    let bodies = recorded_bodies(&database(&world));
    let pruned = world.run(&["deliveries", "prune", "--keep", "1000000"]);
    assert_eq!((pruned.code(), pruned.errors().as_str()), (0, ""));
    let segments = fs::read_dir(state(&world).join("bodies")).unwrap().map(Result::unwrap);
    let space: u64 = segments.map(|segment| segment.metadata().unwrap().blocks() * 512).sum();
    let needed = (bodies.len() * BYTES) as u64;
    assert!((needed..=needed + 64 * 1024).contains(&space), "{space} bytes for {} bodies", bodies.len());
    assert!(recorded_bodies(&database(&world)) == bodies);
}

/// Kills `listen` under load again and again, then looks for all that was answered; how many bodies there were, and how
/// many of them were sent again.
fn survives(
    world: &World,
    kills: usize,
    senders: usize,
    bytes: usize,
    answers_each: usize,
) -> (usize, usize) {
    let (handler, mut random) = (Handler::start(), Random(SEED));
    let mut ledgers: Vec<Ledger> = (0..senders).map(|_| Ledger { bytes, letters: Vec::new() }).collect();
    for _ in 0..kills {
        let listening = world.listen(&["--forward", &handler.target()]);
        let address = listening.address();
        let (answered, answers) = mpsc::channel();
        thread::scope(|scope| {
            for (name, ledger) in ledgers.iter_mut().enumerate() {
                let (address, answered) = (&address, answered.clone());
                scope.spawn(move || ledger.send(&name.to_string(), address, &answered));
            }
            for _ in 0..random.below(answers_each) {
                answers.recv_timeout(PATIENCE).expect("senders are answered");
            }
            thread::sleep(Duration::from_micros(random.below(3000) as u64));
            listening.kill();
        });
    }

    // A reader comes first: it finds what the last kill left behind.
    let listed = world.run(&["deliveries", "list", "--json", "--limit", "1000000"]);
    assert_eq!((listed.code(), listed.errors().as_str()), (0, ""));
    let numbers: BTreeSet<_> =
        listed.objects().iter().map(|delivery| delivery["number"].as_i64().unwrap()).collect();

    let connection = Connection::open(database(world)).unwrap();
    let one = |sql: &str| connection.query_one(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(one("PRAGMA integrity_check"), "ok");
    let orphans = "SELECT count(*) || '' FROM attempts WHERE delivery NOT IN (SELECT number FROM deliveries)";
    assert_eq!(one(orphans), "0");
    let mut statement = connection.prepare("SELECT body, 'dlv_' || lower(hex(id)) FROM deliveries").unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((body(&database(world), &row.get(0)?), row.get(1)?));
    let rows: Vec<(Vec<u8>, String)> = statement.query_map([], row).unwrap().map(Result::unwrap).collect();
    assert_eq!(numbers.len(), rows.len(), "every delivery has a number of its own, and is listed");
    let mut recorded: HashMap<&[u8], Vec<&str>> = HashMap::new();
    for (body, id) in &rows {
        recorded.entry(body).or_default().push(id);
    }

    let letters: Vec<&Letter> = ledgers.iter().flat_map(|ledger| &ledger.letters).collect();
    let mut violations = 0;
    for letter in &letters {
        let ids = recorded.remove(&letter.body(bytes)[..]).unwrap_or_default();
        let is_there = letter.answered.as_ref().is_none_or(|id| ids.contains(&id.as_str()));
        if !is_there || ids.len() > letter.tries {
            violations += 1;
            println!("{}: tried {}, answered {:?}, {ids:?}", letter.name, letter.tries, letter.answered);
        }
    }
    let again = letters.iter().filter(|letter| letter.tries > 1).count();
    println!("{} deliveries over {kills} kills, {again} sent again", letters.len());
    report("D1", kills, violations);
    report("P1", kills, violations);
    assert_eq!(violations, 0);
    assert!(recorded.is_empty(), "{} were never sent", recorded.len());
    (letters.len(), again)
}

#[test]
fn a_record_that_another_program_holds_costs_the_sender_a_503_until_it_is_let_go() {
    let (world, handler) = (World::new(), Handler::start());
    let listening = world.listen(&["--forward", &handler.target()]);
    assert_eq!(post(&listening.address(), b"before").status, 200);
    let other = Connection::open(database(&world)).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();

    thread::scope(|scope| {
        let address = listening.address();
        let reply = scope.spawn(move || post(&address, b"held up"));
        let trigger = ["trigger", "meeting.completed", "--to", &handler.target()];
        let triggered = run_to_end(world.command(&trigger));
        let stderr = String::from_utf8(triggered.stderr).unwrap();
        assert_eq!(triggered.status.code(), Some(1), "{stderr}");
        insta::assert_snapshot!(plain(&world, &stderr), @r"
        error: `[PROJECT]/.mbaas-dev/deliveries.db` is locked by another program
        hint: close the program that has the file open (a database browser, say), and try again
        ");
        let reply = reply.join().unwrap();
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")));
        insta::assert_snapshot!(plain(&world, &String::from_utf8(reply.body).unwrap()), @r#"{"error":"store","message":"`[PROJECT]/.mbaas-dev/deliveries.db` is locked by another program","delivery":null}"#);
    });
    // Whoever reads waits for nobody.
    assert_eq!(world.run(&["deliveries", "list", "--json"]).objects().len(), 1);

    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(post(&listening.address(), b"after").status, 200);
    assert_eq!(recorded_bodies(&database(&world)), [b"after".to_vec(), b"before".to_vec()]);
    interrupt(listening);
}

#[test]
fn a_record_that_is_removed_while_listen_runs_is_made_anew() {
    let (world, handler) = (World::new(), Handler::start());
    let listening = world.listen(&["--forward", &handler.target()]);
    let mut sender = Sender::connect(&listening.address()).unwrap();
    assert_eq!(sender.post(b"lost").unwrap().status, 200);
    for entry in fs::read_dir(state(&world)).unwrap().map(Result::unwrap) {
        if entry.file_name().to_str().unwrap().starts_with("deliveries.db") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    assert_eq!(sender.post(b"kept").unwrap().status, 200);
    assert_eq!(recorded_bodies(&database(&world)), [b"kept".to_vec()]);

    // Without its folder there is nowhere to record, which is never acknowledged.
    fs::rename(state(&world), world.folder().join("elsewhere")).unwrap();
    let reply = sender.post(b"refused").unwrap();
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")));
    fs::rename(world.folder().join("elsewhere"), state(&world)).unwrap();
    assert_eq!(sender.post(b"kept too").unwrap().status, 200);
    assert_eq!(recorded_bodies(&database(&world)), [b"kept".to_vec(), b"kept too".to_vec()]);
}

#[test]
fn a_command_leaves_a_short_log_for_the_next_and_never_a_long_one() {
    let (world, handler) = (World::new(), Handler::start());
    let log = database(&world).with_extension("db-wal");
    let mut lengths = Vec::new();
    for _ in 0..40 {
        assert_eq!(world.run(&["trigger", "meeting.completed", "--to", &handler.target()]).code(), 0);
        lengths.push(fs::metadata(&log).map_or(0, |log| log.len()));
    }
    let copied_back = lengths.iter().filter(|length| **length == 0).count();
    assert!((1..10).contains(&copied_back), "{lengths:?}");
    assert!(lengths.iter().all(|length| *length < 1024 * 1024), "{lengths:?}");
    assert_eq!(recorded_bodies(&database(&world)).len(), 40);
}

/// Takes away what differs from run to run.
pub fn plain(world: &World, text: &str) -> String {
    let folder = world.folder().canonicalize().unwrap();
    text.replace(folder.to_str().unwrap(), "[PROJECT]").replace(world.folder().to_str().unwrap(), "[PROJECT]")
}

/// A record with a few deliveries.
fn recorded() -> World {
    let (world, handler) = (World::new(), Handler::start());
    let trigger = ["trigger", "meeting.completed", "--count", "40", "--to", &handler.target()];
    assert_eq!(world.run(&trigger).code(), 0);
    assert!(!database(&world).with_extension("db-wal").exists(), "an orderly end leaves one file");
    world
}

/// What the commands that need the record say; each must end, with 1, and say one sentence and one hint.
fn refusals(world: &World) -> String {
    let (nobody, _taken) = handler::nobody();
    let commands: [&[&str]; 3] = [
        &["deliveries", "list"],
        &["listen", "--port", "0", "--secret", "s"],
        &["trigger", "meeting.completed", "--secret", "s", "--to", &nobody],
    ];
    let mut said: Vec<(String, String)> = Vec::new();
    for arguments in commands {
        let Output { status, stdout, stderr } = run_to_end(world.command(arguments));
        let stderr = plain(world, &String::from_utf8(stderr).unwrap());
        assert_eq!(status.code(), Some(1), "{arguments:?}: {stderr}");
        assert_eq!(String::from_utf8(stdout).unwrap(), "", "{arguments:?}");
        let kinds: Vec<&str> = stderr.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(kinds, ["error:", "hint:"], "{arguments:?}: {stderr}");
        match said.last_mut() {
            Some((names, same)) if *same == stderr => write!(names, ", {}", arguments[0]).unwrap(),
            _ => said.push((arguments[0].to_owned(), stderr)),
        }
    }
    said.into_iter().map(|(names, stderr)| format!("{names}:\n{stderr}")).collect()
}

/// Like [`refusals`]; and the file is left as it is.
fn refusals_of_a_file(content: &[u8]) -> String {
    let world = World::new();
    fs::create_dir(state(&world)).unwrap();
    fs::write(database(&world), content).unwrap();
    let said = refusals(&world);
    assert!(fs::read(database(&world)).unwrap() == content, "the file was changed");
    said
}

#[test]
fn a_record_of_a_newer_version_is_refused_and_left_alone() {
    let world = recorded();
    Connection::open(database(&world)).unwrap().pragma_update(None, "user_version", 999).unwrap();
    insta::assert_snapshot!(refusals_of_a_file(&fs::read(database(&world)).unwrap()), @r"
    deliveries, listen, trigger:
    error: `[PROJECT]/.mbaas-dev/deliveries.db` was written by a newer mbaas-dev: it has format 999, and this one knows formats up to 8
    hint: update mbaas-dev, or use another folder with `--data-dir`
    ");
}

#[test]
fn a_database_of_another_program_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    for (sql, name) in [
        ("CREATE TABLE deliveries (parcel TEXT)", "same name"),
        ("CREATE TABLE customers (name TEXT)", "other names"),
        ("CREATE TABLE customers (name TEXT); PRAGMA user_version = 1", "same version"),
    ] {
        fs::remove_file(&path).ok();
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        insta::allow_duplicates! {
            insta::assert_snapshot!(refusals_of_a_file(&fs::read(&path).unwrap()), name, @r"
            deliveries, listen, trigger:
            error: `[PROJECT]/.mbaas-dev/deliveries.db` is not a record of mbaas-dev: its tables are others
            hint: move it away (`mv [PROJECT]/.mbaas-dev/deliveries.db [PROJECT]/.mbaas-dev/deliveries.db.old`), or use another folder with `--data-dir`
            ");
        }
    }
}

#[test]
fn a_folder_in_the_place_of_the_record_is_refused_and_left_alone() {
    let world = World::new();
    world.write(".mbaas-dev/deliveries.db/precious", "content");
    insta::assert_snapshot!(refusals(&world), @r"
    deliveries, listen, trigger:
    error: `[PROJECT]/.mbaas-dev/deliveries.db` is not a record of mbaas-dev: it is not a file
    hint: move it away (`mv [PROJECT]/.mbaas-dev/deliveries.db [PROJECT]/.mbaas-dev/deliveries.db.old`), or use another folder with `--data-dir`
    ");
    assert_eq!(fs::read(database(&world).join("precious")).unwrap(), b"content");
}

#[test]
fn a_link_in_the_place_of_the_record_is_refused_and_not_followed() {
    let world = World::new();
    let target = world.write("elsewhere.db", "");
    fs::create_dir(state(&world)).unwrap();
    symlink(&target, database(&world)).unwrap();
    insta::assert_snapshot!(refusals(&world), @r"
    deliveries, listen, trigger:
    error: `[PROJECT]/.mbaas-dev/deliveries.db` is a symbolic link, which is never followed
    hint: remove the link, and use `--data-dir` to keep the file elsewhere
    ");
    assert_eq!(fs::read(&target).unwrap(), b"");
}

#[test]
fn a_read_only_disk_is_told() {
    let world = World::new();
    let Some(disk) = Disk::mount(state(&world), "4m", "a_read_only_disk_is_told") else { return };
    let handler = Handler::start();
    assert_eq!(
        world.run(&["trigger", "meeting.completed", "--count", "40", "--to", &handler.target()]).code(),
        0
    );
    disk.make_read_only();
    insta::assert_snapshot!(refusals(&world), @r"
    deliveries, listen, trigger:
    error: `[PROJECT]/.mbaas-dev/deliveries.db` is read-only, or the file system that it is on
    hint: make it writable, or use another folder with `--data-dir`
    ");
}

#[test]
fn a_disk_that_is_full_from_the_start_is_told() {
    let world = World::new();
    let test = "a_disk_that_is_full_from_the_start_is_told";
    let Some(disk) = Disk::mount(state(&world), "1m", test) else { return };
    disk.fill();
    fs::write(database(&world), "").unwrap();
    let Output { status, stderr, .. } =
        run_to_end(world.command(&["listen", "--port", "0", "--secret", "s"]));
    assert_eq!(status.code(), Some(1));
    insta::assert_snapshot!(plain(&world, &String::from_utf8(stderr).unwrap()), @r"
    error: the disk that holds `[PROJECT]/.mbaas-dev/deliveries.db.new` is full
    hint: free some space; recording goes on by itself after that
    ");
    let Output { status, stderr, .. } = run_to_end(world.command(&["listen", "--port", "0"]));
    assert_eq!(status.code(), Some(1));
    insta::assert_snapshot!(plain(&world, &String::from_utf8(stderr).unwrap()), @r"
    error: cannot write [PROJECT]/.mbaas-dev/secrets.json: no storage space
    hint: another folder can be given with --data-dir
    ");
}

#[test]
fn no_damage_to_the_record_makes_a_command_panic_or_say_nonsense() {
    const INPUTS: usize = 300;
    let world = recorded();
    let whole = fs::read(database(&world)).unwrap();
    let mut random = Random(SEED);
    let (mut violations, mut refused) = (0, 0);
    for input in 0..INPUTS {
        let mut damaged = whole.clone();
        if input % 5 == 0 {
            damaged.truncate(random.below(whole.len()));
        }
        // What is small and often read is hit more often than its share.
        let reach = [100, 4096, 16 * 1024, damaged.len()][input % 4].min(damaged.len());
        for _ in 0..random.below(20) {
            if reach > 0 {
                damaged[random.below(reach)] = u8::try_from(random.below(256)).unwrap();
            }
        }
        fs::write(database(&world), damaged).unwrap();
        for arguments in [&["deliveries", "list", "--search", "zebra"][..], &["deliveries", "show", "7"]] {
            let done = world.run(arguments);
            let stderr = done.errors();
            let starts: Vec<&str> = stderr.lines().map(|line| line.split(' ').next().unwrap()).collect();
            let is_told = match done.code() {
                0 => starts.is_empty() || stderr == "no recorded delivery matches\n",
                1 => starts == ["error:", "hint:"] && stderr.contains("/deliveries.db"),
                // The delivery is not there.
                2 => starts.first() == Some(&"error:"),
                _ => false,
            };
            refused += usize::from(done.code() == 1);
            if !is_told || stderr.contains(|c: char| c.is_control() && c != '\n') {
                violations += 1;
                println!("input {input}, {arguments:?}: {}", done.whole());
            }
        }
        for suffix in ["db-wal", "db-shm", "db-journal"] {
            fs::remove_file(database(&world).with_extension(suffix)).ok();
        }
    }
    report("D6", INPUTS, violations);
    assert_eq!(violations, 0);
    assert!(refused > INPUTS / 4);
}

#[test]
fn several_processes_record_at_once() {
    const TRIGGERS: usize = 4;
    let (world, handler) = (World::new(), Handler::start());
    let listening = world.listen(&["--forward", &handler.target()]);
    let target = handler.target();
    let trigger = ["trigger", "meeting.completed@minimal", "--count", "50", "--json", "--to", &target];
    let (posted, numbers) = thread::scope(|scope| {
        let commands = (0..TRIGGERS).map(|_| world.command(&trigger));
        let triggers: Vec<_> = commands.map(|command| scope.spawn(move || run_to_end(command))).collect();
        let (over, is_over) = mpsc::channel::<()>();
        let address = listening.address();
        let load = scope.spawn(move || {
            let mut sender = Sender::connect(&address).unwrap();
            let mut posted = 0;
            while is_over.try_recv() == Err(mpsc::TryRecvError::Empty) {
                let reply = sender.post(format!("load {posted}").as_bytes()).unwrap();
                assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
                posted += 1;
            }
            posted
        });
        while !triggers.iter().all(thread::ScopedJoinHandle::is_finished) {
            let listed = run_to_end(world.command(&["deliveries", "list", "--json"]));
            assert_eq!((listed.status.code(), listed.stderr), (Some(0), Vec::new()));
        }
        let mut numbers = BTreeSet::new();
        for trigger in triggers {
            let Output { status, stdout, stderr } = trigger.join().unwrap();
            assert_eq!(status.code(), Some(0), "{}", String::from_utf8_lossy(&stderr));
            assert_eq!(String::from_utf8(stderr).unwrap(), "50 of 50 sent · 50 acknowledged\n");
            for line in String::from_utf8(stdout).unwrap().lines() {
                let delivery: serde_json::Value = serde_json::from_str(line).unwrap();
                assert!(numbers.insert(delivery["number"].as_i64().unwrap()), "{line}");
            }
        }
        drop(over);
        (load.join().unwrap(), numbers)
    });
    interrupt(listening);
    assert_eq!(numbers.len(), TRIGGERS * 50);

    let listed = world.run(&["deliveries", "list", "--json", "--limit", "1000000"]).objects();
    let mut of_origin: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
    for delivery in &listed {
        assert_eq!(delivery["attempts"][0]["status"], 200, "{delivery}");
        let origin = delivery["origin"].as_str().unwrap();
        assert!(of_origin.entry(origin).or_default().insert(delivery["number"].as_i64().unwrap()));
    }
    assert_eq!(of_origin["trigger"], numbers);
    assert_eq!(of_origin["ingress"].len(), posted);
    assert!(of_origin["ingress"].is_disjoint(&numbers));
    assert!(posted > 0);
    report("D5", listed.len(), 0);
}

#[test]
fn a_sender_that_hangs_up_loses_neither_the_delivery_nor_its_outcome() {
    let world = World::new();
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let handler = Handler::scripted(Box::new(move |_, stream| {
        released.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 4\r\n\r\nlate")
    }));
    let mut listening = world.listen(&["--forward", &handler.target()]);
    let _limit = limit(listening.pid());
    let mut sender = Sender::connect(&listening.address()).unwrap();
    sender.send("", b"slow").unwrap();
    assert_eq!(handler.next().body, b"slow");
    drop(sender);
    // By the time that others were answered, the end of the connection has been noticed.
    for _ in 0..5 {
        let mut other = Sender::connect(&listening.address()).unwrap();
        other.send("Broken header\r\n", b"").unwrap();
        assert_eq!(other.receive().unwrap().status, 400);
    }
    release.send(()).unwrap();
    let attempt = listening.next("attempt");
    assert_eq!((&attempt["number"], &attempt["attempt"]["status"]), (&1.into(), &202.into()));
    let shown = world.run(&["deliveries", "show", "1", "--json"]).objects();
    assert_eq!(shown[0]["body"], "slow");
    assert_eq!(
        (&shown[0]["attempts"][0]["status"], &shown[0]["attempts"][0]["body"]),
        (&202.into(), &"late".into())
    );
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_state_folder_is_for_its_user_only_and_not_for_git() {
    let world = World::new();
    let secret = world.run(&["secret", "show"]).text();
    assert_eq!(mode(&state(&world)), 0o700);
    assert_eq!(fs::read_to_string(state(&world).join(".gitignore")).unwrap(), "*\n");
    let secrets = state(&world).join("secrets.json");
    assert_eq!(mode(&secrets), 0o600);

    fs::set_permissions(&secrets, Permissions::from_mode(0o644)).unwrap();
    assert_eq!(world.run(&["secret", "show"]).text(), secret, "it is still the same");
    assert_eq!(mode(&secrets), 0o600, "it was tightened");

    let listening = world.listen(&[]);
    assert_eq!(post(&listening.address(), b"x").status, 200);
    for entry in fs::read_dir(state(&world)).unwrap().map(Result::unwrap) {
        if entry.file_name() != ".gitignore" {
            assert_eq!(mode(&entry.path()), 0o600, "{}", entry.path().display());
        }
    }
}

#[test]
fn links_and_other_files_in_the_place_of_our_own_are_refused_and_left_alone() {
    let commands: [(&str, &[&str]); 4] = [
        ("secrets.json", &["secret", "show"]),
        ("secrets.json", &["secret", "new"]),
        ("listen.json", &["listen", "--port", "0", "--secret", "s"]),
        ("listen.json", &["trigger", "meeting.completed"]),
    ];
    let mut said = String::new();
    for (name, arguments) in commands {
        let world = World::new();
        let target = world.write("elsewhere", r#"{"project":"of somebody else","listen":null}"#);
        fs::set_permissions(&target, Permissions::from_mode(0o644)).unwrap();
        fs::create_dir(state(&world)).unwrap();
        symlink(&target, state(&world).join(name)).unwrap();
        let Output { status, stdout, stderr } = run_to_end(world.command(arguments));
        assert_eq!((status.code(), stdout), (Some(1), Vec::new()), "{arguments:?}");
        writeln!(said, "{arguments:?}\n{}", plain(&world, &String::from_utf8(stderr).unwrap())).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), r#"{"project":"of somebody else","listen":null}"#);
        assert_eq!(mode(&target), 0o644);
    }
    let world = World::new();
    let elsewhere = world.write("elsewhere/precious", "content");
    symlink(elsewhere.parent().unwrap(), state(&world)).unwrap();
    let Output { status, stderr, .. } =
        run_to_end(world.command(&["listen", "--port", "0", "--secret", "s"]));
    assert_eq!(status.code(), Some(1));
    writeln!(said, "a linked folder\n{}", plain(&world, &String::from_utf8(stderr).unwrap())).unwrap();
    for arguments in [&["deliveries", "list"][..], &["replay", "--last"]] {
        let done = world.run(arguments);
        assert_eq!(done.code(), 1, "{arguments:?}");
        assert!(said.ends_with(&format!("{}\n", plain(&world, &done.errors()))), "{arguments:?}");
    }
    assert_eq!(fs::read_dir(elsewhere.parent().unwrap()).unwrap().count(), 1);
    insta::assert_snapshot!(said, @r#"
    ["secret", "show"]
    error: [PROJECT]/.mbaas-dev/secrets.json is not a regular file; it is left alone
    hint: another folder can be given with --data-dir

    ["secret", "new"]
    error: [PROJECT]/.mbaas-dev/secrets.json is not a regular file; it is left alone
    hint: another folder can be given with --data-dir

    ["listen", "--port", "0", "--secret", "s"]
    error: [PROJECT]/.mbaas-dev/listen.json is not a regular file; it is left alone
    hint: another folder can be given with --data-dir

    ["trigger", "meeting.completed"]
    error: [PROJECT]/.mbaas-dev/listen.json is not a regular file; it is left alone
    hint: another folder can be given with --data-dir

    a linked folder
    error: [PROJECT]/.mbaas-dev is not a folder; it is left alone
    hint: another folder can be given with --data-dir
    "#);
}

#[test]
fn commands_that_only_read_leave_no_trace() {
    let commands: [&[&str]; 9] = [
        &["deliveries", "list"],
        &["deliveries", "show", "1"],
        &["sign", "-", "--secret", "x"],
        &["trigger", "meeting.completed", "--print", "--secret", "s"],
        &["trigger", "meeting.completed", "--curl", "--secret", "s"],
        &["trigger", "meeting.completed"],
        &["events", "list"],
        &["events", "show", "meeting.completed"],
        &["man"],
    ];
    for arguments in commands {
        let world = World::new();
        let done = world.run_with_input(arguments, b"{}");
        let left: Vec<_> = fs::read_dir(world.folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{arguments:?} left {left:?}: {}", done.whole());
    }
}

/// Every file below a folder, with its content.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let content =
        |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
    fs::read_dir(folder).unwrap().map(|entry| content(entry.unwrap())).collect()
}

#[test]
fn secrets_are_in_one_file_only_and_credentials_nowhere() {
    const SECRET: &str = "CANARY-of-listen";
    let world = World::new();
    let credentials = "Authorization: Bearer CANARY-1\r\nCookie: a=CANARY-2\r\nX-MB-Secret: CANARY-3\r\n\
                       x-meeting-baas-api-key: CANARY-4\r\nProxy-Authorization: Basic CANARY-5\r\n";
    let answer = handler::answer(401, &[("Set-Cookie", "session=CANARY-6")], b"no");
    let handler = Handler::scripted(answer);
    let mut listen = world.command(&["listen", "--port", "0", "--json", "--verbose", "--secret", SECRET]);
    let mut child = listen.args(["--forward", &handler.target()]).spawn().unwrap();
    let _limit = limit(child.id());
    let mut stdout = io::BufReader::new(child.stdout.take().unwrap());
    let mut printed = String::new();
    io::BufRead::read_line(&mut stdout, &mut printed).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let address = ready["ingress"].as_str().unwrap().trim_start_matches("http://").to_owned();

    let secrets = fs::read_to_string(state(&world).join("secrets.json")).unwrap();
    let secrets: serde_json::Value = serde_json::from_str(&secrets).unwrap();
    let token = secrets["listen"]["token"].as_str().unwrap().to_owned();
    assert_eq!(secrets["listen"]["secret"], SECRET);
    let canaries = ["CANARY", &token];

    let mut sender = Sender::connect(&address).unwrap();
    sender.send(credentials, b"{}").unwrap();
    assert_eq!(sender.receive().unwrap().status, 401);
    assert_eq!(handler.next().header("x-mb-secret"), Some(&b"CANARY-3"[..]), "the handler gets it as it is");
    sender.send("Broken header\r\nAuthorization: CANARY-7\r\n", b"{}").unwrap();
    assert_eq!(sender.receive().unwrap().status, 400);
    let mut said = Vec::new();
    for arguments in [
        &["trigger", "meeting.completed", "--verbose"][..],
        &["trigger", "meeting.completed", "--json"],
        &["trigger", "meeting.completed", "--secret", SECRET, "--to", &handler.target()],
        &["replay", "--last"],
        &["deliveries", "show", "1"],
        &["deliveries", "show", "1", "--json"],
        &["deliveries", "show", "1", "--curl"],
        &["trigger", "meeting.completed", "--curl"],
        &["deliveries", "list", "--search", "CANARY"],
    ] {
        let Output { stdout, stderr, .. } = run_to_end(world.command(arguments));
        said.push((format!("{arguments:?} on stdout"), stdout));
        said.push((format!("{arguments:?} on stderr"), stderr));
    }
    assert!(said.iter().any(|(_, text)| String::from_utf8_lossy(text).contains("[masked]")));
    let running = files(&state(&world));

    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    stdout.read_to_string(&mut printed).unwrap();
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    assert_eq!(status.code(), Some(0));
    said.push(("listen on stdout".to_owned(), printed.into_bytes()));
    said.push(("listen on stderr".to_owned(), stderr));

    let holds =
        |content: &[u8]| canaries.iter().any(|it| content.windows(it.len()).any(|w| w == it.as_bytes()));
    let (own, others): (Vec<_>, Vec<_>) = running.into_iter().partition(|(name, _)| name == "secrets.json");
    assert!(holds(&own[0].1), "the canaries can be found");
    assert!(others.iter().any(|(name, _)| name == "deliveries.db-wal"), "the log was looked at as well");
    for (name, content) in others.iter().chain(&said).chain(&files(&state(&world))) {
        assert!(!holds(content), "{name}: {}", String::from_utf8_lossy(content));
    }
}
