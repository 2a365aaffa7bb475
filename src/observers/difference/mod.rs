//! What is different between two requests, or between two outcomes of handing one over.

mod body;
mod lines;
mod shape;

use std::time::Duration;

use bytes::Bytes;

pub use self::body::BodyDifference;
pub use self::lines::{Detail, header_lines, outcome_lines, request_lines};
pub use self::shape::object;
use crate::contract;
use crate::model::{Attempt, Headers, Outcome, Request};

/// Something that two sides have: the first and the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sides<T> {
    /// In the first.
    pub from: T,
    /// In the second.
    pub to: T,
}

/// What is different between two requests.
#[derive(Clone, Debug)]
pub struct RequestDifference {
    /// The methods.
    pub method: Sides<String>,
    /// The paths with their queries.
    pub path: Sides<String>,
    /// The headers that differ.
    pub headers: Vec<HeaderDifference>,
    /// The bodies.
    pub body: BodyDifference,
}

/// What is different between what a handler answered and what it answered another time.
#[derive(Clone, Debug)]
pub struct OutcomeDifference {
    /// What came of it; `None` where nothing was handed over.
    pub ended: Sides<Option<Ended>>,
    /// How long it took.
    pub latency: Sides<Option<Duration>>,
    /// The headers that differ.
    pub headers: Vec<HeaderDifference>,
    /// The bodies.
    pub body: BodyDifference,
}

/// What came of an attempt, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A status.
    Status(u16),
    /// A kind of failure.
    Error(&'static str),
}

/// A header whose values are not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderDifference {
    /// Its name, as it was first written.
    pub name: Bytes,
    /// Its values in order; none where it is missing.
    pub values: Sides<Vec<Bytes>>,
}

impl<T: PartialEq> Sides<T> {
    /// Whether both are the same.
    pub fn is_same(&self) -> bool {
        self.from == self.to
    }
}

impl RequestDifference {
    /// Compares two requests.
    pub fn between(from: &Request, to: &Request) -> Self {
        Self {
            method: Sides { from: from.method.clone(), to: to.method.clone() },
            path: Sides { from: from.path.clone(), to: to.path.clone() },
            headers: headers(&from.headers, &to.headers),
            body: BodyDifference::between(&from.body, &to.body),
        }
    }

    /// Whether nothing is different.
    pub fn is_none(&self) -> bool {
        self.method.is_same()
            && self.path.is_same()
            && self.headers.is_empty()
            && self.body == BodyDifference::Same
    }
}

impl OutcomeDifference {
    /// Compares what came of two attempts; `None` stands for a delivery that was not handed over.
    pub fn between(from: Option<&Attempt>, to: Option<&Attempt>) -> Self {
        let answer = |attempt: Option<&Attempt>| match attempt.map(|attempt| &attempt.outcome) {
            // Credentials are masked in the record, which the other side may come from.
            Some(Outcome::Answered(answer)) => {
                (contract::mask(&answer.headers).into_owned(), answer.body.clone())
            }
            Some(Outcome::Failed(_)) | None => (Headers::new(), Bytes::new()),
        };
        let ((headers_from, body_from), (headers_to, body_to)) = (answer(from), answer(to));
        Self {
            ended: Sides { from: from.map(Ended::of), to: to.map(Ended::of) },
            latency: Sides {
                from: from.map(|attempt| attempt.duration),
                to: to.map(|attempt| attempt.duration),
            },
            headers: headers(&headers_from, &headers_to),
            body: BodyDifference::between(&body_from, &body_to),
        }
    }

    /// Whether nothing is different but the time it took.
    pub fn is_none(&self) -> bool {
        self.ended.is_same() && self.headers.is_empty() && self.body == BodyDifference::Same
    }
}

impl Ended {
    fn of(attempt: &Attempt) -> Self {
        match &attempt.outcome {
            Outcome::Answered(answer) => Self::Status(answer.status),
            Outcome::Failed(failure) => Self::Error(failure.kind.as_str()),
        }
    }
}

/// The headers whose values differ, in the order of the first side. Names compare without regard to case; where a
/// header stands among the others is no difference.
fn headers(from: &Headers, to: &Headers) -> Vec<HeaderDifference> {
    let mut differences: Vec<HeaderDifference> = Vec::new();
    for (name, _) in from.iter().chain(to.iter()) {
        let is_it = |known: &HeaderDifference| known.name.eq_ignore_ascii_case(name);
        if differences.iter().any(is_it) {
            continue;
        }
        let values = |headers: &Headers| -> Vec<Bytes> {
            let of_name = headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
            of_name.map(|(_, value)| value.clone()).collect()
        };
        let values = Sides { from: values(from), to: values(to) };
        differences.push(HeaderDifference { name: name.clone(), values });
    }
    differences.retain(|header| !header.values.is_same());
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_compare_by_name_and_values() {
        let side = |fields: &[(&'static str, &'static str)]| -> Headers { fields.iter().copied().collect() };
        let from = side(&[("A", "1"), ("Set", "x"), ("Set", "y"), ("Gone", "1"), ("B", "2")]);
        let to = side(&[("b", "2"), ("a", "1"), ("set", "y"), ("Set", "x"), ("New", "1")]);
        let names: Vec<Bytes> = headers(&from, &to).into_iter().map(|header| header.name).collect();
        assert_eq!(names, ["Set", "Gone", "New"]);
        assert!(headers(&from, &from).is_empty());
    }
}
