//! Sends a request that we made: through the running `listen` as any sender would, or straight to a target.

use std::path::PathBuf;
use std::sync::Arc;

use super::provenance::{DELIVERY, Provenance};
use crate::forward::{Forward, Manner};
use crate::model::{Answer, Clock, Delivery, DeliveryId, Incoming, Kind, Outcome, Request, Secret, Target};
use crate::pipeline::Pipeline;
use crate::signature::{Claim, Keyring};
use crate::store::{Reader, Selector, StoreError};

/// A request of our own making, and what we know about it.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// The request.
    pub request: Request,
    /// What it is.
    pub kind: Kind,
    /// Where it comes from.
    pub provenance: Provenance,
    /// How it leaves; through a `listen`, which takes requests whole, only [`Manner::Whole`] makes sense.
    pub manner: Manner,
}

/// The way to the handler.
pub enum Road {
    /// Through the ingress of the running `listen`, which records and forwards.
    Listen {
        /// The HTTP client.
        forward: Forward,
        /// The ingress.
        ingress: Target,
        /// What we prove ourselves with.
        token: Secret,
        /// The state folder, to read the record from.
        folder: PathBuf,
    },
    /// Straight to a target; the record is written here.
    Direct {
        /// Records and forwards.
        pipeline: Pipeline,
        /// Where to.
        target: Target,
        /// What the signature is checked with, for the record.
        keys: Keyring,
    },
}

/// A request that became a recorded delivery.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The record.
    pub delivery: Delivery,
    /// Whether the sender was told 2xx, by the handler or, where nothing is forwarded, by the ingress.
    pub accepted: bool,
}

/// A request that did not become a recorded delivery.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// The running `listen` did not take it.
    #[error("the running listen at {ingress} did not take the request: {reason}")]
    NotTaken {
        /// Where it listens.
        ingress: String,
        /// Why, in its words.
        reason: String,
        /// Whether there was no connection at all.
        unreachable: bool,
    },
    /// The record could not be written or read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Road {
    /// Sends one parcel and waits for its outcome.
    pub async fn send(&self, clock: &Clock, parcel: Parcel) -> Result<Sent, DispatchError> {
        match self {
            Self::Listen { forward, ingress, token, folder } => {
                let mut request = parcel.request;
                parcel.provenance.announce(token, &mut request.headers);
                let handed = forward.send(ingress, &request).await;
                let not_taken = |reason, unreachable| DispatchError::NotTaken {
                    ingress: ingress.to_string(),
                    reason,
                    unreachable,
                };
                let answer = match handed.outcome {
                    Outcome::Failed(failure) => return Err(not_taken(failure.detail, true)),
                    Outcome::Answered(answer) => answer,
                };
                let id = delivery_id(&answer).map_err(|reason| not_taken(reason, false))?;
                let recorded = match Reader::open(folder)? {
                    Some(reader) => reader.find(&Selector::Id(id))?,
                    None => None,
                };
                let recorded = recorded.ok_or_else(|| {
                    not_taken(format!("it records elsewhere than in {}", folder.display()), false)
                })?;
                Ok(Sent { delivery: recorded.delivery, accepted: (200..300).contains(&answer.status) })
            }
            Self::Direct { pipeline, target, keys } => {
                let Parcel { request, kind, provenance, manner } = parcel;
                let Provenance { origin, replay_of, .. } = provenance;
                let (id, received_at) = (DeliveryId::new(clock), clock.now());
                let claim = Claim {
                    contract: kind.contract,
                    event_type: kind.event_type.as_ref(),
                    headers: &request.headers,
                    body: &request.body,
                    at: received_at,
                };
                let (signature, signature_note) = claim.examine(keys);
                let incoming = Arc::new(Incoming {
                    id,
                    received_at,
                    origin,
                    replay_of,
                    kind,
                    signature,
                    signature_note,
                    not_forwarded: None,
                    relayed: None,
                    request,
                });
                let delivered = pipeline.in_manner(manner).deliver(incoming, target.clone(), None).await?;
                let delivery = Delivery::clone(&delivered.delivery);
                // Should its outcome be lost, the delivery itself is still on disk.
                drop(delivered.settled.await);
                let accepted = delivery.is_acknowledged();
                Ok(Sent { delivery, accepted })
            }
        }
    }
}

/// The id in the answer of an ingress; otherwise why there is none.
fn delivery_id(answer: &Answer) -> Result<DeliveryId, String> {
    if let Some(id) = answer.headers.get_str(DELIVERY) {
        return id.parse();
    }
    let message = serde_json::from_slice::<serde_json::Value>(&answer.body).ok();
    let message = message.as_ref().and_then(|body| body.get("message")?.as_str());
    Err(format!("{} {}", answer.status, message.unwrap_or("without saying why")))
}
