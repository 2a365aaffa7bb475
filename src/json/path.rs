//! Where a value is: `data.transcript[0].words[-1].word`, `data["odd.key"]`.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use super::parse::{DEEPEST, Parser};
use super::path_error::PathError;
use super::{Text, show};

/// Where a value is in another: `data.transcript[0].words[-1].word`, `data["odd.key"]`; the whole is `.`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(Vec<Segment>);

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// To the value of this key.
    Key(Text),
    /// To the item of this number, counted from 0.
    Index(usize),
    /// To the item of this number, counted backwards from the last one, which is 1.
    FromEnd(usize),
}

impl Path {
    /// The path of the whole.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// The path of the value that this key has there.
    #[must_use]
    pub fn child_key(&self, key: impl Into<Text>) -> Self {
        self.child(Segment::Key(key.into()))
    }

    /// The path of the item that has this number there.
    #[must_use]
    pub fn child_index(&self, index: usize) -> Self {
        self.child(Segment::Index(index))
    }

    fn child(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }

    /// The steps, from the whole inwards.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// The path of the value that the first steps lead to.
    pub(super) fn first(&self, steps: usize) -> Self {
        Self(self.0[..steps].to_vec())
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(".");
        }
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if is_bare(key.escaped()) && position == 0 => {
                    f.write_str(key.escaped())?;
                }
                Segment::Key(key) if is_bare(key.escaped()) => write!(f, ".{}", key.escaped())?,
                Segment::Key(key) => {
                    write!(f, "[\"{}\"]", show::escape_unprintable(key.escaped()))?;
                }
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::FromEnd(distance) => write!(f, "[-{distance}]")?,
            }
        }
        Ok(())
    }
}

fn is_bare(key: &str) -> bool {
    !key.is_empty() && key.chars().all(is_bare_character)
}

fn is_bare_character(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-' | '$')
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(source: &str) -> Result<Self, PathError> {
        if source == "." {
            return Ok(Self::root());
        }
        let mut parser = Parser::new(source);
        let mut segments = vec![first_segment(&mut parser)?];
        while let Some(next) = parser.peek() {
            if segments.len() == DEEPEST {
                return Err(expected(&parser, &format!("at most {DEEPEST} steps")));
            }
            segments.push(next_segment(&mut parser, next)?);
        }
        Ok(Self(segments))
    }
}

fn first_segment(parser: &mut Parser<'_>) -> Result<Segment, PathError> {
    match parser.peek() {
        Some(b'[') => bracket(parser),
        Some(b'.') => Err(expected(parser, "a key, without a `.` before it")),
        _ => bare_key(parser, "a key"),
    }
}

fn next_segment(parser: &mut Parser<'_>, next: u8) -> Result<Segment, PathError> {
    match next {
        b'[' => bracket(parser),
        b'.' => {
            parser.at += 1;
            bare_key(parser, "a key after `.`")
        }
        _ => Err(expected(parser, r#"`.` or `[` (odd keys are written `["like this"]`)"#)),
    }
}

fn bare_key(parser: &mut Parser<'_>, what: &str) -> Result<Segment, PathError> {
    let rest = parser.rest();
    let end = rest.find(|character| !is_bare_character(character));
    let key = &rest[..end.unwrap_or(rest.len())];
    if key.is_empty() {
        return Err(expected(parser, what));
    }
    parser.at += key.len();
    Ok(Segment::Key(Text::new(key)))
}

/// Reads `[0]`, `[-1]` or `["key"]`.
fn bracket(parser: &mut Parser<'_>) -> Result<Segment, PathError> {
    parser.at += 1;
    let segment = match parser.peek() {
        Some(b'"') => Segment::Key(parser.string()?),
        _ => index(parser)?,
    };
    if !parser.eat(b']') {
        return Err(expected(parser, "`]`"));
    }
    Ok(segment)
}

fn index(parser: &mut Parser<'_>) -> Result<Segment, PathError> {
    const EXPECTED: &str = "the number of an item or a key in double quotes after `[`";
    let rest = parser.rest();
    let (sign, digits) = rest.split_at(usize::from(rest.starts_with('-')));
    let end = digits.find(|character: char| !character.is_ascii_digit());
    let digits = &digits[..end.unwrap_or(digits.len())];
    // No digits and too many of them are the same mistake: this is not the number of an item.
    let Ok(number) = digits.parse() else {
        return Err(expected(parser, EXPECTED));
    };
    let segment = match (sign, number) {
        ("-", 0) => return Err(expected(parser, "`0` for the first item or `-1` for the last")),
        ("-", distance) => Segment::FromEnd(distance),
        (_, index) => Segment::Index(index),
    };
    parser.at += sign.len() + digits.len();
    Ok(segment)
}

fn expected(parser: &Parser<'_>, expected: &str) -> PathError {
    let found = show::first_token(parser.rest()).unwrap_or_else(|| "its end".to_owned());
    parser.error(parser.at, expected.to_owned(), found).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Path, Segment, Text};
    use crate::json::write::tests::any_text;

    fn message(source: &str) -> String {
        let error = source.parse::<Path>().expect_err("the sample is malformed");
        error.to_string()
    }

    #[test]
    fn every_form_is_read() {
        let path: Path = r#"data.transcript[0]["odd.key"][-2].$a-b_é"#.parse().expect("the sample is a path");
        assert_eq!(
            path.segments(),
            [
                Segment::Key(Text::new("data")),
                Segment::Key(Text::new("transcript")),
                Segment::Index(0),
                Segment::Key(Text::new("odd.key")),
                Segment::FromEnd(2),
                Segment::Key(Text::new("$a-b_é")),
            ]
        );
        assert_eq!(".".parse(), Ok(Path::root()));
    }

    #[test]
    fn paths_that_were_built_are_written_as_they_are_read() {
        let root = Path::root();
        assert_eq!(root.to_string(), ".");
        assert_eq!(root.child_index(3).child_key("a").to_string(), "[3].a");
        assert_eq!(
            root.child_key("odd key").child_key("").child_key("0").to_string(),
            r#"["odd key"][""].0"#
        );
        assert_eq!(root.child_key("a\u{1b}\"\u{202e}\u{9b}").to_string(), r#"["a\u001b\"\u202e\u009b"]"#);
    }

    #[test]
    fn messages_say_where_and_what() {
        for (source, expected) in [
            ("", "column 1 of the path: expected a key, found its end"),
            (".data", "column 1 of the path: expected a key, without a `.` before it, found `.data`"),
            ("é..x", "column 3 of the path: expected a key after `.`, found `.x`"),
            ("data.", "column 6 of the path: expected a key after `.`, found its end"),
            ("data.[0]", "column 6 of the path: expected a key after `.`, found `[`"),
            (
                "data[x]",
                "column 6 of the path: expected the number of an item or a key in double quotes after `[`, found `x`",
            ),
            (
                "a['b']",
                "column 3 of the path: expected the number of an item or a key in double quotes after `[`, found `'b'`",
            ),
            (
                "a[99999999999999999999]",
                "column 3 of the path: expected the number of an item or a key in double quotes after `[`, found `99999999999999999999`",
            ),
            (
                "a[-0]",
                "column 3 of the path: expected `0` for the first item or `-1` for the last, found `-0`",
            ),
            ("a[0", "column 4 of the path: expected `]`, found its end"),
            ("a[\"b\"x]", "column 6 of the path: expected `]`, found `x`"),
            (
                "a[\"b]",
                "column 3 of the path: expected a string with a closing `\"`, found `\"b]` without one",
            ),
            (
                "a b",
                "column 2 of the path: expected `.` or `[` (odd keys are written `[\"like this\"]`), found ` `",
            ),
            (
                "a\n.",
                "column 2 of the path: expected `.` or `[` (odd keys are written `[\"like this\"]`), found `\\n`",
            ),
        ] {
            assert_eq!(message(source), expected);
        }
        assert_eq!(
            message(&"[0]".repeat(513)),
            "column 1537 of the path: expected at most 512 steps, found `[`"
        );
    }

    /// Any path.
    fn any_path() -> impl Strategy<Value = Path> {
        let segment = prop_oneof![
            any_text().prop_map(Segment::Key),
            "[a-z_]{1,8}".prop_map(|key| Segment::Key(Text::new(&key))),
            any::<usize>().prop_map(Segment::Index),
            (1..usize::MAX).prop_map(Segment::FromEnd),
        ];
        prop::collection::vec(segment, 0..8).prop_map(Path)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(path in any_path()) {
            prop_assert_eq!(path.to_string().parse(), Ok(path));
        }

        #[test]
        fn any_text_is_read_or_refused(source in r#"([a-z.\[\]"\\0-9\-]|\PC){0,12}"#) {
            if let Ok(path) = source.parse::<Path>() {
                prop_assert_eq!(path.to_string().parse(), Ok(path));
            }
        }
    }
}
