//! Headers that carry a credential in clear, and how they are masked.

use std::borrow::Cow;

use bytes::Bytes;

use crate::model::Headers;

/// Lower-case names of headers whose value is a credential itself.
///
/// A signature is not one: it proves knowledge of a secret without giving it away.
const CREDENTIAL_HEADERS: [&str; 9] = [
    "authorization",
    "cookie",
    "proxy-authenticate",
    "proxy-authorization",
    "set-cookie",
    // The account's API key: API v1 webhooks and the REST API; the older name is of early bots.
    "x-meeting-baas-api-key",
    "x-spoke-api-key",
    // The shared secrets of per-bot callbacks and of alert callbacks, verbatim.
    "x-mb-secret",
    "x-mb-alert-secret",
];

/// What stands in the place of a credential.
pub(super) const MASK: Bytes = Bytes::from_static(b"[masked]");

/// Whether a header of that name carries a credential.
pub fn is_credential(name: &[u8]) -> bool {
    CREDENTIAL_HEADERS.iter().any(|credential| name.eq_ignore_ascii_case(credential.as_bytes()))
}

/// Whether a value is the mask of a credential.
pub fn is_mask(value: &[u8]) -> bool {
    value == MASK
}

/// The same headers with every credential masked; most have none.
pub fn mask(headers: &Headers) -> Cow<'_, Headers> {
    if !headers.iter().any(|(name, _)| is_credential(name)) {
        return Cow::Borrowed(headers);
    }
    let masked = |(name, value): (&Bytes, &Bytes)| {
        (name.clone(), if is_credential(name) { MASK } else { value.clone() })
    };
    Cow::Owned(headers.iter().map(masked).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_masked_in_any_case_and_the_rest_is_kept() {
        let headers: Headers =
            [("X-MB-Secret", "s3cret"), ("Svix-Signature", "v1,abc"), ("Set-Cookie", "a=b")]
                .into_iter()
                .collect();
        let shown: Headers =
            [("X-MB-Secret", "[masked]"), ("Svix-Signature", "v1,abc"), ("Set-Cookie", "[masked]")]
                .into_iter()
                .collect();
        assert_eq!(*mask(&headers), shown);
        assert_eq!(*mask(&shown), shown);
    }
}
