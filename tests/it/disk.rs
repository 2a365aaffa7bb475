//! A disk that gets full: recording stops before it is, reading and pruning go on, and nothing acknowledged is lost.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::assurance::{report, skipped, tier};
use crate::durability::{Sender, database, interrupt, recorded_bodies, state};
use crate::handler::Handler;
use crate::relaying::{Relay, channel, recorded, send};
use crate::world::World;

/// A small file system, gone when dropped.
pub struct Disk(PathBuf);

impl Disk {
    /// Mounts one; `None`, said where skipped tests are said, when that is not permitted.
    pub fn mount(at: PathBuf, size: &str, test: &str) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        let options = format!("size={size},mode=700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at));
        }
        skipped(&format!("{test}: mounting a tmpfs is not permitted"));
        None
    }

    /// Takes all the space that is left.
    pub fn fill(&self) -> PathBuf {
        self.fill_with("filler")
    }

    /// Takes the space that is left but for so many bytes.
    fn fill_but(&self, bytes: u64) -> PathBuf {
        let path = self.fill();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(file.metadata().unwrap().len() - bytes).unwrap();
        path
    }

    fn fill_with(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        let mut file = fs::File::create(&path).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        path
    }

    pub fn make_read_only(&self) {
        let status = Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(&self.0).status().ok();
    }
}

#[test]
fn nothing_is_acknowledged_on_a_full_disk_and_recording_goes_on_once_there_is_space() {
    let (world, handler) = (World::new(), Handler::start());
    let test = "disk::nothing_is_acknowledged_on_a_full_disk_and_recording_goes_on_once_there_is_space";
    let Some(disk) = Disk::mount(state(&world), "4m", test) else { return };
    let mut listening = world.listen(&["--forward", &handler.target()]);
    let mut sender = Sender::connect(&listening.address()).unwrap();
    let mut acknowledged = vec![b"before".to_vec(), vec![b'A'; 300 * 1024]];
    for body in &acknowledged {
        assert_eq!(sender.post(body).unwrap().status, 200);
    }

    // A large body finds some room, but not enough; a small one none, though the log is cut for it.
    let filler = disk.fill_but(96 * 1024);
    // It was seen that there is room, so the disk itself refuses the first; then it is looked again.
    for number in 0..10 {
        let large = vec![b'a' + number; 300 * 1024];
        let reply = sender.post(&large).unwrap();
        assert_eq!(reply.status, 503);
        assert_eq!(reply.header("retry-after"), Some("5"));
        assert!(reply.header("mbaas-dev-delivery").is_none());
        assert_eq!(sender.post(b"small").unwrap().status, 503, "what little room there is stays for others");
    }
    for (said, hint) in [
        ("is full", "free some space; recording goes on by itself after that"),
        (
            "left, and below 256 KB nothing more is recorded",
            "free some space (`mbaas-dev deliveries prune --keep 1000`, say); recording goes on by itself after that",
        ),
    ] {
        let error = listening.next("error");
        assert_eq!((&error["code"], &error["hint"]), (&"store".into(), &hint.into()));
        assert!(error["message"].as_str().unwrap().ends_with(said), "{error}");
    }

    fs::remove_file(filler).unwrap();
    for number in 0..3 {
        let body = vec![b'x' + number; 300 * 1024];
        let reply = sender.post(&body).unwrap();
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        acknowledged.push(body);
    }
    drop(sender);
    interrupt(listening);
    acknowledged.sort();
    let recorded = recorded_bodies(&database(&world));
    assert!(recorded == acknowledged, "{} recorded, {} acknowledged", recorded.len(), acknowledged.len());
}

#[test]
fn without_a_low_water_mark_the_disk_itself_refuses() {
    let (world, handler) = (World::new(), Handler::start());
    let test = "disk::without_a_low_water_mark_the_disk_itself_refuses";
    let Some(disk) = Disk::mount(state(&world), "4m", test) else { return };
    let mut listening = world.listen(&["--forward", &handler.target(), "--min-free", "0"]);
    let mut sender = Sender::connect(&listening.address()).unwrap();
    assert_eq!(sender.post(b"before").unwrap().status, 200);
    let mut acknowledged = vec![b"before".to_vec()];
    let filler = disk.fill();
    for number in 0..10 {
        let reply = sender.post(&vec![b'a' + number; 300 * 1024]).unwrap();
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")));
        // What is small may find room in the log yet; then it is recorded.
        let small = format!("small {number}").into_bytes();
        match sender.post(&small).unwrap().status {
            503 => {}
            status => {
                assert_eq!(status, 200);
                acknowledged.push(small);
            }
        }
    }
    let error = listening.next("error");
    assert!(error["message"].as_str().unwrap().ends_with("` is full"), "{error}");
    fs::remove_file(filler).unwrap();
    assert_eq!(sender.post(b"after").unwrap().status, 200);
    acknowledged.push(b"after".to_vec());
    drop(sender);
    interrupt(listening);
    acknowledged.sort();
    assert_eq!(recorded_bodies(&database(&world)), acknowledged);
}

#[test]
fn recording_stops_before_the_disk_is_full_and_goes_on_by_itself_time_after_time() {
    let (world, handler) = (World::new(), Handler::start());
    let test = "disk::recording_stops_before_the_disk_is_full_and_goes_on_by_itself_time_after_time";
    let Some(disk) = Disk::mount(state(&world), "128m", test) else { return };
    let ballast = state(&world).join("ballast");
    let mut listening = world.listen(&["--forward", &handler.target()]);
    let found = fs::metadata(&ballast).unwrap();
    assert_eq!((found.permissions().mode() & 0o777, found.len()), (0o600, 4 * 1024 * 1024));
    let mut sender = Sender::connect(&listening.address()).unwrap();
    let list = || world.run(&["deliveries", "list", "--json", "--limit", "1000"]).objects().len();
    let (mut inputs, mut violations) = (0, 0);
    let mut hold = |holds: bool, what: &str| {
        inputs += 1;
        if !holds {
            violations += 1;
            println!("{what}");
        }
    };
    for cycle in 0..tier(10, 100) {
        for number in 0..20 {
            let body = format!("{cycle} {number} {}", "x".repeat(2000));
            hold(sender.post(body.as_bytes()).unwrap().status == 200, "there is room, and it is refused");
        }
        hold(sender.post(&vec![b'x'; 100_000]).unwrap().status == 200, "there is room for a large one");
        // Below the low-water mark of 8 MiB, even when the log is cut, and yet enough for many.
        let filler = disk.fill_but(4 * 1024 * 1024);
        let recorded = list();
        hold(recorded >= 21, "not all can be read");
        let refused = (0..70).find(|_| sender.post(b"y").unwrap().status == 503);
        hold(refused.is_some(), "it is taken without room");
        if refused.is_none() {
            fs::remove_file(filler).unwrap();
            continue;
        }
        let error = listening.next("error");
        hold(error["hint"].to_string().contains("recording goes on by itself"), &error.to_string());
        hold(
            list() == recorded + refused.unwrap_or_default(),
            "what was refused is recorded, or what was taken is not",
        );
        // To the last byte: SQLite itself can delete nothing now.
        let rest = disk.fill_with("rest");
        let pruned = world.run(&["deliveries", "prune", "--keep", "5"]);
        hold(pruned.code() == 0, &pruned.whole());
        hold(list() == 5, "what was to be kept is not what is left");
        fs::remove_file(filler).unwrap();
        fs::remove_file(rest).unwrap();
        hold(sender.post(b"taken").unwrap().status == 200, "it does not go on by itself");
        // Once it is quiet, the ballast is taken in again.
        let is_back = (0..500).any(|_| {
            thread::sleep(Duration::from_millis(10));
            ballast.exists()
        });
        hold(is_back, "the ballast is not taken in again");
    }
    report("D3", inputs, violations);
    assert_eq!(violations, 0);
}

#[test]
fn pruning_and_reading_work_on_a_full_disk_when_nothing_runs() {
    let (world, handler) = (World::new(), Handler::start());
    let test = "disk::pruning_and_reading_work_on_a_full_disk_when_nothing_runs";
    for arguments in
        [&["deliveries", "list", "--json"][..], &["deliveries", "prune", "--keep", "3", "--quiet"]]
    {
        let Some(disk) = Disk::mount(state(&world), "12m", test) else { return };
        let listening = world.listen(&["--forward", &handler.target()]);
        let mut sender = Sender::connect(&listening.address()).unwrap();
        for _ in 0..20 {
            assert_eq!(sender.post(&[b'x'; 2000]).unwrap().status, 200);
        }
        listening.kill();
        // The index of the log takes space, which is needed for reading as well.
        fs::remove_file(database(&world).with_extension("db-shm")).unwrap();
        disk.fill();
        let done = world.run(arguments);
        assert_eq!((done.code(), done.errors().as_str()), (0, ""), "{arguments:?}");
        let left = if arguments.contains(&"list") { 20 } else { 3 };
        assert_eq!(world.run(&["deliveries", "list", "--json"]).objects().len(), left);
    }
}

#[test]
fn a_limit_for_the_record_is_kept_and_may_be_set_by_what_must_be_left() {
    let (world, handler) = (World::new(), Handler::start());
    let mut listening = world.listen(&["--forward", &handler.target(), "--max-disk", "1M"]);
    let mut sender = Sender::connect(&listening.address()).unwrap();
    let taken = (0..100).take_while(|_| sender.post(&vec![b'x'; 100_000]).unwrap().status == 200).count();
    assert!((5..12).contains(&taken), "{taken}");
    let error = listening.next("error");
    assert!(
        error["message"].as_str().unwrap().ends_with("has reached its limit of 1024 KB (--max-disk)"),
        "{error}"
    );
    assert_eq!(world.run(&["deliveries", "prune", "--keep", "1"]).code(), 0);
    assert_eq!(sender.post(b"taken").unwrap().status, 200, "it goes on by itself");
    drop((sender, listening));
    let listening = world.listen(&["--forward", &handler.target(), "--min-free", "9999T"]);
    let mut sender = Sender::connect(&listening.address()).unwrap();
    let refused = sender.post(b"refused").unwrap();
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
}

#[test]
fn a_relay_takes_nothing_more_before_the_disk_is_full_and_goes_on_when_what_waited_is_taken() {
    let (of_relay, world) = (World::new(), World::new());
    let test =
        "disk::a_relay_takes_nothing_more_before_the_disk_is_full_and_goes_on_when_what_waited_is_taken";
    let Some(disk) = Disk::mount(state(&of_relay), "16m", test) else { return };
    let mut relay = Relay::start(&of_relay, &[]);
    let listen = relay.listen(&world, &[]);
    let channel = channel(&listen);
    drop(listen.interrupt());
    relay.next("tunnel_closed");
    let post = |relay: &Relay, body: &[u8]| send(&relay.address, "POST", &channel, "", body).unwrap().status;
    let mut kept = 0;
    for length in [900_000, 20_000, 1] {
        let body = vec![b'x'; length];
        while post(&relay, &body) == 202 {
            kept += 1;
        }
    }
    assert!((10..3000).contains(&kept), "{kept}");
    assert_eq!(send(&relay.address, "GET", "/healthz", "", b"").unwrap().status, 503);
    assert!(relay.next("error")["message"].as_str().unwrap().ends_with("nothing more is recorded"));

    // Even when others take all the rest, what waits can be taken, and is gone for good.
    let filler = disk.fill();
    let listen = relay.listen(&world, &[]);
    relay.is_drained();
    drop(listen.interrupt());
    relay.end("TERM");
    let mut relay = Relay::at(&relay.address.clone(), &of_relay, &[]);
    assert_eq!(relay.health()["waiting"], 0);
    fs::remove_file(filler).unwrap();
    let listen = relay.listen(&world, &[]);
    assert_eq!(post(&relay, &vec![b'x'; 900_000]), 200);
    drop(listen.interrupt());
    relay.next("tunnel_closed");
    assert_eq!(recorded(&world).len(), kept + 1);
}
