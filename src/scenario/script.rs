//! A scenario: events of one story, on one set of ids, with pauses between them and what goes wrong.

use std::time::Duration;

use super::Faults;
use crate::fixture::Fixture;
use crate::json::{Json, Path};
use crate::model::{Contract, EventName};
use crate::signature::SignMode;

/// A scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What stands for it in messages: a path, or the name of one that is built in.
    pub label: String,
    /// One line that says what happens.
    pub meaning: String,
    /// The contract that its events belong to, where a step does not say otherwise.
    pub contract: Contract,
    /// How long the meeting is, in minutes, where fixtures say what that changes.
    pub minutes: Option<u32>,
    /// Whether what is not acknowledged is sent again as the real sender does.
    pub retries: bool,
    /// What goes wrong throughout.
    pub faults: Faults,
    /// What is sent, in this order.
    pub steps: Vec<Step>,
}

/// A step of a scenario: one event.
#[derive(Clone, Debug)]
pub struct Step {
    /// How long after the step before it.
    pub after: Duration,
    /// How long before that it happened: it was held up.
    pub late: Duration,
    /// Its contract.
    pub contract: Contract,
    /// Its name, where it is one of the catalogue.
    pub name: Option<EventName>,
    /// Its body.
    pub fixture: Fixture,
    /// What is put into the body; texts may be templates.
    pub set: Vec<(Path, Json)>,
    /// What is taken from the body.
    pub unset: Vec<Path>,
    /// What goes wrong: that of the scenario and of the step.
    pub faults: Faults,
    /// Signed right, or wrong on purpose.
    pub sign: SignMode,
}

impl Scenario {
    /// How long it lasts in reality.
    pub fn duration(&self) -> Duration {
        self.steps.iter().map(|step| step.after).sum()
    }

    /// How long after the beginning each step is sent, when nothing shuffles them.
    pub fn due(&self) -> Vec<Duration> {
        let after = self.steps.iter().map(|step| step.after);
        after
            .scan(Duration::ZERO, |at, pause| {
                *at += pause;
                Some(*at)
            })
            .collect()
    }

    /// How many requests there are when nothing has to be sent again.
    pub fn requests(&self) -> u64 {
        self.steps.iter().map(|step| u64::from(step.faults.duplicates) + 1).sum()
    }
}

impl Step {
    /// What the step is called: the event of the catalogue, or what its body says.
    pub fn title(&self) -> String {
        match &self.name {
            Some(name) => name.to_string(),
            None => self.fixture.wire_event().unwrap_or_else(|| self.contract.to_string()),
        }
    }
}
