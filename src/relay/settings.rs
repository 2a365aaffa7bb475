//! How a relay works, as whoever runs it wants.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;

use super::proxies::Network;
use crate::model::{ChannelId, Secret};
use crate::serve::TlsFiles;
use crate::store::Room;

/// When a sender gets its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// When the handler has answered, or after 25 seconds.
    Sync,
    /// As soon as its request is on disk.
    Store,
}

/// What becomes of requests while nobody takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenOffline {
    /// They are kept.
    Queue,
    /// Their senders are told to try again.
    Reject,
}

/// How a relay works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen.
    pub address: SocketAddr,
    /// The certificate for TLS; without one it speaks plain HTTP.
    pub tls: Option<TlsFiles>,
    /// What senders reach it by.
    pub public_url: PublicUrl,
    /// Who may open tunnels.
    pub access: AccessFrom,
    /// When senders get their answers.
    pub mode: Mode,
    /// What becomes of requests while nobody takes them.
    pub when_offline: WhenOffline,
    /// The largest body that is taken, in bytes.
    pub max_body: usize,
    /// How many messages may wait in a channel, and how many bytes their bodies may have.
    pub most_waiting: (u64, u64),
    /// How many bytes the bodies that wait in all channels may have; `None` for any number.
    pub most_waiting_in_all: Option<u64>,
    /// How many channels there may be, of one access token.
    pub most_channels: u64,
    /// How many tunnels may be open at a time; further ones are told to come back later.
    pub most_tunnels: usize,
    /// How many requests may come a second in one channel, on average; `None` for any number.
    pub most_per_second: Option<u32>,
    /// What one address may do.
    pub most_per_address: PerAddress,
    /// The proxies whose word counts about who stands before them.
    pub trusted_proxies: Vec<Network>,
    /// How long a message is kept that nobody takes.
    pub keep: Duration,
    /// How much room on the disk all messages may take.
    pub room: Room,
}

/// What one address may do; `None` is as much as it likes.
#[derive(Clone, Copy, Debug)]
pub struct PerAddress {
    /// How many requests it may send a second, on average.
    pub per_second: Option<u32>,
    /// How many connections it may have at a time; tunnels are not among them.
    pub connections: Option<usize>,
}

/// Where the access tokens are.
#[derive(Clone, Debug)]
pub enum AccessFrom {
    /// These; without any, everybody may open tunnels.
    Tokens(Vec<Secret>),
    /// In a file, which is read again when it changes.
    File(PathBuf),
}

/// What senders reach a relay by: `https://hooks.example.com`, also with a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

/// A text that is no public URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a URL such as `https://hooks.example.com`", .0.escape_debug())]
pub struct NotAPublicUrl(String);

impl PublicUrl {
    /// The URL of a channel.
    pub fn of(&self, channel: &ChannelId) -> String {
        format!("{}/in/{channel}/", self.0)
    }

    /// The host that a certificate must be for, where senders speak TLS.
    pub fn https_host(&self) -> Option<String> {
        let uri: Uri = self.0.parse().ok()?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("https"))?;
        Some(host.trim_matches(['[', ']']).to_owned())
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PublicUrl {
    type Err = NotAPublicUrl;

    fn from_str(text: &str) -> Result<Self, NotAPublicUrl> {
        let bad = || NotAPublicUrl(text.to_owned());
        let uri: Uri = text.parse().map_err(|_error| bad())?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_host =
            uri.authority().is_some_and(|place| !place.host().is_empty() && !place.as_str().contains('@'));
        if !is_http || !has_host || text.contains(['?', '#']) {
            return Err(bad());
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_one_that_senders_can_use() {
        let channel: ChannelId = "00112233445566778899aabbccddeeff".parse().unwrap();
        for (text, url) in [
            ("https://a.b", "https://a.b/in/00112233445566778899aabbccddeeff/"),
            ("http://a.b:8080/relay/", "http://a.b:8080/relay/in/00112233445566778899aabbccddeeff/"),
        ] {
            assert_eq!(text.parse::<PublicUrl>().unwrap().of(&channel), url);
        }
        for (text, host) in
            [("https://a.b:8443/x", Some("a.b")), ("https://[::1]", Some("::1")), ("http://a.b", None)]
        {
            assert_eq!(text.parse::<PublicUrl>().unwrap().https_host().as_deref(), host);
        }
        for text in
            ["", "a.b", "/x", "ftp://a.b", "https://", "https://u@a.b", "https://a.b/?x=1", "wss://a.b"]
        {
            assert!(text.parse::<PublicUrl>().is_err(), "{text}");
        }
    }
}
