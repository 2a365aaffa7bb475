//! The ingress: takes any request as a delivery and answers the sender with the handler's answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Frame;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::provenance::{DELIVERY, Provenance};
use super::resign::Resign;
use super::routing::{Router, Taken};
use crate::bus::Bus;
use crate::contract::{WireNames, recognise, recognise_within};
use crate::forward::{Rest, WireAnswer};
use crate::model::{
    Answer, Clock, Delivery, DeliveryId, Failure, FailureKind, Incoming, NotForwarded, Origin, Outcome,
    Relayed, Request, Secret, Trouble, Update, Verdict,
};
use crate::pipeline::{Answered, Delivered, Early};
use crate::serve::{Arrived, Body, BodyReader, BoxError, NoBody, discard};
use crate::signature::{Claim, Keyring};
use crate::store::{Recorded, StoreError};
use crate::tunnel::early;

/// How long a delivery from a relay waits for its turn at the most.
const TURN: Duration = Duration::from_secs(20);

/// How many deliveries from a relay may be answered before they are recorded. Among more of them, all wait for the same
/// transaction: to answer sooner and say so later would take longer than that.
const MOST_EARLY: usize = 4;

/// What becomes of deliveries whose signature is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// They are forwarded, and shown as what they are.
    Warn,
    /// They are recorded, answered 401 and not forwarded.
    Strict,
    /// Nothing is checked.
    Off,
}

/// How requests are taken.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What becomes of deliveries whose signature is not valid.
    pub verify: Verify,
    /// The secrets that signatures are checked with.
    pub keys: Keyring,
    /// When what came through a tunnel is signed anew.
    pub resign: Resign,
    /// What our own commands prove themselves with.
    pub token: Secret,
    /// The largest body that is taken, in bytes.
    pub max_body: usize,
}

/// What a relay is told of a request.
pub struct Reply {
    /// The answer, which names the delivery once that is, or will be, recorded.
    pub response: Response<Body>,
    /// The record, if that is not certain yet.
    pub recording: Option<Recording>,
}

/// A delivery that is being recorded while its sender has the answer already.
pub struct Recording {
    on_disk: oneshot::Receiver<()>,
    _place: OwnedSemaphorePermit,
}

/// A cloneable handle to the ingress service.
#[derive(Clone)]
pub struct Ingress(Arc<Parts>);

struct Parts {
    settings: Settings,
    bodies: BodyReader,
    names: WireNames,
    router: Router,
    bus: Bus,
    clock: Clock,
    early: Arc<Semaphore>,
}

impl Ingress {
    /// A service that feeds `router`.
    pub fn new(settings: Settings, names: WireNames, router: Router, bus: Bus, clock: Clock) -> Self {
        let bodies = BodyReader::new(settings.max_body);
        let early = Arc::new(Semaphore::new(MOST_EARLY));
        Self(Arc::new(Parts { settings, bodies, names, router, bus, clock, early }))
    }

    /// Takes one request; the answer is for its sender.
    pub async fn receive(self, arrived: Arrived) -> Response<Body> {
        match self.0.read(arrived, None).await {
            Ok((incoming, ours)) => self.0.hand_on(Arc::new(incoming), ours, None).await,
            Err(refusal) => self.0.refuse(refusal),
        }
    }

    /// Takes one request that a relay passes on, when its turn has come.
    ///
    /// The answer names the delivery once that is recorded. One without a name is none for the sender: the relay sends
    /// the request again.
    ///
    /// # Errors
    ///
    /// The answer to one that was not even brought to be recorded.
    pub async fn receive_relayed(
        self,
        arrived: Arrived,
        relayed: Relayed,
    ) -> Result<Reply, Box<Response<Body>>> {
        let (line, after) = (relayed.line.clone(), relayed.after);
        let incoming = self.0.read_relayed(arrived, relayed).await?;
        if timeout(TURN, line.wait_for(after)).await.is_err() {
            return Err(Box::new(try_again("turn", "what comes before it is not recorded")));
        }
        let (id, place) = (incoming.id.clone(), Arc::clone(&self.0.early).try_acquire_owned().ok());
        let (sender, answered) = oneshot::channel();
        let early = place.is_some().then_some(Early { sender, most_bytes: early::LONGEST });
        let response = self.0.hand_on(Arc::new(incoming), false, early);
        tokio::select! {
            biased;
            // An error means that there is none so early.
            Ok(Answered { attempt, wire, recorded }) = answered => {
                let recording = place.map(|place| Recording { on_disk: recorded, _place: place });
                Ok(Reply { response: came_of(&id, &attempt.outcome, wire, None), recording })
            }
            response = response => Ok(Reply { response, recording: None }),
        }
    }

    /// Hands on a request that a relay passes on again, since an earlier run of ours recorded it and then ended; if, once it is
    /// all there, it is still its turn.
    pub async fn take_up(
        self,
        arrived: Arrived,
        relayed: Relayed,
        recorded: Delivery,
        is_its_turn: impl FnOnce() -> bool,
    ) -> Response<Body> {
        let (id, verdict) = (recorded.id.clone(), recorded.signature);
        match self.0.read_relayed(arrived, relayed).await {
            Ok(incoming) if is_its_turn() => {
                let incoming = Incoming { id: id.clone(), received_at: recorded.received_at, ..incoming };
                let taken = self.0.router.take_up(Arc::new(incoming), Arc::new(recorded)).await;
                answer_to(&id, verdict, taken)
            }
            Ok(_) => try_again("turn", "it was taken up meanwhile"),
            Err(refusal) => *refusal,
        }
    }
}

impl Recording {
    /// Whether the delivery is on disk in the end.
    pub async fn succeeds(self) -> bool {
        self.on_disk.await.is_ok()
    }
}

/// The answer to a request that is recorded already: what its handler said, as far as that is known.
pub fn again(recorded: &Recorded) -> Response<Body> {
    let id = &recorded.delivery.id;
    if let Some(why) = recorded.delivery.not_forwarded {
        return recorded_only(id, why, recorded.delivery.signature);
    }
    match recorded.delivery.last_attempt().map(|attempt| &attempt.outcome) {
        Some(Outcome::Answered(answer)) if !answer.cut => {
            let wire = WireAnswer { headers: answer.headers.to_map(), ..WireAnswer::default() };
            pass_on(id, answer, wire, None)
        }
        Some(Outcome::Failed(failure)) => undelivered(id, failure),
        _ => held(id),
    }
}

impl Parts {
    /// Makes a delivery of a request; whether it is of our own making as well, which nothing is that came through a relay.
    async fn read(&self, arrived: Arrived, relayed: Option<Relayed>) -> Result<(Incoming, bool), NoBody> {
        let (received_at, id) = (self.clock.now(), DeliveryId::new(&self.clock));
        let Arrived { request, mut headers, .. } = arrived;
        let (parts, mut body) = request.into_parts();
        let (method, path) = (parts.method.to_string(), wire_path(&parts.uri));
        drop(parts);
        let read = self.bodies.read(&mut body).await;
        let (body, not_forwarded) = match read {
            // A relay has told its sender that it is kept: something must be found of it.
            Err(NoBody::TooLarge) if relayed.is_some() => (None, Some(NotForwarded::TooLarge)),
            // Whoever asks first is told before it sends anything.
            Err(NoBody::TooLarge) if headers.get("expect").is_none() => {
                Box::pin(discard(body)).await;
                return Err(NoBody::TooLarge);
            }
            read => {
                let body = read?;
                let not_forwarded = (!body.is_complete).then_some(NotForwarded::Incomplete);
                (Some(body), not_forwarded)
            }
        };
        let is_there = body.is_some();
        let (body, trailers) = body.map_or_else(Default::default, |body| (body.bytes, body.trailers));
        headers.drop_hop_by_hop();
        let provenance = match &relayed {
            None => Provenance::take(&self.settings.token, &mut headers),
            Some(_) => None,
        };
        let ours = provenance.is_some();
        let Provenance { origin, replay_of, contract } = provenance.unwrap_or(Provenance::UNKNOWN);
        let origin = if relayed.is_some() { Origin::Tunnel } else { origin };
        let kind = match contract {
            Some(_) => recognise_within(&self.names, contract, &body),
            None => recognise(&self.names, &headers, &body),
        };
        let (signature, signature_note) = match self.settings.verify {
            Verify::Off => (Verdict::Unchecked, None),
            Verify::Warn | Verify::Strict if !is_there => (Verdict::Unchecked, None),
            Verify::Warn | Verify::Strict => {
                let claim = Claim {
                    contract: kind.contract,
                    event_type: kind.event_type.as_ref(),
                    headers: &headers,
                    body: &body,
                    // It was fresh when the relay got it.
                    at: relayed.as_ref().map_or(received_at, |relayed| relayed.arrived_at),
                };
                claim.examine(&self.settings.keys)
            }
        };
        let request = Request { method, path, headers, body, trailers };
        let incoming = Incoming {
            id,
            received_at,
            origin,
            replay_of,
            kind,
            signature,
            signature_note,
            not_forwarded,
            relayed,
            request,
        };
        Ok((incoming, ours))
    }

    /// Makes a delivery of a request that a relay passes on.
    async fn read_relayed(
        &self,
        arrived: Arrived,
        relayed: Relayed,
    ) -> Result<Incoming, Box<Response<Body>>> {
        match self.read(arrived, Some(relayed)).await {
            Ok((incoming, _)) if incoming.not_forwarded == Some(NotForwarded::Incomplete) => {
                Err(Box::new(try_again("body", "the relay broke off before the body was complete")))
            }
            Ok((incoming, _)) => {
                Ok(self.settings.resign.apply(incoming, &self.settings.keys, self.clock.now()))
            }
            Err(NoBody::TooSlow) => Err(Box::new(try_again("body", "the body came too slowly"))),
            Err(refusal) => Err(Box::new(self.refuse(refusal))),
        }
    }

    async fn hand_on(&self, incoming: Arc<Incoming>, ours: bool, early: Option<Early>) -> Response<Body> {
        let (id, verdict) = (incoming.id.clone(), incoming.signature);
        let unverified = self.settings.verify == Verify::Strict && verdict != Verdict::Valid;
        let not_forwarded = incoming.not_forwarded.or(unverified.then_some(NotForwarded::Unverified));
        let mut taken = match not_forwarded {
            Some(why) => self.router.record_only(incoming, why).await,
            None => self.router.deliver(incoming, early).await,
        };
        if let Ok(Taken::Delivered(delivered)) = &mut taken
            && ours
        {
            // Our own commands read the record next. An error means that it was told to the observers.
            drop((&mut delivered.settled).await);
        }
        answer_to(&id, verdict, taken)
    }

    fn refuse(&self, refusal: NoBody) -> Response<Body> {
        match refusal {
            NoBody::TooSlow => report(StatusCode::REQUEST_TIMEOUT, None, "body", "the body came too slowly"),
            NoBody::Crowded => {
                let message = "there is no room for so many large bodies at a time".to_owned();
                let hint =
                    "they are in memory until their handlers have answered: is one of those slow?".to_owned();
                let trouble = Trouble { code: "crowded", message: message.clone(), hint };
                self.bus.publish(Update::Trouble(Arc::new(trouble)));
                try_again("crowded", &message)
            }
            NoBody::TooLarge => {
                let message = format!("a body over the limit of {} bytes was refused", self.bodies.limit());
                let hint = "raise the limit with --max-body".to_owned();
                let trouble = Trouble { code: "body_too_large", message: message.clone(), hint };
                self.bus.publish(Update::Trouble(Arc::new(trouble)));
                report(StatusCode::PAYLOAD_TOO_LARGE, None, "body_too_large", &message)
            }
        }
    }
}

/// What the sender is told of a delivery.
fn answer_to(id: &DeliveryId, verdict: Verdict, taken: Result<Taken, StoreError>) -> Response<Body> {
    match taken {
        Ok(Taken::Delivered(delivered)) => relay(id, delivered),
        Ok(Taken::NotForwarded(why)) => recorded_only(id, why, verdict),
        Err(error) => unrecorded(&error),
    }
}

fn recorded_only(id: &DeliveryId, why: NotForwarded, verdict: Verdict) -> Response<Body> {
    match why {
        NotForwarded::Unverified => {
            let message = format!("the signature is {}; it was recorded and not forwarded", verdict.as_str());
            report(StatusCode::UNAUTHORIZED, Some(id), "signature", &message)
        }
        NotForwarded::Filtered => acknowledge(id, "recorded; nothing subscribes to this event type"),
        NotForwarded::Disabled => acknowledge(id, "recorded; its endpoint is disabled"),
        NotForwarded::NoTarget => acknowledge(id, "recorded; there is no target to forward to"),
        NotForwarded::Incomplete => {
            report(StatusCode::BAD_REQUEST, Some(id), "body", "the body ended before it was complete")
        }
        NotForwarded::TooLarge => {
            let message = "the body is larger than what is taken; it was recorded without it";
            report(StatusCode::PAYLOAD_TOO_LARGE, Some(id), "body_too_large", message)
        }
    }
}

/// Path and query of a request, whatever form its target had: the host never comes from the wire.
fn wire_path(uri: &Uri) -> String {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    if path.starts_with('/') { path.to_owned() } else { format!("/{}", path.trim_start_matches('*')) }
}

/// The handler's answer for the sender, or why there is none.
fn relay(id: &DeliveryId, delivered: Delivered) -> Response<Body> {
    if delivered.delivery.held {
        return held(id);
    }
    match delivered.delivery.last_attempt() {
        Some(attempt) => came_of(id, &attempt.outcome, delivered.wire, delivered.rest),
        None => held(id),
    }
}

fn came_of(id: &DeliveryId, outcome: &Outcome, wire: WireAnswer, rest: Option<Rest>) -> Response<Body> {
    match outcome {
        Outcome::Answered(answer) => pass_on(id, answer, wire, rest),
        Outcome::Failed(failure) => undelivered(id, failure),
    }
}

fn pass_on(id: &DeliveryId, answer: &Answer, wire: WireAnswer, rest: Option<Rest>) -> Response<Body> {
    let first = answer.body.clone();
    let body = match rest {
        None => Full::new(first).map_err(|never| match never {}).boxed(),
        Some(rest) => Behind { first, rest }.boxed(),
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    *response.extensions_mut() = wire.extensions;
    *response.headers_mut() = wire.headers;
    name_delivery(&mut response, id);
    response
}

/// A body of what was read already and what is still to come.
struct Behind {
    first: Bytes,
    rest: Rest,
}

impl hyper::body::Body for Behind {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { first, rest } = &mut *self;
        match [first, &mut rest.read].into_iter().find(|read| !read.is_empty()) {
            Some(read) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(read))))),
            None => Pin::new(&mut rest.to_come).poll_frame(cx).map_err(Into::into),
        }
    }
}

fn undelivered(id: &DeliveryId, failure: &Failure) -> Response<Body> {
    let status = match failure.kind {
        FailureKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    report(status, Some(id), failure.kind.as_str(), &failure.detail)
}

/// Trouble of our own is never a 4xx, on which some senders give up for good.
fn unrecorded(error: &StoreError) -> Response<Body> {
    try_again("store", &error.to_string())
}

fn try_again(error: &str, message: &str) -> Response<Body> {
    let mut response = report(StatusCode::SERVICE_UNAVAILABLE, None, error, message);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// The delivery is safe, and the handler gets it later: the sender need not try again.
fn held(id: &DeliveryId) -> Response<Body> {
    let message = "recorded; it is sent on when the handler is back";
    let body = json!({ "status": "held", "message": message, "delivery": id.as_str() });
    answer(StatusCode::ACCEPTED, Some(id), &body)
}

fn acknowledge(id: &DeliveryId, message: &str) -> Response<Body> {
    answer(
        StatusCode::OK,
        Some(id),
        &json!({ "status": "recorded", "message": message, "delivery": id.as_str() }),
    )
}

fn report(status: StatusCode, id: Option<&DeliveryId>, error: &str, message: &str) -> Response<Body> {
    let delivery = id.map(DeliveryId::as_str);
    answer(status, id, &json!({ "error": error, "message": message, "delivery": delivery }))
}

fn answer(status: StatusCode, id: Option<&DeliveryId>, body: &serde_json::Value) -> Response<Body> {
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(id) = id {
        name_delivery(&mut response, id);
    }
    response
}

fn name_delivery(response: &mut Response<Body>, id: &DeliveryId) {
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(DELIVERY, value);
    }
}
