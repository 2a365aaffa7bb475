//! HTTP/2 through a stream that is there already, such as a tunnel: the side that asks.
//!
//! It is `h2` itself: hyper's client sends the head of a request and its body one after the other, each of which wakes the
//! other side, and starts two tasks for it.

use std::future::pending;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Ping, PingPong, RecvStream, client};
use hyper::body::{Body, Frame};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};

use super::BoxError;
use super::stream::{HEARTBEAT, LARGEST_HEAD, PATIENCE};

/// How much of one answer may be on its way, and how much of all together, in bytes. All have so much more than one that those
/// whose senders read nothing leave room for the others: a hundred of them.
const WINDOWS: (u32, u32) = (128 * 1024, 16 * 1024 * 1024);

/// Sends requests through a stream; clones share it.
pub type Client = client::SendRequest<Bytes>;

/// How a stream ended on which requests were sent.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The other side gave no sign of life.
    #[error("the other side gave no sign of life")]
    Silent,
    /// It broke.
    #[error(transparent)]
    Broken(#[from] h2::Error),
}

/// Makes a client of a stream, and what drives it: that ends when the other side is gone, or when all handles are.
pub async fn ask_through<T>(
    io: T,
) -> Result<(Client, impl Future<Output = Result<(), Ended>> + Send), h2::Error>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (of_one, of_all) = WINDOWS;
    let (client, mut connection) = client::Builder::new()
        .enable_push(false)
        .max_header_list_size(LARGEST_HEAD)
        .initial_window_size(of_one)
        .initial_connection_window_size(of_all)
        .handshake(io)
        .await?;
    let pings = connection.ping_pong();
    let driven = async {
        tokio::select! {
            ended = connection => Ok(ended?),
            () = silence(pings) => Err(Ended::Silent),
        }
    };
    Ok((client, driven))
}

/// Asks for a sign of life again and again, until none comes.
async fn silence(pings: Option<PingPong>) {
    let Some(mut pings) = pings else { return pending().await };
    loop {
        sleep(HEARTBEAT).await;
        match timeout(PATIENCE, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            // It is broken, which whoever drives it sees.
            Ok(Err(_)) => return pending().await,
            Err(_elapsed) => return,
        }
    }
}

/// The body of an answer, as it comes.
pub struct Received(RecvStream);

impl From<RecvStream> for Received {
    fn from(stream: RecvStream) -> Self {
        Self(stream)
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let stream = &mut self.0;
        Poll::Ready(match ready!(stream.poll_data(cx)) {
            Some(Ok(data)) => {
                // What is passed on makes room for more.
                let released = stream.flow_control().release_capacity(data.len());
                Some(released.map(|()| Frame::data(data)).map_err(Into::into))
            }
            Some(Err(error)) => Some(Err(error.into())),
            None => ready!(stream.poll_trailers(cx))
                .map_err(Into::into)
                .map(|trailers| trailers.map(Frame::trailers))
                .transpose(),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}
