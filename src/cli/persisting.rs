//! The simulated sender: how it tries again, what goes wrong on its way, and how each of its attempts is shown.

use std::time::Duration;

use clap::builder::{StyledStr, TypedValueParser};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::json;

use super::Session;
use super::arguments::{moment, whole};
use super::report::{Exit, Usage, exit_of};
use super::roads::{self, Purpose};
use crate::contract::retry::{Ladder, Next};
use crate::model::{FORMAT_VERSION, Kind, Speed, millis, span};
use crate::scenario::{FAULTS, Faults, Scenario};
use crate::sources::dispatch::Road;
use crate::sources::pace::Pace;
use crate::sources::persist::Try;

/// How a simulated sender behaves.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The sender's retries and faults")]
pub struct SenderArgs {
    /// What happens to an event that the handler does not acknowledge [default: off, or what the scenario says]
    #[arg(long, value_name = "HOW", value_enum)]
    retry: Option<Retry>,
    #[arg(long, value_name = "FAULT", value_parser = FaultParser, long_help = fault_help(),
          help = "What goes wrong on the way; several can be given: duplicate, lose=20%, gzip, …")]
    fault: Vec<String>,
    /// Send each event N more times, as the same message, signed afresh
    #[arg(long, value_name = "N", value_parser = whole(1..=1000_u32))]
    duplicate: Option<u32>,
    /// How many times as fast as in reality, or max for no waiting at all. Each attempt shows how long the real
    /// sender would have waited before it [default: 1, for scenarios 60]
    #[arg(long, value_name = "N|max")]
    speed: Option<Speed>,
    /// What ids, faults and the jitter of retries follow from: the same number gives the same ones again
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The moment that the first event speaks of and is signed for, such as 2026-11-24T09:00:00Z. With --seed, a run
    /// can be repeated to the byte [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Retry {
    /// It is sent once
    Off,
    /// It is sent again as its real sender does, with the same id and a fresh signature: preview and v2 make 7 attempts
    /// within 3 hours, the others 4 within 21 seconds, or 3 for the status changes of v1
    Contract,
}

/// Takes what is a fault, and says of anything else what would be one.
#[derive(Clone)]
struct FaultParser;

impl TypedValueParser for FaultParser {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, clap::Error> {
        let check = |text: &str| Faults::default().add(text).map(|()| text.to_owned());
        TypedValueParser::parse_ref(&(move |text: &str| check(text)), command, argument, value)
    }
}

/// What each fault does.
fn fault_help() -> StyledStr {
    let width = FAULTS.iter().map(|(name, form, _)| name.len() + form.len()).max().unwrap_or_default();
    let line =
        |(name, form, does): (&str, &str, &str)| format!("\n- {:<width$}  {does}", format!("{name}{form}"));
    let lines: String = FAULTS.into_iter().map(line).collect();
    format!("What goes wrong on the way; several can be given:{lines}").into()
}

impl SenderArgs {
    /// What goes wrong with the events of `trigger`.
    pub fn faults(&self) -> Result<Faults, Usage> {
        let mut faults = Faults::default();
        self.add_to(&mut faults)?;
        if self.speed.is_some() && self.retry != Some(Retry::Contract) && !faults.take_time() {
            return Err(Usage::new(
                "--speed is about the time between requests, and there is none",
                "give `--retry contract`, or a fault that takes time, such as `--fault delay=10s`",
            ));
        }
        Ok(faults)
    }

    /// Has a scenario played with what the command line says beyond what it says itself.
    pub fn impose_on(&self, scenario: &mut Scenario) -> Result<(), Usage> {
        if let Some(retry) = self.retry {
            scenario.retries = retry == Retry::Contract;
        }
        self.add_to(&mut scenario.faults)?;
        scenario.steps.iter_mut().try_for_each(|step| self.add_to(&mut step.faults))
    }

    fn add_to(&self, faults: &mut Faults) -> Result<(), Usage> {
        let has = |wanted: &str| {
            self.fault.iter().any(|text| text.split('=').next().is_some_and(|name| name.trim() == wanted))
        };
        if self.duplicate.is_some() && has("duplicate") {
            let hint = "give one of them: they mean the same";
            return Err(Usage::new("--duplicate cannot be used with `--fault duplicate`", hint));
        }
        if has("gzip") && has("gzip-signed") {
            let hint = "give one of them: `gzip` signs the body before it is compressed, `gzip-signed` after";
            return Err(Usage::new("the fault `gzip` cannot be used with `gzip-signed`", hint));
        }
        for text in &self.fault {
            faults.add(text).map_err(|error| Usage::new(error.to_string(), ""))?;
        }
        if let Some(duplicates) = self.duplicate {
            faults.duplicates = duplicates;
        }
        Ok(())
    }

    /// The schedule by which the sender tries again; `None` when it does not.
    pub fn ladder(&self, ladder: &'static Ladder) -> Option<&'static Ladder> {
        (self.retry == Some(Retry::Contract)).then_some(ladder)
    }

    /// How fast its time passes.
    pub fn speed(&self, usual: Speed) -> Speed {
        self.speed.unwrap_or(usual)
    }

    /// Whether the same run again has to be the same to the byte.
    pub fn is_repeatable(&self) -> bool {
        self.seed.is_some() && self.at.is_some()
    }

    /// The time of the sender. Whoever lets chance decide is told how to have it decide the same again.
    pub fn pace(&self, is_random: bool, usual: Speed, session: &Session) -> Pace {
        let seed = self.seed.or_else(|| {
            is_random.then(|| {
                let seed = u64::from(u32::from_le_bytes(session.clock.random_bytes()));
                session
                    .output
                    .talk(&format!("seed {seed}: `--seed {seed}` repeats what chance decides here"));
                seed
            })
        });
        Pace::new(&session.clock, self.speed(usual), seed, self.at)
    }
}

/// Shows an attempt: as JSON, or a line and below it what the sender does now. Hints come with the last one only.
pub fn show(
    attempt: &Try,
    kind: &Kind,
    road: &Road,
    purpose: Purpose,
    session: &Session,
    json: bool,
) -> anyhow::Result<()> {
    let (output, style) = (&session.output, session.style());
    if json {
        return Ok(output.data(&object(attempt, kind)?.to_string())?);
    }
    match &attempt.sent {
        Some(sent) if attempt.is_tried_again() => output.data(&style.line(&sent.delivery))?,
        Some(sent) => drop(roads::show(sent, road, purpose, session, false)?),
        None => output.data(&style.lost(kind, &session.clock))?,
    }
    for line in told(attempt).iter().flat_map(|said| style.below(said)) {
        output.data(&line)?;
    }
    Ok(())
}

/// What the sender does after an attempt; `None` when there is nothing to say about that.
pub fn told(attempt: &Try) -> Option<String> {
    let Try { number, of, next, .. } = attempt;
    let said = match next.as_ref()? {
        Next::Acknowledged if *number == 1 => return None,
        Next::Acknowledged => "acknowledged".to_owned(),
        Next::After(Duration::ZERO) => "tried again at once".to_owned(),
        Next::After(pause) => format!("tried again after {}", span(*pause)),
        Next::Final => "not tried again: to its sender such an answer is final".to_owned(),
        Next::Exhausted => "given up".to_owned(),
    };
    Some(format!("attempt {number} of {of}: {said}"))
}

/// The object of a delivery, or of one that there is not since it was lost, and which attempt it is.
pub fn object(attempt: &Try, kind: &Kind) -> serde_json::Result<serde_json::Value> {
    let Try { number, of, waited, sent, next } = attempt;
    let mut object = match sent {
        Some(sent) => serde_json::to_value(&sent.delivery)?,
        None => json!({
            "v": FORMAT_VERSION,
            "lost": true,
            "contract": kind.contract.map(crate::model::Contract::as_str),
            "event_type": kind.event_type.as_ref().map(crate::model::EventType::as_str),
            "wire_event": kind.wire_event,
        }),
    };
    if let Some(next) = next {
        let next = match next {
            Next::After(pause) => Some(millis(*pause)),
            Next::Acknowledged | Next::Final | Next::Exhausted => None,
        };
        object["retry"] =
            json!({ "attempt": number, "of": of, "delay_ms": millis(*waited), "next_delay_ms": next });
    }
    Ok(object)
}

/// What the last attempt at sending an event means for the exit code: one that is lost is nobody's fault, unless its
/// sender has given up on it.
pub fn exit_of_last(attempt: &Try) -> Exit {
    match &attempt.sent {
        Some(sent) => exit_of(sent),
        None if attempt.next.is_some() => Exit::NotAcknowledged,
        None => Exit::Done,
    }
}
