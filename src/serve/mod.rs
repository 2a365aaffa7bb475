//! Listening for HTTP: one accept loop for every service that we run, HTTP/1.1 and HTTP/2 with prior knowledge, in clear
//! or over TLS.

mod asking;
mod body;
mod certificate;
mod conformance;
mod crowd;
mod neighbours;
mod socket;
mod stalling;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod upgrade;
mod wire_heads;

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body as _, Incoming};
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::asking::{Client, Ended, Received, ask_through};
pub use self::body::{BodyReader, NoBody, ReadBody, discard};
pub use self::certificate::{Flaw, ends_soon, valid_until};
use self::conformance::Refusal;
use self::crowd::Crowd;
use self::neighbours::Neighbours;
pub use self::neighbours::subscriber;
pub use self::socket::Socket;
use self::stalling::Stalling;
pub use self::stream::{HEARTBEAT, SILENCE, serve_through};
pub use self::tls::{BadTls, Identity, Tls, TlsFiles};
pub use self::upgrade::upgraded;
use self::wire_heads::{MOST_FIELDS, Watched};
use crate::model::Headers;

/// The body of an answer: whole, or passed on as it comes.
pub type Body = BoxBody<Bytes, BoxError>;

/// Why a body broke off.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The largest head that is read, in bytes; a larger one is answered 431.
const LARGEST_HEAD: usize = 64 * 1024;

/// How many requests one HTTP/2 connection may have under way.
const MOST_STREAMS: u32 = 250;

/// How long to wait before accepting again after running out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long whoever has more connections than it may is waited for.
const UNWANTED: Duration = Duration::from_secs(2);

/// How long clients may take, and how many there may be.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// How long a client may take to send the head of a request, and to think of another one on the same connection.
    head: Duration,
    /// How long a client may take until it speaks TLS.
    handshake: Duration,
    /// How long a client may take none of the answer that it asked for.
    stall: Duration,
    /// How long a client may say nothing while others find no place.
    crowded: Duration,
    /// How many connections are served at a time; further ones wait in the kernel's queue.
    connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let (head, stall) = (Duration::from_secs(30), Duration::from_secs(30));
        let (handshake, crowded) = (Duration::from_secs(10), Duration::from_secs(1));
        Self { head, handshake, stall, crowded, connections: crowd::affordable(2048) }
    }
}

/// A request, with its header fields as they were written.
pub struct Arrived {
    /// What hyper parsed.
    pub request: Request<Incoming>,
    /// The header fields in their order and case. Over HTTP/2, which has no case, in the order of the parser.
    pub headers: Headers,
    /// Who connected; nobody did to what comes through a tunnel.
    pub peer: Option<Peer>,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Whether this connection is one more than its address may have.
    pub is_one_too_many: bool,
}

/// A bound listener that does not accept yet.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    tls: Option<Tls>,
    neighbours: Option<Neighbours>,
}

impl Listener {
    /// Binds `address`; port 0 takes any free port.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        let address = tcp.local_addr()?;
        Ok(Self { tcp, address, tls: None, neighbours: None })
    }

    /// The same listener, which speaks TLS.
    #[must_use]
    pub fn over_tls(self, tls: Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// The same listener, which says so of connections of an address beyond so many, and lets them go soon. Tunnels are no
    /// connections any more.
    #[must_use]
    pub fn with_most_of_one_address(
        self,
        most: usize,
        is_exempt: impl Fn(IpAddr) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { neighbours: Some(Neighbours::new(most, Arc::new(is_exempt))), ..self }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled; then connections finish what they are at. Their tasks belong to `tasks`.
    pub async fn serve<S, F>(self, service: S, stop: CancellationToken, tasks: TaskTracker)
    where
        S: Fn(Arrived) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        self.serve_within(Limits::default(), service, stop, tasks).await;
    }

    async fn serve_within<S, F>(self, limits: Limits, service: S, stop: CancellationToken, tasks: TaskTracker)
    where
        S: Fn(Arrived) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let crowd = Crowd::new(limits.connections);
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = self.accept() => accepted,
            };
            let Ok((stream, address)) = accepted else {
                // A connection that is gone before it was accepted, or no descriptor left: neither ends the service.
                crowd.press();
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let place = tokio::select! {
                () = stop.cancelled() => return,
                place = crowd.enter() => place,
            };
            let (tls, owner) = (self.tls.clone(), Owner(tasks.clone()));
            let (crowd, service, stop) = (crowd.clone(), service.clone(), stop.clone());
            let seat = self.neighbours.as_ref().and_then(|neighbours| neighbours.enter(address));
            let is_one_too_many = seat.as_ref().is_some_and(|seat| seat.is_one_too_many);
            let peer = Peer { address, is_one_too_many };
            tasks.spawn(async move {
                if let Some(socket) = socket::secured(stream, tls.as_ref(), limits, &crowd, &stop).await {
                    serve_connection((socket, peer), limits, crowd, service, stop, owner).await;
                }
                drop((place, seat));
            });
        }
    }

    async fn accept(&self) -> io::Result<(TcpStream, IpAddr)> {
        let (stream, peer) = self.tcp.accept().await?;
        // It fails when the peer is gone already, which is noticed soon enough.
        stream.set_nodelay(true).ok();
        Ok((stream, peer.ip().to_canonical()))
    }
}

/// Runs the tasks of HTTP/2 streams as ours, so that shutdown waits for them.
#[derive(Clone)]
struct Owner(TaskTracker);

impl<F> Executor<F> for Owner
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

async fn serve_connection<S, F>(
    (socket, peer): (Socket, Peer),
    limits: Limits,
    crowd: Crowd,
    service: S,
    stop: CancellationToken,
    owner: Owner,
) where
    S: Fn(Arrived) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let (stream, heads) = Watched::new(Stalling::new(socket, limits.stall));
    let has_asked = Arc::new(AtomicBool::new(false));
    let asks = Arc::clone(&has_asked);
    let service = service_fn(move |request: Request<Incoming>| {
        asks.store(true, Ordering::Relaxed);
        let head = heads.take(request.headers());
        let checked = conformance::check(request.version(), request.method(), request.uri(), &head);
        let is_head = request.method() == Method::HEAD && request.version() == Version::HTTP_2;
        // In a box, since hyper moves what it is given, and this is large.
        let arrived = Arrived { request, headers: head.headers, peer: Some(peer) };
        let answer = checked.map(|()| Box::pin(service(arrived)));
        async move {
            let answer = match answer {
                Ok(answer) => answer.await,
                Err(refusal) => refuse(refusal),
            };
            Ok::<_, Infallible>(if is_head { without_body(answer) } else { answer })
        }
    });
    let mut builder = auto::Builder::new(owner);
    builder
        .http1()
        .max_headers(MOST_FIELDS)
        .max_buf_size(LARGEST_HEAD)
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(u32::try_from(LARGEST_HEAD).unwrap_or(u32::MAX));
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let has_asked = || has_asked.load(Ordering::Relaxed);
    let (begun, mut is_ending) = (tokio::time::Instant::now(), false);
    // hyper's own limit begins when it knows which version is spoken: a client that says nothing would stay for ever.
    let head_is_due = tokio::time::sleep(if peer.is_one_too_many { UNWANTED } else { limits.head });
    tokio::pin!(head_is_due);
    loop {
        tokio::select! {
            // A client that breaks off or does not speak HTTP concerns nobody else.
            _ended = connection.as_mut() => return,
            () = head_is_due.as_mut(), if !head_is_due.is_elapsed() => {
                if !has_asked() {
                    return;
                }
                if peer.is_one_too_many && !is_ending {
                    is_ending = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
            () = stop.cancelled(), if !is_ending => {
                is_ending = true;
                connection.as_mut().graceful_shutdown();
            }
            () = crowd.is_full(), if !is_ending => {
                if has_asked() {
                    // It ends at once when nothing is under way on it.
                    is_ending = true;
                    connection.as_mut().graceful_shutdown();
                } else if begun.elapsed() >= limits.crowded {
                    return;
                }
            }
        }
    }
}

/// What HEAD is answered over HTTP/2, where hyper would send the body all the same.
fn without_body(answer: Response<Body>) -> Response<Body> {
    let length = answer.body().size_hint().exact();
    let mut answer = answer.map(|_| Empty::new().map_err(|never| match never {}).boxed());
    if let Some(length) = length {
        answer.headers_mut().entry(CONTENT_LENGTH).or_insert(length.into());
    }
    answer
}

/// Refuses a request and ends its connection, since nobody knows where the next one would begin.
fn refuse(refusal: Refusal) -> Response<Body> {
    let text = serde_json::json!({ "error": "request", "message": refusal.message }).to_string();
    let mut response = Response::new(Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed());
    *response.status_mut() = refusal.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
