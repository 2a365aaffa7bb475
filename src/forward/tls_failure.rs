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

/// What went wrong with `at`, a host and a port.
pub fn explain(at: &str, error: &io::Error) -> String {
    match cause(error) {
        Some(error) => of_tls(at, error),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            format!("{at} closed the connection in the TLS handshake: write http://{at} if it speaks no TLS")
        }
        None => format!("the TLS handshake with {at} broke off ({error})"),
    }
}

fn of_tls(at: &str, error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => of_certificate(at, error),
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => {
            format!("what {at} says is not TLS: write http://{at} if it speaks plain HTTP")
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

fn of_certificate(at: &str, error: &CertificateError) -> String {
    match error {
        // The latter is that of an issuer who has another key by now.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the certificate of {at} was issued by nobody whom this system trusts: give the issuer's certificate \
             with SSL_CERT_FILE=ca.pem in the environment, or take any certificate with --insecure"
        ),
        CertificateError::NotValidForName => {
            format!(
                "the certificate of {at} is for another name: put that into the target, or give --insecure"
            )
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "the certificate of {at} is not for `{}` but for {}: put such a name into the target, or give --insecure",
            expected.to_str(),
            names(presented),
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the certificate of {at} has expired: renew it, or give --insecure")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the certificate of {at} is not valid yet: set the clock right, or give --insecure")
        }
        // What webpki has to say of it, rustls has no name for.
        CertificateError::Other(error) if error.to_string().contains("CaUsedAsEndEntity") => format!(
            "the certificate of {at} is an issuer's, as `openssl req -x509` makes it, and not a server's: give \
             --insecure, or make it with `-addext basicConstraints=critical,CA:FALSE`"
        ),
        error => {
            format!("the certificate of {at} is not accepted ({error}): make it anew, or give --insecure")
        }
    }
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
