//! The retries of a simulated sender: their arguments, and how each attempt is shown.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::Session;
use super::report::{Exit, Usage, exit_of};
use super::roads::{self, Purpose};
use crate::contract::retry::{Ladder, Next};
use crate::model::{Speed, millis};
use crate::sources::persist::{Persistence, Try};

/// How a simulated sender tries again.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The sender's retries")]
pub struct RetryArgs {
    /// What happens to an event that the handler does not acknowledge
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    retry: Retry,
    /// How many times as fast as in reality, or max for no waiting at all. Each attempt shows how long the real
    /// sender would have waited before it [default: 1]
    #[arg(long, value_name = "N|max")]
    speed: Option<Speed>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Retry {
    /// It is sent once
    #[default]
    Off,
    /// It is sent again as its real sender does, with the same id and a fresh signature: preview and v2 make 7 attempts
    /// within 3 hours, the others 4 within 21 seconds, or 3 for the status changes of v1
    Contract,
}

impl RetryArgs {
    /// How the sender with that schedule persists; `None` when it does not.
    pub fn persistence(&self, ladder: &'static Ladder) -> Result<Option<Persistence>, Usage> {
        let speed = self.speed.unwrap_or(Speed::REAL);
        match self.retry {
            Retry::Contract => Ok(Some(Persistence { ladder, speed })),
            Retry::Off if self.speed.is_some() => Err(Usage::new(
                "--speed is about the time between attempts, and there is only one",
                "give `--retry contract` too",
            )),
            Retry::Off => Ok(None),
        }
    }
}

/// Shows an attempt: as JSON, or a line and below it what the sender does now. Hints come with the last one only.
pub fn show(attempt: &Try, purpose: Purpose, session: &Session, json: bool) -> anyhow::Result<Exit> {
    let Try { number, of, waited, sent, next } = attempt;
    let output = &session.output;
    if json {
        let mut object = serde_json::to_value(&sent.delivery)?;
        let next = match next {
            Next::After(pause) => Some(millis(*pause)),
            Next::Acknowledged | Next::Final | Next::Exhausted => None,
        };
        object["retry"] =
            json!({ "attempt": number, "of": of, "delay_ms": millis(*waited), "next_delay_ms": next });
        output.data(&object.to_string())?;
        return Ok(exit_of(sent));
    }
    let style = session.style();
    if matches!(next, Next::After(_)) {
        output.data(&style.line(&sent.delivery))?;
    } else {
        roads::show(sent, purpose, session, false)?;
    }
    let said = match next {
        Next::Acknowledged if *number == 1 => return Ok(exit_of(sent)),
        Next::Acknowledged => "acknowledged".to_owned(),
        Next::After(Duration::ZERO) => "tried again at once".to_owned(),
        Next::After(pause) => format!("tried again after {}", span(*pause)),
        Next::Final => "not tried again: to its sender such an answer is final".to_owned(),
        Next::Exhausted => "given up".to_owned(),
    };
    for line in style.below(&format!("attempt {number} of {of}: {said}")) {
        output.data(&line)?;
    }
    Ok(exit_of(sent))
}

/// A long time for people: `450 ms`, `4.8 s`, `5 min 12 s`, `2 h 3 min`.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let whole = duration.as_secs();
    match whole {
        0 => format!("{:.0} ms", seconds * 1000.0),
        1..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_as_people_say_them() {
        let written = [450, 4_812, 59_949, 312_000, 7_391_000].map(|ms| span(Duration::from_millis(ms)));
        assert_eq!(written, ["450 ms", "4.8 s", "59.9 s", "5 min 12 s", "2 h 3 min"]);
    }
}
