//! The connection of somebody who came to us, in clear or encrypted.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use super::Limits;
use super::crowd::Crowd;
use super::tls::Tls;

/// A connection: plain TCP, or TLS over it.
pub type Socket = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// What TLS begins with: a record of the handshake.
const HANDSHAKE: u8 = 0x16;

/// What whoever speaks plain HTTP to us is told.
const NOT_IN_CLEAR: &str = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n\
    {\"error\":\"tls\",\"message\":\"this port speaks TLS: write https:// or wss://\"}";

/// The connection as it is to be used; nothing when there is no TLS in time, or when we stop or need the place.
pub async fn secured(
    stream: TcpStream,
    tls: Option<&Tls>,
    limits: Limits,
    crowd: &Crowd,
    stop: &CancellationToken,
) -> Option<Socket> {
    let Some(tls) = tls else { return Some(Either::Left(stream)) };
    let shaking_hands = shake_hands(stream, tls);
    let (begun, due) = (Instant::now(), sleep(limits.handshake));
    tokio::pin!(shaking_hands, due);
    loop {
        tokio::select! {
            done = shaking_hands.as_mut() => return done,
            () = due.as_mut() => return None,
            () = stop.cancelled() => return None,
            () = crowd.is_full() => {
                if begun.elapsed() >= limits.crowded {
                    return None;
                }
            }
        }
    }
}

async fn shake_hands(mut stream: TcpStream, tls: &Tls) -> Option<Socket> {
    let mut first = [0];
    if stream.peek(&mut first).await.ok()? == 0 {
        return None;
    }
    if first != [HANDSHAKE] {
        // What is left unread would have the answer thrown away.
        let _length = stream.read(&mut [0; 4096]).await.ok()?;
        stream.write_all(NOT_IN_CLEAR.as_bytes()).await.ok()?;
        stream.shutdown().await.ok()?;
        return None;
    }
    let stream = tls.acceptor().accept(stream).await.ok()?;
    Some(Either::Right(Box::new(stream)))
}
