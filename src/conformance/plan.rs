//! Which rules are tried with which events of a contract, in which order.

use super::{Probe, Rule};
use crate::fixture::{Catalogue, Entry, Payload};
use crate::model::Contract;

/// A rule and an event to try it with.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    /// The rule.
    pub rule: &'static Rule,
    /// The event.
    pub entry: &'a Entry,
}

impl Trial<'_> {
    /// What it is called: as its rule is or, where that has a trial for each event, by its event.
    pub fn title(&self) -> String {
        match self.rule.probe {
            Probe::EveryEvent => format!("event {}", self.entry.name),
            _ => self.rule.name.to_owned(),
        }
    }
}

/// What is sent to find out whether these rules hold.
pub fn plan<'a>(catalogue: &'a Catalogue, contract: Contract, rules: &[&'static Rule]) -> Vec<Trial<'a>> {
    let events = || {
        let of_contract = catalogue.entries().filter(move |entry| entry.contract == contract);
        of_contract.filter(|entry| entry.name.variant.is_none())
    };
    let main = events().find(|entry| entry.name.event_type.as_str() == main_event(contract));
    let tried = |rule: &&'static Rule| -> Vec<Trial<'a>> {
        let rule = *rule;
        let entries: Vec<&Entry> = match rule.probe {
            Probe::Nothing => Vec::new(),
            Probe::EveryEvent => events().filter(|entry| is_sent(entry)).collect(),
            _ => main.into_iter().collect(),
        };
        entries.into_iter().map(|entry| Trial { rule, entry }).collect()
    };
    rules.iter().flat_map(tried).collect()
}

/// The event of a contract that most handlers are written for.
fn main_event(contract: Contract) -> &'static str {
    match contract {
        Contract::Preview => "meeting.completed",
        Contract::V2 | Contract::Callback => "bot.completed",
        Contract::V1 => "complete",
        Contract::Alert => "alert",
    }
}

/// Whether an event is one that the sender is known to send, not one that a page of prose alone has.
fn is_sent(entry: &Entry) -> bool {
    !matches!(entry.fixture.about(), Ok(Some(about)) if about.payload == Payload::ProseOnly)
}

#[cfg(test)]
mod tests {
    use super::super::{Expected, RULES, Severity};
    use super::*;
    use crate::fixture::Run;
    use crate::json::Json;
    use crate::model::Clock;
    use crate::signature::SignMode;

    fn planned(contract: Contract) -> Vec<String> {
        let catalogue = Catalogue::embedded();
        let rules: Vec<&Rule> = RULES.iter().filter(|rule| rule.applies_to(contract)).collect();
        plan(&catalogue, contract, &rules).iter().map(Trial::title).collect()
    }

    #[test]
    fn each_contract_has_the_rules_that_apply_to_it() {
        let refused = |contract| {
            let names = planned(contract);
            let is_refused = |rule: &&Rule| {
                rule.expected == Expected::Refused && names.iter().any(|name| name == rule.name)
            };
            RULES.iter().filter(is_refused).map(|rule| rule.name).collect::<Vec<_>>()
        };
        assert_eq!(refused(Contract::Preview), ["wrong-secret", "tampered", "missing", "malformed"]);
        assert_eq!(refused(Contract::V1), ["wrong-secret", "missing", "malformed"]);
        assert_eq!(refused(Contract::V2).len(), 9);
        assert_eq!(
            planned(Contract::Alert),
            [
                "valid",
                "event alert",
                "unicode",
                "extra-field",
                "duplicate",
                "wrong-secret",
                "missing",
                "malformed"
            ]
        );
        let of_v2 = planned(Contract::V2);
        assert_eq!(of_v2.iter().filter(|title| title.starts_with("event ")).count(), 11);
        assert!(!of_v2.contains(&"event calendar.connection_error".to_owned()), "it is in prose only");
        assert!(of_v2.contains(&"header-style".to_owned()) && of_v2.contains(&"rotated".to_owned()));
    }

    #[test]
    fn every_way_to_sign_has_a_rule_of_its_name_that_expects_what_is_right() {
        for mode in SignMode::ALL {
            let rule = RULES.iter().find(|rule| rule.probe == Probe::Signed(mode));
            let rule = rule.unwrap_or_else(|| panic!("no rule sends what is signed {mode}"));
            assert_eq!(rule.name, mode.as_str());
            assert_eq!(rule.expected == Expected::Acknowledged, mode.is_right(), "{mode}");
            assert_eq!(rule.severity, Severity::Must);
        }
    }

    #[test]
    fn every_edit_can_be_made_to_the_main_event_of_its_contract() {
        let catalogue = Catalogue::embedded();
        let run = || Run::new(&Clock::fixed("2026-11-24T02:18:24Z".parse().unwrap(), 1), |_| None);
        for contract in Contract::ALL {
            let rules: Vec<&Rule> = RULES.iter().filter(|rule| rule.applies_to(contract)).collect();
            for trial in plan(&catalogue, contract, &rules) {
                let Probe::Edited(edit) = trial.rule.probe else { continue };
                let edited = edit.of(contract).unwrap();
                let run = match edited.minutes {
                    Some(minutes) => run().lasting(minutes),
                    None => run(),
                };
                let plain = trial.entry.fixture.render(&run).unwrap();
                let mut body: Json = plain.clone();
                edited.sets.iter().for_each(|(path, value)| body.set(path, value.clone()).unwrap());
                let length = body.to_canonical().len();
                if trial.rule.name == "large" {
                    assert!((900_000..1_300_000).contains(&length), "{contract}: {length}");
                } else {
                    assert_ne!(body, plain, "{contract} {}", trial.rule.name);
                }
            }
        }
    }
}
