//! What may have been signed instead of the body that is here, and with which key.

use std::borrow::Cow;
use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::{GzDecoder, ZlibDecoder};

use super::cause::{Cause, Charset, KeyForm, Side};
use crate::json::Written;
use crate::model::{Contract, Secret};
use crate::signature::svix::{PREFIX, unquoted};
use crate::signature::{Key, Keyring};

/// A byte order mark in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How much is taken out of a compressed body, in bytes.
const MOST_DECOMPRESSED: u64 = 1024 * 1024;

/// How many other secrets are tried.
const MOST_SECRETS: usize = 32;

/// Bytes that may have been signed, or signed with, and what that would mean; nothing when it is right.
pub(super) type Candidate<'a> = (Cow<'a, [u8]>, Option<Cause>);

/// The keys that may have been used, the right ones first.
pub(super) fn keys<'a>(contract: Contract, right: &'a Key, ring: &'a Keyring) -> Vec<Candidate<'a>> {
    let mut keys: Vec<Candidate<'a>> = Vec::new();
    for secret in &right.secrets {
        keys.extend(usual(contract, secret).map(|key| (key, None)));
    }
    for secret in &right.secrets {
        keys.extend(
            forms(contract, secret.expose()).into_iter().map(|(key, form)| (key, Some(Cause::KeyForm(form)))),
        );
    }
    for (secret, which) in ring.every().take(MOST_SECRETS) {
        keys.extend(usual(contract, secret).map(|key| (key, Some(Cause::OtherSecret { which }))));
    }
    without_repeats(keys)
}

/// The bytes that a contract signs with.
fn usual(contract: Contract, secret: &Secret) -> Option<Cow<'_, [u8]>> {
    let text = secret.expose();
    match contract {
        Contract::V2 => STANDARD.decode(text.strip_prefix(PREFIX)?).ok().map(Cow::Owned),
        _ => Some(Cow::Borrowed(text.as_bytes())),
    }
}

/// What else people make of a secret.
fn forms(contract: Contract, text: &str) -> Vec<(Cow<'_, [u8]>, KeyForm)> {
    let behind = text.strip_prefix(PREFIX);
    let mut forms = vec![];
    if contract == Contract::V2 {
        forms.push((Cow::Borrowed(text.as_bytes()), KeyForm::Text));
    }
    if let Some(behind) = behind {
        forms.push((Cow::Borrowed(behind.as_bytes()), KeyForm::WithoutPrefix));
    }
    if contract != Contract::V2 {
        if let Ok(bytes) = STANDARD.decode(behind.unwrap_or(text)) {
            forms.push((Cow::Owned(bytes), KeyForm::FromBase64));
        }
        if let Ok(bytes) = hex::decode(text) {
            forms.push((Cow::Owned(bytes), KeyForm::FromHexadecimal));
        }
        if behind.is_none() {
            forms.push((Cow::Owned([PREFIX, text].concat().into_bytes()), KeyForm::WithPrefix));
        }
        forms.push((Cow::Owned([text, "\n"].concat().into_bytes()), KeyForm::WithLineFeed));
        forms.push((Cow::Borrowed(text.trim().as_bytes()), KeyForm::Trimmed));
        forms.extend(unquoted(text).map(|inner| (Cow::Borrowed(inner.as_bytes()), KeyForm::Unquoted)));
        for quote in ["\"", "'"] {
            forms.push((Cow::Owned([quote, text, quote].concat().into_bytes()), KeyForm::Quoted));
        }
    }
    forms
}

/// The bodies that may have been signed, the one that is here first.
pub(super) fn bodies(body: &[u8]) -> Vec<Candidate<'_>> {
    let mut bodies: Vec<Candidate<'_>> = vec![(Cow::Borrowed(body), None)];
    let mut add =
        |bytes: Cow<'_, [u8]>, cause: Cause| bodies.push((Cow::Owned(bytes.into_owned()), Some(cause)));
    for (end, without) in [("\n", body.strip_suffix(b"\n")), ("\r\n", body.strip_suffix(b"\r\n"))] {
        if let Some(without) = without {
            add(without.into(), Cause::FinalLineFeed(Side::Here));
        }
        add([body, end.as_bytes()].concat().into(), Cause::FinalLineFeed(Side::Signed));
    }
    match body.strip_prefix(BYTE_ORDER_MARK) {
        Some(without) => add(without.into(), Cause::ByteOrderMark(Side::Here)),
        None => add([BYTE_ORDER_MARK, body].concat().into(), Cause::ByteOrderMark(Side::Signed)),
    }
    if body.contains(&b'\n') {
        let few: Vec<u8> = without_carriage_returns(body);
        add(with_carriage_returns(&few).into(), Cause::LineEnds);
        add(few.into(), Cause::LineEnds);
    }
    if let Some((text, charset)) = from_charset(body) {
        add(text.into_bytes().into(), Cause::Charset(charset));
    }
    if let Some(plain) = decompressed(body) {
        add(plain.into(), Cause::Compressed);
    }
    if let Some(written) = Written::read(plain_json(body)) {
        let (all, found) = written.written_by_all();
        for (signed, text) in all {
            add(text.into_bytes().into(), Cause::Reserialised { found, signed });
        }
    }
    without_repeats(bodies)
}

/// The JSON in a body, without what may stand around it.
pub(super) fn plain_json(body: &[u8]) -> &[u8] {
    body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body).trim_ascii()
}

/// The text of a body that is not in UTF-8.
fn from_charset(body: &[u8]) -> Option<(String, Charset)> {
    let (bytes, unit): (_, fn([u8; 2]) -> u16) = match body {
        [0xff, 0xfe, rest @ ..] => (rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => (rest, u16::from_be_bytes),
        [1..=0x7f, 0, ..] => (body, u16::from_le_bytes),
        [0, 1..=0x7f, ..] => (body, u16::from_be_bytes),
        _ if std::str::from_utf8(body).is_ok() => return None,
        // Each byte is a character there.
        _ => return Some((body.iter().copied().map(char::from).collect(), Charset::Latin1)),
    };
    let (units, rest) = bytes.as_chunks();
    let text: Result<String, _> = char::decode_utf16(units.iter().copied().map(unit)).collect();
    text.ok().filter(|_| rest.is_empty()).map(|text| (text, Charset::Utf16))
}

/// What a body was before it was compressed; `None` when it is not, or is far too large.
fn decompressed(body: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let read = match body {
        [0x1f, 0x8b, ..] => GzDecoder::new(body).take(MOST_DECOMPRESSED + 1).read_to_end(&mut plain),
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => {
            ZlibDecoder::new(body).take(MOST_DECOMPRESSED + 1).read_to_end(&mut plain)
        }
        _ => return None,
    };
    (read.is_ok() && plain.len() as u64 <= MOST_DECOMPRESSED).then_some(plain)
}

fn without_carriage_returns(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    for (index, byte) in body.iter().enumerate() {
        if *byte != b'\r' || body.get(index + 1) != Some(&b'\n') {
            out.push(*byte);
        }
    }
    out
}

fn with_carriage_returns(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    for byte in body {
        if *byte == b'\n' {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

/// The first of each that are the same: it says best what they are.
fn without_repeats(candidates: Vec<Candidate<'_>>) -> Vec<Candidate<'_>> {
    let mut kept: Vec<Candidate<'_>> = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        if kept.iter().all(|(bytes, _)| *bytes != candidate.0) {
            kept.push(candidate);
        }
    }
    kept
}
