//! Whether a relay can be used, looked at as a `listen` and a sender would: from outside, over whatever stands before it.

mod obstacle;
mod outside;
mod through;

use super::Check;
use crate::model::{Clock, Secret};
use crate::sources::tunnel::RelayUrl;

/// What was found.
#[derive(Debug)]
pub struct Examined {
    /// One thing after the other.
    pub checks: Vec<Check>,
    /// Whether a `listen` could have a tunnel.
    pub is_usable: bool,
}

/// Looks at a relay. A channel is made there for it, and given up in the end.
pub async fn examine(relay: &RelayUrl, access: Option<Secret>, clock: &Clock) -> Examined {
    let mut checks = match outside::connection(relay, clock).await {
        Ok(checks) => checks,
        Err(check) => return Examined { checks: vec![check], is_usable: false },
    };
    let (health, limits) = outside::health(relay, clock).await;
    checks.extend(health);
    let is_usable = match through::Tunnel::open(relay, access, clock).await {
        Ok(tunnel) => {
            checks.extend(tunnel.examine(limits).await);
            true
        }
        Err(check) => {
            checks.push(check);
            false
        }
    };
    Examined { checks, is_usable }
}
