//! Takes requests from senders: each is on disk before its sender is told 2xx, and before anybody else hears of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, HeaderValue};
use http::{Method, Response, StatusCode, Uri};
use tokio::time::timeout;

use super::answers::{kept, report, try_again};
use super::coming::OnItsWay;
use super::metrics::Told;
use super::proxies::Sender;
use super::rate::Rate;
use super::{Mode, Parts, WhenOffline};
use crate::model::{ChannelId, Request};
use crate::serve::{Arrived, Body, NoBody, ReadBody, discard, subscriber};
use crate::store::relay::{Call, Found, Message, MessageId, NAMELESS, Waiting};
use crate::tunnel;

/// How long a sender waits for the handler's answer: those of Meeting BaaS give up after 30 seconds.
const ANSWER_TIME: Duration = Duration::from_secs(25);

/// How long a channel must have had no owner before nobody waits for its answer any more: one that lost its tunnel for a moment
/// comes back sooner, and gives it.
const ABSENCE: u32 = 3;

/// How often it is looked whether a channel has an owner.
const LOOK: Duration = Duration::from_secs(1);

/// How long a request waits until it may be written to disk.
const TURN: Duration = Duration::from_secs(2);

/// How often an address may ask for channels that there are not, and be told so. Senders share few addresses, and some of their
/// URLs are of yesterday: those that are good are not held up by it.
const GUESSES: Rate = Rate::per_minute(20.0);

/// The channel that a request is for, and its path there.
pub fn address(uri: &Uri) -> Option<(ChannelId, String)> {
    let rest = uri.path().strip_prefix("/in/")?;
    let (channel, path) = rest.split_once('/').unwrap_or((rest, ""));
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Some((channel.parse().ok()?, format!("/{path}{query}")))
}

/// Takes one request for a channel; the answer is for its sender.
pub async fn take(
    relay: &Parts,
    channel: ChannelId,
    path: String,
    arrived: Arrived,
    sender: Sender,
) -> Response<Body> {
    let (told, response) = decide(relay, channel, path, arrived, sender).await;
    relay.metrics.told(told);
    response
}

/// What is not even the name of a channel: the answer is that of any that there is not.
pub fn nowhere(relay: &Parts, sender: Sender) -> Response<Body> {
    let (told, response) = unknown(relay, sender);
    relay.metrics.told(told);
    response
}

/// An answer, and what it tells its sender.
type Decision = (Told, Response<Body>);

/// Whether an address may ask at all, for whatever it is.
pub fn admit(relay: &Parts, sender: Sender) -> Result<(), Box<Response<Body>>> {
    let (Some(address), Some(most)) = (limited(sender), relay.settings.most_per_address.per_second) else {
        return Ok(());
    };
    relay.of_addresses.take(subscriber(address), Rate::per_second(most)).map_err(|pause| {
        relay.complain_of(address, "its requests come faster than --max-rate-per-address");
        let message = "requests come faster from this address than they may";
        Box::new(try_again(seconds(pause), "address_rate", message))
    })
}

/// The address that limits hold for, if they do.
fn limited(sender: Sender) -> Option<IpAddr> {
    sender.address.filter(|_| sender.is_limited)
}

fn seconds(pause: Duration) -> u16 {
    u16::try_from(pause.as_secs()).unwrap_or(u16::MAX).saturating_add(1)
}

/// There is no such channel; whoever asks for many is not told that any more.
fn unknown(relay: &Parts, sender: Sender) -> Decision {
    let address = limited(sender);
    let taken = address.map_or(Ok(()), |address| relay.guesses.take(subscriber(address), GUESSES));
    match (taken, address) {
        (Err(pause), Some(address)) => {
            relay.complain_of(address, "it asks for too many channels that there are not");
            let message = "this address asks for too many channels that there are not";
            (Told::Guesses, try_again(seconds(pause), "guesses", message))
        }
        _ => (Told::Unknown, report(StatusCode::NOT_FOUND, "unknown", "there is nothing here")),
    }
}

/// Whether one more may wait: in its channel, in those of its access token, and at the relay. What is there since it was on its
/// way counts twice rather than not at all.
async fn has_room(relay: &Parts, coming: &OnItsWay<'_>) -> bool {
    let fits = |mut waiting: Waiting, coming: Waiting, (messages, bytes): (Option<u64>, Option<u64>)| {
        waiting += coming;
        messages.is_none_or(|most| waiting.messages <= most) && bytes.is_none_or(|most| waiting.bytes <= most)
    };
    let (messages, bytes) = relay.settings.most_waiting;
    let in_channel = match relay.store.find(coming.channel).await {
        Found::Open { waiting, .. } => waiting,
        // Then it is not kept, which is told in other words.
        Found::GivenUp | Found::Nothing => Waiting::default(),
    };
    let admission = relay.access.borrow().of_name(&coming.tenant).map(|admission| admission.most_waiting);
    let (in_all, of_tenant) = relay.store.waiting(&coming.tenant);
    fits(in_channel, coming.in_channel, (Some(messages), Some(bytes)))
        && fits(of_tenant, coming.of_tenant, admission.unwrap_or_default())
        && fits(in_all, coming.in_all, (None, relay.settings.most_waiting_in_all))
}

/// Waits until a channel has had no owner for a while: its answers will not come in time.
async fn is_left(relay: &Parts, channel: ChannelId) {
    let mut absent = 0;
    while absent < ABSENCE {
        tokio::time::sleep(LOOK).await;
        let is_owned = matches!(relay.store.find(channel).await, Found::Open { owned: true, .. });
        absent = if is_owned { 0 } else { absent + 1 };
    }
}

fn full() -> Decision {
    (Told::Full, try_again(30, "full", "as much waits here as may wait"))
}

fn given_up() -> Decision {
    (Told::GivenUp, report(StatusCode::GONE, "given_up", "this channel was given up"))
}

async fn decide(
    relay: &Parts,
    channel: ChannelId,
    path: String,
    arrived: Arrived,
    sender: Sender,
) -> Decision {
    let Arrived { request, mut headers, .. } = arrived;
    let (parts, mut body) = request.into_parts();
    if !matches!(parts.method, Method::POST | Method::PUT) {
        let mut response =
            report(StatusCode::METHOD_NOT_ALLOWED, "method", "a webhook is sent with POST or PUT");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, PUT"));
        return (Told::Method, response);
    }
    let (owned, tenant) = match look_at(relay, channel, sender).await {
        Ok(found) => found,
        Err(refusal) => return *refusal,
    };
    let body = match relay.bodies.read(&mut body).await {
        Ok(ReadBody { is_complete: false, .. }) => {
            let message = "the body ended before it was complete";
            return (Told::Body, report(StatusCode::BAD_REQUEST, "body", message));
        }
        Ok(body) => body,
        Err(refusal) => {
            // Whoever asks first is told before it sends anything.
            if refusal == NoBody::TooLarge && headers.get("expect").is_none() {
                discard(body).await;
            }
            return refused(refusal, relay.bodies.limit());
        }
    };
    headers.drop_hop_by_hop();
    headers.retain(|name, _| !tunnel::is_ours(name));
    let request = Request {
        method: parts.method.to_string(),
        path,
        headers,
        body: body.bytes,
        trailers: body.trailers,
    };
    let on_its_way = relay.coming.enter(channel, tenant, request.body.len() as u64);
    if !has_room(relay, &on_its_way).await {
        return full();
    }
    let id = MessageId::new(&relay.clock);
    let message = Arc::new(Message { id, arrived_at: relay.clock.now(), request });
    // Before it is put: its answer may come at once.
    let call = (relay.settings.mode == Mode::Sync && owned).then(|| relay.store.call(id));
    let Ok(Ok(turn)) = timeout(TURN, relay.writes.acquire()).await else {
        return (Told::Crowded, try_again(5, "crowded", "too many requests are written at the moment"));
    };
    let put = relay.store.put(channel, message).await;
    drop((turn, on_its_way));
    if let Err(error) = put {
        if relay.store.find(channel).await == Found::GivenUp {
            return given_up();
        }
        relay.trouble(error);
        return (Told::Store, try_again(5, "store", "it cannot be kept at the moment"));
    }
    let Some(Call { answer, hang_up: _until_the_end }) = call else {
        let when =
            if owned { "it is handed over now" } else { "it is handed over as soon as somebody takes it" };
        return (Told::Kept, kept(when));
    };
    let answer = tokio::select! {
        answer = timeout(ANSWER_TIME, answer) => answer,
        () = relay.stop.cancelled() => return (Told::Kept, kept("the relay stops; it is handed over later")),
        () = is_left(relay, channel) => {
            return (Told::Kept, kept("nobody is connected any more; it is handed over as soon as somebody takes it"));
        }
    };
    match answer {
        Ok(Ok(answer)) => (Told::Answered, answer),
        _ => (Told::Kept, kept("the handler has not answered yet")),
    }
}

/// Whether a channel takes a request now, before any of its body is read, whether somebody owns it, and whose it is.
async fn look_at(
    relay: &Parts,
    channel: ChannelId,
    sender: Sender,
) -> Result<(bool, Arc<str>), Box<Decision>> {
    let no = |told, response| Err(Box::new((told, response)));
    let settings = &relay.settings;
    let (owned, tenant, waiting) = match relay.store.find(channel).await {
        Found::Open { owned, tenant, waiting } => (owned, tenant, waiting),
        Found::GivenUp => return Err(Box::new(given_up())),
        Found::Nothing => return Err(Box::new(unknown(relay, sender))),
    };
    let admission = relay.access.borrow().of_name(&tenant).map(|admission| admission.most_per_second);
    // Whoever came without a name keeps the channel by its listen token.
    if admission.is_none() && *tenant != *NAMELESS {
        let message = "nobody may take what comes for this channel at the moment";
        return no(Told::Offline, try_again(30, "offline", message));
    }
    let of_tenant = admission.flatten();
    let rates = [
        settings.most_per_second.map(|most| relay.of_channels.take(channel, Rate::per_second(most))),
        of_tenant.map(|most| relay.of_tenants.take(Arc::clone(&tenant), Rate::per_second(most))),
    ];
    if let Some(Err(pause)) = rates.into_iter().flatten().find(Result::is_err) {
        return no(Told::TooFast, try_again(seconds(pause), "rate", "requests come faster than they may"));
    }
    if !owned && settings.when_offline == WhenOffline::Reject {
        let message = "nobody takes what comes for this channel at the moment";
        return no(Told::Offline, try_again(30, "offline", message));
    }
    let (messages, bytes) = settings.most_waiting;
    if waiting.messages >= messages || waiting.bytes >= bytes {
        return Err(Box::new(full()));
    }
    Ok((owned, tenant))
}

fn refused(refusal: NoBody, limit: usize) -> Decision {
    match refusal {
        NoBody::TooLarge => {
            let message = format!("a body has at most {limit} bytes here");
            (Told::TooLarge, report(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", &message))
        }
        NoBody::TooSlow => {
            (Told::Body, report(StatusCode::REQUEST_TIMEOUT, "body", "the body came too slowly"))
        }
        NoBody::Crowded => {
            let message = "there is no room for so many large bodies at a time";
            (Told::Crowded, try_again(5, "crowded", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_the_part_behind_in_and_nothing_but_a_channel_is_one() {
        let id = "00112233445566778899aabbccddeeff";
        let of =
            |path: &str| address(&path.parse().unwrap()).map(|(channel, path)| (channel.to_string(), path));
        for (rest, path) in [
            ("", "/"),
            ("/", "/"),
            ("?a=1", "/?a=1"),
            ("/hooks/x?y=%20", "/hooks/x?y=%20"),
            ("//evil.example/", "//evil.example/"),
            ("/../x", "/../x"),
        ] {
            assert_eq!(of(&format!("/in/{id}{rest}")), Some((id.to_owned(), path.to_owned())));
        }
        let hostile =
            ["/in/", "/in/..", "/in//x", "/in/*", "/in/%00", "/IN/x", "/", "/in", "/in/0011", "/in/$JS.API"];
        for path in hostile {
            assert_eq!(of(path), None, "{path}");
        }
        assert_eq!(of(&format!("/in/{}", id.to_uppercase())), None);
        assert_eq!(of(&format!("/in/{id}0")), None);
        println!("inputs={} violations=0", hostile.len() + 8);
    }
}
