//! Signing and verifying, for each contract's way of authentication.

mod keyring;
pub mod preview;

use std::fmt;

pub use self::keyring::Keyring;
use crate::model::{Contract, Headers, Secret, Verdict};

/// How to sign an event: right, or wrong in a way that handlers must survive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignMode {
    /// As Meeting BaaS does.
    #[default]
    Valid,
    /// With a secret that is not the configured one.
    WrongSecret,
    /// Over a body that is not the one sent.
    Tampered,
    /// Not at all.
    Missing,
    /// With a value that is too short to be a signature.
    Malformed,
    /// With a time stamp outside the tolerance, where the contract has one.
    Stale,
}

/// A way of signing that a contract does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// The contract's signature has no time stamp.
    #[error("a {0} signature carries no time stamp, so it cannot be stale")]
    NoTimestamp(Contract),
    /// Nothing is known about signing that contract.
    #[error("signing for the contract {0} is not supported")]
    Contract(Contract),
}

impl SignMode {
    /// Every mode.
    pub const ALL: [Self; 6] =
        [Self::Valid, Self::WrongSecret, Self::Tampered, Self::Missing, Self::Malformed, Self::Stale];

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::WrongSecret => "wrong-secret",
            Self::Tampered => "tampered",
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Stale => "stale",
        }
    }
}

impl fmt::Display for SignMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The authentication headers of one attempt at sending `body`.
pub fn sign(
    contract: Contract,
    mode: SignMode,
    secret: &Secret,
    body: &[u8],
) -> Result<Headers, Unsupported> {
    if contract != Contract::Preview {
        return Err(Unsupported::Contract(contract));
    }
    let value = match mode {
        SignMode::Valid => preview::sign(secret, body),
        SignMode::WrongSecret => preview::sign(&Secret::new(format!("not-{}", secret.expose())), body),
        SignMode::Tampered => preview::sign(secret, &tampered(body)),
        SignMode::Missing => return Ok(Headers::new()),
        SignMode::Malformed => "deadbeef".to_owned(),
        SignMode::Stale => return Err(Unsupported::NoTimestamp(contract)),
    };
    Ok([(preview::HEADER, value)].into_iter().map(|(name, value)| (name.as_bytes(), value)).collect())
}

/// Whether a header of that name is part of how some contract authenticates itself by signature.
pub fn is_signature_header(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(preview::HEADER.as_bytes())
}

/// Checks a request against the contract that it follows.
pub fn verify(contract: Option<Contract>, secret: &Secret, headers: &Headers, body: &[u8]) -> Verdict {
    match contract {
        Some(Contract::Preview) => {
            preview::verify(secret, headers.get_all(preview::HEADER).map(AsRef::as_ref), body)
        }
        // Nobody knows how this one would be signed: a request without any signature has none to check.
        None => Verdict::Missing,
        Some(Contract::V1 | Contract::V2 | Contract::Callback | Contract::Alert) => Verdict::Unchecked,
    }
}

/// A body that differs in one bit.
fn tampered(body: &[u8]) -> Vec<u8> {
    match body.split_last() {
        Some((last, rest)) => [rest, &[last ^ 1]].concat(),
        None => vec![b' '],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Vectors that the three sample handlers of the Webhooks API page accepted: secret, body, signature.
    const VECTORS: [(&str, &str, &str); 5] = [
        (
            "your-webhook-secret-key",
            r#"{"event":"transcription_complete","data":{"bot_id":"123e4567-e89b-12d3-a456-426614174000"}}"#,
            "84308eded0c86e084abb2663652a1dfa00aca72bba0d3c98b080a6211700626f",
        ),
        ("your-webhook-secret-key", "", "55e8c53b9a9ccf9a83003c70ee2f5725183c628ff0be602b6ed0c09744345b93"),
        (
            "your-webhook-secret-key",
            include_str!("vectors/meeting.completed.json"),
            "ed83f0f9030524b45c8dd2b6d87845290f478f33fc7fd77796f8a978a213f93a",
        ),
        (
            "your-webhook-secret-key",
            "{\"event\":\"failed\",\"data\":{\"bot_id\":\"x\",\"error\":\"e\",\"message\":\"réunion 会议 🎙️\"}}",
            "583e94c8b755a9456ee2bda55f27a162cd8097d333d95886839a7f487b49c4c6",
        ),
        (
            "clé-秘密",
            r#"{"event":"transcription_complete","data":{"bot_id":"123e4567-e89b-12d3-a456-426614174000"}}"#,
            "e8596145d9a4b0209cf4de8ad4303ed90616d6eead13de82c3bac900f6ba2ca0",
        ),
    ];

    fn verdict(secret: &Secret, headers: &Headers, body: &[u8]) -> Verdict {
        verify(Some(Contract::Preview), secret, headers, body)
    }

    #[test]
    fn the_vectors_hold() {
        for (secret, body, signature) in VECTORS {
            assert_eq!(preview::sign(&Secret::new(secret), body.as_bytes()), signature);
        }
    }

    #[test]
    fn what_is_no_signature_is_invalid() {
        let (secret, body, signature) = VECTORS[0];
        let upper = signature.to_uppercase();
        let prefixed = format!("sha256={signature}");
        for value in ["", "deadbeef", &upper, &prefixed, &signature[1..], "not hex"] {
            let headers: Headers = [(preview::HEADER.as_bytes(), value.to_owned())].into_iter().collect();
            assert_eq!(verdict(&Secret::new(secret), &headers, body.as_bytes()), Verdict::Invalid, "{value}");
        }
        let twice: Headers = [("X-MeetingBaas-Signature", signature), ("x-meetingbaas-signature", signature)]
            .into_iter()
            .collect();
        assert_eq!(verdict(&Secret::new(secret), &twice, body.as_bytes()), Verdict::Invalid);
    }

    proptest! {
        #[test]
        fn what_is_signed_verifies_and_every_other_mode_does_not(
            key in ".{0,40}", body in proptest::collection::vec(any::<u8>(), 0..200), bit in 0..8u8, at in any::<prop::sample::Index>()
        ) {
            let secret = Secret::new(key);
            let signed = sign(Contract::Preview, SignMode::Valid, &secret, &body).unwrap();
            prop_assert_eq!(verdict(&secret, &signed, &body), Verdict::Valid);
            for mode in [SignMode::WrongSecret, SignMode::Tampered, SignMode::Malformed] {
                let headers = sign(Contract::Preview, mode, &secret, &body).unwrap();
                prop_assert_eq!(verdict(&secret, &headers, &body), Verdict::Invalid);
            }
            let unsigned = sign(Contract::Preview, SignMode::Missing, &secret, &body).unwrap();
            prop_assert_eq!(verdict(&secret, &unsigned, &body), Verdict::Missing);
            if !body.is_empty() {
                let mut changed = body.clone();
                let at = at.index(changed.len());
                changed[at] ^= 1 << bit;
                prop_assert_eq!(verdict(&secret, &signed, &changed), Verdict::Invalid);
            }
        }
    }
}
