//! Notices that a relay which nobody could connect to is there again, long before the next try to open a tunnel is due.
//!
//! Trying costs a relay something: TLS, a look into its store, a new owner on disk. That is what the pauses between tries
//! are for. A connection that is closed at once costs next to nothing, and a host where nobody listens even less.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::RelayUrl;
use crate::forward;
use crate::model::Clock;

/// How long to wait between two looks at the most, and for an answer to each.
const LOOK_EVERY: Duration = Duration::from_millis(800);

/// Waits until somebody takes connections there. Of those who wait for the same relay, each looks at times of its own.
pub async fn somebody_answers(relay: &RelayUrl, clock: &Clock) {
    loop {
        sleep(LOOK_EVERY.mul_f64(0.5 + clock.chance() / 2.0)).await;
        if timeout(LOOK_EVERY, forward::is_there(relay.target())).await == Ok(true) {
            return;
        }
    }
}
