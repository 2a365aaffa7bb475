//! Arguments that several commands share, and how they are read.

use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgMatches, Args, Command, FromArgMatches, ValueEnum};
use jiff::Timestamp;

use super::Session;
use super::report::Usage;
use super::settings_file::SettingsFile;
use crate::app::retention::Keep;
use crate::app::secret::{self, ChosenSecret, Given, GivenSecret, SecretSource};
use crate::json::{Json, Path};
use crate::model::{Clock, Contract, Secret, duration};
use crate::signature::HeaderStyle;
use crate::sources::compose::Patch;

/// `--secret`.
#[derive(Clone, Debug, Default, Args)]
pub struct SecretArgs {
    /// The signing secret, or that of one contract: v2=whsec_…; several for one contract while it is being changed
    /// [default: that of the running listen, else MBAAS_DEV_SECRET, else `secret` of webhook_config.json, else one
    /// generated for this project]
    #[arg(long, value_name = "[CONTRACT=]SECRET", value_parser = given_secret)]
    secret: Vec<GivenSecret>,
}

/// A secret from the command line. One that begins with the name of a contract and `=` needs such a beginning itself.
#[expect(clippy::unnecessary_wraps, reason = "the parser of arguments wants a Result")]
fn given_secret(text: &str) -> Result<GivenSecret, String> {
    let (contract, secret) = match text.split_once('=') {
        Some((name, secret)) if name.parse::<Contract>().is_ok() => (name.parse().ok(), secret),
        _ => (None, text),
    };
    Ok(GivenSecret { contract, secret: Secret::new(secret), source: SecretSource::Flag })
}

impl SecretArgs {
    /// A flag, the environment and settings are told apart: they count differently while a `listen` runs.
    fn given(&self, session: &Session) -> anyhow::Result<Given> {
        let variable = |name: String, contract: Option<Contract>| {
            let given = (session.environment)(&name).filter(|secret| !secret.is_empty())?;
            let secret = Secret::new(given);
            Some(GivenSecret { contract, secret, source: SecretSource::Environment(name) })
        };
        let of_contract = |contract: Contract| {
            let name = contract.as_str().to_ascii_uppercase();
            variable(format!("MBAAS_DEV_SECRET_{name}"), Some(contract))
        };
        let of_all = variable("MBAAS_DEV_SECRET".to_owned(), None);
        // The project's file is the last, and counts before the user's.
        let settings = session.settings.iter().rev().map(SettingsFile::secrets);
        Ok(Given {
            flag: self.secret.clone(),
            environment: of_all
                .into_iter()
                .chain(Contract::ALL.into_iter().filter_map(of_contract))
                .collect(),
            settings: settings.collect::<Result<Vec<_>, _>>()?.concat(),
        })
    }

    /// Whether the command line says anything.
    pub fn is_given(&self) -> bool {
        !self.secret.is_empty()
    }

    /// The secrets of a new `listen`.
    pub fn choose(&self, session: &Session) -> anyhow::Result<ChosenSecret> {
        let (config, endpoints) = (session.config.path(), session.endpoints()?);
        Ok(secret::choose(&self.given(session)?, &session.state, config, &endpoints, &session.clock)?)
    }

    /// The secrets of a command that works beside the `listen` that may be running.
    pub fn choose_beside(&self, session: &Session) -> anyhow::Result<ChosenSecret> {
        let running = session.state.running()?.map(|(_, keys, _)| keys);
        let is_for_all = self.secret.iter().any(|given| given.contract.is_none());
        match running {
            Some(keys) if !is_for_all => Ok(secret::beside(keys, &self.given(session)?)?),
            _ => self.choose(session),
        }
    }
}

/// How the authentication headers of v2 are named.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum HeaderStyleArg {
    /// svix-id, svix-timestamp, svix-signature, as Meeting BaaS sends them
    #[default]
    Svix,
    /// webhook-id, webhook-timestamp, webhook-signature, the names of Standard Webhooks
    Standard,
}

impl HeaderStyleArg {
    /// Fails where there are no such headers to be named.
    pub fn check(self, contract: Contract) -> Result<(), Usage> {
        match (self, contract) {
            (Self::Svix, _) | (_, Contract::V2) => Ok(()),
            (Self::Standard, _) => Err(Usage::new(
                format!("a {contract} request has no `webhook-*` headers"),
                "they are for `--contract v2`",
            )),
        }
    }
}

impl From<HeaderStyleArg> for HeaderStyle {
    fn from(style: HeaderStyleArg) -> Self {
        match style {
            HeaderStyleArg::Svix => Self::Svix,
            HeaderStyleArg::Standard => Self::Standard,
        }
    }
}

/// Edits of a body, as they are given; each kind in its own order.
#[derive(Clone, Debug, Args)]
struct EditArgs {
    /// Set a field to a JSON value: data.error='"access_denied"', data.minutes=45. Edits are made in the order given
    #[arg(long, value_name = "PATH=JSON")]
    set: Vec<String>,
    /// Set a field to a text: data.message='No such meeting'
    #[arg(long, value_name = "PATH=TEXT")]
    set_string: Vec<String>,
    /// Take a field away: data.mp4
    #[arg(long, value_name = "PATH")]
    unset: Vec<String>,
}

/// Edits of a body, in the order in which they are given.
#[derive(Clone, Debug, Default)]
pub struct PatchArgs(Vec<Edit>);

#[derive(Clone, Debug)]
enum Edit {
    Set(String),
    SetString(String),
    Unset(String),
}

impl FromArgMatches for PatchArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let EditArgs { set, set_string, unset } = EditArgs::from_arg_matches(matches)?;
        let mut edits = Vec::new();
        let mut take = |name: &str, texts: Vec<String>, edit: fn(String) -> Edit| {
            let places = matches.indices_of(name).into_iter().flatten();
            edits.extend(places.zip(texts.into_iter().map(edit)));
        };
        take("set", set, Edit::Set);
        take("set_string", set_string, Edit::SetString);
        take("unset", unset, Edit::Unset);
        edits.sort_by_key(|(place, _)| *place);
        Ok(Self(edits.into_iter().map(|(_, edit)| edit).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for PatchArgs {
    fn augment_args(command: Command) -> Command {
        EditArgs::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        EditArgs::augment_args_for_update(command)
    }
}

impl PatchArgs {
    /// The edits, in their order.
    pub fn patches(&self) -> anyhow::Result<Vec<Patch>> {
        self.0.iter().map(Edit::patch).collect()
    }
}

impl Edit {
    fn patch(&self) -> anyhow::Result<Patch> {
        Ok(match self {
            Self::Set(text) => {
                let (path, value) = assignment("--set", text)?;
                let value = Json::parse(value.as_bytes()).map_err(|error| {
                    let hint = "a text needs its quotes ('\"text\"'), or --set-string";
                    Usage::new(format!("--set {text}: the value is not JSON: {error}"), hint)
                })?;
                Patch::Set(path, value)
            }
            Self::SetString(text) => {
                let (path, value) = assignment("--set-string", text)?;
                Patch::Set(path, Json::string(value))
            }
            Self::Unset(text) => Patch::Unset(path("--unset", text)?),
        })
    }
}

/// Splits at the first `=` that leaves a path on its left.
fn assignment<'a>(flag: &str, text: &'a str) -> Result<(Path, &'a str), Usage> {
    let splits = text.match_indices('=').map(|(at, _)| (&text[..at], &text[at + 1..]));
    let mut first = None;
    for (left, value) in splits {
        match Path::from_str(left) {
            Ok(path) => return Ok((path, value)),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(match first {
        Some(error) => Usage::new(format!("{flag} {text}: {error}"), ""),
        None => Usage::new(format!("{flag} {text}: there is no `=` between path and value"), ""),
    })
}

fn path(flag: &str, text: &str) -> Result<Path, Usage> {
    Path::from_str(text).map_err(|error| Usage::new(format!("{flag} {text}: {error}"), ""))
}

/// A time limit: `30s`, `1m 30s`, a plain number of seconds, and `0` for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimit(pub Option<Duration>);

impl FromStr for TimeLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let duration = duration(text)?;
        Ok(Self((!duration.is_zero()).then_some(duration)))
    }
}

/// A header field: `Name: value`.
pub fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is `Name: value`")?;
    let (name, value) = (name.trim(), value.trim());
    http::HeaderName::from_bytes(name.as_bytes())
        .map_err(|_bad| format!("`{}` is not a header name", name.escape_debug()))?;
    http::HeaderValue::from_str(value)
        .map_err(|_bad| format!("the value of `{name}` has control characters"))?;
    if ["content-length", "transfer-encoding", "connection"]
        .iter()
        .any(|framing| name.eq_ignore_ascii_case(framing))
    {
        return Err(format!("`{name}` belongs to the connection and cannot be set"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// The moment so long ago, or the first that there is.
pub fn since(clock: &Clock, ago: Duration) -> Timestamp {
    clock.now().checked_sub(ago).unwrap_or(Timestamp::MIN)
}

/// A moment: `2026-11-24T09:05:52Z`, or whole seconds since 1970, as in `svix-timestamp`.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    let moment = match text.parse() {
        // Fewer digits are a year or a date.
        Ok(seconds) if text.len() > 8 && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Timestamp::from_second(seconds).ok()
        }
        _ => text.parse().ok(),
    };
    moment.ok_or_else(|| {
        format!(
            "`{}` is not a time such as `2026-11-24T09:05:52Z`, with its zone, or `1795511152`, in whole seconds since 1970",
            text.escape_debug()
        )
    })
}

/// An age: `12h`, `7d`, `2w`; a day has 24 hours. A plain number could be anything and is refused.
pub fn age(text: &str) -> Result<Duration, String> {
    let span: Result<jiff::Span, _> = text.parse();
    let age = span.and_then(|span| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()));
    // Further back than any record goes, and no point of time may lie beyond all calendars.
    let most = Duration::from_hours(24 * 366 * 100);
    age.ok()
        .and_then(|age| Duration::try_from(age).ok())
        .filter(|age| *age <= most)
        .ok_or_else(|| format!("`{}` is not an age such as `12h`, `7d` or `2w`", text.escape_debug()))
}

/// What to keep: a number of deliveries, or an age.
pub fn keep(text: &str) -> Result<Keep, String> {
    if let Ok(number) = text.parse() {
        return Ok(Keep::Newest(number));
    }
    age(text).map(Keep::For).map_err(|_not_an_age| {
        format!("`{}` is neither a number of deliveries nor an age such as `7d`", text.escape_debug())
    })
}

/// The address of an interface of this machine.
pub fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_not_one| {
        format!("`{}` is not an IP address such as `127.0.0.1`, `0.0.0.0` or `::1`", text.escape_debug())
    })
}

/// Reads a whole number within a range; what is wrong is said with the range.
pub fn whole<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + Display,
{
    let range = Arc::new(range);
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            format!(
                "`{}` is not a whole number from {} to {}",
                text.escape_debug(),
                range.start(),
                range.end()
            )
        })
    }
}

/// A number of bytes: `1048576`, `512K`, `32M`, `1G`.
pub fn size(text: &str) -> Result<u64, String> {
    let upper = text.to_ascii_uppercase();
    let number = upper.trim_end_matches("IB").trim_end_matches('B');
    let units = [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1_u64 << 40)];
    let (digits, unit) = units
        .into_iter()
        .find_map(|(name, unit)| Some((number.strip_suffix(name)?, unit)))
        .unwrap_or((number, 1));
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes
        .filter(|bytes| *bytes > 0 && !digits.starts_with('+'))
        .ok_or_else(|| format!("`{}` is not a size such as `512K`, `32M` or `1G`", text.escape_debug()))
}

/// A number of bytes, or none.
pub fn size_or_zero(text: &str) -> Result<u64, String> {
    if text == "0" { Ok(0) } else { size(text) }
}

/// The size of something that is held in memory.
pub fn bytes(text: &str) -> Result<usize, String> {
    size(text)
        .ok()
        .and_then(|bytes| usize::try_from(bytes).ok())
        .filter(|bytes| *bytes <= 1024 * 1024 * 1024)
        .ok_or_else(|| {
            format!("`{}` is not a size from 1 to 1024M, such as `512K` or `32M`", text.escape_debug())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_as_people_write_them() {
        assert_eq!("0".parse(), Ok(TimeLimit(None)));
        assert_eq!(bytes("32M"), Ok(33_554_432));
        assert_eq!(bytes("512kb"), Ok(524_288));
        assert!(["0", "2G", "-1", "M", "9999M", ""].into_iter().all(|text| bytes(text).is_err()));
        assert_eq!((size("1G"), size("2TiB")), (Ok(1 << 30), Ok(2 << 40)));
        assert!(["0", "+1", "1.5G", "G", "1X", "99999999999T"].into_iter().all(|text| size(text).is_err()));
        assert_eq!(age("7d"), Ok(Duration::from_hours(168)));
        assert_eq!(age("1w 1d 12h"), Ok(Duration::from_hours(204)));
        assert!(["7", "-7d", "soon", "1mo", "9999999h", ""].into_iter().all(|text| age(text).is_err()));
        assert_eq!(keep("100"), Ok(Keep::Newest(100)));
        assert_eq!(keep("12h"), Ok(Keep::For(Duration::from_hours(12))));
        assert!(keep("-1").is_err());
        let port = whole(0..=u16::MAX);
        assert_eq!((port("0"), port("65535")), (Ok(0), Ok(65_535)));
        for wrong in ["65536", "-1", "x", "1.5", ""] {
            assert_eq!(port(wrong), Err(format!("`{wrong}` is not a whole number from 0 to 65535")));
        }
    }

    #[test]
    fn a_moment_is_a_date_with_its_zone_or_seconds_since_1970() {
        let moment = |text| moment(text).map(|moment| moment.to_string());
        for text in ["2026-11-24T09:05:52Z", "2026-11-24T10:05:52+01:00", "1795511152"] {
            assert_eq!(moment(text).as_deref(), Ok("2026-11-24T09:05:52Z"), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2026-11-24",
            "2026-11-24T09:05:52",
            "1795511152208",
            "-1",
            "+5",
            "1.5",
            "2026",
            "20261124",
        ] {
            assert!(moment(text).unwrap_err().contains("seconds since 1970"), "{text}");
        }
    }

    #[test]
    fn an_assignment_is_split_where_a_path_ends() {
        assert_eq!(assignment("--set", "a.b=c=d").unwrap().1, "c=d");
        assert_eq!(assignment("--set", r#"a["x=y"]=1"#).unwrap().1, "1");
        assert!(assignment("--set", "a.b").is_err());
        assert!(assignment("--set", "=1").is_err());
    }
}
