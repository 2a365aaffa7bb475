//! The authentication of API v1 webhooks, of per-bot callbacks and of alerts: the secret itself in a header, in clear.
//!
//! It says nothing about the body, and whoever sees one request can make others. `x-mb-secret` is called an "HMAC
//! secret" in one place of the API's description; it is not used for an HMAC.

use crate::model::{Secret, Verdict};

/// Checks the values of every credential header of a request, in constant time.
///
/// Two headers are one too many: handlers disagree on which of them counts.
pub fn verify<'a>(secrets: &[Secret], mut values: impl Iterator<Item = &'a [u8]>) -> Verdict {
    match (values.next(), values.next()) {
        (None, _) => Verdict::Missing,
        (Some(value), None) if secrets.iter().any(|secret| secret.is(value)) => Verdict::Valid,
        _ => Verdict::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_the_secret_to_the_byte_and_there_is_one() {
        let verdict =
            |values: &[&'static str]| verify(&["s3cret".into()], values.iter().map(|value| value.as_bytes()));
        assert_eq!(verdict(&["s3cret"]), Verdict::Valid);
        assert_eq!(verdict(&[]), Verdict::Missing);
        for wrong in [&[""][..], &["S3cret"], &["s3cret "], &["[masked]"], &["s3cret", "s3cret"]] {
            assert_eq!(verdict(wrong), Verdict::Invalid, "{wrong:?}");
        }
    }
}
