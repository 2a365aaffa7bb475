//! Reading string literals straight into their canonical form.

use std::fmt::Write;

use super::error::SyntaxError;
use super::parse::Parser;
use super::show;
use super::text::{Text, needs_escape, push_escape};

/// The length of `\uXXXX`.
const UNIT: usize = 6;

impl Parser<'_> {
    /// Reads the string literal that begins here, with its quote.
    pub(super) fn string(&mut self) -> Result<Text, SyntaxError> {
        let start = self.at;
        self.at += 1;
        let mut inside = String::new();
        loop {
            self.run(&mut inside);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape(&mut inside)?,
                Some(control) => return Err(self.raw_control(control)),
                None => return Err(self.unterminated(start)),
            }
        }
        self.at += 1;
        Ok(Text::from_canonical(inside))
    }

    /// Copies all that stands for itself.
    fn run(&mut self, inside: &mut String) {
        let rest = self.rest();
        let length = rest.bytes().position(needs_escape).unwrap_or(rest.len());
        inside.push_str(&rest[..length]);
        self.at += length;
    }

    fn escape(&mut self, inside: &mut String) -> Result<(), SyntaxError> {
        match self.text.as_bytes().get(self.at + 1) {
            Some(b'u') => return self.unicode_escape(inside),
            Some(b'/') => inside.push('/'),
            Some(b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't') => {
                inside.push_str(&self.text[self.at..self.at + 2]);
            }
            _ => return Err(self.bad_escape()),
        }
        self.at += 2;
        Ok(())
    }

    fn unicode_escape(&mut self, inside: &mut String) -> Result<(), SyntaxError> {
        let Some(unit) = self.unit() else {
            return Err(self.bad_unicode_escape());
        };
        self.at += UNIT;
        match char::from_u32(u32::from(unit)) {
            Some(ascii) if ascii.is_ascii() => push_ascii(inside, ascii),
            Some(character) => inside.push(character),
            None => self.surrogate(unit, inside),
        }
        Ok(())
    }

    /// Half a pair: with the other half right behind it a character, else kept as an escape.
    fn surrogate(&mut self, half: u16, inside: &mut String) {
        let halves = [half].into_iter().chain(self.unit());
        if let Some(Ok(character)) = char::decode_utf16(halves).next() {
            inside.push(character);
            self.at += UNIT;
        } else {
            write!(inside, "\\u{half:04x}").expect("a String takes all writes");
        }
    }

    /// The UTF-16 unit of the `\uXXXX` that stands here, if one does.
    fn unit(&self) -> Option<u16> {
        let digits = self.rest().strip_prefix("\\u")?.as_bytes().get(..4)?;
        digits.iter().try_fold(0, |unit, &digit| {
            let value = char::from(digit).to_digit(16)?;
            Some(unit << 4 | u16::try_from(value).ok()?)
        })
    }

    fn raw_control(&self, control: u8) -> SyntaxError {
        let mut escape = String::new();
        push_escape(&mut escape, control);
        let (expected, found) = match control {
            b'\n' | b'\r' => ("`\"` or the escape", "a line break in a string"),
            _ => ("the escape", "a raw control character in a string"),
        };
        self.error(self.at, format!("{expected} `{escape}`"), found.to_owned())
    }

    fn unterminated(&self, start: usize) -> SyntaxError {
        let found = format!("{} without one", show::excerpt(&self.text[start..]));
        self.error(start, "a string with a closing `\"`".to_owned(), found)
    }

    fn bad_escape(&self) -> SyntaxError {
        let rest = self.rest();
        if rest.len() == 1 {
            return self.error(self.at, "an escape".to_owned(), "the end of the input".to_owned());
        }
        let expected = r#"`\"`, `\\`, `\/`, `\b`, `\f`, `\n`, `\r`, `\t` or `\uXXXX`"#;
        self.error(self.at, expected.to_owned(), self.start_of_rest(2))
    }

    fn bad_unicode_escape(&self) -> SyntaxError {
        let expected = r"four hexadecimal digits after `\u`";
        self.error(self.at, expected.to_owned(), self.start_of_rest(UNIT))
    }

    fn start_of_rest(&self, length: usize) -> String {
        let piece: String = self.rest().chars().take(length).collect();
        show::excerpt(&piece)
    }
}

/// Writes a character that an escape named though it may not have needed one.
fn push_ascii(inside: &mut String, ascii: char) {
    match u8::try_from(ascii) {
        Ok(byte) if needs_escape(byte) => push_escape(inside, byte),
        _ => inside.push(ascii),
    }
}

#[cfg(test)]
mod tests {
    use crate::json::Json;

    fn canonical(source: &str) -> String {
        let value = Json::parse(source.as_bytes()).expect("the sample is well formed");
        value.to_canonical()
    }

    fn message(source: &str) -> String {
        let error = Json::parse(source.as_bytes()).expect_err("the sample is malformed");
        error.to_string()
    }

    #[test]
    fn escapes_become_canonical() {
        for (source, expected) in [
            (r#""\"\\\/\b\f\n\r\t""#, r#""\"\\/\b\f\n\r\t""#),
            (r#""\u0022\u005C\u002f\u0008\u000C\u000a\u000D\u0009""#, r#""\"\\/\b\f\n\r\t""#),
            (r#""\u0041\u00E9\u003c""#, r#""Aé<""#),
            (r#""\u0000\u001F\u001b""#, r#""\u0000\u001f\u001b""#),
            (r#""\u007f\u2028\u2029""#, "\"\u{7f}\u{2028}\u{2029}\""),
            ("\"a\u{7f}\u{2028}é😀\"", "\"a\u{7f}\u{2028}é😀\""),
        ] {
            assert_eq!(canonical(source), expected);
        }
    }

    #[test]
    fn halves_combine_only_high_before_low() {
        for (source, expected) in [
            (r#""\uD83D\uDE00""#, r#""😀""#),
            (r#""\uD83D""#, r#""\ud83d""#),
            (r#""\uDE00\uD83D""#, r#""\ude00\ud83d""#),
            (r#""\uD83D\uD83D\uDE00\uDE00""#, r#""\ud83d😀\ude00""#),
            (r#""\uD83Dx\uDE00""#, r#""\ud83dx\ude00""#),
            (r#""\uD83D\n\uDE00""#, r#""\ud83d\n\ude00""#),
            (r#""\uD83D\u0041""#, r#""\ud83dA""#),
        ] {
            assert_eq!(canonical(source), expected);
        }
    }

    #[test]
    fn messages_say_what_is_wrong_with_a_string() {
        for (source, expected) in [
            (
                "{\"a\": \"abc",
                "line 1, column 7: expected a string with a closing `\"`, found `\"abc` without one",
            ),
            (
                "\"line\nbreak\"",
                "line 1, column 6: expected `\"` or the escape `\\n`, found a line break in a string",
            ),
            (
                "\"a\tb\"",
                "line 1, column 3: expected the escape `\\t`, found a raw control character in a string",
            ),
            (
                "\"a\u{1}b\"",
                "line 1, column 3: expected the escape `\\u0001`, found a raw control character in a string",
            ),
            (
                r#""C:\Users""#,
                r#"line 1, column 4: expected `\"`, `\\`, `\/`, `\b`, `\f`, `\n`, `\r`, `\t` or `\uXXXX`, found `\U`"#,
            ),
            (r#""\u00g1""#, r"line 1, column 2: expected four hexadecimal digits after `\u`, found `\u00g1`"),
            (
                r#""\ud83d\u+123""#,
                r"line 1, column 8: expected four hexadecimal digits after `\u`, found `\u+123`",
            ),
            ("\"\\", "line 1, column 2: expected an escape, found the end of the input"),
        ] {
            assert_eq!(message(source), expected);
        }
    }
}
