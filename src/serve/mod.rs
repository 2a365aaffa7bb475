//! Listening for HTTP: one accept loop for every service that we run, HTTP/1.1 and HTTP/2 with prior knowledge.

mod conformance;
mod wire_heads;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::conformance::Refusal;
use self::wire_heads::{MOST_FIELDS, Watched};
use crate::model::Headers;

/// The body of an answer: whole, or passed on as it comes.
pub type Body = BoxBody<Bytes, hyper::Error>;

/// How long a client may take to send the head of a request, and to think of another one on the same connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest head that is read, in bytes; a larger one is answered 431.
const LARGEST_HEAD: usize = 64 * 1024;

/// How many requests one HTTP/2 connection may have under way.
const MOST_STREAMS: u32 = 250;

/// How long to wait before accepting again after running out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How many connections are served at a time; further ones wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 2048;

/// A request, with its header fields as they were written.
pub struct Arrived {
    /// What hyper parsed.
    pub request: Request<Incoming>,
    /// The header fields in their order and case. Over HTTP/2, which has no case, in the order of the parser.
    pub headers: Headers,
}

/// A bound listener that does not accept yet.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds `address`; port 0 takes any free port.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
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
        let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = self.accept(&slots) => accepted,
            };
            match accepted {
                Ok((stream, slot)) => {
                    let connection = serve_connection(stream, service.clone(), stop.clone(), tasks.clone());
                    tasks.spawn(async move {
                        connection.await;
                        drop(slot);
                    });
                }
                // A connection that is gone before it was accepted, or no descriptor left: neither ends the service.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    async fn accept(&self, slots: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
        let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, _peer) = self.listener.accept().await?;
        // It fails when the peer is gone already, which is noticed soon enough.
        stream.set_nodelay(true).ok();
        Ok((stream, slot))
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

async fn serve_connection<S, F>(stream: TcpStream, service: S, stop: CancellationToken, tasks: TaskTracker)
where
    S: Fn(Arrived) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let (stream, heads) = Watched::new(stream);
    let has_asked = Arc::new(AtomicBool::new(false));
    let asks = Arc::clone(&has_asked);
    let service = service_fn(move |request: Request<Incoming>| {
        asks.store(true, Ordering::Relaxed);
        let head = heads.take(request.headers());
        let checked = conformance::check(request.version(), request.method(), request.uri(), &head);
        let answer = checked.map(|()| service(Arrived { request, headers: head.headers }));
        async move {
            Ok::<_, Infallible>(match answer {
                Ok(answer) => answer.await,
                Err(refusal) => refuse(refusal),
            })
        }
    });
    let mut builder = auto::Builder::new(Owner(tasks));
    builder
        .http1()
        .preserve_header_case(true)
        .max_headers(MOST_FIELDS)
        .max_buf_size(LARGEST_HEAD)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(u32::try_from(LARGEST_HEAD).unwrap_or(u32::MAX));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // hyper's own limit begins when it knows which version is spoken: a client that says nothing would stay for ever.
    let says_nothing = async {
        tokio::time::sleep(HEAD_TIMEOUT).await;
        if has_asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = says_nothing => return,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // A client that breaks off or does not speak HTTP concerns nobody else.
    drop(ended);
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
