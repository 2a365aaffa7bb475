//! Secrets in JSON: string by string, so that everything else stays as it was written, even where the end is missing.

use std::borrow::Cow;

use super::redact::MOST_LAYERS;
use super::{redact, redact_text};

/// Lower-case parts of keys whose text is a secret.
const SECRET_PARTS: [&str; 19] = [
    "secret",
    "password",
    "passwd",
    "token",
    "signature",
    "credential",
    "authorization",
    "cookie",
    "api_key",
    "apikey",
    "api-key",
    "access_key",
    "private_key",
    "accesskey",
    "privatekey",
    "passphrase",
    "pwd",
    "jwt",
    "bearer",
];

/// Keys of what a pair is called, in lists of pairs such as `{"name":"Authorization","value":"…"}`.
const NAME_KEYS: [&[u8]; 2] = [b"\"name\"", b"\"key\""];

/// What stands in the place of a text that is a secret as a whole.
const MASKED: &[u8] = b"\"[masked]\"";

fn is_secret(literal: &[u8]) -> bool {
    let key = serde_json::from_slice::<String>(literal);
    let key = key.unwrap_or_else(|_| String::from_utf8_lossy(literal).into_owned()).to_ascii_lowercase();
    SECRET_PARTS.iter().any(|part| key.contains(part))
}

/// The same JSON, that was found below so many layers, without secrets.
pub(super) fn redact_layer(json: &[u8], layer: usize) -> Cow<'_, [u8]> {
    let (mut out, mut copied, mut at) = (Vec::new(), 0, 0);
    // Where the value of a secret's key has to begin, and where that of a key that names a pair.
    let (mut secret_at, mut name_at) = (None, None);
    // How many brackets are open, and from how many on all texts are secrets: in the list or the object of such a key.
    let (mut depth, mut secret_from) = (0_isize, None);
    let mut is_secret_pair = false;
    // In JSON, a string has no line ends: where one has, quotes may stand for something else.
    let mut is_likely = true;
    loop {
        let start = memchr::memchr(b'"', &json[at..]).map_or(json.len(), |ahead| at + ahead);
        let between = &json[at..start];
        is_secret_pair &= !between.iter().any(|byte| b"{}".contains(byte));
        for byte in between {
            match byte {
                b'[' | b'{' => depth += 1,
                b']' | b'}' => {
                    depth -= 1;
                    secret_from = secret_from.filter(|from| depth >= *from);
                }
                _ => {}
            }
        }
        // There is nothing to find in JSON; but what looks like JSON need not be.
        if let Cow::Owned(redacted) = redact_text::redact_layer(between, layer) {
            out.extend_from_slice(&json[copied..at]);
            out.extend_from_slice(&redacted);
            copied = start;
        }
        if start == json.len() {
            break;
        }
        let end = literal_end(json, start);
        let next = past_space(json, end);
        let literal = &json[start..end];
        is_likely &= !literal.iter().any(|byte| b"\r\n".contains(byte));
        let is_key = json.get(next) == Some(&b':');
        let redacted = match redact_literal(literal, layer) {
            _ if secret_at == Some(start) && literal.len() > 2 => Cow::Borrowed(MASKED),
            _ if secret_from.is_some() && !is_key && literal.len() > 2 => Cow::Borrowed(MASKED),
            redacted => redacted,
        };
        if redacted != literal {
            out.extend_from_slice(&json[copied..start]);
            out.extend_from_slice(&redacted);
            copied = end;
        }
        is_secret_pair |= name_at == Some(start) && is_secret(literal);
        let value_at = is_key.then(|| past_space(json, next + 1));
        secret_at = value_at.filter(|_| is_secret(literal) || (is_secret_pair && literal == b"\"value\""));
        if secret_at.is_some_and(|at| json.get(at).is_some_and(|byte| b"[{".contains(byte))) {
            secret_from = secret_from.or(Some(depth + 1));
        }
        name_at = value_at.filter(|_| NAME_KEYS.contains(&literal));
        at = end;
    }
    let redacted = if copied == 0 {
        Cow::Borrowed(json)
    } else {
        out.extend_from_slice(&json[copied..]);
        Cow::Owned(out)
    };
    if is_likely {
        return redacted;
    }
    let as_text = match redact_text::redact_layer(&redacted, layer) {
        Cow::Owned(changed) => Some(changed),
        Cow::Borrowed(_) => None,
    };
    as_text.map_or(redacted, Cow::Owned)
}

/// The end of the string that begins at `start`: behind its second quote, or where the text is cut off.
fn literal_end(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < json.len() {
        match json[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    json.len()
}

fn past_space(json: &[u8], from: usize) -> usize {
    let rest = json.get(from..).unwrap_or_default();
    from + rest.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(rest.len())
}

fn redact_literal(literal: &[u8], layer: usize) -> Cow<'_, [u8]> {
    let Ok(text) = serde_json::from_slice::<String>(literal) else {
        // Cut off, or with half a character: escapes could hide something, and then all of it goes.
        let is_text = std::str::from_utf8(literal).is_ok();
        let hides =
            literal.windows(2).any(|pair| pair == b"\\u" || pair == b"\\/" || !is_text && pair[0] == b'\\');
        return if hides { Cow::Borrowed(MASKED) } else { redact_text::redact_layer(literal, layer) };
    };
    let redacted = if layer < MOST_LAYERS {
        redact::content(text.as_bytes(), layer + 1)
    } else {
        redact_text::redact_layer(text.as_bytes(), layer)
    };
    match redacted {
        Cow::Borrowed(_) => Cow::Borrowed(literal),
        Cow::Owned(changed) => {
            let text = String::from_utf8_lossy(&changed);
            Cow::Owned(serde_json::Value::from(text).to_string().into_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redacted(json: &str) -> String {
        String::from_utf8(redact_layer(json.as_bytes(), 0).into_owned()).unwrap()
    }

    #[test]
    fn secrets_go_from_keys_urls_and_json_within_json() {
        for (json, without) in [
            (
                r#"{"mp4":"https:\/\/s3.test\/a?X-Amz-Signature=abc\u0026x=1", "n" : 1.0}"#,
                r#"{"mp4":"https://s3.test/a?X-Amz-Signature=REDACTED&x=1", "n" : 1.0}"#,
            ),
            (
                r#"{"API_KEY" : "k","token":7,"Secret":""}"#,
                r#"{"API_KEY" : "[masked]","token":7,"Secret":""}"#,
            ),
            (r#"{"extra":"{\"password\":\"p\"}"}"#, r#"{"extra":"{\"password\":\"[masked]\"}"}"#),
            (
                r#"{"secrets":["a",["b"],{"k":"c"}],"x":["d"],"tokens":{"a":{"b":["e"]},"f":""},"y":[["g"],["h"]]}"#,
                r#"{"secrets":["[masked]",["[masked]"],{"k":"[masked]"}],"x":["d"],"tokens":{"a":{"b":["[masked]"]},"f":""},"y":[["g"],["h"]]}"#,
            ),
            (r#"{"tokens":[],"a":["b"]}"#, r#"{"tokens":[],"a":["b"]}"#),
            (r#"{"secrets":["ab"#, r#"{"secrets":["[masked]""#),
            (r#"["token","http://a:b@c"]"#, r#"["token","http://REDACTED@c"]"#),
            (r#"{"to\u006ben":"abc"}"#, r#"{"to\u006ben":"[masked]"}"#),
            (r#"{"u":"http://h/?key=abc"#, r#"{"u":"http://h/?key=REDACTED"#),
            (r#"{"u":"http://h/?k\u0065y=\ud800"}"#, r#"{"u":"[masked]"}"#),
            ("\"/?sig=1\"", "\"/?sig=REDACTED\""),
            (
                r#"[{"name":"X-Api-Key","value":"k"},{"name":"a","value":"b"}]"#,
                r#"[{"name":"X-Api-Key","value":"[masked]"},{"name":"a","value":"b"}]"#,
            ),
            (r#"{"data":"eyJwYXNzd29yZCI6Imh1bnRlcjIifQ=="}"#, r#"{"data":"REDACTED"}"#),
            ("{token=abc", "{token=REDACTED"),
            ("{\"\r\npassword:\"x\"", "{\"\r\npassword:REDACTED"),
        ] {
            assert_eq!(redacted(json), without);
        }
    }

    #[test]
    fn bytes_that_are_no_text_hide_nothing_beside_them() {
        let json = [br#"{"j":"{\"secret\":\"abc\"} "#.as_slice(), &[0xff], br#""}"#].concat();
        let redacted = String::from_utf8_lossy(&redact_layer(&json, 0)).into_owned();
        assert!(redacted.contains("[masked]") && !redacted.contains("abc"), "{redacted}");
    }

    #[test]
    fn what_holds_no_secret_stays_to_the_byte() {
        for json in [
            "{ \"a\" :1e2,\n\"b\":\"\\u00e9\\/\" ,\"c\":[true,null]}",
            r#"{"transcript":[{"speaker":"Ana","words":"the token"}],"mp4":"https://h/a.mp4"}"#,
            "[",
            "\"\\",
        ] {
            assert_eq!(redacted(json), json);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), any::<u8>()], 0..60)) {
            drop(redact_layer(&bytes, 0));
        }
    }
}
