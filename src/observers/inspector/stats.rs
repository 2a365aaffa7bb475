//! `GET /api/stats`: a picture of the traffic in a stretch of time: how much came and what came of it, how long handlers
//! took, and what took longest.

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::{Query as Asked, State};
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Inspector;
use super::answer::{Fault, object_answer};
use super::question::{moment, number};
use crate::model::{FORMAT_VERSION, millis};
use crate::store::{CameOf, LastAttempt};

/// How long a stretch is unless it says so.
const STRETCH: SignedDuration = SignedDuration::from_hours(1);

/// How many buckets there are unless it is said, and at most.
const BUCKETS: usize = 60;
const MOST_BUCKETS: usize = 1000;

/// How many deliveries are looked at; the newest.
const MOST: usize = 100_000;

/// How many event types are told apart; those with the most deliveries.
const MOST_EVENTS: usize = 50;

/// How many of the slowest are named.
const SLOWEST: usize = 10;

/// What picture is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wanted {
    since: Option<String>,
    until: Option<String>,
    buckets: Option<usize>,
}

/// The picture.
#[derive(Debug)]
struct Picture {
    since: Timestamp,
    until: Timestamp,
    buckets: Vec<Sums>,
    events: HashMap<Option<String>, OfEvent>,
    slowest: Vec<Slow>,
    all: Sums,
}

/// How many deliveries had which outcome.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    acknowledged: u64,
    /// Answered, but not with a 2xx status.
    rejected: u64,
    /// Without a whole answer.
    unanswered: u64,
    /// Not handed to anybody so far.
    untried: u64,
}

#[derive(Debug, Default)]
struct OfEvent {
    sums: Sums,
    /// How long the answers took.
    durations: Vec<Duration>,
}

#[derive(Debug)]
struct Slow {
    number: i64,
    event_type: Option<String>,
    duration: Duration,
    status: u16,
}

/// `GET /api/stats`
pub async fn stats(
    State(inspector): State<Inspector>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response, Fault> {
    let clock = &inspector.0.parts.clock;
    // What arrives at this very moment is part of it.
    let until =
        moment(wanted.until, "until", clock)?.unwrap_or_else(|| clock.now() + SignedDuration::from_micros(1));
    let since = match moment(wanted.since, "since", clock)? {
        Some(since) => since,
        None => until.checked_sub(STRETCH).unwrap_or(until),
    };
    if since >= until {
        return Err(Fault::bad_request("`since` is not before `until`"));
    }
    let buckets = number(wanted.buckets, "buckets", MOST_BUCKETS)?.unwrap_or(BUCKETS);
    let look = move |reader: &crate::store::Reader| {
        let mut picture = Picture::new(since, until, buckets);
        let told = reader.outcomes(since, until, MOST, |came| picture.add(&came))?;
        Ok((picture, told < MOST))
    };
    let looked = inspector.read(look).await?;
    let (picture, is_whole) = looked.unwrap_or_else(|| (Picture::new(since, until, buckets), true));
    Ok(object_answer(&picture.object(is_whole)))
}

impl Picture {
    fn new(since: Timestamp, until: Timestamp, buckets: usize) -> Self {
        Self {
            since,
            until,
            buckets: vec![Sums::default(); buckets],
            events: HashMap::new(),
            slowest: Vec::new(),
            all: Sums::default(),
        }
    }

    fn add(&mut self, came: &CameOf<'_>) {
        let bucket = self.bucket(came.received_at);
        let event = match self.events.get_mut(&came.event_type.map(str::to_owned)) {
            Some(event) => event,
            None => self.events.entry(came.event_type.map(str::to_owned)).or_default(),
        };
        for sums in [&mut self.all, &mut self.buckets[bucket], &mut event.sums] {
            sums.add(came.last);
        }
        let Some((last, status)) = came.last.and_then(|last| Some((last, last.status?))) else { return };
        event.durations.push(last.duration);
        let at = self.slowest.partition_point(|slow| slow.duration >= last.duration);
        if at < SLOWEST {
            let event_type = came.event_type.map(str::to_owned);
            self.slowest
                .insert(at, Slow { number: came.number, event_type, duration: last.duration, status });
            self.slowest.truncate(SLOWEST);
        }
    }

    /// The place of the bucket of a time.
    fn bucket(&self, at: Timestamp) -> usize {
        let micros = |from: Timestamp, to: Timestamp| {
            i128::from(to.as_microsecond()) - i128::from(from.as_microsecond())
        };
        let buckets = i128::try_from(self.buckets.len()).unwrap_or(1);
        let place = micros(self.since, at) * buckets / micros(self.since, self.until).max(1);
        usize::try_from(place).unwrap_or_default().min(self.buckets.len() - 1)
    }

    fn object(mut self, is_whole: bool) -> Value {
        let width = self.until.duration_since(self.since).as_secs_f64();
        let width = width / f64::from(u32::try_from(self.buckets.len()).unwrap_or(1));
        let at = |place: usize| {
            let seconds = width * f64::from(u32::try_from(place).unwrap_or_default());
            self.since.checked_add(SignedDuration::from_secs_f64(seconds)).unwrap_or(self.until).to_string()
        };
        let buckets: Vec<Value> =
            (0..).zip(&self.buckets).map(|(place, sums)| sums.object(&[("at", at(place).into())])).collect();
        let mut events: Vec<(Option<String>, OfEvent)> = self.events.drain().collect();
        events.sort_by(|(name, event), (other_name, other)| {
            other.sums.all().cmp(&event.sums.all()).then_with(|| name.cmp(other_name))
        });
        let more_events = events.len().saturating_sub(MOST_EVENTS);
        events.truncate(MOST_EVENTS);
        let events: Vec<Value> = events.into_iter().map(|(name, event)| event.object(name)).collect();
        let slowest: Vec<Value> = self
            .slowest
            .iter()
            .map(|slow| {
                json!({
                    "number": slow.number,
                    "event_type": slow.event_type,
                    "duration_ms": millis(slow.duration),
                    "status": slow.status,
                })
            })
            .collect();
        let mut object = self.all.object(&[
            ("v", FORMAT_VERSION.into()),
            ("since", self.since.to_string().into()),
            ("until", self.until.to_string().into()),
            ("bucket_seconds", width.into()),
            ("whole", is_whole.into()),
        ]);
        object["buckets"] = buckets.into();
        object["events"] = events.into();
        object["more_events"] = more_events.into();
        object["slowest"] = slowest.into();
        object
    }
}

impl Sums {
    fn add(&mut self, last: Option<LastAttempt<'_>>) {
        let sum = match last {
            None => &mut self.untried,
            Some(last) if last.is_acknowledged() => &mut self.acknowledged,
            Some(last) if last.status.is_some() => &mut self.rejected,
            Some(_) => &mut self.unanswered,
        };
        *sum += 1;
    }

    fn all(&self) -> u64 {
        self.acknowledged + self.rejected + self.unanswered + self.untried
    }

    fn object(&self, before: &[(&str, Value)]) -> Value {
        let before = before.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        let sums = [
            ("deliveries", self.all()),
            ("acknowledged", self.acknowledged),
            ("rejected", self.rejected),
            ("unanswered", self.unanswered),
            ("untried", self.untried),
        ];
        before
            .chain(sums.map(|(key, sum)| (key.to_owned(), sum.into())))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

impl OfEvent {
    fn object(mut self, name: Option<String>) -> Value {
        let mut object = self.sums.object(&[("event_type", name.into())]);
        self.durations.sort_unstable();
        for (key, percent) in [("p50_ms", 50), ("p90_ms", 90), ("p99_ms", 99), ("max_ms", 100)] {
            object[key] = percentile(&self.durations, percent).map(millis).into();
        }
        object
    }
}

/// The value that so many percent are not above; none of none.
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn came(number: i64, second: i64, status: Option<u16>, millis: u64) -> CameOf<'static> {
        let last = Some(LastAttempt { status, error: None, duration: Duration::from_millis(millis) });
        CameOf { number, received_at: at(second), event_type: Some("a"), last }
    }

    #[test]
    fn what_came_stands_in_its_bucket_and_the_slowest_come_first() {
        let mut picture = Picture::new(at(0), at(60), 6);
        for number in 0..100 {
            picture.add(&came(number, 15, Some(200), u64::try_from(number).unwrap() + 1));
        }
        picture.add(&came(100, 0, Some(500), 1));
        picture.add(&came(101, 59, None, 99_999));
        picture.add(&CameOf { last: None, event_type: None, ..came(102, 60, None, 0) });
        let object = picture.object(true);
        let counts = |key: &str| -> Vec<u64> {
            object["buckets"].as_array().unwrap().iter().map(|bucket| bucket[key].as_u64().unwrap()).collect()
        };
        assert_eq!(counts("acknowledged"), [0, 100, 0, 0, 0, 0]);
        assert_eq!(counts("rejected"), [1, 0, 0, 0, 0, 0]);
        assert_eq!(counts("unanswered"), [0, 0, 0, 0, 0, 1]);
        assert_eq!(counts("untried"), [0, 0, 0, 0, 0, 1]);
        assert_eq!(
            (&object["deliveries"], &object["buckets"][1]["at"]),
            (&json!(103), &json!(at(10).to_string()))
        );
        assert_eq!(object["events"][0]["event_type"], "a");
        assert_eq!(
            (&object["events"][0]["p50_ms"], &object["events"][0]["p99_ms"]),
            (&json!(50.0), &json!(99.0))
        );
        let slowest = object["slowest"].as_array().unwrap();
        assert_eq!((slowest.len(), &slowest[0]["number"]), (SLOWEST, &json!(99)));
    }

    #[test]
    fn a_percentile_is_a_value_that_occurs() {
        let durations: Vec<Duration> = (1..=10).map(Duration::from_secs).collect();
        for (percent, seconds) in [(50, 5), (90, 9), (99, 10), (100, 10)] {
            assert_eq!(percentile(&durations, percent), Some(Duration::from_secs(seconds)), "{percent}");
        }
        assert_eq!(percentile(&[], 50), None);
    }
}
