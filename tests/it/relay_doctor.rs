//! `relay doctor`: what is wrong with a relay, or with what stands before it, is named with what to do.

use std::process::Command;

use rcgen::date_time_ymd;

use crate::fronts::{Site, free_port, server, start_nginx};
use crate::handler::Handler;
use crate::relaying::{Relay, TOKEN};
use crate::surroundings::with_clock;
use crate::world::{Listening, World};

const ALL: [&str; 10] = [
    "connection",
    "certificate",
    "clock",
    "store",
    "limits",
    "tunnel",
    "public URL",
    "round trip",
    "body size",
    "channel",
];

/// What a doctor says, without what is different each time.
fn said(command: &mut Command) -> String {
    let done = command.output().unwrap();
    let text = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
    format!("exit: {}\n{text}", done.status.code().unwrap())
}

#[test]
fn a_relay_that_is_well_is_found_to_be_and_no_channel_is_left() {
    let (world, port) = (World::new(), free_port());
    let (listen, public) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}"));
    for mode in ["sync", "store"] {
        let relay = ["relay", "--json", "--listen", &listen, "--public-url", &public, "--mode", mode];
        let relay = Listening::start(&mut world.command(&relay));
        let doctor = World::new();
        let said = said(&mut doctor.command(&["relay", "doctor", &format!("ws://{listen}")]));
        let said = said.replace(&port.to_string(), "PORT");
        let said: Vec<String> =
            said.lines().map(|line| line.split([',']).next().unwrap().to_owned()).collect();
        insta::assert_snapshot!(format!("well_in_mode_{mode}"), said.join("\n"));
        // It leaves nothing behind, here or there.
        assert!(!doctor.folder().join(".mbaas-dev").exists());
        let health = crate::relaying::send(&listen, "GET", "/healthz", "", b"").unwrap();
        let health: serde_json::Value = serde_json::from_slice(&health.body).unwrap();
        assert_eq!((&health["channels"], &health["waiting"]), (&0.into(), &0.into()));
        drop(relay.interrupt());
    }
}

#[test]
fn what_makes_a_relay_unusable_is_named() {
    let (of_relay, world, handler) = (World::new(), World::new(), Handler::answering(200, "<html>"));
    let relay = Relay::start(&of_relay, &[]);
    let (url, nobody) = (relay.url(), format!("ws://127.0.0.1:{}", free_port()));
    let elsewhere = format!("ws://{}", handler.target());
    let mut all = String::new();
    for arguments in [
        &[&url[..]][..],
        &[&url, "--access-token", "wrong"],
        &[&nobody],
        &[&elsewhere],
        &[&url.replace("ws:", "wss:")],
        &["hooks.example.com"],
        &[],
    ] {
        let arguments = [&["relay", "doctor"], arguments].concat();
        all += &format!("{}\n", said(&mut world.command(&arguments)));
    }
    let all = all.replace(&relay.address, "RELAY").replace(&handler.target(), "HANDLER");
    let all: Vec<&str> = all.lines().filter(|line| !line.contains(" store  ")).collect();
    insta::assert_snapshot!(all.join("\n").replace(&nobody[5..], "NOBODY"));
}

#[test]
fn a_certificate_that_ends_soon_and_a_clock_that_is_wrong_are_told() {
    let (site, world) = (Site::new(&[]), World::new());
    let (certificate, key) = site.issuer.issue("localhost", |params| {
        params.not_after = date_time_ymd(2031, 5, 6);
    });
    let port = free_port();
    let files = [certificate.to_str().unwrap(), key.to_str().unwrap()];
    let (listen, public) = (format!("127.0.0.1:{port}"), format!("https://localhost:{port}"));
    let relay = ["relay", "--json", "--listen", &listen, "--public-url", &public, "--access-token", TOKEN];
    let relay = [&relay[..], &["--tls-cert", files[0], "--tls-key", files[1]]].concat();
    let relay = Listening::start(&mut world.command(&relay));
    let url = format!("wss://localhost:{port}");
    let (code, findings, names) = site.doctor(&url);
    assert_eq!((code, findings.as_str()), (0, ""));
    assert_eq!(names, ALL);
    let now = world.write("now", "@2031-05-01 00:00:00");
    let mut all = String::new();
    for now_or_later in ["@2031-05-01 00:00:00", "@2031-05-07 00:00:00"] {
        world.write("now", now_or_later);
        let doctor = World::new();
        let mut command = site.command(&doctor, &["relay", "doctor", &url, "--access-token", TOKEN]);
        let said = said(with_clock(&mut command, &now));
        let findings = said.lines().filter(|line| line.starts_with("finding") || line.starts_with("exit"));
        let findings: Vec<&str> = findings.map(|line| line.split("it shows").next().unwrap()).collect();
        all += &format!("{}\n", findings.join("\n"));
    }
    insta::assert_snapshot!(all.replace(&port.to_string(), "PORT"));
    drop(relay.interrupt());
}

#[test]
fn what_a_web_server_before_a_relay_does_wrong_is_named() {
    let Some(nginx) = server("nginx") else { return };
    let site = Site::new(&["--trusted-proxy", "127.0.0.1"]);
    let without = |what: &str| {
        let conf = site.nginx_conf();
        assert!(conf.contains(what), "{what}");
        conf.lines().filter(|line| !line.contains(what)).collect::<Vec<_>>().join("\n")
    };
    let with = |what: &str| site.nginx_conf().replace("location / {", &format!("location / {{\n{what}"));
    let dead = site.nginx_conf().replace(&site.upstream(), &format!("127.0.0.1:{}", free_port()));
    let below = site.nginx_conf().replace("location / {", "location /relay/ {");
    let url = site.url();
    let mut all = String::new();
    for (what, conf, url) in [
        ("as it is", site.nginx_conf(), url.clone()),
        ("no Upgrade", without("header Upgrade"), url.clone()),
        ("no Connection", without("header Connection"), url.clone()),
        ("HTTP/1.0", without("proxy_http_version"), url.clone()),
        ("no subprotocol", with("proxy_set_header Sec-WebSocket-Protocol '';"), url.clone()),
        ("no listen token", with("proxy_set_header mbaas-dev-listen-token '';"), url.clone()),
        ("no Authorization", with("proxy_set_header Authorization '';"), url.clone()),
        ("1 MB", without("client_max_body_size"), url.clone()),
        ("nobody behind", dead, url.clone()),
        ("another path", below, format!("{url}/relay")),
        ("a password", with("auth_basic x; auth_basic_user_file /dev/null;"), url.clone()),
        ("a redirect", with("return 301 https://www.example.com$request_uri;"), url.clone()),
        ("no DELETE", with("limit_except GET POST PUT { deny all; }"), url.clone()),
        ("no signature", with("proxy_set_header X-MeetingBaas-Signature '';"), url.clone()),
    ] {
        let world = World::new();
        let _nginx = start_nginx(&nginx, &world, &conf, site.port);
        let (code, findings, names) = site.doctor(&url);
        if what == "as it is" {
            assert_eq!((code, findings.as_str(), &names[..]), (0, "", &ALL.map(str::to_owned)[..]));
        }
        all += &format!("{what}: exit {code}\n{findings}\n");
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_proxy_that_is_not_trusted_is_named() {
    let Some(nginx) = server("nginx") else { return };
    let site = Site::new(&[]);
    let world = World::new();
    let _nginx = start_nginx(&nginx, &world, &site.nginx_conf(), site.port);
    let (code, findings, _) = site.doctor(&site.url());
    assert_eq!(code, 1);
    insta::assert_snapshot!(findings, @r"
    proxy: a proxy at 127.0.0.1 stands before the relay and is not trusted: who sends is not known
        `relay --trusted-proxy 127.0.0.1`
    ");
}
