//! What a relay and a `listen` say to each other beside the requests themselves: fields named `mbaas-dev-*`.
//!
//! HTTP/2 has its names in lower case and those of one name together. Where they stood in the sender's request goes
//! along, so that what is recorded is what was sent.

pub mod early;

use bytes::Bytes;
use http::header::{DATE, HeaderMap, HeaderName, HeaderValue};
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};

use crate::model::Headers;

/// Where a relay takes tunnels.
pub const PATH: &str = "/tunnel";

/// What a `listen` proves with that a channel is its own: 64 hexadecimal digits.
pub const LISTEN_TOKEN: HeaderName = HeaderName::from_static("mbaas-dev-listen-token");

/// The highest number that a `listen` has of its channel.
pub const HAS: HeaderName = HeaderName::from_static("mbaas-dev-has");

/// The channel that it gets.
pub const CHANNEL: HeaderName = HeaderName::from_static("mbaas-dev-channel");

/// The URL of the channel for senders.
pub const PUBLIC_URL: HeaderName = HeaderName::from_static("mbaas-dev-public-url");

/// How many messages wait.
pub const WAITING: HeaderName = HeaderName::from_static("mbaas-dev-waiting");

/// A proxy before the relay that this does not trust, if there is one.
pub const HIDDEN_BY: HeaderName = HeaderName::from_static("mbaas-dev-hidden-by");

/// Whoever gives a channel up lets go of what waits in it as well.
pub const DISCARD: HeaderName = HeaderName::from_static("mbaas-dev-discard");

/// In answers: the id of the delivery that is recorded, or [soon](early) is. Without it, a relay keeps what it sent.
pub const DELIVERY: &str = "mbaas-dev-delivery";

const PREFIX: &[u8] = b"mbaas-dev-";
const SEQ: &str = "mbaas-dev-seq";
const AFTER: &str = "mbaas-dev-after";
const ARRIVED: &str = "mbaas-dev-arrived";
const LATE: &str = "mbaas-dev-late";
const NAMES: &str = "mbaas-dev-names";

/// How far the clocks of a relay and of ours may be apart: an answer is on its way for a while.
const APART: SignedDuration = SignedDuration::from_secs(30);

/// Whether an access token can stand in the field that carries it: ASCII that is seen, and no space at its ends.
pub fn can_be_sent(access_token: &str) -> bool {
    access_token.trim() == access_token && access_token.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// Whether two clocks are the same, as far as that can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clocks {
    /// They are.
    Agree,
    /// The relay's shows this.
    Differ(Timestamp),
}

/// How the clock of whoever answers with these fields compares with ours; nothing when they do not say it (RFC 9110 §6.6.1).
pub fn compare_clocks(headers: &HeaderMap, now: Timestamp) -> Option<Clocks> {
    let date = headers.get(DATE)?.to_str().ok()?;
    let theirs = rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    let is_apart = theirs.duration_since(now).abs() > APART;
    Some(if is_apart { Clocks::Differ(theirs) } else { Clocks::Agree })
}

/// What a relay says of a message that it passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passing {
    /// Its number, which rises within the channel, not always by one.
    pub seq: i64,
    /// The number of the one that was passed on before it; 0 when it is the first.
    pub after: i64,
    /// When it reached the relay.
    pub arrived_at: Timestamp,
    /// Whether it had to wait there for somebody to take it.
    pub late: bool,
}

/// Whether a field is one of ours.
pub fn is_ours(name: &[u8]) -> bool {
    name.get(..PREFIX.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX))
}

impl Passing {
    /// The sender's fields, and ours beside them; of the sender's, none is named as ours are.
    pub fn announce(&self, headers: &Headers) -> HeaderMap {
        let mut map = headers.to_map();
        let names: Vec<&[u8]> = headers.iter().map(|(name, _)| &name[..]).collect();
        let late = if self.late { "1" } else { "0" };
        for (name, value) in [
            (SEQ, self.seq.to_string().into_bytes()),
            (AFTER, self.after.to_string().into_bytes()),
            (ARRIVED, self.arrived_at.as_microsecond().to_string().into_bytes()),
            (LATE, late.as_bytes().to_vec()),
            (NAMES, names.join(&b',')),
        ] {
            // Numbers and names of fields are values of fields.
            if let Ok(mut value) = HeaderValue::from_maybe_shared(Bytes::from(value)) {
                // HTTP/2 would remember it for the next request, which has another one.
                value.set_sensitive(matches!(name, SEQ | AFTER | ARRIVED));
                map.insert(HeaderName::from_static(name), value);
            }
        }
        map
    }

    /// Takes our fields out, and puts the others back in their places; nothing when they are not all there.
    pub fn take(headers: &Headers) -> Option<(Self, Headers)> {
        let number = |name| headers.get_str(name).and_then(|text| text.parse::<i64>().ok());
        let passing = Self {
            seq: number(SEQ).filter(|seq| *seq > 0)?,
            after: number(AFTER).filter(|after| *after >= 0)?,
            arrived_at: Timestamp::from_microsecond(number(ARRIVED)?).ok()?,
            late: headers.get_str(LATE)? == "1",
        };
        let names = headers.get(NAMES)?.clone();
        let others = headers.iter().filter(|(name, _)| !is_ours(name));
        let others: Headers = others.map(|(name, value)| (name.clone(), value.clone())).collect();
        let restored = restore(&names, &others).unwrap_or(others);
        Some((passing, restored))
    }
}

/// The fields in the order and case of `names`; nothing when these are not the fields.
fn restore(names: &Bytes, headers: &Headers) -> Option<Headers> {
    // They come in nearly this order, so each is found at once.
    let mut left: Vec<(&Bytes, &Bytes)> = headers.iter().collect();
    let mut restored = Headers::new();
    for name in names.split(|byte| *byte == b',').filter(|name| !name.is_empty()) {
        let at = left.iter().position(|(other, _)| other.eq_ignore_ascii_case(name))?;
        let (_, value) = left.remove(at);
        restored.push(names.slice_ref(name), value.clone());
    }
    // The library adds the length of a body, whether its sender did or not.
    left.iter().all(|(name, _)| name.eq_ignore_ascii_case(b"content-length")).then_some(restored)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_clock_is_wrong_when_it_is_half_a_minute_off() {
        let now: Timestamp = "2026-11-24T09:00:00Z".parse().unwrap();
        let seen = |date: &'static str| {
            let headers = HeaderMap::from_iter([(DATE, HeaderValue::from_static(date))]);
            compare_clocks(&headers, now)
        };
        let differ = |theirs: &str| Some(Clocks::Differ(theirs.parse().unwrap()));
        assert_eq!(seen("Tue, 24 Nov 2026 09:00:29 GMT"), Some(Clocks::Agree));
        assert_eq!(seen("Tue, 24 Nov 2026 08:59:29 GMT"), differ("2026-11-24T08:59:29Z"));
        assert_eq!(seen("Tue, 24 Nov 2026 09:01:00 GMT"), differ("2026-11-24T09:01:00Z"));
        assert_eq!(seen("yesterday"), None);
        assert_eq!(compare_clocks(&HeaderMap::new(), now), None);
    }

    proptest! {
        #[test]
        fn fields_come_back_in_their_order_and_case(
            fields in proptest::collection::vec(("[A-Ca-c]{1,2}(-[a-zA-Z]{1,3})?", "[ -~]{0,12}"), 0..14),
            seq in 1_i64.., after in 0_i64.., micros in 0_i64..4_000_000_000_000_000, late: bool,
        ) {
            let fields = fields.into_iter().map(|(name, value)| (name, value.trim().to_owned().into_bytes()));
            let headers: Headers = fields.collect();
            let arrived_at = Timestamp::from_microsecond(micros).unwrap();
            let passing = Passing { seq, after, arrived_at, late };
            let mut sent = passing.announce(&headers);
            sent.insert("content-length", HeaderValue::from_static("12"));
            prop_assert_eq!(Passing::take(&Headers::from(&sent)), Some((passing, headers)));
        }
    }

    #[test]
    fn what_is_not_from_a_relay_is_not_taken_for_it() {
        let passing = Passing { seq: 2, after: 1, arrived_at: Timestamp::UNIX_EPOCH, late: false };
        let headers: Headers = [("X-A", "1"), ("x-a", "2")].into_iter().collect();
        let whole = passing.announce(&headers);
        assert!(Passing::take(&headers).is_none());
        for (name, value) in [(SEQ, "0"), (SEQ, "x"), (AFTER, "-1"), (ARRIVED, ""), (LATE, "")] {
            let mut map = whole.clone();
            if value.is_empty() {
                map.remove(name);
            } else {
                map.insert(name, HeaderValue::from_static(value));
            }
            assert!(Passing::take(&Headers::from(&map)).is_none(), "{name}");
        }
        // Names that do not fit the fields do no harm: these stay as they came.
        let mut map = whole;
        map.insert(NAMES, HeaderValue::from_static("X-A,X-A,Other"));
        let lower: Headers = [("x-a", "1"), ("x-a", "2")].into_iter().collect();
        assert_eq!(Passing::take(&Headers::from(&map)), Some((passing, lower)));
    }
}
