//! How often something may happen: so many times a second on average, and four times as many at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many seconds' worth may come at once.
const BURST: f64 = 4.0;

/// How many are remembered before those that are at rest are forgotten.
const MOST_AT_REST: usize = 1024;

/// Counts what happens, for each key by itself. One that is at rest takes no memory for long.
#[derive(Debug)]
pub struct Rates<K>(Mutex<HashMap<K, Bucket>>);

/// A bucket that fills by so many a second, from which each event takes one.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
    per_second: f64,
}

impl<K> Default for Rates<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Rates<K> {
    /// Takes note of one more; an error when that is too many, with the time after which the next one is not.
    pub fn take(&self, key: K, per_second: u32) -> Result<(), Duration> {
        self.take_at(Instant::now(), key, per_second)
    }

    fn take_at(&self, now: Instant, key: K, per_second: u32) -> Result<(), Duration> {
        let per_second = f64::from(per_second);
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST_AT_REST && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        let full = Bucket { left: BURST * per_second, at: now, per_second };
        buckets.entry(key).or_insert(full).take(now, per_second)
    }
}

impl Bucket {
    fn take(&mut self, now: Instant, per_second: f64) -> Result<(), Duration> {
        self.left = self.filled(now).min(BURST * per_second);
        (self.at, self.per_second) = (now, per_second);
        if self.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.left) / per_second));
        }
        self.left -= 1.0;
        Ok(())
    }

    fn filled(&self, now: Instant) -> f64 {
        self.left + self.per_second * now.duration_since(self.at).as_secs_f64()
    }

    fn is_full(&self, now: Instant) -> bool {
        self.filled(now) >= BURST * self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_on_average_passes_and_what_is_beyond_waits() {
        let (rates, begun) = (Rates::default(), Instant::now());
        let passed = |key: &'static str, seconds| {
            let now = begun + Duration::from_secs(seconds);
            (0..100).filter(|_| rates.take_at(now, key, 5).is_ok()).count()
        };
        assert_eq!((passed("a", 0), passed("a", 0), passed("b", 0)), (20, 0, 20));
        assert_eq!(rates.take_at(begun, "a", 5), Err(Duration::from_millis(200)));
        assert_eq!((passed("a", 2), passed("a", 3600)), (10, 20));
    }

    #[test]
    fn who_is_at_rest_is_forgotten() {
        let (rates, begun) = (Rates::default(), Instant::now());
        for key in 0..MOST_AT_REST {
            rates.take_at(begun, key, 1).unwrap();
        }
        rates.take_at(begun + Duration::from_secs(2), MOST_AT_REST, 1).unwrap();
        assert_eq!(rates.0.lock().unwrap().len(), 1);
    }
}
