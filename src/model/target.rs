//! Where a handler listens: parsed once, joined with wire paths without ever leaving its host.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

/// The address of a handler, and the path prefix that its requests get.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    place: Place,
    /// The value of `Host`, which every request needs.
    authority: String,
    prefix: String,
    query: Option<String>,
}

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A port of a host.
    Tcp {
        /// Whether to speak TLS.
        tls: bool,
        /// The host name or address; IPv6 addresses without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// A text that is not a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a target: {reason} (try `3000`, `localhost:3000`, `localhost:3000/hooks`, `https://host/hooks` or `unix:/path/to.sock`)", .text.escape_debug())]
pub struct BadTarget {
    text: String,
    reason: &'static str,
}

impl BadTarget {
    /// What is wrong with it.
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

impl Target {
    /// A handler on a port of this machine, at the root path.
    pub fn local(host: impl fmt::Display, port: u16) -> Self {
        Self::at(Place::Tcp { tls: false, host: host.to_string(), port }, String::new(), None)
    }

    fn at(place: Place, prefix: String, query: Option<String>) -> Self {
        let authority = match &place {
            Place::Unix(_) => "localhost".to_owned(),
            Place::Tcp { tls, host, port } => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                if *port == default_port(*tls) { host } else { format!("{host}:{port}") }
            }
        };
        Self { place, authority, prefix, query }
    }

    /// Whether it is on this machine, the host of a container included.
    pub fn is_loopback(&self) -> bool {
        match &self.place {
            Place::Unix(_) => true,
            Place::Tcp { host, .. } => match host.parse::<IpAddr>() {
                Ok(address) => address.is_loopback(),
                Err(_) => host == "localhost" || host == "host.docker.internal",
            },
        }
    }

    /// The same handler at another path, which starts with `/` and may have a query.
    #[must_use]
    pub fn with_path(&self, path: &str) -> Self {
        let (prefix, query) = match path.split_once('?') {
            Some((prefix, query)) => (prefix, Some(query.to_owned())),
            None => (path, None),
        };
        let prefix = if prefix == "/" { String::new() } else { prefix.to_owned() };
        Self { prefix, query, ..self.clone() }
    }

    /// Where to connect to.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The value of `Host`: the port is left out when it is the scheme's own; `localhost` for a Unix socket.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The path and query of a request for `wire_path` here: the target's own path is a prefix, and a request
    /// for `/` is one for the prefix itself.
    pub fn path_for(&self, wire_path: &str) -> String {
        let (path, query) = match wire_path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (wire_path, None),
        };
        let path = if path == "/" && !self.prefix.is_empty() { "" } else { path };
        let prefix =
            if path.starts_with('/') { self.prefix.trim_end_matches('/') } else { self.prefix.as_str() };
        let mut joined = [prefix, path].concat();
        let queries = self.query.as_deref().into_iter().chain(query);
        for (mark, query) in ["?", "&"].into_iter().zip(queries) {
            joined.push_str(mark);
            joined.push_str(query);
        }
        if joined.starts_with('/') { joined } else { format!("/{joined}") }
    }

    /// The whole URL of a request for `wire_path` here; `unix:/path/to.sock:/path` for a Unix socket.
    pub fn url_for(&self, wire_path: &str) -> String {
        self.url_of(&self.path_for(wire_path))
    }

    /// The whole URL of a path that [`path_for`](Self::path_for) gave.
    pub fn url_of(&self, path: &str) -> String {
        let (scheme, socket) = match &self.place {
            Place::Unix(socket) => return format!("unix:{}:{path}", socket.display()),
            Place::Tcp { tls: true, .. } => ("https://", &self.authority),
            Place::Tcp { tls: false, .. } => ("http://", &self.authority),
        };
        [scheme, socket, path].concat()
    }
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.url_for("/"))
    }
}

impl FromStr for Target {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Self, BadTarget> {
        let bad = |reason| BadTarget { text: text.to_owned(), reason };
        if text.is_empty() {
            return Err(bad("it is empty"));
        }
        if let Some(c) =
            text.chars().find(|c| c.is_whitespace() || c.is_control() || "\\\"<>^`{|}".contains(*c))
        {
            return Err(bad(if c == '\\' {
                "it has a backslash"
            } else {
                "it has a character that no URL has"
            }));
        }
        if let Some(rest) = text.strip_prefix("unix:") {
            return unix(rest).map_err(bad);
        }
        let (tls, rest) = match text.split_once("://") {
            None => (false, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some(_) => return Err(bad("only http, https and unix are spoken")),
        };
        let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(authority_end);
        if authority.contains('@') {
            return Err(bad("it has a user name"));
        }
        let (host, port) = split_authority(authority).map_err(bad)?;
        let (prefix, query) = split_path(path).map_err(bad)?;
        let port = port.unwrap_or(default_port(tls));
        Ok(Self::at(Place::Tcp { tls, host, port }, prefix, query))
    }
}

/// `/path/to.sock`, and after a colon the path of requests: `/path/to.sock:/hooks`.
fn unix(text: &str) -> Result<Target, &'static str> {
    let (socket, path) = text.split_once(':').unwrap_or((text, ""));
    if !socket.starts_with('/') {
        return Err("the path of a Unix socket starts with `/`");
    }
    if !path.is_empty() && !path.starts_with('/') {
        return Err("behind the socket and a colon comes a path that starts with `/`");
    }
    let (prefix, query) = split_path(path)?;
    Ok(Target::at(Place::Unix(PathBuf::from(socket)), prefix, query))
}

/// The prefix and the query of a target's path.
fn split_path(path: &str) -> Result<(String, Option<String>), &'static str> {
    if path.contains('#') {
        return Err("a fragment is never sent");
    }
    if !path.is_ascii() {
        return Err("its path has characters that must be percent-encoded");
    }
    let (prefix, query) = match path.split_once('?') {
        Some((prefix, query)) => (prefix, Some(query.to_owned())),
        None => (path, None),
    };
    let prefix = if prefix == "/" { "" } else { prefix };
    Ok((prefix.to_owned(), query))
}

/// The host and the port of `3000`, `host`, `host:3000` or `[::1]:3000`.
fn split_authority(authority: &str) -> Result<(String, Option<u16>), &'static str> {
    const BAD_PORT: &str = "the port is a number from 1 to 65535";
    let port_of = |text: &str| match text.parse() {
        Ok(0) | Err(_) => Err(BAD_PORT),
        Ok(port) if text.starts_with('+') => Ok(port).and(Err(BAD_PORT)),
        Ok(port) => Ok(port),
    };
    if !authority.is_empty() && authority.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(("localhost".to_owned(), Some(port_of(authority)?)));
    }
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or("the bracket of its IPv6 address is not closed")?;
        address.parse::<Ipv6Addr>().map_err(|_ignored| "what stands in brackets is not an IPv6 address")?;
        return match port.strip_prefix(':') {
            Some(port) => Ok((address.to_owned(), Some(port_of(port)?))),
            None if port.is_empty() => Ok((address.to_owned(), None)),
            None => Err("after the address comes `:` and the port"),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port_of(port)?)),
        None => (authority, None),
    };
    let host_like = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() || host.len() > 253 || !host.chars().all(host_like) {
        return Err("it has no host name");
    }
    Ok((host.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_of_a_target_is_understood() {
        for (text, url) in [
            ("3000", "http://localhost:3000/"),
            ("localhost:3000", "http://localhost:3000/"),
            ("LocalHost:3000/hooks", "http://localhost:3000/hooks"),
            ("localhost:3000/hooks/", "http://localhost:3000/hooks/"),
            ("http://127.0.0.1", "http://127.0.0.1/"),
            ("https://example.test/a?k=v", "https://example.test/a?k=v"),
            ("HTTPS://example.test:8443", "https://example.test:8443/"),
            ("[::1]:3000", "http://[::1]:3000/"),
            ("http://host.docker.internal:8080/x", "http://host.docker.internal:8080/x"),
            ("unix:/run/app.sock", "unix:/run/app.sock:/"),
            ("unix:/run/app.sock:/hooks?k=v", "unix:/run/app.sock:/hooks?k=v"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), url, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_target_is_refused() {
        for text in [
            "",
            "0",
            "65536",
            "99999",
            "localhost:",
            "localhost:x",
            "localhost:+80",
            ":3000",
            "ftp://x",
            "http://",
            "user@host",
            "http://u:p@host",
            "http://[::1",
            "[zz]:1",
            "a b",
            "http://a/#f",
            "a\\b",
            "host/ü",
            "//x",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn a_targets_path_is_a_prefix() {
        for (target, wire, joined) in [
            ("3000", "/", "/"),
            ("3000", "/x?y=1", "/x?y=1"),
            ("3000/hooks", "/", "/hooks"),
            ("3000/hooks", "/x?y=1", "/hooks/x?y=1"),
            ("3000/hooks/", "/", "/hooks/"),
            ("3000/hooks/", "/x", "/hooks/x"),
            ("3000/hooks", "/?y=1", "/hooks?y=1"),
            ("3000/hooks?k=v", "/x?y=1", "/hooks/x?k=v&y=1"),
            ("3000", "//evil.test/x", "//evil.test/x"),
            ("3000/h", "/../..", "/h/../.."),
            ("3000", "*", "/*"),
            ("3000", "@evil.test", "/@evil.test"),
        ] {
            assert_eq!(target.parse::<Target>().unwrap().path_for(wire), joined, "{target} {wire}");
        }
    }

    proptest! {
        #[test]
        fn no_wire_path_changes_the_host(wire in "[ -~]{0,40}") {
            let target: Target = "localhost:3000/hooks".parse().unwrap();
            prop_assert!(target.url_for(&wire).starts_with("http://localhost:3000/"));
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,40}") {
            drop(text.parse::<Target>());
        }
    }
}
