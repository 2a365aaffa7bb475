//! Where and when the program runs: ports that are taken, folders that are not writable, no home, odd paths, closed
//! streams, clocks that jump, signals at any moment.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mbaas_dev::model::Clock;

use crate::assurance::{report, tier};
use crate::durability::{Sender, limit, post, run_to_end};
use crate::handler::{Handler, answer, when_told};
use crate::world::{Listening, World};

/// A command run by a shell in front of it: `"$@"` is the program with its arguments.
fn through(shell: &str, command: &Command) -> Command {
    let mut wrapped = Command::new("sh");
    wrapped.args(["-c", shell, "sh"]).arg(command.get_program()).args(command.get_args());
    wrapped.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    wrapped.env("PATH", std::env::var_os("PATH").unwrap());
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    wrapped.stdin(Stdio::null());
    wrapped
}

/// How a command must end: its exit code, and what it has to say.
struct Case {
    what: &'static str,
    command: Command,
    code: i32,
    says: &'static str,
}

fn case(what: &'static str, command: Command, code: i32, says: &'static str) -> Case {
    Case { what, command, code, says }
}

/// A way to start the program in a folder of that name, which is made.
fn within(world: &World, name: &str, arguments: &[&str]) -> Command {
    let path = world.folder().join(name);
    fs::create_dir_all(&path).unwrap();
    let mut command = world.command(arguments);
    command.current_dir(path);
    command
}

/// With a variable set, or removed when there is no value.
fn with(mut command: Command, name: &str, value: Option<&str>) -> Command {
    match value {
        Some(value) => command.env(name, value),
        None => command.env_remove(name),
    };
    command
}

#[test]
fn in_odd_surroundings_commands_do_their_work_or_say_what_is_wrong() {
    let handler = Handler::start();
    let to = handler.target();
    let world = World::new();
    let trigger = ["trigger", "meeting.failed", "--to", &to];
    let listen = ["listen", "--port", "0", "--expect", "never", "--within", "200ms"];
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let readable_by_all = tempfile::tempdir().unwrap();
    let nobody = "exec setpriv --reuid=65534 --clear-groups -- \"$@\"";
    let mut elsewhere = world.command(&trigger);
    elsewhere.current_dir(readable_by_all.path());
    let file = world.write("a-file", "");
    let mut cases = vec![
        case(
            "the port is taken",
            world.command(&["listen", "--port", &port]),
            1,
            "cannot listen on 127.0.0.1",
        ),
        case(
            "an address that this machine does not have",
            world.command(&["listen", "--port", "0", "--bind", "192.0.2.1"]),
            1,
            "cannot listen on 192.0.2.1",
        ),
        case("no HOME", with(world.command(&trigger), "HOME", None), 0, "200"),
        case("a HOME that is not there", with(world.command(&trigger), "HOME", Some("/nowhere")), 0, "200"),
        case("a HOME that is empty", with(world.command(&trigger), "HOME", Some("")), 0, "200"),
        case("no variables at all", through("exec env -i \"$@\"", &world.command(&trigger)), 0, "200"),
        case("an unknown time zone", with(world.command(&trigger), "TZ", Some("Mars/Olympus")), 0, "200"),
        case("another language", with(world.command(&trigger), "LC_ALL", Some("tr_TR.ISO-8859-9")), 0, "200"),
        case("a dumb terminal", with(world.command(&trigger), "TERM", Some("dumb")), 0, "200"),
        case("spaces and quotes", within(&world, "a b 'c' \"d\"", &trigger), 0, "200"),
        case("letters of all kinds", within(&world, "réunion 会议 🎙", &trigger), 0, "200"),
        case("a deep folder", within(&world, &"deep/".repeat(60), &trigger), 0, "200"),
        case(
            "a folder that is gone",
            through("mkdir gone; cd gone; rmdir ../gone; exec \"$@\"", &world.command(&trigger)),
            1,
            "error: the working directory cannot be found",
        ),
        case("a folder that is not ours", through(nobody, &elsewhere), 1, ".mbaas-dev"),
        case(
            "a state folder that is a file",
            world.command(&[&trigger[..], &["--data-dir", file.to_str().unwrap()]].concat()),
            1,
            "a-file",
        ),
        case("few descriptors", through("ulimit -n 32; exec \"$@\"", &world.command(&listen)), 124, ""),
        case(
            "hardly any descriptors",
            through("ulimit -n 8; exec \"$@\"", &world.command(&listen)),
            1,
            "ulimit -n",
        ),
        case("no standard input", through("exec \"$@\" <&-", &world.command(&trigger)), 0, "200"),
        case("no standard error", through("exec \"$@\" 2>&-", &world.command(&trigger)), 0, "200"),
        case("no standard output", through("exec \"$@\" >&-", &world.command(&trigger)), 0, ""),
        case(
            "a full standard output",
            through("exec \"$@\" >/dev/full", &world.command(&trigger)),
            1,
            "make space",
        ),
        case("a small stack", through("ulimit -s 1024; exec \"$@\"", &world.command(&trigger)), 0, "200"),
    ];
    let violations: Vec<String> = cases
        .iter_mut()
        .filter_map(|case| {
            let output = run_to_end(std::mem::replace(&mut case.command, Command::new("true")));
            let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
            let is_right = output.status.code() == Some(case.code)
                && said.contains(case.says)
                && !said.contains("panicked")
                && (case.code == 0
                    || case.code == 124
                    || said.contains("hint: ")
                    || case.says.starts_with("error: "));
            (!is_right).then(|| format!("{}: {}, {said}", case.what, output.status))
        })
        .collect();
    report("D26", cases.len(), violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// What is under way when a signal comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Nothing, but a connection is open.
    Idle,
    /// The handler works, and answers after the signal.
    Answering,
    /// The handler never answers.
    Silent,
    /// A body comes, and does not come on.
    Uploading,
}

#[test]
fn any_signal_at_any_moment_ends_it_in_good_order() {
    let (mut inputs, mut violations) = (0, Vec::new());
    for (signals, code) in [(&["INT"][..], 130), (&["TERM"], 0), (&["HUP"], 0), (&["INT", "INT"], 130)] {
        for phase in [Phase::Idle, Phase::Answering, Phase::Silent, Phase::Uploading] {
            let what = format!("{signals:?} while {phase:?}");
            let world = World::new();
            let (tell, script) = when_told();
            let handler = Handler::start();
            let listening = world.listen(&["--forward", &handler.target(), "--timeout", "0"]);
            let _limit = limit(listening.pid());
            let address = listening.address();
            assert_eq!(post(&address, b"{\"first\":1}").status, 200);
            handler.next();
            handler.become_(script);
            let mut sender = Sender::connect(&address).unwrap();
            let mut upload = TcpStream::connect(&address).unwrap();
            match phase {
                Phase::Idle => {}
                Phase::Answering | Phase::Silent => {
                    sender.send("", b"{\"second\":2}").unwrap();
                    handler.next();
                }
                Phase::Uploading => {
                    upload.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{").unwrap();
                }
            }
            let begun = Clock::real().now();
            listening.signal(signals[0]);
            // The first must have been heard before another one comes; and the handler answers what was under way.
            while TcpStream::connect(&address).is_ok() {
                std::thread::yield_now();
            }
            if phase == Phase::Answering && signals.len() == 1 {
                tell.send(()).unwrap();
                match sender.receive() {
                    Ok(reply) if reply.status == 200 => {}
                    other => violations.push(format!("{what}: {other:?}")),
                }
            }
            if signals.len() > 1 {
                // It may be over already.
                Command::new("kill")
                    .args(["-INT", &listening.pid().to_string()])
                    .stderr(Stdio::null())
                    .status()
                    .unwrap();
            }
            let (status, rest) = listening.wait();
            let took = Clock::real().now().duration_since(begun).as_secs_f64();
            inputs += 1;
            if status.code() != Some(code) {
                violations.push(format!("{what}: it ends with {status}"));
            }
            if took > 10.0 {
                violations.push(format!("{what}: it takes {took} s"));
            }
            if signals.len() == 1 && rest.last().is_none_or(|last| last["type"] != "summary") {
                violations.push(format!("{what}: no sums at the end"));
            }
            let listed = world.run(&["deliveries", "list", "--json"]).objects();
            let expected = match phase {
                Phase::Idle => 1,
                Phase::Answering | Phase::Silent => 2,
                // What never became whole may be recorded as such.
                Phase::Uploading => listed.len().clamp(1, 2),
            };
            if listed.len() != expected {
                violations.push(format!("{what}: {} deliveries are recorded", listed.len()));
            }
            let again = world.run(&["trigger", "meeting.failed"]);
            if !again.errors().contains("no `listen`") && !again.errors().contains("--to") {
                violations.push(format!("{what}: it is still taken for running: {}", again.errors()));
            }
        }
    }
    report("D25", inputs, violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

const HOUR: i64 = 3600;
const DECADE: i64 = 10 * 365 * 24 * HOUR;

/// Has a command see the time that a file says, as so many seconds from the real one; only the time of day.
pub fn with_clock<'a>(command: &'a mut Command, now: &Path) -> &'a mut Command {
    command
        .env("LD_PRELOAD", faketime())
        .env("FAKETIME_TIMESTAMP_FILE", now)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
}

/// The library that makes a process see another time.
fn faketime() -> PathBuf {
    let found = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
        .map(|machine| PathBuf::from(format!("/usr/lib/{machine}/faketime/libfaketimeMT.so.1")))
        .into_iter()
        .find(|path| path.exists());
    found.expect("`tests/run --tools` installs faketime")
}

#[test]
fn a_clock_that_jumps_neither_stops_nor_hurries_anything() {
    let world = World::new();
    let now = world.write("now", "+0");
    // The third try of each delivery is the one that succeeds.
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let (bad, good) = (answer(500, &[], b"no"), answer(200, &[], b"yes"));
    let handler = Handler::scripted(Box::new(move |request, stream| {
        let count = tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let script = if request.line.contains("/retried") && count.is_multiple_of(2) { &bad } else { &good };
        script(request, stream)
    }));
    let mut command =
        world.command(&["listen", "--json", "--port", "0", "--forward", &handler.target(), "--retry", "1"]);
    let mut listening = Listening::start(with_clock(&mut command, &now));
    let address = listening.address();
    let mut violations = Vec::new();
    let jumps = tier(60, 240);
    let mut offset = 0_i64;
    for number in 0..jumps {
        offset = [HOUR, -HOUR, DECADE, -DECADE, 1, -1, 0, offset + HOUR][number % 8];
        fs::write(&now, format!("{offset:+}")).unwrap();
        let reply = post(&address, format!("{{\"number\":{number}}}").as_bytes());
        if reply.status != 200 {
            violations.push(format!("{offset:+} s: {}", reply.status));
        }
        let attempt = listening.next("attempt");
        let took = attempt["attempt"]["duration_ms"].as_f64().unwrap();
        if !(0.0..20_000.0).contains(&took) {
            violations.push(format!("{offset:+} s: it took {took} ms"));
        }
    }
    // A retry waits for its second, whichever way the clock jumps meanwhile.
    for jump in [HOUR, -HOUR, DECADE, -DECADE] {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream
            .write_all(
                b"POST /retried HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
            )
            .unwrap();
        listening.next("retry");
        let begun = Clock::real().now();
        fs::write(&now, format!("{jump:+}")).unwrap();
        let attempt = listening.next("attempt");
        let waited = Clock::real().now().duration_since(begun).as_secs_f64();
        if attempt["attempt"]["status"] != 200 || !(0.5..15.0).contains(&waited) {
            violations.push(format!("a retry after {jump:+} s comes after {waited} s: {attempt}"));
        }
    }
    drop(listening);
    let listed = world.run(&["deliveries", "list", "--json", "--limit", "1000"]).objects();
    let ids: Vec<&str> = listed.iter().rev().map(|object| object["id"].as_str().unwrap()).collect();
    violations.extend(
        ids.windows(2).filter(|pair| pair[0] >= pair[1]).map(|pair| format!("{pair:?} are not in order")),
    );
    report("D21", jumps + 4, violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}
