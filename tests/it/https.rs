//! Handlers behind TLS: real servers (OpenSSL, in Python) with certificates that the tests make.

use std::collections::BTreeMap;
use std::io::{BufRead, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use serde_json::Value;

use crate::handler::nobody;
use crate::world::{Background, Listening, World};

/// An issuer of certificates, and the project in whose folder they are.
pub struct Issuer {
    pub world: World,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A server, and what reaches it.
struct Server {
    _process: Background,
    port: u16,
}

impl Issuer {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an issuer of the tests");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let world = World::new();
        world.write("ca.pem", issuer.pem());
        Self { world, issuer }
    }

    /// A certificate for these names and its key, in files.
    pub fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (
            self.world.write("server.pem", certificate.pem()),
            self.world.write("server.key", key.serialize_pem()),
        )
    }

    /// A certificate that a server made for itself, which is trusted from now on.
    fn replace_by_own(&self, is_ca: IsCa) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.is_ca = is_ca;
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (self.world.write("ca.pem", certificate.pem()), self.world.write("own.key", key.serialize_pem()))
    }

    /// What `mbaas-dev` does with the issuer among those whom the system trusts, or without.
    fn run(&self, trusted: &str, arguments: &[&str]) -> (i32, Value) {
        let mut command = self.world.command(arguments);
        let output = command.env("SSL_CERT_FILE", self.world.folder().join(trusted)).output().unwrap();
        let delivery = serde_json::from_slice(&output.stdout);
        (output.status.code().unwrap(), delivery.unwrap_or_else(|_| panic!("{output:?}")))
    }

    /// The sentence with which an event ends that is sent to `target`.
    fn complaint(&self, trusted: &str, target: &str) -> String {
        let (code, delivery) = self.run(trusted, &["trigger", "meeting.failed", "--to", target, "--json"]);
        assert_eq!((code, &delivery["attempts"][0]["error"]), (5, &"tls".into()), "{target}: {delivery}");
        let id = delivery["id"].as_str().unwrap();
        let shown = self.world.run(&["deliveries", "show", id, "--json"]).objects().remove(0);
        let detail = shown["attempts"][0]["detail"].as_str().unwrap().to_owned();
        let said = self.world.run(&["deliveries", "show", id]).text();
        assert!(said.ends_with(&format!("hint: {detail}\n")), "{said}");
        let port = target.rsplit(':').next().unwrap();
        detail.replace(&format!(":{port}"), ":[PORT]")
    }
}

impl Server {
    fn start(arguments: &[&PathBuf]) -> Self {
        let mut command = Command::new("python3");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/handlers/tls_handler.py")).args(arguments);
        let mut process = Background::start(&mut command, &BTreeMap::new());
        let mut line = String::new();
        process.stdout.read_line(&mut line).unwrap();
        let port = line.trim_end().strip_prefix("READY ").expect("the server starts").parse().unwrap();
        Self { _process: process, port }
    }
}

/// A server that reads what comes and answers with these bytes, whatever it was.
fn blunt(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // The client may be gone already.
            drop(stream.read(&mut [0; 4096]));
            drop(stream.write_all(answer));
        }
    });
    port
}

const OTHERS: &str = "others.pem";

#[test]
fn a_handler_whose_issuer_is_trusted_is_reached_and_one_whose_issuer_is_not_only_with_insecure() {
    let issuer = Issuer::new();
    issuer.world.write(OTHERS, Issuer::new().issuer.pem());
    let (certificate, key) = issuer.issue("localhost", |_| {});
    let server = Server::start(&[&certificate, &key]);
    let target = format!("https://localhost:{}", server.port);
    let trigger = ["trigger", "meeting.completed@long", "--to", &target, "--json"];

    let (code, delivery) = issuer.run("ca.pem", &trigger);
    assert_eq!((code, &delivery["attempts"][0]["status"]), (0, &200.into()), "{delivery}");
    let whole = ["deliveries", "show", "1", "--json"];
    let answer = issuer.world.run(&whole).objects()[0]["attempts"][0]["body"].as_str().unwrap().to_owned();
    assert_eq!(answer, format!(r#"{{"bytes":{},"tls":"TLSv1.3"}}"#, delivery["body_bytes"]));

    assert_eq!(
        issuer.complaint(OTHERS, &target),
        "the certificate of localhost:[PORT] was issued by nobody whom this system trusts: give the issuer's \
         certificate with SSL_CERT_FILE=ca.pem in the environment, or take any certificate with --insecure"
    );
    let (code, delivery) = issuer.run(OTHERS, &[&trigger[..], &["--insecure"]].concat());
    assert_eq!((code, &delivery["attempts"][0]["status"]), (0, &200.into()), "{delivery}");

    for (trusted, more, status) in
        [("ca.pem", &[][..], 200), (OTHERS, &[], 502), (OTHERS, &["--insecure"], 200)]
    {
        let listen = [&["listen", "--json", "--port", "0", "--forward", &target], more].concat();
        let mut command = issuer.world.command(&listen);
        let trusted = issuer.world.folder().join(trusted);
        let mut listening = Listening::start(command.env("SSL_CERT_FILE", trusted));
        let sent = issuer.world.run_process(&["trigger", "meeting.failed", "--json"]);
        let attempt = listening.next("attempt")["attempt"].clone();
        let told = if status == 200 { Value::from(200) } else { Value::Null };
        assert_eq!(attempt["status"], told, "{attempt} {sent:?}");
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_and_what_to_do() {
    let issuer = Issuer::new();
    let said = |certificate: &PathBuf, key: &PathBuf, host: &str| {
        let server = Server::start(&[certificate, key]);
        let target = format!("https://{host}:{}", server.port);
        let said = issuer.complaint("ca.pem", &target);
        let insecure = ["trigger", "meeting.failed", "--to", &target, "--json", "--insecure"];
        assert_eq!(issuer.run("ca.pem", &insecure).0, 0, "{said}");
        said
    };
    let mut all = Vec::new();
    let (certificate, key) = issuer.issue("*.other.test", |_| {});
    all.push(said(&certificate, &key, "localhost"));
    let (certificate, key) = issuer.issue("localhost", |_| {});
    all.push(said(&certificate, &key, "127.0.0.1"));
    let (certificate, key) = issuer.issue("localhost", |params| params.not_after = date_time_ymd(2020, 1, 1));
    all.push(said(&certificate, &key, "localhost"));
    let (certificate, key) =
        issuer.issue("localhost", |params| params.not_before = date_time_ymd(4000, 1, 1));
    all.push(said(&certificate, &key, "localhost"));
    // As `openssl req -x509` makes one: its own issuer.
    let (certificate, key) = issuer.replace_by_own(IsCa::Ca(BasicConstraints::Unconstrained));
    all.push(said(&certificate, &key, "localhost"));
    // And as it makes one when it is told to as we say.
    let (certificate, key) = issuer.replace_by_own(IsCa::ExplicitNoCa);
    let server = Server::start(&[&certificate, &key]);
    let target = format!("https://localhost:{}", server.port);
    assert_eq!(issuer.run("ca.pem", &["trigger", "meeting.failed", "--to", &target, "--json"]).0, 0);
    insta::assert_snapshot!("certificates", all.join("\n"));
}

#[test]
fn who_speaks_no_tls_or_nothing_at_all_is_told_apart() {
    let issuer = Issuer::new();
    let at = |port: u16| format!("https://localhost:{port}");
    let plain = blunt(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    // protocol_version, fatal.
    let old = blunt(b"\x15\x03\x01\x00\x02\x02\x46");
    let said = [
        issuer.complaint("ca.pem", &at(plain)),
        issuer.complaint("ca.pem", &at(blunt(b""))),
        issuer.complaint("ca.pem", &at(old)),
        issuer.complaint("nothing.pem", &at(plain)),
    ];
    let said = said.join("\n").replace(issuer.world.folder().to_str().unwrap(), "[FOLDER]");
    insta::assert_snapshot!("no_tls", said);
    let (nobody, _kept) = nobody();
    let (code, delivery) =
        issuer.run("ca.pem", &["trigger", "meeting.failed", "--to", &format!("https://{nobody}"), "--json"]);
    assert_eq!((code, &delivery["attempts"][0]["error"]), (5, &"refused".into()));

    // The other way round: TLS where plain HTTP is spoken to.
    let alert = blunt(b"\x15\x03\x03\x00\x02\x02\x28");
    let to = format!("localhost:{alert}");
    let (code, delivery) = issuer.run("ca.pem", &["trigger", "meeting.failed", "--to", &to, "--json"]);
    assert_eq!((code, &delivery["attempts"][0]["error"]), (3, &"protocol".into()), "{delivery}");
    let shown = issuer.world.run(&["deliveries", "show", delivery["id"].as_str().unwrap()]).text();
    assert!(shown.contains("should it be TLS, let the target begin with https://"), "{shown}");
}

#[test]
fn a_handler_that_wants_a_certificate_of_its_clients_is_told_of() {
    let issuer = Issuer::new();
    let (certificate, key) = issuer.issue("localhost", |_| {});
    let server = Server::start(&[&certificate, &key, &issuer.world.folder().join("ca.pem")]);
    let target = format!("https://localhost:{}", server.port);
    insta::assert_snapshot!("client_certificate", issuer.complaint("ca.pem", &target));
}
