//! Which secret signs what: one for everything, and others for the contracts and the endpoints that have their own.

use std::collections::BTreeMap;

use crate::model::{Contract, EventFilter, EventType, Secret};

/// What requests are signed with: one secret, or, while a v2 endpoint changes its secret, several.
#[derive(Clone, Debug)]
pub struct Key {
    /// The secrets; each signs, and each is believed. There is at least one.
    pub secrets: Vec<Secret>,
    /// Where they came from, for people: `--secret`, `MBAAS_DEV_SECRET`, the path of a file.
    pub origin: String,
}

/// The secrets of a project.
#[derive(Clone, Debug)]
pub struct Keyring {
    general: Key,
    by_event: Vec<(EventFilter, Secret)>,
    by_contract: BTreeMap<Contract, Key>,
}

impl Key {
    /// A single secret.
    pub fn new(secret: Secret, origin: impl Into<String>) -> Self {
        Self { secrets: vec![secret], origin: origin.into() }
    }

    /// The secret that signs first.
    pub fn secret(&self) -> &Secret {
        &self.secrets[0]
    }
}

impl Keyring {
    /// One key for everything.
    pub fn new(general: Key) -> Self {
        Self { general, by_event: Vec::new(), by_contract: BTreeMap::new() }
    }

    /// Uses another secret for some event types; of several that match, the first counts.
    pub fn add(&mut self, events: EventFilter, secret: Secret) {
        self.by_event.push((events, secret));
    }

    /// Uses another key for a contract, whatever the event type.
    pub fn give(&mut self, contract: Contract, key: Key) {
        self.by_contract.insert(contract, key);
    }

    /// The key for events of a contract.
    pub fn key(&self, contract: Contract, event_type: Option<&EventType>) -> Key {
        if let Some(key) = self.by_contract.get(&contract) {
            return key.clone();
        }
        match self.by_event.iter().find(|(events, _)| events.matches(event_type)) {
            Some((_, secret)) => Key::new(secret.clone(), self.general.origin.clone()),
            None => self.general.clone(),
        }
    }

    /// The key of everything that has none of its own.
    pub fn general(&self) -> &Key {
        &self.general
    }

    /// The secrets of some event types, in order.
    pub fn by_event(&self) -> impl Iterator<Item = (&EventFilter, &Secret)> {
        self.by_event.iter().map(|(events, secret)| (events, secret))
    }

    /// The keys of contracts that have their own.
    pub fn by_contract(&self) -> impl Iterator<Item = (Contract, &Key)> {
        self.by_contract.iter().map(|(contract, key)| (*contract, key))
    }

    /// Every secret, and what it is for.
    pub fn every(&self) -> impl Iterator<Item = (&Secret, String)> {
        let origin = &self.general.origin;
        let general =
            self.general.secrets.iter().map(move |secret| (secret, format!("the one from {origin}")));
        let by_event = self.by_event.iter().map(move |(events, secret)| {
            let events =
                if *events == EventFilter::default() { "all events".to_owned() } else { events.to_string() };
            (secret, format!("the one for {events} from {origin}"))
        });
        let by_contract = self.by_contract.iter().flat_map(|(contract, key)| {
            key.secrets
                .iter()
                .map(move |secret| (secret, format!("the one for {contract} from {}", key.origin)))
        });
        general.chain(by_event).chain(by_contract)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contract_counts_before_an_event_and_an_event_before_the_rest() {
        let mut keys = Keyring::new(Key::new("general".into(), "--secret"));
        keys.add("meeting.*".parse().unwrap(), "of meetings".into());
        keys.add("meeting.failed".parse().unwrap(), "never reached".into());
        keys.give(
            Contract::V2,
            Key { secrets: vec!["new".into(), "old".into()], origin: "a file".to_owned() },
        );
        let key = |contract, event: &str| {
            let key = keys.key(contract, Some(&event.parse().unwrap()));
            let texts: Vec<&str> = key.secrets.iter().map(Secret::expose).collect();
            format!("{} from {}", texts.join("+"), key.origin)
        };
        assert_eq!(key(Contract::Preview, "meeting.failed"), "of meetings from --secret");
        assert_eq!(key(Contract::Preview, "calendar.synced"), "general from --secret");
        assert_eq!(key(Contract::V2, "meeting.failed"), "new+old from a file");
        let known: Vec<String> = keys.every().map(|(_, what)| what).collect();
        assert_eq!(
            known,
            [
                "the one from --secret",
                "the one for meeting.* from --secret",
                "the one for meeting.failed from --secret",
                "the one for v2 from a file",
                "the one for v2 from a file",
            ]
        );
    }
}
