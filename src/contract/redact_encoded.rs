//! Secrets below base64: a run of its digits that stands for a text with a secret in it, or for a token that is signed.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{redact, redact_text};

/// The shortest run that is looked into, in digits: below, there is no room for a name and a secret.
const SHORTEST: usize = 16;

/// Base64 however it is written: with or without padding, and whatever the last bits are.
const TOLERANT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const ENGINES: [GeneralPurpose; 2] =
    [GeneralPurpose::new(&STANDARD, TOLERANT), GeneralPurpose::new(&URL_SAFE, TOLERANT)];

/// Where the run of digits that begins at `from` ends, with its padding. Tokens are several runs with dots between.
pub(super) fn end(text: &[u8], from: usize) -> usize {
    let digits = redact_text::run(text, from, is_digit);
    let padding = redact_text::run(text, digits, |byte| byte == b'=');
    if padding - digits <= 2 { padding } else { digits }
}

/// What of a run hides a secret, below so many layers of others: all of it, or the first such part of those that dots and
/// slashes make of it.
pub(super) fn hidden(run: &[u8], layer: usize) -> Option<Range<usize>> {
    if run.len() < SHORTEST {
        return None;
    }
    if is_signed_token(run.split(|byte| *byte == b'.')) || hides_a_secret(run, layer) {
        return Some(0..run.len());
    }
    let mut start = 0;
    for part in run.split(|byte| b"./".contains(byte)) {
        if part.len() < run.len() && hides_a_secret(part, layer) {
            return Some(start..start + part.len());
        }
        start += part.len() + 1;
    }
    None
}

/// Whether it is what stands behind `Basic`: a user's name, a colon and a password.
pub(super) fn is_user_and_password(run: &[u8]) -> bool {
    decode(run).is_some_and(|text| text.contains(&b':'))
}

fn hides_a_secret(run: &[u8], layer: usize) -> bool {
    run.len() >= SHORTEST
        && decode(run).is_some_and(|text| matches!(redact::content(&text, layer + 1), Cow::Owned(_)))
}

/// Whether it is a JSON Web Token: whoever has it may do what it says.
fn is_signed_token<'a>(mut parts: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut is_object = || parts.next().and_then(decode).is_some_and(|text| text.starts_with(b"{"));
    is_object() && is_object()
}

/// The text that a run stands for. What is not text is something else that happens to have such digits, or a file.
fn decode(run: &[u8]) -> Option<Vec<u8>> {
    let decoded = ENGINES.iter().find_map(|engine| engine.decode(run).ok())?;
    let is_text = |text: &str| !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'));
    std::str::from_utf8(&decoded).is_ok_and(is_text).then_some(decoded)
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_.".contains(&byte)
}
