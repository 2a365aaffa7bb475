//! What is different between two bodies: by structure where both are JSON, by lines where both are text.

use std::time::Duration;

use similar::TextDiff;

use crate::json::{Change, Json, diff};

/// How long the shortest text difference is looked for; after that, a longer one does.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many unchanged lines are shown around changed ones.
const CONTEXT: usize = 3;

/// What is different between two bodies.
#[derive(Clone, Debug, PartialEq)]
pub enum BodyDifference {
    /// Nothing: they are the same, to the byte.
    Same,
    /// Both are JSON; without changes, the same values are written differently.
    Json(Vec<Change>),
    /// Both are text, and not both are JSON: a unified diff without its two first lines.
    Text(String),
    /// One is neither; their sizes.
    Binary {
        /// Bytes of the first.
        from: u64,
        /// Bytes of the second.
        to: u64,
    },
}

impl BodyDifference {
    /// Compares two bodies.
    pub fn between(from: &[u8], to: &[u8]) -> Self {
        if from == to {
            return Self::Same;
        }
        if let (Ok(from), Ok(to)) = (Json::parse(from), Json::parse(to)) {
            return Self::Json(diff(&from, &to));
        }
        match (text(from), text(to)) {
            (Some(from), Some(to)) => Self::Text(unified(from, to)),
            _ => Self::Binary { from: from.len() as u64, to: to.len() as u64 },
        }
    }
}

fn text(body: &[u8]) -> Option<&str> {
    std::str::from_utf8(body).ok().filter(|text| !text.contains('\0'))
}

fn unified(from: &str, to: &str) -> String {
    TextDiff::configure()
        .timeout(PATIENCE)
        .diff_lines(from, to)
        .unified_diff()
        .context_radius(CONTEXT)
        .missing_newline_hint(false)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_compared_as_what_they_both_are() {
        let between = |from: &str, to: &str| BodyDifference::between(from.as_bytes(), to.as_bytes());
        assert_eq!(between("{}", "{}"), BodyDifference::Same);
        assert_eq!(between("{}", "{ }"), BodyDifference::Json(Vec::new()));
        assert!(matches!(between("[1]", "[2]"), BodyDifference::Json(changes) if changes.len() == 1));
        let text = BodyDifference::Text("@@ -1,2 +1,2 @@\n one\n-two\n+2\n".to_owned());
        assert_eq!(between("one\ntwo", "one\n2"), text);
        assert_eq!(between("a\0", "bc"), BodyDifference::Binary { from: 2, to: 2 });
        assert!(matches!(between("", "[1]"), BodyDifference::Text(_)));
    }
}
