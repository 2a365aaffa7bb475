//! The time of a simulated sender: how it passes, and which time its events speak of.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::{Clock, Speed};

/// The time of a simulated sender.
#[derive(Clone, Debug)]
pub struct Pace {
    /// What events and signatures take times, ids and chances from.
    pub clock: Clock,
    real: Clock,
    speed: Speed,
    is_apart: bool,
}

impl Pace {
    /// Time that is that of `real`, passing at `speed` between requests. With a seed, ids and chances are the same each
    /// time; with a beginning, so are the times that events speak of, which pass as the real sender's would.
    pub fn new(real: &Clock, speed: Speed, seed: Option<u64>, beginning: Option<Timestamp>) -> Self {
        let clock = match (seed, beginning) {
            (seed, Some(beginning)) => {
                Clock::fixed(beginning, seed.unwrap_or_else(|| u64::from_le_bytes(real.random_bytes())))
            }
            (Some(seed), None) => real.reseeded(seed),
            (None, None) => real.clone(),
        };
        Self { clock, real: real.clone(), speed, is_apart: beginning.is_some() }
    }

    /// Waits as long as it takes at this speed for so much time to pass.
    pub async fn wait(&self, duration: Duration) {
        self.real.sleep(self.shrink(duration)).await;
        if self.is_apart {
            self.clock.sleep(duration).await;
        }
    }

    /// How long is really waited for what should take so long.
    pub fn shrink(&self, duration: Duration) -> Duration {
        self.speed.shrink(duration)
    }

    /// Whether the sender's time has a beginning of its own.
    pub fn is_apart(&self) -> bool {
        self.is_apart
    }

    /// The clock of the record, which always shows the time of day.
    pub fn real(&self) -> &Clock {
        &self.real
    }
}
