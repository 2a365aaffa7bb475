//! Fixtures that fire when they are saved: from the second time on, what the handler answered is compared with what it
//! answered before.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::difference::{BodyDifference, Detail, OutcomeDifference, Sides, outcome_lines};
use super::paint::Paint;
use super::terminal::latency;
use crate::model::{Delivery, DeliveryId, Outcome, Update};
use crate::store::{Reader, Selector};

/// How many firings may be under way; of more, the differences are not shown.
const MOST_UNDER_WAY: usize = 1000;

/// What is known of the fixtures that fired.
#[derive(Debug, Default)]
pub struct Firings {
    /// Deliveries whose outcome is still to come, and the file of each.
    under_way: HashMap<DeliveryId, Arc<str>>,
    /// The last delivery of each file that was answered, with its number; there are no more than files are watched.
    latest: HashMap<Arc<str>, (i64, DeliveryId)>,
}

/// What is different from the last time that a fixture fired.
#[derive(Debug)]
pub struct Since {
    /// The delivery of that time.
    pub before: Delivery,
    /// Its answer and the new one.
    pub difference: OutcomeDifference,
}

impl Firings {
    /// Takes an update into account. For the outcome of a fixture that fired before: the difference.
    ///
    /// Both answers are read from the record in `folder`, since observers hear the beginning of long ones only.
    pub fn compare(&mut self, update: &Update, folder: &Path) -> Option<Since> {
        match update {
            Update::Fired(id, file) if self.under_way.len() < MOST_UNDER_WAY => {
                self.under_way.insert(id.clone(), Arc::clone(file));
                None
            }
            Update::Attempted(delivery, _) => {
                let file = self.under_way.remove(&delivery.id)?;
                if self.latest.get(&file).is_some_and(|(latest, _)| *latest > delivery.number) {
                    // A later one was answered first: what comes next is compared with that.
                    return None;
                }
                let (_, before) = self.latest.insert(file, (delivery.number, delivery.id.clone()))?;
                since(before, delivery.id.clone(), folder)
            }
            Update::NotForwarded(delivery) => {
                self.under_way.remove(&delivery.id);
                None
            }
            Update::Fired(..)
            | Update::Received(_)
            | Update::Held(_)
            | Update::TargetDown(..)
            | Update::TargetUp(_)
            | Update::TunnelUp(..)
            | Update::TunnelDown(_)
            | Update::Trouble(_) => None,
        }
    }
}

/// Compares two recorded deliveries; nothing when one of them is gone, which takes nothing from anybody.
fn since(before: DeliveryId, now: DeliveryId, folder: &Path) -> Option<Since> {
    let reader = Reader::open(folder).ok()??;
    let read = |id| Some(reader.find(&Selector::Id(id)).ok()??.delivery);
    let (before, now) = (read(before)?, read(now)?);
    let difference = OutcomeDifference::between(before.last_attempt(), now.last_attempt());
    Some(Since { before, difference })
}

impl Since {
    /// For people: one line when the answer is the same, else what is different.
    pub fn lines(&self, detail: Detail, paint: Paint) -> Vec<String> {
        let number = self.before.number;
        let Sides { from, to } = self.difference.latency;
        let answered =
            self.before.last_attempt().is_some_and(|last| matches!(last.outcome, Outcome::Answered(_)));
        if let (true, BodyDifference::Same, Some(from), Some(to)) =
            (self.difference.ended.is_same() && answered, &self.difference.body, from, to)
        {
            let took = format!("{} → {}", latency(from), latency(to));
            return vec![paint.faint(format!("answered as #{number} was, {took}"))];
        }
        let mut lines = vec![paint.faint(format!("compared with #{number}"))];
        lines.extend(outcome_lines(&self.difference, detail, paint).iter().map(|line| format!("  {line}")));
        lines
    }
}
