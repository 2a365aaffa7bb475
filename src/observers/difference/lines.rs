//! Differences for people: `-` for what only the first has, `+` for what only the second has, `~` for what changed.

use std::time::Duration;

use super::{BodyDifference, Ended, HeaderDifference, OutcomeDifference, RequestDifference, Sides};
use crate::json::{Change, Json};
use crate::model::Printable;
use crate::observers::advice::size;
use crate::observers::paint::Paint;
use crate::observers::terminal::latency;

/// How many characters of a value are shown at a glance.
const GLANCE: usize = 120;

/// How much of values is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The beginning of each.
    Glance,
    /// All of them.
    Whole,
}

/// The differences of two requests.
pub fn request_lines(difference: &RequestDifference, detail: Detail, paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    for (label, sides) in [("method", &difference.method), ("path", &difference.path)] {
        if !sides.is_same() {
            let shown = |text: &str| cut(text, detail);
            lines.push(fact(label, &arrow(&shown(&sides.from), &shown(&sides.to)), paint));
        }
    }
    lines.extend(header_lines(&difference.headers, detail, paint));
    lines.extend(body_lines(&difference.body, detail, paint));
    lines
}

/// The differences of two outcomes, less those of headers: status and latency in any case, then the body.
pub fn outcome_lines(difference: &OutcomeDifference, detail: Detail, paint: Paint) -> Vec<String> {
    let ended = |ended: Option<Ended>| match ended {
        Some(Ended::Status(status)) => status.to_string(),
        Some(Ended::Error(error)) => error.to_owned(),
        None => "not forwarded".to_owned(),
    };
    let took = |took: Option<Duration>| took.map_or_else(|| "-".to_owned(), latency);
    let Sides { from, to } = difference.ended;
    let status =
        if from == to { format!("{}, as before", ended(to)) } else { arrow(&ended(from), &ended(to)) };
    let Sides { from, to } = difference.latency;
    let mut lines =
        vec![fact("status", &status, paint), fact("latency", &arrow(&took(from), &took(to)), paint)];
    let answered = |ended| matches!(ended, Some(Ended::Status(_)));
    if answered(difference.ended.from) || answered(difference.ended.to) {
        lines.extend(body_lines(&difference.body, detail, paint));
    }
    lines
}

/// The differences of headers.
pub fn header_lines(headers: &[HeaderDifference], detail: Detail, paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    if !headers.is_empty() {
        lines.push(paint.faint("headers"));
    }
    for header in headers {
        let name = Printable(&header.name).to_string();
        match (&header.values.from[..], &header.values.to[..]) {
            ([from], [to]) => {
                let (from, to) = (bytes(from, detail), bytes(to, detail));
                lines.push(paint.odd(format!("  ~ {name}: {}", arrow(&from, &to))));
            }
            (from, to) => {
                let gone = from.iter().filter(|value| !to.contains(value));
                let come = to.iter().filter(|value| !from.contains(value));
                let before = lines.len();
                lines.extend(gone.map(|value| paint.bad(format!("  - {name}: {}", bytes(value, detail)))));
                lines.extend(come.map(|value| paint.good(format!("  + {name}: {}", bytes(value, detail)))));
                if lines.len() == before {
                    lines.push(paint.odd(format!("  ~ {name}: the same values in another order or number")));
                }
            }
        }
    }
    lines
}

fn body_lines(body: &BodyDifference, detail: Detail, paint: Paint) -> Vec<String> {
    let mut lines = vec![paint.faint("body")];
    match body {
        BodyDifference::Same => return vec![fact("body", "the same", paint)],
        BodyDifference::Binary { from, to } => {
            let sizes = arrow(&size(*from), &size(*to));
            return vec![fact("body", &format!("binary, {sizes}"), paint)];
        }
        BodyDifference::Json(changes) if changes.is_empty() => {
            return vec![fact("body", "the same JSON, written differently", paint)];
        }
        BodyDifference::Json(changes) => {
            lines.extend(changes.iter().map(|change| change_line(change, detail, paint)));
        }
        BodyDifference::Text(unified) => lines.extend(unified.lines().map(|line| text_line(line, paint))),
    }
    lines
}

fn change_line(change: &Change, detail: Detail, paint: Paint) -> String {
    let value = |value: &Json| cut(&value.to_canonical(), detail);
    match change {
        Change::Added { path, value: added } => {
            paint.good(format!("  + {}: {}", Printable::text(&path.to_string()), value(added)))
        }
        Change::Removed { path, value: removed } => {
            paint.bad(format!("  - {}: {}", Printable::text(&path.to_string()), value(removed)))
        }
        Change::Changed { path, from, to } => {
            let values = arrow(&value(from), &value(to));
            paint.odd(format!("  ~ {}: {values}", Printable::text(&path.to_string())))
        }
    }
}

fn text_line(line: &str, paint: Paint) -> String {
    let shown = format!("  {}", Printable::text(line));
    match line.as_bytes().first() {
        Some(b'+') => paint.good(&shown),
        Some(b'-') => paint.bad(&shown),
        Some(b'@') => paint.faint(&shown),
        _ => shown,
    }
}

fn fact(label: &str, value: &str, paint: Paint) -> String {
    format!("{}  {value}", paint.faint(format!("{label:<7}")))
}

fn arrow(from: &str, to: &str) -> String {
    format!("{from} → {to}")
}

fn bytes(value: &[u8], detail: Detail) -> String {
    match detail {
        Detail::Glance => Printable(value).cut(GLANCE),
        Detail::Whole => Printable(value).to_string(),
    }
}

fn cut(text: &str, detail: Detail) -> String {
    bytes(text.as_bytes(), detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_shown_and_cannot_move_the_cursor() {
        let body = BodyDifference::between(
            "{\"a\":1,\"b\u{202e}\":\"\u{9b}31m\",\"c\":[]}".as_bytes(),
            format!("{{\"a\":2,\"c\":[],\"d\":\"{}\"}}", "x".repeat(500)).as_bytes(),
        );
        let lines = body_lines(&body, Detail::Glance, Paint::PLAIN);
        assert_eq!(lines[..3], ["body", "  ~ a: 1 → 2", "  - [\"b\\u202e\"]: \"\\u{9b}31m\""]);
        assert!(lines[3].starts_with("  + d: \"xxx") && lines[3].ends_with("x…"), "{}", lines[3]);
        assert!(lines[3].len() < 140);
        assert!(body_lines(&body, Detail::Whole, Paint::PLAIN)[3].len() > 500);
        let text = BodyDifference::between(b"a\nb\x1b[2J\n", b"a\nc\r\n");
        assert_eq!(
            body_lines(&text, Detail::Glance, Paint::PLAIN),
            ["body", "  @@ -1,2 +1,2 @@", "   a", "  -b\\u{1b}[2J", "  +c"]
        );
    }
}
