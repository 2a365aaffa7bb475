//! Time and ids: the only source of either, real, or made up and seeded.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rand::rngs::{StdRng, SysRng};
use rand::{Rng, RngExt, SeedableRng};
use uuid::Uuid;

/// A handle to the time of day, to a stopwatch and to randomness.
///
/// A [`fixed`](Self::fixed) clock stands still, but for being [slept](Self::sleep) on, and draws the same ids in the
/// same order, so that whole outputs can be compared in tests.
#[derive(Clone, Debug)]
pub struct Clock {
    fixed: Option<Arc<Mutex<Timestamp>>>,
    random: Arc<Mutex<StdRng>>,
    /// The millisecond of the newest id that sorts by time.
    newest: Arc<AtomicU64>,
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
        Self { fixed: None, random: Arc::new(Mutex::new(random)), newest: Arc::default() }
    }

    /// A clock that shows `now` until somebody sleeps; ids and random numbers follow from `seed`.
    pub fn fixed(now: Timestamp, seed: u64) -> Self {
        Self { fixed: Some(Arc::new(Mutex::new(now))), random: seeded(seed), newest: Arc::default() }
    }

    /// The same time, with ids and random numbers that follow from `seed`: nothing secret may be made of them.
    #[must_use]
    pub fn reseeded(&self, seed: u64) -> Self {
        Self { fixed: self.fixed.clone(), random: seeded(seed), newest: Arc::clone(&self.newest) }
    }

    /// The time of day.
    #[expect(clippy::disallowed_methods, reason = "the clock is the one place that reads the time")]
    pub fn now(&self) -> Timestamp {
        match &self.fixed {
            Some(now) => *now.lock().unwrap_or_else(PoisonError::into_inner),
            None => Timestamp::now(),
        }
    }

    /// Waits so long. On a fixed clock that takes no time, and the clock shows so much more afterwards.
    pub async fn sleep(&self, duration: Duration) {
        match &self.fixed {
            None => tokio::time::sleep(duration).await,
            Some(now) => {
                let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
                *now = now.saturating_add(duration).unwrap_or(Timestamp::MAX);
            }
        }
    }

    /// The time zone that times are shown in: the user's, or UTC on a fixed clock.
    pub fn zone(&self) -> TimeZone {
        if self.fixed.is_some() { TimeZone::UTC } else { local_zone() }
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

    /// A random number from 0 to 1, without 1.
    pub fn chance(&self) -> f64 {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).random()
    }

    /// A random UUID (version 4, RFC 4122 variant: the official SDK refuses any other).
    pub fn uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.random_bytes()).into_uuid()
    }

    /// A UUID that sorts by time (version 7), behind every one before it, even when the time of day jumps back.
    pub fn sortable_uuid(&self) -> Uuid {
        let mut millis = u64::try_from(self.now().as_millisecond()).unwrap_or_default();
        if self.fixed.is_none() {
            let after = |newest: u64| Some(millis.max(newest + 1));
            let newest = self.newest.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after);
            millis = millis.max(newest.unwrap_or_default() + 1);
        }
        uuid::Builder::from_unix_timestamp_millis(millis, &self.random_bytes()).into_uuid()
    }
}

/// The zone of `TZ`, or else of the system. Its file is read as it is: by its name it would be looked for among all zones of
/// the world, a hundred folders, which a command that ends at once would spend more time on than on its work.
fn local_zone() -> TimeZone {
    let file = if std::env::var_os("TZ").is_some() { None } else { std::fs::read("/etc/localtime").ok() };
    file.and_then(|file| TimeZone::tzif("local", &file).ok()).unwrap_or_else(TimeZone::system)
}

fn seeded(seed: u64) -> Arc<Mutex<StdRng>> {
    Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))
}

impl Tick {
    /// How long ago this reading was; zero on a fixed clock.
    pub fn elapsed(self) -> Duration {
        self.0.map(|start| start.elapsed()).unwrap_or_default()
    }
}
