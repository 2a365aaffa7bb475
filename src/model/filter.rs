//! Which event types are meant: globs, and globs with `!` before them for what is not.

use std::fmt;
use std::str::FromStr;

use wildmatch::WildMatch;

use super::EventType;

/// A choice of event types, such as `meeting.*,!meeting.failed`; empty means all.
///
/// `*` stands for any characters, `?` for one. A type is chosen when it matches any of the plain globs (or there
/// are none) and none of those with `!`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventFilter {
    wanted: Vec<WildMatch>,
    unwanted: Vec<WildMatch>,
}

/// A text that is not a choice of event types.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a list of event globs such as `meeting.*,!meeting.failed`", .0.escape_debug())]
pub struct BadFilter(String);

impl EventFilter {
    /// Whether deliveries of that type are chosen; one whose type is unknown only when everything is.
    pub fn matches(&self, event_type: Option<&EventType>) -> bool {
        let Some(event_type) = event_type.map(EventType::as_str) else {
            return self.wanted.iter().all(|glob| glob.matches("")) && self.unwanted.is_empty();
        };
        let any = |globs: &[WildMatch]| globs.iter().any(|glob| glob.matches(event_type));
        (self.wanted.is_empty() || any(&self.wanted)) && !any(&self.unwanted)
    }

    /// The globs that match none of those event types, without their `!`.
    pub fn in_vain(&self, known: &[EventType]) -> Vec<String> {
        let matches = |glob: &&WildMatch| known.iter().any(|event_type| glob.matches(event_type.as_str()));
        let globs = self.wanted.iter().chain(&self.unwanted);
        globs.filter(|glob| !matches(glob)).map(WildMatch::to_string).collect()
    }
}

impl fmt::Display for EventFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = self.wanted.iter().map(WildMatch::to_string);
        let unwanted = self.unwanted.iter().map(|glob| format!("!{glob}"));
        f.pad(&wanted.chain(unwanted).collect::<Vec<_>>().join(","))
    }
}

impl FromStr for EventFilter {
    type Err = BadFilter;

    fn from_str(text: &str) -> Result<Self, BadFilter> {
        let mut filter = Self::default();
        for part in text.split(',').map(str::trim) {
            let (globs, glob) = match part.strip_prefix('!') {
                Some(glob) => (&mut filter.unwanted, glob),
                None => (&mut filter.wanted, part),
            };
            let is_glob = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-*?".contains(c);
            if glob.is_empty() || !glob.chars().all(is_glob) {
                return Err(BadFilter(text.to_owned()));
            }
            globs.push(WildMatch::new(glob));
        }
        Ok(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_choose_and_negations_take_away() {
        for (filter, chosen, not_chosen) in [
            ("*", &["meeting.failed"][..], &[][..]),
            ("meeting.*", &["meeting.failed"], &["event.added"]),
            ("meeting.*,!meeting.failed", &["meeting.started"], &["meeting.failed", "event.added"]),
            ("!event.*", &["meeting.failed"], &["event.added"]),
            ("event.?dded, calendar.synced", &["event.added", "calendar.synced"], &["event.updated"]),
        ] {
            let parsed: EventFilter = filter.parse().unwrap();
            let matches = |name: &&str| parsed.matches(Some(&name.parse().unwrap()));
            assert!(chosen.iter().all(matches), "{filter}");
            assert!(!not_chosen.iter().any(matches), "{filter}");
        }
        assert!(EventFilter::default().matches(None));
        assert!("*".parse::<EventFilter>().unwrap().matches(None));
        assert!(!"meeting.*".parse::<EventFilter>().unwrap().matches(None));
    }

    #[test]
    fn what_is_no_glob_is_refused() {
        for text in ["", ",", "!", "meeting.*,", "Meeting.*", "a b", "[a]", "a\u{1b}"] {
            assert!(text.parse::<EventFilter>().is_err(), "{text:?} was accepted");
        }
    }
}
