//! Opens a connection to a target: the only place where this program connects to a host.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::any_certificate::AnyCertificate;
use super::tls_failure::{self, Peer};
use crate::model::{Failure, FailureKind, Place, Target};

/// A connection, in clear or encrypted.
pub enum Connection {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
    /// A Unix socket.
    Unix(UnixStream),
}

impl Connection {
    /// A second handle to the socket, to ask the operating system how it stands.
    pub fn probe(&self) -> Option<Probe> {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
            Self::Unix(_) => return None,
        };
        // Without one the connection is trusted, as Unix sockets are.
        tcp.as_fd().try_clone_to_owned().ok().map(|socket| Probe(socket.into()))
    }

    /// The certificate that the other side showed, where TLS is spoken.
    pub fn certificate(&self) -> Option<CertificateDer<'static>> {
        let Self::Tls(tls) = self else { return None };
        tls.get_ref().1.peer_certificates()?.first().cloned().map(CertificateDer::into_owned)
    }

    /// Makes its end a reset instead of an orderly close, where there is such a thing.
    pub fn reset_at_the_end(&self) {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
            Self::Unix(_) => return,
        };
        // Without it the connection is closed, which breaks the body off as well.
        drop(tcp.set_zero_linger());
    }
}

/// Tells whether the other side has said anything, or closed, since it was last read: the kernel knows before the
/// task that drives the connection has had its turn.
pub struct Probe(std::net::TcpStream);

impl Probe {
    /// Whether the connection is open and nothing waits to be read.
    pub fn is_quiet(&self) -> bool {
        // The socket does not block.
        self.0.peek(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// The way to open connections; the TLS settings are made when they are first needed, since reading the
/// system's certificates takes longer than a whole local delivery.
#[derive(Clone)]
pub struct Dialer {
    trust: Trust,
    peer: Peer,
    tls: Arc<OnceLock<Result<TlsConnector, String>>>,
}

/// Which certificates are trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those that the system trusts.
    #[default]
    System,
    /// Any: for handlers with certificates that they made themselves.
    Anything,
}

impl Dialer {
    /// A dialer of handlers, without connections.
    pub fn new(trust: Trust) -> Self {
        Self { trust, peer: Peer::Handler, tls: Arc::default() }
    }

    /// A dialer of relays, without connections.
    pub fn of_relays() -> Self {
        Self { peer: Peer::Relay, ..Self::new(Trust::System) }
    }

    /// Connects to `target`; `localhost` means this machine, by IPv6 or IPv4.
    pub async fn dial(&self, target: &Target) -> Result<Connection, Failure> {
        let (tls, host, port) = match target.place() {
            Place::Tcp { tls, host, port } => (*tls, host, *port),
            Place::Unix(socket) => {
                let stream = UnixStream::connect(socket).await;
                return stream
                    .map(Connection::Unix)
                    .map_err(|error| failure(connect_kind(&error), target, &error));
            }
        };
        let tcp = connect(target, host, port).await?;
        // Heads and small bodies must not wait for the acknowledgement of what went before.
        tcp.set_nodelay(true).map_err(|error| failure(FailureKind::Reset, target, &error))?;
        if !tls {
            return Ok(Connection::Plain(tcp));
        }
        let no_tls = |detail: String| Failure { kind: FailureKind::Tls, detail };
        let connector = self.tls.get_or_init(|| connector(self.trust, self.peer)).clone().map_err(no_tls)?;
        let name = ServerName::try_from(host.clone())
            .map_err(|error| no_tls(format!("`{host}` is not a name for a certificate: {error}")))?;
        match connector.connect(name, tcp).await {
            Ok(stream) => Ok(Connection::Tls(Box::new(stream))),
            Err(error) => Err(no_tls(tls_failure::explain(target.authority(), &error, self.peer))),
        }
    }
}

/// Whether somebody takes connections at `target`; the one that shows it is closed again.
pub async fn is_there(target: &Target) -> bool {
    match target.place() {
        Place::Tcp { host, port, .. } => connect(target, host, *port).await.is_ok(),
        Place::Unix(socket) => UnixStream::connect(socket).await.is_ok(),
    }
}

async fn connect(target: &Target, host: &str, port: u16) -> Result<TcpStream, Failure> {
    let mut last = None;
    for address in addresses(target, host, port).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    let error = last.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into());
    Err(failure(connect_kind(&error), target, &error))
}

fn connect_kind(error: &io::Error) -> FailureKind {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => FailureKind::Reset,
        io::ErrorKind::TimedOut => FailureKind::Timeout,
        _ => FailureKind::Refused,
    }
}

async fn addresses(target: &Target, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    if host == "localhost" {
        return Ok(vec![(Ipv6Addr::LOCALHOST, port).into(), (Ipv4Addr::LOCALHOST, port).into()]);
    }
    match tokio::net::lookup_host((host, port)).await {
        Ok(found) => Ok(found.collect()),
        Err(error) => Err(failure(FailureKind::Dns, target, &error)),
    }
}

fn failure(kind: FailureKind, target: &Target, error: &io::Error) -> Failure {
    let place = match target.place() {
        // A name alone has no address, whatever the port.
        Place::Tcp { .. } if kind == FailureKind::Dns => target.authority().to_owned(),
        Place::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
        Place::Tcp { host, port, .. } => format!("{host}:{port}"),
        Place::Unix(socket) => socket.display().to_string(),
    };
    let detail = match kind {
        FailureKind::Refused => format!("nobody listens at {place}"),
        FailureKind::Dns => format!("the name {place} has no address ({error})"),
        _ => format!("no connection to {place} ({error})"),
    };
    Failure { kind, detail }
}

fn connector(trust: Trust, peer: Peer) -> Result<TlsConnector, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let config = match trust {
        Trust::System => {
            let mut roots = rustls::RootCertStore::empty();
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
                let advice =
                    peer.or_insecure("install `ca-certificates`, or name a file of them in SSL_CERT_FILE");
                return Err(format!("no certificates to trust were found{why}: {advice}"));
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        Trust::Anything => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nobody_listens_is_said_with_the_port() {
        for (target, place) in [
            ("localhost", "localhost:80"),
            ("https://127.0.0.1/hooks", "127.0.0.1:443"),
            ("http://[::1]", "[::1]:80"),
            ("3000", "localhost:3000"),
        ] {
            let error = io::Error::from(io::ErrorKind::ConnectionRefused);
            let failure = failure(FailureKind::Refused, &target.parse().unwrap(), &error);
            assert_eq!(failure.detail, format!("nobody listens at {place}"));
        }
    }
}
