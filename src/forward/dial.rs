//! Opens a connection to a target: the only place where this program connects to a host.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::model::{Failure, FailureKind, Target};

/// A connection, in clear or encrypted.
pub enum Connection {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

/// The way to open connections; the TLS settings are made when they are first needed, since reading the
/// system's certificates takes longer than a whole local delivery.
#[derive(Clone, Default)]
pub struct Dialer {
    tls: Arc<OnceLock<Result<TlsConnector, String>>>,
}

impl Dialer {
    /// Connects to the host and port of `target`; `localhost` means this machine, by IPv6 or IPv4.
    pub async fn dial(&self, target: &Target) -> Result<Connection, Failure> {
        let tcp = connect(target).await?;
        // Heads and small bodies must not wait for the acknowledgement of what went before.
        tcp.set_nodelay(true).map_err(|error| failure(FailureKind::Reset, target, &error))?;
        if !target.is_tls() {
            return Ok(Connection::Plain(tcp));
        }
        let tls_failure = |detail: String| Failure { kind: FailureKind::Tls, detail };
        let connector = self.tls.get_or_init(connector).clone().map_err(tls_failure)?;
        let name = ServerName::try_from(target.host().to_owned()).map_err(|error| {
            tls_failure(format!("`{}` is not a name for a certificate: {error}", target.host()))
        })?;
        match connector.connect(name, tcp).await {
            Ok(stream) => Ok(Connection::Tls(Box::new(stream))),
            Err(error) => Err(tls_failure(format!("no TLS with {}: {error}", target.authority()))),
        }
    }
}

async fn connect(target: &Target) -> Result<TcpStream, Failure> {
    let mut last = None;
    for address in addresses(target).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    let error = last.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into());
    let kind = match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => FailureKind::Reset,
        io::ErrorKind::TimedOut => FailureKind::Timeout,
        _ => FailureKind::Refused,
    };
    Err(failure(kind, target, &error))
}

async fn addresses(target: &Target) -> Result<Vec<SocketAddr>, Failure> {
    let port = target.port();
    if target.host() == "localhost" {
        return Ok(vec![(Ipv6Addr::LOCALHOST, port).into(), (Ipv4Addr::LOCALHOST, port).into()]);
    }
    match tokio::net::lookup_host((target.host(), port)).await {
        Ok(found) => Ok(found.collect()),
        Err(error) => Err(failure(FailureKind::Dns, target, &error)),
    }
}

fn failure(kind: FailureKind, target: &Target, error: &io::Error) -> Failure {
    let detail = match kind {
        FailureKind::Refused => format!("nobody listens at {} ({error})", target.authority()),
        FailureKind::Dns => format!("the name {} has no address ({error})", target.host()),
        _ => format!("no connection to {} ({error})", target.authority()),
    };
    Failure { kind, detail }
}

fn connector() -> Result<TlsConnector, String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
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
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
