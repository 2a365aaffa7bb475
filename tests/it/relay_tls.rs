//! A relay that speaks TLS itself: tunnels, senders, certificates that change while it runs, and what is wrong with them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use mbaas_dev::model::Clock;
use rcgen::{CertificateParams, SanType, date_time_ymd};
use serde_json::Value;

use crate::handler::{Handler, answer};
use crate::https::Issuer;
use crate::relaying::{Relay, SECRET, TOKEN, channel};
use crate::world::{Listening, World};

/// A relay with a certificate for `localhost`.
fn relay(world: &World, certificate: &Path, key: &Path) -> Relay {
    let files = [certificate.to_str().unwrap(), key.to_str().unwrap()];
    Relay::start(world, &["--tls-cert", files[0], "--tls-key", files[1]])
}

fn port(relay: &Relay) -> &str {
    relay.address.rsplit(':').next().unwrap()
}

/// What `listen` does with a tunnel to `url`, with the certificates that it trusts.
fn listen(world: &World, url: &str, trusted: &Path, more: &[&str]) -> Command {
    let tunnel = ["listen", "--json", "--port", "0", "--tunnel", url, "--access-token", TOKEN];
    let mut command = world.command(&[&tunnel[..], &["--secret", SECRET], more].concat());
    command.env("SSL_CERT_FILE", trusted);
    command
}

/// Has a certificate be for the host of the public URL as well.
fn also_public(params: &mut CertificateParams) {
    params.subject_alt_names.push(SanType::DnsName("hooks.example".try_into().unwrap()));
}

/// What a sender is answered who trusts `issuer`: the version of HTTP, and the status.
fn curl(relay: &Relay, path: &str, issuer: &Path, version: &str) -> String {
    let url = format!("https://localhost:{}{path}", port(relay));
    let done = Command::new("curl")
        .args(["--silent", "--show-error", "--data", "{}", version, "--cacert"])
        .arg(issuer)
        .args(["--write-out", "\n%{http_version} %{http_code}", &url])
        .output()
        .unwrap();
    String::from_utf8_lossy(&done.stdout).lines().last().unwrap_or_default().to_owned()
}

#[test]
fn senders_and_tunnels_speak_tls_and_the_handlers_answer_comes_back() {
    let (issuer, of_relay, world, handler) = (Issuer::new(), World::new(), World::new(), Handler::start());
    let (certificate, key) = issuer.issue("localhost", |_| {});
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let relay = relay(&of_relay, &certificate, &key);
    let trusted = issuer.world.folder().join("ca.pem");
    let url = format!("wss://localhost:{}", port(&relay));
    let mut listening =
        Listening::start(&mut listen(&world, &url, &trusted, &["--forward", &handler.target()]));
    let channel = channel(&listening);
    handler.become_(answer(207, &[], b"over TLS"));
    assert_eq!(curl(&relay, &channel, &trusted, "--http2"), "2 207");
    assert_eq!(curl(&relay, &channel, &trusted, "--http1.1"), "1.1 207");
    // Who only asks whether it is well gets no body.
    let health = format!("https://localhost:{}/healthz", port(&relay));
    for version in ["--http2", "--http1.1"] {
        let mut head = Command::new("curl");
        head.args(["--silent", "--show-error", "--head", version, &health, "--cacert"]).arg(&trusted);
        let told = head.output().unwrap();
        let text = String::from_utf8_lossy(&told.stdout).to_lowercase();
        assert!(
            told.status.success() && text.contains(" 200") && text.contains("content-length: "),
            "{told:?}"
        );
    }
    // With our own sender, whose signature arrives.
    let to = format!("https://localhost:{}{channel}/hooks", port(&relay));
    let of_sender = World::new();
    let mut trigger = of_sender.command(&["trigger", "meeting.failed", "--to", &to, "--secret", SECRET]);
    assert!(trigger.env("SSL_CERT_FILE", &trusted).status().unwrap().success());
    for signature in ["missing", "missing", "valid"] {
        assert_eq!(listening.next("received")["signature"], signature);
    }
    assert_eq!(handler.drain().len(), 3);
}

#[test]
fn a_certificate_that_changes_is_shown_to_newcomers_and_one_that_is_wrong_changes_nothing() {
    let (issuer, other) = (Issuer::new(), Issuer::new());
    let (of_relay, world, handler) = (World::new(), World::new(), Handler::start());
    let (certificate, key) = issuer.issue("localhost", also_public);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let mut relay = relay(&of_relay, &certificate, &key);
    let (first, second) = (issuer.world.folder().join("ca.pem"), other.world.folder().join("ca.pem"));
    assert_eq!(relay.next("error")["code"], "key", "everybody can read it");
    let url = format!("wss://localhost:{}", port(&relay));
    let listening = Listening::start(&mut listen(&world, &url, &first, &["--forward", &handler.target()]));
    let channel = channel(&listening);

    // A key without its certificate is said once, and what was there holds on.
    let (new_certificate, new_key) = other.issue("localhost", |_| {});
    fs::copy(&new_key, &key).unwrap();
    let error = relay.next("error");
    assert_eq!(error["code"], "certificate");
    let said = error["message"].as_str().unwrap();
    assert!(said.contains("is not that of the certificate"), "{said}");
    assert_eq!(curl(&relay, &channel, &first, "--http1.1"), "1.1 200");

    // With its certificate it counts; the tunnel that is there stays.
    fs::copy(&new_certificate, &certificate).unwrap();
    assert!(relay.next("certificate")["valid_until"].is_string());
    assert_eq!(curl(&relay, &channel, &second, "--http1.1"), "1.1 200");
    assert!(curl(&relay, &channel, &first, "--http1.1").ends_with(" 000"));
    assert_eq!(relay.health_over_tls(&second)["connected"], 1);
    drop(listening.interrupt());
}

#[test]
fn whoever_cannot_speak_with_a_relay_for_tls_learns_why() {
    let (issuer, of_relay, plain, world) = (Issuer::new(), World::new(), World::new(), World::new());
    let (certificate, key) = issuer.issue("localhost", |_| {});
    let relay = relay(&of_relay, &certificate, &key);
    let in_clear = Relay::start(&plain, &[]);
    let (trusted, others) = (issuer.world.folder().join("ca.pem"), Issuer::new());
    let others = others.world.folder().join("ca.pem");
    let mut said = String::new();
    for (scheme, host, at, trusted) in [
        ("wss", "localhost", &relay, &others),
        ("wss", "127.0.0.1", &relay, &trusted),
        ("ws", "localhost", &relay, &trusted),
        ("wss", "localhost", &in_clear, &trusted),
    ] {
        let url = format!("{scheme}://{host}:{}", port(at));
        let done = listen(&world, &url, trusted, &[]).output().unwrap();
        assert!(done.stdout.is_empty(), "{done:?}");
        let sentence = String::from_utf8(done.stderr).unwrap().replace(port(at), "[PORT]");
        said +=
            &format!("{url}: exit {}\n{sentence}\n", done.status.code().unwrap()).replace(port(at), "[PORT]");
    }
    insta::assert_snapshot!(said);
}

#[test]
fn a_relay_does_not_start_with_a_certificate_that_cannot_be_used() {
    let (issuer, world) = (Issuer::new(), World::new());
    let (certificate, key) = issuer.issue("localhost", |_| {});
    fs::copy(&certificate, world.folder().join("cert.pem")).unwrap();
    fs::copy(&key, world.folder().join("key.pem")).unwrap();
    let other = Issuer::new();
    let (_, other_key) = other.issue("localhost", |_| {});
    fs::copy(other_key, world.folder().join("other.pem")).unwrap();
    let mut said = String::new();
    for files in [
        &["--tls-cert", "cert.pem"][..],
        &["--tls-key", "key.pem"],
        &["--tls-cert", "cert.pem", "--tls-key", "nowhere.pem"],
        &["--tls-cert", "cert.pem", "--tls-key", "other.pem"],
        &["--tls-cert", "key.pem", "--tls-key", "cert.pem"],
    ] {
        let relay = ["relay", "--listen", "127.0.0.1:0", "--public-url", "https://hooks.example"];
        let done = world.run_process(&[&relay[..], files].concat());
        let code = done.status.code().unwrap();
        let text = String::from_utf8(done.stderr).unwrap().replace(world.folder().to_str().unwrap(), "");
        said += &format!("{}: exit {code}\n{text}\n", files.join(" "));
    }
    insta::assert_snapshot!(said);
    // From the settings file, as the other options.
    world.write(
        "mbaas-dev.toml",
        "[relay]\nlisten = '127.0.0.1:0'\ntls-cert = 'cert.pem'\ntls-key = 'key.pem'",
    );
    let started =
        Listening::try_start(&mut world.command(&["relay", "--json", "--public-url", "https://a.example"]))
            .unwrap();
    assert!(started.ready["listening"].as_str().unwrap().starts_with("https://127.0.0.1:"));
    assert_eq!(started.ready["tls_valid_until"], "4096-01-01T00:00:00Z");
    let in_clear = ["relay", "--json", "--public-url", "http://a.example", "--listen", "127.0.0.1:0"];
    let in_clear = Listening::start(&mut World::new().command(&in_clear));
    assert_eq!(in_clear.ready.get("tls_valid_until"), Some(&Value::Null));
}

/// Lets a certificate be valid in these years.
fn years(from: i32, until: i32) -> impl FnOnce(&mut CertificateParams) {
    move |params| {
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
    }
}

#[test]
fn a_certificate_that_senders_refuse_is_told_at_the_start_and_when_it_comes_and_is_used() {
    let (issuer, world) = (Issuer::new(), World::new());
    let (certificate, key) = issuer.issue("hooks.example", |_| {});
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let mut relay = relay(&world, &certificate, &key);
    let mut said = String::new();
    let mut tell = |relay: &mut Relay, certificate: &str, count| {
        relay.next("certificate");
        said += &format!("{certificate}\n");
        for _ in 0..count {
            let error = relay.next("error");
            assert_eq!(error["code"], "certificate");
            said += &format!("  {}\n    {}\n", error["message"], error["hint"]);
        }
    };
    // Each takes the place of the one before it.
    issuer.issue("hooks.example", years(2020, 2021));
    tell(&mut relay, "expired", 1);
    issuer.issue("hooks.example", years(3020, 3021));
    tell(&mut relay, "not valid yet", 1);
    let soon =
        (Clock::real().now() + SignedDuration::from_hours(10 * 24)).to_zoned_datetime(TimeZone::UTC).date();
    issuer.issue("hooks.example", |params| {
        let [month, day] = [soon.month(), soon.day()].map(|part| u8::try_from(part).unwrap());
        params.not_after = date_time_ymd(soon.year().into(), month, day);
    });
    tell(&mut relay, "ends soon", 1);
    issuer.issue("localhost", years(2020, 2021));
    tell(&mut relay, "expired, of another host", 2);
    issuer.issue("localhost", |_| {});
    tell(&mut relay, "of another host", 1);
    let trusted = issuer.world.folder().join("ca.pem");
    assert_eq!(relay.health_over_tls(&trusted)["status"], "ok");
    insta::assert_snapshot!(said.replace(&soon.to_string(), "SOON"));

    // For people.
    issuer.issue("localhost", years(2020, 2021));
    let (world, files) = (World::new(), [certificate.to_str().unwrap(), key.to_str().unwrap()]);
    let relay = ["relay", "--listen", "127.0.0.1:0", "--public-url", "https://hooks.example"];
    let mut command = world.command(&[&relay[..], &["--tls-cert", files[0], "--tls-key", files[1]]].concat());
    let mut relay = command.stdout(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(relay.stderr.take().unwrap()).lines().map(Result::unwrap);
    let lines: Vec<String> = lines.skip_while(|line| !line.is_empty()).skip(1).take(4).collect();
    relay.kill().unwrap();
    relay.wait().unwrap();
    // Each has its time, and stands below nothing but the greeting.
    let time = |line: &str| {
        let (hours, rest) = line.split_once(':').unwrap_or_default();
        hours.parse::<u8>().is_ok() && rest.as_bytes()[..9].iter().all(|byte| b"0123456789:.".contains(byte))
    };
    let lines = lines.into_iter().map(|line| if time(&line) { format!("TIME{}", &line[12..]) } else { line });
    insta::assert_snapshot!("flaws_of_a_certificate_for_people", lines.collect::<Vec<_>>().join("\n"));
}
