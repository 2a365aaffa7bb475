//! Notices that the time of day leapt ahead of the stopwatch, which stands still while a computer sleeps.
//!
//! A connection that was open before is not to be trusted: the other side may have given it up long ago, and heartbeats
//! would show that only after a while.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::model::Clock;

/// How often the two are compared.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// From how much on it is a leap: what a time server corrects is less.
const LEAP: Duration = Duration::from_secs(5);

/// Waits until the time of day leaps ahead, and says how far that was. A clock that is set back concerns no connection.
pub async fn leap(clock: &Clock) -> Duration {
    loop {
        let before = (clock.now(), Instant::now());
        tokio::time::sleep(LOOK_EVERY).await;
        if let Some(leap) = ahead(before.0, clock.now(), before.1.elapsed()) {
            return leap;
        }
    }
}

/// How far the time of day went beyond what passed on the stopwatch, if that is a leap.
fn ahead(before: Timestamp, now: Timestamp, passed: Duration) -> Option<Duration> {
    let shown = Duration::try_from(now.duration_since(before)).ok()?;
    shown.checked_sub(passed).filter(|leap| *leap >= LEAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_is_a_leap_and_what_a_clock_is_corrected_by_is_none() {
        let before = Timestamp::from_second(1_780_000_000).unwrap();
        let seen = |shown: i64, passed| {
            let now = Timestamp::from_second(1_780_000_000 + shown).unwrap();
            ahead(before, now, Duration::from_secs(passed)).map(|leap| leap.as_secs())
        };
        assert_eq!((seen(1, 1), seen(5, 1), seen(6, 1), seen(3601, 1)), (None, None, Some(5), Some(3600)));
        // A machine that is slow, or a process that was stopped, sees both clocks move.
        assert_eq!((seen(60, 60), seen(-3600, 1)), (None, None));
    }

    #[tokio::test]
    async fn a_clock_that_leaps_is_noticed() {
        let clock = Clock::fixed(Timestamp::from_second(1_780_000_000).unwrap(), 1);
        let (seen, ()) = tokio::join!(leap(&clock), clock.sleep(Duration::from_mins(3)));
        assert!((170..180).contains(&seen.as_secs()), "{seen:?}");
    }
}
