//! How often something may happen: so many times a second on average, and more at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many seconds' worth may come at once.
const BURST: f64 = 4.0;

/// How many are remembered at least before those that are at rest are forgotten.
const FEW: usize = 1024;

/// Counts what happens, for each key by itself. One that is at rest takes no memory for long.
#[derive(Debug)]
pub struct Rates<K>(Mutex<Buckets<K>>);

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// So often a second on average.
    pub per_second: f64,
    /// So many at once.
    pub at_once: f64,
}

#[derive(Debug)]
struct Buckets<K> {
    by_key: HashMap<K, Bucket>,
    /// How many there may be before those that are at rest are looked for again.
    enough: usize,
}

/// A bucket that fills by so many a second, from which each event takes one.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
    rate: Rate,
}

impl Rate {
    /// So often a second, and four times as many at once.
    pub fn per_second(number: u32) -> Self {
        Self { per_second: number.into(), at_once: BURST * f64::from(number) }
    }

    /// So often a minute, and as many at once.
    pub const fn per_minute(number: f64) -> Self {
        Self { per_second: number / 60.0, at_once: number }
    }
}

impl<K> Default for Rates<K> {
    fn default() -> Self {
        Self(Mutex::new(Buckets { by_key: HashMap::new(), enough: FEW }))
    }
}

impl<K: Eq + Hash> Rates<K> {
    /// Takes note of one more; an error when that is too many, with the time after which the next one is not.
    pub fn take(&self, key: K, rate: Rate) -> Result<(), Duration> {
        self.take_at(Instant::now(), key, rate)
    }

    fn take_at(&self, now: Instant, key: K, rate: Rate) -> Result<(), Duration> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.by_key.len() >= buckets.enough && !buckets.by_key.contains_key(&key) {
            buckets.by_key.retain(|_, bucket| !bucket.is_full(now));
            // However many there are, each is looked at a few times only.
            buckets.enough = (2 * buckets.by_key.len()).max(FEW);
        }
        let full = Bucket { left: rate.at_once, at: now, rate };
        buckets.by_key.entry(key).or_insert(full).take(now, rate)
    }
}

impl Bucket {
    fn take(&mut self, now: Instant, rate: Rate) -> Result<(), Duration> {
        self.left = self.filled(now).min(rate.at_once);
        (self.at, self.rate) = (now, rate);
        if self.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.left) / rate.per_second));
        }
        self.left -= 1.0;
        Ok(())
    }

    fn filled(&self, now: Instant) -> f64 {
        self.left + self.rate.per_second * now.duration_since(self.at).as_secs_f64()
    }

    fn is_full(&self, now: Instant) -> bool {
        self.filled(now) >= self.rate.at_once
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_on_average_passes_and_what_is_beyond_waits() {
        let (rates, begun) = (Rates::default(), Instant::now());
        let passed = |key: &'static str, seconds, rate| {
            let now = begun + Duration::from_secs(seconds);
            (0..100).filter(|_| rates.take_at(now, key, rate).is_ok()).count()
        };
        let five = Rate::per_second(5);
        assert_eq!((passed("a", 0, five), passed("a", 0, five), passed("b", 0, five)), (20, 0, 20));
        assert_eq!(rates.take_at(begun, "a", five), Err(Duration::from_millis(200)));
        assert_eq!((passed("a", 2, five), passed("a", 3600, five)), (10, 20));
        let few = Rate::per_minute(20.0);
        assert_eq!((passed("c", 0, few), passed("c", 30, few), passed("c", 3600, few)), (20, 10, 20));
    }

    fn sizes(rates: &Rates<usize>) -> (usize, usize) {
        let buckets = rates.0.lock().unwrap();
        (buckets.by_key.len(), buckets.enough)
    }

    #[test]
    fn who_is_at_rest_is_forgotten() {
        let (rates, begun) = (Rates::default(), Instant::now());
        for key in 0..FEW {
            rates.take_at(begun, key, Rate::per_second(1)).unwrap();
        }
        rates.take_at(begun, FEW, Rate::per_second(1)).unwrap();
        assert_eq!(sizes(&rates), (FEW + 1, 2 * FEW));
        for key in FEW..2 * FEW {
            rates.take_at(begun, key, Rate::per_second(1)).unwrap();
        }
        rates.take_at(begun + Duration::from_secs(2), 3 * FEW, Rate::per_second(1)).unwrap();
        assert_eq!(sizes(&rates), (1, FEW));
    }
}
