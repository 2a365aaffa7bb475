//! A project of its own for each test: an empty folder, a fixed clock, seeded ids, and the whole command line.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use mbaas_dev::cli::{self, Context, Exit, Output};
use mbaas_dev::model::Clock;
use serde_json::Value;
use tempfile::TempDir;

/// A project: an empty folder that goes with the test.
pub struct World {
    folder: TempDir,
    /// How many commands were run within this process: each draws ids of its own, the same in each run of the test.
    commands: AtomicU64,
}

/// What a command did.
#[must_use]
#[derive(Debug)]
pub struct Done {
    pub exit: Exit,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl World {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), commands: AtomicU64::new(0) }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Puts a file into the project.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Runs a command within this process, on a clock that stands at 2026-11-24T09:05:52.208Z.
    pub fn run(&self, arguments: &[&str]) -> Done {
        self.run_with_input(arguments, b"")
    }

    /// Like [`run`](Self::run), with something on standard input.
    pub fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Done {
        let seed = self.commands.fetch_add(1, Ordering::Relaxed);
        let (stdout, stderr) = (Captured::default(), Captured::default());
        let context = Context {
            clock: Clock::fixed("2026-11-24T09:05:52.208Z".parse().unwrap(), seed),
            folder: self.folder().to_owned(),
            environment: |_| None,
            input: Box::new(io::Cursor::new(input.to_vec())),
            input_is_terminal: false,
            output: Output::to(Box::new(stdout.clone()), Box::new(stderr.clone())),
        };
        let words = std::iter::once("mbaas-dev").chain(arguments.iter().copied()).map(Into::into);
        let exit = cli::run(words, context);
        Done { exit, stdout: stdout.take(), stderr: stderr.take() }
    }

    /// The real program, in this project, with an environment of its own.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mbaas-dev"));
        command
            .args(arguments)
            .current_dir(self.folder())
            .env_clear()
            .env("HOME", self.folder())
            .env("TZ", "UTC")
            .env("MBAAS_DEV_INSPECTOR_PORT", "0");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Like [`command`](Self::command), without the rights of root, for whom there is nothing that may not be read.
    pub fn without_privileges(&self, arguments: &[&str]) -> Command {
        let plain = self.command(arguments);
        if !rustix::process::geteuid().is_root() {
            return plain;
        }
        let mut command = Command::new("setpriv");
        command.args(["--inh-caps=-all", "--bounding-set=-all"]).arg(plain.get_program());
        command.args(plain.get_args()).current_dir(self.folder()).env_clear();
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the real program to its end.
    pub fn run_process(&self, arguments: &[&str]) -> std::process::Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts the real program with arguments that make it say `ready`, and waits for that.
    pub fn start(&self, arguments: &[&str]) -> Listening {
        Listening::start(&mut self.command(arguments))
    }

    /// Starts the real `listen --json --port 0` with more arguments, and waits until it is ready.
    pub fn listen(&self, arguments: &[&str]) -> Listening {
        Listening::start(&mut self.command(&[&["listen", "--json", "--port", "0"], arguments].concat()))
    }

    /// Like [`listen`](Self::listen); what it says on standard error goes to a file.
    pub fn listen_with_log(&self, arguments: &[&str]) -> (Listening, PathBuf) {
        let mut command = self.command(&[&["listen", "--json", "--port", "0"], arguments].concat());
        let log = self.write("listen.log", "");
        command.stderr(std::fs::File::create(&log).unwrap());
        (Listening::start_as_it_is(&mut command), log)
    }
}

impl Done {
    pub fn code(&self) -> u8 {
        self.exit as u8
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    pub fn errors(&self) -> String {
        String::from_utf8(self.stderr.clone()).unwrap()
    }

    /// The JSON objects on stdout, one a line.
    pub fn objects(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Everything at once, for snapshots.
    pub fn whole(&self) -> String {
        format!("exit: {}\n--- stdout\n{}--- stderr\n{}", self.code(), self.text(), self.errors())
    }
}

/// A running `listen`; killed when dropped.
pub struct Listening {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub ready: Value,
}

impl Listening {
    /// Starts a `listen --json` that was made by [`World::command`].
    pub fn start(command: &mut Command) -> Self {
        Self::start_as_it_is(command.stderr(Stdio::inherit()))
    }

    fn start_as_it_is(command: &mut Command) -> Self {
        Self::try_start(command).expect("listen says that it is ready")
    }

    /// Starts what may fail to start; how it ended then.
    pub fn try_start(command: &mut Command) -> Result<Self, std::process::Output> {
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let Some(ready) = next_object(&mut stdout) else { return Err(child.wait_with_output().unwrap()) };
        assert_eq!(ready["type"], "ready", "{ready}");
        Ok(Self { child, stdout, ready })
    }

    /// The URL of the ingress.
    pub fn url(&self) -> String {
        self.ready["ingress"].as_str().unwrap().to_owned()
    }

    /// The address of the ingress: host and port.
    pub fn address(&self) -> String {
        self.url().trim_start_matches("http://").to_owned()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line, of whatever type.
    pub fn next_line(&mut self) -> Value {
        next_object(&mut self.stdout).expect("listen goes on")
    }

    /// The next line of a type; lines of other types are passed over.
    pub fn next(&mut self, kind: &str) -> Value {
        loop {
            let object =
                next_object(&mut self.stdout).unwrap_or_else(|| panic!("listen ended before `{kind}`"));
            if object["type"] == kind {
                return object;
            }
        }
    }

    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end; what was still printed.
    pub fn wait(mut self) -> (ExitStatus, Vec<Value>) {
        let mut rest = Vec::new();
        while let Some(object) = next_object(&mut self.stdout) {
            rest.push(object);
        }
        (self.child.wait().unwrap(), rest)
    }

    /// Ends it as Ctrl-C does.
    pub fn interrupt(self) -> (ExitStatus, Vec<Value>) {
        self.signal("INT");
        self.wait()
    }

    /// Ends it as a power cut would, as far as a process can be.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn next_object(stdout: &mut BufReader<ChildStdout>) -> Option<Value> {
    let mut line = String::new();
    let length = stdout.read_line(&mut line).unwrap();
    (length > 0).then(|| serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}")))
}

/// A process that is killed when dropped, with a pipe to its standard input that stays open.
pub struct Background {
    child: Child,
    _stdin: Option<ChildStdin>,
    pub stdout: BufReader<ChildStdout>,
}

impl Background {
    pub fn start(command: &mut Command, environment: &BTreeMap<&str, String>) -> Self {
        command.envs(environment).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, _stdin: stdin, stdout }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A stream that keeps what is written to it.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
