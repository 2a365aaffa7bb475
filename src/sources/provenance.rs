//! How our own commands tell the ingress where a delivery comes from: headers named `mbaas-dev-*`.
//!
//! They are believed only together with the token of the running `listen`, which stands in a file that only its
//! user can read; anybody else's are dropped. None of them is ever forwarded or recorded.

use crate::model::{Contract, DeliveryId, Headers, Origin, Secret};
pub use crate::tunnel::DELIVERY;
use crate::tunnel::is_ours;

const TOKEN: &str = "mbaas-dev-token";
const ORIGIN: &str = "mbaas-dev-origin";
const REPLAY_OF: &str = "mbaas-dev-replay-of";
const CONTRACT: &str = "mbaas-dev-contract";

/// Where a delivery comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// How it came to be.
    pub origin: Origin,
    /// The delivery that it repeats.
    pub replay_of: Option<DeliveryId>,
    /// The contract that it was made for: an event that is not signed does not tell.
    pub contract: Option<Contract>,
}

impl Provenance {
    /// That of a request that came from somewhere.
    pub const UNKNOWN: Self = Self { origin: Origin::Ingress, replay_of: None, contract: None };

    /// Adds the headers that say so.
    pub fn announce(&self, token: &Secret, headers: &mut Headers) {
        headers.push(TOKEN.as_bytes(), token.expose().to_owned());
        headers.push(ORIGIN.as_bytes(), self.origin.as_str().as_bytes());
        if let Some(id) = &self.replay_of {
            headers.push(REPLAY_OF.as_bytes(), id.to_string());
        }
        if let Some(contract) = self.contract {
            headers.push(CONTRACT.as_bytes(), contract.as_str().as_bytes());
        }
    }

    /// Takes our headers out of a request, and believes them when the token is right.
    pub fn take(token: &Secret, headers: &mut Headers) -> Option<Self> {
        if !headers.iter().any(|(name, _)| is_ours(name)) {
            return None;
        }
        let trusted = headers.get(TOKEN).is_some_and(|given| token.is(given));
        let origin = headers.get_str(ORIGIN).and_then(Origin::from_name);
        let replay_of = headers.get_str(REPLAY_OF).and_then(|id| id.parse().ok());
        let contract = headers.get_str(CONTRACT).and_then(|name| name.parse().ok());
        headers.retain(|name, _| !is_ours(name));
        trusted.then_some(Self { origin: origin?, replay_of, contract })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_is_believed_and_nothing_of_ours_stays() {
        let token = Secret::new("t0ken");
        let provenance =
            Provenance { origin: Origin::Trigger, replay_of: None, contract: Some(Contract::V1) };
        let mut headers: Headers = [("A", "1")].into_iter().collect();
        provenance.announce(&token, &mut headers);
        let mut forged = headers.clone();
        assert_eq!(Provenance::take(&token, &mut headers), Some(provenance));
        assert_eq!(Provenance::take(&Secret::new("other"), &mut forged), None);
        for left in [headers, forged] {
            assert_eq!(left, [("A", "1")].into_iter().collect());
        }
    }
}
