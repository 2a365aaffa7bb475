//! What tests of the tunnel start and ask: a real relay, a `listen` behind it, the wire between, a sender, the record.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use mbaas_dev::model::Clock;
use serde_json::Value;

use crate::world::{Listening, World};

pub const TOKEN: &str = "an-access-token";
pub const SECRET: &str = "a secret of both sides";

/// How long a test waits for something that must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running relay; killed when dropped.
pub struct Relay {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// Host and port.
    pub address: String,
}

impl Relay {
    pub fn start(world: &World, arguments: &[&str]) -> Self {
        Self::at("127.0.0.1:0", world, arguments)
    }

    pub fn at(address: &str, world: &World, arguments: &[&str]) -> Self {
        Self::run(address, world, &[&["--access-token", TOKEN, "--max-rate", "0"], arguments].concat())
    }

    /// A relay whose access tokens are among the arguments.
    pub fn with(world: &World, arguments: &[&str]) -> Self {
        Self::run("127.0.0.1:0", world, arguments)
    }

    fn run(address: &str, world: &World, arguments: &[&str]) -> Self {
        let given = ["relay", "--json", "--listen", address, "--public-url", "https://hooks.example"];
        let mut command = world.command(&[&given[..], arguments].concat());
        let mut child = command.stderr(Stdio::inherit()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let ready = object(&mut stdout);
        has_its_time(&ready);
        assert_eq!(
            (&ready["type"], &ready["public_url"]),
            (&"ready".into(), &"https://hooks.example".into())
        );
        let address = ready["listening"].as_str().unwrap().split_once("://").unwrap().1.to_owned();
        Self { child, stdout, address }
    }

    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// The next line of a type.
    pub fn next(&mut self, kind: &str) -> Value {
        self.until(kind).pop().unwrap()
    }

    /// All lines up to the next one of a type.
    pub fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line: &Value| line["type"] != kind) {
            let line = object(&mut self.stdout);
            has_its_time(&line);
            lines.push(line);
        }
        lines
    }

    /// Starts a `listen` with a tunnel.
    pub fn listen(&self, world: &World, arguments: &[&str]) -> Listening {
        Self::listen_at(&self.url(), world, arguments)
    }

    /// Starts a `listen` whose tunnel goes to another URL than that of the relay itself.
    pub fn listen_at(url: &str, world: &World, arguments: &[&str]) -> Listening {
        let tunnel = ["--tunnel", url, "--access-token", TOKEN, "--secret", SECRET];
        world.listen(&[&tunnel[..], arguments].concat())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn health(&self) -> Value {
        let reply = send(&self.address, "GET", "/healthz", "", b"").unwrap();
        assert_eq!(reply.status, 200);
        serde_json::from_slice(&reply.body).unwrap()
    }

    /// The same where TLS is spoken, with a certificate of this issuer for `localhost`.
    pub fn health_over_tls(&self, issuer: &Path) -> Value {
        let port = self.address.rsplit(':').next().unwrap();
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", &format!("https://localhost:{port}/healthz"), "--cacert"]);
        serde_json::from_slice(&curl.arg(issuer).output().unwrap().stdout).unwrap()
    }

    /// Waits until nothing waits, and the store is sound: as long as it takes, if what waits becomes less.
    pub fn is_drained(&self) {
        let mut since = (Clock::real().tick(), u64::MAX);
        // One is under way as long as its handler has not answered.
        // A tunnel that broke again and again is opened anew after half a minute at the latest.
        while since.0.elapsed() < 2 * PATIENCE {
            let reply = send(&self.address, "GET", "/healthz", "", b"").unwrap();
            let health: Value = serde_json::from_slice(&reply.body).unwrap();
            let waiting = health["waiting"].as_u64().unwrap();
            if reply.status == 200 && waiting == 0 {
                return;
            }
            if waiting < since.1 {
                since = (Clock::real().tick(), waiting);
            }
            thread::sleep(PATIENCE / 400);
        }
        panic!("nothing moves any more: {}", self.health());
    }

    /// Sends a signal that ends it, and waits for that.
    pub fn end(&mut self, name: &str) {
        signal(self.pid(), name);
        self.child.wait().unwrap();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Sends a signal to a process.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(status.unwrap().success());
}

/// Every line of a relay says when it was written, in UTC, to the millisecond.
fn has_its_time(line: &Value) {
    let at = line["at"].as_str().unwrap_or_else(|| panic!("when? {line}"));
    let age = Clock::real().now().duration_since(at.parse().unwrap()).as_secs();
    assert!((-1..86_400).contains(&age) && at.len() == "2026-11-24T09:05:52.208Z".len(), "{line}");
}

fn object(stdout: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"))
}

/// The wire between a `listen` and its relay.
pub struct Wire {
    address: String,
    connections: Arc<Mutex<Vec<Arc<Connection>>>>,
}

/// A connection over the wire: both its ends, and whether nothing goes through any more.
struct Connection {
    ends: [TcpStream; 2],
    is_silent: AtomicBool,
}

impl Wire {
    pub fn to(relay: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections: Arc<Mutex<Vec<Arc<Connection>>>> = Arc::default();
        let (relay, of_thread) = (relay.to_owned(), Arc::clone(&connections));
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // Without a relay, whoever connects is let go.
                let Ok(far) = TcpStream::connect(&relay) else { continue };
                for end in [&near, &far] {
                    end.set_nodelay(true).unwrap();
                }
                let connection =
                    Arc::new(Connection { ends: [near, far], is_silent: AtomicBool::new(false) });
                of_thread.lock().unwrap().push(Arc::clone(&connection));
                for from in [0, 1] {
                    let connection = Arc::clone(&connection);
                    thread::spawn(move || connection.carry(from));
                }
            }
        });
        Self { address, connections }
    }

    /// Where the near end is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Breaks every connection.
    pub fn cut(&self) {
        self.connections.lock().unwrap().drain(..).for_each(|connection| connection.end());
    }

    /// Nothing goes through the connections that there are any more, and nobody is told: as when a laptop sleeps.
    pub fn fall_silent(&self) {
        for connection in self.connections.lock().unwrap().iter() {
            connection.is_silent.store(true, Ordering::Relaxed);
        }
    }
}

impl Connection {
    fn carry(&self, from: usize) {
        let mut buffer = vec![0; 64 * 1024];
        let mut carry = || -> io::Result<bool> {
            let length = (&self.ends[from]).read(&mut buffer)?;
            if !self.is_silent.load(Ordering::Relaxed) {
                (&self.ends[1 - from]).write_all(&buffer[..length])?;
            }
            Ok(length > 0)
        };
        while matches!(carry(), Ok(true)) {}
        if !self.is_silent.load(Ordering::Relaxed) {
            self.end();
        }
    }

    fn end(&self) {
        for end in &self.ends {
            // The other side may have been faster.
            end.shutdown(Shutdown::Both).ok();
        }
    }
}

/// What a sender was answered.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

/// Sends one request on a connection of its own; `headers` are whole lines.
pub fn send(address: &str, method: &str, path: &str, headers: &str, body: &[u8]) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(2 * PATIENCE))?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: hooks.example\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut whole = Vec::new();
    stream.read_to_end(&mut whole)?;
    let end = whole.windows(4).position(|four| four == b"\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8_lossy(&whole[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    Ok(Reply { status, head, body: whole[end + 4..].to_vec() })
}

/// The path of the channel of a `listen`, without its last `/`.
pub fn channel(listening: &Listening) -> String {
    let public = listening.ready["public"].as_str().expect("the tunnel is open").to_owned();
    public.strip_prefix("https://hooks.example").unwrap().trim_end_matches('/').to_owned()
}

/// Sends a signed event to a relay, from a project of its own.
pub fn trigger(relay: &Relay, channel: &str, event: &str, path: &str) -> Value {
    let world = World::new();
    let to = format!("http://{}{channel}{path}", relay.address);
    let done = world.run_process(&["trigger", event, "--to", &to, "--secret", SECRET, "--json"]);
    assert!(done.status.success(), "{done:?}");
    serde_json::from_slice(&done.stdout).unwrap()
}

/// What is recorded in a project, oldest first.
pub fn recorded(world: &World) -> Vec<Value> {
    let done = world.run_process(&["deliveries", "list", "--json", "--limit", "100000"]);
    let text = String::from_utf8(done.stdout).unwrap();
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_by_key(|line| line["number"].as_i64());
    lines
}

/// What the relay counts under a name with labels.
pub fn metric(relay: &Relay, name: &str) -> u64 {
    let reply = send(&relay.address, "GET", "/metrics", "", b"").unwrap();
    assert_eq!(reply.status, 200);
    assert!(reply.head.contains("application/openmetrics-text; version=1.0.0"), "{}", reply.head);
    let text = String::from_utf8(reply.body).unwrap();
    assert!(text.ends_with("# EOF\n"));
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("mbaas_dev_relay_{name} ")));
    line.unwrap_or_else(|| panic!("{name} is not in {text}")).parse().unwrap()
}
