//! A delivery: one webhook request as it reached us or as we made it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::{Attempt, Clock, Contract, EventType, Headers, Relayed};

/// The id of a delivery: `dlv_` and 32 hexadecimal digits that sort by time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId(Arc<str>);

impl DeliveryId {
    /// A new id.
    pub fn new(clock: &Clock) -> Self {
        Self(format!("dlv_{}", clock.sortable_uuid().simple()).into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DeliveryId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("dlv_").unwrap_or_default();
        if digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Ok(Self(text.into()));
        }
        Err(format!(
            "`{}` is not a delivery id, which is `dlv_` and 32 hexadecimal digits",
            text.escape_debug()
        ))
    }
}

/// Declares an enum of unit variants with one text each, and both ways between them.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type { $($(#[$variant_doc])* $variant,)+ }

        impl $type {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name used in JSON, on the command line and in the store.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The value with that name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
pub(super) use named;

named! {
    /// How a delivery came to be.
    Origin {
        /// It came in over HTTP.
        Ingress = "ingress",
        /// It came in through a tunnel.
        Tunnel = "tunnel",
        /// `trigger` made it.
        Trigger = "trigger",
        /// A watched fixture file was saved.
        Watch = "watch",
        /// A recorded delivery was sent again.
        Replay = "replay",
        /// A scenario made it.
        Scenario = "scenario",
        /// The simulated API made it.
        Api = "api",
    }
}

named! {
    /// What checking the signature gave.
    Verdict {
        /// The signature fits the secret.
        Valid = "valid",
        /// There is a signature and it does not fit.
        Invalid = "invalid",
        /// There is no signature where the contract has one.
        Missing = "missing",
        /// Nothing was checked.
        Unchecked = "unchecked",
    }
}

named! {
    /// Why a recorded delivery was not handed to any target.
    NotForwarded {
        /// Its signature is not valid and `--verify strict` is on.
        Unverified = "signature",
        /// Nothing subscribes to its event type.
        Filtered = "filtered",
        /// Its endpoint is not enabled, or has no handler on this machine.
        Disabled = "disabled",
        /// There is no target.
        NoTarget = "no_target",
        /// Its sender broke off before its body was complete.
        Incomplete = "incomplete",
        /// It came through a relay and its body is larger than what is taken: it is recorded without it.
        TooLarge = "too_large",
    }
}

/// A webhook request on its way in, before it is recorded.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The id it will be recorded under.
    pub id: DeliveryId,
    /// When it arrived.
    pub received_at: Timestamp,
    /// How it came to be.
    pub origin: Origin,
    /// The delivery that this one repeats.
    pub replay_of: Option<DeliveryId>,
    /// What it is, as far as it was recognised.
    pub kind: Kind,
    /// What checking its signature gave.
    pub signature: Verdict,
    /// Why it is not valid, in one sentence, where that was found out. It says nothing of any secret.
    pub signature_note: Option<Arc<str>>,
    /// Why it is handed to nobody.
    pub not_forwarded: Option<NotForwarded>,
    /// How it came through a relay.
    pub relayed: Option<Relayed>,
    /// The request itself.
    pub request: Request,
}

impl Incoming {
    /// The request as its handler gets it: what came through a relay may go on with a fresh signature.
    pub fn outgoing(&self) -> Cow<'_, Request> {
        match self.relayed.as_ref().and_then(|relayed| relayed.sent_on_with.as_ref()) {
            None => Cow::Borrowed(&self.request),
            Some(headers) => Cow::Owned(Request { headers: headers.clone(), ..self.request.clone() }),
        }
    }
}

#[cfg(test)]
impl Incoming {
    /// One that comes from outside now, for tests: `POST /` without headers and body, of which nothing was checked.
    pub fn plain(clock: &Clock) -> Self {
        let request = Request {
            method: "POST".to_owned(),
            path: "/".to_owned(),
            headers: Headers::new(),
            body: Bytes::new(),
            trailers: Headers::new(),
        };
        Self {
            id: DeliveryId::new(clock),
            received_at: clock.now(),
            origin: Origin::Ingress,
            replay_of: None,
            kind: Kind::default(),
            signature: Verdict::Unchecked,
            signature_note: None,
            not_forwarded: None,
            relayed: None,
            request,
        }
    }
}

/// What a request is, as far as it was recognised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// The contract it follows.
    pub contract: Option<Contract>,
    /// The name that a user subscribes to.
    pub event_type: Option<EventType>,
    /// The value of `event` in the body.
    pub wire_event: Option<String>,
}

/// An HTTP request, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method, as written.
    pub method: String,
    /// Path and query, starting with `/`.
    pub path: String,
    /// The end-to-end headers, in order, with `Host` and `Content-Length` as the sender wrote them.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
    /// The fields behind a body that came in chunks. They are never taken for headers, and never forwarded.
    pub trailers: Headers,
}

/// A recorded delivery with its attempts, oldest first, without bodies and headers.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// Its number within the store, counting from 1.
    pub number: i64,
    /// When it arrived.
    pub received_at: Timestamp,
    /// How it came to be.
    pub origin: Origin,
    /// The delivery that this one repeats.
    pub replay_of: Option<DeliveryId>,
    /// What it is.
    pub kind: Kind,
    /// What checking its signature gave.
    pub signature: Verdict,
    /// Why it is not valid, in one sentence, where that was found out.
    pub signature_note: Option<Arc<str>>,
    /// The method, as written.
    pub method: String,
    /// Path and query, starting with `/`.
    pub path: String,
    /// The length of the body in bytes.
    pub body_bytes: u64,
    /// Why it was handed to nobody.
    pub not_forwarded: Option<NotForwarded>,
    /// When it reached a relay, if it had to wait there for somebody to take it.
    pub late_since: Option<Timestamp>,
    /// Whether it waits for its target to come back.
    pub held: bool,
    /// What became of it, oldest first.
    pub attempts: Vec<Arc<Attempt>>,
}

impl Delivery {
    /// The delivery that `incoming` becomes once it is recorded as `number`.
    pub fn recorded(incoming: &Incoming, number: i64) -> Self {
        Self {
            id: incoming.id.clone(),
            number,
            received_at: incoming.received_at,
            origin: incoming.origin,
            replay_of: incoming.replay_of.clone(),
            kind: incoming.kind.clone(),
            signature: incoming.signature,
            signature_note: incoming.signature_note.clone(),
            method: incoming.request.method.clone(),
            path: incoming.request.path.clone(),
            body_bytes: incoming.request.body.len() as u64,
            not_forwarded: incoming.not_forwarded,
            late_since: incoming.relayed.as_ref().and_then(Relayed::late_since),
            held: false,
            attempts: Vec::new(),
        }
    }

    /// The newest attempt.
    pub fn last_attempt(&self) -> Option<&Attempt> {
        self.attempts.last().map(AsRef::as_ref)
    }

    /// Whether the newest attempt was acknowledged.
    pub fn is_acknowledged(&self) -> bool {
        self.last_attempt().is_some_and(|last| last.outcome.is_acknowledged())
    }
}
