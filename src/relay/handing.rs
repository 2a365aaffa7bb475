//! Hands the messages of a channel to its owner, in their order: those that wait one by one, as they would have come, and
//! those that come now many at a time, so that one slow handler holds up nobody.
//!
//! A message is done when the owner has recorded it. When one goes wrong, all are handed over again from the oldest on
//! that is not done; the owner knows which it has.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use jiff::Timestamp;
use tokio::task::JoinSet;

use super::answers::harmless;
use super::{News, Parts};
use crate::model;
use crate::serve::{Body, Client};
use crate::store::relay::{Claim, Stored};
use crate::tunnel::{DELIVERY, Passing};

/// How many messages are under way at a time, and how many bytes of them, not counting the last.
const MOST_UNDER_WAY: (usize, u64) = (128, 8 * 1024 * 1024);

/// How long to wait when one went wrong.
const PAUSE: Duration = Duration::from_secs(1);

/// A message on its way.
struct Parcel {
    relay: Arc<Parts>,
    client: Client,
    claim: Claim,
    stored: Stored,
    passing: Passing,
}

/// Hands over what waits and what comes, for ever.
#[expect(clippy::infinite_loop, reason = "it ends when it is dropped")]
pub async fn hand_over_all(
    relay: &Arc<Parts>,
    client: &Client,
    claim: &Claim,
    begun_at: Timestamp,
) -> Infallible {
    loop {
        hand_over_until_one_fails(relay, client, claim, begun_at).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn hand_over_until_one_fails(relay: &Arc<Parts>, client: &Client, claim: &Claim, begun_at: Timestamp) {
    let (mut after, mut bytes) = (0, 0);
    // Those under way are given up with it.
    let (mut under_way, mut was_late) = (JoinSet::new(), false);
    loop {
        let has_room = under_way.len() < MOST_UNDER_WAY.0 && bytes < MOST_UNDER_WAY.1;
        tokio::select! {
            next = relay.store.next(claim.channel, claim.epoch, after), if has_room => match next {
                Ok(stored) => {
                    let passing = Passing {
                        seq: stored.seq,
                        after,
                        arrived_at: stored.message.arrived_at,
                        late: stored.message.arrived_at < begun_at,
                    };
                    if passing.late || was_late {
                        while let Some(done) = under_way.join_next().await {
                            let Ok(Some(done)) = done else { return };
                            bytes -= done;
                        }
                    }
                    was_late = passing.late;
                    (after, bytes) = (stored.seq, bytes + stored.message.bytes());
                    let (relay, client, claim) = (Arc::clone(relay), client.clone(), claim.clone());
                    under_way.spawn(Parcel { relay, client, claim, stored, passing }.hand_over());
                }
                Err(error) => {
                    relay.tell(News::Trouble(error));
                    return;
                }
            },
            Some(done) = under_way.join_next() => match done {
                Ok(Some(done)) => bytes -= done,
                Ok(None) | Err(_) => return,
            },
        }
    }
}

impl Parcel {
    /// Hands a message over and passes the answer on; how many bytes it had, if the owner has it now.
    async fn hand_over(mut self) -> Option<u64> {
        self.client.ready().await.ok()?;
        let message = &self.stored.message;
        let request = request(&message.request, self.passing)?;
        let response = self.client.send_request(request).await.ok()?;
        // What is too large for the owner will never be taken.
        let is_done =
            response.headers().contains_key(DELIVERY) || response.status() == StatusCode::PAYLOAD_TOO_LARGE;
        if !is_done || !self.relay.store.ack(self.claim.channel, self.claim.epoch, &self.stored) {
            return None;
        }
        self.relay.metrics.delivered.inc();
        self.relay.store.answer(message.id, harmless(response.map(BodyExt::boxed)));
        Some(message.bytes())
    }
}

fn request(sent: &model::Request, passing: Passing) -> Option<Request<Body>> {
    let uri =
        Uri::builder().scheme("http").authority("relay").path_and_query(sent.path.as_str()).build().ok()?;
    let body = Full::new(sent.body.clone()).map_err(|never| match never {});
    let body = if sent.trailers.is_empty() {
        body.boxed()
    } else {
        let trailers = sent.trailers.to_map();
        body.with_trailers(std::future::ready(Some(Ok(trailers)))).boxed()
    };
    let mut request = Request::builder().method(sent.method.as_str()).uri(uri).body(body).ok()?;
    *request.headers_mut() = passing.announce(&sent.headers);
    Some(request)
}
