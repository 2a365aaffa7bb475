//! What a certificate says of itself: when it is valid, and for whom.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, RootCertStore};

/// How long a certificate should be good at least: those who renew by themselves do it some thirty days before.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// What has others refuse a certificate with which TLS can be spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It was valid until then.
    Expired(Timestamp),
    /// It is valid from then on.
    NotYetValid(Timestamp),
    /// It is valid until then, which is soon.
    EndsSoon(Timestamp),
    /// It is not for this host.
    OtherHost(String),
}

/// What is wrong with a certificate for those who want to reach `host` by it; what cannot be read of it is not.
pub fn flaws(certificate: &CertificateDer<'_>, host: Option<&str>, now: Timestamp) -> Vec<Flaw> {
    let of_time = match (valid_from(certificate), valid_until(certificate)) {
        (_, Some(until)) if until < now => Some(Flaw::Expired(until)),
        (Some(from), _) if from > now => Some(Flaw::NotYetValid(from)),
        (_, Some(until)) if ends_soon(until, now) => Some(Flaw::EndsSoon(until)),
        _ => None,
    };
    let other_host = host.filter(|host| is_for_others(certificate, host));
    of_time.into_iter().chain(other_host.map(|host| Flaw::OtherHost(host.to_owned()))).collect()
}

/// Whether a certificate that is valid until then should be renewed by now.
pub fn ends_soon(until: Timestamp, now: Timestamp) -> bool {
    until.duration_since(now) < SOON
}

/// Until when a certificate is valid.
pub fn valid_until(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    match refused(certificate, Duration::MAX)? {
        CertificateError::ExpiredContext { not_after, .. } => timestamp(not_after),
        _ => None,
    }
}

fn valid_from(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    match refused(certificate, Duration::ZERO)? {
        CertificateError::NotValidYetContext { not_before, .. } => timestamp(not_before),
        _ => None,
    }
}

/// What the library says of a certificate at a time when none is valid.
fn refused(certificate: &CertificateDer<'_>, never: Duration) -> Option<CertificateError> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone().into_owned()).ok()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
    let (name, never) = (ServerName::try_from("a").ok()?, UnixTime::since_unix_epoch(never));
    match verifier.verify_server_cert(certificate, &[], &name, &[], never) {
        Err(rustls::Error::InvalidCertificate(error)) => Some(error),
        _ => None,
    }
}

fn timestamp(time: UnixTime) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(time.as_secs()).ok()?).ok()
}

/// Whether a certificate is not for this host; of what is no name or address nobody knows.
fn is_for_others(certificate: &CertificateDer<'_>, host: &str) -> bool {
    let (Ok(name), Ok(parsed)) = (ServerName::try_from(host), ParsedCertificate::try_from(certificate))
    else {
        return false;
    };
    verify_server_name(&parsed, &name).is_err()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn made(name: &str) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2030, 1, 2), date_time_ymd(2031, 5, 6));
        params.self_signed(&key).unwrap().der().clone()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn when_a_certificate_is_valid_is_known() {
        let (from, until) = (at("2030-01-02T00:00:00Z"), at("2031-05-06T00:00:00Z"));
        for name in ["a", "127.0.0.1", "*.example.com"] {
            let certificate = made(name);
            assert_eq!((valid_from(&certificate), valid_until(&certificate)), (Some(from), Some(until)));
        }
        let certificate = made("a");
        for (now, flaw) in [
            ("2030-01-01T23:59:59Z", Some(Flaw::NotYetValid(from))),
            ("2030-01-02T00:00:00Z", None),
            ("2031-04-22T00:00:00Z", None),
            ("2031-04-22T00:00:01Z", Some(Flaw::EndsSoon(until))),
            ("2031-05-06T00:00:00Z", Some(Flaw::EndsSoon(until))),
            ("2031-05-06T00:00:01Z", Some(Flaw::Expired(until))),
        ] {
            assert_eq!(flaws(&certificate, None, at(now)), Vec::from_iter(flaw), "{now}");
        }
        let nonsense = CertificateDer::from(vec![0; 40]);
        assert_eq!(valid_until(&nonsense), None);
        assert_eq!(flaws(&nonsense, Some("a"), at("2030-06-01T00:00:00Z")), []);
    }

    #[test]
    fn for_whom_a_certificate_is_is_known() {
        for (name, host, is_for_others) in [
            ("hooks.example.com", "hooks.example.com", false),
            ("hooks.example.com", "HOOKS.example.com", false),
            ("*.example.com", "hooks.example.com", false),
            ("*.example.com", "example.com", true),
            ("hooks.example.com", "hooks.example.org", true),
            ("127.0.0.1", "127.0.0.1", false),
            ("127.0.0.1", "127.0.0.2", true),
            ("::1", "::1", false),
            ("a", "no name", false),
        ] {
            let told = flaws(&made(name), Some(host), at("2030-06-01T00:00:00Z"));
            let expected = is_for_others.then(|| Flaw::OtherHost(host.to_owned()));
            assert_eq!(told, Vec::from_iter(expected), "{name} {host}");
        }
    }
}
