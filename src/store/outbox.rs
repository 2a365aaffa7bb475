//! Hands the outcomes of transactions to those who wait for them, in their order, and wakes their runtime once, not once for
//! each.
//!
//! Waking a task of another thread's runtime costs a system call. So the writer leaves all outcomes here and wakes one
//! waiter; that one, on the runtime's own thread, hands out the rest, which costs nothing. Until it has done so, what comes
//! is left for it as well.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::oneshot;

use super::StoreError;
use crate::model::Delivery;

/// What came of a job: its delivery, if it was one.
pub(super) type Outcome = Result<Option<Arc<Delivery>>, StoreError>;

/// Where the outcome of a job goes.
pub(super) type Reply = oneshot::Sender<Call>;

/// Who hears of every delivery that is on disk.
type Tell = Box<dyn Fn(&Arc<Delivery>) + Send + Sync>;

/// A cloneable handle to the outcomes that are ready and not yet handed out.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox(Arc<Parts>);

#[derive(Default)]
struct Parts {
    /// As long as there are any, somebody is on the way to hand them out.
    ready: Mutex<VecDeque<(To, Outcome)>>,
    tell: OnceLock<Tell>,
}

/// Whose outcome it is.
enum To {
    /// That of somebody who waits.
    Waiter(Reply),
    /// That of whoever hands out the others.
    Leader,
    /// That of somebody who has given up.
    Nobody,
}

/// What somebody who waits is told.
#[derive(Debug)]
pub(super) enum Call {
    /// The outcome.
    Outcome(Outcome),
    /// It is ready, and so are those of others: hand them out.
    Lead,
}

/// Waits for one outcome. Whether it hears of it or gives up, it may have to hand out all; so whoever holds one must poll it
/// when woken, or drop it.
#[derive(Debug)]
pub(super) struct Wait {
    call: oneshot::Receiver<Call>,
    outbox: Outbox,
}

impl Outbox {
    /// Tells somebody of every delivery that is on disk, in their order, before whoever waits for it goes on. Only the first
    /// one is told.
    pub(super) fn tell(&self, tell: impl Fn(&Arc<Delivery>) + Send + Sync + 'static) {
        // Another one is told already.
        self.0.tell.set(Box::new(tell)).ok();
    }

    /// Takes outcomes in, and wakes one who hands them out in their order, unless one is on the way.
    pub(super) fn send(&self, outcomes: impl Iterator<Item = (Reply, Outcome)>) {
        let mut ready = self.ready();
        let is_led = !ready.is_empty();
        ready.extend(outcomes.map(|(reply, outcome)| (To::Waiter(reply), outcome)));
        if is_led {
            return;
        }
        for (to, _) in ready.iter_mut() {
            // Whoever has given up cannot be woken: the next one is, until there is none.
            if let To::Waiter(reply) = std::mem::replace(to, To::Nobody)
                && reply.send(Call::Lead).is_ok()
            {
                *to = To::Leader;
                return;
            }
        }
        drop(ready);
        self.hand_out();
    }

    /// The way back for a job, and the wait for it.
    pub(super) fn wait(&self) -> (Reply, Wait) {
        let (reply, call) = oneshot::channel();
        (reply, Wait { call, outbox: self.clone() })
    }

    /// Hands out all that there is; the outcome of the leader, if it is among them.
    fn hand_out(&self) -> Option<Outcome> {
        let outcomes = std::mem::take(&mut *self.ready());
        let mut own = None;
        for (to, outcome) in outcomes {
            if let (Ok(Some(delivery)), Some(tell)) = (&outcome, self.0.tell.get()) {
                tell(delivery);
            }
            match to {
                // It may have given up by now, which is all the same here.
                To::Waiter(reply) => drop(reply.send(Call::Outcome(outcome))),
                To::Leader => own = Some(outcome),
                To::Nobody => {}
            }
        }
        own
    }

    fn ready(&self) -> MutexGuard<'_, VecDeque<(To, Outcome)>> {
        self.0.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
}

impl Wait {
    /// The outcome; `None` when the writer ended without one.
    pub(super) async fn outcome(&mut self) -> Option<Outcome> {
        match (&mut self.call).await.ok()? {
            Call::Outcome(outcome) => Some(outcome),
            Call::Lead => self.outbox.hand_out(),
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        // First: who is still thought to be waiting may be told to lead.
        self.call.close();
        if let Ok(Call::Lead) = self.call.try_recv() {
            self.outbox.hand_out();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use tokio::time::timeout;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::model::{Clock, Incoming};

    /// As many as are asked for, from 1.
    fn outcomes() -> impl Iterator<Item = Outcome> {
        let incoming = Incoming::plain(&Clock::fixed(Timestamp::UNIX_EPOCH, 1));
        (1..).map(move |number| Ok(Some(Arc::new(Delivery::recorded(&incoming, number)))))
    }

    fn number(outcome: Option<Outcome>) -> i64 {
        outcome.unwrap().unwrap().unwrap().number
    }

    /// However many transactions come before any of those who wait is awake.
    #[tokio::test]
    async fn deliveries_are_told_in_their_order_before_anybody_goes_on() {
        for transactions in [[1, 1, 6], [3, 4, 1], [8, 0, 0], [2, 3, 3]] {
            let (outbox, told) = (Outbox::default(), Arc::new(Mutex::new(Vec::new())));
            let teller = Arc::clone(&told);
            outbox.tell(move |delivery| teller.lock().unwrap().push(delivery.number));
            let tasks = TaskTracker::new();
            let mut replies = VecDeque::new();
            let waiting: Vec<_> = (1..=8)
                .map(|own| {
                    let (reply, mut wait) = outbox.wait();
                    replies.push_back(reply);
                    let told = Arc::clone(&told);
                    tasks.spawn(async move {
                        assert_eq!(number(wait.outcome().await), own);
                        assert!(told.lock().unwrap().contains(&own));
                    })
                })
                .collect();
            tokio::task::yield_now().await;
            let mut outcomes = outcomes();
            for many in transactions {
                outbox.send(replies.drain(..many).zip(&mut outcomes));
            }
            for task in waiting {
                task.await.unwrap();
            }
            assert_eq!(*told.lock().unwrap(), (1..=8).collect::<Vec<_>>());
        }
    }

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
            outbox.send(replies.into_iter().zip(outcomes()));
            let tasks: Vec<_> = waits
                .into_iter()
                .map(|mut wait| tasks.spawn(async move { number(wait.outcome().await) }))
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
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for _ in 0..20_000 {
            let outbox = Outbox::default();
            let (replies, mut waits): (Vec<_>, Vec<_>) = (0..2).map(|_| outbox.wait()).unzip();
            let (mut stays, leaves) = (waits.pop().unwrap(), waits.pop().unwrap());
            let together = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    together.wait();
                    drop(leaves);
                });
                together.wait();
                outbox.send(replies.into_iter().zip(outcomes()));
            });
            let heard = runtime.block_on(async { timeout(Duration::from_secs(5), stays.outcome()).await });
            assert_eq!(number(heard.unwrap()), 2);
        }
    }
}
