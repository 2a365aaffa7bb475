//! A JSON string, kept as it stands between the quotes of its canonical literal.

use std::borrow::Cow;

/// A JSON string, kept as the inside of its canonical literal (escaped as `JSON.stringify` does).
///
/// So lone surrogates survive, which a Rust string cannot hold, and writing is copying. Every text has one
/// canonical literal only, hence equality and hash are those of the decoded text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Text(Cow<'static, str>);

impl Text {
    /// The text itself, not yet escaped.
    #[must_use]
    pub fn new(plain: &str) -> Self {
        let mut inside = String::with_capacity(plain.len());
        let mut rest = plain;
        while let Some(at) = rest.bytes().position(needs_escape) {
            inside.push_str(&rest[..at]);
            push_escape(&mut inside, rest.as_bytes()[at]);
            rest = &rest[at + 1..];
        }
        inside.push_str(rest);
        Self(inside.into())
    }

    /// A text of ours that needs no escape, such as a key: it is not copied.
    #[must_use]
    pub fn fixed(plain: &'static str) -> Self {
        debug_assert!(!plain.bytes().any(needs_escape), "{plain} needs an escape");
        Self(Cow::Borrowed(plain))
    }

    /// Takes what the reader of literals has already brought into canonical form.
    pub(super) fn from_canonical(inside: String) -> Self {
        Self(inside.into())
    }

    /// The inside of the literal: what stands between the quotes.
    #[must_use]
    pub fn escaped(&self) -> &str {
        &self.0
    }

    /// The decoded text; `None` when it holds a lone surrogate.
    #[must_use]
    pub fn to_plain(&self) -> Option<Cow<'_, str>> {
        if !self.0.contains('\\') {
            return Some(Cow::Borrowed(&self.0));
        }
        let mut plain = String::with_capacity(self.0.len());
        let mut rest: &str = &self.0;
        while let Some((run, escape)) = rest.split_once('\\') {
            plain.push_str(run);
            let (decoded, after) = decode_escape(escape)?;
            plain.push(decoded);
            rest = after;
        }
        plain.push_str(rest);
        Some(Cow::Owned(plain))
    }

    /// The number, when this is the canonical decimal form of an array index. Such keys come first in an object.
    pub(super) fn array_index(&self) -> Option<u32> {
        let digits = self.0.as_bytes();
        let canonical = digits.first()? != &b'0' || digits.len() == 1;
        if !canonical || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        // The greatest u32 is no index: the length of an array has to be greater than each of them.
        self.0.parse().ok().filter(|&index| index != u32::MAX)
    }
}

impl From<String> for Text {
    /// The text itself, which is not copied when nothing in it needs an escape.
    fn from(plain: String) -> Self {
        if plain.bytes().any(needs_escape) { Self::new(&plain) } else { Self(plain.into()) }
    }
}

impl From<&str> for Text {
    fn from(plain: &str) -> Self {
        Self::new(plain)
    }
}

/// Whether this byte cannot stand for itself between the quotes.
pub(super) fn needs_escape(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | ..=0x1f)
}

/// Writes the canonical escape of a byte that needs one.
pub(super) fn push_escape(inside: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let letter = match byte {
        0x08 => 'b',
        b'\t' => 't',
        b'\n' => 'n',
        0x0c => 'f',
        b'\r' => 'r',
        b'"' | b'\\' => char::from(byte),
        _ => {
            inside.push_str("\\u00");
            inside.push(char::from(HEX[usize::from(byte >> 4)]));
            inside.push(char::from(HEX[usize::from(byte & 0xf)]));
            return;
        }
    };
    inside.push('\\');
    inside.push(letter);
}

/// Decodes a canonical escape whose backslash has been taken off; gives what follows it too.
fn decode_escape(escape: &str) -> Option<(char, &str)> {
    let (letter, after) = escape.split_at_checked(1)?;
    let decoded = match letter {
        "b" => '\u{8}',
        "t" => '\t',
        "n" => '\n',
        "f" => '\u{c}',
        "r" => '\r',
        "u" => {
            let (digits, after) = after.split_at_checked(4)?;
            let code = u32::from_str_radix(digits, 16).ok()?;
            return Some((char::from_u32(code)?, after));
        }
        itself => itself.chars().next()?,
    };
    Some((decoded, after))
}

#[cfg(test)]
mod tests {
    use super::Text;
    use crate::json::Json;

    #[test]
    fn a_plain_text_is_escaped_as_javascript_does() {
        let text = Text::new("\u{8}\t\n\u{c}\r\u{0}\u{1f}\"\\/\u{7f}\u{2028}é😀");
        assert_eq!(text.escaped(), "\\b\\t\\n\\f\\r\\u0000\\u001f\\\"\\\\/\u{7f}\u{2028}é😀");
    }

    #[test]
    fn what_was_escaped_comes_back() {
        for plain in ["", "plain", "\u{8}\t\n\u{c}\r\u{0}\u{1f}\"\\/é", "\\u0041"] {
            assert_eq!(Text::new(plain).to_plain().as_deref(), Some(plain));
        }
    }

    #[test]
    fn a_lone_surrogate_has_no_plain_text() {
        let Ok(Json::String(text)) = Json::parse(br#""a\uDEADb""#) else {
            panic!("the sample is a string");
        };
        assert_eq!(text.escaped(), r"a\udeadb");
        assert_eq!(text.to_plain(), None);
    }

    #[test]
    fn only_canonical_decimals_below_the_greatest_u32_are_indices() {
        for (key, index) in [
            ("0", Some(0)),
            ("10", Some(10)),
            ("4294967294", Some(4_294_967_294)),
            ("4294967295", None),
            ("99999999999", None),
            ("01", None),
            ("00", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1e3", None),
            ("", None),
        ] {
            assert_eq!(Text::new(key).array_index(), index, "{key}");
        }
    }
}
