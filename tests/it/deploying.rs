//! What is in `deploy/` and in `docs/relay.md`: every command line is one, and the web servers' files work as they are.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::assurance::skipped;
use crate::fronts::{Site, ours, server, start, start_nginx};
use crate::world::World;

/// Whether the parser takes a command line. Asking for help has it parse all that stands before that, and do nothing.
fn parses(world: &World, words: &[&str]) -> Result<(), String> {
    let done = world.command(&[words, &["--help"]].concat()).output().unwrap();
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    if done.status.success() && done.stderr.is_empty() { Ok(()) } else { Err(format!("{words:?}: {text}")) }
}

#[test]
fn every_command_line_is_one() {
    let mut lines: Vec<String> = Vec::new();
    for file in ["docs/relay.md", "README.md"] {
        let text = ours(file);
        let shown = text.lines().filter_map(|line| line.trim_start().strip_prefix("$ mbaas-dev "));
        lines.extend(shown.filter(|line| line.starts_with("relay")).map(str::to_owned));
        let within = text.split('`').filter(|part| part.starts_with("mbaas-dev relay "));
        lines.extend(within.map(|part| part["mbaas-dev ".len()..].to_owned()));
    }
    let service = ours("deploy/mbaas-dev-relay.service");
    let started =
        service.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/mbaas-dev ")).unwrap();
    lines.push(started.to_owned());
    let compose = ours("deploy/compose.yaml");
    let command = compose.lines().find_map(|line| line.trim().strip_prefix("command: ")).unwrap();
    let words: Vec<String> = serde_json::from_str(command).unwrap();
    lines.push(words.join(" "));
    let docker = ours("deploy/Dockerfile");
    let command = docker.lines().find_map(|line| line.strip_prefix("CMD ")).unwrap();
    lines.push(serde_json::from_str::<Vec<String>>(command).unwrap().join(" "));
    assert!(lines.len() >= 7, "{lines:?}");
    let world = World::new();
    let wrong: Vec<String> = lines
        .iter()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().filter(|word| *word != "…").collect();
            // An option without its value is one whose value is left out.
            let words = if words.last().is_some_and(|last| last.starts_with("--access-token")) {
                [&words[..], &["x"]].concat()
            } else {
                words
            };
            parses(&world, &words).err()
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What cannot be is noticed.
    assert!(parses(&world, &["relay", "--trusted-proxys", "10.0.0.0/8"]).is_err());
    assert!(parses(&world, &["relay", "--trusted-proxy", "10.0.0.0/64"]).is_err());
}

#[test]
fn every_variable_in_a_file_is_one_of_ours() {
    let world = World::new();
    let help = world.run(&["relay", "--help"]).text() + &world.run(&["--help"]).text();
    for file in ["deploy/Dockerfile", "deploy/compose.yaml", "deploy/relay.env", "docs/relay.md"] {
        let text = ours(file);
        let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
        for (at, _) in text.match_indices("MBAAS_DEV_") {
            let name: String = text[at..].chars().take_while(|c| is_name(*c)).collect();
            assert!(help.contains(&format!("[env: {name}")), "{file}: {name}");
        }
    }
}

#[test]
fn the_files_that_are_shown_are_those_that_are_there() {
    let docs = ours("docs/relay.md");
    // The document shows them without what they say of themselves.
    for file in
        ["deploy/nginx.conf", "deploy/Caddyfile", "deploy/compose.yaml", "deploy/mbaas-dev-relay.service"]
    {
        assert!(docs.contains(&format!("(../{file})")), "docs/relay.md does not lead to {file}");
    }
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(docs.contains(&format!("deploy/{name}")), "docs/relay.md does not mention deploy/{name}");
    }
}

#[test]
fn behind_nginx_as_it_is_described_everything_works() {
    let Some(nginx) = server("nginx") else { return };
    let site = Site::new(&["--trusted-proxy", "127.0.0.1"]);
    let _nginx = start_nginx(&nginx, &World::new(), &site.nginx_conf(), site.port);
    assert_eq!(site.doctor(&site.url()).0, 0);
    site.works();
}

#[test]
fn behind_caddy_as_it_is_described_everything_works() {
    let Some(program) = server("caddy") else { return };
    let site = Site::new(&["--trusted-proxy", "127.0.0.1"]);
    let world = World::new();
    // Without the internet it gets no certificate: it is given one.
    let (certificate, key) = site.issuer.issue("localhost", |_| {});
    let conf = ours("deploy/Caddyfile").replace(
        "reverse_proxy",
        &format!("bind 127.0.0.1 ::1\n\ttls {} {}\n\treverse_proxy", certificate.display(), key.display()),
    );
    let global = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n";
    let file = world.write("Caddyfile", format!("{global}{conf}"));
    let mut caddy = Command::new(program);
    caddy.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
    caddy.env("HOME", world.folder()).env("RELAY", site.upstream());
    caddy.env("RELAY_HOST", format!("localhost:{}", site.port));
    let _caddy = start(caddy, site.port);
    assert_eq!(site.doctor(&site.url()).1, "");
    site.works();
}

#[test]
fn systemd_takes_the_unit() {
    let world = World::new();
    let unit = ours("deploy/mbaas-dev-relay.service").replace("/usr/local/bin/mbaas-dev", "/bin/true");
    let file = world.write("mbaas-dev-relay.service", unit);
    let Ok(done) = Command::new("systemd-analyze").arg("verify").arg(&file).output() else {
        skipped("systemd-analyze is not installed: the unit of the relay is not verified");
        return;
    };
    let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
    assert_eq!((done.status.success(), said.trim()), (true, ""));
    let security = ["security", "--offline=yes", "--no-pager", "--threshold=15"];
    let done = Command::new("systemd-analyze").args(security).arg(&file).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
}
