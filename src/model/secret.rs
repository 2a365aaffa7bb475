//! A secret that cannot print itself.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A signing secret, an API key or a token.
///
/// It has no `Display`, no `Serialize` and no `==`, and its `Debug` shows a placeholder: the only way to its text is
/// [`expose`](Self::expose), which is easy to search for, and the only way to compare it is [`is`](Self::is).
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret, as typed: no trimming, any text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for signing, or to hand it to its owner.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether a control character is in it, such as a line break, which no header can carry and a terminal obeys.
    pub fn has_control(&self) -> bool {
        self.0.contains(char::is_control)
    }

    /// Whether a header can carry it, so that what arrives is the same: without control characters, and without white space at
    /// its ends.
    pub fn fits_a_header(&self) -> bool {
        !self.has_control() && self.0.trim().len() == self.0.len()
    }

    /// Whether these bytes are the secret. How long that takes says nothing about where they differ.
    pub fn is(&self, given: &[u8]) -> bool {
        is_same_secretly(self.0.as_bytes(), given)
    }
}

/// Whether two texts are the same, by their SHA-256 digests and in constant time: neither where they differ nor whether
/// their lengths do can be told from the time that it takes.
pub fn is_same_secretly(one: &[u8], other: &[u8]) -> bool {
    Sha256::digest(one).as_slice().ct_eq(Sha256::digest(other).as_slice()).into()
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_itself_to_the_byte_and_nothing_else() {
        let secret = Secret::new("clé-秘密");
        assert!(secret.is("clé-秘密".as_bytes()));
        for other in ["", "clé-秘", "clé-秘密 ", "Clé-秘密", "[masked]"] {
            assert!(!secret.is(other.as_bytes()), "{other}");
        }
        assert!(Secret::new("").is(b""));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
