//! Hands the messages of a channel to its owner, in their order and many at a time, so that one slow handler holds up
//! nobody. Its handler gets those that waited one by one, as they would have come: the owner sees to that.
//!
//! A message is done when the owner has recorded it and its handler has answered. When one goes wrong, all are handed over
//! again from the oldest on that is not done. Those that the owner may have already go one by one: it looks for them.

use std::sync::Arc;
use std::time::Duration;

use h2::RecvStream;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use tokio::task::JoinSet;

use super::Parts;
use super::answers::harmless;
use super::early::split;
use crate::model::{self, ChannelId};
use crate::serve::{Client, Received};
use crate::store::relay::{Claim, Stored};
use crate::tunnel::{DELIVERY, Passing, early};

/// How many messages are under way at a time, and how many bytes of them, not counting the last.
const MOST_UNDER_WAY: (usize, u64) = (128, 8 * 1024 * 1024);

/// How long there must be nothing to hand over before HTTP/2 ends, which takes four times the memory of a tunnel at rest.
const IDLE: Duration = Duration::from_secs(30);

/// How long to wait when one went wrong.
const PAUSE: Duration = Duration::from_secs(1);

/// Which messages go together: what waited and what comes now do not, lest the one overtake the other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Company {
    /// It waited, and the owner may have it already: it goes alone.
    Nobody,
    /// Others that waited and are new to the owner.
    Late,
    /// Others that come now.
    Fresh,
}

/// A message on its way.
struct Parcel {
    relay: Arc<Parts>,
    client: Client,
    channel: ChannelId,
    epoch: i64,
    stored: Stored,
    passing: Passing,
}

/// What there is to do for one tunnel.
pub struct Errand {
    pub relay: Arc<Parts>,
    pub claim: Claim,
    /// Up to which number the owner may have messages already.
    pub has: i64,
}

/// Why nothing more is handed over.
enum Pause {
    /// There was nothing for a while.
    Idle,
    /// One went wrong.
    Failed,
}

impl Errand {
    /// Waits until there is something to hand over.
    pub async fn awaits_something(&self) {
        if let Err(error) = self.relay.store.next(self.claim.channel, self.claim.epoch, 0).await {
            self.relay.trouble(error);
        }
    }

    /// Hands over what waits and what comes, until there was nothing for a while.
    pub async fn hand_over(&mut self, client: Client) {
        while let Pause::Failed = self.hand_over_until_one_fails(&client).await {
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn hand_over_until_one_fails(&mut self, client: &Client) -> Pause {
        let (mut after, mut bytes) = (0, 0);
        // Those under way are given up with it.
        let (mut under_way, mut before) = (JoinSet::new(), Company::Fresh);
        let Claim { channel, epoch, .. } = self.claim;
        let had = self.has;
        loop {
            let has_room = under_way.len() < MOST_UNDER_WAY.0 && bytes < MOST_UNDER_WAY.1;
            tokio::select! {
                next = self.relay.store.next(channel, epoch, after), if has_room => match next {
                    Ok(stored) => {
                        let passing = Passing {
                            seq: stored.seq,
                            after,
                            arrived_at: stored.message.arrived_at,
                            // By its number, since a clock may be set back.
                            late: stored.seq <= self.claim.last,
                        };
                        let company = match passing.late {
                            false => Company::Fresh,
                            true if passing.seq <= had => Company::Nobody,
                            true => Company::Late,
                        };
                        if company == Company::Nobody || company != before {
                            while let Some(done) = under_way.join_next().await {
                                let Ok(Some(done)) = done else { return Pause::Failed };
                                bytes -= done;
                            }
                        }
                        before = company;
                        (after, bytes) = (stored.seq, bytes + stored.message.bytes());
                        self.has = self.has.max(after);
                        under_way.spawn(self.parcel(client.clone(), stored, passing).hand_over());
                    }
                    Err(error) => {
                        self.relay.trouble(error);
                        return Pause::Failed;
                    }
                },
                Some(done) = under_way.join_next() => match done {
                    Ok(Some(done)) => bytes -= done,
                    Ok(None) | Err(_) => return Pause::Failed,
                },
                () = tokio::time::sleep(IDLE), if under_way.is_empty() => return Pause::Idle,
            }
        }
    }

    fn parcel(&self, client: Client, stored: Stored, passing: Passing) -> Parcel {
        let Claim { channel, epoch, .. } = self.claim;
        Parcel { relay: Arc::clone(&self.relay), client, channel, epoch, stored, passing }
    }
}

impl Parcel {
    /// Hands a message over and passes the answer on; how many bytes it had, if the owner has it now.
    async fn hand_over(self) -> Option<u64> {
        let message = &self.stored.message;
        let head = head(&message.request, self.passing)?;
        let mut response = send(self.client.clone(), head, &message.request).await.ok()?;
        if early::take_promise(response.headers_mut()) {
            let (answer, promise) = split(response).await?;
            self.relay.store.answer(message.id, harmless(answer));
            if !promise.kept().await {
                return None;
            }
            return self.ack();
        }
        // What is too large for an older owner, which records nothing of it, will never be taken.
        let is_taken =
            response.headers().contains_key(DELIVERY) || response.status() == StatusCode::PAYLOAD_TOO_LARGE;
        let bytes = if is_taken { self.ack()? } else { return None };
        let answer = response.map(|body| Received::from(body).boxed());
        self.relay.store.answer(message.id, harmless(answer));
        Some(bytes)
    }

    /// It is done, if its channel still is the owner's; how many bytes it had.
    fn ack(&self) -> Option<u64> {
        let is_acked = self.relay.store.ack(self.channel, self.epoch, &self.stored);
        is_acked.then(|| {
            self.relay.metrics.delivered.inc();
            self.stored.message.bytes()
        })
    }
}

fn head(sent: &model::Request, passing: Passing) -> Option<Request<()>> {
    let uri =
        Uri::builder().scheme("http").authority("relay").path_and_query(sent.path.as_str()).build().ok()?;
    let mut head = Request::builder().method(sent.method.as_str()).uri(uri).body(()).ok()?;
    *head.headers_mut() = passing.announce(&sent.headers);
    Some(head)
}

/// Sends a request; all of it leaves at once, as far as there is room.
async fn send(
    client: Client,
    head: Request<()>,
    sent: &model::Request,
) -> Result<Response<RecvStream>, h2::Error> {
    // HTTP/2 knows no fields that concern one connection, and would refuse all of it.
    let mut trailers = sent.trailers.clone();
    trailers.drop_hop_by_hop();
    let (has_trailers, has_body) = (!trailers.is_empty(), !sent.body.is_empty());
    let (response, mut stream) = client.ready().await?.send_request(head, !has_body && !has_trailers)?;
    if has_body {
        stream.send_data(sent.body.clone(), !has_trailers)?;
    }
    if has_trailers {
        stream.send_trailers(trailers.to_map())?;
    }
    response.await
}
