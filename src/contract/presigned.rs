//! URLs that work for a while, in the looks of those that S3 signs: how they are made, and whether one still works.
//!
//! API v2 documents that the URLs of recordings work for 4 hours; a delivered webhook has them as S3 writes them. The
//! signature here is our own, over path, date and lifetime: whoever changes one of these, or takes the query away, is
//! refused, as S3 does it.

use hmac::{Hmac, KeyInit, Mac};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;

use crate::model::Secret;

/// How S3 writes a time in a query.
const DATE: &str = "%Y%m%dT%H%M%SZ";

/// Why a URL does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// It has no signature.
    Unsigned,
    /// It is not signed with this key, or what was signed was changed since.
    Mismatch,
    /// It is too old.
    Expired {
        /// How long it worked, in seconds.
        lifetime: u32,
        /// Until when.
        end: Timestamp,
    },
}

/// The query that makes a URL with this path work for `lifetime` seconds from `at` on, and everywhere the same for the
/// same second.
pub fn query(key: &Secret, path: &str, at: Timestamp, lifetime: u32) -> String {
    let date = at.strftime(DATE).to_string();
    let signature = hex::encode(mac(key, path, &date, lifetime).finalize().into_bytes());
    format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=EXAMPLE%2F{day}%2Feu-west-3%2Fs3%2Faws4_request\
         &X-Amz-Date={date}&X-Amz-Expires={lifetime}&X-Amz-SignedHeaders=host&X-Amz-Signature={signature}",
        day = &date[..8],
    )
}

/// Whether a URL works now; when it was made.
///
/// # Errors
///
/// Says why it does not.
pub fn check(key: &Secret, path: &str, query: &str, now: Timestamp) -> Result<Timestamp, Denial> {
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(other, _)| *other == name).map(|(_, value)| value)
    };
    let signature = value("X-Amz-Signature").ok_or(Denial::Unsigned)?;
    let (date, lifetime) = value("X-Amz-Date").zip(value("X-Amz-Expires")).ok_or(Denial::Unsigned)?;
    let lifetime: u32 = lifetime.parse().map_err(|_no_number| Denial::Mismatch)?;
    let signature = hex::decode(signature).map_err(|_no_digits| Denial::Mismatch)?;
    mac(key, path, date, lifetime).verify_slice(&signature).map_err(|_other| Denial::Mismatch)?;
    let made = time(date).ok_or(Denial::Mismatch)?;
    let end = made.checked_add(SignedDuration::from_secs(lifetime.into())).unwrap_or(Timestamp::MAX);
    if now > end { Err(Denial::Expired { lifetime, end }) } else { Ok(made) }
}

fn mac(key: &Secret, path: &str, date: &str, lifetime: u32) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key.expose().as_bytes())
        .expect("HMAC takes a key of any length")
        .chain_update(format!("{path}\n{date}\n{lifetime}"))
}

fn time(date: &str) -> Option<Timestamp> {
    let time = DateTime::strptime(DATE, date).ok()?;
    TimeZone::UTC.to_timestamp(time).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    #[test]
    fn a_url_works_until_its_lifetime_is_over() {
        let key = Secret::new("k");
        let query = query(&key, "/b/output.mp4", at("2026-11-24T09:05:52.208Z"), 10);
        let told = |now: &str| check(&key, "/b/output.mp4", &query, at(now));
        assert_eq!(told("2026-11-24T09:05:52.208Z"), Ok(at("2026-11-24T09:05:52Z")));
        assert_eq!(told("2026-11-24T09:06:02Z"), Ok(at("2026-11-24T09:05:52Z")));
        let end = at("2026-11-24T09:06:02Z");
        assert_eq!(told("2026-11-24T09:06:02.001Z"), Err(Denial::Expired { lifetime: 10, end }));
    }

    #[test]
    fn what_was_signed_cannot_be_changed() {
        let (key, now) = (Secret::new("k"), at("2026-11-24T09:05:52Z"));
        let query = query(&key, "/b/output.mp4", now, 10);
        let refused = |path: &str, query: &str| check(&key, path, query, now).unwrap_err();
        assert_eq!(refused("/b/output.flac", &query), Denial::Mismatch);
        assert_eq!(refused("/b/output.mp4", &query.replace("Expires=10", "Expires=100")), Denial::Mismatch);
        assert_eq!(refused("/b/output.mp4", &query.replace("T090552Z", "T100552Z")), Denial::Mismatch);
        assert_eq!(refused("/b/output.mp4", &query.replace("Expires=10", "Expires=-1")), Denial::Mismatch);
        let unsigned = query.split_once("&X-Amz-Signature").unwrap().0;
        assert_eq!(refused("/b/output.mp4", unsigned), Denial::Unsigned);
        assert_eq!(refused("/b/output.mp4", ""), Denial::Unsigned);
        assert_eq!(check(&Secret::new("other"), "/b/output.mp4", &query, now), Err(Denial::Mismatch));
    }

    proptest! {
        #[test]
        fn no_query_is_too_strange(query in "\\PC{0,80}|(X-Amz-(Date|Expires|Signature)=[0-9a-zA-Z%é-]{0,70}&?){0,4}") {
            check(&Secret::new("k"), "/x", &query, at("2026-11-24T09:05:52Z")).unwrap_err();
        }
    }
}
