//! A text that is looked for, in upper or lower case.

use rusqlite::types::ValueRef;

/// How many trigrams of a text are looked up at most: what has so many of them mostly has the text.
const MOST_TRIGRAMS: usize = 12;

/// A text to look for.
pub(super) struct Needle {
    lower: String,
}

impl Needle {
    pub(super) fn new(text: &str) -> Self {
        Self { lower: text.to_lowercase() }
    }

    /// Three characters each that stand in whatever contains the text, in lower or upper case; none when there are no
    /// such ones.
    pub(super) fn trigrams(&self) -> Vec<&str> {
        let is_ascii = self.lower.is_ascii();
        let is_certain = |trigram: &[u8]| {
            // Beyond ASCII there are letters whose lower case is one of these, or begins with it.
            let is_k_or_i = |byte: &u8| matches!(byte, b'k' | b'i');
            trigram.iter().all(|byte| byte.is_ascii() && *byte != 0 && (is_ascii || !is_k_or_i(byte)))
        };
        let all: Vec<&[u8]> =
            self.lower.as_bytes().windows(3).filter(|trigram| is_certain(trigram)).collect();
        let step = all.len().div_ceil(MOST_TRIGRAMS).max(1);
        all.into_iter().step_by(step).filter_map(|trigram| std::str::from_utf8(trigram).ok()).collect()
    }

    pub(super) fn is_in_value(&self, value: ValueRef<'_>) -> bool {
        match value {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => self.is_in(bytes),
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => false,
        }
    }

    /// Whether `bytes` contain the text. They need not be text themselves; upper and lower case are alike, beyond
    /// ASCII too when the text has letters beyond it.
    pub(super) fn is_in(&self, bytes: &[u8]) -> bool {
        if !self.lower.is_ascii() {
            return String::from_utf8_lossy(bytes).to_lowercase().contains(&self.lower);
        }
        let lower = self.lower.as_bytes();
        let Some(first) = lower.first() else { return true };
        // Looking for one byte is much faster than comparing at every place.
        bytes
            .windows(lower.len())
            .any(|window| window[0].to_ascii_lowercase() == *first && window.eq_ignore_ascii_case(lower))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_found_in_either_case_and_between_bytes_that_are_not_text() {
        for (needle, bytes, is_in) in [
            ("", &b""[..], true),
            ("", b"x", true),
            ("x", b"", false),
            ("Bot_ID", b"{\"bot_id\":1}", true),
            ("bot_id", b"\xff\0BOT_ID", true),
            ("bot_id", b"bot_i", false),
            ("100%", b"100%", true),
            ("100%", b"1000", false),
            ("MÜNCHEN", "münchen \u{1F600}".as_bytes(), true),
            ("münchen", b"\xffM\xc3\x9cNCHEN", true),
            ("münchen", b"munchen", false),
        ] {
            assert_eq!(Needle::new(needle).is_in(bytes), is_in, "{needle:?} {bytes:?}");
        }
    }

    #[test]
    fn trigrams_are_of_plain_characters_and_few() {
        for (needle, trigrams) in [
            ("", &[][..]),
            ("ab", &[]),
            ("ABc", &["abc"]),
            ("ab\0cd", &[]),
            ("\"a b", &["\"a ", "a b"]),
            ("München", &["nch", "che", "hen"]),
            ("ñkiñ köln, skip it", &["ln,", "n, ", ", s"]),
        ] {
            assert_eq!(Needle::new(needle).trigrams(), trigrams, "{needle:?}");
        }
        let long = Needle::new(&"abcdefghij".repeat(100));
        assert!((6..=MOST_TRIGRAMS).contains(&long.trigrams().len()));
    }

    #[test]
    fn only_two_letters_beyond_ascii_have_a_lower_case_within_it() {
        let letters = ('\u{80}'..=char::MAX).filter(|c| c.to_lowercase().any(|lower| lower.is_ascii()));
        assert!(letters.eq(['\u{130}', '\u{212a}']));
    }

    proptest! {
        #[test]
        fn what_contains_a_text_has_its_trigrams(
            before in "[aAkK\u{212a}iI\u{130}üÜ \0]{0,4}",
            needle in "[aAkK\u{212a}iI\u{130}üÜ \0]{1,6}",
        ) {
            let text = format!("{before}{needle}");
            let needle = Needle::new(&needle);
            prop_assume!(needle.is_in(text.as_bytes()));
            for trigram in needle.trigrams() {
                let lower = text.to_ascii_lowercase();
                prop_assert!(lower.contains(trigram), "{lower:?} {trigram:?}");
            }
        }
    }
}
