//! How a WebSocket is opened, by the side that listens and by the side that connects.

use http::header::{HOST, HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use http::{Request, Response, Uri};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{self, Error};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::byte_stream::{ByteStream, config};

/// How much is read at a time, in bytes: whoever accepts has many WebSockets, most of them idle.
const READ_AT_ONCE: usize = 2 * 1024;

/// The same for whoever opens one, and is sent large things through it.
const READ_AT_ONCE_BY_OPENER: usize = 32 * 1024;

/// Why a WebSocket was not opened.
#[derive(Debug, thiserror::Error)]
pub enum NotOpened {
    /// The other side speaks HTTP and says no.
    #[error("it answered {}", .0.status())]
    Refused(Box<Response<Vec<u8>>>),
    /// The other side does not agree to the protocol within.
    #[error("it opens a WebSocket, but does not speak `{}`", super::SUBPROTOCOL)]
    OtherProtocol,
    /// The other side does not speak what a WebSocket begins with.
    #[error("it does not speak HTTP as it should: {0}")]
    Nonsense(String),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
}

/// The answer that opens a WebSocket for a request which asks for one of ours; otherwise what is wrong with it.
pub fn answer<B>(request: &Request<B>) -> Result<Response<()>, &'static str> {
    let asked =
        request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    if !asked.flat_map(|list| list.split(',')).any(|protocol| protocol.trim() == super::SUBPROTOCOL) {
        return Err("a tunnel is a WebSocket with the subprotocol `mbaas-dev.tunnel.v1`");
    }
    let created = create_response_with_body(request, || ());
    let mut response = created.map_err(|_error| "this is not a WebSocket handshake (RFC 6455)")?;
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(super::SUBPROTOCOL));
    Ok(response)
}

/// The stream of a WebSocket that was opened with [`answer`]; `read` was read of it already.
pub async fn accept<T: AsyncRead + AsyncWrite + Unpin>(io: T, read: Vec<u8>) -> ByteStream<T> {
    let config = config(READ_AT_ONCE);
    ByteStream::new(WebSocketStream::from_partially_read(io, read, Role::Server, Some(config)).await)
}

/// Opens a WebSocket over a connection to the host of `url`; gives the headers of the answer as well.
pub async fn open<T: AsyncRead + AsyncWrite + Unpin>(
    io: T,
    url: &Uri,
    headers: HeaderMap,
) -> Result<(ByteStream<T>, HeaderMap), NotOpened> {
    let failed = |error: &dyn std::fmt::Display| NotOpened::Nonsense(error.to_string());
    let host = url.authority().map_or("", |authority| authority.as_str());
    let mut request = Request::get(url.clone()).body(()).map_err(|error| failed(&error))?;
    *request.headers_mut() = headers;
    let fields = request.headers_mut();
    let key = HeaderValue::from_str(&generate_key()).map_err(|error| failed(&error))?;
    fields.insert(HOST, HeaderValue::from_str(host).map_err(|error| failed(&error))?);
    fields.insert("connection", HeaderValue::from_static("Upgrade"));
    fields.insert("upgrade", HeaderValue::from_static("websocket"));
    fields.insert("sec-websocket-version", HeaderValue::from_static("13"));
    fields.insert("sec-websocket-key", key);
    fields.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(super::SUBPROTOCOL));
    match client_async_with_config(request, io, Some(config(READ_AT_ONCE_BY_OPENER))).await {
        Ok((socket, response)) => Ok((ByteStream::new(socket), response.into_parts().0.headers)),
        Err(Error::Http(response)) => {
            Err(NotOpened::Refused(Box::new(response.map(Option::unwrap_or_default))))
        }
        Err(Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_))) => Err(NotOpened::OtherProtocol),
        Err(error @ (Error::Io(_) | Error::Protocol(ProtocolError::HandshakeIncomplete))) => {
            Err(NotOpened::Broken(error.to_string()))
        }
        Err(error) => Err(failed(&error as &tungstenite::Error)),
    }
}
