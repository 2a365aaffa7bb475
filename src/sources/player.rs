//! Plays a scenario: each step at its time, on one set of ids, to the handler.

use std::collections::BTreeMap;
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
        let mut bodies = Bodies::new(self, pace);
        let due = self.scenario.due();
        let mut at = Duration::ZERO;
        for (place, turn) in turns.into_iter().enumerate() {
            let index = turn as usize;
            let step = &steps[index];
            // What is overtaken arrives late, and nothing before it has happened.
            let pause = due[index].saturating_sub(at);
            pace.wait(pause).await;
            at += pause;
            let maker = self.maker(step);
            let body = bodies.take(index).await?;
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

/// The bodies of a scenario, each of the time at which it happened: they are made in the order of those times, in whatever
/// order they are sent.
struct Bodies<'a> {
    player: &'a Player<'a>,
    /// The clock that they take their times from.
    story: Clock,
    run: Run,
    /// How far into the story each happens, and its place in the scenario: those that are not made yet, the last first.
    open: Vec<(Duration, usize)>,
    /// How far the story is told.
    told: Duration,
    /// Those that are not sent yet.
    made: BTreeMap<usize, Bytes>,
}

impl<'a> Bodies<'a> {
    /// The story ends when the playing does, however fast that is, so that its events lie as far apart as in reality and
    /// none in the future.
    fn new(player: &'a Player<'a>, pace: &Pace) -> Self {
        let Scenario { steps, .. } = player.scenario;
        let due = player.scenario.due();
        let late = due.iter().zip(steps).map(|(due, step)| step.late.saturating_sub(*due));
        let before = late.max().unwrap_or_default();
        let own = due.iter().zip(steps).map(|(due, step)| (before + *due).saturating_sub(step.late));
        let mut open: Vec<(Duration, usize)> = own.zip(0..).collect();
        open.sort_unstable();
        open.reverse();
        let whole = player.scenario.duration();
        let ahead = if pace.is_apart() { Duration::ZERO } else { whole.saturating_sub(pace.shrink(whole)) };
        let now = pace.clock.now();
        let seed = u64::from_le_bytes(pace.clock.random_bytes());
        let story = Clock::fixed(now.saturating_sub(ahead + before).unwrap_or(now), seed);
        let run = player.run(&story);
        Self { player, story, run, open, told: Duration::ZERO, made: BTreeMap::new() }
    }

    /// The body of a step, which is asked for once.
    async fn take(&mut self, index: usize) -> Result<Bytes> {
        loop {
            if let Some(body) = self.made.remove(&index) {
                return Ok(body);
            }
            let (own, next) = self.open.pop().context("no step is played twice")?;
            self.story.sleep(own.saturating_sub(self.told)).await;
            self.told = own;
            let body = self.player.body(next, &self.player.scenario.steps[next], &self.run)?;
            self.made.insert(next, body);
        }
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
