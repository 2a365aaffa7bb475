//! The header fields by which each contract authenticates its requests.

use crate::model::{Contract, Headers};

/// What an authentication field says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The id of the message, the same on every attempt.
    Id,
    /// When this attempt was signed, in seconds since 1970.
    Timestamp,
    /// The signature: it proves knowledge of a secret without giving it away.
    Signature,
    /// The secret itself, in clear.
    Credential,
}

/// The fields, as (lower-case name, contract, part). The first that a request has tells its contract.
///
/// `svix-*` is what Meeting BaaS sends; the official verifiers take `webhook-*`, the names of Standard Webhooks, as
/// well. The bots of early 2025 wrote their API key into `x-spoke-api-key`.
const FIELDS: [(&str, Contract, Part); 11] = [
    ("x-meetingbaas-signature", Contract::Preview, Part::Signature),
    ("svix-id", Contract::V2, Part::Id),
    ("svix-timestamp", Contract::V2, Part::Timestamp),
    ("svix-signature", Contract::V2, Part::Signature),
    ("webhook-id", Contract::V2, Part::Id),
    ("webhook-timestamp", Contract::V2, Part::Timestamp),
    ("webhook-signature", Contract::V2, Part::Signature),
    ("x-meeting-baas-api-key", Contract::V1, Part::Credential),
    ("x-spoke-api-key", Contract::V1, Part::Credential),
    ("x-mb-secret", Contract::Callback, Part::Credential),
    ("x-mb-alert-secret", Contract::Alert, Part::Credential),
];

/// What a field of that name authenticates; `None` for any other field.
pub fn authenticates(name: &[u8]) -> Option<(Contract, Part)> {
    FIELDS
        .into_iter()
        .find(|(known, ..)| name.eq_ignore_ascii_case(known.as_bytes()))
        .map(|(_, contract, part)| (contract, part))
}

/// The names of a contract's fields that say `part`, lower-case; the one that is sent first.
pub fn field_names(contract: Contract, part: Part) -> impl Iterator<Item = &'static str> {
    FIELDS.into_iter().filter(move |field| (field.1, field.2) == (contract, part)).map(|(name, ..)| name)
}

/// The contract whose authentication a request carries.
pub fn authenticated_contract(headers: &Headers) -> Option<Contract> {
    FIELDS.into_iter().find(|(name, ..)| headers.get(name).is_some()).map(|(_, contract, _)| contract)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_field_of_the_table_tells_the_contract() {
        let told = |names: &[&'static str]| {
            let headers: Headers = names.iter().map(|name| (*name, "x")).collect();
            authenticated_contract(&headers)
        };
        assert_eq!(told(&["X-MB-Secret"]), Some(Contract::Callback));
        assert_eq!(told(&["x-mb-secret", "Webhook-Timestamp"]), Some(Contract::V2));
        assert_eq!(told(&["svix-id", "X-MeetingBaas-Signature"]), Some(Contract::Preview));
        assert_eq!(told(&["content-type"]), None);
    }

    #[test]
    fn every_contract_has_a_field_that_proves_something() {
        for contract in Contract::ALL {
            let proofs = [Part::Signature, Part::Credential].map(|part| field_names(contract, part).count());
            assert!(proofs.contains(&0) && proofs.iter().sum::<usize>() > 0, "{contract}: {proofs:?}");
        }
        assert_eq!(field_names(Contract::V2, Part::Id).collect::<Vec<_>>(), ["svix-id", "webhook-id"]);
    }
}
