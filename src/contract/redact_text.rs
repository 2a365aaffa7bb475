//! Secrets in text, wherever they stand in it: `name=value`, `<name>value</name>` and lines `name: value` where the name
//! says that it is one, `//user:password@`, `Bearer …`, and all that below percent-encoding and base64.

use std::borrow::Cow;
use std::ops::Range;

use super::redact::MOST_LAYERS;
use super::redact_encoded as encoded;

/// What stands in the place of a secret; fit for a URL.
const REDACTED: &[u8] = b"REDACTED";

/// Lower-case parts of names of parameters that hold a secret.
const SECRET_PARTS: [&str; 11] =
    ["sig", "token", "key", "secret", "password", "passwd", "pwd", "credential", "auth", "jwt", "session"];

/// Lower-case parts of names of lines `name: value` whose value is a secret.
const LINE_PARTS: [&str; 10] = [
    "token",
    "secret",
    "password",
    "passwd",
    "signature",
    "authorization",
    "cookie",
    "api-key",
    "api_key",
    "apikey",
];

/// The same text without secrets.
pub(super) fn redact(text: &[u8]) -> Cow<'_, [u8]> {
    redact_layer(text, 0)
}

/// Whether a parameter of that name holds a secret. The name may be percent-encoded.
fn is_secret(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(&decode(name)).to_ascii_lowercase();
    SECRET_PARTS.iter().any(|part| name.contains(part))
}

/// The same text, that was found below so many layers of encoding, without secrets.
pub(super) fn redact_layer(text: &[u8], layer: usize) -> Cow<'_, [u8]> {
    let (mut out, mut copied, mut at) = (Vec::new(), 0, 0);
    // Up to where base64 was looked for: a path is a run of its digits, and each of its words would begin another.
    let mut looked_through = 0;
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
        if at >= looked_through && layer < MOST_LAYERS {
            looked_through = encoded::end(text, at);
            if let Some(hidden) = encoded::hidden(&text[at..looked_through], layer) {
                replace(at + hidden.start, at + hidden.end);
                at += hidden.end;
                looked_through = at;
                continue;
            }
        }
        let end = run(text, at, is_of_name);
        let name = &text[at..end];
        if let Some(value) = told_by(text, at, end) {
            replace(value.start, value.end);
            at = value.end;
            continue;
        }
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

/// The secret that the word from `at` to `end` announces by where it stands: before a colon at the beginning of a line, in
/// the brackets of an element, or as the scheme of a credential.
fn told_by(text: &[u8], at: usize, end: usize) -> Option<Range<usize>> {
    let word = &text[at..end];
    let names = || {
        let word = String::from_utf8_lossy(word).to_ascii_lowercase();
        LINE_PARTS.iter().any(|part| word.contains(part))
    };
    let begins_a_line = || {
        let before = text[..at].iter().rev().find(|byte| !b" \t".contains(byte));
        before.is_none_or(|byte| *byte == b'\n')
    };
    let value = match text.get(end) {
        Some(b':') if begins_a_line() && names() => {
            let start = run(text, end + 1, |byte| byte == b' ' || byte == b'\t');
            start..run(text, start, |byte| byte != b'\r' && byte != b'\n')
        }
        Some(b'>') if text[..at].ends_with(b"<") && names() => {
            end + 1..run(text, end + 1, |byte| byte != b'<')
        }
        Some(b' ') if word.eq_ignore_ascii_case(b"bearer") => {
            let value = end + 1..run(text, end + 1, |byte| !ends_value(byte) && byte != b',');
            // A word of a sentence is shorter, or has no digit.
            let is_one = value.len() >= 16 && text[value.clone()].iter().any(u8::is_ascii_digit);
            return is_one.then_some(value);
        }
        Some(b' ') if word.eq_ignore_ascii_case(b"basic") => {
            let value = end + 1..run(text, end + 1, |byte| !ends_value(byte) && byte != b',');
            return encoded::is_user_and_password(&text[value.clone()]).then_some(value);
        }
        _ => return None,
    };
    (!value.is_empty() && &text[value.clone()] != REDACTED).then_some(value)
}

/// Whether there is a secret below the percent-encoding.
fn hides_a_secret(word: &[u8], layer: usize) -> bool {
    match decode(word) {
        Cow::Borrowed(_) => false,
        Cow::Owned(decoded) => matches!(redact_layer(&decoded, layer + 1), Cow::Owned(_)),
    }
}

/// Where the run of bytes that `belong` ends.
pub(super) fn run(text: &[u8], from: usize, belong: impl Fn(u8) -> bool) -> usize {
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
            ("a: b\r\n X-Api-Key: abc d\r\nc: d", "a: b\r\n X-Api-Key: REDACTED\r\nc: d"),
            ("<a><Password>p w</Password></a>", "<a><Password>REDACTED</Password></a>"),
            ("sent Bearer abcdefghijklmno1, then", "sent Bearer REDACTED, then"),
            ("with Basic dXNlcjpwYXNzd29yZA==", "with Basic REDACTED"),
            // token=abcdefghijkl&x=1, and {"password":"hunter2"} for URLs
            ("x=dG9rZW49YWJjZGVmZ2hpamtsJng9MQ==&y", "x=REDACTED&y"),
            ("/a/eyJwYXNzd29yZCI6Imh1bnRlcjIifQ", "/a/REDACTED"),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "REDACTED"),
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
            "Basic information, Bearer of news",
            "we said that the token: none",
            "<token/>",
            "the quick brown fox jumps/over/the/lazy/dog/again/and/again",
            // Two hashes, and text without a secret in base64.
            "55e8c53b9a9ccf9a83003c70ee2f5725183c628ff0be602b6ed0c09744345b93",
            "SGVsbG8sIHRoaXMgaXMganVzdCBhIHRleHQu",
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
