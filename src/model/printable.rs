//! Text from the wire on its way to a terminal: it can neither move the cursor nor pose as something else.

use std::borrow::Cow;
use std::fmt;

/// Shows bytes of unknown origin on one line.
///
/// Control characters (C0, DEL, C1), line ends, bidirectional controls and invisible format characters are
/// written as `\u{…}`, bytes that are not UTF-8 as `\x..`. Everything else is shown as it is.
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(pub &'a [u8]);

impl<'a> Printable<'a> {
    /// Shows a text of unknown origin.
    pub fn text(text: &'a str) -> Self {
        Self(text.as_bytes())
    }

    /// At most `limit` characters of it, with `…` where it was cut.
    pub fn cut(self, limit: usize) -> String {
        // Four bytes a character is the most that UTF-8 takes: no need to look at a megabyte to show a line.
        let bytes = &self.0[..self.0.len().min(limit.saturating_mul(4).saturating_add(4))];
        let whole = Printable(bytes).to_string();
        if bytes.len() == self.0.len() && whole.chars().count() <= limit {
            return whole;
        }
        whole.chars().take(limit.saturating_sub(1)).chain(['…']).collect()
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nearly everything is this: no need to look at it character by character.
        if self.0.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            return std::str::from_utf8(self.0).map_or(Err(fmt::Error), |text| f.write_str(text));
        }
        for chunk in self.0.utf8_chunks() {
            let mut rest = chunk.valid();
            while let Some(at) = rest.find(|character| !is_plain(character)) {
                let (plain, other) = rest.split_at(at);
                f.write_str(plain)?;
                let mut characters = other.chars();
                if let Some(character) = characters.next() {
                    write!(f, "\\u{{{:x}}}", u32::from(character))?;
                }
                rest = characters.as_str();
            }
            f.write_str(rest)?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Several lines of text of unknown origin, such as a pretty-printed body: line feeds and tabs are kept.
pub fn printable_lines(text: &str) -> String {
    text.split('\n')
        .map(|line| {
            line.split('\t').map(|part| Printable::text(part).to_string()).collect::<Vec<_>>().join("\t")
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// JSON of unknown content: what a terminal would obey is written as escapes, which say the same. Such characters
/// stand within texts only.
pub fn printable_json(json: &str) -> Cow<'_, str> {
    // Line ends stand between texts: it may go over several lines.
    let is_plain = |character| character == '\n' || is_plain(character);
    if json.chars().all(is_plain) {
        return Cow::Borrowed(json);
    }
    let mut printable = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if is_plain(character) {
            printable.push(character);
        } else {
            let units = character
                .encode_utf16(&mut [0; 2])
                .iter()
                .map(|unit| format!("\\u{unit:04x}"))
                .collect::<String>();
            printable.push_str(&units);
        }
    }
    Cow::Owned(printable)
}

fn is_plain(character: char) -> bool {
    !character.is_control()
        && !matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn json_says_the_same_and_is_plain(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            let printable = printable_json(&json);
            prop_assert_eq!(serde_json::from_str::<String>(&printable).unwrap(), text);
            prop_assert!(printable.chars().all(is_plain));
        }
    }

    #[test]
    fn escape_sequences_are_shown_and_text_is_kept() {
        for (bytes, shown) in [
            (&b"plain"[..], "plain"),
            ("réunion 会议 🎙".as_bytes(), "réunion 会议 🎙"),
            (b"\x1b[2J\x07", "\\u{1b}[2J\\u{7}"),
            ("a\u{9b}31m\u{202e}b".as_bytes(), "a\\u{9b}31m\\u{202e}b"),
            (b"\xff\r\n", "\\xff\\u{d}\\u{a}"),
        ] {
            assert_eq!(Printable(bytes).to_string(), shown);
        }
        assert_eq!(Printable::text("abcdef").cut(4), "abc…");
        assert_eq!(Printable::text("abcd").cut(4), "abcd");
        assert_eq!(printable_lines("a\tb\n\x1bc"), "a\tb\n\\u{1b}c");
    }

    proptest! {
        #[test]
        fn no_control_character_gets_through(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(!Printable(&bytes).to_string().chars().any(char::is_control));
            prop_assert!(!Printable(&bytes).cut(20).chars().any(char::is_control));
        }
    }
}
