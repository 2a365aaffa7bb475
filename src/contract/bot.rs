//! Which bot a body is about.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Where a body says which bot it is about: at the top, or in its `data`.
pub const BOT_KEYS: [&str; 2] = ["bot_id", "bot_uuid"];

/// The id of the bot that a body is about, read no further than up to it: a transcript of a megabyte costs nothing.
pub fn bot_of(body: &[u8]) -> Option<String> {
    let mut found = None;
    // The result is of no interest: reading stops with an error as soon as the id is found.
    drop(
        serde_json::Deserializer::from_slice(body).deserialize_any(Part { found: &mut found, is_top: true }),
    );
    found
}

/// The body, or its `data`.
struct Part<'f> {
    found: &'f mut Option<String>,
    is_top: bool,
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if BOT_KEYS.contains(&key.as_str()) {
                map.next_value_seed(Id(self.found))?;
            } else if self.is_top && key == "data" {
                map.next_value_seed(Part { found: self.found, is_top: false })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            if self.found.is_some() {
                return Err(serde::de::Error::custom("found"));
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

/// The value of a key that names a bot; anything but a text names none.
struct Id<'f>(&'f mut Option<String>);

impl<'de> DeserializeSeed<'de> for Id<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        let value: serde_json::Value = serde::Deserialize::deserialize(value)?;
        *self.0 = value.as_str().filter(|id| !id.is_empty()).map(str::to_owned);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bot_is_told_wherever_its_contract_puts_it_and_nothing_behind_it_is_read() {
        for (body, expected) in [
            (r#"{"event":"failed","data":{"bot_id":"a", this is never read"#, Some("a")),
            (r#"{"event":"x","data":{"status":{"bot_id":"not"},"bot_uuid":"b"}}"#, Some("b")),
            (r#"{"data":[{"bot_id":"not"}],"bot_id":"c"}"#, Some("c")),
            (r#"{"data":"bot_id","bot_id":"d"}"#, Some("d")),
            (r#"{"data":null,"bot_id":7,"bot_uuid":"e"}"#, Some("e")),
            (r#"{"data":1.5,"x":-1,"y":true,"bot_id":""}"#, None),
            (r#"{"other":{"bot_id":"not"}}"#, None),
            (r#"["bot_id","x"]"#, None),
            (r#""bot_id""#, None),
            ("not json", None),
            ("", None),
        ] {
            assert_eq!(bot_of(body.as_bytes()).as_deref(), expected, "{body}");
        }
        let deep = format!("{}{}", r#"{"data":"#.repeat(10_000), "}".repeat(10_000));
        assert_eq!(bot_of(deep.as_bytes()), None);
    }
}
