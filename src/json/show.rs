//! Pieces of a source in messages: short, harmless to a terminal, with a hint where the mistake is a known one.

use std::fmt::Write;

/// The most characters of a source that a message shows.
const LONGEST: usize = 20;

/// Describes what stands at the beginning of `rest`; `None` at the end.
pub(super) fn found(rest: &str) -> Option<String> {
    let first = rest.chars().next()?;
    if first == '\u{feff}' {
        return Some("a byte order mark; save the file without it".to_owned());
    }
    if first == '#' || rest.starts_with("//") || rest.starts_with("/*") {
        return Some("a comment, which JSON does not have".to_owned());
    }
    let token = token(rest);
    Some(format!("{}{}", excerpt(token), hint(token)))
}

/// The string, word or single character at the beginning of `rest`, in back quotes; `None` at the end.
pub(super) fn first_token(rest: &str) -> Option<String> {
    (!rest.is_empty()).then(|| excerpt(token(rest)))
}

/// A piece of the source in back quotes, at most [`LONGEST`] characters of it.
pub(super) fn excerpt(piece: &str) -> String {
    let mut shown = String::new();
    let mut kept = 0;
    for character in piece.chars() {
        push_printable(&mut shown, character);
        let length = shown.chars().count();
        if length > LONGEST {
            shown.truncate(kept);
            shown.push('…');
            break;
        }
        if length < LONGEST {
            kept = shown.len();
        }
    }
    format!("`{shown}`")
}

/// Escapes, as JSON does, what a terminal would obey or a reader would not see.
pub(super) fn escape_unprintable(piece: &str) -> String {
    let mut shown = String::with_capacity(piece.len());
    for character in piece.chars() {
        push_printable(&mut shown, character);
    }
    shown
}

fn push_printable(shown: &mut String, character: char) {
    match character {
        '\n' => shown.push_str("\\n"),
        '\r' => shown.push_str("\\r"),
        '\t' => shown.push_str("\\t"),
        _ if is_unprintable(character) => {
            write!(shown, "\\u{:04x}", u32::from(character)).expect("a String takes all writes");
        }
        _ => shown.push(character),
    }
}

/// Control characters, white space but for the space itself, and what is invisible or turns the direction of writing.
fn is_unprintable(character: char) -> bool {
    let is_odd_space = character.is_whitespace() && character != ' ';
    let is_invisible = matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    );
    character.is_control() || is_odd_space || is_invisible
}

/// The string, word or single character at the beginning of `rest`.
fn token(rest: &str) -> &str {
    let end = match rest.chars().next() {
        Some(quote @ ('"' | '\'')) => quoted_end(rest, quote),
        Some(first) if is_word(first) => rest.find(|c| !is_word(c)),
        Some(first) => Some(first.len_utf8()),
        None => None,
    };
    &rest[..end.unwrap_or(rest.len())]
}

/// Where the quoted piece ends: after its second quote, or before the end of its line.
fn quoted_end(rest: &str, quote: char) -> Option<usize> {
    let end = 1 + rest[1..].find([quote, '\n', '\r'])?;
    Some(if rest[end..].starts_with(quote) { end + 1 } else { end })
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '$' | '.' | '+' | '-')
}

/// What to write instead, for the mistakes that other languages suggest.
fn hint(token: &str) -> &'static str {
    match token {
        "NaN" | "Infinity" | "+Infinity" | "-Infinity" | "undefined" => {
            "; JSON has no such value, write `null`"
        }
        "None" | "nil" | "NULL" | "Null" => "; write `null`",
        "True" | "TRUE" => "; write `true`",
        "False" | "FALSE" => "; write `false`",
        _ if token.starts_with(['\'', '`', '“', '”', '‘', '’', '„', '«']) => {
            "; strings take straight double quotes"
        }
        _ if token.starts_with('+') => "; a number takes no `+`",
        _ if token.starts_with('.') && token[1..].starts_with(|c: char| c.is_ascii_digit()) => {
            "; a number takes a digit before the `.`"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::{excerpt, found};

    #[test]
    fn excerpts_are_short_and_harmless() {
        assert_eq!(excerpt("12345678901234567890"), "`12345678901234567890`");
        assert_eq!(excerpt("123456789012345678901"), "`1234567890123456789…`");
        assert_eq!(excerpt("\u{1b}[2J\r\n\u{202e}\u{9b}"), "`\\u001b[2J\\r\\n\\u202e…`");
    }

    #[test]
    fn a_token_is_a_string_a_word_or_a_character() {
        for (rest, shown) in [
            ("\"data\": 1", "`\"data\"`"),
            ("\"data\n", "`\"data`"),
            ("\"data", "`\"data`"),
            ("word, more", "`word`"),
            ("-1.5e+3]", "`-1.5e+3`"),
            ("{\"a\"", "`{`"),
            ("é😀", "`é`"),
            ("\u{a0}1", "`\\u00a0`"),
            ("/", "`/`"),
        ] {
            assert_eq!(found(rest).as_deref(), Some(shown));
        }
        assert_eq!(found(""), None);
    }
}
