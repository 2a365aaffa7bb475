//! Signing and verifying, for each contract's way of authentication.

mod credential;
pub mod explain;
mod keyring;
mod mode;
pub mod preview;
mod signing;
mod svix;

use jiff::Timestamp;

pub use self::explain::{Effort, Explanation};
pub use self::keyring::{Key, Keyring};
pub use self::mode::{SignMode, Unsupported};
pub use self::signing::{CannotSign, Signing, Stamp};
pub use self::svix::{BadKey, HeaderStyle, SvixKey, TOLERANCE};
use crate::contract::{Part, field_names};
use crate::model::{Contract, EventType, Headers, Verdict};

/// A request that says of itself that Meeting BaaS sent it.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The contract that it follows.
    pub contract: Option<Contract>,
    /// What it reports, which may decide the secret.
    pub event_type: Option<&'a EventType>,
    /// Its headers.
    pub headers: &'a Headers,
    /// Its body, as it came.
    pub body: &'a [u8],
    /// When it arrived.
    pub at: Timestamp,
}

impl Claim<'_> {
    /// Checks the request as its contract has it.
    pub fn verify(&self, keys: &Keyring) -> Verdict {
        // Nobody knows how this one would be signed: a request without any signature has none to check.
        let Some(contract) = self.contract else { return Verdict::Missing };
        let key = keys.key(contract, self.event_type);
        match contract {
            Contract::Preview => {
                preview::verify(&key.secrets, self.values(contract, Part::Signature), self.body)
            }
            // With a secret that v2 cannot have nothing can be said about it.
            Contract::V2 => SvixKey::all(&key)
                .map_or(Verdict::Unchecked, |keys| svix::verify(&keys, self.headers, self.body, self.at)),
            Contract::V1 | Contract::Callback | Contract::Alert => {
                credential::verify(&key.secrets, self.values(contract, Part::Credential))
            }
        }
    }

    /// The values of the contract's fields that say `part`, whatever their names.
    fn values(&self, contract: Contract, part: Part) -> impl Iterator<Item = &[u8]> {
        field_names(contract, part).flat_map(|name| self.headers.get_all(name)).map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests;
