//! Plays a scenario: each step at its time, on one set of ids, to the handler.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;

use super::compose::{self, Patch};
use super::dispatch::Road;
use super::maker::{Event, Maker};
use super::pace::Pace;
use super::persist::{Sender, Try};
use crate::contract::WireNames;
use crate::fixture::{Artifacts, Fixture, Run};
use crate::json::{Json, Text};
use crate::model::{Clock, Origin, Speed};
use crate::scenario::{Faults, Scenario, Step, order};
use crate::signature::{HeaderStyle, Keyring};

/// What plays a scenario.
pub struct Player<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// Edits of every body that has something at their path.
    pub patches: &'a [Patch],
    /// The event type behind each wire event.
    pub names: WireNames,
    /// Where the files of meetings can be fetched.
    pub artifacts: Artifacts,
    /// Looks up an environment variable, for templates.
    pub environment: fn(&str) -> Option<String>,
}

/// An attempt at sending a step.
pub struct Played<'a> {
    /// The step, and its place in the scenario as it is played, counting from 1.
    pub step: &'a Step,
    /// Its place.
    pub number: usize,
    /// How long after the beginning in reality.
    pub at: Duration,
    /// The attempt.
    pub attempt: &'a Try,
}

impl Player<'_> {
    /// Makes every body once and throws it away, so that nothing is sent of a scenario that cannot be played to its
    /// end; the edits that no body takes.
    ///
    /// # Errors
    ///
    /// A body cannot be filled in or edited.
    pub fn rehearse(&self, clock: &Clock) -> Result<Vec<&Patch>> {
        let run = self.run(&Clock::fixed(clock.now(), 0));
        let mut unused: Vec<&Patch> = self.patches.iter().collect();
        for (index, step) in self.scenario.steps.iter().enumerate() {
            let body = self.own_body(index, step, &run)?;
            unused.retain(|patch| body.at(patch.path()).is_none());
        }
        Ok(unused)
    }

    /// Plays it: tells every attempt when it is over. The road leads to `pace`'s handler.
    ///
    /// # Errors
    ///
    /// A request cannot be made, signed, sent or recorded, or telling fails.
    pub async fn play(
        &self,
        road: &Road,
        keys: &Keyring,
        pace: &Pace,
        mut tell: impl FnMut(&Played<'_>) -> Result<()>,
    ) -> Result<()> {
        let Scenario { steps, retries, faults, .. } = self.scenario;
        let shuffled = Faults { duplicates: 0, ..faults.clone() };
        let count = u32::try_from(steps.len()).unwrap_or(u32::MAX);
        let turns: Vec<u32> =
            order(count, &shuffled, || pace.clock.chance()).map(|turn| turn.event).collect();
        let story = self.story(pace);
        let run = self.run(&story);
        let mut at = Duration::ZERO;
        for (place, turn) in turns.into_iter().enumerate() {
            let (index, pause) = (turn as usize, steps[place].after);
            let step = &steps[index];
            pace.wait(pause).await;
            story.sleep(pause).await;
            at += pause;
            let maker = self.maker(step);
            let body = self.body(index, step, &run)?;
            let message = maker.with_body(body, &pace.clock);
            let ladder = retries.then(|| maker.ladder());
            let sender = Sender { road, keys, pace, ladder, faults: &step.faults };
            for _ in 0..=step.faults.duplicates {
                let tell = |attempt: &Try| tell(&Played { step, number: place + 1, at, attempt });
                sender.send(&maker, &message, tell).await?;
            }
        }
        Ok(())
    }

    /// The clock that bodies take their times from. The story ends when the playing does, however fast that is, so
    /// that its events lie as far apart as in reality and none in the future.
    fn story(&self, pace: &Pace) -> Clock {
        let whole = self.scenario.duration();
        let ahead = if pace.is_apart() { Duration::ZERO } else { whole.saturating_sub(pace.shrink(whole)) };
        let now = pace.clock.now();
        let seed = u64::from_le_bytes(pace.clock.random_bytes());
        Clock::fixed(now.saturating_sub(ahead).unwrap_or(now), seed)
    }

    fn run(&self, clock: &Clock) -> Run {
        let run = Run::new(clock, self.environment).with_artifacts(self.artifacts.clone());
        match self.scenario.minutes {
            Some(minutes) => run.lasting(minutes),
            None => run,
        }
    }

    fn maker(&self, step: &Step) -> Maker {
        let Step { contract, name, fixture, sign, .. } = step.clone();
        Maker {
            event: Event { contract, name, fixture },
            minutes: None,
            patches: Vec::new(),
            mode: sign,
            style: HeaderStyle::Svix,
            method: None,
            raw: false,
            origin: Origin::Scenario,
            names: self.names.clone(),
            artifacts: self.artifacts.clone(),
            environment: self.environment,
        }
    }

    fn body(&self, index: usize, step: &Step, run: &Run) -> Result<Bytes> {
        let mut body = self.own_body(index, step, run)?;
        let fitting: Vec<Patch> =
            self.patches.iter().filter(|patch| body.at(patch.path()).is_some()).cloned().collect();
        compose::edit(&mut body, &fitting)?;
        Ok(Bytes::from(body.to_canonical()))
    }

    /// The body as the scenario has it.
    fn own_body(&self, index: usize, step: &Step, run: &Run) -> Result<Json> {
        let context = || format!("{}: step {} ({})", self.scenario.label, index + 1, step.title());
        let mut body = step.fixture.render(run).with_context(context)?;
        let mut patches = Vec::new();
        for (path, value) in &step.set {
            patches.push(Patch::Set(path.clone(), filled(value, run).with_context(context)?));
        }
        patches.extend(step.unset.iter().cloned().map(Patch::Unset));
        compose::edit(&mut body, &patches).with_context(context)?;
        Ok(body)
    }
}

/// A value whose templates are filled in.
fn filled(value: &Json, run: &Run) -> Result<Json> {
    let wrapped = Json::Object([(Text::new("value"), value.clone())].into_iter().collect());
    let rendered = Fixture::new("set", wrapped.to_canonical().into_bytes()).render(run)?;
    Ok(rendered.get("value").cloned().unwrap_or(Json::Null))
}

/// How fast a scenario is played unless somebody says otherwise: a minute in a second.
pub const USUAL_SPEED: Speed = Speed::Times(60.0);
