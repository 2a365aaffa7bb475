//! A recorded delivery on its way out again: with a fresh signature where its contract is known, else as it was.

use bytes::Bytes;

use super::compose;
use super::dispatch::Parcel;
use super::provenance::Provenance;
use crate::forward::Manner;
use crate::model::{Clock, Contract, Origin, Request};
use crate::signature::{CannotSign, Keyring, Signing, Stamp};
use crate::store::Recorded;

/// How a recorded request is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// With the old signature, as far as it was recorded.
    Raw,
    /// Signed for now: a new message to its receiver.
    Afresh,
    /// Signed for now, under the id that it had: another attempt at the same message, where the contract has ids.
    WithItsId,
}

/// A request that repeats a recorded one.
#[derive(Clone, Debug)]
pub struct Again {
    /// The request, linked to the delivery that it repeats.
    pub parcel: Parcel,
    /// What is not as it was, and should be known: one sentence each.
    pub notes: Vec<String>,
}

/// Makes the request that repeats `recorded` with that body.
pub fn again(
    recorded: Recorded,
    body: Bytes,
    how: Repeat,
    keys: &Keyring,
    clock: &Clock,
) -> Result<Again, CannotSign> {
    let Recorded { delivery, request } = recorded;
    let mut notes = Vec::new();
    let request = match delivery.kind.contract {
        Some(contract) if how != Repeat::Raw => {
            let signing = Signing::right(contract, keys.key(contract, delivery.kind.event_type.as_ref()));
            let mut stamp = Stamp::new(clock);
            if how == Repeat::WithItsId {
                match compose::message_id(&request) {
                    Some(id) if contract == Contract::V2 => stamp.id = id,
                    _ => notes.push(format!("#{} has no message id that could be kept", delivery.number)),
                }
            }
            compose::signed_again(&request, &signing, &stamp, body)?
        }
        contract => {
            if how != Repeat::Raw && contract.is_none() {
                notes.push(format!(
                    "#{} follows no known contract: its signature stays as it was",
                    delivery.number
                ));
            }
            let (request, masked) = compose::as_recorded(&request);
            if masked > 0 {
                notes.push(format!("{masked} credentials were never recorded and are not sent"));
            }
            Request { body, ..request }
        }
    };
    let provenance =
        Provenance { origin: Origin::Replay, replay_of: Some(delivery.id), contract: delivery.kind.contract };
    let parcel = Parcel { request, kind: delivery.kind, provenance, manner: Manner::Whole };
    Ok(Again { parcel, notes })
}
