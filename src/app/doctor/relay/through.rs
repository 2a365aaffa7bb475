//! Uses a relay for a moment: a channel, a signed request to its public URL, the answer back, a body as large as may be.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::obstacle;
use super::outside::Limits;
use crate::app::doctor::Check;
use crate::forward::{self, Connection};
use crate::model::{Clock, Contract, Secret, Target, Verdict};
use crate::observers::advice::size;
use crate::serve::{Arrived, Body, HEARTBEAT, serve_through};
use crate::signature::{Claim, Key, Keyring, Signing, Stamp};
use crate::sources::tunnel::{self, RelayUrl, Settings};
use crate::tunnel::{CHANNEL, DELIVERY, HIDDEN_BY, LISTEN_TOKEN, PUBLIC_URL, Passing};
use crate::websocket::{self, ByteStream};

/// How long anything may take; a relay waits for a handler's answer as long.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long is waited for what a web server may say before it has a body.
const MOMENT: Duration = Duration::from_secs(5);

/// What is sent.
const BODY: &[u8] = br#"{"event":"mbaas-dev.doctor","data":{"note":"a test of this relay"}}"#;

/// Where it is sent to, behind the channel.
const PATH: &str = "/mbaas-dev/doctor";

/// What the handler answers: nobody else does.
const ANSWER: StatusCode = StatusCode::MULTI_STATUS;

/// A tunnel that is open.
pub struct Tunnel<'a> {
    relay: &'a RelayUrl,
    clock: &'a Clock,
    settings: Settings,
    stream: ByteStream<Connection>,
    channel: String,
    public: String,
    hidden_by: Option<String>,
}

/// What takes what comes.
#[derive(Clone)]
struct Handler {
    keys: Keyring,
    clock: Clock,
    word: Bytes,
    /// What became of the signature.
    seen: Arc<Mutex<Option<Verdict>>>,
}

impl<'a> Tunnel<'a> {
    /// Opens a tunnel, with a listen token of the moment.
    pub async fn open(relay: &'a RelayUrl, access: Option<Secret>, clock: &'a Clock) -> Result<Self, Check> {
        let token = Secret::new(hex::encode(clock.random_bytes::<32>()));
        let mut head = HeaderMap::new();
        let bearer = access.as_ref().map(|access| format!("Bearer {}", access.expose()));
        for (name, text) in [(LISTEN_TOKEN, Some(token.expose())), (AUTHORIZATION, bearer.as_deref())] {
            if let Some(value) = text.and_then(|text| HeaderValue::from_str(text).ok()) {
                head.insert(name, value);
            }
        }
        let finding = |found: String| Check::finding("tunnel", found, "see the log of the relay");
        let opening = async {
            let connection =
                forward::connect(relay.target()).await.map_err(|failure| finding(failure.detail))?;
            let url: Uri = relay.tunnel().unwrap_or_default();
            let opened = websocket::open(connection, &url, head).await;
            opened.map_err(|error| obstacle::of_tunnel(relay, access.is_some(), error))
        };
        let opened = timeout(PATIENCE, opening).await;
        let (stream, answer) =
            opened.map_err(|_elapsed| finding(format!("{relay} does not answer within 30 s")))??;
        let text =
            |name: &HeaderName| answer.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (Some(channel), Some(public)) = (text(&CHANNEL), text(&PUBLIC_URL)) else {
            return Err(Check::finding(
                "tunnel",
                "it opens a WebSocket for something else",
                "give the URL of a relay",
            ));
        };
        let hidden_by = text(&HIDDEN_BY);
        let settings = Settings { relay: relay.clone(), access, token, channel: None };
        Ok(Self { relay, clock, settings, stream, channel, public, hidden_by })
    }

    /// Looks at everything that needs a channel, and gives that up.
    pub async fn examine(self, limits: Limits) -> Vec<Check> {
        let mut checks = vec![Check::good("tunnel", "opened, and a channel for the moment")];
        if let Some(proxy) = &self.hidden_by {
            let found = format!(
                "a proxy at {proxy} stands before the relay and is not trusted: who sends is not known"
            );
            checks.push(Check::finding("proxy", found, format!("`relay --trusted-proxy {proxy}`")));
        }
        let handler = Handler {
            keys: Keyring::new(Key::new(Secret::new(hex::encode(self.clock.random_bytes::<16>())), "doctor")),
            clock: self.clock.clone(),
            word: Bytes::from(hex::encode(self.clock.random_bytes::<16>())),
            seen: Arc::default(),
        };
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let serving = handler.clone();
        let service = move |arrived| serving.clone().receive(arrived);
        let mut stream = self.stream;
        let serving = async {
            // The relay begins when there is something to hand over.
            if stream.rest(HEARTBEAT).await.is_ok_and(|begins| begins) {
                drop(serve_through(stream, service, stop, tasks).await);
            }
        };
        let asking = async {
            let (base, found) = public(&self.public, self.relay, &self.channel).await;
            let mut checks = vec![found, round_trip(&base, &handler).await];
            if let Some(largest) = limits.largest_body {
                checks.push(body_size(&base, largest).await);
            }
            checks
        };
        tokio::pin!(serving, asking);
        let found = tokio::select! {
            found = asking.as_mut() => found,
            // Whoever waits for an answer is told something by the relay all the same.
            () = serving.as_mut() => asking.await,
        };
        checks.extend(found);
        checks.push(match tunnel::give_up(&self.settings, true).await {
            Ok(_) => Check::good("channel", "given up again"),
            Err(error) => {
                let advice = "let the web server pass DELETE on: `relay release` needs it; the channel of this test stays";
                Check::finding("channel", format!("it cannot be given up: {error}"), advice)
            }
        });
        checks
    }
}

impl Handler {
    async fn receive(self, arrived: Arrived) -> Response<Body> {
        let (_, body) = arrived.request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let (_, headers) = Passing::take(&arrived.headers).unzip();
        let claim = Claim {
            contract: Some(Contract::Preview),
            event_type: None,
            headers: &headers.unwrap_or_default(),
            body: &body,
            at: self.clock.now(),
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(claim.verify(&self.keys));
        let answer = Full::new(self.word.clone()).map_err(|never| match never {}).boxed();
        let response = Response::builder().status(ANSWER).header(DELIVERY, "doctor").body(answer);
        response.unwrap_or_default()
    }
}

/// Where senders send to: the public URL, or the relay itself when that leads nowhere.
async fn public(public: &str, relay: &RelayUrl, channel: &str) -> (Target, Check) {
    let name = "public URL";
    let directly = relay.target().with_path(&relay.target().path_for(&format!("/in/{channel}")));
    let shown = public.split("/in/").next().unwrap_or_default();
    let why = match public.trim_end_matches('/').parse::<Target>() {
        Err(error) => error.reason().to_owned(),
        Ok(target) => match timeout(MOMENT, forward::reach(&target)).await {
            Ok(Ok(())) => return (target, Check::good(name, format!("senders reach {shown}"))),
            Ok(Err(failure)) => failure.detail,
            Err(_elapsed) => "there is no connection within 5 s".to_owned(),
        },
    };
    let found = format!("senders do not reach {shown}: {why}");
    (directly, Check::finding(name, found, "correct `relay --public-url`, the DNS, or the certificate"))
}

/// Sends a signed request, and waits for the handler's answer.
async fn round_trip(base: &Target, handler: &Handler) -> Check {
    let name = "round trip";
    let key = handler.keys.general().clone();
    let signed =
        Signing::right(Contract::Preview, key).sign(&Stamp::new(&handler.clock), BODY).unwrap_or_default();
    let mut request = Request::post(base.path_for(PATH)).body(Bytes::from_static(BODY)).unwrap_or_default();
    *request.headers_mut() = signed.to_map();
    request.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    let begun = handler.clock.tick();
    let answer = match timeout(PATIENCE, forward::ask(base, request)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(failure)) => {
            return Check::finding(name, failure.detail, "see the log of what stands before the relay");
        }
        Err(_elapsed) => {
            let advice = "let the web server wait for 30 s at least (nginx: `proxy_read_timeout 60s`)";
            return Check::finding(name, "a sender gets no answer within 30 s", advice);
        }
    };
    let seen = *handler.seen.lock().unwrap_or_else(PoisonError::into_inner);
    let milliseconds = begun.elapsed().as_millis();
    match (answer.status(), seen) {
        (_, Some(verdict)) if verdict != Verdict::Valid => {
            let advice = "let the web server pass bodies and headers on as they are";
            Check::finding(
                name,
                "what arrives is not what was sent: its signature is not valid any more",
                advice,
            )
        }
        (ANSWER, Some(_)) if *answer.body() == handler.word => Check::good(
            name,
            format!(
                "a signed request arrived as it was sent, and the answer came back, in {milliseconds} ms"
            ),
        ),
        (StatusCode::ACCEPTED, _) if milliseconds < 20_000 => Check::good(
            name,
            "a signed request is taken; the handler's answer is not waited for (--mode store)",
        ),
        (StatusCode::ACCEPTED, _) => {
            let advice = "let the web server keep WebSockets open and not buffer them";
            Check::finding(name, "a signed request is taken, but nothing comes through the tunnel", advice)
        }
        (StatusCode::NOT_FOUND, None) => {
            let advice = "with a path before it, let the web server take that path off, and name it in `relay --public-url`";
            Check::finding(name, "the public URL leads to no channel (404)", advice)
        }
        (status, _) => {
            let advice = "see the log of what stands before the relay";
            Check::finding(name, format!("a sender is answered {status}, which no handler said"), advice)
        }
    }
}

/// Whether what stands before the relay takes bodies as large as it does. None is sent: it is announced, and broken off.
async fn body_size(base: &Target, largest: u64) -> Check {
    let name = "body size";
    let (path, host) = (base.path_for(PATH), base.authority());
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {largest}\r\n\
         Expect: 100-continue\r\n\r\n"
    );
    let asking = async {
        let mut connection = forward::connect(base).await.ok()?;
        connection.write_all(head.as_bytes()).await.ok()?;
        let mut answer = [0; 12];
        connection.read_exact(&mut answer).await.ok()?;
        Some(String::from_utf8_lossy(&answer[9..]).into_owned())
    };
    let shown = size(largest);
    match timeout(MOMENT, asking).await {
        Ok(Some(status)) if status == "413" => Check::finding(
            name,
            format!("a body of {shown} is refused before it reaches the relay, which would take it"),
            "let the web server take as much: nginx `client_max_body_size 32m`, Caddy `request_body { max_size 32MB }`",
        ),
        Ok(Some(status)) if status != "100" => {
            let found = format!("a body of {shown} is answered {}", status.escape_debug());
            Check::finding(name, found, "see the log of what stands before the relay")
        }
        Ok(None) => {
            let found = format!("the connection is closed when a body of {shown} is announced");
            Check::finding(name, found, "see the log of what stands before the relay")
        }
        // Some say nothing before they have it.
        Ok(Some(_)) | Err(_) => Check::good(name, format!("a body of {shown} is not refused")),
    }
}
