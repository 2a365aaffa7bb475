//! Tries rules on a handler: sends what a rule is about, and holds the answer against it.

use std::time::Duration;

use anyhow::Result;

use super::compose::Patch;
use super::dispatch::{Road, Sent};
use super::maker::{Event, Maker};
use crate::conformance::{Edit, Edited, Expected, Probe, Rule, Trial, Violation};
use crate::contract::WireNames;
use crate::fixture::Artifacts;
use crate::model::{Attempt, Clock, Delivery, Origin};
use crate::scenario::Faults;
use crate::signature::{HeaderStyle, Keyring, SignMode};

/// Whoever tries rules, and by which means.
pub struct Examiner<'a> {
    /// The way to the handler, with nothing in between.
    pub road: &'a Road,
    /// What it signs with.
    pub keys: &'a Keyring,
    /// Its time.
    pub clock: &'a Clock,
    /// The event type behind each wire event.
    pub names: WireNames,
    /// Where the files of meetings can be fetched.
    pub artifacts: Artifacts,
    /// Looks up an environment variable, for templates.
    pub environment: fn(&str) -> Option<String>,
    /// Whether an answer has to come while the real sender waits; otherwise the way to the handler says how long it may take.
    pub waits_as_sender: bool,
}

/// What came of trying a rule.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// What the trial is called.
    pub title: String,
    /// How long the real sender waits for the answer.
    pub limit: Duration,
    /// What was sent; of several the one that decides.
    pub sent: Sent,
    /// What is wrong with the answer.
    pub violation: Option<Violation>,
}

impl Finding {
    /// The answer, or why there is none.
    pub fn attempt(&self) -> Option<&Attempt> {
        self.sent.delivery.last_attempt()
    }
}

impl Examiner<'_> {
    /// Tries a rule.
    ///
    /// # Errors
    ///
    /// When it cannot be signed or recorded.
    pub async fn examine(&self, trial: &Trial<'_>) -> Result<Finding> {
        let maker = self.maker(trial);
        let limit = maker.ladder().timeout;
        let copies = if trial.rule.probe == Probe::Twice { 2 } else { 1 };
        let message = maker.message(self.clock)?;
        let mut copy = 1;
        loop {
            let parcel = maker.parcel(&message.again(self.clock), self.keys, &Faults::default())?;
            let sent = self.road.send(self.clock, parcel).await?;
            let violation = self.violation(trial.rule, &sent.delivery, limit);
            if copy == copies || violation.is_some() {
                return Ok(Finding { rule: trial.rule, title: trial.title(), limit, sent, violation });
            }
            copy += 1;
        }
    }

    fn violation(&self, rule: &Rule, delivery: &Delivery, limit: Duration) -> Option<Violation> {
        let attempt = delivery.last_attempt();
        let judge = |attempt| rule.expected.violation(attempt, self.waits_as_sender.then_some(limit));
        attempt.map_or(Some(Violation::NoAnswer("not sent")), judge)
    }

    fn maker(&self, trial: &Trial<'_>) -> Maker {
        let (probe, entry) = (trial.rule.probe, trial.entry.clone());
        let edited = match probe {
            Probe::Edited(edit) => edit.of(entry.contract).unwrap_or_default(),
            _ => Edited::default(),
        };
        let mut event = Event::from(entry);
        if probe == Probe::Edited(Edit::UnknownEvent) {
            event.name = None;
        }
        Maker {
            event,
            minutes: edited.minutes,
            patches: edited.sets.into_iter().map(|(path, value)| Patch::Set(path, value)).collect(),
            mode: if let Probe::Signed(mode) = probe { mode } else { SignMode::Valid },
            style: if probe == Probe::StandardNames { HeaderStyle::Standard } else { HeaderStyle::Svix },
            method: None,
            raw: false,
            origin: Origin::Trigger,
            names: self.names.clone(),
            artifacts: self.artifacts.clone(),
            environment: self.environment,
        }
    }
}

/// What a rule about the time that answers take comes to: the slowest of those that acknowledged decides, by how much of
/// its sender's patience it took. `None` where nothing was acknowledged.
pub fn slowest(rule: &'static Rule, findings: &[Finding]) -> Option<Finding> {
    let share = |finding: &&Finding| {
        let took = finding.attempt().map_or(Duration::ZERO, |attempt| attempt.duration);
        took.as_secs_f64() / finding.limit.as_secs_f64()
    };
    let acknowledged = findings.iter().filter(|finding| {
        finding.rule.expected == Expected::Acknowledged
            && finding.attempt().is_some_and(|attempt| attempt.outcome.is_acknowledged())
    });
    let slowest = acknowledged.max_by(|one, other| share(one).total_cmp(&share(other)))?;
    let violation = rule.expected.violation(slowest.attempt()?, Some(slowest.limit));
    Some(Finding { rule, title: rule.name.to_owned(), violation, ..slowest.clone() })
}
