//! News for observers: small, and never the only copy of anything.

use std::sync::Arc;
use std::time::Duration;

use super::{Delivery, DeliveryId, NotForwarded, Target};

/// Something that observers want to hear about.
#[derive(Clone, Debug)]
pub enum Update {
    /// A watched fixture was saved: it becomes the delivery of that id. The file, from the watched folder on.
    Fired(DeliveryId, Arc<str>),
    /// A delivery is on disk.
    Received(Arc<Delivery>),
    /// An attempt ended; it is the delivery's last one so far.
    Attempted(Arc<Delivery>, Then),
    /// A delivery ended without an attempt; it says why.
    NotForwarded(Arc<Delivery>),
    /// A delivery waits for its target to come back.
    Held(Arc<Delivery>),
    /// A target is not there any more, how that showed, and what becomes of what comes meanwhile.
    TargetDown(Arc<Target>, Arc<str>, Meanwhile),
    /// A target is there again.
    TargetUp(Arc<Target>),
    /// The tunnel is open again: the URL that it is reached by, and how many deliveries wait at the relay.
    TunnelUp(Arc<str>, u64),
    /// The tunnel is down.
    TunnelDown(Arc<TunnelLoss>),
    /// We could not do our part.
    Trouble(Arc<Trouble>),
}

/// What becomes of a delivery after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing more, whatever came of it.
    Over,
    /// It is tried again by itself, after so long.
    AgainIn(Duration),
}

/// What becomes of deliveries while their target is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meanwhile {
    /// They are recorded, and fail.
    Fails,
    /// They wait, and go on when it is back.
    Waits,
}

impl Update {
    /// Whether whoever wants to see failures only wants to see it.
    pub fn is_of_failure(&self) -> bool {
        match self {
            Self::Attempted(delivery, _) => !delivery.is_acknowledged(),
            Self::NotForwarded(delivery) => {
                matches!(
                    delivery.not_forwarded,
                    Some(NotForwarded::Unverified | NotForwarded::Incomplete | NotForwarded::TooLarge)
                )
            }
            Self::TargetDown(..)
            | Self::TargetUp(_)
            | Self::TunnelDown(_)
            | Self::TunnelUp(..)
            | Self::Trouble(_) => true,
            Self::Fired(..) | Self::Received(_) | Self::Held(_) => false,
        }
    }

    /// The update with no more of handlers' answers than observers show: many wait for a slow one.
    #[must_use]
    pub fn at_a_glance(self) -> Self {
        let glance = |delivery: Arc<Delivery>| {
            if !delivery.attempts.iter().any(|attempt| attempt.is_long()) {
                return delivery;
            }
            let attempts = delivery.attempts.iter().map(|attempt| Arc::new(attempt.at_a_glance())).collect();
            Arc::new(Delivery { attempts, ..Delivery::clone(&delivery) })
        };
        match self {
            Self::Attempted(delivery, then) => Self::Attempted(glance(delivery), then),
            other => other,
        }
    }
}

/// How a tunnel was lost, or could not be opened.
#[derive(Clone, Debug)]
pub struct TunnelLoss {
    /// Why.
    pub why: String,
    /// When it is tried again.
    pub again_in: Duration,
    /// Whether that was not known yet.
    pub is_news: bool,
    /// Whether we have a channel at the relay, in which it keeps what comes.
    pub has_channel: bool,
}

/// What a tunnel is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelStatus {
    /// Whether anything comes through it.
    pub state: TunnelState,
    /// The URL that it is reached by, once that is known; the relay keeps what comes to it while the tunnel is down.
    pub public: Option<String>,
    /// Why it is not open.
    pub why: Option<String>,
}

/// Whether anything comes through a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelState {
    /// It is open.
    Open,
    /// It is down, and tried again.
    Reconnecting,
    /// It stays closed: another `listen` has it.
    Closed,
}

impl TunnelState {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Reconnecting => "reconnecting",
            Self::Closed => "closed",
        }
    }
}

/// Trouble of our own.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// For programs: `store`, `body_too_large`, …
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}
