//! Hands a request to a target over HTTP/1.1 and says what came of it. A handler's failure is an outcome.

mod any_certificate;
mod asking;
mod dial;
mod exact_head;
mod manner;
mod pool;
mod tls_failure;

use std::error::Error as _;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{Extensions, HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming as AnswerBody;
use jiff::Timestamp;
use tokio_util::task::TaskTracker;

pub use self::asking::ask;
use self::dial::Dialer;
pub use self::dial::{Connection, Trust, is_there};
pub use self::manner::Manner;
use self::manner::Outgoing;
use self::pool::{Lease, Pool};
use self::tls_failure::Peer;
use crate::model::{
    Answer, Attempt, Clock, Failure, FailureKind, Headers, KEPT_ANSWER_BYTES, Outcome, Request, Target,
};

/// How requests are handed over.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// How long a target may take to answer; `None` waits for ever, for breakpoints.
    pub timeout: Option<Duration>,
    /// Which certificates are trusted.
    pub trust: Trust,
    /// Fields that every request gets; they replace those of the same name.
    pub headers: Headers,
}

/// A cloneable handle to the HTTP client.
#[derive(Clone)]
pub struct Forward {
    settings: Arc<Settings>,
    pool: Pool,
    clock: Clock,
    manner: Manner,
}

/// A request that was handed over, or could not be.
pub struct Handed {
    /// The URL it was sent to.
    pub url: String,
    /// When it was sent.
    pub started_at: Timestamp,
    /// From sending to the end of the answer (as far as it is kept), or to the failure.
    pub duration: Duration,
    /// What came of it.
    pub outcome: Outcome,
    /// What the wire said beyond the outcome.
    pub wire: WireAnswer,
    /// The rest of an answer that is longer than what is kept.
    pub rest: Option<Rest>,
}

/// An answer's head as the HTTP library has it, ready to be passed on.
#[derive(Default)]
pub struct WireAnswer {
    /// The end-to-end headers.
    pub headers: HeaderMap,
    /// The reason phrase, the case of header names.
    pub extensions: Extensions,
}

/// What is passed on of an answer but not kept.
pub struct Rest {
    /// What was read already.
    pub read: Bytes,
    /// What is still to come.
    pub to_come: AnswerBody,
}

impl Handed {
    /// The attempt of that number that it was, and what is not recorded of that.
    pub fn into_attempt(self, number: u32) -> (Arc<Attempt>, WireAnswer, Option<Rest>) {
        let Self { url, started_at, duration, outcome, wire, rest } = self;
        (Arc::new(Attempt { number, target: url, started_at, duration, outcome }), wire, rest)
    }
}

/// An answer with what is not recorded of it.
struct Received {
    answer: Answer,
    wire: WireAnswer,
    rest: Option<Rest>,
}

/// Whether a target takes connections; nothing is sent.
pub async fn reach(target: &Target) -> Result<(), Failure> {
    Dialer::new(Trust::System).dial(target).await.map(drop)
}

/// Connects to a relay, which proves who it is when TLS is spoken.
pub async fn connect(relay: &Target) -> Result<Connection, Failure> {
    Dialer::of_relays().dial(relay).await
}

impl Forward {
    /// A client without connections yet; the tasks that drive them belong to `tasks`.
    pub fn new(settings: Settings, clock: Clock, tasks: TaskTracker) -> Self {
        let pool = Pool::new(settings.trust, clock.clone(), tasks);
        Self { pool, settings: Arc::new(settings), clock, manner: Manner::Whole }
    }

    /// The same client, whose requests leave in that manner.
    #[must_use]
    pub fn in_manner(&self, manner: Manner) -> Self {
        Self { manner, ..self.clone() }
    }

    /// Sends `request` to `target`, whose path becomes the prefix of the request's own.
    pub async fn send(&self, target: &Target, request: &Request) -> Handed {
        let path = target.path_for(&request.path);
        let url = target.url_of(&path);
        let (started_at, stopwatch) = (self.clock.now(), self.clock.tick());
        let exchange = pin!(self.exchange(target, &path, request));
        let result = match self.time_limit() {
            None => exchange.await,
            Some(limit) => tokio::time::timeout(limit, exchange).await.unwrap_or_else(|_elapsed| {
                let detail = format!("no answer from {} within {limit:?}", target.authority());
                Err(Failure { kind: FailureKind::Timeout, detail })
            }),
        };
        let duration = stopwatch.elapsed();
        match result {
            Ok(Received { answer, wire, rest }) => {
                Handed { url, started_at, duration, outcome: Outcome::Answered(answer), wire, rest }
            }
            Err(failure) => {
                let outcome = Outcome::Failed(failure);
                Handed { url, started_at, duration, outcome, wire: WireAnswer::default(), rest: None }
            }
        }
    }

    /// How long an exchange may take; a request that leaves slowly does not use up the handler's time.
    fn time_limit(&self) -> Option<Duration> {
        let on_its_way = if let Manner::Slowly(time) = self.manner { time } else { Duration::ZERO };
        self.settings.timeout.map(|limit| limit.saturating_add(on_its_way))
    }

    /// Whether anybody listens at `target`.
    pub async fn is_reachable(&self, target: &Target) -> bool {
        self.pool.is_reachable(target).await
    }

    async fn exchange(&self, target: &Target, path: &str, request: &Request) -> Result<Received, Failure> {
        let method = Method::from_bytes(request.method.as_bytes()).map_err(|error| Failure {
            kind: FailureKind::Protocol,
            detail: format!("`{}` is not a method: {error}", request.method.escape_debug()),
        })?;
        let head = head(target, path, request, &self.settings.headers);
        let mut lease = match self.manner {
            Manner::Whole => self.pool.lease(target).await?,
            Manner::Slowly(_) => self.pool.open(target).await?,
            Manner::BrokenOff(_) => self.pool.open_to_be_reset(target).await?,
        };
        let response = loop {
            lease.head.set(head.clone());
            let mut framing = http::Request::new(Outgoing::new(request.body.clone(), self.manner));
            framing.method_mut().clone_from(&method);
            match lease.sender.try_send_request(framing).await {
                Ok(response) => break response,
                // The connection was closed before a byte of this request was sent: it is safe to take another.
                Err(error) if error.message().is_some() && lease.reused => {
                    lease = self.pool.open(target).await?;
                }
                Err(error) => return Err(self.failure(target, request, error.error())),
            }
        };
        self.receive(target, lease, response).await
    }

    fn failure(&self, target: &Target, request: &Request, error: &hyper::Error) -> Failure {
        match self.manner {
            Manner::BrokenOff(after) if error.is_user() => {
                let whole = request.body.len();
                let detail = format!("broken off on purpose after {after} of {whole} bytes of the body");
                Failure { kind: FailureKind::Reset, detail }
            }
            _ => failure(target, error),
        }
    }

    /// Reads the answer, up to what is kept of it.
    async fn receive(
        &self,
        target: &Target,
        lease: Lease,
        response: http::Response<AnswerBody>,
    ) -> Result<Received, Failure> {
        let (parts, mut body) = response.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            let detail = format!("{} switched protocols without being asked to", target.authority());
            return Err(Failure { kind: FailureKind::Protocol, detail });
        }
        let mut kept = Kept::default();
        let cut = loop {
            match body.frame().await {
                None => break false,
                Some(Err(error)) => return Err(failure(target, &error)),
                Some(Ok(frame)) => kept.push(frame.into_data().unwrap_or_default()),
            }
            if kept.len() > KEPT_ANSWER_BYTES {
                break true;
            }
        };
        if !cut {
            self.pool.give_back(target, lease);
        }
        let mut headers = Headers::from(&parts.headers);
        if headers.get("transfer-encoding").is_some() {
            // The chunks say how long the answer is (RFC 9112 §6.3): a length beside them would mislead the sender.
            headers.retain(|name, _| !name.eq_ignore_ascii_case(b"content-length"));
        }
        headers.drop_hop_by_hop();
        // Most answers have nothing that stays behind.
        let passed_on = if headers.len() == parts.headers.len() { parts.headers } else { headers.to_map() };
        let wire = WireAnswer { headers: passed_on, extensions: parts.extensions };
        let mut kept = kept.into_bytes();
        let rest = cut.then(|| Rest { read: kept.split_off(KEPT_ANSWER_BYTES), to_come: body });
        let answer = Answer { status: parts.status.as_u16(), headers, body: kept, cut };
        Ok(Received { answer, wire, rest })
    }
}

/// Collects frames; a body of one frame, which is most, is not copied.
#[derive(Default)]
struct Kept {
    first: Bytes,
    all: BytesMut,
}

impl Kept {
    fn push(&mut self, data: Bytes) {
        if self.all.is_empty() && self.first.is_empty() {
            self.first = data;
            return;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&self.first);
        }
        self.all.extend_from_slice(&data);
    }

    fn len(&self) -> usize {
        self.first.len().max(self.all.len())
    }

    fn into_bytes(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}

/// The head as the target gets it: only `Host`, the value of `Content-Length` and what was asked for are ours.
fn head(target: &Target, path: &str, request: &Request, added: &Headers) -> Bytes {
    let mut head = BytesMut::with_capacity(512);
    for part in [request.method.as_bytes(), b" ", path.as_bytes(), b" HTTP/1.1\r\n"] {
        head.put_slice(part);
    }
    let mut field = |name: &[u8], value: &[u8]| {
        for part in [name, b": ", value, b"\r\n"] {
            head.put_slice(part);
        }
    };
    let (authority, length) = (target.authority(), request.body.len().to_string());
    let is_added = |name: &[u8]| added.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    if request.headers.get("host").is_none() && !is_added(b"host") {
        field(b"Host", authority.as_bytes());
    }
    for (name, value) in request.headers.iter().filter(|(name, _)| !is_added(name)) {
        match name {
            _ if name.eq_ignore_ascii_case(b"host") => field(name, authority.as_bytes()),
            _ if name.eq_ignore_ascii_case(b"content-length") => field(name, length.as_bytes()),
            _ => field(name, value),
        }
    }
    added.iter().for_each(|(name, value)| field(name, value));
    if request.headers.get("content-length").is_none() && !request.body.is_empty() {
        field(b"Content-Length", length.as_bytes());
    }
    head.put_slice(b"\r\n");
    head.freeze()
}

fn failure(target: &Target, error: &hyper::Error) -> Failure {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let at = target.authority();
    if let Some(error) = io.filter(|error| tls_failure::is_of_tls(error)) {
        return Failure { kind: FailureKind::Tls, detail: tls_failure::explain(at, error, Peer::Handler) };
    }
    let io = io.map(io::Error::kind);
    let (kind, what) = match io {
        _ if error.is_parse_too_large() => (FailureKind::TooLarge, "the answer's head is too large"),
        // It does not even begin as an answer does; a test notices should hyper say so in other words.
        _ if error.is_parse() && error.to_string().contains("HTTP version") => (
            FailureKind::Protocol,
            "the answer is not HTTP; should it be TLS, let the target begin with https://",
        ),
        _ if error.is_parse() => (FailureKind::Protocol, "the answer is not HTTP"),
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => {
            (FailureKind::Protocol, "the answer's body is not framed as HTTP demands")
        }
        _ => (FailureKind::Reset, "the connection broke before the answer was complete"),
    };
    let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    Failure { kind, detail: format!("{what} ({at}: {error}{cause})") }
}
