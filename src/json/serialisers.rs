//! JSON as the serialisers of several languages write it, to tell which of them wrote a text, and what it was before.
//!
//! Each parses a text into its own values first, so what it writes depends on more than the JSON: Python knows integers
//! of any length, Go sorts the keys of a map, JavaScript moves integer-like keys to the front.

use std::borrow::Cow;

use super::error::SyntaxError;
use super::parse::{Parser, valid_prefix};
use super::{Json, Text};

/// A serialiser with certain settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serialiser {
    /// `JSON.stringify(x)`
    JavaScript,
    /// Nothing but white space was taken out, as by `jq -c`.
    Compact,
    /// `json.dumps(x)` of Python
    Python,
    /// `json.dumps(x, ensure_ascii=False)` of Python
    PythonUnicode,
    /// `json.dumps(x, separators=(",", ":"))` of Python
    PythonCompact,
    /// `json.dumps(x, sort_keys=True)` of Python
    PythonSorted,
    /// `JSON.stringify(x, null, 2)`
    PrettyTwo,
    /// `json.dumps(x, indent=2)` of Python
    PythonTwo,
    /// `json.dumps(x, indent=4)` of Python
    PythonFour,
    /// `json.Marshal` of Go, of a struct
    Go,
    /// `json.Marshal` of Go, of a map
    GoSorted,
    /// `json_encode` of PHP
    Php,
}

/// How a serialiser writes.
struct Style {
    comma: &'static str,
    colon: &'static str,
    /// By how many spaces a level is indented; `None` keeps everything on one line.
    indent: Option<usize>,
    is_sorted: bool,
    numbers: Numbers,
    escapes: Escapes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Numbers {
    AsTheyWere,
    Python,
    JavaScript,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    /// What JSON demands.
    Few,
    /// All but printable ASCII.
    Ascii,
    /// What HTML or JavaScript might take for something else.
    Html,
    /// All but ASCII, and the slash.
    Slash,
}

const COMPACT: Style = Style {
    comma: ",",
    colon: ":",
    indent: None,
    is_sorted: false,
    numbers: Numbers::AsTheyWere,
    escapes: Escapes::Few,
};

const PYTHON: Style =
    Style { comma: ", ", colon: ": ", numbers: Numbers::Python, escapes: Escapes::Ascii, ..COMPACT };

const GO: Style = Style { numbers: Numbers::JavaScript, escapes: Escapes::Html, ..COMPACT };

impl Serialiser {
    /// Every serialiser, the likelier ones first.
    pub const ALL: [Self; 12] = [
        Self::JavaScript,
        Self::Compact,
        Self::Python,
        Self::PrettyTwo,
        Self::PythonTwo,
        Self::PythonUnicode,
        Self::PythonCompact,
        Self::Go,
        Self::PythonFour,
        Self::GoSorted,
        Self::PythonSorted,
        Self::Php,
    ];

    /// How it writes, for people: "the body is written …".
    pub fn manner(self) -> &'static str {
        match self {
            Self::JavaScript => "compactly, as JavaScript's JSON.stringify does",
            Self::Compact => "compactly",
            Self::Python => "as Python's json.dumps does, with a space after each `,` and `:`",
            Self::PythonUnicode => {
                "as Python's json.dumps does without ensure_ascii, with a space after each `,` and `:`"
            }
            Self::PythonCompact => {
                "as Python's json.dumps does with compact separators, all but ASCII escaped"
            }
            Self::PythonSorted => "as Python's json.dumps does with sort_keys",
            Self::PrettyTwo => "pretty-printed with two spaces, as JSON.stringify(x, null, 2) does",
            Self::PythonTwo => "pretty-printed with two spaces, as Python's json.dumps(x, indent=2) does",
            Self::PythonFour => "pretty-printed with four spaces, as Python's json.dumps(x, indent=4) does",
            Self::Go => "as Go's json.Marshal does, with `<`, `>` and `&` escaped",
            Self::GoSorted => {
                "as Go's json.Marshal does with a map, keys sorted and `<`, `>` and `&` escaped"
            }
            Self::Php => "as PHP's json_encode does, with `/` and all but ASCII escaped",
        }
    }

    fn style(self) -> Option<Style> {
        Some(match self {
            Self::JavaScript | Self::PrettyTwo => return None,
            Self::Compact => COMPACT,
            Self::Python => PYTHON,
            Self::PythonUnicode => Style { escapes: Escapes::Few, ..PYTHON },
            Self::PythonCompact => Style { comma: ",", colon: ":", ..PYTHON },
            Self::PythonSorted => Style { is_sorted: true, ..PYTHON },
            Self::PythonTwo => Style { comma: ",", indent: Some(2), ..PYTHON },
            Self::PythonFour => Style { comma: ",", indent: Some(4), ..PYTHON },
            Self::Go => GO,
            Self::GoSorted => Style { is_sorted: true, ..GO },
            Self::Php => Style { escapes: Escapes::Slash, ..COMPACT },
        })
    }
}

/// A JSON text, read so that it can be written again in any manner.
#[derive(Debug)]
pub struct Written<'a> {
    source: &'a str,
    json: Json,
    node: Node<'a>,
}

/// A value whose numbers are still as they were written.
#[derive(Debug)]
enum Node<'a> {
    Word(&'a str),
    Text(Text),
    List(Vec<Node<'a>>),
    Map(Vec<(Text, Node<'a>)>),
}

impl<'a> Written<'a> {
    /// Reads a text. `None` when it is not JSON, or nests deeper than 512 levels.
    pub fn read(source: &'a [u8]) -> Option<Self> {
        let json = Json::parse(source).ok()?;
        let text = valid_prefix(source);
        let mut parser = Parser::new(text);
        parser.skip_space();
        let node = node(&mut parser).ok()?;
        Some(Self { source: text, json, node })
    }

    /// The same JSON as a serialiser would write it that has read it.
    pub fn written_by(&self, serialiser: Serialiser) -> String {
        match serialiser.style() {
            None if serialiser == Serialiser::PrettyTwo => self.json.to_pretty(),
            None => self.json.to_canonical(),
            Some(style) => {
                let mut out = String::with_capacity(self.source.len());
                style.write(&self.node, 0, &mut out);
                out
            }
        }
    }

    /// Who wrote the text, as far as that shows; of several, the likeliest.
    pub fn serialiser(&self) -> Option<Serialiser> {
        Serialiser::ALL.into_iter().find(|serialiser| self.written_by(*serialiser) == self.source)
    }

    /// The same JSON as each serialiser would write it, and who wrote the text.
    pub fn written_by_all(&self) -> (Vec<(Serialiser, String)>, Option<Serialiser>) {
        let all = Serialiser::ALL.map(|serialiser| (serialiser, self.written_by(serialiser)));
        let found = all.iter().find(|(_, written)| written == self.source).map(|(serialiser, _)| *serialiser);
        (all.into(), found)
    }
}

fn node<'a>(parser: &mut Parser<'a>) -> Result<Node<'a>, SyntaxError> {
    match parser.peek() {
        Some(b'"') => parser.string().map(Node::Text),
        Some(b'{') => {
            let mut members = Vec::new();
            parser.members(|parser, key| {
                members.push((key, node(parser)?));
                Ok(())
            })?;
            Ok(Node::Map(members))
        }
        Some(b'[') => {
            let mut items = Vec::new();
            parser.items(|parser| {
                items.push(node(parser)?);
                Ok(())
            })?;
            Ok(Node::List(items))
        }
        _ => {
            let start = parser.at;
            parser.value()?;
            Ok(Node::Word(&parser.text[start..parser.at]))
        }
    }
}

impl Style {
    fn write(&self, node: &Node<'_>, depth: usize, out: &mut String) {
        match node {
            Node::Word(word) => out.push_str(&self.number(word)),
            Node::Text(text) => self.text(text, out),
            Node::List(items) => {
                self.list(['[', ']'], items, depth, out, |item, out| self.write(item, depth + 1, out));
            }
            Node::Map(members) => {
                let mut members: Vec<&(Text, Node<'_>)> = members.iter().collect();
                if self.is_sorted {
                    members.sort_by_cached_key(|(key, _)| plain(key).into_owned());
                }
                self.list(['{', '}'], &members, depth, out, |(key, value), out| {
                    self.text(key, out);
                    out.push_str(self.colon);
                    self.write(value, depth + 1, out);
                });
            }
        }
    }

    fn list<T>(
        &self,
        [open, close]: [char; 2],
        items: &[T],
        depth: usize,
        out: &mut String,
        write: impl Fn(&T, &mut String),
    ) {
        out.push(open);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push_str(self.comma);
            }
            self.new_line(depth + 1, out);
            write(item, out);
        }
        if !items.is_empty() {
            self.new_line(depth, out);
        }
        out.push(close);
    }

    fn new_line(&self, depth: usize, out: &mut String) {
        if let Some(indent) = self.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    /// A number or a literal.
    fn number<'w>(&self, word: &'w str) -> Cow<'w, str> {
        let is_number = word.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        match (self.numbers, word.parse::<f64>()) {
            (Numbers::Python, Ok(number)) if is_number => python_number(word, number),
            (Numbers::JavaScript, Ok(number)) if is_number && number.is_finite() => {
                Cow::Owned(ryu_js::Buffer::new().format_finite(number).to_owned())
            }
            _ => Cow::Borrowed(word),
        }
    }

    fn text(&self, text: &Text, out: &mut String) {
        out.push('"');
        let escaped = text.escaped();
        let is_plain = match self.escapes {
            Escapes::Few => true,
            Escapes::Ascii => escaped.is_ascii() && !escaped.contains('\u{7f}'),
            Escapes::Html => escaped.is_ascii() && !escaped.contains(['<', '>', '&']),
            Escapes::Slash => escaped.is_ascii() && !escaped.contains('/'),
        };
        if is_plain {
            out.push_str(escaped);
            out.push('"');
            return;
        }
        for c in escaped.chars() {
            let is_escaped = match self.escapes {
                Escapes::Few => false,
                Escapes::Ascii => !c.is_ascii() || c == '\u{7f}',
                Escapes::Html => matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}'),
                Escapes::Slash => !c.is_ascii(),
            };
            match c {
                '/' if self.escapes == Escapes::Slash => out.push_str("\\/"),
                c if is_escaped => {
                    let mut units = [0; 2];
                    for unit in c.encode_utf16(&mut units) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

/// A key as Go and Python compare it; one with half a character as it is escaped.
fn plain(key: &Text) -> Cow<'_, str> {
    key.to_plain().unwrap_or(Cow::Borrowed(key.escaped()))
}

/// What `json.dumps(json.loads(word))` writes: integers as they are, however long, others as `repr` does.
fn python_number(word: &str, number: f64) -> Cow<'_, str> {
    if !word.contains(['.', 'e', 'E']) {
        return Cow::Borrowed(if word == "-0" { "0" } else { word });
    }
    if !number.is_finite() {
        return Cow::Borrowed(if number > 0.0 { "Infinity" } else { "-Infinity" });
    }
    // The shortest digits that read back as the same number.
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        let decimal = number.to_string();
        return Cow::Owned(if decimal.contains('.') { decimal } else { decimal + ".0" });
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    Cow::Owned(format!("{digits}e{sign}{:02}", exponent.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"{"b":{"z":[],"é":"<a href=\"/x\">&\u2028🎙\u007f"},"a":[1,2.0,1e21,1E-7,0.0001,-0,12345678901234567890,1.5e300,true,null,{}]}"#;

    fn written(serialiser: Serialiser) -> String {
        Written::read(SOURCE.as_bytes()).unwrap().written_by(serialiser)
    }

    /// The lines of JavaScript and Python were written by Node.js and Python; those of Go and PHP follow their manuals.
    #[test]
    fn each_writes_as_its_language_does() {
        for (serialiser, expected) in [
            (
                Serialiser::JavaScript,
                "{\"b\":{\"z\":[],\"é\":\"<a href=\\\"/x\\\">&\u{2028}🎙\u{7f}\"},\"a\":[1,2,1e+21,1e-7,0.0001,0,12345678901234567000,1.5e+300,true,null,{}]}",
            ),
            (
                Serialiser::Python,
                r#"{"b": {"z": [], "\u00e9": "<a href=\"/x\">&\u2028\ud83c\udf99\u007f"}, "a": [1, 2.0, 1e+21, 1e-07, 0.0001, 0, 12345678901234567890, 1.5e+300, true, null, {}]}"#,
            ),
            (
                Serialiser::PythonUnicode,
                "{\"b\": {\"z\": [], \"é\": \"<a href=\\\"/x\\\">&\u{2028}🎙\u{7f}\"}, \"a\": [1, 2.0, 1e+21, 1e-07, 0.0001, 0, 12345678901234567890, 1.5e+300, true, null, {}]}",
            ),
            (
                Serialiser::PythonSorted,
                r#"{"a": [1, 2.0, 1e+21, 1e-07, 0.0001, 0, 12345678901234567890, 1.5e+300, true, null, {}], "b": {"z": [], "\u00e9": "<a href=\"/x\">&\u2028\ud83c\udf99\u007f"}}"#,
            ),
            (
                Serialiser::GoSorted,
                "{\"a\":[1,2,1e+21,1e-7,0.0001,0,12345678901234567000,1.5e+300,true,null,{}],\"b\":{\"z\":[],\"é\":\"\\u003ca href=\\\"/x\\\"\\u003e\\u0026\\u2028🎙\u{7f}\"}}",
            ),
            (
                Serialiser::Compact,
                "{\"b\":{\"z\":[],\"é\":\"<a href=\\\"/x\\\">&\u{2028}🎙\u{7f}\"},\"a\":[1,2.0,1e21,1E-7,0.0001,-0,12345678901234567890,1.5e300,true,null,{}]}",
            ),
        ] {
            assert_eq!(written(serialiser), expected, "{serialiser:?}");
        }
        let small = Written::read(br#"{"a":[1,{"b":"/"}],"c":[]}"#).unwrap();
        let four = "{\n    \"a\": [\n        1,\n        {\n            \"b\": \"/\"\n        }\n    ],\n    \"c\": []\n}";
        assert_eq!(small.written_by(Serialiser::PythonFour), four);
        assert_eq!(small.written_by(Serialiser::PrettyTwo), four.replace("    ", "  "));
        let two = Written::read("{\"a\":\"é\"}".as_bytes()).unwrap().written_by(Serialiser::PythonTwo);
        assert_eq!(two, "{\n  \"a\": \"\\u00e9\"\n}");
        assert_eq!(small.written_by(Serialiser::Php), r#"{"a":[1,{"b":"\/"}],"c":[]}"#);
    }

    #[test]
    fn a_text_is_recognised_by_its_own_writing() {
        for serialiser in Serialiser::ALL {
            let text = written(serialiser);
            let again = Written::read(text.as_bytes()).unwrap();
            let expected = match serialiser {
                // What was sorted can have been in that order before.
                Serialiser::GoSorted => Serialiser::Go,
                Serialiser::PythonSorted => Serialiser::Python,
                other => other,
            };
            assert_eq!(again.serialiser(), Some(expected), "{text}");
            assert_eq!(again.written_by(serialiser), text, "{serialiser:?} has read what it wrote");
        }
        let nobody = Written::read(b"{ \"a\":1}").unwrap();
        assert_eq!(nobody.serialiser(), None);
        assert!(Written::read(b"{").is_none() && Written::read(b"\xff").is_none());
    }
}
