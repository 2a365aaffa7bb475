//! What a `mbaas-dev.toml` may not set: it may have come with a project that somebody else wrote, and is read by whoever runs a
//! command in its folder. It sends nothing to other hosts, writes no files of its choice, deletes nothing and shows no secrets.

use crate::model::Target;

/// What is kept from happening.
#[derive(Clone, Copy)]
enum Guard {
    /// What is sent must stay on this computer.
    Elsewhere,
    /// It must not be switched on, since that would do this.
    On(&'static str),
    /// It must not be set at all, since that would do this.
    Set(&'static str),
}

/// The options that are guarded, by name, with their command in front of it where another has one of that name; the rest is the
/// user's taste.
const GUARDS: [(&str, Guard); 15] = [
    ("forward", Guard::Elsewhere),
    ("route", Guard::Elsewhere),
    ("to", Guard::Elsewhere),
    ("alert", Guard::Elsewhere),
    ("allow-any-target", Guard::On("let the inspector send to any host")),
    ("tunnel", Guard::Set("let a relay send to this computer, and give it the access token")),
    ("output", Guard::Set("write to a file of its choice")),
    ("write-env", Guard::Set("write the secret to a file of its choice")),
    ("no-redact", Guard::On("export secrets")),
    ("force", Guard::On("overwrite files")),
    ("discard", Guard::On("throw away what waits at a relay")),
    ("older-than", Guard::Set("delete deliveries")),
    ("max-size", Guard::Set("delete deliveries")),
    ("held", Guard::On("delete deliveries")),
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
