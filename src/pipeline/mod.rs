//! The road that every delivery takes: record, forward meanwhile, record the outcome, tell the observers.

mod presence;

use std::sync::Arc;

use http::Extensions;
use hyper::body::Incoming as AnswerBody;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::task::TaskTracker;

pub use self::presence::Presence;
use crate::bus::Bus;
use crate::forward::{Forward, Handed};
use crate::model::{Attempt, Delivery, Incoming, NotForwarded, Outcome, Target, Trouble, Update};
use crate::store::{Store, StoreError};

/// A cloneable handle to the road.
#[derive(Clone)]
pub struct Pipeline {
    store: Store,
    forward: Forward,
    bus: Bus,
    presence: Presence,
    parallel: Arc<Semaphore>,
    tasks: TaskTracker,
}

/// A delivery that is recorded and was handed over.
pub struct Delivered {
    /// The delivery with this attempt.
    pub delivery: Arc<Delivery>,
    /// What the wire said beyond status, headers and body.
    pub extensions: Extensions,
    /// The rest of an answer that is longer than what is kept.
    pub rest: Option<AnswerBody>,
    /// Resolves when the outcome is on disk as well.
    pub settled: oneshot::Receiver<()>,
}

impl Pipeline {
    /// A road over these parts; at most `parallel` requests are handed over at a time, and further ones wait in
    /// the order of their arrival. Deliveries under way belong to `tasks`.
    pub fn new(
        store: Store,
        forward: Forward,
        bus: Bus,
        presence: Presence,
        parallel: usize,
        tasks: TaskTracker,
    ) -> Self {
        Self { store, forward, bus, presence, parallel: Arc::new(Semaphore::new(parallel)), tasks }
    }

    /// Records a delivery and hands it to `target`.
    ///
    /// The two overlap, but this returns only when the delivery is on disk: whoever acknowledges it to the sender
    /// may rely on that. It goes on to its end even when the caller gives up.
    ///
    /// # Errors
    ///
    /// The delivery could not be recorded. A handler's failure is not an error but an outcome.
    pub async fn deliver(&self, incoming: Incoming, target: Target) -> Result<Delivered, StoreError> {
        let (ready, wait) = oneshot::channel();
        let this = self.clone();
        self.tasks.spawn(async move { this.run(incoming, target, ready).await });
        wait.await.unwrap_or_else(|_ended| Err(self.store.closed()))
    }

    /// Records a delivery that is not handed to any target.
    pub async fn record_only(
        &self,
        incoming: Incoming,
        why: NotForwarded,
    ) -> Result<Arc<Delivery>, StoreError> {
        let delivery = self.record(Arc::new(incoming)).await?;
        self.bus.publish(Update::NotForwarded(Arc::clone(&delivery), why));
        Ok(delivery)
    }

    async fn run(
        self,
        incoming: Incoming,
        target: Target,
        ready: oneshot::Sender<Result<Delivered, StoreError>>,
    ) {
        let incoming = Arc::new(incoming);
        let record = self.record(Arc::clone(&incoming));
        let hand_over = async { Ok(self.hand_over(&incoming, &target).await) };
        // Without a record there is nothing to answer with: the hand-over is given up, and the sender tries again.
        let (recorded, handed) = match tokio::try_join!(record, hand_over) {
            Ok(both) => both,
            Err(error) => {
                // The caller may have left; nobody else needs to know.
                drop(ready.send(Err(error)));
                return;
            }
        };
        let Handed { url, started_at, duration, outcome, extensions, rest } = handed;
        let attempt = Attempt { number: 1, target: url, started_at, duration, outcome };
        let delivery = Arc::new(Delivery { attempts: vec![attempt.clone()], ..(*recorded).clone() });
        let (settle, settled) = oneshot::channel();
        drop(ready.send(Ok(Delivered { delivery: Arc::clone(&delivery), extensions, rest, settled })));
        if let Err(error) = self.store.record_attempt(delivery.number, Arc::new(attempt)).await {
            self.report(&error);
        }
        if let Some(attempt) = delivery.last_attempt() {
            self.presence.note(&target, &attempt.outcome);
        }
        self.bus.publish(Update::Attempted(delivery));
        // Nobody waits for it unless the delivery is of our own making.
        settle.send(()).ok();
    }

    async fn record(&self, incoming: Arc<Incoming>) -> Result<Arc<Delivery>, StoreError> {
        match self.store.record(Arc::clone(&incoming)).await {
            Ok(number) => {
                let delivery = Arc::new(Delivery::recorded(&incoming, number));
                self.bus.publish(Update::Received(Arc::clone(&delivery)));
                Ok(delivery)
            }
            Err(error) => {
                self.report(&error);
                Err(error)
            }
        }
    }

    async fn hand_over(&self, incoming: &Incoming, target: &Target) -> Handed {
        let _permit = self.parallel.acquire().await;
        self.forward.send(target, &incoming.request).await
    }

    fn report(&self, error: &StoreError) {
        let trouble = Trouble { code: "store", message: error.to_string(), hint: error.hint() };
        self.bus.publish(Update::Trouble(Arc::new(trouble)));
    }
}

impl Delivered {
    /// What came of handing it over.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.delivery.last_attempt().map(|attempt| &attempt.outcome)
    }
}
