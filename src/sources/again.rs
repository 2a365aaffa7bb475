//! A recorded delivery on its way out again: with a fresh signature where its contract can be signed, else as it was.

use bytes::Bytes;

use super::compose::{self, Signing};
use super::dispatch::Parcel;
use super::provenance::Provenance;
use crate::model::{Contract, Origin, Request};
use crate::signature::{Keyring, SignMode, Unsupported};
use crate::store::Recorded;

/// A request that repeats a recorded one.
#[derive(Clone, Debug)]
pub struct Again {
    /// The request, linked to the delivery that it repeats.
    pub parcel: Parcel,
    /// What is not as it was, and should be known: one sentence each.
    pub notes: Vec<String>,
}

/// Makes the request that repeats `recorded` with that body; `raw` leaves the old signature.
pub fn again(recorded: Recorded, body: Bytes, raw: bool, keys: &Keyring) -> Result<Again, Unsupported> {
    let Recorded { delivery, request } = recorded;
    let mut notes = Vec::new();
    let request = match delivery.kind.contract {
        Some(contract @ Contract::Preview) if !raw => {
            let signing = Signing {
                contract,
                secret: keys.secret(delivery.kind.event_type.as_ref()).clone(),
                mode: SignMode::Valid,
            };
            compose::signed_again(&request, &signing, body)?
        }
        contract => {
            if !raw {
                let which = contract.map_or("no known contract", Contract::as_str);
                notes.push(format!("#{} follows {which}: its signature stays as it was", delivery.number));
            }
            let (request, masked) = compose::as_recorded(&request);
            if masked > 0 {
                notes.push(format!("{masked} credentials were never recorded and are not sent"));
            }
            Request { body, ..request }
        }
    };
    let provenance = Provenance { origin: Origin::Replay, replay_of: Some(delivery.id) };
    Ok(Again { parcel: Parcel { request, kind: delivery.kind, provenance }, notes })
}
