//! Who may open channels: access tokens, each with a name and limits of its own.

use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::model::Secret;
use crate::store::relay::NAMELESS;
use crate::tunnel::can_be_sent;

/// All access tokens of a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access(Vec<Admission>);

/// An access token, and what whoever has it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Its name. Channels belong to it, so that a token may be changed under its name.
    pub name: Arc<str>,
    /// How many channels there may be; `None` is as for everybody.
    pub most_channels: Option<u64>,
    /// How many tunnels may be open at a time.
    pub most_tunnels: Option<usize>,
    /// How many requests may come a second, for all its channels together.
    pub most_per_second: Option<u32>,
    /// How many requests may wait in all its channels together, and how many bytes their bodies may have.
    pub most_waiting: (Option<u64>, Option<u64>),
    /// The SHA-256 of the token; `None` is anything.
    token: Option<[u8; 32]>,
}

/// A file of access tokens that cannot be used. It says nothing of what the tokens are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadTokens(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    token: Option<String>,
    sha256: Option<String>,
    max_channels: Option<u64>,
    max_tunnels: Option<usize>,
    max_rate: Option<u32>,
    max_waiting: Option<u64>,
    max_waiting_bytes: Option<u64>,
}

impl Access {
    /// One of these tokens, without limits of their own; anybody when there is none.
    pub fn of(tokens: &[Secret]) -> Self {
        let admission = |token| Admission {
            name: NAMELESS.into(),
            most_channels: None,
            most_tunnels: None,
            most_per_second: None,
            most_waiting: (None, None),
            token,
        };
        if tokens.is_empty() {
            return Self(vec![admission(None)]);
        }
        Self(tokens.iter().map(|token| admission(Some(hash(token.expose())))).collect())
    }

    /// The tokens in the text of a TOML file: `[[token]]` with `name`, `token` or its `sha256`, and limits.
    pub fn parse(text: &str) -> Result<Self, BadTokens> {
        let file: File = toml::from_str(text).map_err(|error| BadTokens(without_source(&error, text)))?;
        let mut all: Vec<Admission> = Vec::new();
        for entry in file.token {
            let bad = |what: &str| {
                Err(BadTokens(format!("the token named `{}` {what}", entry.name.escape_debug())))
            };
            let token = match (&entry.token, &entry.sha256) {
                (Some(token), None) if token.is_empty() => return bad("is empty"),
                (Some(token), None) if !can_be_sent(token) => {
                    return bad(
                        "cannot be sent by anybody: it may have ASCII characters only, and no space at its ends",
                    );
                }
                (Some(token), None) => hash(token),
                (None, Some(hex)) => {
                    let mut bits = [0; 32];
                    if hex::decode_to_slice(hex, &mut bits).is_err() {
                        return bad("has a `sha256` that is not 64 hexadecimal digits");
                    }
                    bits
                }
                _ => return bad("needs either `token` or `sha256`"),
            };
            if entry.name.is_empty() || entry.max_rate == Some(0) {
                return bad("needs a name, and a `max_rate` above 0 if it has one");
            }
            if all.iter().any(|other| *other.name == *entry.name || other.token == Some(token)) {
                return bad("is there twice: names and tokens are different from each other");
            }
            all.push(Admission {
                name: entry.name.into(),
                most_channels: entry.max_channels,
                most_tunnels: entry.max_tunnels,
                most_per_second: entry.max_rate,
                most_waiting: (entry.max_waiting, entry.max_waiting_bytes),
                token: Some(token),
            });
        }
        if all.is_empty() {
            return Err(BadTokens("there is no `[[token]]` in it".to_owned()));
        }
        Ok(Self(all))
    }

    /// How many tokens there are.
    pub fn count(&self) -> usize {
        self.0.iter().filter(|admission| admission.token.is_some()).count()
    }

    /// Who comes with this token. All are compared, so that the time says nothing about which.
    pub fn admit(&self, given: Option<&str>) -> Option<&Admission> {
        let given = given.map(hash);
        let fits = |admission: &Admission| match (&admission.token, &given) {
            (None, _) => Choice::from(1),
            (Some(token), Some(given)) => token.ct_eq(given),
            (Some(_), None) => Choice::from(0),
        };
        let mut found = None;
        for admission in &self.0 {
            if bool::from(fits(admission)) {
                found = Some(admission);
            }
        }
        found
    }

    /// What holds now for somebody who was let in under a name.
    pub fn of_name(&self, name: &str) -> Option<&Admission> {
        self.0.iter().find(|admission| *admission.name == *name)
    }
}

impl Admission {
    /// Whether whoever came with it would still be let in.
    pub fn still_holds(&self, access: &Access) -> bool {
        access.0.iter().any(|now| now.name == self.name && now.token == self.token)
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// What is wrong with a text and where, without its line, in which a token may stand.
fn without_source(error: &toml::de::Error, text: &str) -> String {
    let at = error.span().map_or(0, |span| span.start);
    let line = text.get(..at).unwrap_or_default().lines().count().max(1);
    // What stands between quotation marks may be a value.
    let parts = error.message().split('"').enumerate();
    let message: String = parts.map(|(at, part)| if at % 2 == 0 { part } else { "\"…\"" }).collect();
    format!("line {line}: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_a_token_gets_in_and_under_its_name() {
        let hash_of_b = "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d";
        let text = format!(
            "[[token]]\nname = 'a'\ntoken = 'secret-a'\nmax_channels = 3\n[[token]]\nname = 'b'\nsha256 = '{hash_of_b}'"
        );
        let access = Access::parse(&text).unwrap();
        let name = |given| access.admit(given).map(|admission| &*admission.name);
        assert_eq!((name(Some("secret-a")), name(Some("b"))), (Some("a"), Some("b")));
        for wrong in [None, Some(""), Some("secret-b"), Some(hash_of_b), Some("secret-a ")] {
            assert_eq!(name(wrong), None, "{wrong:?}");
        }
        assert_eq!(access.of_name("a").unwrap().most_channels, Some(3));
        assert_eq!((access.count(), Access::of(&[]).count()), (2, 0));
        assert!(Access::of(&[]).admit(None).is_some());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_without_what_is_secret() {
        let mut said = String::new();
        for text in [
            "",
            "[[token]]\nname = 'a'",
            "[[token]]\nname = 'a'\ntoken = ''",
            "[[token]]\nname = 'a'\ntoken = 'sésame'",
            "[[token]]\nname = 'a'\ntoken = 'sesame '",
            "[[token]]\nname = 'a'\ntoken = \"\"\"sesame\n\"\"\"",
            "[[token]]\nname = 'a'\ntoken = 'sesame'\nsha256 = 'x'",
            "[[token]]\nname = 'a'\nsha256 = 'sesame'",
            "[[token]]\nname = 'a'\ntoken = 'sesame'\n[[token]]\nname = 'a'\ntoken = 'sesame2'",
            "[[token]]\nname = 'a'\ntoken = 'sesame'\n[[token]]\nname = 'b'\ntoken = 'sesame'",
            "[[token]]\nname = 'a'\ntoken = 'sesame'\nmax_chanels = 1",
            "[[token]]\nname = 'a'\ntoken = 'sesame'\nmax_rate = 0",
            "[[token]]\ntoken = sesame",
            "token = 'sesame'",
        ] {
            said += &format!("{}\n", Access::parse(text).unwrap_err());
        }
        assert!(!said.contains("same"), "{said}");
        insta::assert_snapshot!(said);
    }
}
