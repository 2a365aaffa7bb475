//! News for observers: small, and never the only copy of anything.

use std::sync::Arc;

use super::{Delivery, Target};

/// Something that observers want to hear about.
#[derive(Clone, Debug)]
pub enum Update {
    /// A delivery is on disk.
    Received(Arc<Delivery>),
    /// An attempt ended; it is the delivery's last one.
    Attempted(Arc<Delivery>),
    /// A delivery ended without an attempt, and why.
    NotForwarded(Arc<Delivery>, NotForwarded),
    /// A target is not there any more, and how that showed.
    TargetDown(Arc<Target>, Arc<str>),
    /// A target is there again.
    TargetUp(Arc<Target>),
    /// We could not do our part.
    Trouble(Arc<Trouble>),
}

/// Why a recorded delivery was not handed to any target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotForwarded {
    /// Its signature is not valid and `--verify strict` is on.
    Unverified,
    /// Nothing subscribes to its event type.
    Filtered,
    /// Its endpoint is not enabled, or has no handler on this machine.
    Disabled,
    /// There is no target.
    NoTarget,
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
