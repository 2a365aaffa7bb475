//! What was heard of one bot, in the order of its life, and what is odd about it.
//!
//! Most events say themselves when they happened, and arrive in any order; what does not say stands between those between
//! which it arrived.

mod oddity;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use self::oddity::{Oddity, oddities};
use crate::contract::BOT_KEYS;
use crate::json::Json;
use crate::model::{Contract, Delivery, FORMAT_VERSION, Headers};
use crate::store::Recorded;

/// The ids that stay the same when a sender tries a message again.
const MESSAGE_IDS: [&str; 2] = ["svix-id", "webhook-id"];

/// The event whose code says what it is about.
const STATUS_CHANGE: &str = "bot.status_change";

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
    /// Its place in the life: when it happened, or as near to when it arrived as its neighbours leave room for.
    at: Timestamp,
    /// The code of a status change, or of what went wrong.
    code: Option<String>,
    /// Whether nothing more is to come after it.
    end: Option<End>,
    message_id: Option<Vec<u8>>,
    /// The body of an end: by it a message without an id is known that is sent again.
    body: Option<Bytes>,
}

/// How the life of a bot ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Completed,
    Failed,
}

impl Timeline {
    /// The timeline of a bot; of deliveries that are about another one, none is taken.
    pub fn of(bot_id: &str, recorded: impl IntoIterator<Item = Recorded>) -> Self {
        let entries = recorded.into_iter().filter_map(|recorded| Entry::of(bot_id, recorded));
        let mut entries: Vec<Entry> = entries.collect();
        place(&mut entries);
        let oddities = oddities(&entries);
        Self { bot_id: bot_id.to_owned(), entries, oddities }
    }

    /// Each delivery with when it happened and what it is called, in the order of its life.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (Timestamp, String, &Delivery)> {
        self.entries.iter().map(|entry| (entry.at, entry.title(), &entry.delivery))
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

/// Brings entries into the order of the life. What does not say when it happened keeps its place among those that arrived
/// before and after it: a scenario that is played without pauses, or a sender that was held up, delivers a whole meeting in
/// one moment.
fn place(entries: &mut [Entry]) {
    entries.sort_by_key(|entry| entry.delivery.number);
    let own: Vec<Option<Timestamp>> = entries.iter().map(|entry| entry.happened_at).collect();
    let mut earliest = None;
    for (index, entry) in entries.iter_mut().enumerate() {
        if let Some(own) = entry.happened_at {
            // What arrives late is no measure for what comes after it.
            earliest = earliest.max(Some(own));
            continue;
        }
        let latest = own[index..].iter().flatten().filter(|own| earliest.is_none_or(|at| **own >= at));
        let latest = latest.min().copied();
        let arrived = entry.delivery.received_at;
        let at = latest.map_or(arrived, |latest| arrived.min(latest));
        entry.at = earliest.map_or(at, |earliest| at.max(earliest));
    }
    entries.sort_by_key(|entry| (entry.at, entry.delivery.number));
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
        let time = text(status, "created_at").or_else(|| text(Some(data), "sent_at"));
        let happened_at = time.and_then(|time| time.parse().ok());
        let at = happened_at.unwrap_or(delivery.received_at);
        let end = end(&delivery, code.as_deref());
        let message_id = message_id(&request.headers);
        let body = end.map(|_| request.body);
        Some(Self { delivery, happened_at, at, code, end, message_id, body })
    }

    fn number(&self) -> i64 {
        self.delivery.number
    }

    /// The code, of a status change.
    fn status(&self) -> Option<&str> {
        let is_change = self.event() == Some(STATUS_CHANGE);
        self.code.as_deref().filter(|_| is_change)
    }

    fn event(&self) -> Option<&str> {
        self.delivery.kind.event_type.as_ref().map(crate::model::EventType::as_str)
    }

    /// What it is, for sentences.
    fn name(&self) -> String {
        let number = self.number();
        match self.status() {
            Some(code) => format!("#{number} `{}`", code.escape_debug()),
            None => format!("#{number} {}", self.event().unwrap_or("an unknown event")),
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
            "at": self.at.to_string(),
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
        (Contract::V2, STATUS_CHANGE) => match code {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Answer, Attempt, Clock, Incoming, Kind, Outcome, Request, Verdict};

    const BOT: &str = "b0t";

    /// A delivery of v2 that arrived so many minutes in, with the data of its body.
    fn heard(number: i64, minute: i64, event: &str, data: &str, status: u16) -> Recorded {
        let id = format!("msg_{}", data.len());
        heard_of(Contract::V2, Some(&id), (number, minute), event, data, status)
    }

    fn heard_of(
        contract: Contract,
        id: Option<&str>,
        (number, minute): (i64, i64),
        event: &str,
        data: &str,
        status: u16,
    ) -> Recorded {
        let clock = Clock::fixed("2026-11-24T00:00:00Z".parse().unwrap(), u64::try_from(number).unwrap());
        let mut headers = Headers::new();
        if let Some(id) = id {
            headers.push("svix-id", id.to_owned());
        }
        let plain = Incoming::plain(&clock);
        let body = Bytes::from(format!(r#"{{"event":"{event}","data":{{{data}}}}}"#));
        let request = Request { headers, body, ..plain.request };
        let kind = Kind {
            contract: Some(contract),
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
        let delivery = Delivery { attempts: vec![attempt.into()], ..Delivery::recorded(&incoming, number) };
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
    fn a_talk_in_the_chat_of_a_recording_is_no_reason_to_expect_more() {
        let talk =
            |number, minute| heard(number, minute, "bot.chat_message", r#""bot_id":"b0t","text":"""#, 200);
        let life = vec![
            change(1, 0, "in_call_recording", 0),
            talk(2, 1),
            change(3, 40, "call_ended", 40),
            ended(4, 41, "bot.completed"),
        ];
        assert_eq!(told(life), []);
    }

    proptest! {
        #[test]
        fn what_has_no_time_of_its_own_keeps_its_place_among_what_arrived_before_it_and_after(
            life in proptest::collection::vec((proptest::option::of(0..50_i64), 0..3_i64), 1..12),
        ) {
            let mut arrived = 40;
            let mut recorded = Vec::new();
            for (number, (happened, pause)) in (1..).zip(&life) {
                arrived += pause;
                recorded.push(match happened {
                    Some(minute) => change(number, arrived, "queued", *minute),
                    None => ended(number, arrived, "bot.chat_message"),
                });
            }
            let timeline = Timeline::of(BOT, recorded);
            prop_assert!(timeline.entries.is_sorted_by_key(|entry| entry.at));
            for (place, entry) in timeline.entries.iter().enumerate() {
                // Only what arrived late, or before something that did, stands before what arrived earlier.
                let is_late = |entry: &Entry| timeline.entries.iter().any(|other| {
                    other.number() < entry.number() && entry.happened_at.is_some() && other.happened_at > entry.happened_at
                });
                for later in &timeline.entries[place + 1..] {
                    let is_due = later.number() > entry.number() || later.happened_at.is_some() || is_late(entry);
                    prop_assert!(is_due, "#{} stands before #{}", entry.number(), later.number());
                }
            }
            for timed in timeline.entries.iter().filter(|entry| entry.happened_at.is_some()) {
                prop_assert_eq!(Some(timed.at), timed.happened_at);
            }
        }
    }

    #[test]
    fn a_meeting_that_arrives_in_one_moment_is_told_in_its_order() {
        let talk = |number| heard(number, 30, "bot.chat_message", r#""bot_id":"b0t""#, 200);
        let life = vec![
            change(1, 30, "joining_call", 0),
            change(2, 30, "in_call_recording", 1),
            talk(3),
            talk(4),
            change(5, 30, "call_ended", 29),
            ended(6, 30, "bot.completed"),
        ];
        let timeline = Timeline::of(BOT, life);
        assert!(timeline.entries.iter().map(Entry::number).eq(1..=6));
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
        let early = vec![
            change(1, 40, "call_ended", 40),
            change(2, 41, "completed", 41),
            ended(3, 42, "bot.completed"),
            change(4, 43, "recording_succeeded", 42),
        ];
        assert_eq!(
            told(early),
            [("completed_early", "#2 `completed` came before #4 `recording_succeeded`".to_owned())]
        );
        let overtaken = vec![change(1, 41, "completed", 41), change(2, 42, "recording_succeeded", 40)];
        let kinds = told(overtaken);
        let message = "#1 `completed` came before #2 `recording_succeeded`, which had happened 1 min earlier";
        assert!(kinds.contains(&("completed_early", message.to_owned())), "{kinds:?}");
        let zombie = vec![change(1, 0, "completed", 0), change(2, 1, "in_call_recording", 1)];
        let message = "#2 `in_call_recording` happened after the end, #1 `completed`";
        assert_eq!(told(zombie), [("after_end", message.to_owned())]);
    }

    #[test]
    fn one_end_that_comes_twice_and_a_call_that_goes_on_after_it_are_odd_in_every_contract() {
        let data = format!(r#""bot_id":"{BOT}""#);
        let life = |contract, events: &[(&str, Option<&str>, u16)]| {
            let recorded = (1..).zip(events).map(|(number, (event, id, status))| {
                heard_of(contract, *id, (number, number), event, &data, *status)
            });
            told(recorded.collect()).into_iter().map(|(_, message)| message).collect::<Vec<String>>()
        };
        let twice = |event: &str| vec![format!("it ended twice: #1 {event} and #2 {event}")];
        let none: Vec<String> = Vec::new();
        for event in ["bot.completed", "bot.failed"] {
            let ends = [(event, Some("msg_1"), 200), (event, Some("msg_2"), 200)];
            assert_eq!(life(Contract::V2, &ends), twice(event));
        }
        assert_eq!(
            life(Contract::V1, &[("complete", None, 200), ("complete", None, 200)]),
            twice("complete")
        );
        // What nobody acknowledged is sent again.
        let again = life(Contract::V1, &[("complete", None, 500), ("complete", None, 200)]);
        assert_eq!(again, ["#1 complete was not acknowledged by the handler"]);
        let ends = [("bot.status_change", Some("msg_1"), 200), ("bot.completed", Some("msg_2"), 200)];
        assert_eq!(life(Contract::V2, &ends), none);
        for (contract, end, event, name) in [
            (Contract::V1, "complete", "bot.status_change", "bot.status_change"),
            (Contract::Preview, "meeting.completed", "meeting.started", "meeting.started"),
        ] {
            let message = format!("#2 {name} came after the end, #1 {end}");
            assert_eq!(life(contract, &[(end, None, 200), (event, None, 200)]), [message]);
        }
        let transcribed = [("meeting.completed", None, 200), ("transcription.available", None, 200)];
        assert_eq!(life(Contract::Preview, &transcribed), none);
    }
}
