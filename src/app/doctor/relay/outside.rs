//! What a relay shows to everybody: that it is there, its certificate, its clock, its store, its limits.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::timeout;

use super::obstacle;
use crate::app::doctor::Check;
use crate::forward::{self, Connection};
use crate::model::{Clock, FailureKind};
use crate::observers::advice::size;
use crate::serve::{ends_soon, valid_until};
use crate::sources::tunnel::{RelayUrl, SET_CLOCK};
use crate::tunnel::{Clocks, compare_clocks};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a relay says it takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The largest body, if it says so.
    pub largest_body: Option<u64>,
}

/// Whether it is there, and who it is.
pub async fn connection(relay: &RelayUrl, clock: &Clock) -> Result<Vec<Check>, Check> {
    let name = "connection";
    let connection = match timeout(PATIENCE, forward::connect(relay.target())).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(failure)) if failure.kind == FailureKind::Tls => {
            // It says what to do as well.
            let (found, advice) = failure.detail.split_once(": ").unwrap_or((&failure.detail, "see its log"));
            return Err(Check::finding("certificate", found, advice));
        }
        Ok(Err(failure)) => {
            let advice = match failure.kind {
                FailureKind::Dns => "correct the name, or give it an address in the DNS",
                _ => "start the relay, or what stands before it, and let its port through the firewall",
            };
            return Err(Check::finding(name, failure.detail, advice));
        }
        Err(_elapsed) => {
            let found = format!("there is no connection to {relay} within 10 s");
            return Err(Check::finding(name, found, "let its port through the firewall"));
        }
    };
    let mut checks = vec![Check::good(name, format!("{} takes connections", relay.target().authority()))];
    checks.extend(certificate(&connection, relay, clock.now()));
    Ok(checks)
}

/// How long its certificate is good. Whose it is and who issued it was looked at before.
fn certificate(connection: &Connection, relay: &RelayUrl, now: Timestamp) -> Option<Check> {
    let name = "certificate";
    let Some(certificate) = connection.certificate() else {
        if relay.target().is_loopback() {
            return None;
        }
        let found = "there is none: whoever is on the way reads tokens and webhooks";
        return Some(Check::finding(
            name,
            found,
            "speak TLS: `relay --tls-cert`, or a web server before the relay",
        ));
    };
    let until = valid_until(&certificate)?;
    Some(if ends_soon(until, now) {
        let advice = "renew it: a relay with --tls-cert takes the new one by itself";
        Check::finding(name, format!("it is good until {until:.0} only"), advice)
    } else {
        Check::good(name, format!("trusted, for this name, and good until {until:.0}"))
    })
}

/// What it says of itself.
pub async fn health(relay: &RelayUrl, clock: &Clock) -> (Vec<Check>, Limits) {
    let name = "store";
    let path = relay.target().path_for("/healthz");
    let request = Request::get(path).body(Bytes::new()).unwrap_or_default();
    let answer = match timeout(PATIENCE, forward::ask(relay.target(), request)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(failure)) => {
            let advice = "see the log of the relay and of what stands before it";
            return (vec![Check::finding(name, failure.detail, advice)], Limits::default());
        }
        Err(_elapsed) => {
            let found = "/healthz is not answered within 10 s";
            let advice = "see the log of the relay and of what stands before it";
            return (vec![Check::finding(name, found, advice)], Limits::default());
        }
    };
    let mut checks: Vec<Check> = clock_of(answer.headers(), clock.now()).into_iter().collect();
    let said: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let number = |key: &str| said[key].as_u64().unwrap_or_default();
    match (answer.status(), said["status"].as_str()) {
        (StatusCode::OK, Some("ok")) => {
            let (waiting, disk) = (number("waiting"), size(number("bytes_on_disk")));
            checks.push(Check::good(name, format!("it can be written; waiting: {waiting}, on disk: {disk}")));
        }
        (StatusCode::SERVICE_UNAVAILABLE, Some(why)) => {
            let advice = "see the log of the relay: its disk may be full, or its folder not its own";
            checks.push(Check::finding(name, format!("senders are told 503, since {why}"), advice));
        }
        _ => checks.push(obstacle::of_answer("store", relay, &answer)),
    }
    let limits = &said["limits"];
    let largest_body = limits["max_body"].as_u64();
    if let Some(largest) = largest_body {
        let rate = match limits["max_rate"].as_u64() {
            Some(rate) => format!("{rate} requests a second for a channel"),
            None => "any number of requests".to_owned(),
        };
        let hours = limits["keep_seconds"].as_u64().unwrap_or_default() / 3600;
        let found = format!("bodies up to {}, {rate}, kept for {hours} h", size(largest));
        checks.push(Check::good("limits", found));
    }
    (checks, Limits { largest_body })
}

/// Whether its clock is ours.
fn clock_of(headers: &HeaderMap, now: Timestamp) -> Option<Check> {
    Some(match compare_clocks(headers, now)? {
        Clocks::Agree => Check::good("clock", "it shows the time of this machine"),
        Clocks::Differ(theirs) => {
            let found = format!("it shows {theirs:.0}, and that of this machine {now:.0}");
            Check::finding("clock", found, SET_CLOCK)
        }
    })
}
