//! Names of events: `meeting.completed`, and `meeting.completed@long` for a variant of it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name that a user subscribes to, such as `meeting.completed`.
///
/// A checked name, not an enum: the set of event types is the set of files under `fixtures/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventType(Arc<str>);

/// A string that cannot be an event name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not an event name: 1 to 64 lower-case letters, digits, `.`, `_` and `-`, starting with a letter or digit", .0.escape_debug())]
pub struct BadName(String);

impl EventType {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EventType {
    type Err = BadName;

    fn from_str(name: &str) -> Result<Self, BadName> {
        is_plain_name(name).then(|| Self(name.into())).ok_or_else(|| BadName(name.to_owned()))
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// An event type and, after `@`, the variant of its body: `meeting.failed@access_denied`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventName {
    /// The event type.
    pub event_type: EventType,
    /// The variant; `None` is the plain body.
    pub variant: Option<String>,
}

impl FromStr for EventName {
    type Err = BadName;

    fn from_str(name: &str) -> Result<Self, BadName> {
        let (event_type, variant) = match name.split_once('@') {
            Some((event_type, variant)) => (event_type, Some(variant)),
            None => (name, None),
        };
        if variant.is_some_and(|variant| !is_plain_name(variant)) {
            return Err(BadName(name.to_owned()));
        }
        Ok(Self { event_type: event_type.parse()?, variant: variant.map(str::to_owned) })
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.variant {
            Some(variant) => f.pad(&format!("{}@{variant}", self.event_type)),
            None => self.event_type.fmt(f),
        }
    }
}

/// The rule for every name that becomes a file name: it can never leave a folder.
fn is_plain_name(name: &str) -> bool {
    let mut characters = name.chars();
    (1..=64).contains(&name.len())
        && characters.next().is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit())
        && characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-'))
        && !name.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_hostile_ones_are_refused() {
        for good in
            ["meeting.completed", "meeting.failed@access_denied", "complete", "bot.status_change@in_call"]
        {
            assert_eq!(good.parse::<EventName>().unwrap().to_string(), good);
        }
        for bad in ["", "@x", "a@", "a@b@c", "../x", "a/b", "a..b", "A", "a b", ".a", "a\u{1b}[0m", "é"] {
            assert!(bad.parse::<EventName>().is_err(), "{bad:?} was accepted");
        }
    }
}
