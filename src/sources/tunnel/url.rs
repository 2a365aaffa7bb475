//! Where a relay is: `wss://hooks.example.com`, or `ws://` where nobody can listen in.

use std::fmt;
use std::str::FromStr;

use http::Uri;

use crate::model::Target;
use crate::tunnel;

/// The URL of a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayUrl {
    target: Target,
    is_secure: bool,
}

/// A text that is no URL of a relay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not the URL of a relay: {reason} (try `wss://hooks.example.com`, or `ws://localhost:8080`)", .text.escape_debug())]
pub struct NotARelay {
    text: String,
    reason: String,
}

impl RelayUrl {
    /// Where to connect to.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The URL of the WebSocket.
    pub fn tunnel(&self) -> Option<Uri> {
        let scheme = if self.is_secure { "wss" } else { "ws" };
        format!("{scheme}://{}{}", self.target.authority(), self.target.path_for(tunnel::PATH)).parse().ok()
    }
}

impl FromStr for RelayUrl {
    type Err = NotARelay;

    fn from_str(text: &str) -> Result<Self, NotARelay> {
        let bad = |reason: &str| NotARelay { text: text.to_owned(), reason: reason.to_owned() };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| bad("it has no scheme"))?;
        let is_secure = match scheme.to_ascii_lowercase().as_str() {
            "wss" | "https" => true,
            "ws" | "http" => false,
            _ => return Err(bad("a relay is reached by wss or ws")),
        };
        if rest.contains(['?', '#']) {
            return Err(bad("it has a query"));
        }
        let http = if is_secure { "https" } else { "http" };
        let target = format!("{http}://{}", rest.trim_end_matches('/')).parse::<Target>();
        let target = target.map_err(|error| bad(error.reason()))?;
        Ok(Self { target, is_secure })
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "wss" } else { "ws" };
        let path = self.target.path_for("/");
        write!(f, "{scheme}://{}{}", self.target.authority(), path.trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_named_by_its_url() {
        for (text, shown, tunnel) in [
            ("wss://hooks.example.com", "wss://hooks.example.com", "wss://hooks.example.com/tunnel"),
            ("wss://hooks.example.com/", "wss://hooks.example.com", "wss://hooks.example.com/tunnel"),
            ("https://a.b:8443/relay/", "wss://a.b:8443/relay", "wss://a.b:8443/relay/tunnel"),
            ("WS://localhost:8080", "ws://localhost:8080", "ws://localhost:8080/tunnel"),
            ("http://[::1]:80", "ws://[::1]", "ws://[::1]/tunnel"),
        ] {
            let url: RelayUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(url.tunnel().unwrap().to_string(), tunnel);
        }
        for text in [
            "",
            "hooks.example.com",
            "ftp://a",
            "wss://",
            "wss://a?x=1",
            "wss://user@a",
            "ws://a:b",
            "ws://a b",
        ] {
            let error = text.parse::<RelayUrl>().unwrap_err().to_string();
            assert!(error.contains("is not the URL of a relay"), "{error}");
        }
    }
}
