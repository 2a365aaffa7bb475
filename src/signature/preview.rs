//! The signature of the preview contract: HMAC-SHA256 in lower-case hex over the raw body.
//!
//! Source: the Webhooks API page, whose three sample handlers compute exactly this. The key is the secret as typed,
//! in UTF-8; there is no prefix, no time stamp and no id, hence no protection against replays.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::model::{Secret, Verdict};

/// The header, as the page writes it.
pub const HEADER: &str = "X-MeetingBaas-Signature";

/// The signature of `body`: 64 lower-case hexadecimal digits.
pub fn sign(secret: &Secret, body: &[u8]) -> String {
    hex::encode(mac(secret, body).finalize().into_bytes())
}

/// Checks the values of every signature header of a request, in constant time for each secret.
///
/// Two headers are one too many: handlers disagree on which of them counts.
pub fn verify<'a>(secrets: &[Secret], mut values: impl Iterator<Item = &'a [u8]>, body: &[u8]) -> Verdict {
    let Some(value) = values.next() else { return Verdict::Missing };
    let lower_case = !value.iter().any(u8::is_ascii_uppercase);
    let fits = |bytes: &[u8]| secrets.iter().any(|secret| mac(secret, body).verify_slice(bytes).is_ok());
    let mut bytes = [0; 32];
    match hex::decode_to_slice(value, &mut bytes) {
        Ok(()) if lower_case && values.next().is_none() && fits(&bytes) => Verdict::Valid,
        _ => Verdict::Invalid,
    }
}

fn mac(secret: &Secret, body: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
        .expect("HMAC takes a key of any length")
        .chain_update(body)
}
