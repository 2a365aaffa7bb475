//! What is odd about the life of a bot: what came again, in disorder, too late, not at all, or was not taken.

use std::collections::HashMap;

use jiff::SignedDuration;

use super::{End, Entry, STATUS_CHANGE};

/// From how long on a silence is named, unless the bot records meanwhile.
const GAP: SignedDuration = SignedDuration::from_mins(5);

/// Something that is not as one would expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Oddity {
    pub(super) kind: &'static str,
    /// The deliveries that it is about.
    pub(super) numbers: Vec<i64>,
    pub(super) message: String,
}

/// What is odd about a life; replays are our own doing and do not count.
pub(super) fn oddities(entries: &[Entry]) -> Vec<Oddity> {
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
    let mut odd = Vec::new();
    let mut records = false;
    for pair in lived.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        // Somebody who writes into the chat changes nothing about that.
        if let Some(code) = before.status() {
            records = recording.contains(&code);
        }
        let silence = after.at.duration_since(before.at);
        if silence >= GAP && !records && before.end.is_none() {
            odd.push(Oddity {
                kind: "gap",
                numbers: vec![before.number(), after.number()],
                message: format!(
                    "nothing was heard for {} between {} and {}",
                    spoken(silence),
                    before.name(),
                    after.name()
                ),
            });
        }
    }
    odd
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
    } else if let Some((one, other)) = same_end(&ends) {
        odd.push(Oddity {
            kind: "two_ends",
            numbers: vec![one.number(), other.number()],
            message: format!("it ended twice: {} and {}", one.name(), other.name()),
        });
    }
    let early = early_end(lived);
    let named = early.as_ref().and_then(|early| early.numbers.last().copied());
    odd.extend(early);
    let after = lived.iter().filter(|entry| entry.end.is_none() && Some(entry.number()) != named);
    odd.extend(after.filter_map(|entry| {
        let how = how_after(entry, first)?;
        Some(Oddity {
            kind: "after_end",
            numbers: vec![first.number(), entry.number()],
            message: format!("{} {how} after the end, {}", entry.name(), first.name()),
        })
    }));
    odd
}

/// Two events that tell the same end, and are not one message that was sent again. A status change and the event that
/// follows it tell it both.
fn same_end<'a>(ends: &[(&'a &'a Entry, End)]) -> Option<(&'a Entry, &'a Entry)> {
    let mut told: Vec<&Entry> = Vec::new();
    for (entry, _) in ends {
        let kind = |entry: &Entry| (entry.delivery.kind.contract, entry.delivery.kind.event_type.clone());
        match told.iter().find(|earlier| kind(earlier) == kind(entry)) {
            None => told.push(entry),
            Some(earlier) if !is_sent_again(earlier, entry) => return Some((earlier, entry)),
            Some(_) => {}
        }
    }
    None
}

/// Whether two events are one message. Where messages have no ids, only what was not acknowledged is sent again, as it was.
fn is_sent_again(one: &Entry, other: &Entry) -> bool {
    if one.message_id.is_some() || other.message_id.is_some() {
        return one.message_id == other.message_id;
    }
    let earlier = if one.number() < other.number() { one } else { other };
    one.body == other.body && !earlier.delivery.is_acknowledged()
}

/// How an event is after the end, if it is: it happened later, or, where one of the two does not say when it happened, it
/// speaks of a call that goes on and came later. Transcripts are made afterwards.
fn how_after(entry: &Entry, end: &Entry) -> Option<&'static str> {
    const OF_THE_CALL: [&str; 3] = [STATUS_CHANGE, "bot.chat_message", "meeting.started"];
    if let (Some(own), Some(end)) = (entry.happened_at, end.happened_at) {
        return (own > end).then_some("happened");
    }
    let is_of_the_call = entry.event().is_some_and(|event| OF_THE_CALL.contains(&event));
    (is_of_the_call && entry.number() > end.number() && entry.at >= end.at).then_some("came")
}

/// A bot that was completed before its recording had succeeded.
fn early_end(lived: &[&Entry]) -> Option<Oddity> {
    let recorded = lived.iter().find(|entry| entry.status() == Some("recording_succeeded"))?;
    let mut completed = lived.iter().filter(|entry| entry.end == Some(End::Completed));
    let completed = completed.find(|entry| entry.number() < recorded.number())?;
    let lag = completed.happened_at.zip(recorded.happened_at).map(|(end, own)| end.duration_since(own));
    let when = match lag {
        Some(lag) if lag.is_positive() => format!(", which had happened {} earlier", spoken(lag)),
        _ => String::new(),
    };
    Some(Oddity {
        kind: "completed_early",
        numbers: vec![completed.number(), recorded.number()],
        message: format!("{} came before {}{when}", completed.name(), recorded.name()),
    })
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
