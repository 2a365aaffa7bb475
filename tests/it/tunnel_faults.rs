//! What breaks between a sender and the handler behind a tunnel, on purpose and counted: everything that was acknowledged
//! is recorded, once, in the order of its sender, and the handler got it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::assurance::{Random, report, tier};
use crate::handler::{Handler, RawRequest};
use crate::relaying::{PATIENCE, Relay, TOKEN, Wire, channel, recorded, send, signal};
use crate::surroundings::with_clock;
use crate::world::{Listening, World};

/// What the handler answers: nobody else does.
const ANSWER: u16 = 207;

/// How many send at a time.
const SENDERS: usize = 12;

/// Each one of so many has a large body.
const LARGE_EVERY: usize = 8;

/// What senders were told, by the path that they sent to.
#[derive(Default)]
struct Ledger {
    told: Mutex<BTreeMap<String, u16>>,
    over: AtomicBool,
}

impl Ledger {
    /// Sends one request after the other, until it is over.
    fn send(&self, sender: usize, relay: &str, channel: &str) {
        for number in 0.. {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let path = format!("/{sender}/{number}");
            // Whoever hears nothing knows nothing: it may be there, and need not.
            let reply = send(relay, "POST", &format!("{channel}{path}"), "", &body(&path, number));
            let status = reply.map_or(0, |reply| reply.status);
            self.told.lock().unwrap().insert(path, status);
            if status != ANSWER {
                // What waits is handed over one by one: not more of it than is handed over in a while.
                thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Waits until so many more were told something.
    fn await_more(&self, count: usize) {
        let enough = self.told.lock().unwrap().len() + count;
        let reached = || self.told.lock().unwrap().len() >= enough;
        assert!((0..4000).any(|_| reached() || {
            thread::sleep(4 * PATIENCE / 4000);
            false
        }));
    }
}

/// What is sent to a path: the path itself, and every so often enough spaces behind it to make a large body, which a relay keeps
/// in a file of its own.
fn body(path: &str, number: usize) -> Vec<u8> {
    let length = if number.is_multiple_of(LARGE_EVERY) { 50_000 } else { 0 };
    format!("{path:length$}").into_bytes()
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    KillRelay,
    EndRelay,
    StopRelay,
    KillListen,
    EndListen,
    StopListen,
    Cut,
}

const FAULTS: [Fault; 7] = [
    Fault::KillRelay,
    Fault::EndRelay,
    Fault::StopRelay,
    Fault::KillListen,
    Fault::EndListen,
    Fault::StopListen,
    Fault::Cut,
];

/// A relay, a `listen` behind it, and the wire between them.
struct Road {
    of_relay: World,
    world: World,
    handler: Handler,
    relay: Option<Relay>,
    wire: Wire,
    listen: Option<Listening>,
}

impl Road {
    fn new() -> Self {
        let (of_relay, world) = (World::new(), World::new());
        let handler = Handler::answering(ANSWER, "{}");
        let relay = Relay::start(&of_relay, &[]);
        let wire = Wire::to(&relay.address);
        let mut road = Self { of_relay, world, handler, relay: Some(relay), wire, listen: None };
        road.start_listen();
        road
    }

    fn relay(&self) -> &Relay {
        self.relay.as_ref().unwrap()
    }

    fn start_listen(&mut self) {
        let arguments = ["--forward", &self.handler.target()];
        let url = format!("ws://{}", self.wire.address());
        self.listen = Some(Relay::listen_at(&url, &self.world, &arguments));
    }

    fn end_listen(&mut self) {
        self.listen.take().unwrap().interrupt();
    }

    fn suffer(&mut self, fault: Fault) {
        let address = self.relay().address.clone();
        match fault {
            Fault::KillRelay | Fault::EndRelay => {
                let name = if matches!(fault, Fault::KillRelay) { "KILL" } else { "TERM" };
                self.relay.take().unwrap().end(name);
                self.relay = Some(Relay::at(&address, &self.of_relay, &[]));
            }
            Fault::KillListen => {
                self.listen.take().unwrap().kill();
                self.start_listen();
            }
            Fault::EndListen => {
                let listen = self.listen.take().unwrap();
                listen.signal("TERM");
                listen.wait();
                self.start_listen();
            }
            Fault::StopRelay | Fault::StopListen => {
                let pid = match fault {
                    Fault::StopRelay => self.relay().pid(),
                    _ => self.listen.as_ref().unwrap().pid(),
                };
                signal(pid, "STOP");
                thread::sleep(Duration::from_millis(700));
                signal(pid, "CONT");
            }
            Fault::Cut => {
                for _ in 0..5 {
                    self.wire.cut();
                    thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }

    /// Everything that is wrong in the end.
    fn violations(&mut self, told: &BTreeMap<String, u16>) -> Vec<String> {
        self.relay().is_drained();
        self.end_listen();
        let rows: Vec<String> = recorded(&self.world)
            .iter()
            .map(|delivery| delivery["path"].as_str().unwrap().to_owned())
            .collect();
        let once: BTreeSet<&String> = rows.iter().collect();
        let requests = self.handler.drain();
        let seen: BTreeSet<&str> =
            requests.iter().map(|request| request.line.split(' ').nth(1).unwrap()).collect();
        let mut violations = Vec::new();
        for (path, status) in told {
            if ![0, ANSWER, 202, 503].contains(status) {
                violations.push(format!("{path} was answered {status}"));
            }
            if (200..300).contains(status) && !once.contains(path) {
                violations.push(format!("{path} was acknowledged ({status}) and is not recorded"));
            }
            if (200..300).contains(status) && !seen.contains(path.as_str()) {
                violations.push(format!("{path} was acknowledged ({status}) and the handler never got it"));
            }
        }
        if rows.len() != once.len() {
            violations.push(format!("{} are recorded twice", rows.len() - once.len()));
        }
        let is_as_sent = |request: &&RawRequest| {
            let path = request.line.split(' ').nth(1).unwrap();
            let number = path.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap();
            request.body == body(path, number)
        };
        let changed = requests.iter().filter(|request| !is_as_sent(request));
        violations.extend(changed.map(|request| format!("{} came with another body", request.line)));
        let mut last = BTreeMap::new();
        for row in &rows {
            let (sender, number) = row[1..].split_once('/').unwrap();
            let number: usize = number.parse().unwrap();
            if let Some(before) = last.insert(sender, number).filter(|before| *before > number) {
                violations.push(format!("{sender}: {before} stands before {number}"));
            }
        }
        violations
    }
}

#[test]
fn what_was_acknowledged_is_recorded_once_and_in_order_whatever_is_killed_stopped_or_cut() {
    let (messages, between) = (tier(5_000, 100_000), tier(140, 400));
    let mut road = Road::new();
    let channel = channel(road.listen.as_ref().unwrap());
    let address = road.relay().address.clone();
    let (ledger, mut random, mut faults) = (Ledger::default(), Random(6), BTreeMap::new());
    thread::scope(|scope| {
        let (ledger, address, channel) = (&ledger, &address, &channel);
        for sender in 0..SENDERS {
            scope.spawn(move || ledger.send(sender, address, channel));
        }
        while ledger.told.lock().unwrap().len() < messages {
            ledger.await_more(between);
            let fault = random.pick(&FAULTS);
            *faults.entry(format!("{fault:?}")).or_insert(0) += 1;
            road.suffer(fault);
        }
        // A `listen` that is started anew opens its tunnel anyway; this one has to do so by itself.
        road.suffer(Fault::Cut);
        ledger.await_more(between);
        ledger.over.store(true, Ordering::Relaxed);
    });
    let told = ledger.told.into_inner().unwrap();
    let violations = road.violations(&told);
    println!("{faults:?}");
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for status in told.values() {
        *statuses.entry(*status).or_default() += 1;
    }
    println!("{statuses:?}");
    for item in ["D16", "D18", "D19"] {
        report(item, told.len(), violations.len());
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// What goes wrong is noticed after 25 seconds; a sender waits as long.
#[test]
fn a_tunnel_that_fell_silent_is_noticed_by_both_sides_and_nothing_is_lost() {
    const AT_ONCE: usize = 20;
    let mut roads = [Road::new(), Road::new()];
    let told = roads.each_ref().map(|road| {
        let channel = channel(road.listen.as_ref().unwrap());
        (channel, Mutex::new(BTreeMap::new()))
    });
    let post = |road: &Road, (channel, told): &(String, Mutex<BTreeMap<String, u16>>), number: usize| {
        let path = format!("/{number}/0");
        let reply = send(&road.relay().address, "POST", &format!("{channel}{path}"), "", &body(&path, 0));
        told.lock().unwrap().insert(path, reply.unwrap().status);
    };
    // One loses what carries it, and the other one sleeps.
    roads[0].wire.fall_silent();
    let sleeper = roads[1].listen.as_ref().unwrap().pid();
    signal(sleeper, "STOP");
    thread::scope(|scope| {
        for (road, told) in roads.iter().zip(&told) {
            for number in 0..AT_ONCE {
                scope.spawn(move || post(road, told, number));
            }
        }
    });
    for (road, road_is_silent) in roads.iter_mut().zip([true, false]) {
        let closed = road.relay.as_mut().unwrap().next("tunnel_closed");
        let displaced = road_is_silent && closed["message"] == "a newer one has the channel";
        // Where both are awake, the other one may have noticed first, and come again.
        assert!(displaced || closed["message"] == "it gave no sign of life", "{closed}");
    }
    signal(sleeper, "CONT");
    for (road, told) in roads.iter_mut().zip(&told) {
        road.listen.as_mut().unwrap().next("reconnecting");
        road.listen.as_mut().unwrap().next("tunnel");
        road.relay().is_drained();
        post(road, told, AT_ONCE);
    }
    let mut violations = Vec::new();
    for (road, (_, told)) in roads.iter_mut().zip(told) {
        let told = told.into_inner().unwrap();
        assert!(told.values().all(|status| [202, ANSWER].contains(status)), "{told:?}");
        assert_eq!(told[&format!("/{AT_ONCE}/0")], ANSWER);
        violations.extend(road.violations(&told));
    }
    report("D17", 2 * (AT_ONCE + 1), violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// The way is dead as well, as after a sleep: heartbeats would show that after 25 seconds.
#[test]
fn a_clock_that_leaps_as_after_a_sleep_has_the_tunnel_opened_again_at_once() {
    let mut road = Road::new();
    let now = road.world.write("now", "+0");
    road.end_listen();
    let tunnel = format!("ws://{}", road.wire.address());
    let target = road.handler.target();
    let tunnel = ["listen", "--json", "--port", "0", "--tunnel", &tunnel, "--access-token", TOKEN];
    let arguments = [&tunnel[..], &["--forward", &target]].concat();
    let mut listen = Listening::start(with_clock(&mut road.world.command(&arguments), &now));
    let channel = channel(&listen);
    // The tunnel is served once something came through it.
    assert_eq!(send(&road.relay().address, "POST", &channel, "", b"/").unwrap().status, ANSWER);
    let mut violations = Vec::new();
    let leaps = ["+3600", "+0", "+36000"];
    for (number, leap) in leaps.into_iter().enumerate() {
        if leap != "+0" {
            road.wire.fall_silent();
        }
        road.world.write("now", leap);
        // A clock that is set back concerns nobody.
        if leap != "+0" {
            let said = listen.next("reconnecting")["message"].as_str().unwrap().to_owned();
            if !said.contains("the clock leapt") {
                violations.push(said);
            }
            listen.next("tunnel");
        }
        let path = format!("/{number}/0");
        let reply = send(&road.relay().address, "POST", &format!("{channel}{path}"), "", path.as_bytes());
        let status = reply.unwrap().status;
        if status != ANSWER {
            violations.push(format!("{path} was answered {status}"));
        }
    }
    drop(listen.interrupt());
    report("D17", leaps.len(), violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}
