//! The sums of a session: how many deliveries, what became of them, how long handlers took.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::terminal::latency;
use crate::model::{FORMAT_VERSION, Outcome, Then, Update, millis};

/// The longest duration that is told apart: a day, in microseconds.
const LONGEST_MICROS: u64 = 86_400_000_000;

/// Counts what happens.
#[derive(Debug)]
pub struct Tally {
    received: u64,
    acknowledged: u64,
    failed: BTreeMap<String, u64>,
    /// What failed and is to be tried again, and how: failed it has when nothing comes of that.
    trying_again: BTreeMap<i64, String>,
    not_forwarded: u64,
    /// What waits for its target.
    held: BTreeSet<i64>,
    /// Durations of answered attempts, in microseconds.
    durations: Histogram<u64>,
}

/// The sums, as JSON lines end with.
#[derive(Debug, Serialize)]
pub struct Summary {
    v: u8,
    r#type: &'static str,
    received: u64,
    acknowledged: u64,
    failed: u64,
    not_forwarded: u64,
    held: usize,
    not_retried: usize,
    failures: BTreeMap<String, u64>,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Self {
        let durations =
            Histogram::new_with_bounds(1, LONGEST_MICROS, 3).expect("the bounds are those of the library");
        let (failed, trying_again, held) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { received: 0, acknowledged: 0, failed, trying_again, not_forwarded: 0, held, durations }
    }

    /// Counts an update.
    pub fn count(&mut self, update: &Update) {
        match update {
            Update::Received(_) => self.received += 1,
            Update::NotForwarded(_) => self.not_forwarded += 1,
            Update::Held(delivery) => {
                self.held.insert(delivery.number);
            }
            Update::Fired(..)
            | Update::TargetDown(..)
            | Update::TargetUp(_)
            | Update::TunnelUp(..)
            | Update::TunnelDown(_)
            | Update::Trouble(_) => {}
            Update::Attempted(delivery, then) => {
                let Some(attempt) = delivery.last_attempt() else { return };
                let reason = match &attempt.outcome {
                    Outcome::Answered(answer) => answer.status.to_string(),
                    Outcome::Failed(failure) => failure.kind.as_str().to_owned(),
                };
                self.trying_again.remove(&delivery.number);
                self.held.remove(&delivery.number);
                if matches!(attempt.outcome, Outcome::Answered(_)) {
                    let micros = u64::try_from(attempt.duration.as_micros()).unwrap_or(u64::MAX);
                    self.durations.saturating_record(micros.max(1));
                }
                match then {
                    _ if attempt.outcome.is_acknowledged() => self.acknowledged += 1,
                    Then::Over => *self.failed.entry(reason).or_default() += 1,
                    Then::AgainIn(_) => {
                        self.trying_again.insert(delivery.number, reason);
                    }
                }
            }
        }
    }

    /// The sums so far.
    pub fn summary(&self) -> Summary {
        let quantile = |q| (!self.durations.is_empty()).then(|| millis(self.at(q)));
        Summary {
            v: FORMAT_VERSION,
            r#type: "summary",
            received: self.received,
            acknowledged: self.acknowledged,
            failed: self.failures().values().sum(),
            not_forwarded: self.not_forwarded,
            held: self.held.len(),
            not_retried: self.trying_again.len(),
            failures: self.failures(),
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
        }
    }

    /// The sums on one line.
    pub fn sentence(&self) -> String {
        let plural = if self.received == 1 { "y" } else { "ies" };
        let mut parts =
            vec![format!("{} deliver{plural}", self.received), format!("{} acknowledged", self.acknowledged)];
        let failures = self.failures();
        if !failures.is_empty() {
            let sum: u64 = failures.values().sum();
            let each: Vec<String> =
                failures.iter().map(|(reason, count)| format!("{count} × {reason}")).collect();
            parts.push(format!("{sum} failed ({})", each.join(", ")));
        }
        if self.not_forwarded > 0 {
            parts.push(format!("{} not forwarded", self.not_forwarded));
        }
        if !self.held.is_empty() {
            parts.push(format!("{} held", self.held.len()));
        }
        if !self.durations.is_empty() {
            parts.push(format!("p50 {}, p99 {}", latency(self.at(0.5)), latency(self.at(0.99))));
        }
        parts.join(" · ")
    }

    /// What there is to do about what was to be tried again, now that nobody does.
    pub fn hint(&self) -> Option<String> {
        let (what, them) = match self.trying_again.len() {
            0 => return None,
            1 => ("1 delivery was".to_owned(), "it"),
            more => (format!("{more} deliveries were"), "them"),
        };
        Some(format!("{what} to be tried again: `mbaas-dev replay --failed` sends {them}"))
    }

    /// How many deliveries failed, and how, as things stand.
    fn failures(&self) -> BTreeMap<String, u64> {
        let mut failures = self.failed.clone();
        for reason in self.trying_again.values() {
            *failures.entry(reason.clone()).or_default() += 1;
        }
        failures
    }

    fn at(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.durations.value_at_quantile(quantile))
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}
