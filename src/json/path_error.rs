//! What can be wrong with a path: how it is written, or what it is used on.

use super::path::{Path, Segment};
use super::{SyntaxError, Text, show};

/// A path that cannot be read, or that does not fit the value it was used on.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum PathError {
    /// The path itself is malformed.
    #[error("column {column} of the path: expected {expected}, found {found}")]
    Syntax {
        /// Counts characters from 1.
        column: usize,
        /// What could have stood there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A key was looked for in what is no object, or an item in what is no array.
    #[error("{} is {}, so it has no {}{}", place(at), with_article(kind), step(segment), other_step(kind))]
    WrongKind {
        /// The value that was looked into.
        at: Path,
        /// Its [`Json::kind`](super::Json::kind).
        kind: &'static str,
        /// What it cannot have.
        segment: Segment,
    },
    /// An array is too short to have this item, and it is not the one that would come next.
    #[error("{} has {}, so there is no {}; `[{length}]` appends one", place(at), count(*length), step(segment))]
    Beyond {
        /// The array.
        at: Path,
        /// The number of its items.
        length: usize,
        /// The item.
        segment: Segment,
    },
    /// An array is too short to have this item.
    #[error("{} has {}, so there is no {}", place(at), count(*length), step(segment))]
    NoItem {
        /// The array.
        at: Path,
        /// The number of its items.
        length: usize,
        /// The item.
        segment: Segment,
    },
    /// An object does not have this key.
    #[error("{} has no {}; {}", place(at), step(&Segment::Key(key.clone())), suggestion(nearest))]
    NoKey {
        /// The object.
        at: Path,
        /// The key.
        key: Text,
        /// The keys that are most like it, the best first; none when the object is empty.
        nearest: Vec<Text>,
    },
    /// The whole was to be removed.
    #[error("the whole (`.`) cannot be removed")]
    Whole,
}

impl From<SyntaxError> for PathError {
    fn from(error: SyntaxError) -> Self {
        Self::Syntax {
            // A path has one line: a line break in it is an error where it stands.
            column: error.position.column,
            expected: error.expected,
            found: error.found,
        }
    }
}

fn place(at: &Path) -> String {
    if at.segments().is_empty() {
        return "the whole (`.`)".to_owned();
    }
    format!("`{at}`")
}

fn with_article(kind: &str) -> String {
    match kind {
        "null" => kind.to_owned(),
        "array" | "object" => format!("an {kind}"),
        _ => format!("a {kind}"),
    }
}

fn step(segment: &Segment) -> String {
    match segment {
        Segment::Key(key) => format!("key {}", quoted_key(key)),
        Segment::Index(index) => format!("item `[{index}]`"),
        Segment::FromEnd(distance) => format!("item `[-{distance}]`"),
    }
}

/// How to step into what is no scalar, for those who took the other way.
fn other_step(kind: &str) -> &'static str {
    match kind {
        "array" => "; its items are `[0]` to `[-1]`",
        "object" => "; its keys are written `.key` or `[\"key\"]`",
        _ => "",
    }
}

fn count(length: usize) -> String {
    match length {
        0 => "no items".to_owned(),
        1 => "1 item".to_owned(),
        _ => format!("{length} items"),
    }
}

fn suggestion(nearest: &[Text]) -> String {
    if nearest.is_empty() {
        return "it is empty".to_owned();
    }
    let keys: Vec<_> = nearest.iter().map(quoted_key).collect();
    format!("the nearest it has: {}", keys.join(", "))
}

fn quoted_key(key: &Text) -> String {
    format!("`{}`", show::escape_unprintable(key.escaped()))
}
