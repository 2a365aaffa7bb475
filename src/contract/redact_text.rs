//! Secrets in text, wherever they stand in it: `name=value` where the name says that it is one, and `//user:password@`.

use std::borrow::Cow;

/// What stands in the place of a secret; fit for a URL.
const REDACTED: &[u8] = b"REDACTED";

/// Lower-case parts of names of parameters that hold a secret.
const SECRET_PARTS: [&str; 11] =
    ["sig", "token", "key", "secret", "password", "passwd", "pwd", "credential", "auth", "jwt", "session"];

/// How many layers of percent-encoding are looked through: a URL is often a parameter of another.
const MOST_LAYERS: usize = 4;

/// The same text without secrets.
pub(super) fn redact(text: &[u8]) -> Cow<'_, [u8]> {
    redact_layer(text, 0)
}

/// Whether a parameter of that name holds a secret. The name may be percent-encoded.
fn is_secret(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(&decode(name)).to_ascii_lowercase();
    SECRET_PARTS.iter().any(|part| name.contains(part))
}

fn redact_layer(text: &[u8], layer: usize) -> Cow<'_, [u8]> {
    let (mut out, mut copied, mut at) = (Vec::new(), 0, 0);
    let mut replace = |from: usize, to: usize| {
        out.extend_from_slice(&text[copied..from]);
        out.extend_from_slice(REDACTED);
        copied = to;
    };
    while at < text.len() {
        if !is_of_name(text[at]) {
            if text[at..].starts_with(b"://") {
                let start = at + 3;
                let authority = run(text, start, |b| !b"/?#".contains(&b) && !ends_value(b));
                if let Some(user) = text[start..authority].iter().rposition(|b| *b == b'@') {
                    replace(start, start + user);
                    at = authority;
                    continue;
                }
            }
            at += 1;
            continue;
        }
        let end = run(text, at, is_of_name);
        let name = &text[at..end];
        if text.get(end) == Some(&b'=') && is_secret(name) {
            let value = run(text, end + 1, |b| b != b'&' && b != b'#' && !ends_value(b));
            if value > end + 1 {
                replace(end + 1, value);
            }
            at = value;
        } else {
            if layer < MOST_LAYERS && hides_a_secret(name, layer) {
                replace(at, end);
            }
            at = end;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.extend_from_slice(&text[copied..]);
    Cow::Owned(out)
}

/// Whether there is a secret below the percent-encoding.
fn hides_a_secret(word: &[u8], layer: usize) -> bool {
    match decode(word) {
        Cow::Borrowed(_) => false,
        Cow::Owned(decoded) => matches!(redact_layer(&decoded, layer + 1), Cow::Owned(_)),
    }
}

/// Where the run of bytes that `belong` ends.
fn run(text: &[u8], from: usize, belong: impl Fn(u8) -> bool) -> usize {
    text[from..].iter().position(|b| !belong(*b)).map_or(text.len(), |length| from + length)
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.%+[]$~".contains(&byte) || byte >= 0x80
}

fn ends_value(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b"\"'`<>\\".contains(&byte)
}

fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let digits = (text[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        let mut byte = [0];
        match digits {
            Some(digits) if hex::decode_to_slice(digits, &mut byte).is_ok() => {
                decoded.push(byte[0]);
                at += 3;
            }
            _ => {
                decoded.push(text[at]);
                at += 1;
            }
        }
    }
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redacted(text: &str) -> String {
        String::from_utf8(redact(text.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn secrets_in_urls_go_wherever_they_stand() {
        for (text, without) in [
            ("/hooks?token=abc&x=1", "/hooks?token=REDACTED&x=1"),
            (
                "/?X-Amz-Credential=AK%2F1&X-Amz-Date=2&X-Amz-Signature=0a",
                "/?X-Amz-Credential=REDACTED&X-Amz-Date=2&X-Amz-Signature=REDACTED",
            ),
            (
                "see https://u:p%40w@h:1/a?Key-Pair-Id=K#access_token=t.",
                "see https://REDACTED@h:1/a?Key-Pair-Id=REDACTED#access_token=REDACTED",
            ),
            ("<a href=\"http://h/?a=1&amp;sig=s\">", "<a href=\"http://h/?a=1&amp;sig=REDACTED\">"),
            ("?%74oken=abc", "?%74oken=REDACTED"),
            ("?next=https%3A%2F%2Fh%2F%3Ftoken%3Dabc&a=b", "?next=REDACTED&a=b"),
            ("/p/https%253A%252F%252Fu%253Ap%2540h", "/p/REDACTED"),
            ("postgres://u:p@h/db", "postgres://REDACTED@h/db"),
            ("api_key=1\nclient_secret=2", "api_key=REDACTED\nclient_secret=REDACTED"),
            ("?PASSWORD=a=b;c&d=e", "?PASSWORD=REDACTED&d=e"),
        ] {
            assert_eq!(redacted(text), without);
        }
    }

    #[test]
    fn what_holds_no_secret_stays() {
        for text in [
            "",
            "/",
            "/a?b=c&d=%20e",
            "https://example.test/a@b?c=d",
            "ana@example.test",
            "token",
            "?token=",
            "a = b",
            "100%",
            "https%3A%2F%2Fh%2F",
            "://",
            "the key: none",
        ] {
            assert_eq!(redacted(text), text);
            assert!(matches!(redact(text.as_bytes()), Cow::Borrowed(_)));
        }
    }

    proptest! {
        #[test]
        fn no_value_of_a_secret_survives(before in "[ -~]{0,20}", value in "[a-zA-Z0-9%/+=.;_-]{1,20}", after in "([&# ][ -~]{0,20})?") {
            let text = format!("{before}?X-Signature=\u{1}{value}{after}").replace('\u{1}', "CANARY");
            prop_assert!(!redacted(&text).contains("CANARY"), "{}", redacted(&text));
        }

        #[test]
        fn any_bytes_are_taken_and_redacting_twice_changes_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let once = redact(&bytes).into_owned();
            prop_assert_eq!(redact(&once).into_owned(), once);
        }
    }
}
