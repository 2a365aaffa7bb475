//! Writes a scenario as TOML, as `read` reads it.

use std::time::Duration;

use jiff::Timestamp;

use super::Templates;
use crate::json::Json;
use crate::model::Contract;

/// A recorded event that becomes a step.
#[derive(Clone, Debug)]
pub struct RecordedEvent {
    /// Its contract.
    pub contract: Contract,
    /// When it came.
    pub at: Timestamp,
    /// Its body.
    pub body: Json,
}

/// A scenario of recorded events, the oldest first: their ids and times are made afresh when it is played, and with
/// `scrub` nothing else of them is left that could be somebody's.
pub fn write(meaning: &str, events: Vec<RecordedEvent>, scrub: bool) -> String {
    let contract = events.first().map_or(Contract::Preview, |event| event.contract);
    let mut templates = Templates::new(scrub);
    let mut toml = format!("meaning = {}\ncontract = \"{contract}\"\n", quoted(meaning));
    let mut before = events.first().map(|event| event.at).unwrap_or_default();
    for RecordedEvent { contract: own, at, mut body } in events {
        templates.apply(&mut body, at);
        toml += "\n[[step]]\n";
        let pause = Duration::try_from(at.duration_since(before)).unwrap_or_default();
        before = before.max(at);
        if pause >= Duration::from_millis(1) {
            toml += &format!("after = \"{}ms\"\n", pause.as_millis());
        }
        if own != contract {
            toml += &format!("contract = \"{own}\"\n");
        }
        toml += &format!("body = {}\n", block(&body.to_pretty()));
    }
    toml
}

/// A text on one line.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A text of several lines, as it is where TOML allows that.
fn block(text: &str) -> String {
    if text.contains("'''") || text.chars().any(|c| c.is_control() && c != '\n') {
        return quoted(text);
    }
    format!("'''\n{text}\n'''")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Catalogue;
    use crate::scenario::read;

    #[test]
    fn what_is_written_can_be_read() {
        let event = |contract, second: i64, body: &str| RecordedEvent {
            contract,
            at: Timestamp::from_second(1_795_510_000 + second).unwrap(),
            body: Json::parse(body.as_bytes()).unwrap(),
        };
        let events = vec![
            event(Contract::V2, 0, r#"{"event":"a","data":{"text":"it's ''' odd\u007f \u0001"}}"#),
            event(Contract::V2, 90, r#"{"event":"b","data":{"text":"\\ \" {{"}}"#),
            event(Contract::Callback, 91, r#"{"event":"bot.failed"}"#),
        ];
        let toml = write("said \"so\"", events, false);
        let scenario =
            read("x.toml", &toml, &Catalogue::embedded()).unwrap_or_else(|error| panic!("{error}\n{toml}"));
        assert_eq!((scenario.meaning.as_str(), scenario.steps.len()), ("said \"so\"", 3));
        assert_eq!(scenario.duration(), Duration::from_secs(91));
        assert_eq!(scenario.steps[2].contract, Contract::Callback);
        let run = crate::fixture::Run::new(&crate::model::Clock::real(), |_| None);
        let texts: Vec<String> = scenario.steps[..2]
            .iter()
            .map(|step| step.fixture.render(&run).unwrap().to_canonical())
            .collect();
        assert_eq!(texts[0], "{\"event\":\"a\",\"data\":{\"text\":\"it's ''' odd\u{7f} \\u0001\"}}");
        assert_eq!(texts[1], r#"{"event":"b","data":{"text":"\\ \" {{"}}"#);
    }
}
