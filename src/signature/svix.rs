//! The signature of API v2 webhooks, which Svix delivers: HMAC-SHA256 in base64 over id, time stamp and body.
//!
//! Source: the open-source svix-server and the official `svix` and `standardwebhooks` libraries. The key is what
//! stands in base64 behind `whsec_`; the message is `<id>.<seconds since 1970>.<body>`; the signature is `v1,` and
//! base64. While an endpoint changes its secret there are several, divided by spaces, and one that fits is enough.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

use super::Key;
use crate::contract::Part;
use crate::model::{Headers, Secret, Verdict, is_same_secretly};

/// What stands before the base64 of every secret.
pub const PREFIX: &str = "whsec_";

/// How far a time stamp may be from now, in seconds, both ways.
pub const TOLERANCE: i64 = 300;

/// The version of the signatures that are made with a shared secret. `v1a` ones are made with a private key.
const VERSION: &str = "v1";

/// The moment that ids of messages count seconds from (2014-05-13), as KSUIDs do.
const ID_EPOCH: i64 = 1_400_000_000;

/// How the three headers are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderStyle {
    /// `svix-*`, as Meeting BaaS sends them.
    #[default]
    Svix,
    /// `webhook-*`, the names of Standard Webhooks, which a Svix server sends when it is told to.
    Standard,
}

/// Both styles, the one that is looked for first in front.
const STYLES: [HeaderStyle; 2] = [HeaderStyle::Svix, HeaderStyle::Standard];

/// The bytes that sign.
#[derive(Clone)]
pub struct SvixKey(Vec<u8>);

/// A secret that is not of the form that v2 needs. It says where the secret came from, never what it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// It does not begin with `whsec_`.
    #[error("the secret from {0} is not a v2 secret, which begins with `whsec_`")]
    NoPrefix(String),
    /// It has not lost the quotes of the file that it was in.
    #[error("the secret from {0} is not a v2 secret: it still stands in quotes")]
    Quoted(String),
    /// It has nothing else, or what is not base64.
    #[error("the secret from {0} is not a v2 secret: what follows `whsec_` is not base64")]
    NotBase64(String),
}

impl SvixKey {
    /// The bytes of each secret of a key.
    pub fn all(key: &Key) -> Result<Vec<Self>, BadKey> {
        key.secrets.iter().map(|secret| Self::of(secret).map_err(|wrong| wrong(key.origin.clone()))).collect()
    }

    /// The bytes of a secret, or what is wrong with its form.
    pub fn of(secret: &Secret) -> Result<Self, fn(String) -> BadKey> {
        let text = secret.expose();
        let wrong =
            if unquoted(text).is_some() { BadKey::Quoted } else { BadKey::NoPrefix as fn(String) -> _ };
        let encoded = text.strip_prefix(PREFIX).ok_or(wrong)?;
        let bytes = STANDARD.decode(encoded).ok().filter(|bytes| !bytes.is_empty());
        bytes.map(Self).ok_or(BadKey::NotBase64)
    }

    /// A key that is not this one, the same each time.
    #[must_use]
    pub fn other(&self) -> Self {
        Self(self.0.iter().map(|byte| !byte).collect())
    }

    /// The signature of a message, with its version.
    pub fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let mac = mac(&self.0, id.as_bytes(), seconds.to_string().as_bytes(), body);
        format!("{VERSION},{}", STANDARD.encode(mac))
    }
}

/// What stands in quotes; `None` when nothing does.
pub(super) fn unquoted(text: &str) -> Option<&str> {
    ['"', '\''].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
}

/// What is signed, and with it every other thing that can be right or wrong about it.
pub(super) fn mac(key: &[u8], id: &[u8], timestamp: &[u8], body: &[u8]) -> [u8; 32] {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    let parts = [id, b".", timestamp, b".", body];
    parts.into_iter().fold(mac, Mac::chain_update).finalize().into_bytes().into()
}

/// The three headers of a request, as far as they are there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    pub(super) style: HeaderStyle,
    pub(super) id: Option<&'a [u8]>,
    pub(super) timestamp: Option<&'a [u8]>,
    pub(super) signature: Option<&'a [u8]>,
    /// A field that is there twice: handlers disagree on which of them counts.
    pub(super) repeated: Option<&'static str>,
}

impl<'a> Fields<'a> {
    /// The headers of the first style that is complete, else of the one that has more of them.
    pub(super) fn of(headers: &'a Headers) -> Self {
        let [svix, standard] = STYLES.map(|style| Self::named(headers, style));
        if standard.count() > svix.count() { standard } else { svix }
    }

    fn named(headers: &'a Headers, style: HeaderStyle) -> Self {
        let [id, timestamp, signature] =
            [Part::Id, Part::Timestamp, Part::Signature].map(|part| style.name(part));
        let value = |name| headers.get(name).map(AsRef::as_ref);
        let twice = |name: &&'static str| headers.get_all(name).nth(1).is_some();
        Self {
            style,
            id: value(id),
            timestamp: value(timestamp),
            signature: value(signature),
            repeated: [id, timestamp, signature].into_iter().find(twice),
        }
    }

    fn count(&self) -> usize {
        [self.id, self.timestamp, self.signature].into_iter().flatten().count()
    }

    /// The time stamp as a number; `None` when it is missing or no number.
    pub(super) fn seconds(&self) -> Option<i64> {
        let digits = std::str::from_utf8(self.timestamp?).ok()?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { digits.parse().ok() } else { None }
    }

    /// The signatures that can be checked with a shared secret. What is none is passed over, as the official libraries
    /// do: another one may fit.
    pub(super) fn signatures(&self) -> impl Iterator<Item = Vec<u8>> + use<'a> {
        let signatures = self.signature.unwrap_or_default().split(|byte| *byte == b' ');
        signatures.filter_map(|signature| {
            let comma = signature.iter().position(|byte| *byte == b',')?;
            let is_ours = signature[..comma] == *VERSION.as_bytes();
            STANDARD.decode(&signature[comma + 1..]).ok().filter(|_| is_ours)
        })
    }
}

impl HeaderStyle {
    /// The name of a header.
    pub fn name(self, part: Part) -> &'static str {
        match (self, part) {
            (Self::Svix, Part::Id) => "svix-id",
            (Self::Svix, Part::Timestamp) => "svix-timestamp",
            (Self::Svix, Part::Signature | Part::Credential) => "svix-signature",
            (Self::Standard, Part::Id) => "webhook-id",
            (Self::Standard, Part::Timestamp) => "webhook-timestamp",
            (Self::Standard, Part::Signature | Part::Credential) => "webhook-signature",
        }
    }

    /// The style of a request's headers.
    pub fn of(headers: &Headers) -> Self {
        Fields::of(headers).style
    }
}

/// Checks the headers of a request that arrived `at` a time, in constant time for each signature.
pub fn verify(keys: &[SvixKey], headers: &Headers, body: &[u8], at: Timestamp) -> Verdict {
    let fields = Fields::of(headers);
    if fields.signature.is_none() {
        return Verdict::Missing;
    }
    let (Some(id), Some(timestamp), Some(seconds), None) =
        (fields.id, fields.timestamp, fields.seconds(), fields.repeated)
    else {
        return Verdict::Invalid;
    };
    if at.as_second().abs_diff(seconds) > TOLERANCE.unsigned_abs() {
        return Verdict::Invalid;
    }
    let expected: Vec<[u8; 32]> = keys.iter().map(|key| mac(&key.0, id, timestamp, body)).collect();
    let fits = |given: Vec<u8>| expected.iter().any(|expected| is_same_secretly(expected, &given));
    if fields.signatures().any(fits) { Verdict::Valid } else { Verdict::Invalid }
}

/// A new id of a message: `msg_` and a KSUID, which is 32 bits of time and 128 of chance in 27 digits.
pub fn message_id(at: Timestamp, chance: [u8; 16]) -> String {
    let seconds = u32::try_from(at.as_second() - ID_EPOCH).unwrap_or_default();
    let mut number = [0; 20];
    number[..4].copy_from_slice(&seconds.to_be_bytes());
    number[4..].copy_from_slice(&chance);
    format!("msg_{}", base62(number))
}

fn base62(mut number: [u8; 20]) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut digits = [0; 27];
    for digit in digits.iter_mut().rev() {
        let mut rest: usize = 0;
        for byte in &mut number {
            let part = rest << 8 | usize::from(*byte);
            *byte = u8::try_from(part / 62).expect("what is left over is less than 62");
            rest = part % 62;
        }
        *digit = DIGITS[rest];
    }
    digits.map(char::from).iter().collect()
}

impl fmt::Debug for SvixKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SvixKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    const ID: &str = "msg_2xH1mbaasdevFixture0000001";
    const SECONDS: i64 = 1_795_510_812;
    const FAILED: &str = r#"{"event":"bot.failed","data":{"bot_id":"7c0e7a52-4d1b-4a86-9f0e-2b6d5a1c9e33","event_id":null,"error_message":"Bot was not accepted into the meeting.","error_code":"BOT_NOT_ACCEPTED","sent_at":"2026-11-24T09:05:52.208Z"},"extra":{"customer":"acme"}}"#;

    fn key(secret: &str) -> SvixKey {
        SvixKey::of(&secret.into()).unwrap_or_else(|_| panic!("{secret}"))
    }

    #[test]
    fn the_vectors_hold() {
        for (secret, id, seconds, body, signature) in [
            // The one that every official library tests itself with.
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            // That of standard-webhooks.
            (
                "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                1_649_367_553,
                r#"{"email":"test@example.com","username":"test_user"}"#,
                "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            ),
            (SECRET, ID, SECONDS, FAILED, "v1,ExOEJgqVcpgh+FywkxrMyJ8Y9hOhqX7fWb5N5HjuwNY="),
            (
                "whsec_b2xkLXNlY3JldC1vbGQtc2VjcmV0LW9sZC1zZWNyZXQ=",
                ID,
                SECONDS,
                FAILED,
                "v1,vtnJ73tw4X1enHhqlxtCX+u2jy2Ct0p0pTFslwIHmtA=",
            ),
        ] {
            assert_eq!(key(secret).sign(id, seconds, body.as_bytes()), signature);
        }
    }

    #[test]
    fn only_whsec_and_base64_is_a_key() {
        let wrong =
            |secret: &str| SvixKey::all(&Key::new(secret.into(), "--secret")).unwrap_err().to_string();
        for secret in
            ["", "your-webhook-secret-key", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", " whsec_AAAA", "WHSEC_AAAA"]
        {
            assert_eq!(
                wrong(secret),
                "the secret from --secret is not a v2 secret, which begins with `whsec_`"
            );
        }
        for secret in ["whsec_", "whsec_your-secret", "whsec_AAA", "whsec_AAAA\n", "whsec_AAB="] {
            let expected = "the secret from --secret is not a v2 secret: what follows `whsec_` is not base64";
            assert_eq!(wrong(secret), expected, "{secret:?}");
        }
    }

    #[test]
    fn an_id_is_a_ksuid() {
        // The sample of the KSUID specification.
        let chance = hex::decode("b5a1cd34b5f99d1154fb6853345c9735").unwrap().try_into().unwrap();
        let at = Timestamp::from_second(ID_EPOCH + 107_608_047).unwrap();
        assert_eq!(message_id(at, chance), "msg_0ujtsYcgvSTl8PAuAdqWYSMnLOv");
        assert_eq!(message_id(Timestamp::UNIX_EPOCH, [0; 16]), format!("msg_{}", "0".repeat(27)));
        assert_eq!(message_id(Timestamp::MAX, [255; 16]).len(), 31);
    }

    #[test]
    fn both_styles_are_read_and_the_complete_one_counts() {
        let style = |names: &[&'static str]| {
            let headers: Headers = names.iter().map(|name| (*name, "x")).collect();
            HeaderStyle::of(&headers)
        };
        assert_eq!(
            style(&["svix-id", "webhook-id", "webhook-timestamp", "webhook-signature"]),
            HeaderStyle::Standard
        );
        assert_eq!(style(&["svix-id", "svix-timestamp", "webhook-signature"]), HeaderStyle::Svix);
        assert_eq!(style(&[]), HeaderStyle::Svix);
    }
}
