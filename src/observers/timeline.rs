//! What was heard of one bot, in the order of its life, and what is odd about it.
//!
//! Status changes say themselves when they happened, and arrive in any order; what does not say counts as it arrived.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::json::Json;
use crate::model::{Contract, Delivery, FORMAT_VERSION, Headers};
use crate::store::Recorded;

/// From how long on a silence is named, unless the bot records meanwhile.
const GAP: SignedDuration = SignedDuration::from_mins(5);

/// The ids that stay the same when a sender tries a message again.
const MESSAGE_IDS: [&str; 2] = ["svix-id", "webhook-id"];

/// Where a body says which bot it is about.
const BOT_KEYS: [&str; 2] = ["bot_id", "bot_uuid"];

/// What was heard of a bot.
#[derive(Debug)]
pub struct Timeline {
    bot_id: String,
    entries: Vec<Entry>,
    oddities: Vec<Oddity>,
}

/// One delivery about the bot.
#[derive(Clone, Debug)]
struct Entry {
    delivery: Delivery,
    /// When it happened, where it says so.
    happened_at: Option<Timestamp>,
    /// The code of a status change, or of what went wrong.
    code: Option<String>,
    /// Whether nothing more is to come after it.
    end: Option<End>,
    message_id: Option<Vec<u8>>,
}

/// How the life of a bot ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Completed,
    Failed,
}

/// Something that is not as one would expect.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Oddity {
    kind: &'static str,
    /// The deliveries that it is about.
    numbers: Vec<i64>,
    message: String,
}

impl Timeline {
    /// The timeline of a bot; of deliveries that are about another one, none is taken.
    pub fn of(bot_id: &str, recorded: impl IntoIterator<Item = Recorded>) -> Self {
        let entries = recorded.into_iter().filter_map(|recorded| Entry::of(bot_id, recorded));
        let mut entries: Vec<Entry> = entries.collect();
        entries.sort_by_key(|entry| (entry.at(), entry.delivery.number));
        let oddities = oddities(&entries);
        Self { bot_id: bot_id.to_owned(), entries, oddities }
    }

    /// Each delivery with when it happened and what it is called, in the order of its life.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (Timestamp, String, &Delivery)> {
        self.entries.iter().map(|entry| (entry.at(), entry.title(), &entry.delivery))
    }

    /// What is odd about it, each in a sentence.
    pub fn oddities(&self) -> impl ExactSizeIterator<Item = &str> {
        self.oddities.iter().map(|oddity| oddity.message.as_str())
    }

    /// The object for programs; `is_whole` is whether all deliveries about it were looked at.
    pub fn object(&self, is_whole: bool) -> Value {
        let oddities: Vec<Value> = self
            .oddities
            .iter()
            .map(|Oddity { kind, numbers, message }| json!({ "kind": kind, "numbers": numbers, "message": message }))
            .collect();
        json!({
            "v": FORMAT_VERSION,
            "bot_id": self.bot_id,
            "whole": is_whole,
            "entries": self.entries.iter().map(Entry::object).collect::<Vec<Value>>(),
            "oddities": oddities,
        })
    }
}

impl Entry {
    fn of(bot_id: &str, recorded: Recorded) -> Option<Self> {
        let Recorded { delivery, request } = recorded;
        let body = Json::parse(&request.body).ok()?;
        let data = body.get("data").unwrap_or(&body);
        let is_about_it = |part: &Json| {
            BOT_KEYS.iter().any(|key| part.get(key).and_then(Json::as_str).is_some_and(|id| id == bot_id))
        };
        if !is_about_it(data) && !is_about_it(&body) {
            return None;
        }
        let status = data.get("status");
        let text = |part: Option<&Json>, key: &str| Some(part?.get(key)?.as_str()?.into_owned());
        let code = text(status, "code")
            .or_else(|| text(Some(data), "error_code"))
            .or_else(|| text(Some(data), "error"));
        let happened_at = text(status, "created_at").and_then(|time| time.parse().ok());
        let end = end(&delivery, code.as_deref());
        Some(Self { happened_at, code, end, message_id: message_id(&request.headers), delivery })
    }

    fn at(&self) -> Timestamp {
        self.happened_at.unwrap_or(self.delivery.received_at)
    }

    fn number(&self) -> i64 {
        self.delivery.number
    }

    /// What it is, for sentences.
    fn name(&self) -> String {
        let event = self.delivery.kind.event_type.as_ref().map_or("an unknown event", |event| event.as_str());
        match (&self.code, self.happened_at) {
            (Some(code), Some(_)) => format!("#{} `{}`", self.number(), code.escape_debug()),
            _ => format!("#{} {event}", self.number()),
        }
    }

    /// What it is called, and the code that it tells of.
    fn title(&self) -> String {
        let name = super::terminal::name(&self.delivery);
        self.code.as_ref().map_or(name.clone(), |code| format!("{name}@{code}"))
    }

    fn object(&self) -> Value {
        let delivery = serde_json::to_value(&self.delivery).unwrap_or_default();
        let last =
            delivery["attempts"].as_array().and_then(|attempts| attempts.last()).unwrap_or(&Value::Null);
        json!({
            "number": delivery["number"],
            "id": delivery["id"],
            "at": self.at().to_string(),
            "received_at": delivery["received_at"],
            "contract": delivery["contract"],
            "event_type": delivery["event_type"],
            "code": self.code,
            "end": self.end.map(End::as_str),
            "origin": delivery["origin"],
            "replay_of": delivery["replay_of"],
            "signature": delivery["signature"],
            "status": last["status"],
            "error": last["error"],
            "duration_ms": last["duration_ms"],
        })
    }
}

impl End {
    fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

/// Whether an event is the last that is to come of a bot. A status change of v2 may say so as well, and the event follows.
fn end(delivery: &Delivery, code: Option<&str>) -> Option<End> {
    let event = delivery.kind.event_type.as_ref()?.as_str();
    match (delivery.kind.contract?, event) {
        (Contract::Preview, "meeting.completed")
        | (Contract::V2 | Contract::Callback, "bot.completed")
        | (Contract::V1, "complete") => Some(End::Completed),
        (Contract::Preview, "meeting.failed")
        | (Contract::V2 | Contract::Callback, "bot.failed")
        | (Contract::V1, "failed") => Some(End::Failed),
        (Contract::V2, "bot.status_change") => match code {
            Some("completed") => Some(End::Completed),
            Some("failed") => Some(End::Failed),
            _ => None,
        },
        _ => None,
    }
}

fn message_id(headers: &Headers) -> Option<Vec<u8>> {
    MESSAGE_IDS.iter().find_map(|name| headers.get(name).map(|id| id.to_vec()))
}

/// What is odd about a life; replays are our own doing and do not count.
fn oddities(entries: &[Entry]) -> Vec<Oddity> {
    let lived: Vec<&Entry> = entries.iter().filter(|entry| entry.delivery.replay_of.is_none()).collect();
    let mut odd = Vec::new();
    odd.extend(repeats(&lived));
    odd.extend(disorder(&lived));
    odd.extend(gaps(&lived));
    odd.extend(ends(&lived));
    odd.extend(failures(&lived));
    odd
}

/// Messages that came again.
fn repeats(lived: &[&Entry]) -> Vec<Oddity> {
    let mut first: HashMap<&[u8], &Entry> = HashMap::new();
    let mut odd = Vec::new();
    for entry in lived {
        let Some(id) = entry.message_id.as_deref() else { continue };
        match first.get(id) {
            Some(earlier) => odd.push(Oddity {
                kind: "again",
                numbers: vec![earlier.number(), entry.number()],
                message: format!("{} is the message of #{} once more", entry.name(), earlier.number()),
            }),
            None => drop(first.insert(id, entry)),
        }
    }
    odd
}

/// What arrived after something that happened later.
fn disorder(lived: &[&Entry]) -> Vec<Oddity> {
    let timed = lived.windows(2).filter_map(|pair| {
        let (before, after) = (pair[0], pair[1]);
        let age = after.happened_at?.duration_since(before.happened_at?);
        let is_late = before.number() > after.number() && !age.is_zero();
        is_late.then(|| Oddity {
            kind: "out_of_order",
            numbers: vec![before.number(), after.number()],
            message: format!(
                "{} arrived after {}, which happened {} later",
                before.name(),
                after.name(),
                spoken(age)
            ),
        })
    });
    timed.collect()
}

/// Silence where the bot is not known to record.
fn gaps(lived: &[&Entry]) -> Vec<Oddity> {
    let recording = ["in_call_recording", "recording_resumed", "recording_paused"];
    let silences = lived.windows(2).filter_map(|pair| {
        let (before, after) = (pair[0], pair[1]);
        let silence = after.at().duration_since(before.at());
        let records = before.code.as_deref().is_some_and(|code| recording.contains(&code));
        (silence >= GAP && !records && before.end.is_none()).then(|| Oddity {
            kind: "gap",
            numbers: vec![before.number(), after.number()],
            message: format!(
                "nothing was heard for {} between {} and {}",
                spoken(silence),
                before.name(),
                after.name()
            ),
        })
    });
    silences.collect()
}

/// No end, two of them, or something that happened afterwards.
fn ends(lived: &[&Entry]) -> Vec<Oddity> {
    let Some(last) = lived.last() else { return Vec::new() };
    let ends: Vec<(&&Entry, End)> = lived.iter().filter_map(|entry| Some((entry, entry.end?))).collect();
    let Some((first, how)) = ends.first().copied() else {
        return vec![Oddity {
            kind: "no_end",
            numbers: vec![last.number()],
            message: format!("no final event so far: the last is {}", last.name()),
        }];
    };
    let mut odd = Vec::new();
    if let Some((other, _)) = ends.iter().find(|(_, end)| *end != how) {
        odd.push(Oddity {
            kind: "two_ends",
            numbers: vec![first.number(), other.number()],
            message: format!("it ended in two ways: {} and {}", first.name(), other.name()),
        });
    }
    let after = lived.iter().filter(|entry| {
        let happened = entry.happened_at.zip(first.happened_at).is_some_and(|(own, end)| own > end);
        entry.end.is_none() && happened
    });
    odd.extend(after.map(|entry| Oddity {
        kind: "after_end",
        numbers: vec![first.number(), entry.number()],
        message: format!("{} happened after the end, {}", entry.name(), first.name()),
    }));
    odd
}

/// What the handler did not acknowledge.
fn failures(lived: &[&Entry]) -> Vec<Oddity> {
    let failed = lived.iter().filter_map(|entry| {
        let last = entry.delivery.last_attempt()?;
        (!last.outcome.is_acknowledged()).then(|| Oddity {
            kind: "not_acknowledged",
            numbers: vec![entry.number()],
            message: format!("{} was not acknowledged by the handler", entry.name()),
        })
    });
    failed.collect()
}

/// A duration as one says it: `1.5 s`, `12 min`, `3 h 5 min`.
fn spoken(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        ..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use std::time::Duration;

    use super::*;
    use crate::model::{Answer, Attempt, Clock, Incoming, Kind, Outcome, Request, Verdict};

    const BOT: &str = "b0t";

    /// A delivery of v2 that arrived so many minutes in, with the data of its body.
    fn heard(number: i64, minute: i64, event: &str, data: &str, status: u16) -> Recorded {
        let clock = Clock::fixed("2026-11-24T00:00:00Z".parse().unwrap(), u64::try_from(number).unwrap());
        let mut headers = Headers::new();
        headers.push("svix-id", format!("msg_{}", data.len()));
        let plain = Incoming::plain(&clock);
        let body = Bytes::from(format!(r#"{{"event":"{event}","data":{{{data}}}}}"#));
        let request = Request { headers, body, ..plain.request };
        let kind = Kind {
            contract: Some(Contract::V2),
            event_type: Some(event.parse().unwrap()),
            wire_event: Some(event.to_owned()),
        };
        let received_at = clock.now() + SignedDuration::from_mins(minute);
        let signature = Verdict::Valid;
        let incoming = Incoming { received_at, kind, signature, request: request.clone(), ..plain };
        let answer = Answer { status, headers: Headers::new(), body: Bytes::new(), cut: false };
        let attempt = Attempt {
            number: 1,
            target: "http://localhost/".to_owned(),
            started_at: clock.now(),
            duration: Duration::ZERO,
            outcome: Outcome::Answered(answer),
        };
        let delivery = Delivery { attempts: vec![attempt], ..Delivery::recorded(&incoming, number) };
        Recorded { delivery, request }
    }

    /// A status change that happened so many minutes in.
    fn change(number: i64, arrived: i64, code: &str, happened: i64) -> Recorded {
        let data = format!(
            r#""bot_id":"{BOT}","status":{{"code":"{code}","created_at":"2026-11-24T00:{happened:02}:00.000Z"}}"#
        );
        heard(number, arrived, "bot.status_change", &data, 200)
    }

    fn ended(number: i64, minute: i64, event: &str) -> Recorded {
        heard(number, minute, event, &format!(r#""bot_id":"{BOT}""#), 200)
    }

    fn told(recorded: Vec<Recorded>) -> Vec<(&'static str, String)> {
        let timeline = Timeline::of(BOT, recorded);
        timeline.oddities.into_iter().map(|odd| (odd.kind, odd.message)).collect()
    }

    #[test]
    fn a_life_without_oddities_is_told_in_its_order() {
        let life = vec![
            change(1, 0, "joining_call", 0),
            change(2, 1, "in_call_recording", 1),
            change(3, 40, "call_ended", 40),
            ended(4, 42, "bot.completed"),
            heard(5, 43, "bot.completed", r#""bot_id":"another""#, 200),
        ];
        let object = Timeline::of(BOT, life).object(true);
        assert_eq!(object["oddities"], json!([]));
        let codes: Vec<&Value> =
            object["entries"].as_array().unwrap().iter().map(|entry| &entry["code"]).collect();
        assert_eq!(
            codes,
            [&json!("joining_call"), &json!("in_call_recording"), &json!("call_ended"), &Value::Null]
        );
        assert_eq!(object["entries"][3]["end"], "completed");
    }

    #[test]
    fn each_oddity_is_named_in_a_sentence() {
        let late = vec![
            change(1, 1, "in_waiting_room", 1),
            change(2, 2, "joining_call", 0),
            ended(3, 3, "bot.failed"),
        ];
        let message = "#2 `joining_call` arrived after #1 `in_waiting_room`, which happened 1 min later";
        assert_eq!(told(late), [("out_of_order", message.to_owned())]);
        let silent = vec![change(1, 0, "joining_call", 0), ended(2, 12, "bot.failed")];
        let message = "nothing was heard for 12 min between #1 `joining_call` and #2 bot.failed";
        assert_eq!(told(silent), [("gap", message.to_owned())]);
        let open = vec![change(1, 0, "joining_call", 0)];
        let message = "no final event so far: the last is #1 `joining_call`";
        assert_eq!(told(open), [("no_end", message.to_owned())]);
        let twice = vec![ended(1, 0, "bot.completed"), ended(2, 1, "bot.completed")];
        assert_eq!(told(twice), [("again", "#2 bot.completed is the message of #1 once more".to_owned())]);
        let both =
            vec![ended(1, 0, "bot.completed"), heard(2, 1, "bot.failed", r#""bot_id":"b0t","x":1"#, 500)];
        let kinds: Vec<&str> = told(both).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, ["two_ends", "not_acknowledged"]);
        let zombie = vec![change(1, 0, "completed", 0), change(2, 1, "in_call_recording", 1)];
        let message = "#2 `in_call_recording` happened after the end, #1 `completed`";
        assert_eq!(told(zombie), [("after_end", message.to_owned())]);
    }
}
