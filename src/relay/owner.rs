//! Lets an owner of a channel in, and hands it what comes for the channel until it leaves or another one comes.

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::upgrade::OnUpgrade;
use prometheus_client::metrics::gauge::Gauge;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::access::Admission;
use super::answers::{report, try_again};
use super::handing::Errand;
use super::metrics::Refused;
use super::places::Place;
use super::proxies::Sender;
use super::{News, Parts};
use crate::serve::{Arrived, Body, Ended, HEARTBEAT, SILENCE, Socket, ask_through, upgraded};
use crate::store::relay::{Claim, Claimant, GIVEN_UP, NoClaim, TokenHash};
use crate::tunnel::{CHANNEL, HAS, HIDDEN_BY, LISTEN_TOKEN, PUBLIC_URL, WAITING};
use crate::websocket::{self, code};

/// How long it may take until a WebSocket is one, until HTTP/2 begins or ends within, and until it is closed.
const OPENING: Duration = Duration::from_secs(10);

/// How long it may take to take in what came before the end of a tunnel.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// How a tunnel ends whose other side is gone without a word.
const SILENT: &str = "it gave no sign of life";

/// What a tunnel is read from and written to.
type Stream = Box<websocket::ByteStream<Socket>>;

/// Somebody who has proved that they may open a tunnel, and which channel is theirs.
pub struct Admitted {
    pub admission: Admission,
    pub token: TokenHash,
    pub has: i64,
}

/// Somebody who has a tunnel.
struct Guest {
    admission: Admission,
    has: i64,
    sender: Sender,
    _place: Place,
}

/// Counts a tunnel in which HTTP/2 runs, until it is dropped.
struct Awake<'a>(&'a Gauge);

impl<'a> Awake<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Awake<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Opens a tunnel; the answer is 101, or why there is none.
pub async fn open(relay: &Arc<Parts>, arrived: Arrived, sender: Sender) -> Response<Body> {
    let mut request = arrived.request;
    if request.method() != Method::GET {
        return report(
            StatusCode::METHOD_NOT_ALLOWED,
            "method",
            "a tunnel is opened with GET, and its channel given up with DELETE",
        );
    }
    let admitted = match admit(relay, &sender, request.headers()) {
        Ok(admitted) => admitted,
        Err(refusal) => return *refusal,
    };
    let mut answer = match websocket::answer(&request) {
        Ok(answer) => answer.map(|()| Empty::new().map_err(|never| match never {}).boxed()),
        Err(why) => {
            refused(relay, &sender, Refused::Request, "it is no WebSocket of a tunnel");
            return report(StatusCode::BAD_REQUEST, "websocket", why);
        }
    };
    let Admission { name, most_channels, most_tunnels, .. } = &admitted.admission;
    let Some(place) = relay.places.take(name, admitted.token, *most_tunnels) else {
        let why = "there are as many tunnels as there may be";
        refused(relay, &sender, Refused::Crowded, why);
        return try_again(30, "crowded", why);
    };
    let claimant = Claimant {
        token: admitted.token,
        tenant: Arc::clone(name),
        most_channels: Some(most_channels.unwrap_or(relay.settings.most_channels)),
        has: admitted.has,
    };
    let claim = match relay.store.claim(claimant).await {
        Ok(claim) => claim,
        Err(NoClaim::Store(error)) => {
            relay.metrics.refused(Refused::Store);
            relay.trouble(error);
            return try_again(5, "store", "channels cannot be kept at the moment");
        }
        Err(NoClaim::GivenUp) => {
            let why = "its channel was given up";
            refused(relay, &sender, Refused::Channel, why);
            return report(StatusCode::GONE, "given_up", why);
        }
        Err(error @ (NoClaim::TooMany(_) | NoClaim::NotTheirs)) => {
            let why = match error {
                NoClaim::NotTheirs => "its channel belongs to another access token",
                _ => "its access token has as many channels as it may have",
            };
            refused(relay, &sender, Refused::Channel, why);
            return report(StatusCode::FORBIDDEN, "channel", &error.to_string());
        }
    };
    let mut say = |name: HeaderName, text: String| {
        if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(text)) {
            answer.headers_mut().insert(name, value);
        }
    };
    say(CHANNEL, claim.channel.to_string());
    say(PUBLIC_URL, relay.settings.public_url.of(&claim.channel));
    say(WAITING, claim.waiting.to_string());
    if let Some(proxy) = sender.hidden_by {
        say(HIDDEN_BY, proxy.to_string());
    }
    let upgrade = hyper::upgrade::on(&mut request);
    let guest = Guest { admission: admitted.admission, has: admitted.has, sender, _place: place };
    relay.tasks.spawn(own(Arc::clone(relay), upgrade, claim, guest));
    answer
}

/// Counts somebody who got no tunnel, and tells of it.
fn refused(relay: &Parts, sender: &Sender, counted: Refused, why: &'static str) {
    relay.metrics.refused(counted);
    relay.tell_now_and_then(sender.address.or(sender.hidden_by), News::Refused(*sender, why));
}

/// Who it is: from these two fields, and from nowhere else. Whoever is not let in is counted and told of.
pub fn admit(relay: &Parts, sender: &Sender, headers: &HeaderMap) -> Result<Admitted, Box<Response<Body>>> {
    let refuse = |counted, why, refusal| {
        refused(relay, sender, counted, why);
        Err(Box::new(refusal))
    };
    let one = |name: HeaderName| {
        let mut values = headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok())
    };
    let given = one(AUTHORIZATION).and_then(|text| text.strip_prefix("Bearer "));
    let Some(admission) = relay.admit(given) else {
        let (message, why) = match given {
            None => ("it has no access token", "it had no access token"),
            Some(_) => ("this is not its access token", "its access token is not a right one"),
        };
        let mut response = report(StatusCode::UNAUTHORIZED, "access", message);
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return refuse(Refused::Access, why, response);
    };
    let mut bits = [0; 32];
    let token = one(LISTEN_TOKEN).filter(|text| hex::decode_to_slice(text, &mut bits).is_ok());
    let Some(token) = token else {
        let refusal = report(StatusCode::BAD_REQUEST, "token", "a listen token is 64 hexadecimal digits");
        return refuse(Refused::Request, "its listen token is not 64 hexadecimal digits", refusal);
    };
    let has = one(HAS).and_then(|text| text.parse().ok()).unwrap_or_default();
    Ok(Admitted { admission, token: TokenHash(Sha256::digest(token).into()), has })
}

/// Owns a channel as long as the tunnel holds.
async fn own(relay: Arc<Parts>, upgrade: OnUpgrade, claim: Claim, guest: Guest) {
    let (channel, epoch) = (claim.channel, claim.epoch);
    let why = match timeout(OPENING, upgraded(upgrade)).await {
        Ok(Ok(upgraded)) => {
            relay.metrics.opened.inc();
            relay.tell(News::Opened(channel, claim.waiting, guest.sender));
            // In a box: it is moved from hand to hand, and each would keep room for it.
            let stream = Box::new(websocket::accept(upgraded.io, upgraded.read).await);
            talk(&relay, stream, claim, &guest).await
        }
        _ => "it was never opened",
    };
    relay.store.leave(channel, epoch);
    relay.tell(News::Closed(channel, why));
}

/// Hands over what comes; how the tunnel ended.
async fn talk(relay: &Arc<Parts>, stream: Stream, claim: Claim, guest: &Guest) -> &'static str {
    let ending = stream.ending();
    let mut displaced = claim.displaced.clone();
    let mut access = relay.access.subscribe();
    let talking = rest_and_hand_over(relay, stream, claim, guest.has);
    tokio::pin!(talking);
    let (why, code, reason) = tokio::select! {
        why = talking.as_mut() => return why,
        () = ending.silence(SILENCE) => return SILENT,
        _ = displaced.changed() => match *displaced.borrow() {
            GIVEN_UP => ("its channel was given up", code::GIVEN_UP, "its channel was given up"),
            _ => ("a newer one has the channel", code::DISPLACED, "a newer one has the channel"),
        },
        // An error means that nothing changes any more, which does not come before the end.
        _ = access.wait_for(|access| !guest.admission.still_holds(access)) => {
            ("its access token is not good any more", code::NOT_LET_IN, "its access token is not good any more")
        }
        () = relay.stop.cancelled() => ("the relay stops", code::AWAY, "the relay stops"),
    };
    ending.close(code, reason);
    // Whoever does not read that is gone all the same.
    drop(timeout(OPENING, talking).await);
    why
}

/// Hands over what there is, again and again, and in between takes no more memory than it must. How it ended.
async fn rest_and_hand_over(relay: &Arc<Parts>, mut stream: Stream, claim: Claim, has: i64) -> &'static str {
    let mut errand = Errand { relay: Arc::clone(relay), claim, has };
    loop {
        tokio::select! {
            came = stream.rest(HEARTBEAT) => return match came {
                Ok(true) => "it does not speak HTTP/2",
                Ok(false) | Err(_) => "it left",
            },
            () = errand.awaits_something() => {}
        }
        let _awake = Awake::new(&relay.metrics.awake);
        // In a box: it is large, and seldom there.
        stream = match Box::pin(hand_over(stream, &mut errand)).await {
            Ok(stream) => stream,
            Err(why) => return why,
        };
    }
}

/// Hands over what there is, until there was nothing for a while. HTTP/2 begins and ends with it.
async fn hand_over(stream: Stream, errand: &mut Errand) -> Result<Stream, &'static str> {
    let (stream, comes_back) = websocket::lend(stream);
    let Ok(Ok((client, connection))) = timeout(OPENING, ask_through(stream)).await else {
        return Err("it does not speak HTTP/2");
    };
    tokio::pin!(connection);
    let handing = errand.hand_over(client);
    tokio::pin!(handing);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        // With it goes the client, and so the connection ends.
        () = handing.as_mut() => None,
    };
    if let Some(ended) = ended {
        // What came with its last words is taken in: else it would be handed over again.
        drop(timeout(LAST_WORDS, handing).await);
        return Err(match ended {
            Err(Ended::Silent) => SILENT,
            Ok(()) | Err(Ended::Broken(_)) => "it left",
        });
    }
    let ending = async {
        connection.await.ok()?;
        let mut stream = comes_back.await.ok()?;
        stream.end().await.ok().map(|()| stream)
    };
    timeout(OPENING, ending).await.ok().flatten().ok_or("it left")
}
