//! Reading JSON: accepts what `JSON.parse` accepts, and says what is wrong with the rest.

use std::str;

use indexmap::IndexMap;

use super::error::{Position, SyntaxError};
use super::{Json, Text, show};

/// How deep arrays and objects may stand in each other, so that no input can exhaust the stack.
pub(super) const DEEPEST: usize = 512;

impl Json {
    /// Reads a JSON text as `JSON.parse` does: no byte order mark, no comments, no trailing commas, strict
    /// escapes.
    ///
    /// The last of several equal keys wins, at the place of the first.
    ///
    /// # Errors
    ///
    /// When the bytes are not UTF-8 or not JSON, and when they nest deeper than 512 levels.
    pub fn parse(source: &[u8]) -> Result<Self, SyntaxError> {
        let text = str::from_utf8(source).map_err(|error| not_utf8(source, error))?;
        let mut parser = Parser::new(text);
        parser.skip_space();
        let value = parser.value()?;
        parser.skip_space();
        if parser.at < text.len() {
            return Err(parser.expected("the end of the input"));
        }
        Ok(value)
    }
}

fn not_utf8(source: &[u8], error: str::Utf8Error) -> SyntaxError {
    let offset = error.valid_up_to();
    SyntaxError {
        position: Position::of(valid_prefix(source), offset),
        expected: "UTF-8".to_owned(),
        found: format!("the byte 0x{:02x}", source[offset]),
    }
}

/// As much of the source as is UTF-8.
pub(super) fn valid_prefix(source: &[u8]) -> &str {
    source.utf8_chunks().next().map_or("", |chunk| chunk.valid())
}

/// Reads one value after the other from a text. After an error it is of no more use.
pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    /// The offset of the next byte. It is always the first one of a character.
    pub(super) at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// Reads the value that begins here.
    pub(super) fn value(&mut self) -> Result<Json, SyntaxError> {
        match self.peek() {
            Some(b'"') => self.string().map(Json::String),
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'-' | b'0'..=b'9') => self.number().map(Json::Number),
            _ => self.word(),
        }
    }

    fn object(&mut self) -> Result<Json, SyntaxError> {
        let mut members = IndexMap::new();
        self.members(|parser, key| {
            members.insert(key, parser.value()?);
            Ok(())
        })?;
        Ok(Json::Object(members))
    }

    fn array(&mut self) -> Result<Json, SyntaxError> {
        let mut items = Vec::new();
        self.items(|parser| {
            items.push(parser.value()?);
            Ok(())
        })?;
        Ok(Json::Array(items))
    }

    /// Goes through the object that begins here; `each` has to read the value of the key that it is given.
    pub(super) fn members(
        &mut self,
        mut each: impl FnMut(&mut Self, Text) -> Result<(), SyntaxError>,
    ) -> Result<(), SyntaxError> {
        self.list(b'}', "a key in double quotes", |parser| {
            let key = parser.string()?;
            parser.skip_space();
            if !parser.eat(b':') {
                return Err(parser.expected("`:`"));
            }
            parser.skip_space();
            each(parser, key)
        })
    }

    /// Goes through the array that begins here; `each` has to read one value.
    pub(super) fn items(
        &mut self,
        each: impl FnMut(&mut Self) -> Result<(), SyntaxError>,
    ) -> Result<(), SyntaxError> {
        self.list(b']', "a value", each)
    }

    fn list(
        &mut self,
        close: u8,
        item: &str,
        mut each: impl FnMut(&mut Self) -> Result<(), SyntaxError>,
    ) -> Result<(), SyntaxError> {
        self.descend()?;
        self.at += 1;
        self.skip_space();
        let mut is_empty = true;
        while !self.eat(close) {
            if !is_empty {
                self.comma(close, item)?;
            }
            if close == b'}' && self.peek() != Some(b'"') {
                return Err(self.expected(item));
            }
            each(self)?;
            self.skip_space();
            is_empty = false;
        }
        self.depth -= 1;
        Ok(())
    }

    fn descend(&mut self) -> Result<(), SyntaxError> {
        if self.depth == DEEPEST {
            return Err(self.error(
                self.at,
                format!("at most {DEEPEST} levels of arrays and objects"),
                "one more".to_owned(),
            ));
        }
        self.depth += 1;
        Ok(())
    }

    fn comma(&mut self, close: u8, item: &str) -> Result<(), SyntaxError> {
        let close = char::from(close);
        if !self.eat(b',') {
            return Err(self.expected(&format!("`,` or `{close}`")));
        }
        self.skip_space();
        if self.rest().starts_with(close) {
            let found = format!("`{close}`; remove the comma before it");
            return Err(self.error(self.at, item.to_owned(), found));
        }
        Ok(())
    }

    fn number(&mut self) -> Result<f64, SyntaxError> {
        let start = self.at;
        self.eat(b'-');
        if self.eat(b'0') {
            if self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                self.at = start;
                return Err(self.expected("a number without leading zeros"));
            }
        } else {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        let number = self.text[start..self.at].parse();
        Ok(number.expect("Rust reads every number that JSON can write"))
    }

    fn digits(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start {
            return Ok(());
        }
        let before = char::from(self.text.as_bytes()[start - 1]);
        Err(self.expected(&format!("a digit after `{before}`")))
    }

    fn word(&mut self) -> Result<Json, SyntaxError> {
        for (word, value) in [("true", Json::Bool(true)), ("false", Json::Bool(false)), ("null", Json::Null)]
        {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.expected("a value"))
    }

    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Goes past this ASCII character if it is next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// The error that something else should stand here.
    pub(super) fn expected(&self, expected: &str) -> SyntaxError {
        let found = show::found(self.rest()).unwrap_or_else(|| "the end of the input".to_owned());
        self.error(self.at, expected.to_owned(), found)
    }

    pub(super) fn error(&self, offset: usize, expected: String, found: String) -> SyntaxError {
        SyntaxError { position: Position::of(self.text, offset), expected, found }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{DEEPEST, Json};

    fn message(source: impl AsRef<[u8]>) -> String {
        let error = Json::parse(source.as_ref()).expect_err("the sample is malformed");
        error.to_string()
    }

    #[test]
    fn messages_say_what_is_missing() {
        for (source, expected) in [
            ("", "line 1, column 1: expected a value, found the end of the input"),
            (" \n ", "line 2, column 2: expected a value, found the end of the input"),
            ("{\n  \"é\": 1\n  \"data\": 2}", "line 3, column 3: expected `,` or `}`, found `\"data\"`"),
            ("[1 2]", "line 1, column 4: expected `,` or `]`, found `2`"),
            ("[1", "line 1, column 3: expected `,` or `]`, found the end of the input"),
            ("{\"a\" 1}", "line 1, column 6: expected `:`, found `1`"),
            ("{\"a\":}", "line 1, column 6: expected a value, found `}`"),
            ("{", "line 1, column 2: expected a key in double quotes, found the end of the input"),
            ("{a: 1}", "line 1, column 2: expected a key in double quotes, found `a`"),
            ("[,1]", "line 1, column 2: expected a value, found `,`"),
            ("{} {}", "line 1, column 4: expected the end of the input, found `{`"),
            ("nul", "line 1, column 1: expected a value, found `nul`"),
            ("truex", "line 1, column 5: expected the end of the input, found `x`"),
        ] {
            assert_eq!(message(source), expected);
        }
    }

    #[test]
    fn messages_know_the_habits_of_other_languages() {
        for (source, expected) in [
            (
                "\u{feff}{}",
                "line 1, column 1: expected a value, found a byte order mark; save the file without it",
            ),
            ("[1,]", "line 1, column 4: expected a value, found `]`; remove the comma before it"),
            (
                "{\"a\":1 , }",
                "line 1, column 10: expected a key in double quotes, found `}`; remove the comma before it",
            ),
            (
                "{'a': 1}",
                "line 1, column 2: expected a key in double quotes, found `'a'`; strings take straight double quotes",
            ),
            ("[“a”]", "line 1, column 2: expected a value, found `“`; strings take straight double quotes"),
            ("// hi\n{}", "line 1, column 1: expected a value, found a comment, which JSON does not have"),
            (
                "[1 /* one */]",
                "line 1, column 4: expected `,` or `]`, found a comment, which JSON does not have",
            ),
            ("# hi", "line 1, column 1: expected a value, found a comment, which JSON does not have"),
            ("NaN", "line 1, column 1: expected a value, found `NaN`; JSON has no such value, write `null`"),
            (
                "-Infinity",
                "line 1, column 2: expected a digit after `-`, found `Infinity`; JSON has no such value, write `null`",
            ),
            (
                "[undefined]",
                "line 1, column 2: expected a value, found `undefined`; JSON has no such value, write `null`",
            ),
            ("{\"a\": None}", "line 1, column 7: expected a value, found `None`; write `null`"),
            ("True", "line 1, column 1: expected a value, found `True`; write `true`"),
            ("False", "line 1, column 1: expected a value, found `False`; write `false`"),
            ("+1", "line 1, column 1: expected a value, found `+1`; a number takes no `+`"),
            (".5", "line 1, column 1: expected a value, found `.5`; a number takes a digit before the `.`"),
        ] {
            assert_eq!(message(source), expected);
        }
    }

    #[test]
    fn messages_about_numbers() {
        for (source, expected) in [
            ("[01]", "line 1, column 2: expected a number without leading zeros, found `01`"),
            ("-00.5", "line 1, column 1: expected a number without leading zeros, found `-00.5`"),
            ("1.", "line 1, column 3: expected a digit after `.`, found the end of the input"),
            ("1.e5", "line 1, column 3: expected a digit after `.`, found `e5`"),
            ("1e+", "line 1, column 4: expected a digit after `+`, found the end of the input"),
            ("-", "line 1, column 2: expected a digit after `-`, found the end of the input"),
            ("0x10", "line 1, column 2: expected the end of the input, found `x10`"),
        ] {
            assert_eq!(message(source), expected);
        }
    }

    #[test]
    fn what_a_message_shows_is_short_and_harmless() {
        assert_eq!(message("[\u{1b}]"), "line 1, column 2: expected a value, found `\\u001b`");
        assert_eq!(
            message(format!("{{}} {}", "x".repeat(1000))),
            "line 1, column 4: expected the end of the input, found `xxxxxxxxxxxxxxxxxxx…`"
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        assert_eq!(
            message(b"{\n\"\xc3\xa9\xff\": 1}"),
            "line 2, column 3: expected UTF-8, found the byte 0xff"
        );
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let deepest = Json::parse(nested(DEEPEST).as_bytes()).expect("this deep is allowed");
        assert_eq!(deepest.to_canonical(), nested(DEEPEST));
        assert_eq!(
            message(nested(DEEPEST + 1)),
            "line 1, column 513: expected at most 512 levels of arrays and objects, found one more"
        );
        let objects = format!("{}1{}", "{\"a\":".repeat(DEEPEST), "}".repeat(DEEPEST));
        let deepest = Json::parse(objects.as_bytes()).expect("this deep is allowed");
        assert_eq!(deepest.to_canonical(), objects);
        let row = format!("[{}]", ["[[]]"; 1000].join(","));
        assert!(Json::parse(row.as_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            drop(Json::parse(&bytes));
        }

        #[test]
        fn anything_like_json_is_read_or_refused(text in r#"([\[\]{},:"\\u0-9dDcC.eE+\- \n\t/'é😀]|true|null){0,40}"#) {
            if let Ok(value) = Json::parse(text.as_bytes()) {
                let canonical = value.to_canonical();
                let again = Json::parse(canonical.as_bytes()).expect("what we write is JSON");
                prop_assert_eq!(again.to_canonical(), canonical);
            }
        }
    }
}
