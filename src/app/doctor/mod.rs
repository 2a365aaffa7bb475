//! What commonly goes wrong, looked at one thing at a time. Each check looks, says what it found, and what to do.

pub mod database;
pub mod network;
pub mod relay;
pub mod state_folder;
pub mod traps;

use jiff::Timestamp;

/// What looking at one thing gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// What was found. It may quote what came over the wire.
    pub found: String,
    /// What to do about it; `None` when all is well.
    pub advice: Option<String>,
}

impl Check {
    /// All is well.
    pub fn good(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, found: found.into(), advice: None }
    }

    /// Something is to be done.
    pub fn finding(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, found: found.into(), advice: Some(advice.into()) }
    }
}

/// Whether the clock can be right: it shows a year of this program's life, and nothing was received after now.
pub fn clock(now: Timestamp, newest: Option<Timestamp>) -> Check {
    let set = "set the clock of this machine: signatures with a time stamp are refused when it is wrong";
    let year = now.to_zoned_datetime(jiff::tz::TimeZone::UTC).year();
    if !(2026..2100).contains(&year) {
        return Check::finding("clock", format!("it shows the year {year}"), set);
    }
    match newest.filter(|newest| *newest > now) {
        Some(newest) => {
            Check::finding("clock", format!("it was set back: a delivery was received at {newest}"), set)
        }
        None => Check::good("clock", format!("{now:.0}")),
    }
}

/// Whether a file of configuration can be used; `error` says why not.
pub fn configuration(name: &'static str, error: Option<String>) -> Check {
    match error {
        None => Check::good(name, "it can be read, or there is none"),
        Some(error) => {
            Check::finding(name, error, "mend the file; `mbaas-dev config show` shows what counts")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_can_be_wrong_in_both_directions() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-11-24T09:00:00Z");
        assert_eq!(clock(now, Some(now)).advice, None);
        assert!(clock(at("1970-01-02T00:00:00Z"), None).found.contains("1970"));
        assert!(clock(at("2101-01-01T00:00:00Z"), None).advice.is_some());
        assert!(clock(now, Some(at("2026-11-24T09:00:01Z"))).found.contains("set back"));
    }
}
