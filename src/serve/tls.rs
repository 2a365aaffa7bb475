//! TLS for those who connect to us: a certificate and its key from files, which may be replaced while we serve.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{InconsistentKeys, ServerConfig};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::certificate::{Flaw, flaws, valid_until};

/// The longest file that is read, in bytes.
const LONGEST: u64 = 1024 * 1024;

/// Where a certificate and its key are, both in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and behind it those of its issuers.
    pub certificate: PathBuf,
    /// Its private key, not encrypted.
    pub key: PathBuf,
}

/// What was in the files at some time, ready to be used.
#[derive(Clone, Debug)]
pub struct Identity {
    config: Arc<ServerConfig>,
    /// The certificate itself, without those of its issuers.
    leaf: Option<CertificateDer<'static>>,
    /// The SHA-256 of both files.
    digest: [u8; 32],
    /// Whether everybody on this machine can read the key.
    pub is_open_to_all: bool,
    /// Until when the certificate is valid, where that can be read.
    pub valid_until: Option<Timestamp>,
}

/// A cloneable handle to the identity that newcomers are shown.
#[derive(Clone, Debug)]
pub struct Tls(watch::Sender<Identity>);

/// Files that cannot be used for TLS, and what to do about it. It says nothing of what the key is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadTls {
    message: String,
    /// What to do.
    pub hint: &'static str,
}

impl TlsFiles {
    /// Reads both files. It blocks.
    pub fn load(&self) -> Result<Identity, BadTls> {
        let (certificate, key) = (read(&self.certificate)?, read(&self.key)?);
        let chain = chain(&self.certificate, &certificate)?;
        let leaf = chain.first().cloned();
        let private_key = private_key(&self.key, &key)?;
        let config = config(chain, private_key).map_err(|error| self.refused(&error))?;
        let mut digest = Sha256::new();
        digest.update(Sha256::digest(&certificate));
        digest.update(Sha256::digest(&key));
        Ok(Identity {
            config: Arc::new(config),
            valid_until: leaf.as_ref().and_then(valid_until),
            leaf,
            digest: digest.finalize().into(),
            is_open_to_all: is_open_to_all(&self.key),
        })
    }

    fn refused(&self, error: &rustls::Error) -> BadTls {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => bad(
                format!("the key in `{key}` is not that of the certificate in `{certificate}`"),
                "take the pair that was made together; the certificate itself comes first in its file, those of its \
                 issuers behind it",
            ),
            rustls::Error::InvalidCertificate(error) => bad(
                format!("the certificate in `{certificate}` cannot be used ({error})"),
                "`openssl x509 -in FILE -noout -text` shows what is in it",
            ),
            error => bad(
                format!("the key in `{key}` cannot be used ({error})"),
                "RSA from 2048 bits, ECDSA P-256 or P-384 and Ed25519 are known",
            ),
        }
    }
}

impl Identity {
    /// Why newcomers who want to reach `host` refuse its certificate now, or soon will.
    pub fn flaws(&self, host: Option<&str>, now: Timestamp) -> Vec<Flaw> {
        self.leaf.as_ref().map(|leaf| flaws(leaf, host, now)).unwrap_or_default()
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Tls {
    /// Shows newcomers this identity.
    pub fn new(identity: Identity) -> Self {
        Self(watch::Sender::new(identity))
    }

    /// Shows newcomers another one from now on; those who are there keep what they saw.
    pub fn replace(&self, identity: Identity) {
        self.0.send_replace(identity);
    }

    /// What the next newcomer is greeted with.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.borrow().config))
    }
}

fn bad(message: String, hint: &'static str) -> BadTls {
    BadTls { message, hint }
}

fn read(path: &Path) -> Result<Vec<u8>, BadTls> {
    let shown = path.display();
    let failed = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => "let the user that the relay runs as read it",
            _ => {
                "--tls-cert takes a PEM file with the certificate and those of its issuers, --tls-key one with its key"
            }
        };
        bad(format!("cannot read `{shown}`: {error}"), hint)
    };
    let about = fs::metadata(path).map_err(failed)?;
    if !about.is_file() || about.len() > LONGEST {
        let what = if about.is_file() { "is too large for a PEM file" } else { "is not a file" };
        return Err(bad(format!("`{shown}` {what}"), "give a certificate and its key as PEM files"));
    }
    fs::read(path).map_err(failed)
}

fn chain(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, BadTls> {
    let shown = path.display();
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(chain) if chain.is_empty() => Err(bad(
            format!("there is no certificate in `{shown}`"),
            "it begins with `-----BEGIN CERTIFICATE-----`; --tls-cert takes the certificate, --tls-key the key",
        )),
        Ok(chain) => Ok(chain),
        Err(error) => Err(bad(
            format!("the certificate in `{shown}` is not PEM ({})", not_pem(&error)),
            "`openssl x509 -in FILE -noout -text` shows what is in it",
        )),
    }
}

/// What is wrong with a PEM file. The library shows text as numbers, and it may be that of a key.
fn not_pem(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { end_marker } if end_marker == b"CERTIFICATE" => {
            "it ends before `-----END CERTIFICATE-----`".to_owned()
        }
        pem::Error::MissingSectionEnd { .. } => {
            "what begins with `-----BEGIN …-----` does not end with a line `-----END …-----`".to_owned()
        }
        pem::Error::IllegalSectionStart { .. } => {
            "a line that begins with `-----BEGIN` does not end with `-----`".to_owned()
        }
        error => error.to_string(),
    }
}

fn private_key(path: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, BadTls> {
    let shown = path.display();
    let is_encrypted = text.windows(9).any(|part| part == b"ENCRYPTED");
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => Ok(key),
        Err(_) if is_encrypted => Err(bad(
            format!("the key in `{shown}` is encrypted"),
            "`openssl pkey -in FILE -out FILE` writes it without a passphrase; keep it with mode 0600",
        )),
        Err(pem::Error::NoItemsFound) => Err(bad(
            format!("there is no private key in `{shown}`"),
            "it begins with `-----BEGIN PRIVATE KEY-----`; --tls-cert takes the certificate, --tls-key the key",
        )),
        // What is wrong with it may quote it.
        Err(_) => Err(bad(
            format!("the key in `{shown}` is not PEM"),
            "`openssl pkey -in FILE -noout -check` tells whether it is whole",
        )),
    }
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Whether everybody on this machine can read a file.
#[cfg(unix)]
fn is_open_to_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|about| about.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn is_open_to_all(_path: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn what_is_wrong_with_the_files_is_said_without_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let made = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let certificate =
                CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
            (certificate.pem(), key.serialize_pem())
        };
        let ((certificate, key), (_, other_key)) = (made("a"), made("b"));
        let broken = certificate.replacen("MII", "M*I", 1);
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let half = key.split_at(60).0;
        let (cut_off, in_one_line) = (certificate.split_at(100).0, key.replace('\n', " "));
        let mut said = String::new();
        for (certificate, key) in [
            ("", key.as_str()),
            (&key, &certificate),
            (&broken, &key),
            (cut_off, &key),
            (&in_one_line, &key),
            (nonsense, &key),
            (&certificate, ""),
            (&certificate, encrypted),
            (&certificate, half),
            (&certificate, &other_key),
        ] {
            let files =
                TlsFiles { certificate: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
            fs::write(&files.certificate, certificate).unwrap();
            fs::write(&files.key, key).unwrap();
            let error = files.load().unwrap_err();
            said += &format!("{error}\n  {}\n", error.hint);
        }
        for path in ["nowhere.pem", "."] {
            let files =
                TlsFiles { certificate: folder.path().join(path), key: folder.path().join("key.pem") };
            let error = files.load().unwrap_err();
            said += &format!("{error}\n  {}\n", error.hint);
        }
        // Wherever it stood.
        assert!(!said.contains(&key[28..48]) && !said.contains(&key[40..60]));
        insta::assert_snapshot!(said.replace(folder.path().to_str().unwrap(), ""));
    }
}
