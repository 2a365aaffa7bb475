//! Where a request comes from: the address that connected, or the one that a trusted proxy names in its place.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::model::Headers;
use crate::serve::Peer;

/// Who stood before a proxy, as far as each proxy on the way says.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// What was spoken to the proxy.
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// An address, or all those that begin alike: `192.0.2.7`, `10.0.0.0/8`, `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

/// A text that is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is neither an address nor a network such as `10.0.0.0/8`", .0.escape_debug())]
pub struct NotANetwork(String);

/// The proxies whose word counts.
#[derive(Clone, Debug)]
pub struct Proxies(pub Vec<Network>);

/// Who sent a request, as far as is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// Its address; unknown behind a proxy that is not trusted.
    pub address: Option<IpAddr>,
    /// Whether it spoke TLS.
    pub is_secure: Option<bool>,
    /// A proxy that is not trusted and so hides the sender.
    pub hidden_by: Option<IpAddr>,
    /// Whether the limits of an address hold for it.
    pub is_limited: bool,
}

impl Proxies {
    /// Whether limits hold for an address that connects. Without a trusted proxy, what is on this machine or in a private
    /// network may be one, behind which everybody has the same address.
    pub fn is_limited(&self, address: IpAddr) -> bool {
        if self.0.is_empty() { is_public(address) } else { !self.are(address) }
    }

    /// Who sent a request that `peer` brought; `speaks_tls` says whether it came to us over TLS.
    pub fn sender(&self, peer: Option<Peer>, headers: &Headers, speaks_tls: bool) -> Sender {
        let Some(Peer { address: peer, .. }) = peer else { return Sender::default() };
        let is_named = headers.get(FORWARDED_FOR).is_some();
        if !self.are(peer) {
            let hidden_by = (is_named && !is_public(peer)).then_some(peer);
            return Sender {
                address: hidden_by.is_none().then_some(peer),
                is_secure: hidden_by.is_none().then_some(speaks_tls),
                hidden_by,
                is_limited: self.is_limited(peer),
            };
        }
        let mut address = peer;
        // From the nearest on: what stands before the first that is not ours was written by anybody.
        for named in listed(headers, FORWARDED_FOR).rev() {
            let Some(named) = parse(named) else { break };
            address = named;
            if !self.are(named) {
                break;
            }
        }
        let spoken = listed(headers, FORWARDED_PROTO).next_back();
        let is_secure = match spoken {
            Some(spoken) if spoken.eq_ignore_ascii_case("https") => Some(true),
            Some(spoken) if spoken.eq_ignore_ascii_case("http") => Some(false),
            _ => None,
        };
        Sender { address: Some(address), is_secure, hidden_by: None, is_limited: !self.are(address) }
    }

    fn are(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

impl Network {
    /// Whether an address belongs to it.
    fn contains(&self, address: IpAddr) -> bool {
        let same = |one: u128, other: u128, width: u32| {
            // Shifting out everything is more than shifting can.
            one.checked_shr(width - self.bits).unwrap_or(0)
                == other.checked_shr(width - self.bits).unwrap_or(0)
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(one), IpAddr::V4(other)) => same(one.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(one), IpAddr::V6(other)) => same(one.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let bad = || NotANetwork(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().map_err(|_error| bad())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_error| bad())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most {
            return Err(bad());
        }
        Ok(Self { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// What stands in the fields of a name, which are lists.
fn listed<'a>(headers: &'a Headers, name: &'a str) -> impl DoubleEndedIterator<Item = &'a str> {
    let fields: Vec<&str> =
        headers.get_all(name).map(|value| str::from_utf8(value).unwrap_or_default()).collect();
    fields.into_iter().flat_map(|field| field.split(',')).map(str::trim).collect::<Vec<_>>().into_iter()
}

/// An address as proxies write it, some of them with a port.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse::<IpAddr>().ok().or_else(with_port).map(|address| address.to_canonical())
}

/// Whether an address is one of the internet, and not of this machine or a network of one's own.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(four) => {
            let is_shared = matches!(four.octets(), [100, 64..=127, ..]);
            !(four.is_loopback() || four.is_private() || four.is_link_local() || is_shared)
        }
        IpAddr::V6(six) => !(six.is_loopback() || six.is_unique_local() || six.is_unicast_link_local()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Proxies {
        Proxies(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn a_network_is_what_begins_alike() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.7/31", "192.0.2.6", "192.0.2.5"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
            ("2001:db8::/32", "2001:db8:9::1", "2001:db9::1"),
            ("::1", "::1", "127.0.0.1"),
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("::/0", "fe80::1", "1.2.3.4"),
        ] {
            let network: Network = network.parse().unwrap();
            let contains = |text: &str| network.contains(text.parse().unwrap());
            assert_eq!((contains(inside), contains(outside)), (true, false), "{network}");
        }
        for text in
            ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "localhost", "10.0.0.0/8/8"]
        {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_proxy_is_believed_if_it_is_trusted_and_only_about_the_next_one() {
        let proxies = networks(&["10.0.0.0/8", "::1"]);
        let from = |peer: &str, fields: &[&'static str]| {
            let headers: Headers = fields.iter().map(|value| ("X-Forwarded-For", *value)).collect();
            let peer = Peer { address: peer.parse().unwrap(), is_one_too_many: false };
            let sender = proxies.sender(Some(peer), &headers, false);
            (sender.address.map(|address| address.to_string()).unwrap_or_default(), sender.is_limited)
        };
        let hostile = [
            // Whoever is not trusted speaks for nobody.
            ("9.9.9.9", &["1.2.3.4"][..], "9.9.9.9", true),
            ("9.9.9.9", &[], "9.9.9.9", true),
            ("10.0.0.1", &[], "10.0.0.1", false),
            ("10.0.0.1", &["1.2.3.4"], "1.2.3.4", true),
            // What the sender wrote itself stands before what the proxy knows.
            ("10.0.0.1", &["10.0.0.9, 8.8.8.8, 1.2.3.4"], "1.2.3.4", true),
            ("10.0.0.1", &["8.8.8.8", "1.2.3.4,10.7.7.7"], "1.2.3.4", true),
            ("::1", &["2001:db8::7"], "2001:db8::7", true),
            ("::1", &["[2001:db8::7]:4711"], "2001:db8::7", true),
            ("::1", &["[2001:db8::7]"], "2001:db8::7", true),
            ("10.0.0.1", &["1.2.3.4:80"], "1.2.3.4", true),
            ("10.0.0.1", &["::ffff:1.2.3.4"], "1.2.3.4", true),
            ("10.0.0.1", &["unknown"], "10.0.0.1", false),
            ("10.0.0.1", &["1.2.3.4, _hidden"], "10.0.0.1", false),
            ("10.0.0.1", &["1.2.3.4,"], "10.0.0.1", false),
            ("10.0.0.1", &["10.0.0.2, 10.0.0.3"], "10.0.0.2", false),
            ("10.0.0.1", &["127.0.0.1"], "127.0.0.1", true),
            ("192.168.0.1", &["1.2.3.4"], "", true),
        ];
        for (peer, fields, address, is_limited) in hostile {
            assert_eq!(from(peer, fields), (address.to_owned(), is_limited), "{peer} {fields:?}");
        }
    }

    #[test]
    fn without_a_trusted_proxy_limits_hold_for_the_internet_only() {
        let proxies = networks(&[]);
        for (address, is_limited) in [
            ("1.2.3.4", true),
            ("100.63.0.1", true),
            ("2001:db8::1", true),
            ("127.0.0.1", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("10.1.2.3", false),
            ("172.18.0.2", false),
            ("192.168.1.1", false),
            ("100.64.0.1", false),
            ("169.254.1.1", false),
            ("fd00::1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(proxies.is_limited(address.parse().unwrap()), is_limited, "{address}");
        }
        let headers = Headers::from_iter([("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https")]);
        let peer = Peer { address: "172.18.0.2".parse().unwrap(), is_one_too_many: false };
        let sender = proxies.sender(Some(peer), &headers, false);
        assert_eq!((sender.address, sender.hidden_by, sender.is_secure), (None, Some(peer.address), None));
        let trusted = networks(&["172.18.0.0/16"]).sender(Some(peer), &headers, false);
        assert_eq!((trusted.is_secure, trusted.hidden_by), (Some(true), None));
    }
}
