//! Which contract and which event a request is, told by its authentication header and its `event`.

use std::collections::HashMap;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};

use super::authentication::authenticated_contract;
use crate::model::{Contract, EventType, Headers, Kind};

/// The longest wire event that is taken for one, in bytes.
const LONGEST_WIRE_EVENT: usize = 64;

/// The event type behind each wire event of each contract.
#[derive(Clone, Debug, Default)]
pub struct WireNames(HashMap<(Contract, String), EventType>);

impl WireNames {
    /// The event type that `contract` sends as `wire_event`.
    fn event_type(&self, contract: Contract, wire_event: &str) -> Option<EventType> {
        self.0.get(&(contract, wire_event.to_owned())).cloned()
    }
}

impl FromIterator<(Contract, String, EventType)> for WireNames {
    fn from_iter<I: IntoIterator<Item = (Contract, String, EventType)>>(names: I) -> Self {
        Self(names.into_iter().map(|(contract, wire, event_type)| ((contract, wire), event_type)).collect())
    }
}

/// Tells what a request is. The header decides the contract; without one, the first contract that has the event.
pub fn recognise(names: &WireNames, headers: &Headers, body: &[u8]) -> Kind {
    let wire_event = wire_event(body);
    let by_header = authenticated_contract(headers);
    let Some(wire_event) = wire_event else {
        return Kind { contract: by_header, ..Kind::default() };
    };
    let candidates = by_header.map_or_else(|| Contract::ALL.to_vec(), |contract| vec![contract]);
    let known = candidates
        .into_iter()
        .find_map(|contract| Some((contract, names.event_type(contract, &wire_event)?)));
    match known {
        Some((contract, event_type)) => {
            Kind { contract: Some(contract), event_type: Some(event_type), wire_event: Some(wire_event) }
        }
        // An event that is newer than this program keeps the name that it has on the wire.
        None => {
            Kind { contract: by_header, event_type: wire_event.parse().ok(), wire_event: Some(wire_event) }
        }
    }
}

/// The value of the top-level `event`, read no further than up to it: a transcript of a megabyte costs nothing.
pub fn wire_event(body: &[u8]) -> Option<String> {
    let mut found = None;
    // The result is of no interest: reading stops with an error as soon as the event is found.
    drop(serde_json::Deserializer::from_slice(body).deserialize_map(FindEvent(&mut found)));
    found.filter(|event| event.len() <= LONGEST_WIRE_EVENT)
}

struct FindEvent<'a>(&'a mut Option<String>);

impl<'de> Visitor<'de> for FindEvent<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "event" {
                *self.0 = Some(map.next_value()?);
                return Ok(());
            }
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
            (Contract::Preview, "complete", "meeting.completed"),
            (Contract::V1, "complete", "complete"),
            (Contract::V2, "bot.failed", "bot.failed"),
        ]
        .into_iter()
        .map(|(contract, wire, event_type)| (contract, wire.to_owned(), event_type.parse().unwrap()))
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
    fn reading_stops_at_the_event() {
        assert_eq!(
            wire_event(br#"{"event":"complete","data":{ this is never read"#).as_deref(),
            Some("complete")
        );
    }
}
