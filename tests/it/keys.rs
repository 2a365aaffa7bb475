//! The keys of `listen`, on a real terminal: what each does, and that the terminal is itself again, however it ends.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::handler::Handler;
use crate::world::{Listening, World};

/// How long a test waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A `listen` on a terminal of its own.
struct OnTerminal {
    child: Child,
    /// Our end.
    keyboard: File,
    /// Its end, to look at the mode.
    terminal: OwnedFd,
    /// The mode before it was there.
    before: String,
    shown: Receiver<Vec<u8>>,
    text: String,
}

impl OnTerminal {
    fn start(world: &World, arguments: &[&str]) -> Self {
        Self::start_with(world, arguments, &[])
    }

    fn start_with(world: &World, arguments: &[&str], variables: &[(&str, PathBuf)]) -> Self {
        let listen = [&["listen", "--port", "0", "--color", "never"], arguments].concat();
        let mut this = Self::open(world, &listen, variables);
        this.until("? help");
        this
    }

    /// Any command.
    fn open(world: &World, arguments: &[&str], variables: &[(&str, PathBuf)]) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let its = || open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let terminal = its();
        let plain = world.command(arguments);
        // It makes the terminal that of a session of its own, with the command before it, as a shell does.
        let mut command = Command::new("/usr/bin/setsid");
        command.arg("--ctty").arg(plain.get_program()).args(plain.get_args()).env_clear();
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(world.folder());
        let before = mode(&terminal);
        let child = command.stdin(its()).stdout(its()).stderr(its()).spawn().unwrap();
        let keyboard = File::from(ours);
        let mut screen = keyboard.try_clone().unwrap();
        let (sender, shown) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = screen.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, keyboard, terminal, before, shown, text: String::new() }
    }

    /// Waits until a text is shown; what was shown up to its end.
    fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.text.find(text) {
                let rest = self.text.split_off(at + text.len());
                return std::mem::replace(&mut self.text, rest);
            }
            let more = self.shown.recv_timeout(PATIENCE);
            let more = more.unwrap_or_else(|_| panic!("`{text}` is not shown, but: {}", self.text));
            self.text += &String::from_utf8_lossy(&more);
        }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Presses a key, and waits until a text is shown.
    fn press_until(&mut self, key: &str, text: &str) -> String {
        self.press(key);
        self.until(text)
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for the end, after which the terminal must be as it was.
    fn ended(mut self) -> ExitStatus {
        let status = self.child.wait().unwrap();
        assert_eq!(mode(&self.terminal), self.before, "the terminal is itself again");
        status
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn mode(terminal: &OwnedFd) -> String {
    format!("{:?}", tcgetattr(terminal).unwrap())
}

fn takes_keys(listen: &OnTerminal) -> bool {
    !tcgetattr(&listen.terminal).unwrap().local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
}

#[test]
fn each_key_does_what_the_help_says() {
    let (world, handler, failing) = (World::new(), Handler::start(), Handler::answering(500, "no"));
    let route = format!("meeting.failed={}", failing.target());
    let mut listen = OnTerminal::start(&world, &["--forward", &handler.target(), "--route", &route]);
    assert!(takes_keys(&listen));
    let help = listen.press_until("?", "?   this");
    assert!(help.contains("\n  r   replay the last delivery"), "{help}");
    let trigger = |event: &str| drop(world.run(&["trigger", event]));

    listen.press_until("r", "cannot replay: nothing was recorded so far");
    trigger("meeting.started");
    listen.until("#1 ");
    let replayed = listen.press_until("r", "#2 ");
    assert!(replayed.contains("meeting.started"), "{replayed}");
    assert_eq!([handler.next(), handler.next()].map(|request| request.line), ["POST / HTTP/1.1"; 2]);

    listen.press_until("f", "only failures");
    trigger("meeting.started");
    trigger("meeting.failed");
    let shown = listen.until("#4 ");
    assert!(!shown.contains("#3 "), "{shown}");
    listen.press_until("f", "everything again");
    assert!(handler.next().body_text().contains("meeting.started"));

    listen.press_until("p", "paused");
    trigger("meeting.started");
    listen.until("#5 ");
    trigger("event.added");
    listen.until("#6 ");
    let waiting = world.run(&["deliveries", "list", "--limit", "2", "--json"]).objects();
    assert!(
        waiting.iter().all(|one| one["held"] == true && one["attempts"] == serde_json::json!([])),
        "{waiting:?}"
    );
    listen.press_until("p", "forwarding goes on");
    assert!(handler.next().body_text().contains("meeting.started"));
    assert!(handler.next().body_text().contains("event.added"));
    listen.until("#6 ");

    listen.press("\x1b[A\x1b[D");
    listen.press_until("c", "\x1b[2J");
    listen.press_until("q", "6 deliveries");
    assert_eq!(listen.ended().code(), Some(0));
}

#[test]
fn o_opens_the_inspector_with_an_address_that_lets_in_once() {
    let world = World::new();
    let browser = world.write("bin/xdg-open", "#!/bin/sh\nprintf '%s' \"$1\" > \"$PIPE\"\n");
    std::fs::set_permissions(&browser, PermissionsExt::from_mode(0o755)).unwrap();
    let pipe = world.folder().join("opened");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let variables = [("PATH", browser.parent().unwrap().to_owned()), ("PIPE", pipe.clone())];
    let mut listen = OnTerminal::start_with(&world, &[], &variables);
    for _ in 0..2 {
        listen.press("o");
        // A pipe is opened when somebody writes into it.
        let url = std::fs::read_to_string(&pipe).unwrap();
        let (authority, query) = url.trim_start_matches("http://").split_once('/').unwrap();
        let ask = || {
            let mut stream = std::net::TcpStream::connect(authority).unwrap();
            let request = format!("GET /{query} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        assert!(ask().contains("set-cookie: "), "{url}");
        assert!(ask().starts_with("HTTP/1.1 401"), "{url}");
    }
    listen.press("q");
    assert_eq!(listen.ended().code(), Some(0));
}

#[test]
fn the_terminal_is_itself_again_however_it_ends() {
    let world = World::new();
    for (keys, signal, code) in [
        ("q", None, 0),
        // Ctrl-C, with two ways to get it.
        ("\x03", None, 130),
        ("", Some(Signal::INT), 130),
        ("", Some(Signal::TERM), 0),
        ("", Some(Signal::HUP), 0),
        // Ctrl-\.
        ("\x1c", None, 130),
        ("", Some(Signal::QUIT), 130),
    ] {
        let mut listen = OnTerminal::start(&world, &[]);
        assert!(takes_keys(&listen));
        listen.press(keys);
        if let Some(signal) = signal {
            listen.signal(signal);
        }
        assert_eq!(listen.ended().code(), Some(code), "{keys:?} {signal:?}");
    }
    // Somebody who does not want to wait for a handler that hangs.
    let hanging = Handler::scripted(Box::new(|_, _| {
        thread::park();
        Ok(())
    }));
    let mut listen = OnTerminal::start(&world, &["--forward", &hanging.target(), "--timeout", "0"]);
    let sender = thread::scope(|scope| {
        let sender = scope.spawn(|| world.run(&["trigger", "meeting.started"]).code());
        hanging.next();
        listen.press("\x03\x03");
        assert_eq!(listen.ended().code(), Some(130));
        sender.join().unwrap()
    });
    assert_ne!(sender, 0);
}

#[test]
fn ctrl_z_gives_the_terminal_back_until_it_goes_on() {
    let world = World::new();
    let mut listen = OnTerminal::start(&world, &[]);
    listen.press("\x1a");
    let (_, status) = waitpid(Some(listen.pid()), WaitOptions::UNTRACED).unwrap().unwrap();
    assert!(status.stopped(), "{status:?}");
    assert_eq!(mode(&listen.terminal), listen.before);
    listen.signal(Signal::CONT);
    listen.press_until("?", "?   this");
    assert!(takes_keys(&listen));
    listen.press("q");
    assert_eq!(listen.ended().code(), Some(0));
}

#[test]
fn a_terminal_that_takes_characters_only_is_not_cleared() {
    let world = World::new();
    let mut listen = OnTerminal::start_with(&world, &[], &[("TERM", "dumb".into())]);
    let shown = listen.press_until("c", "TERM is dumb");
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    listen.press("q");
    assert_eq!(listen.ended().code(), Some(0));
}

#[test]
fn what_is_read_from_a_terminal_is_asked_for() {
    let world = World::new();
    for (arguments, answer) in [
        (&["sign", "-", "--secret", "s"][..], "X-MeetingBaas-Signature: "),
        (&["deliveries", "import", "-"], "0 imported"),
    ] {
        let mut command = OnTerminal::open(&world, arguments, &[]);
        command.until("reading from standard input, until Ctrl-D");
        command.press_until("\n\x04", answer);
        assert_eq!(command.ended().code(), Some(0));
    }
}

#[test]
fn without_a_terminal_nothing_is_read() {
    let (world, handler) = (World::new(), Handler::start());
    let pipe = world.folder().join("input");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Open for both, so that neither waits for the other.
    let mut input = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    input.write_all(b"qqq\n").unwrap();
    let mut command = world.command(&["listen", "--json", "--port", "0", "--forward", &handler.target()]);
    let mut listening = Listening::start(command.stdin(Stdio::from(input.try_clone().unwrap())));
    assert_eq!(world.run(&["trigger", "meeting.started"]).code(), 0);
    listening.next("attempt");
    let mut left = [0; 4];
    input.read_exact(&mut left).unwrap();
    assert_eq!(&left, b"qqq\n");
}
