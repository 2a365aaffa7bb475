//! Time and ids: the only source of either, real or fixed and seeded.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng};
use uuid::Uuid;

/// A handle to the time of day, to a stopwatch and to randomness.
///
/// A [`fixed`](Self::fixed) clock stands still and draws the same ids in the same order, so that whole outputs
/// can be compared in tests.
#[derive(Clone, Debug)]
pub struct Clock {
    fixed: Option<Timestamp>,
    random: Arc<Mutex<StdRng>>,
}

/// A reading of the stopwatch.
#[derive(Clone, Copy, Debug)]
pub struct Tick(Option<Instant>);

impl Clock {
    /// The clock of this machine, and randomness of its operating system.
    ///
    /// # Panics
    ///
    /// When the operating system gives no random bytes, since no secret could be made then.
    pub fn real() -> Self {
        let random = StdRng::try_from_rng(&mut SysRng).expect("the operating system gives random bytes");
        Self { fixed: None, random: Arc::new(Mutex::new(random)) }
    }

    /// A clock that always shows `now`; ids and random numbers follow from `seed`.
    pub fn fixed(now: Timestamp, seed: u64) -> Self {
        Self { fixed: Some(now), random: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))) }
    }

    /// The time of day.
    #[expect(clippy::disallowed_methods, reason = "the clock is the one place that reads the time")]
    pub fn now(&self) -> Timestamp {
        self.fixed.unwrap_or_else(Timestamp::now)
    }

    /// The time zone that times are shown in: the user's, or UTC on a fixed clock.
    pub fn zone(&self) -> TimeZone {
        if self.fixed.is_some() { TimeZone::UTC } else { TimeZone::system() }
    }

    /// Starts a stopwatch.
    #[expect(clippy::disallowed_methods, reason = "the clock is the one place that reads the time")]
    pub fn tick(&self) -> Tick {
        Tick(self.fixed.is_none().then(Instant::now))
    }

    /// Random bytes, fit for secrets when the clock is real.
    pub fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        bytes
    }

    /// A random UUID (version 4, RFC 4122 variant: the official SDK refuses any other).
    pub fn uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.random_bytes()).into_uuid()
    }

    /// A UUID that sorts by time (version 7).
    pub fn sortable_uuid(&self) -> Uuid {
        let millis = u64::try_from(self.now().as_millisecond()).unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(millis, &self.random_bytes()).into_uuid()
    }
}

impl Tick {
    /// How long ago this reading was; zero on a fixed clock.
    pub fn elapsed(self) -> Duration {
        self.0.map(|start| start.elapsed()).unwrap_or_default()
    }
}
