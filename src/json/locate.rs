//! Finding where a value stands in the text that it was read from.

use super::error::Position;
use super::parse::{Parser, valid_prefix};
use super::path::{Path, Segment};

/// The position in the source of the value at `path`, for messages about that value.
///
/// `None` when the source does not parse that far or has no such path.
#[must_use]
pub fn locate(source: &[u8], path: &Path) -> Option<Position> {
    let text = valid_prefix(source);
    find(text, path).map(|offset| Position::of(text, offset))
}

/// The number at `path` as the source has it, with all its digits.
#[must_use]
pub fn written_number<'a>(source: &'a [u8], path: &Path) -> Option<&'a str> {
    let text = valid_prefix(source);
    let rest = &text[find(text, path)?..];
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c)).unwrap_or(rest.len());
    Some(&rest[..end]).filter(|number| number.starts_with(|c: char| c == '-' || c.is_ascii_digit()))
}

/// Where the value at `path` begins.
fn find(text: &str, path: &Path) -> Option<usize> {
    let mut parser = Parser::new(text);
    parser.skip_space();
    for segment in path.segments() {
        let offset = parser.seek(segment)?;
        parser = Parser::new(text);
        parser.at = offset;
    }
    (!parser.rest().is_empty()).then_some(parser.at)
}

impl Parser<'_> {
    /// The offset of the value that the segment leads to from the value that begins here.
    fn seek(&mut self, segment: &Segment) -> Option<usize> {
        match (self.peek()?, segment) {
            (b'{', Segment::Key(key)) => {
                let mut last = None;
                // A mistake further on in the source does not matter: what was found before it counts.
                drop(self.members(|parser, candidate| {
                    if candidate == *key {
                        last = Some(parser.at);
                    }
                    parser.value().map(drop)
                }));
                last
            }
            (b'[', Segment::Index(index)) => self.item_offsets().0.get(*index).copied(),
            (b'[', Segment::FromEnd(distance)) => {
                let (offsets, is_whole) = self.item_offsets();
                let index = offsets.len().checked_sub(*distance)?;
                is_whole.then(|| offsets[index])
            }
            _ => None,
        }
    }

    /// Where the items of the array begin, as far as it can be read, and whether that was to its end.
    fn item_offsets(&mut self) -> (Vec<usize>, bool) {
        let mut offsets = Vec::new();
        let outcome = self.items(|parser| {
            offsets.push(parser.at);
            parser.value().map(drop)
        });
        (offsets, outcome.is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::{Path, locate, written_number};

    fn found(source: impl AsRef<[u8]>, path: &str) -> Option<(usize, usize)> {
        let path: Path = path.parse().expect("the sample is a path");
        locate(source.as_ref(), &path).map(|position| (position.line, position.column))
    }

    #[test]
    fn a_value_is_found_where_it_begins() {
        let source = "\n {\"é\": 1,\n  \"w\": [ {\"t\":\"a\"}, {\"t\" : \"b\"}\n]}";
        assert_eq!(found(source, "."), Some((2, 2)));
        assert_eq!(found(source, "é"), Some((2, 8)));
        assert_eq!(found(source, "w[0].t"), Some((3, 15)));
        assert_eq!(found(source, "w[-1].t"), Some((3, 28)));
        assert_eq!(found(source, "w[-1]"), Some((3, 21)));
    }

    #[test]
    fn a_number_has_the_digits_that_were_written() {
        let source = br#"{"a": [12345678901234567890, -1.50E+3 , "7"], "b": 1}"#;
        let written = |path: &str| written_number(source, &path.parse().expect("the sample is a path"));
        assert_eq!(written("a[0]"), Some("12345678901234567890"));
        assert_eq!(written("a[1]"), Some("-1.50E+3"));
        assert_eq!((written("a[2]"), written("a"), written("b")), (None, None, Some("1")));
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let source = r#"{"a": [1], "b": "x"}"#;
        for path in ["c", "a[1]", "a[-2]", "a.b", "b[0]", "b.x", "[0]"] {
            assert_eq!(found(source, path), None, "{path}");
        }
        assert_eq!(found("  ", "."), None);
        assert_eq!(found(r#"{"a":"#, "a"), None);
    }

    #[test]
    fn the_last_of_equal_keys_is_the_one() {
        assert_eq!(found(r#"{"a": {"b": 1}, "a": {"b": 2}}"#, "a.b"), Some((1, 28)));
    }

    #[test]
    fn a_mistake_further_on_does_not_matter() {
        let source = b"{\"a\": {\"b\": [1, 2, oops], \"c\": \"\xff";
        assert_eq!(found(source, "a.b[1]"), Some((1, 17)));
        assert_eq!(found(source, "a.b[-1]"), None);
        assert_eq!(found(source, "a.c"), None);
    }
}
