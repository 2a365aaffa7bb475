//! Looking for a text in bytes, in upper or lower case.

/// A text to look for.
#[derive(Debug)]
pub(super) struct Needle {
    lower: String,
}

impl Needle {
    pub(super) fn new(text: &str) -> Self {
        Self { lower: text.to_lowercase() }
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
}
