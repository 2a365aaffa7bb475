//! What a `mbaas-dev.toml` may not set: it may have come with a project that somebody else wrote, and is read by whoever runs a
//! command in its folder. It sends nothing to other hosts and takes nothing from them, writes no files of its choice, deletes
//! nothing and shows no secrets.

use std::net::IpAddr;
use std::path::{Component, Path};

use crate::model::Target;

/// What is kept from happening.
#[derive(Clone, Copy)]
enum Guard {
    /// What is sent must stay on this computer.
    Elsewhere,
    /// What is received must come from this computer.
    FromElsewhere,
    /// The folder must be within that of the project.
    Outside,
    /// It must not be switched on, since that would do this.
    On(&'static str),
    /// It must not be set at all, since that would do this.
    Set(&'static str),
}

/// The options that are guarded, by name, with their command in front of it where another has one of that name; the rest is the
/// user's taste.
const GUARDS: [(&str, Guard); 20] = [
    ("forward", Guard::Elsewhere),
    ("route", Guard::Elsewhere),
    ("to", Guard::Elsewhere),
    ("alert", Guard::Elsewhere),
    ("allow-any-target", Guard::On("let the inspector send to any host")),
    ("bind", Guard::FromElsewhere),
    ("data-dir", Guard::Outside),
    ("insecure", Guard::On("take any certificate of a target")),
    ("tunnel", Guard::Set("let a relay send to this computer, and give it the access token")),
    ("output", Guard::Set("write to a file of its choice")),
    ("junit", Guard::Set("write to a file of its choice")),
    ("write-env", Guard::Set("write the secret to a file of its choice")),
    ("no-redact", Guard::On("export secrets")),
    ("force", Guard::On("overwrite files")),
    ("discard", Guard::On("throw away what waits at a relay")),
    ("older-than", Guard::Set("delete deliveries")),
    ("max-size", Guard::Set("delete deliveries")),
    ("held", Guard::On("delete deliveries")),
    ("listen.keep", Guard::Set("delete deliveries")),
    ("deliveries.prune.keep", Guard::Set("delete deliveries")),
];

/// What a project's file would do that gives an option these values, if it may not do so; `place` is the command of the
/// option with a point behind it.
pub(super) fn forbidden(place: &str, key: &str, values: &[String]) -> Option<String> {
    let path = format!("{place}{key}");
    let (_, guard) = GUARDS.iter().find(|(name, _)| *name == key || *name == path)?;
    match guard {
        Guard::Elsewhere => {
            let target = values.iter().find_map(|value| elsewhere(key, value))?;
            Some(format!("send deliveries to another host ({target})"))
        }
        Guard::FromElsewhere => {
            let is_here = |value: &String| value.parse().is_ok_and(|address: IpAddr| address.is_loopback());
            (!values.iter().all(is_here)).then(|| "let other hosts send to this computer".to_owned())
        }
        Guard::Outside => {
            let is_within = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
            let are_within = values.iter().all(|value| Path::new(value).components().all(is_within));
            (!are_within).then(|| "use the record of another project".to_owned())
        }
        Guard::On(_) if values.iter().all(|value| value == "false") => None,
        Guard::On(does) | Guard::Set(does) => Some((*does).to_owned()),
    }
}

/// The target on another host that a value names. What is no target at all is reported by whoever parses it.
fn elsewhere<'a>(key: &str, value: &'a str) -> Option<&'a str> {
    let target =
        if key == "route" { value.split_once('=').map_or(value, |(_, target)| target) } else { value };
    target.parse::<Target>().is_ok_and(|target| !target.is_loopback()).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a project's file may set: how much is shown and how, what is chosen from the record, how events are made and sent
    /// to this computer, and limits. For the options of `relay`, whoever runs one in the folder of a stranger is lost anyway.
    const HARMLESS: &[&str] = &[
        "access-token",
        "access-tokens",
        "answers",
        "artifact-ttl",
        "at",
        "body",
        "bot",
        "cmd",
        "color",
        "config",
        "contract",
        "count",
        "curl",
        "diff",
        "dry-run",
        "duplicate",
        "event",
        "events",
        "exit-after",
        "expect",
        "explain",
        "failed",
        "fault",
        "fixtures",
        "format",
        "header",
        "header-style",
        "help",
        "hold",
        "id",
        "inspector-port",
        "json",
        "keep-id",
        "last",
        "limit",
        "listen",
        "max-body",
        "max-channels",
        "max-connections-per-address",
        "max-disk",
        "max-rate",
        "max-rate-per-address",
        "max-total-size",
        "max-tunnels",
        "max-waiting",
        "max-waiting-size",
        "method",
        "min-free",
        "minutes",
        "mode",
        "only",
        "no-inspector",
        "open",
        "origin",
        "parallel",
        "port",
        "print",
        "public-url",
        "quiet",
        "rate",
        "raw",
        "relay.keep",
        "repair",
        "resign",
        "retry",
        "scrub",
        "search",
        "secret",
        "seed",
        "set",
        "set-string",
        "sign",
        "since",
        "speed",
        "stay",
        "strict",
        "timeout",
        "tls-cert",
        "tls-key",
        "toml",
        "trusted-proxy",
        "unset",
        "verbose",
        "verify",
        "version",
        "when-offline",
        "within",
    ];

    /// Every option of every command, with the command in front.
    fn options(command: &clap::Command, place: &str) -> Vec<(String, String)> {
        let own = command
            .get_arguments()
            .filter_map(clap::Arg::get_long)
            .map(|long| (place.to_owned(), long.to_owned()));
        let below = command
            .get_subcommands()
            .flat_map(|below| options(below, &format!("{place}{}.", below.get_name())));
        own.chain(below).collect()
    }

    #[test]
    fn of_every_option_it_is_decided_whether_a_project_may_set_it() {
        for (place, option) in options(&crate::cli::command(), "") {
            let path = format!("{place}{option}");
            let is_guarded = GUARDS.iter().any(|(name, _)| *name == option || *name == path);
            let is_harmless = HARMLESS.contains(&&*option) || HARMLESS.contains(&&*path);
            assert!(is_guarded != is_harmless, "{path}: guarded {is_guarded}, harmless {is_harmless}");
        }
    }

    #[test]
    fn what_stays_in_the_project_and_on_this_computer_may_be_set() {
        let does = |place: &str, key: &str, value: &str| forbidden(place, key, &[value.to_owned()]).is_some();
        for (key, fine, not) in [
            ("bind", "127.0.0.1", "0.0.0.0"),
            ("bind", "::1", "::"),
            ("data-dir", ".webhooks", "../other/.mbaas-dev"),
            ("data-dir", "./a/b", "/home/other/.mbaas-dev"),
            ("insecure", "false", "true"),
            ("forward", "localhost:3000", "http://example.test"),
        ] {
            assert!(!does("listen.", key, fine) && does("listen.", key, not), "{key}");
        }
        assert!(does("listen.", "keep", "1000") && !does("relay.", "keep", "72h"));
    }
}
