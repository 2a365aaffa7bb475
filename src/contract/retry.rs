//! How each of Meeting BaaS's senders tries again what was not acknowledged.
//!
//! Sources: the documentation for v2, callbacks and alerts; svix-server for the jitter and the floor of v2; the bot of
//! 2025-06 (retry-axios) for the status changes of v1. Where nothing is written the decision is ours: preview does as v2
//! does, and the API server does behind the rest of v1 what it does behind callbacks, for any failure.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::model::Contract;

/// The schedule of one sender.
#[derive(Debug, PartialEq)]
pub struct Ladder {
    /// The pauses before the second attempt, the third, and so on.
    pub pauses: &'static [Duration],
    /// How long a handler may take.
    pub timeout: Duration,
    /// How far a pause may be off at random, as a share of it, both ways.
    jitter: f64,
    /// The least pause after a 429 or a time-out, before jitter.
    floor: Duration,
    /// Whether `Retry-After` counts, between a pause and twice as much.
    heeds_retry_after: bool,
    /// What is tried again.
    again: Again,
}

/// What a sender tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// Everything but a 2xx.
    Failures,
    /// No answer, or a 5xx.
    ServerErrors,
    /// No answer, or any status but 2xx and 3xx.
    Errors,
}

/// What an attempt came to, as far as it concerns its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// A status, and the value of `Retry-After`.
    Answered(u16, Option<&'a [u8]>),
    /// No answer in time.
    TimedOut,
    /// No connection, or a broken one.
    NoAnswer,
}

/// What a sender does after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it was acknowledged.
    Acknowledged,
    /// It tries again after so long.
    After(Duration),
    /// Nothing: such a failure is final for it.
    Final,
    /// Nothing: that was its last attempt.
    Exhausted,
}

const fn seconds<const N: usize>(pauses: [u64; N]) -> [Duration; N] {
    let mut all = [Duration::ZERO; N];
    let mut index = 0;
    while index < N {
        all[index] = Duration::from_secs(pauses[index]);
        index += 1;
    }
    all
}

const SVIX_PAUSES: [Duration; 6] = seconds([5, 10, 300, 900, 1800, 7200]);
const CALLBACK_PAUSES: [Duration; 3] = seconds([1, 5, 15]);

/// Seven attempts within some three hours.
const SVIX: Ladder = Ladder {
    pauses: &SVIX_PAUSES,
    timeout: Duration::from_secs(30),
    jitter: 0.2,
    floor: Duration::from_mins(1),
    heeds_retry_after: true,
    again: Again::Failures,
};

/// Four attempts within 21 seconds.
const CALLBACK: Ladder = Ladder {
    pauses: &CALLBACK_PAUSES,
    timeout: Duration::from_secs(30),
    jitter: 0.0,
    floor: Duration::ZERO,
    heeds_retry_after: false,
    again: Again::ServerErrors,
};

const API_SERVER: Ladder = Ladder { timeout: Duration::from_secs(10), again: Again::Failures, ..CALLBACK };

/// Three attempts within half a second.
const BOT: Ladder = Ladder {
    pauses: &[Duration::ZERO, Duration::from_millis(500)],
    timeout: Duration::from_secs(5),
    again: Again::Errors,
    ..CALLBACK
};

/// The schedule of whoever sends an event.
pub fn ladder(contract: Contract, wire_event: Option<&str>) -> &'static Ladder {
    match contract {
        Contract::Preview | Contract::V2 => &SVIX,
        Contract::V1 if wire_event == Some("bot.status_change") => &BOT,
        Contract::V1 => &API_SERVER,
        Contract::Callback | Contract::Alert => &CALLBACK,
    }
}

impl Ladder {
    /// Whether a redirect, which nobody follows, is no failure to the sender.
    pub fn takes_redirects(&self) -> bool {
        self.again == Again::Errors
    }

    /// How many attempts there are at the most.
    pub fn attempts(&self) -> usize {
        self.pauses.len() + 1
    }

    /// What comes after the attempt that is the `made`-th, counting from 1, and ended at `now`.
    ///
    /// `chance` decides the jitter, from 0 (as soon as possible) to 1 (as late). The pause is never less than the
    /// scheduled one less jitter, nor more than twice that and jitter, whatever the handler asks for.
    pub fn next(&self, made: usize, reply: &Reply<'_>, now: Timestamp, chance: f64) -> Next {
        if let Reply::Answered(200..300, _) = reply {
            return Next::Acknowledged;
        }
        let Some(pause) = self.pauses.get(made.saturating_sub(1)) else { return Next::Exhausted };
        if !self.tries_again(reply) {
            return Next::Final;
        }
        let pause = match reply {
            Reply::TimedOut | Reply::Answered(429, _) => (*pause).max(self.floor),
            Reply::Answered(..) | Reply::NoAnswer => *pause,
        };
        let asked = match reply {
            Reply::Answered(_, Some(value)) if self.heeds_retry_after => retry_after(value, now),
            _ => None,
        };
        let pause = asked.unwrap_or(pause).clamp(pause, pause * 2);
        let chance = if chance.is_finite() { chance.clamp(0.0, 1.0) } else { 0.5 };
        Next::After(pause.mul_f64(1.0 + self.jitter * (2.0 * chance - 1.0)))
    }

    fn tries_again(&self, reply: &Reply<'_>) -> bool {
        match (self.again, reply) {
            (_, Reply::TimedOut | Reply::NoAnswer) | (Again::Failures, Reply::Answered(..)) => true,
            (Again::ServerErrors, Reply::Answered(status, _)) => (500..600).contains(status),
            (Again::Errors, Reply::Answered(status, _)) => !(300..400).contains(status),
        }
    }
}

/// The longest number of seconds that is read, in digits.
const MOST_DIGITS: usize = 10;

/// The longest date, in bytes.
const LONGEST_DATE: usize = 40;

/// The three forms of a date in HTTP (RFC 9110 §5.6.7), the two obsolete ones last.
const DATES: [&str; 3] = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];

/// How long a `Retry-After` asks to wait; `None` when it is neither a whole number of seconds nor a date.
pub fn retry_after(value: &[u8], now: Timestamp) -> Option<Duration> {
    let value = std::str::from_utf8(value.trim_ascii()).ok()?;
    if !value.is_empty() && value.len() <= MOST_DIGITS && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.parse().ok().map(Duration::from_secs);
    }
    if value.len() > LONGEST_DATE {
        return None;
    }
    let date = DATES.iter().find_map(|form| DateTime::strptime(form, value).ok())?;
    let then = TimeZone::UTC.to_timestamp(date).ok()?;
    // A moment that is over asks for nothing.
    Some(Duration::try_from(then.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Clock;

    fn now() -> Timestamp {
        "2026-11-24T09:05:52Z".parse().unwrap()
    }

    /// The pause after an attempt, in seconds, without jitter.
    fn pause(ladder: &Ladder, made: usize, reply: Reply<'_>) -> Option<f64> {
        match ladder.next(made, &reply, now(), 0.5) {
            Next::After(pause) => Some(pause.as_secs_f64()),
            Next::Acknowledged | Next::Final | Next::Exhausted => None,
        }
    }

    fn pauses(contract: Contract, wire_event: &str, reply: Reply<'_>) -> Vec<f64> {
        let ladder = ladder(contract, Some(wire_event));
        (1..).map_while(|made| pause(ladder, made, reply)).collect()
    }

    #[test]
    fn each_sender_has_its_schedule() {
        let svix = [5.0, 10.0, 300.0, 900.0, 1800.0, 7200.0];
        let error = Reply::Answered(500, None);
        assert_eq!(pauses(Contract::V2, "bot.completed", error), svix);
        assert_eq!(pauses(Contract::Preview, "complete", error), svix);
        assert_eq!(pauses(Contract::Callback, "bot.completed", error), [1.0, 5.0, 15.0]);
        assert_eq!(pauses(Contract::Alert, "", error), [1.0, 5.0, 15.0]);
        assert_eq!(pauses(Contract::V1, "complete", error), [1.0, 5.0, 15.0]);
        assert_eq!(pauses(Contract::V1, "bot.status_change", error), [0.0, 0.5]);
        let timeouts = [
            (Contract::V2, "", 30),
            (Contract::Preview, "", 30),
            (Contract::Callback, "", 30),
            (Contract::V1, "failed", 10),
            (Contract::V1, "bot.status_change", 5),
        ];
        for (contract, event, timeout) in timeouts {
            assert_eq!(ladder(contract, Some(event)).timeout, Duration::from_secs(timeout));
        }
    }

    #[test]
    fn what_is_final_for_one_sender_is_not_for_another() {
        let tried_again = |contract, event: &str, reply| !pauses(contract, event, reply).is_empty();
        for (reply, v2, callback, bot) in [
            (Reply::NoAnswer, true, true, true),
            (Reply::TimedOut, true, true, true),
            (Reply::Answered(199, None), true, false, true),
            (Reply::Answered(301, None), true, false, false),
            (Reply::Answered(404, None), true, false, true),
            (Reply::Answered(429, None), true, false, true),
            (Reply::Answered(500, None), true, true, true),
            (Reply::Answered(599, None), true, true, true),
            (Reply::Answered(999, None), true, false, true),
            (Reply::Answered(200, None), false, false, false),
            (Reply::Answered(299, None), false, false, false),
        ] {
            assert_eq!(tried_again(Contract::V2, "", reply), v2, "{reply:?}");
            assert_eq!(tried_again(Contract::V1, "complete", reply), v2, "{reply:?}");
            assert_eq!(tried_again(Contract::Callback, "", reply), callback, "{reply:?}");
            assert_eq!(tried_again(Contract::V1, "bot.status_change", reply), bot, "{reply:?}");
        }
    }

    #[test]
    fn after_429_and_time_outs_there_is_a_floor_for_svix_only() {
        let v2 = ladder(Contract::V2, None);
        for reply in [Reply::TimedOut, Reply::Answered(429, None)] {
            let floored: Vec<f64> = (1..=6).map(|made| pause(v2, made, reply).unwrap()).collect();
            assert_eq!(floored, [60.0, 60.0, 300.0, 900.0, 1800.0, 7200.0]);
            // Jitter comes afterwards.
            assert_eq!(v2.next(1, &reply, now(), 0.0), Next::After(Duration::from_secs(48)));
            assert_eq!(v2.next(1, &reply, now(), 1.0), Next::After(Duration::from_secs(72)));
        }
        assert_eq!(pause(ladder(Contract::Callback, None), 1, Reply::TimedOut), Some(1.0));
    }

    #[test]
    fn retry_after_counts_between_the_pause_and_twice_the_pause() {
        let v2 = ladder(Contract::V2, None);
        for (value, expected) in [
            ("1", 5.0),
            ("7", 7.0),
            (" 7\t", 7.0),
            ("9000", 10.0),
            ("Tue, 24 Nov 2026 09:06:00 GMT", 8.0),
            ("Tuesday, 24-Nov-26 09:06:00 GMT", 8.0),
            ("Tue Nov 24 09:06:00 2026", 8.0),
            ("Mon, 24 Nov 2025 09:06:00 GMT", 5.0),
            ("Wed, 24 Nov 2027 09:06:00 GMT", 10.0),
        ] {
            let reply = Reply::Answered(503, Some(value.as_bytes()));
            assert_eq!(pause(v2, 1, reply), Some(expected), "{value}");
        }
        // Twice the floor, not twice the five seconds.
        assert_eq!(pause(v2, 1, Reply::Answered(429, Some(b"100"))), Some(100.0));
        assert_eq!(pause(ladder(Contract::Callback, None), 1, Reply::Answered(503, Some(b"2"))), Some(1.0));
    }

    /// What a handler may write to bring down whoever calculates with it.
    const HOSTILE: [&[u8]; 52] = [
        b"",
        b" ",
        b"-1",
        b"+1",
        b"0",
        b"00000000000",
        b"9999999999",
        b"99999999999",
        b"18446744073709551615",
        b"18446744073709551616",
        b"9223372036854775807",
        b"-9223372036854775808",
        b"1e300",
        b"1e9",
        b"1.5",
        b"0x10",
        b"NaN",
        b"inf",
        b"-inf",
        b"Infinity",
        b"1e-300",
        b"1_000",
        b"1,000",
        b"5;",
        b"5 5",
        b"5\x005",
        b"\xff\xfe",
        b"\xd9\xa5",
        b"\xef\xbc\x95",
        b"five",
        b"null",
        b"[5]",
        b"{}",
        b"'5'",
        b"\"5\"",
        b"5s",
        b"PT5S",
        b"2026-11-24T09:06:00Z",
        b"Tue, 24 Nov 2026 09:06:00",
        b"Tue, 24 Nov 2026 09:06:00 PST",
        b"Mon, 24 Nov 2026 09:06:00 GMT",
        b"Tue, 99 Nov 2026 09:06:00 GMT",
        b"Tue, 24 Nov 9999 23:59:59 GMT",
        b"Sat, 31 Dec 99999 23:59:59 GMT",
        b"Thu, 01 Jan 0000 00:00:00 GMT",
        b"Mon, 01 Jan 0001 00:00:00 GMT",
        b"Thu, 01 Jan -999 00:00:00 GMT",
        b"Tue, 24 Nov 2026 24:00:00 GMT",
        b"Tue, 24 Nov 2026 23:59:60 GMT",
        b"%s%n",
        b"Tue, 24 Nov 2026 09:06:00 GMT Tue, 24 Nov 2026 09:06:00 GMT",
        b"\x1b[2J",
    ];

    #[test]
    fn no_answer_of_a_handler_moves_a_pause_out_of_its_bounds() {
        let long = [b"9".repeat(100_000), b" ".repeat(100_000), b"Tue, ".repeat(20_000)];
        let values: Vec<&[u8]> = HOSTILE.iter().copied().chain(long.iter().map(Vec::as_slice)).collect();
        let chances = [0.0, 0.5, 1.0, -1.0, 2.0, f64::NAN, f64::INFINITY];
        let moments = [now(), Timestamp::MIN, Timestamp::MAX];
        let (mut inputs, mut bad) = (0, 0);
        for contract in Contract::ALL {
            let ladder = ladder(contract, None);
            for (value, status) in values.iter().flat_map(|value| [(value, 503), (value, 429)]) {
                for (chance, moment) in chances.iter().flat_map(|chance| moments.map(|now| (*chance, now))) {
                    for (made, base) in (1..).zip(ladder.pauses) {
                        let reply = Reply::Answered(status, Some(value));
                        let Next::After(pause) = ladder.next(made, &reply, moment, chance) else { continue };
                        let base = if status == 429 { (*base).max(ladder.floor) } else { *base };
                        let bounds = base.mul_f64(0.8)..=base.mul_f64(2.4);
                        inputs += 1;
                        bad += u32::from(!bounds.contains(&pause));
                    }
                }
            }
        }
        println!("inputs={inputs} violations={bad}");
        assert_eq!(bad, 0);
    }

    #[test]
    fn the_jitter_of_a_thousand_seeds_stays_within_a_fifth_and_uses_it() {
        let v2 = ladder(Contract::V2, None);
        let (mut least, mut most, mut sum) = (f64::MAX, f64::MIN, 0.0);
        for seed in 0..1000 {
            let clock = Clock::fixed(now(), seed);
            for (made, base) in (1..).zip(v2.pauses) {
                let next = v2.next(made, &Reply::NoAnswer, now(), clock.chance());
                let Next::After(pause) = next else { panic!("{next:?}") };
                let share = pause.as_secs_f64() / base.as_secs_f64();
                (least, most, sum) = (least.min(share), most.max(share), sum + share);
            }
        }
        println!("inputs=6000 violations={}", u32::from(least < 0.8 || most > 1.2));
        assert!((0.8..0.801).contains(&least) && (1.199..=1.2).contains(&most), "{least} to {most}");
        assert!((0.99..1.01).contains(&(sum / 6000.0)), "{}", sum / 6000.0);
    }

    proptest! {
        #[test]
        fn any_bytes_and_any_attempt_are_survived(
            value in proptest::collection::vec(any::<u8>(), 0..60),
            made: usize,
            status: u16,
            chance: f64,
        ) {
            for contract in Contract::ALL {
                ladder(contract, None).next(made, &Reply::Answered(status, Some(&value)), now(), chance);
            }
        }
    }
}
