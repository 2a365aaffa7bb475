//! Reads a scenario from TOML. Whatever is wrong is said with file, line, column and what was probably meant.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Faults, Scenario, Step};
use crate::fixture::{Catalogue, Fixture};
use crate::json::{Json, Path, Position, Text};
use crate::model::{Contract, EventName, Printable, duration, nearest};
use crate::signature::SignMode;

/// What is wrong with a scenario: `story.toml:3:9: there is no event …`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}:{}: {}", Printable::text(.label), .position.line, .position.column, Printable::text(.problem))]
pub struct ScenarioError {
    label: String,
    position: Position,
    problem: String,
}

/// The keys of a scenario, and of a step.
const KEYS: [&str; 6] = ["meaning", "contract", "minutes", "retry", "faults", "step"];
const STEP_KEYS: [&str; 9] = ["after", "late", "event", "body", "contract", "set", "unset", "faults", "sign"];

/// The longest meeting, in minutes, the longest pause, and the most steps.
const LONGEST_MEETING: u32 = 480;
const LONGEST_PAUSE: Duration = Duration::from_hours(24 * 7);
const MOST_STEPS: usize = 10_000;

type Value<'a> = Spanned<DeValue<'a>>;

/// Reads a scenario. `label` stands for it in messages.
///
/// # Errors
///
/// It is not TOML, or not a scenario, or names what there is not.
pub fn read(label: &str, source: &str, catalogue: &Catalogue) -> Result<Scenario, ScenarioError> {
    let reader = Reader { label, source, catalogue };
    let document = DeTable::parse(source)
        .map_err(|error| reader.flaw(error.span().unwrap_or_default(), error.message().trim().to_owned()))?;
    reader.scenario(document.get_ref())
}

struct Reader<'a> {
    label: &'a str,
    source: &'a str,
    catalogue: &'a Catalogue,
}

impl Reader<'_> {
    fn flaw(&self, at: Range<usize>, problem: impl Into<String>) -> ScenarioError {
        let position = Position::of(self.source, at.start.min(self.source.len()));
        ScenarioError { label: self.label.to_owned(), position, problem: problem.into() }
    }

    fn scenario(&self, table: &DeTable<'_>) -> Result<Scenario, ScenarioError> {
        self.check_keys(table, &KEYS, "a scenario")?;
        let meaning = self.needed(table, "meaning", "one line that says what happens")?;
        let contract = self.needed(table, "contract", "preview, v2, v1, callback or alert")?;
        let contract = self.contract(contract)?;
        let minutes = table.get("minutes").map(|value| self.minutes(value)).transpose()?;
        let retries = match table.get("retry") {
            None => false,
            Some(value) => match self.text(value)? {
                "contract" => true,
                "off" => false,
                _ => return Err(self.flaw(value.span(), "expected \"contract\" or \"off\"")),
            },
        };
        let faults = self.faults(table, Faults::default())?;
        let steps = self.needed(table, "step", "its events, each in a table `[[step]]`")?;
        let Some(list) = steps.get_ref().as_array() else {
            return Err(self.flaw(steps.span(), "expected tables `[[step]]`"));
        };
        if list.is_empty() || list.len() > MOST_STEPS {
            return Err(self.flaw(steps.span(), format!("a scenario has from 1 to {MOST_STEPS} steps")));
        }
        let read = list.iter().map(|value| self.step(value, contract, &faults));
        Ok(Scenario {
            label: self.label.to_owned(),
            meaning: self.text(meaning)?.to_owned(),
            contract,
            minutes,
            retries,
            steps: read.collect::<Result<_, _>>()?,
            faults,
        })
    }

    fn step(
        &self,
        value: &Value<'_>,
        contract: Contract,
        throughout: &Faults,
    ) -> Result<Step, ScenarioError> {
        let Some(table) = value.get_ref().as_table() else {
            return Err(self.flaw(value.span(), "expected a table `[[step]]`"));
        };
        self.check_keys(table, &STEP_KEYS, "a step")?;
        let contract = table.get("contract").map_or(Ok(contract), |value| self.contract(value))?;
        let (name, fixture) = match (table.get("event"), table.get("body")) {
            (Some(event), None) => self.event(event, contract)?,
            (None, Some(body)) => (None, self.body(body)?),
            _ => {
                let problem =
                    "a step has either an `event` of `events list`, or a `body`, which is JSON in a text";
                return Err(self.flaw(value.span(), problem));
            }
        };
        let sign = match table.get("sign") {
            None => SignMode::Valid,
            Some(value) => self.sign(value, contract)?,
        };
        Ok(Step {
            after: self.pause(table, "after")?,
            late: self.pause(table, "late")?,
            contract,
            name,
            fixture,
            set: self.sets(table)?,
            unset: self.unsets(table)?,
            faults: self.faults(table, throughout.clone())?,
            sign,
        })
    }

    fn event(
        &self,
        value: &Value<'_>,
        contract: Contract,
    ) -> Result<(Option<EventName>, Fixture), ScenarioError> {
        let name: EventName =
            self.text(value)?.parse().map_err(|error| self.flaw(value.span(), format!("{error}")))?;
        let entry = self.catalogue.find(&name, Some(contract));
        let entry = entry.map_err(|unknown| self.flaw(value.span(), unknown.to_string()))?;
        Ok((Some(name), entry.fixture.clone()))
    }

    fn body(&self, value: &Value<'_>) -> Result<Fixture, ScenarioError> {
        let fixture = Fixture::new("body", self.text(value)?.as_bytes().to_vec());
        match fixture.about() {
            Ok(_) => Ok(fixture),
            Err(error) => Err(self.flaw(value.span(), error.to_string())),
        }
    }

    fn sign(&self, value: &Value<'_>, contract: Contract) -> Result<SignMode, ScenarioError> {
        let text = self.text(value)?;
        let mode = SignMode::ALL.into_iter().find(|mode| mode.as_str() == text);
        let mode = mode.ok_or_else(|| {
            let names = SignMode::ALL.map(SignMode::as_str);
            self.flaw(value.span(), unknown("way to sign", text, &names))
        })?;
        match mode.check(contract) {
            Ok(()) => Ok(mode),
            Err(unsupported) => {
                Err(self.flaw(value.span(), format!("{unsupported}; {}", unsupported.hint())))
            }
        }
    }

    fn contract(&self, value: &Value<'_>) -> Result<Contract, ScenarioError> {
        let text = self.text(value)?;
        text.parse().map_err(|_unknown| {
            self.flaw(value.span(), unknown("contract", text, &Contract::ALL.map(Contract::as_str)))
        })
    }

    fn minutes(&self, value: &Value<'_>) -> Result<u32, ScenarioError> {
        let number = value.get_ref().as_integer().and_then(|number| number.as_str().parse().ok());
        number.filter(|minutes| (1..=LONGEST_MEETING).contains(minutes)).ok_or_else(|| {
            self.flaw(
                value.span(),
                format!("a meeting lasts a whole number of minutes, from 1 to {LONGEST_MEETING}"),
            )
        })
    }

    fn pause(&self, table: &DeTable<'_>, key: &str) -> Result<Duration, ScenarioError> {
        let Some(value) = table.get(key) else { return Ok(Duration::ZERO) };
        let pause = duration(self.text(value)?).map_err(|problem| self.flaw(value.span(), problem))?;
        if pause > LONGEST_PAUSE {
            return Err(self.flaw(value.span(), "no pause is longer than a week"));
        }
        Ok(pause)
    }

    fn faults(&self, table: &DeTable<'_>, mut faults: Faults) -> Result<Faults, ScenarioError> {
        for value in self.list(table, "faults")? {
            faults.add(self.text(value)?).map_err(|error| self.flaw(value.span(), error.to_string()))?;
        }
        Ok(faults)
    }

    fn sets(&self, table: &DeTable<'_>) -> Result<Vec<(Path, Json)>, ScenarioError> {
        let Some(value) = table.get("set") else { return Ok(Vec::new()) };
        let Some(set) = value.get_ref().as_table() else {
            return Err(
                self.flaw(value.span(), "expected a table of paths and values: { \"data.text\" = \"Hi\" }")
            );
        };
        let set =
            set.iter().map(|(key, value)| Ok((self.path(key.get_ref(), key.span())?, self.json(value)?)));
        set.collect()
    }

    fn unsets(&self, table: &DeTable<'_>) -> Result<Vec<Path>, ScenarioError> {
        let paths = self.list(table, "unset")?;
        paths.iter().map(|value| self.path(self.text(value)?, value.span())).collect()
    }

    fn path(&self, text: &str, at: Range<usize>) -> Result<Path, ScenarioError> {
        text.parse().map_err(|error| self.flaw(at, format!("`{text}` is not a path: {error}")))
    }

    fn json(&self, value: &Value<'_>) -> Result<Json, ScenarioError> {
        Ok(match value.get_ref() {
            DeValue::String(text) => Json::string(text),
            DeValue::Boolean(truth) => Json::Bool(*truth),
            DeValue::Integer(number) => self.number(number.as_str(), value)?,
            DeValue::Float(number) => self.number(number.as_str(), value)?,
            DeValue::Datetime(moment) => Json::string(&moment.to_string()),
            DeValue::Array(items) => {
                Json::Array(items.iter().map(|item| self.json(item)).collect::<Result<_, _>>()?)
            }
            DeValue::Table(members) => {
                let member = |(key, value): (&Spanned<_>, &Value<'_>)| {
                    let key: &std::borrow::Cow<'_, str> = key.get_ref();
                    Ok((Text::new(key), self.json(value)?))
                };
                Json::Object(members.iter().map(member).collect::<Result<_, _>>()?)
            }
        })
    }

    fn number(&self, digits: &str, value: &Value<'_>) -> Result<Json, ScenarioError> {
        let number = digits.replace('_', "").parse::<f64>().ok().filter(|number| number.is_finite());
        number.map(Json::Number).ok_or_else(|| self.flaw(value.span(), "JSON has no such number"))
    }

    fn text<'v>(&self, value: &'v Value<'_>) -> Result<&'v str, ScenarioError> {
        value.get_ref().as_str().ok_or_else(|| self.flaw(value.span(), "expected a text in quotes"))
    }

    fn list<'v, 'i>(&self, table: &'v DeTable<'i>, key: &str) -> Result<Vec<&'v Value<'i>>, ScenarioError> {
        let Some(value) = table.get(key) else { return Ok(Vec::new()) };
        match value.get_ref().as_array() {
            Some(items) => Ok(items.iter().collect()),
            None => Err(self.flaw(value.span(), "expected a list of texts: [\"…\", \"…\"]")),
        }
    }

    fn needed<'v, 'i>(
        &self,
        table: &'v DeTable<'i>,
        key: &str,
        what: &str,
    ) -> Result<&'v Value<'i>, ScenarioError> {
        table.get(key).ok_or_else(|| self.flaw(0..0, format!("a scenario needs the key `{key}`: {what}")))
    }

    fn check_keys(&self, table: &DeTable<'_>, known: &[&str], what: &str) -> Result<(), ScenarioError> {
        let unknown_key = table.keys().find(|key| !known.contains(&key.get_ref().as_ref()));
        unknown_key.map_or(Ok(()), |key| {
            let problem = unknown(&format!("key of {what}"), key.get_ref(), known);
            Err(self.flaw(key.span(), problem))
        })
    }
}

/// Says that this is no such thing, and which was probably meant.
fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("`{name}` is no {what}; did you mean `{near}`?"),
        None => format!("`{name}` is no {what}; there are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(source: &str) -> String {
        match read("s.toml", source, &Catalogue::embedded()) {
            Ok(scenario) => scenario.steps.iter().map(|step| format!("{step:?}\n")).collect(),
            Err(error) => error.to_string(),
        }
    }

    const HEAD: &str = "meaning = \"m\"\ncontract = \"v2\"\n";

    #[test]
    fn everything_that_can_be_said_is_read() {
        let source = r#"
            meaning = "m"
            contract = "v2"
            minutes = 12
            retry = "contract"
            faults = ["jitter=1s"]
            [[step]]
            event = "bot.status_change@queued"
            [[step]]
            after = "1h 30m"
            late = "20s"
            contract = "callback"
            event = "bot.completed"
            set = { "data.duration_seconds" = 7_00, "extra.a" = [1.5, true, { b = "{{ id('bot') }}" }] }
            unset = ["data.sent_at"]
            faults = ["duplicate=2"]
            sign = "missing"
            [[step]]
            body = '{"event": "new", "data": {}}'
        "#;
        let scenario = read("s.toml", source, &Catalogue::embedded()).unwrap();
        let Scenario { contract, minutes, retries, steps, .. } = &scenario;
        assert_eq!((*contract, *minutes, *retries, steps.len()), (Contract::V2, Some(12), true, 3));
        assert_eq!(scenario.duration(), Duration::from_mins(90));
        assert_eq!(scenario.requests(), 5);
        let titles: Vec<String> = steps.iter().map(Step::title).collect();
        assert_eq!(titles, ["bot.status_change@queued", "bot.completed", "new"]);
        let Step { late, contract, set, unset, faults, sign, .. } = &steps[1];
        assert_eq!(*late, Duration::from_secs(20));
        assert_eq!((*contract, unset.len(), *sign), (Contract::Callback, 1, SignMode::Missing));
        assert_eq!((faults.duplicates, faults.jitter), (2, Duration::from_secs(1)));
        let values: Vec<String> =
            set.iter().map(|(path, value)| format!("{path}={}", value.to_canonical())).collect();
        assert_eq!(values, ["data.duration_seconds=700", r#"extra.a=[1.5,true,{"b":"{{ id('bot') }}"}]"#]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_what_was_meant() {
        for (rest, message) in [
            ("", "s.toml:1:1: a scenario needs the key `step`: its events, each in a table `[[step]]`"),
            ("step = 7", "s.toml:3:8: expected tables `[[step]]`"),
            ("step = []", "s.toml:3:8: a scenario has from 1 to 10000 steps"),
            ("mining = 1", "s.toml:3:1: `mining` is no key of a scenario; did you mean `meaning`?"),
            ("[[step]]\nevnt = \"x\"", "s.toml:4:1: `evnt` is no key of a step; did you mean `event`?"),
            (
                "[[step]]\nevent = \"bot.complete\"",
                "s.toml:4:9: there is no event `bot.complete` in v2; did you mean `bot.completed`?",
            ),
            (
                "[[step]]\nevent = \"bot.status_change@que\"",
                "s.toml:4:9: there is no event `bot.status_change@que` in v2; did you mean `bot.status_change@queued`?",
            ),
            (
                "[[step]]\ncontract = \"v3\"\nevent = \"x\"",
                "s.toml:4:12: `v3` is no contract; there are preview, v2, v1, callback, alert",
            ),
            (
                "[[step]]\nafter = \"soon\"\nevent = \"bot.failed\"",
                "s.toml:4:9: `soon` is not a duration such as `30s`, `10m` or `1h 30m`",
            ),
            ("[[step]]\nafter = 5\nevent = \"bot.failed\"", "s.toml:4:9: expected a text in quotes"),
            (
                "[[step]]\nevent = \"bot.failed\"\nfaults = [\"gzip\", \"lose\"]",
                "s.toml:5:19: the fault `lose`: it needs a value: `lose=P%`",
            ),
            (
                "[[step]]\nevent = \"bot.failed\"\nsign = \"stael\"",
                "s.toml:5:8: `stael` is no way to sign; did you mean `stale`?",
            ),
            (
                "[[step]]\nevent = \"bot.failed\"\nset = { \"data..x\" = 1 }",
                "s.toml:5:9: `data..x` is not a path: column 6 of the path: expected a key after `.`, found `.x`",
            ),
            ("[[step]]\nbody = '{\"event\": }'", "s.toml:4:8: body:1:11: expected a value, found `}`"),
            (
                "[[step]]\nafter = \"1s\"",
                "s.toml:3:1: a step has either an `event` of `events list`, or a `body`, which is JSON in a text",
            ),
            (
                "minutes = 900\n[[step]]",
                "s.toml:3:11: a meeting lasts a whole number of minutes, from 1 to 480",
            ),
        ] {
            assert_eq!(told(&format!("{HEAD}{rest}")), message, "{rest}");
        }
        assert!(told("meaning = \n").starts_with("s.toml:1:11: "), "{}", told("meaning = \n"));
        assert!(told("contract = \"v2\"").contains("needs the key `meaning`"));
    }
}
