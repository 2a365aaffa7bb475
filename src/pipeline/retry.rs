//! `--retry N`: what was not acknowledged is tried again by itself, with longer and longer pauses.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::SemaphorePermit;

use super::Pipeline;
use crate::model::{Delivery, Incoming, Target, Then, Update};
use crate::store::Waiting;

/// How many deliveries may wait for a retry at a time: each is in memory with its body.
pub const MOST: usize = 256;

/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The right to be tried again: there are so many, and no more.
pub struct Slot<'a>(SemaphorePermit<'a>);

impl Pipeline {
    /// Whether a delivery is tried again. With too many waiting already, it is left to `replay --failed`.
    pub(super) fn slot(&self, delivery: &Delivery) -> Option<Slot<'_>> {
        if self.0.retries == 0 || delivery.is_acknowledged() {
            return None;
        }
        self.0.retrying.try_acquire().ok().map(Slot)
    }

    /// Tries a delivery again until it is acknowledged or the number of retries is used up.
    pub(super) async fn retry(
        &self,
        slot: Slot<'_>,
        incoming: Arc<Incoming>,
        delivery: Arc<Delivery>,
        target: Target,
    ) {
        let mut delivery = delivery;
        for retry in 1..=self.0.retries {
            let wait = async {
                tokio::time::sleep(pause(retry)).await;
                self.0.presence.until_resumed().await;
            };
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                () = wait => {}
            }
            let handed = self.hand_over(&incoming, &target).await;
            let (attempt, ..) = handed.into_attempt(retry.saturating_add(1));
            self.0.presence.note(&target, &attempt.outcome);
            let mut attempts = delivery.attempts.clone();
            attempts.push(Arc::clone(&attempt));
            delivery = Arc::new(Delivery { attempts, ..Delivery::clone(&delivery) });
            let recorded = self.0.store.record_attempt(delivery.number, attempt, Waiting::AsBefore).await;
            if let Err(error) = recorded {
                self.report(&error);
            }
            let is_over = delivery.is_acknowledged() || retry == self.0.retries;
            let then = if is_over { Then::Over } else { Then::AgainIn(pause(retry + 1)) };
            self.0.bus.publish(Update::Attempted(Arc::clone(&delivery), then));
            if is_over {
                break;
            }
        }
        drop(slot.0);
    }
}

/// The pause before the n-th retry.
pub(super) fn pause(retry: u32) -> Duration {
    let factor = 1_u32.checked_shl(retry.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let seconds: Vec<u64> = [1, 2, 3, 6, 7, 40].map(|retry| pause(retry).as_secs()).to_vec();
        assert_eq!(seconds, [1, 2, 4, 32, 60, 60]);
    }
}
