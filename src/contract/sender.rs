//! The head of a request as each of Meeting BaaS's senders writes it: which fields, in which order, with which values.
//!
//! Sources: the Webhooks API page for preview; svix-server for v2; the open-source bot (axios 0.21) for the status
//! changes of v1, which the bot sends itself; the documentation for the API server behind the rest of v1, callbacks and
//! alerts, which names the authentication and `Content-Type`. A `User-Agent` that nobody documents is our own.

use crate::model::Contract;

/// One place in a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// A field that is always the same.
    Fixed(&'static str, &'static str),
    /// `Host`, in this spelling; without it, it comes first.
    Host(&'static str),
    /// The fields that authenticate the request.
    Authentication,
    /// `Content-Length`, in this spelling.
    Length(&'static str),
}

const OURS: &str = concat!("mbaas-dev/", env!("CARGO_PKG_VERSION"));

const PREVIEW: &[Slot] = &[
    Slot::Fixed("Content-Type", "application/json"),
    Slot::Fixed("Accept", "*/*"),
    Slot::Fixed("User-Agent", OURS),
    Slot::Authentication,
    Slot::Length("Content-Length"),
];

const SVIX: &[Slot] = &[
    Slot::Host("host"),
    Slot::Fixed("accept", "*/*"),
    Slot::Fixed("content-type", "application/json"),
    Slot::Authentication,
    // The server's version, which changes: this is one that was seen in 2026.
    Slot::Fixed("user-agent", "Svix-Webhooks/1.96.1"),
    Slot::Length("content-length"),
];

const API_SERVER: &[Slot] = &[
    Slot::Authentication,
    Slot::Fixed("content-type", "application/json"),
    Slot::Fixed("user-agent", OURS),
    Slot::Length("content-length"),
];

const BOT: &[Slot] = &[
    Slot::Fixed("Accept", "application/json, text/plain, */*"),
    Slot::Fixed("Content-Type", "application/json;charset=utf-8"),
    Slot::Fixed("User-Agent", "meetingbaas/1.0"),
    Slot::Authentication,
    Slot::Length("Content-Length"),
    Slot::Host("Host"),
];

/// The head that comes with an event.
pub fn head(contract: Contract, wire_event: Option<&str>) -> &'static [Slot] {
    match contract {
        Contract::Preview => PREVIEW,
        Contract::V2 => SVIX,
        Contract::V1 if wire_event == Some("bot.status_change") => BOT,
        Contract::V1 | Contract::Callback | Contract::Alert => API_SERVER,
    }
}

/// The methods that a contract's requests may have, the usual one first: only callbacks can be told to use another.
pub fn methods(contract: Contract) -> &'static [&'static str] {
    match contract {
        Contract::Callback => &["POST", "PUT"],
        Contract::Preview | Contract::V1 | Contract::V2 | Contract::Alert => &["POST"],
    }
}
