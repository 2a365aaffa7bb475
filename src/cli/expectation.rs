//! What a script expects of an answer: `status=2xx,latency<500ms,body.ok=true`.

use std::str::FromStr;
use std::time::Duration;

use crate::json::{Json, Path};
use crate::model::{Attempt, Outcome, duration};

/// Conditions, all of which must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation(Vec<Condition>);

#[derive(Clone, Debug, PartialEq)]
enum Condition {
    /// The status is one of these.
    Status { from: u16, to: u16 },
    /// It took less than this.
    Faster(Duration),
    /// It took more than this.
    Slower(Duration),
    /// What is at that path of the answer's body, as JSON.
    Body(Option<Path>, Json),
}

impl FromStr for Expectation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        split(text).map(condition).collect::<Result<Vec<_>, _>>().map(Self)
    }
}

impl Expectation {
    /// What does not hold of an attempt, each as a sentence.
    pub fn violations(&self, attempt: Option<&Attempt>) -> Vec<String> {
        match attempt {
            None => vec!["expected an answer, and nothing was forwarded".to_owned()],
            Some(attempt) => self.0.iter().filter_map(|condition| condition.violation(attempt)).collect(),
        }
    }
}

impl Condition {
    fn violation(&self, attempt: &Attempt) -> Option<String> {
        let took = format!("{:.1} ms", attempt.duration.as_secs_f64() * 1000.0);
        match (self, &attempt.outcome) {
            (Self::Faster(limit), _) if attempt.duration >= *limit => {
                Some(format!("expected latency<{limit:?}, and it took {took}"))
            }
            (Self::Slower(limit), _) if attempt.duration <= *limit => {
                Some(format!("expected latency>{limit:?}, and it took {took}"))
            }
            (Self::Faster(_) | Self::Slower(_), _) => None,
            (Self::Status { .. } | Self::Body(..), Outcome::Failed(failure)) => {
                Some(format!("expected an answer, and there was none: {}", failure.kind.as_str()))
            }
            (Self::Status { from, to }, Outcome::Answered(answer)) => {
                let holds = (*from..=*to).contains(&answer.status);
                let wanted = if from == to { from.to_string() } else { format!("{}xx", from / 100) };
                (!holds).then(|| format!("expected status={wanted}, and it is {}", answer.status))
            }
            (Self::Body(path, wanted), Outcome::Answered(answer)) => {
                let found = Json::parse(&answer.body).ok();
                let found = match path {
                    None => found,
                    Some(path) => found.and_then(|body| body.at(path).cloned()),
                };
                let place = path.as_ref().map(|path| format!(".{path}")).unwrap_or_default();
                let shown = found.as_ref().map_or_else(|| "nothing".to_owned(), Json::to_canonical);
                (found.as_ref() != Some(wanted))
                    .then(|| format!("expected body{place}={}, and it is {shown}", wanted.to_canonical()))
            }
        }
    }
}

/// Splits at the commas that stand before a condition: a text in a body may have commas itself.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let starts = ["status=", "latency<", "latency>", "body.", "body[", "body="];
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let comma = text
            .match_indices(',')
            .map(|(at, _)| at)
            .find(|at| starts.iter().any(|start| text[at + 1..].trim_start().starts_with(start)));
        rest = comma.map(|at| &text[at + 1..]);
        Some(text[..comma.unwrap_or(text.len())].trim())
    })
}

fn condition(text: &str) -> Result<Condition, String> {
    let unknown = || {
        format!(
            "`{}` is not a condition such as `status=2xx`, `latency<500ms` or `body.ok=true`",
            text.escape_debug()
        )
    };
    if let Some(status) = text.strip_prefix("status=") {
        return status_range(status).ok_or_else(unknown);
    }
    if let Some(limit) = text.strip_prefix("latency<") {
        return duration(limit).map(Condition::Faster);
    }
    if let Some(limit) = text.strip_prefix("latency>") {
        return duration(limit).map(Condition::Slower);
    }
    let body = text.strip_prefix("body").ok_or_else(unknown)?;
    if let Some(value) = body.strip_prefix('=') {
        return Ok(Condition::Body(None, json(value)?));
    }
    let place = body.strip_prefix('.').unwrap_or(body);
    for (at, _) in place.match_indices('=') {
        if let Ok(path) = place[..at].parse::<Path>() {
            return Ok(Condition::Body(Some(path), json(&place[at + 1..])?));
        }
    }
    Err(unknown())
}

/// A status or a class of them: `200`, `2xx`.
fn status_range(text: &str) -> Option<Condition> {
    if let Some(class) = text.strip_suffix("xx") {
        let class: u16 = class.parse().ok().filter(|class| (1..=5).contains(class))?;
        return Some(Condition::Status { from: class * 100, to: class * 100 + 99 });
    }
    let status = text.parse().ok().filter(|status| (100..=599).contains(status))?;
    Some(Condition::Status { from: status, to: status })
}

/// A JSON value, or a text without its quotes.
fn json(text: &str) -> Result<Json, String> {
    match Json::parse(text.as_bytes()) {
        Ok(value) => Ok(value),
        Err(_) if !text.starts_with(['"', '{', '[']) => Ok(Json::string(text)),
        Err(error) => Err(format!("`{}` is not JSON: {error}", text.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::{Answer, Failure, FailureKind, Headers};

    fn attempt(outcome: Outcome, millis: u64) -> Attempt {
        Attempt {
            number: 1,
            target: "http://localhost:3000/".to_owned(),
            started_at: jiff::Timestamp::UNIX_EPOCH,
            duration: Duration::from_millis(millis),
            outcome,
        }
    }

    fn answered(status: u16, body: &'static str) -> Attempt {
        let body = Bytes::from_static(body.as_bytes());
        attempt(Outcome::Answered(Answer { status, headers: Headers::new(), body, cut: false }), 20)
    }

    fn violations(expectation: &str, attempt: &Attempt) -> Vec<String> {
        expectation.parse::<Expectation>().unwrap().violations(Some(attempt))
    }

    #[test]
    fn all_conditions_must_hold() {
        let good = answered(201, r#"{"ok":true,"user":{"name":"Ana, B"},"n":2.0}"#);
        let expectation = r#"status=2xx,latency<500ms,body.ok=true,body.user.name="Ana, B",body.n=2"#;
        assert_eq!(violations(expectation, &good), [] as [&str; 0]);
        assert_eq!(violations("status=200", &good), ["expected status=200, and it is 201"]);
        assert_eq!(violations("latency<10ms", &good), ["expected latency<10ms, and it took 20.0 ms"]);
        assert_eq!(violations("body.ok=false", &good), ["expected body.ok=false, and it is true"]);
        assert_eq!(
            violations("body.user.name=Bo", &good),
            [r#"expected body.user.name="Bo", and it is "Ana, B""#]
        );
        assert_eq!(violations("body.none=1", &good), ["expected body.none=1, and it is nothing"]);
    }

    #[test]
    fn no_answer_meets_no_expectation_of_one() {
        let refused =
            attempt(Outcome::Failed(Failure { kind: FailureKind::Refused, detail: String::new() }), 1);
        assert_eq!(violations("status=5xx", &refused), ["expected an answer, and there was none: refused"]);
        assert_eq!("status=200".parse::<Expectation>().unwrap().violations(None).len(), 1);
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for text in
            ["", "ok", "status=2x", "status=700", "latency<soon", "body", "body.=1", "body.ok", "body={"]
        {
            assert!(text.parse::<Expectation>().is_err(), "{text:?} was accepted");
        }
    }
}
