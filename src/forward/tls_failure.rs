//! Why there is no TLS with a target: a sentence that says what to do as well.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// Whether an error of a connection is one of TLS: a server may refuse a client when that takes itself for accepted.
pub fn is_of_tls(error: &io::Error) -> bool {
    cause(error).is_some()
}

fn cause(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// Who is at the other side, and so what can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A handler, which somebody runs beside us.
    Handler,
    /// A relay, which strangers can reach as well: it must prove who it is.
    Relay,
}

impl Peer {
    /// The scheme that speaks no TLS.
    fn plain(self) -> &'static str {
        match self {
            Self::Handler => "http",
            Self::Relay => "ws",
        }
    }

    /// What to do, and how to do without.
    pub(super) fn or_insecure(self, advice: &str) -> String {
        match self {
            Self::Handler => format!("{advice}, or give --insecure"),
            Self::Relay => advice.to_owned(),
        }
    }
}

/// What went wrong with `at`, a host and a port.
pub fn explain(at: &str, error: &io::Error, peer: Peer) -> String {
    let plain = peer.plain();
    match cause(error) {
        Some(error) => of_tls(at, error, peer),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            format!(
                "{at} closed the connection in the TLS handshake: write {plain}://{at} if it speaks no TLS"
            )
        }
        None => format!("the TLS handshake with {at} broke off ({error})"),
    }
}

fn of_tls(at: &str, error: &Error, peer: Peer) -> String {
    match error {
        Error::InvalidCertificate(error) => of_certificate(at, error, peer),
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => {
            format!("what {at} says is not TLS: write {}://{at} if it speaks plain HTTP", peer.plain())
        }
        Error::PeerIncompatible(_) | Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            format!("{at} speaks neither TLS 1.2 nor 1.3: let it speak one of them ({error})")
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            format!(
                "{at} demands a certificate of its clients, and this program has none: let it not do so here"
            )
        }
        error => format!("the TLS handshake with {at} failed ({error}): the log of the server may say why"),
    }
}

fn of_certificate(at: &str, error: &CertificateError, peer: Peer) -> String {
    let place = match peer {
        Peer::Handler => "target",
        Peer::Relay => "URL",
    };
    let (what, advice) = match error {
        // The latter is that of an issuer who has another key by now.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            let instead = match peer {
                Peer::Handler => ", or take any certificate with --insecure",
                Peer::Relay => "",
            };
            return format!(
                "the certificate of {at} was issued by nobody whom this system trusts: give the issuer's certificate \
                 with SSL_CERT_FILE=ca.pem in the environment{instead}"
            );
        }
        CertificateError::NotValidForName => {
            ("is for another name".to_owned(), format!("put that into the {place}"))
        }
        CertificateError::NotValidForNameContext { expected, presented } => (
            format!("is not for `{}` but for {}", expected.to_str(), names(presented)),
            format!("put such a name into the {place}"),
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ("has expired".to_owned(), "renew it".to_owned())
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("is not valid yet".to_owned(), "set the clock right".to_owned())
        }
        // What webpki has to say of it, rustls has no name for.
        CertificateError::Other(error) if error.to_string().contains("CaUsedAsEndEntity") => {
            let instead = match peer {
                Peer::Handler => "give --insecure, or ",
                Peer::Relay => "",
            };
            return format!(
                "the certificate of {at} is an issuer's, as `openssl req -x509` makes it, and not a server's: \
                 {instead}make it with `-addext basicConstraints=critical,CA:FALSE`"
            );
        }
        error => (format!("is not accepted ({error})"), "make it anew".to_owned()),
    };
    format!("the certificate of {at} {what}: {}", peer.or_insecure(&advice))
}

/// The names in a certificate, which come from the other side.
fn names(presented: &[String]) -> String {
    const MOST: usize = 5;
    let plain = |name: &String| {
        let inner = name.split('"').nth(1).or_else(|| name.split_once('(')?.1.strip_suffix(')'));
        format!("`{}`", inner.unwrap_or(name).escape_debug())
    };
    let more = if presented.len() > MOST { ", …" } else { "" };
    match presented {
        [] => "no name at all".to_owned(),
        presented => presented.iter().take(MOST).map(plain).collect::<Vec<_>>().join(", ") + more,
    }
}
