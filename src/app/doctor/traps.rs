//! What the record tells about the handler: mistakes that many make, from the answers that they lead to.
//!
//! A symptom counts as long as no later delivery of its event type was acknowledged: what was mended is no finding.

use std::collections::HashSet;
use std::time::Duration;

use super::Check;
use crate::model::{Delivery, EventType, FailureKind, Outcome, Printable, Verdict};
use crate::observers::advice::size;
use crate::observers::terminal::latency;

const NAME: &str = "handler's answers";

/// How many refusals of valid signatures make a rule.
const FEW: usize = 3;

/// An answer that takes longer is near the 30 s after which Meeting BaaS gives up.
const SLOW: Duration = Duration::from_secs(20);

/// What stands out in recent deliveries, newest first.
pub fn traps(deliveries: &[Delivery]) -> Vec<Check> {
    let open = unresolved(deliveries);
    let rules = [refuses_everything, too_large, redirects, no_route, too_slow];
    let mut checks: Vec<Check> = rules.iter().filter_map(|rule| rule(&open, deliveries)).collect();
    if checks.is_empty() {
        let handed = deliveries.iter().filter(|delivery| !delivery.attempts.is_empty()).count();
        checks.push(Check::good(NAME, format!("nothing stands out in the newest {handed}")));
    }
    checks
}

/// The deliveries that were not acknowledged, but for those whose event type was so later.
fn unresolved(deliveries: &[Delivery]) -> Vec<&Delivery> {
    let mut acknowledged: HashSet<Option<&EventType>> = HashSet::new();
    let mut open = Vec::new();
    for delivery in deliveries {
        let event_type = delivery.kind.event_type.as_ref();
        match delivery.last_attempt() {
            Some(attempt) if attempt.outcome.is_acknowledged() => {
                acknowledged.insert(event_type);
            }
            Some(_) if !acknowledged.contains(&event_type) => open.push(delivery),
            Some(_) | None => {}
        }
    }
    open
}

fn status(delivery: &Delivery) -> Option<u16> {
    match &delivery.last_attempt()?.outcome {
        Outcome::Answered(answer) => Some(answer.status),
        Outcome::Failed(_) => None,
    }
}

/// The newest open delivery with such a status.
fn newest_with<'a>(open: &[&'a Delivery], fits: impl Fn(u16) -> bool) -> Option<&'a Delivery> {
    open.iter().copied().find(|delivery| status(delivery).is_some_and(&fits))
}

fn refuses_everything(_open: &[&Delivery], all: &[Delivery]) -> Option<Check> {
    let valid: Vec<u16> =
        all.iter().filter(|delivery| delivery.signature == Verdict::Valid).filter_map(status).collect();
    // The newest ones, all of the same kind.
    let refused = valid.iter().take_while(|status| [401, 403].contains(status)).count();
    (refused >= FEW).then(|| {
        Check::finding(
            NAME,
            format!("it refuses every delivery, the newest {refused}, although their signatures are valid"),
            "give it the secret that `mbaas-dev secret show` prints, and let it verify the raw bytes of the body: a \
             body parser that comes first (express.json, for one) leaves something else",
        )
    })
}

fn too_large(open: &[&Delivery], _all: &[Delivery]) -> Option<Check> {
    let delivery = newest_with(open, |status| status == 413)?;
    Some(Check::finding(
        NAME,
        format!("#{}: 413, a body of {} is more than it takes", delivery.number, size(delivery.body_bytes)),
        "raise its limit: transcripts of long meetings are megabytes (`express.json({ limit: '5mb' })`, nginx \
         `client_max_body_size 5m`)",
    ))
}

fn redirects(open: &[&Delivery], _all: &[Delivery]) -> Option<Check> {
    let delivery = newest_with(open, |status| (300..400).contains(&status))?;
    Some(Check::finding(
        NAME,
        format!(
            "#{}: {}, a redirect, which Meeting BaaS does not follow",
            delivery.number,
            status(delivery)?
        ),
        "give the final URL: https instead of http, with or without the slash at the end",
    ))
}

fn no_route(open: &[&Delivery], _all: &[Delivery]) -> Option<Check> {
    let delivery = newest_with(open, |status| status == 404)?;
    let target = delivery.last_attempt().map(|attempt| Printable::text(&attempt.target).to_string())?;
    Some(Check::finding(
        NAME,
        format!("#{}: 404, it has no route at {target}", delivery.number),
        "put its path into the target: --forward localhost:3000/webhooks/meetingbaas",
    ))
}

fn too_slow(open: &[&Delivery], all: &[Delivery]) -> Option<Check> {
    let timed_out = |delivery: &&&Delivery| {
        let outcome = delivery.last_attempt().map(|attempt| &attempt.outcome);
        matches!(outcome, Some(Outcome::Failed(failure)) if failure.kind == FailureKind::Timeout)
    };
    let advice = "answer 200 first and work afterwards: a sender that waits too long tries again";
    if let Some(delivery) = open.iter().find(timed_out) {
        return Some(Check::finding(NAME, format!("#{}: no answer in time", delivery.number), advice));
    }
    let slow = all.iter().take(20).find_map(|delivery| {
        let attempt = delivery.last_attempt().filter(|attempt| attempt.duration >= SLOW)?;
        Some((delivery.number, attempt.duration))
    });
    slow.map(|(number, took)| {
        let said =
            format!("#{number}: it took {}, and Meeting BaaS waits for 30 s at the most", latency(took));
        Check::finding(NAME, said, advice)
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::{Answer, Attempt, Clock, DeliveryId, Failure, Headers, Kind, Origin};

    /// A delivery with that outcome: a status, or 0 for a time-out; newest first.
    fn delivery(number: i64, event: &str, status: u16, signature: Verdict) -> Delivery {
        let outcome = if status == 0 {
            Outcome::Failed(Failure { kind: FailureKind::Timeout, detail: String::new() })
        } else {
            Outcome::Answered(Answer {
                status,
                headers: Headers::new(),
                body: bytes::Bytes::new(),
                cut: false,
            })
        };
        let attempt = Attempt {
            number: 1,
            target: "http://localhost:3000/\u{1b}".to_owned(),
            started_at: Timestamp::UNIX_EPOCH,
            duration: Duration::from_millis(5),
            outcome,
        };
        Delivery {
            id: DeliveryId::new(&Clock::fixed(Timestamp::UNIX_EPOCH, number.unsigned_abs())),
            number,
            received_at: Timestamp::UNIX_EPOCH,
            origin: Origin::Ingress,
            replay_of: None,
            kind: Kind { event_type: event.parse().ok(), ..Kind::default() },
            signature,
            signature_note: None,
            not_forwarded: None,
            late_since: None,
            held: false,
            method: "POST".to_owned(),
            path: "/".to_owned(),
            body_bytes: 200_000,
            attempts: vec![attempt.into()],
        }
    }

    fn findings(outcomes: &[(&str, u16, Verdict)]) -> Vec<String> {
        let number = |index: usize| i64::try_from(outcomes.len() - index).unwrap();
        let deliveries: Vec<Delivery> = outcomes
            .iter()
            .enumerate()
            .map(|(index, (event, status, verdict))| delivery(number(index), event, *status, *verdict))
            .collect();
        traps(&deliveries)
            .into_iter()
            .filter(|check| check.advice.is_some())
            .map(|check| check.found)
            .collect()
    }

    #[test]
    fn a_handler_that_refuses_valid_signatures_is_found() {
        let refused = ("a", 401, Verdict::Valid);
        assert_eq!(findings(&[refused; 3]).len(), 1);
        assert_eq!(findings(&[refused; 2]).len(), 0);
        assert_eq!(findings(&[("a", 401, Verdict::Invalid); 5]).len(), 0, "that is how it should be");
        assert_eq!(findings(&[("a", 200, Verdict::Valid), refused, refused, refused]).len(), 0);
    }

    #[test]
    fn each_trap_is_told_until_its_event_is_acknowledged() {
        for (status, sign) in [
            (413, "195.3 KB"),
            (308, "308"),
            (404, "no route at http://localhost:3000/\\u{1b}"),
            (0, "in time"),
        ] {
            let found = findings(&[("b", 200, Verdict::Valid), ("a", status, Verdict::Valid)]);
            assert_eq!(found.len(), 1, "{status}");
            assert!(found[0].starts_with("#1: ") && found[0].contains(sign), "{found:?}");
            let mended = [("a", 200, Verdict::Valid), ("a", status, Verdict::Valid)];
            assert_eq!(findings(&mended), Vec::<String>::new());
        }
        assert_eq!(findings(&[("a", 500, Verdict::Valid)]), Vec::<String>::new());
        assert_eq!(findings(&[]), Vec::<String>::new());
    }

    #[test]
    fn an_answer_that_comes_late_is_found_even_when_it_is_good() {
        let mut late = delivery(1, "a", 200, Verdict::Valid);
        std::sync::Arc::make_mut(&mut late.attempts[0]).duration = Duration::from_secs(25);
        assert!(traps(&[late])[0].found.contains("25.00 s"));
    }
}
