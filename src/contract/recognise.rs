//! Which contract and which event a request is, told by its authentication header and by its body.

use std::collections::HashMap;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};

use super::authentication::authenticated_contract;
use crate::model::{Contract, EventType, Headers, Kind};

/// The keys of an alert, which has no `event`.
const ALERT_KEYS: [&str; 2] = ["alert_rule_id", "alert_type"];

/// The longest wire event that is taken for one, in bytes.
const LONGEST_WIRE_EVENT: usize = 64;

/// The event type behind each wire event of each contract; the one behind no wire event is that of alerts.
#[derive(Clone, Debug, Default)]
pub struct WireNames(HashMap<(Contract, Option<String>), EventType>);

impl WireNames {
    /// The event type that `contract` sends as `wire_event`, or without one.
    pub fn event_type(&self, contract: Contract, wire_event: Option<&str>) -> Option<EventType> {
        self.0.get(&(contract, wire_event.map(str::to_owned))).cloned()
    }

    /// The wire events of a contract.
    pub fn wire_events(&self, contract: Contract) -> impl Iterator<Item = &str> {
        self.0.keys().filter(move |(other, _)| *other == contract).filter_map(|(_, event)| event.as_deref())
    }
}

impl FromIterator<(Contract, Option<String>, EventType)> for WireNames {
    fn from_iter<I: IntoIterator<Item = (Contract, Option<String>, EventType)>>(names: I) -> Self {
        Self(names.into_iter().map(|(contract, wire, event_type)| ((contract, wire), event_type)).collect())
    }
}

/// Tells what a request is. The header decides the contract; without one, the first contract that has the event.
pub fn recognise(names: &WireNames, headers: &Headers, body: &[u8]) -> Kind {
    recognise_within(names, authenticated_contract(headers), body)
}

/// Tells which event of a contract a body is; without one, which event of the first contract that has it.
pub fn recognise_within(names: &WireNames, contract: Option<Contract>, body: &[u8]) -> Kind {
    let Told { wire_event, is_alert } = Told::by(body);
    let Some(wire_event) = wire_event else {
        let contract = contract.or(is_alert.then_some(Contract::Alert));
        let event_type = contract
            .filter(|contract| is_alert || *contract == Contract::Alert)
            .and_then(|contract| names.event_type(contract, None));
        return Kind { contract, event_type, wire_event: None };
    };
    let candidates = contract.map_or_else(|| Contract::ALL.to_vec(), |contract| vec![contract]);
    let known = candidates
        .into_iter()
        .find_map(|contract| Some((contract, names.event_type(contract, Some(&wire_event))?)));
    match known {
        Some((contract, event_type)) => {
            Kind { contract: Some(contract), event_type: Some(event_type), wire_event: Some(wire_event) }
        }
        // An event that is newer than this program keeps the name that it has on the wire.
        None => Kind { contract, event_type: wire_event.parse().ok(), wire_event: Some(wire_event) },
    }
}

/// The value of the top-level `event`, read no further than up to it: a transcript of a megabyte costs nothing.
pub fn wire_event(body: &[u8]) -> Option<String> {
    Told::by(body).wire_event
}

/// What the top-level keys of a body tell.
#[derive(Default)]
struct Told {
    wire_event: Option<String>,
    is_alert: bool,
}

impl Told {
    fn by(body: &[u8]) -> Self {
        let mut reading = Reading::default();
        // The result is of no interest: reading stops with an error as soon as the event is found.
        drop(serde_json::Deserializer::from_slice(body).deserialize_map(&mut reading));
        Self {
            wire_event: reading.wire_event.filter(|event| event.len() <= LONGEST_WIRE_EVENT),
            is_alert: reading.alert_keys == ALERT_KEYS.len(),
        }
    }
}

#[derive(Default)]
struct Reading {
    wire_event: Option<String>,
    alert_keys: usize,
}

impl<'de> Visitor<'de> for &mut Reading {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "event" {
                self.wire_event = Some(map.next_value()?);
                return Ok(());
            }
            self.alert_keys += usize::from(ALERT_KEYS.contains(&key.as_str()));
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> WireNames {
        [
            (Contract::Preview, Some("complete"), "meeting.completed"),
            (Contract::V1, Some("complete"), "complete"),
            (Contract::V2, Some("bot.failed"), "bot.failed"),
            (Contract::Callback, Some("bot.failed"), "bot.failed"),
            (Contract::Alert, None, "alert"),
        ]
        .into_iter()
        .map(|(contract, wire, event_type)| (contract, wire.map(str::to_owned), event_type.parse().unwrap()))
        .collect()
    }

    fn told(header: Option<&'static str>, body: &str) -> String {
        let headers: Headers = header.into_iter().map(|name| (name, "x")).collect();
        let kind = recognise(&names(), &headers, body.as_bytes());
        format!(
            "{} {} {}",
            kind.contract.map_or("-", Contract::as_str),
            kind.event_type.as_ref().map_or("-", EventType::as_str),
            kind.wire_event.as_deref().unwrap_or("-"),
        )
    }

    #[test]
    fn the_header_decides_then_the_order_of_contracts() {
        assert_eq!(told(None, r#"{"event":"complete"}"#), "preview meeting.completed complete");
        assert_eq!(told(Some("x-meeting-baas-api-key"), r#"{"event":"complete"}"#), "v1 complete complete");
        assert_eq!(told(None, r#"{"data":{"event":"x"},"event":"bot.failed"}"#), "v2 bot.failed bot.failed");
        assert_eq!(told(Some("Svix-Id"), r#"{"event":"bot.new"}"#), "v2 bot.new bot.new");
        assert_eq!(told(Some("X-MeetingBaas-Signature"), "not json"), "preview - -");
        assert_eq!(told(None, r#"{"event":"Hello World"}"#), "- - Hello World");
        assert_eq!(told(None, r#"{"event":7}"#), "- - -");
        assert_eq!(told(None, r#"["event"]"#), "- - -");
    }

    #[test]
    fn each_header_tells_its_contract() {
        let failed = r#"{"event":"bot.failed"}"#;
        for (header, kind) in [
            ("Svix-Timestamp", "v2 bot.failed bot.failed"),
            ("Webhook-Id", "v2 bot.failed bot.failed"),
            ("webhook-signature", "v2 bot.failed bot.failed"),
            ("X-MB-Secret", "callback bot.failed bot.failed"),
            ("x-spoke-api-key", "v1 bot.failed bot.failed"),
        ] {
            assert_eq!(told(Some(header), failed), kind, "{header}");
        }
    }

    #[test]
    fn an_alert_is_told_by_its_header_or_by_its_keys() {
        let alert = r#"{"alert_rule_id":"x","alert_type":"bot_crash"}"#;
        assert_eq!(told(None, alert), "alert alert -");
        assert_eq!(told(Some("X-MB-Alert-Secret"), "{}"), "alert alert -");
        assert_eq!(told(Some("x-mb-secret"), alert), "callback - -");
        assert_eq!(told(None, r#"{"alert_type":"bot_crash"}"#), "- - -");
        assert_eq!(
            told(None, r#"{"alert_rule_id":"x","alert_type":"y","event":"bot.failed"}"#),
            "v2 bot.failed bot.failed"
        );
    }

    #[test]
    fn reading_stops_at_the_event() {
        assert_eq!(
            wire_event(br#"{"event":"complete","data":{ this is never read"#).as_deref(),
            Some("complete")
        );
    }
}
