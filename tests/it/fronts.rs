//! Web servers before a relay, for tests: a real nginx and a real Caddy, on free ports, with a certificate of the tests.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::assurance::skipped;
use crate::https::Issuer;
use crate::relaying::{PATIENCE, SECRET, TOKEN};
use crate::world::{Listening, World};

/// A web server; ended when dropped.
pub struct Front(Child);

impl Drop for Front {
    fn drop(&mut self) {
        // As root it has children, which end with it if it is asked to.
        Command::new("kill").arg(self.0.id().to_string()).status().ok();
        self.0.wait().ok();
    }
}

/// A port that nobody has at the moment.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A file of the repository.
pub fn ours(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// A web server, where it is installed or where `tests/run` unpacked it; that there is none is told.
pub fn server(name: &str) -> Option<PathBuf> {
    let tools = std::env::var_os("MBAAS_TEST_TOOLS").map(|tools| Path::new(&tools).join("servers"));
    let roots = [Some(PathBuf::from("/")), tools].into_iter().flatten();
    let places =
        roots.flat_map(|root| ["usr/bin", "usr/sbin", "usr/local/bin"].map(|place| root.join(place)));
    let found = places.map(|place| place.join(name)).find(|path| path.exists());
    if found.is_none() {
        skipped(&format!("{name} is not installed: what is said of it is not tried"));
    }
    found
}

/// Starts nginx with these servers, and waits until it listens at `port`.
pub fn start_nginx(program: &Path, world: &World, servers: &str, port: u16) -> Front {
    let folder = world.folder().to_str().unwrap().to_owned();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {folder}/{what};\n"))
        .concat();
    let user = if is_root() { "user root;" } else { "" };
    let all = format!(
        "daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; {user}\nevents {{}}\nhttp {{\n\
         access_log off;\n{temporary}{servers}\n}}\n"
    );
    let file = world.write("nginx.conf", all);
    let mut nginx = Command::new(program);
    nginx.args(["-e", &format!("{folder}/nginx.log"), "-p", &folder, "-c"]).arg(file);
    start(nginx, port)
}

/// Starts a web server, and waits until it listens.
pub fn start(mut command: Command, port: u16) -> Front {
    let front = Front(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok();
    assert!((0..2000).any(|_| listens() || {
        thread::sleep(PATIENCE / 2000);
        false
    }));
    front
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|about| std::os::unix::fs::MetadataExt::uid(&about) == 0)
}

/// A relay behind a web server that does not run yet.
pub struct Site {
    pub issuer: Issuer,
    _world: World,
    pub relay: Listening,
    /// The port of the web server.
    pub port: u16,
    files: (PathBuf, PathBuf),
}

impl Site {
    pub fn new(arguments: &[&str]) -> Self {
        let (issuer, world, port) = (Issuer::new(), World::new(), free_port());
        let public = format!("https://localhost:{port}");
        let relay = ["relay", "--json", "--listen", "127.0.0.1:0", "--public-url", &public];
        let access = ["--access-token", TOKEN];
        let relay = Listening::start(&mut world.command(&[&relay[..], &access, arguments].concat()));
        let files = issuer.issue("localhost", |_| {});
        Self { issuer, _world: world, relay, port, files }
    }

    /// Host and port of the relay itself.
    pub fn upstream(&self) -> String {
        self.relay.ready["listening"].as_str().unwrap().replace("http://", "")
    }

    pub fn url(&self) -> String {
        format!("wss://localhost:{}", self.port)
    }

    /// `deploy/nginx.conf`, for this place.
    pub fn nginx_conf(&self) -> String {
        let (certificate, key) = (self.files.0.to_str().unwrap(), self.files.1.to_str().unwrap());
        [
            ("listen 443 ssl;", format!("listen 127.0.0.1:{} ssl; listen [::1]:{0} ssl;", self.port)),
            ("hooks.example.com", "localhost".to_owned()),
            ("/etc/ssl/hooks.pem", certificate.to_owned()),
            ("/etc/ssl/hooks.key", key.to_owned()),
            ("http://127.0.0.1:8080", format!("http://{}", self.upstream())),
        ]
        .into_iter()
        .fold(ours("deploy/nginx.conf"), |text, (ours, theirs)| {
            assert!(text.contains(ours), "{ours}");
            text.replace(ours, &theirs)
        })
    }

    /// A command that trusts the issuer of the certificate.
    pub fn command(&self, world: &World, arguments: &[&str]) -> Command {
        let mut command = world.command(arguments);
        command.env("SSL_CERT_FILE", self.issuer.world.folder().join("ca.pem"));
        command
    }

    /// What `relay doctor` finds: its exit code, and a sentence for each finding; with it the names of all checks.
    pub fn doctor(&self, url: &str) -> (i32, String, Vec<String>) {
        let world = World::new();
        let arguments = ["relay", "doctor", url, "--access-token", TOKEN, "--json"];
        let done = self.command(&world, &arguments).output().unwrap();
        let text = String::from_utf8(done.stdout).unwrap();
        let checks: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let findings = checks.iter().filter(|check| check["ok"] == false).map(|check| {
            let part = |name: &str| check[name].as_str().unwrap();
            format!("{}: {}\n    {}\n", part("check"), part("found"), part("advice"))
        });
        let said = findings.collect::<String>().replace(&format!(":{}", self.port), ":PORT");
        let names = checks.iter().map(|check| check["check"].as_str().unwrap().to_owned()).collect();
        assert!(done.stderr.is_empty(), "{:?}", String::from_utf8_lossy(&done.stderr));
        (done.status.code().unwrap(), said, names)
    }

    /// Through the web server, as a new user does: a `listen`, a signed event, the answer.
    pub fn works(&self) {
        let (world, handler) = (World::new(), crate::handler::Handler::answering(207, "{}"));
        let (url, target) = (self.url(), handler.target());
        let tunnel = ["listen", "--json", "--port", "0", "--tunnel", &url, "--access-token", TOKEN];
        let rest = ["--secret", SECRET, "--forward", &target];
        let mut listen = Listening::start(&mut self.command(&world, &[&tunnel[..], &rest].concat()));
        let public = listen.ready["public"].as_str().unwrap().to_owned();
        let to = format!("{public}hooks");
        let sender = World::new();
        let trigger = ["trigger", "meeting.completed", "--to", &to, "--secret", SECRET, "--json"];
        let sent = self.command(&sender, &trigger).output().unwrap();
        let sent: Value = serde_json::from_slice(&sent.stdout).unwrap();
        assert_eq!(sent["attempts"][0]["status"], 207, "{sent}");
        assert_eq!(listen.next("received")["signature"], "valid");
        // A tunnel that says nothing stays.
        thread::sleep(Duration::from_secs(crate::assurance::tier(0, 90)));
        let body = vec![b'x'; 8 << 20];
        let mut curl = Command::new("curl");
        let large = sender.write("large", body);
        let trusted = self.issuer.world.folder().join("ca.pem");
        curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--cacert"]);
        curl.arg(trusted).arg("--data-binary").arg(format!("@{}", large.display())).arg(&public);
        assert_eq!(curl.output().unwrap().stdout, b"207");
        drop(listen.interrupt());
    }
}
