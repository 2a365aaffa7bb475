//! HTTP/2 through a stream that is there already, such as a tunnel: the side that answers.
//!
//! Both sides ask each other for a sign of life every [`HEARTBEAT`], and give up when none comes.

use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2 as server;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Arrived, Body, Owner};
use crate::model::Headers;

/// How often the other side is asked for a sign of life.
pub const HEARTBEAT: Duration = Duration::from_secs(10);

/// How long it may take for it.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// Whoever is silent for so long is gone.
pub const SILENCE: Duration = HEARTBEAT.saturating_add(PATIENCE);

/// How many requests may be under way.
const MOST_STREAMS: u32 = 250;

/// The largest head that is read, in bytes: more than is taken of a sender, since fields are added to it.
pub(super) const LARGEST_HEAD: u32 = 256 * 1024;

/// How much of one request may be on its way, and how much of all together, in bytes: they are large at times, and come to
/// one who has one such stream.
const WINDOWS: (u32, u32) = (1024 * 1024, 8 * 1024 * 1024);

/// How much of a body is sent as one piece, in bytes: each is written on its own, and others wait for it.
const PIECE: u32 = 64 * 1024;

/// Serves one client until it leaves or `stop` is cancelled; then what is under way is finished.
pub async fn serve_through<T, S, F>(
    io: T,
    service: S,
    stop: CancellationToken,
    tasks: TaskTracker,
) -> Result<(), hyper::Error>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Fn(Arrived) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let headers = Headers::from(request.headers());
        // In a box: the connection moves it from hand to hand, and it is large.
        let answer = Box::pin(service(Arrived { request, headers, peer: None }));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let (of_one, of_all) = WINDOWS;
    let connection = server::Builder::new(Owner(tasks))
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(LARGEST_HEAD)
        .max_frame_size(PIECE)
        .initial_stream_window_size(of_one)
        .initial_connection_window_size(of_all)
        .keep_alive_interval(HEARTBEAT)
        .keep_alive_timeout(PATIENCE)
        .serve_connection(TokioIo::new(io), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}
