//! Useful sentences about a delivery that the handler did not acknowledge, or that does not verify.

use std::time::Duration;

use super::request_text::argument;
use crate::contract::retry::ladder;
use crate::model::{
    Answer, Attempt, Contract, Delivery, FailureKind, Headers, Outcome, Printable, SHOWN_ANSWER_BYTES,
    Target, Verdict, span,
};

/// How many characters of an answer are shown on a line.
const PREVIEW: usize = 120;

/// How long URLs of recordings work: in v2 as documented, and in the others.
const V2_URLS: Duration = Duration::from_hours(4);
const OTHER_URLS: Duration = Duration::from_hours(24);

/// What there is to say: why the handler did not acknowledge it, and why its signature is not valid. It was sent straight
/// to the handler `at` that place, without a `listen`, or to a `listen`.
pub fn hints(delivery: &Delivery, at: Option<&Target>) -> Vec<String> {
    advice(delivery, at).into_iter().chain(note(delivery)).chain(lateness(delivery)).collect()
}

/// How long a delivery had to wait at a relay, and what that does to the URLs in it.
fn lateness(delivery: &Delivery) -> Option<String> {
    let waited = delivery.received_at.duration_since(delivery.late_since?).unsigned_abs();
    let good_for = match delivery.kind.contract {
        Some(Contract::V2) => V2_URLS,
        _ => OTHER_URLS,
    };
    let urls = if waited < good_for {
        String::new()
    } else {
        format!(
            ": URLs of recordings in it, which work for {} hours, have expired",
            good_for.as_secs() / 3600
        )
    };
    Some(format!("it is late, it waited {} at the relay{urls}", span(waited)))
}

/// Why the signature of a delivery is not valid, where that was found out.
pub fn note(delivery: &Delivery) -> Option<String> {
    delivery.signature_note.as_deref().map(|note| Printable::text(note).to_string())
}

/// What to do about the newest attempt of a delivery; `None` when it was acknowledged, and when what there is to say is
/// why its signature is not valid. It was sent straight to the handler `at` that place, or to a `listen`.
pub fn advice(delivery: &Delivery, at: Option<&Target>) -> Option<String> {
    if delivery.held {
        return Some("it waits: a `listen --hold` sends it when its handler is back".to_owned());
    }
    let attempt = delivery.last_attempt()?;
    match &attempt.outcome {
        outcome if outcome.is_acknowledged() => None,
        Outcome::Failed(failure) => Some(match failure.kind {
            FailureKind::Refused => {
                let to =
                    at.map(|target| format!(" --to {}", argument(&target.to_string()))).unwrap_or_default();
                format!("{}: start the handler, then `mbaas-dev replay --failed{to}`", failure.detail)
            }
            FailureKind::Timeout => {
                format!(
                    "{}: answer first and work later, or give `--timeout 0` for breakpoints",
                    failure.detail
                )
            }
            FailureKind::Dns
            | FailureKind::Tls
            | FailureKind::Reset
            | FailureKind::TooLarge
            | FailureKind::Protocol => Printable::text(&failure.detail).to_string(),
        }),
        Outcome::Answered(Answer { status: 401 | 403, .. }) if delivery.signature_note.is_some() => None,
        Outcome::Answered(answer) => Some(about_status(delivery, attempt, answer)),
    }
}

fn about_status(delivery: &Delivery, attempt: &Attempt, answer: &Answer) -> String {
    match answer.status {
        401 | 403 => about_signature(delivery),
        404 => format!(
            "the handler has no route there ({} {}): put its path into the target, as in localhost:3000/webhooks/meetingbaas",
            Printable::text(&delivery.method),
            Printable::text(&attempt.target),
        ),
        405 => format!("the route exists, but not for {}", Printable::text(&delivery.method)),
        413 => format!(
            "{} are more than the handler takes: Express stops at 100 KB unless told `express.json({{ limit: '5mb' }})`",
            size(delivery.body_bytes),
        ),
        415 => "the handler refuses the Content-Type; Meeting BaaS sends application/json".to_owned(),
        400 | 422 => {
            "the handler refuses the body: does it read a field that this event does not have?".to_owned()
        }
        300..=399 => {
            let to = answer.headers.get("location").map(|to| format!(" to {}", Printable(to).cut(PREVIEW)));
            let is_failure = match (delivery.kind.contract, delivery.kind.wire_event.as_deref()) {
                (Some(contract), event) if ladder(contract, event).takes_redirects() => {
                    "is not tried again by the sender of this event"
                }
                _ => "is a failure to Meeting BaaS",
            };
            let to = to.unwrap_or_default();
            format!("a redirect{to} {is_failure}, which follows none: give the final URL")
        }
        500.. => "the handler failed: its own log says why".to_owned(),
        _ => "only a 2xx status acknowledges".to_owned(),
    }
}

fn about_signature(delivery: &Delivery) -> String {
    match delivery.signature {
        Verdict::Invalid => {
            return format!(
                "the signature does not fit the secret in use: `mbaas-dev verify '#{}' --explain` looks for the reason",
                delivery.number
            );
        }
        Verdict::Valid => {
            "the signature fits the secret in use, so the handler has another secret (`mbaas-dev secret show`) or does not verify the raw body"
        }
        Verdict::Missing => "the delivery carries no signature",
        Verdict::Unchecked => "the handler refuses the delivery's credentials",
    }
    .to_owned()
}

/// The handler's answer on one line; `None` when it has no body.
pub fn preview(answer: &Answer) -> Option<String> {
    if answer.body.is_empty() {
        return None;
    }
    let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(SHOWN_ANSWER_BYTES)]);
    let over = if answer.cut { "over " } else { "" };
    if is_html(&answer.headers, &text) {
        return Some(match html_title(&text) {
            Some(title) => format!("HTML: {}", Printable::text(title.trim()).cut(PREVIEW)),
            None => format!("HTML, {over}{}", size(answer.body.len() as u64)),
        });
    }
    if answer.body.contains(&0) {
        return Some(format!("binary, {over}{}", size(answer.body.len() as u64)));
    }
    let line: Vec<&str> = text.split_whitespace().take(PREVIEW).collect();
    Some(Printable::text(&line.join(" ")).cut(PREVIEW))
}

fn is_html(headers: &Headers, text: &str) -> bool {
    headers.get_str("content-type").is_some_and(|kind| kind.starts_with("text/html"))
        || text.trim_start().get(..14).is_some_and(|start| start.eq_ignore_ascii_case("<!doctype html"))
}

/// What a page of errors says: its title, or its preformatted text, where Express puts the error.
fn html_title(html: &str) -> Option<String> {
    let between = |open: &str, close: &str| {
        let lower = html.to_ascii_lowercase();
        let start = lower.find(open)? + open.len();
        let end = start + lower[start..].find(close)?;
        html.get(start..end).map(str::to_owned)
    };
    let title = between("<title>", "</title>").filter(|title| title.trim() != "Error");
    let text = title.or_else(|| between("<pre>", "</pre>"))?;
    let first = text.split("<br>").next().unwrap_or_default();
    Some(
        first
            .replace("&quot;", "\"")
            .replace("&#39;", "'")
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&"),
    )
}

/// A number of bytes for people.
pub fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown to one decimal")]
    let scaled = |unit: u64| bytes as f64 / unit as f64;
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KB", scaled(1024)),
        _ => format!("{:.1} MB", scaled(1_048_576)),
    }
}
