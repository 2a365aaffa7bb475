//! Writing JSON to the byte as `JSON.stringify` does.

use indexmap::IndexMap;

use super::{Json, Text};

impl Json {
    /// Writes exactly what `JSON.stringify(x)` writes.
    #[must_use]
    pub fn to_canonical(&self) -> String {
        Writer::write(self, false)
    }

    /// Writes exactly what `JSON.stringify(x, null, 2)` writes.
    #[must_use]
    pub fn to_pretty(&self) -> String {
        Writer::write(self, true)
    }
}

struct Writer {
    out: String,
    is_pretty: bool,
    depth: usize,
}

impl Writer {
    fn write(value: &Json, is_pretty: bool) -> String {
        let mut writer = Self { out: String::new(), is_pretty, depth: 0 };
        writer.value(value);
        writer.out
    }

    fn value(&mut self, value: &Json) {
        match value {
            Json::Null => self.out.push_str("null"),
            Json::Bool(truth) => self.out.push_str(if *truth { "true" } else { "false" }),
            Json::Number(number) => self.number(*number),
            Json::String(text) => self.string(text),
            Json::Array(items) => self.list(['[', ']'], items.iter(), Self::value),
            Json::Object(members) => self.list(['{', '}'], in_js_order(members), Self::member),
        }
    }

    fn number(&mut self, number: f64) {
        if number.is_finite() {
            self.out.push_str(ryu_js::Buffer::new().format_finite(number));
        } else {
            self.out.push_str("null");
        }
    }

    fn string(&mut self, text: &Text) {
        self.out.push('"');
        self.out.push_str(text.escaped());
        self.out.push('"');
    }

    fn member(&mut self, (key, value): (&Text, &Json)) {
        self.string(key);
        self.out.push_str(if self.is_pretty { ": " } else { ":" });
        self.value(value);
    }

    fn list<T>(
        &mut self,
        [open, close]: [char; 2],
        items: impl Iterator<Item = T>,
        write: impl Fn(&mut Self, T),
    ) {
        self.out.push(open);
        self.depth += 1;
        let mut is_empty = true;
        for item in items {
            if !is_empty {
                self.out.push(',');
            }
            self.new_line();
            write(self, item);
            is_empty = false;
        }
        self.depth -= 1;
        if !is_empty {
            self.new_line();
        }
        self.out.push(close);
    }

    fn new_line(&mut self) {
        if self.is_pretty {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n("  ", self.depth));
        }
    }
}

/// JavaScript puts integer-like keys first, in ascending order, and leaves the others as they came.
fn in_js_order(members: &IndexMap<Text, Json>) -> impl Iterator<Item = (&Text, &Json)> {
    let mut indexed: Vec<_> =
        members.iter().filter_map(|member| Some((member.0.array_index()?, member))).collect();
    indexed.sort_unstable_by_key(|(index, _)| *index);
    let named = members.iter().filter(|(key, _)| key.array_index().is_none());
    indexed.into_iter().map(|(_, member)| member).chain(named)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::{Json, Text};

    fn parse(source: &str) -> Json {
        Json::parse(source.as_bytes()).expect("the sample is well formed")
    }

    #[test]
    fn numbers_take_their_javascript_form() {
        for (source, expected) in [
            ("2.0", "2"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("1e2", "100"),
            ("1E5", "100000"),
            ("0.10", "0.1"),
            ("1e20", "100000000000000000000"),
            ("1e21", "1e+21"),
            ("1e-6", "0.000001"),
            ("1e-7", "1e-7"),
            ("123456789012345680000", "123456789012345680000"),
            ("9007199254740993", "9007199254740992"),
            ("5e-324", "5e-324"),
            ("2e-324", "0"),
            ("1e400", "null"),
            ("-1e400", "null"),
            ("1e-400", "0"),
            ("0.30000000000000004", "0.30000000000000004"),
        ] {
            assert_eq!(parse(source).to_canonical(), expected, "{source}");
        }
        assert_eq!(Json::Number(f64::NAN).to_canonical(), "null");
    }

    #[test]
    fn integer_like_keys_come_first_in_ascending_order() {
        let source = r#"{"b":1,"10":2,"9":3,"01":4,"-1":5,"4294967294":6,"4294967295":7,"0":8,"1.5":9}"#;
        assert_eq!(
            parse(source).to_canonical(),
            r#"{"0":8,"9":3,"10":2,"4294967294":6,"b":1,"01":4,"-1":5,"4294967295":7,"1.5":9}"#
        );
    }

    #[test]
    fn the_last_of_equal_keys_wins_at_the_place_of_the_first() {
        assert_eq!(
            parse(r#"{"a":1,"__proto__":2,"\u0061":3,"__proto__":{}}"#).to_canonical(),
            r#"{"a":3,"__proto__":{}}"#
        );
    }

    #[test]
    fn pretty_is_two_spaces_a_level() {
        let value = parse(r#"{"a":[],"b":{},"c":[1,{"d":"x"}],"1":null}"#);
        let expected = r#"{
  "1": null,
  "a": [],
  "b": {},
  "c": [
    1,
    {
      "d": "x"
    }
  ]
}"#;
        assert_eq!(value.to_pretty(), expected);
        assert_eq!(parse("[]").to_pretty(), "[]");
    }

    /// Any text that JSON can hold, lone surrogates too.
    pub(in crate::json) fn any_text() -> impl Strategy<Value = Text> {
        let literal = prop_oneof![
            3 => any::<String>().prop_map(|plain| Text::new(&plain).escaped().to_owned()),
            1 => r"(\\ud[89a-f][0-9a-f]{2}|\\u[0-9a-f]{4}|[0-9]){0,6}",
        ];
        literal.prop_map(|inside| match parse(&format!("\"{inside}\"")) {
            Json::String(text) => text,
            other => panic!("a literal in quotes is a string, not {}", other.kind()),
        })
    }

    /// Any value, not very large.
    pub(in crate::json) fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            any::<f64>().prop_map(Json::Number),
            any::<i32>().prop_map(|number| Json::Number(f64::from(number))),
            any_text().prop_map(Json::String),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            let members = prop::collection::vec((any_text(), inner.clone()), 0..6);
            prop_oneof![
                prop::collection::vec(inner, 0..6).prop_map(Json::Array),
                members.prop_map(|members| Json::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_a_fixed_point(value in any_json()) {
            let canonical = value.to_canonical();
            prop_assert_eq!(parse(&canonical).to_canonical(), canonical);
        }

        #[test]
        fn pretty_and_canonical_say_the_same(value in any_json()) {
            prop_assert_eq!(parse(&value.to_pretty()).to_canonical(), value.to_canonical());
        }
    }
}
