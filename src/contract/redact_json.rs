//! Secrets in JSON: string by string, so that everything else stays as it was written, even where the end is missing.

use std::borrow::Cow;

use super::redact_text;

/// Lower-case parts of keys whose text is a secret.
const SECRET_PARTS: [&str; 13] = [
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
];

/// What stands in the place of a text that is a secret as a whole.
const MASKED: &[u8] = b"\"[masked]\"";

/// How many layers of JSON within strings are looked through.
const MOST_LAYERS: usize = 4;

/// The same JSON without secrets.
pub(super) fn redact(json: &[u8]) -> Cow<'_, [u8]> {
    redact_layer(json, 0)
}

fn is_secret(literal: &[u8]) -> bool {
    let key = serde_json::from_slice::<String>(literal);
    let key = key.unwrap_or_else(|_| String::from_utf8_lossy(literal).into_owned()).to_ascii_lowercase();
    SECRET_PARTS.iter().any(|part| key.contains(part))
}

fn redact_layer(json: &[u8], layer: usize) -> Cow<'_, [u8]> {
    let (mut out, mut copied, mut at) = (Vec::new(), 0, 0);
    // Where the value of a secret's key has to begin.
    let mut secret_at = None;
    while let Some(start) = json[at..].iter().position(|byte| *byte == b'"').map(|ahead| at + ahead) {
        let end = literal_end(json, start);
        let next = past_space(json, end);
        let literal = &json[start..end];
        let is_key = json.get(next) == Some(&b':');
        let redacted = match redact_literal(literal, layer) {
            _ if secret_at == Some(start) && literal.len() > 2 => Cow::Borrowed(MASKED),
            redacted => redacted,
        };
        if redacted != literal {
            out.extend_from_slice(&json[copied..start]);
            out.extend_from_slice(&redacted);
            copied = end;
        }
        secret_at = (is_key && is_secret(literal)).then(|| past_space(json, next + 1));
        at = end;
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    out.extend_from_slice(&json[copied..]);
    Cow::Owned(out)
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
        let hides = literal.windows(2).any(|pair| pair == b"\\u" || pair == b"\\/");
        return if hides { Cow::Borrowed(MASKED) } else { redact_text::redact(literal) };
    };
    let is_json = text.trim_start().starts_with(['{', '[']) && layer < MOST_LAYERS;
    let redacted =
        if is_json { redact_layer(text.as_bytes(), layer + 1) } else { redact_text::redact(text.as_bytes()) };
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
        String::from_utf8(redact(json.as_bytes()).into_owned()).unwrap()
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
            (r#"["token","http://a:b@c"]"#, r#"["token","http://REDACTED@c"]"#),
            (r#"{"to\u006ben":"abc"}"#, r#"{"to\u006ben":"[masked]"}"#),
            (r#"{"u":"http://h/?key=abc"#, r#"{"u":"http://h/?key=REDACTED"#),
            (r#"{"u":"http://h/?k\u0065y=\ud800"}"#, r#"{"u":"[masked]"}"#),
            ("\"/?sig=1\"", "\"/?sig=REDACTED\""),
        ] {
            assert_eq!(redacted(json), without);
        }
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
            drop(redact(&bytes));
        }
    }
}
