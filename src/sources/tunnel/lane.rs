//! Where the requests of one tunnel go: each is recorded once and in its turn, and answered as often as it is asked for.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use crate::bus::{Bus, Subscription};
use crate::model::{ChannelId, Delivery, Line, Relayed, Update};
use crate::serve::{Arrived, Body};
use crate::sources::ingress::{Ingress, Reply, again};
use crate::store::{Reader, Recorded, StoreError};
use crate::tunnel::{DELIVERY, Passing, early};

/// What all tunnels of this run have in common, one after the other.
#[derive(Clone)]
pub struct Lanes {
    ingress: Ingress,
    folder: Arc<Path>,
    bus: Bus,
    /// The deliveries up to this number are of earlier runs.
    earlier: i64,
    /// Those of them that were taken up.
    taken_up: Arc<Mutex<HashSet<i64>>>,
    /// How long what is under way is waited for.
    pub(super) patience: Duration,
}

/// How long what is under way is waited for when it is asked for again: its sender has been told that it is kept by then, and
/// should its outcome never be known, since it could not be recorded, it must not hold up those behind it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the requests of one tunnel go.
#[derive(Clone)]
pub struct Lane {
    lanes: Lanes,
    channel: ChannelId,
    line: Line,
}

/// What there is to do with a request that is recorded.
enum Found {
    /// It came to something.
    Settled(Recorded),
    /// An earlier run recorded it and came no further.
    Left(Delivery),
    /// It was recorded, and deleted since.
    Deleted,
}

impl Lanes {
    /// Nothing came through a tunnel so far.
    pub async fn new(ingress: Ingress, folder: Arc<Path>, bus: Bus) -> Result<Self, StoreError> {
        let earlier = read_record(Arc::clone(&folder), Reader::last_number).await?.unwrap_or_default();
        Ok(Self { ingress, folder, bus, earlier, taken_up: Arc::default(), patience: PATIENCE })
    }

    /// How far a channel is recorded.
    pub async fn recorded_up_to(&self, channel: ChannelId) -> Result<i64, StoreError> {
        recorded_up_to(Arc::clone(&self.folder), channel).await
    }

    /// Sets a line right in which one was not recorded: it has its turn once more. It may be there for all that, by an earlier
    /// try, or by a tunnel of before that was not done with it: then it is looked for when it comes again.
    async fn set_right(&self, channel: ChannelId, line: &Line, seq: i64, after: i64) {
        match self.recorded_up_to(channel).await {
            Ok(last) if last >= seq => line.advance(last),
            Ok(_) | Err(_) => line.fall_back(after),
        }
    }

    /// Whether a delivery that came to nothing was left by an earlier run, and nobody has taken it up so far.
    fn is_left(&self, number: i64) -> bool {
        number <= self.earlier && !self.taken_up().contains(&number)
    }

    /// Takes up what was left; whether nobody did so before.
    fn take_up(&self, number: i64) -> bool {
        self.taken_up().insert(number)
    }

    fn taken_up(&self) -> MutexGuard<'_, HashSet<i64>> {
        self.taken_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lane of one tunnel.
    pub fn open(&self, channel: ChannelId, at: i64) -> Lane {
        Lane { lanes: self.clone(), channel, line: Line::new(at) }
    }
}

impl Lane {
    /// Takes one request; the answer is for its sender.
    pub async fn receive(self, arrived: Arrived) -> Response<Body> {
        let Arrived { request, headers, peer } = arrived;
        let Some((passing, headers)) = Passing::take(&headers) else {
            return bare(StatusCode::BAD_REQUEST);
        };
        let Passing { seq, after, arrived_at, late } = passing;
        let found = if self.line.is_past(seq) { self.find(seq).await } else { Ok(None) };
        let Self { lanes, channel, line } = self;
        let ingress = lanes.ingress.clone();
        let relayed =
            Relayed { channel, seq, after, arrived_at, late, line: line.clone(), sent_on_with: None };
        let arrived = Arrived { request, headers, peer };
        let mut response = match found {
            Ok(Some(Found::Settled(recorded))) => again(&recorded),
            Ok(Some(Found::Left(delivery))) => {
                let number = delivery.number;
                ingress.take_up(arrived, relayed, delivery, || lanes.take_up(number)).await
            }
            Ok(Some(Found::Deleted)) => deleted(),
            // If it had its turn, something went wrong then, or it is being recorded.
            Ok(None) => {
                let (mut response, recording) = match ingress.receive_relayed(arrived, relayed).await {
                    Ok(Reply { response, recording }) => (response, recording),
                    Err(refusal) => return *refusal,
                };
                let set_right = async move { lanes.set_right(channel, &line, seq, after).await };
                if let Some(recording) = recording {
                    early::promise(response.headers_mut());
                    let trailers = async {
                        if recording.succeeds().await {
                            return Some(Ok(early::keep()));
                        }
                        set_right.await;
                        None
                    };
                    return without_length(response).map(|body| body.with_trailers(trailers).boxed());
                }
                if !response.headers().contains_key(DELIVERY) {
                    set_right.await;
                }
                response
            }
            Err(_) => bare(StatusCode::SERVICE_UNAVAILABLE),
        };
        // Whatever the handler says.
        early::take_promise(response.headers_mut());
        without_length(response)
    }

    /// Looks for what is recorded under a number of the relay's; what is under way is waited for.
    async fn find(&self, seq: i64) -> Result<Option<Found>, StoreError> {
        loop {
            let updates = self.lanes.bus.subscribe();
            let (last, recorded) = self.recorded(seq).await?;
            let Some(recorded) = recorded else {
                // Nothing is recorded before what comes before it, so it was there.
                return Ok((last >= seq).then_some(Found::Deleted));
            };
            let delivery = &recorded.delivery;
            if !delivery.attempts.is_empty() || delivery.held || delivery.not_forwarded.is_some() {
                return Ok(Some(Found::Settled(recorded)));
            }
            if self.lanes.is_left(delivery.number) {
                return Ok(Some(Found::Left(recorded.delivery)));
            }
            if !timeout(self.lanes.patience, news_of(updates, delivery.number)).await.unwrap_or(false) {
                return Ok(Some(Found::Settled(recorded)));
            }
        }
    }

    /// How far the channel is recorded, and what is recorded under a number. In this order: it may be recorded in between.
    async fn recorded(&self, seq: i64) -> Result<(i64, Option<Recorded>), StoreError> {
        let channel = self.channel;
        let read =
            move |reader: &Reader| Ok((reader.last_relayed(&channel)?, reader.relayed(&channel, seq)?));
        read_record(Arc::clone(&self.lanes.folder), read).await.map(Option::unwrap_or_default)
    }
}

/// Waits until a delivery came to something, as far as is told; `false` when nothing is told any more.
async fn news_of(mut updates: Subscription, number: i64) -> bool {
    loop {
        match updates.recv().await {
            Ok(Update::Attempted(delivery, _) | Update::Held(delivery) | Update::NotForwarded(delivery))
                if delivery.number == number =>
            {
                return true;
            }
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return true,
            Err(RecvError::Closed) => return false,
        }
    }
}

/// How far a channel is recorded.
pub async fn recorded_up_to(folder: Arc<Path>, channel: ChannelId) -> Result<i64, StoreError> {
    let read = move |reader: &Reader| reader.last_relayed(&channel);
    read_record(folder, read).await.map(Option::unwrap_or_default)
}

/// Reads from the record, on a thread that may block; nothing when there is no record.
async fn read_record<T: Send + 'static>(
    folder: Arc<Path>,
    read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
) -> Result<Option<T>, StoreError> {
    let file = folder.to_path_buf();
    let read = move || Reader::open(&folder)?.as_ref().map(read).transpose();
    let done = tokio::task::spawn_blocking(read).await;
    done.unwrap_or_else(|_ended| Err(StoreError::Closed { file }))
}

/// An answer that has no body says no length: HTTP/2 would take one for a body that is missing (RFC 9113, section 8.1.1).
fn without_length(mut response: Response<Body>) -> Response<Body> {
    if [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&response.status()) {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response
}

/// The answer to what was recorded and is there no more: the relay need not send it again.
fn deleted() -> Response<Body> {
    let mut response = bare(StatusCode::OK);
    response.headers_mut().insert(DELIVERY, HeaderValue::from_static("deleted"));
    response
}

fn bare(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response
}
