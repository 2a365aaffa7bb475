//! Hands the outcomes of a transaction to those who wait for them, and wakes their runtime once, not once for each.
//!
//! Waking a task of another thread's runtime costs a system call. So the writer leaves all outcomes here and wakes one
//! waiter; that one, on the runtime's own thread, hands out the rest, which costs nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::StoreError;

/// What came of a job: the number of its delivery.
type Outcome = Result<i64, StoreError>;

/// Where the outcome of a job goes.
pub(super) type Reply = oneshot::Sender<Outcome>;

/// A cloneable handle to the outcomes that are ready and not yet handed out.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox(Arc<Mutex<VecDeque<(Reply, Outcome)>>>);

/// Waits for one outcome. Whether it gets it or gives up, it hands out what it finds first; so whoever holds one must
/// poll it when woken, or drop it.
#[derive(Debug)]
pub(super) struct Wait {
    outcome: oneshot::Receiver<Outcome>,
    outbox: Outbox,
}

impl Outbox {
    /// Takes outcomes in, and wakes the first one, who hands them out in their order.
    pub(super) fn send(&self, mut outcomes: impl Iterator<Item = (Reply, Outcome)>) {
        let Some((mut reply, mut outcome)) = outcomes.next() else { return };
        self.ready().extend(outcomes);
        // Whoever has given up cannot be woken: the next one is, until there is none.
        while let Err(_unheard) = reply.send(outcome) {
            let Some(next) = self.ready().pop_front() else { return };
            (reply, outcome) = next;
        }
    }

    /// The way back for a job, and the wait for it.
    pub(super) fn wait(&self) -> (Reply, Wait) {
        let (reply, outcome) = oneshot::channel();
        (reply, Wait { outcome, outbox: self.clone() })
    }

    fn hand_out(&self) {
        let ready = std::mem::take(&mut *self.ready());
        for (reply, outcome) in ready {
            // Nobody may be waiting any more, which is all the same here.
            reply.send(outcome).ok();
        }
    }

    fn ready(&self) -> std::sync::MutexGuard<'_, VecDeque<(Reply, Outcome)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wait {
    /// The outcome; `None` when the writer ended without one.
    pub(super) async fn outcome(&mut self) -> Option<Outcome> {
        (&mut self.outcome).await.ok()
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        // First: who is still thought to be waiting may be the one who is woken for all.
        self.outcome.close();
        self.outbox.hand_out();
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::*;

    #[tokio::test]
    async fn everybody_gets_an_outcome_whoever_gives_up() {
        for given_up in 0..8_usize {
            let outbox = Outbox::default();
            let (replies, mut waits): (Vec<_>, Vec<_>) = (0..3).map(|_| outbox.wait()).unzip();
            let mut position = 0;
            waits.retain(|_| {
                position += 1;
                given_up & (1 << (position - 1)) == 0
            });
            let tasks = TaskTracker::new();
            outbox.send(replies.into_iter().zip((1..).map(Ok)));
            let tasks: Vec<_> = waits
                .into_iter()
                .map(|mut wait| tasks.spawn(async move { wait.outcome().await.unwrap().unwrap() }))
                .collect();
            let mut heard = Vec::new();
            for task in tasks {
                heard.push(task.await.unwrap());
            }
            let expected: Vec<i64> =
                (0..3).filter(|bit| given_up & (1 << bit) == 0).map(|bit| bit + 1).collect();
            assert_eq!(heard, expected);
        }
    }

    #[test]
    fn whoever_gives_up_at_that_very_moment_leaves_nobody_waiting() {
        for _ in 0..20_000 {
            let outbox = Outbox::default();
            let (replies, mut waits): (Vec<_>, Vec<_>) = (0..2).map(|_| outbox.wait()).unzip();
            let (stays, leaves) = (waits.pop().unwrap(), waits.pop().unwrap());
            let together = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    together.wait();
                    drop(leaves);
                });
                together.wait();
                outbox.send(replies.into_iter().zip((1..).map(Ok)));
            });
            let mut stays = stays;
            assert_eq!(stays.outcome.try_recv().unwrap().unwrap(), 2);
        }
    }
}
