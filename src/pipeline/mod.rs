//! The road that every delivery takes: record, forward meanwhile, record the outcome, tell the observers.

mod hold;
mod left;
mod presence;
mod retry;

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::hold::{Hold, Refresh};
pub use self::left::{LAST_WORDS, OLD};
pub use self::presence::Presence;
use crate::bus::Bus;
use crate::forward::{Forward, Handed, Manner, Rest, WireAnswer};
use crate::model::{
    Attempt, Delivery, FailureKind, Incoming, Meanwhile, NotForwarded, Origin, Outcome, Request, Target,
    Then, Trouble, Update,
};
use crate::store::{Store, StoreError, Waiting};

/// A first attempt, and what is not recorded of it.
type Made = (Arc<Attempt>, WireAnswer, Option<Rest>);

/// How deliveries are handed over.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many are handed over at a time; further ones wait in the order of their arrival.
    pub parallel: usize,
    /// How often one that was not acknowledged is tried again by itself.
    pub retries: u32,
    /// Whether deliveries wait while their target is away.
    pub hold: bool,
}

/// A cloneable handle to the road.
#[derive(Clone)]
pub struct Pipeline(Arc<Road>);

#[derive(Clone)]
struct Road {
    store: Store,
    forward: Forward,
    bus: Bus,
    presence: Presence,
    hold: Option<Hold>,
    holds_when_away: bool,
    parallel: Arc<Semaphore>,
    retries: u32,
    retrying: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
    cut: CancellationToken,
}

/// The parts that a road is made of.
pub struct Parts {
    /// The record.
    pub store: Store,
    /// The HTTP client.
    pub forward: Forward,
    /// Who hears of it.
    pub bus: Bus,
    /// Lets deliveries wait, where they can.
    pub hold: Option<Hold>,
    /// What owns the deliveries under way.
    pub tasks: TaskTracker,
    /// Ends waiting for targets and retrying.
    pub stop: CancellationToken,
}

/// A delivery that is recorded, and was handed over or waits.
pub struct Delivered {
    /// The delivery with this attempt.
    pub delivery: Arc<Delivery>,
    /// What the wire said beyond the outcome.
    pub wire: WireAnswer,
    /// The rest of an answer that is longer than what is kept.
    pub rest: Option<Rest>,
    /// Resolves when the outcome is on disk as well.
    pub settled: oneshot::Receiver<()>,
}

/// Wants to hear a handler's answer before its delivery is recorded, if that has no more bytes than so many: whoever
/// keeps the delivery until then may pass it on.
pub struct Early {
    /// Where the answer goes.
    pub sender: oneshot::Sender<Answered>,
    /// How long its body may be.
    pub most_bytes: usize,
}

/// A handler's answer whose delivery is still being recorded.
pub struct Answered {
    /// What is kept of it, which is all.
    pub attempt: Arc<Attempt>,
    /// What the wire said beyond that.
    pub wire: WireAnswer,
    /// Resolves when the delivery is on disk; an error means that it could not be recorded.
    pub recorded: oneshot::Receiver<()>,
}

/// Where the news of a delivery goes.
type Ready = oneshot::Sender<Result<Delivered, StoreError>>;

impl Pipeline {
    /// A road of these parts.
    pub fn new(parts: Parts, settings: &Settings) -> Self {
        let Parts { store, forward, bus, hold, tasks, stop } = parts;
        let observers = bus.clone();
        store.tell(move |delivery| observers.publish(Update::Received(Arc::clone(delivery))));
        let meanwhile = if settings.hold { Meanwhile::Waits } else { Meanwhile::Fails };
        let presence = Presence::new(forward.clone(), bus.clone(), meanwhile, tasks.clone(), stop.clone());
        Self(Arc::new(Road {
            store,
            forward,
            bus,
            presence,
            hold,
            holds_when_away: settings.hold,
            parallel: Arc::new(Semaphore::new(settings.parallel)),
            retries: settings.retries,
            retrying: Arc::new(Semaphore::new(retry::MOST)),
            tasks,
            stop,
            cut: CancellationToken::new(),
        }))
    }

    /// The same road, on which requests leave in that manner.
    #[must_use]
    pub fn in_manner(&self, manner: Manner) -> Self {
        Self(Arc::new(Road { forward: self.0.forward.in_manner(manner), ..Road::clone(&self.0) }))
    }

    /// Goes on with the deliveries that wait since an earlier run; the targets that those are for.
    pub async fn resume(&self) -> Vec<Target> {
        let Some(hold) = &self.0.hold else { return Vec::new() };
        let targets = hold.awaited().inspect_err(|error| self.report(error)).unwrap_or_default();
        for target in &targets {
            self.close(hold, target).await;
        }
        targets
    }

    /// Whether the target was not there when it was last looked at.
    pub fn is_down(&self, target: &Target) -> bool {
        self.0.presence.is_down(target)
    }

    /// Whether deliveries wait until it is said that they go on.
    pub fn is_paused(&self) -> bool {
        self.0.presence.is_paused()
    }

    /// Lets deliveries wait from now on, or go on in their order.
    pub fn pause(&self, paused: bool) {
        self.0.presence.pause(paused);
    }

    /// Records a delivery and hands it to `target`.
    ///
    /// The two overlap, but this returns only when the delivery is on disk: whoever acknowledges it to the sender
    /// may rely on that, and whoever may not wait for it hears of an answer `early`. It goes on to its end even when the
    /// caller gives up.
    ///
    /// # Errors
    ///
    /// The delivery could not be recorded. A handler's failure is not an error but an outcome.
    pub async fn deliver(
        &self,
        incoming: Arc<Incoming>,
        target: Target,
        early: Option<Early>,
    ) -> Result<Delivered, StoreError> {
        let (ready, wait) = oneshot::channel();
        let this = self.clone();
        // In a box: a task moves what it runs, and this is large.
        self.0.tasks.spawn(Box::pin(this.run(incoming, target, early, ready)));
        wait.await.unwrap_or_else(|_ended| Err(self.0.store.closed()))
    }

    /// Records a delivery and hands it to `target` in a task of its own: returns when it is on disk, so that the next
    /// one comes after it. `until_over` is dropped when there is nothing more to do for it now.
    ///
    /// # Errors
    ///
    /// The delivery could not be recorded.
    pub async fn send_off(
        &self,
        incoming: Arc<Incoming>,
        target: Target,
        until_over: impl Send + 'static,
    ) -> Result<(), StoreError> {
        if let Some(held) = self.wait_if_closed(&incoming, &target).await {
            return held.map(drop);
        }
        let recorded = self.record(Arc::clone(&incoming)).await?;
        let this = self.clone();
        self.0.tasks.spawn(Box::pin(async move {
            let made = this.hand_over(&incoming, &target).await.into_attempt(1);
            // Nobody waits for the answer, only for its end.
            let (ready, _) = oneshot::channel();
            this.settle(incoming, recorded, target, made, ready).await;
            drop(until_over);
        }));
        Ok(())
    }

    /// Hands on a delivery that an earlier run recorded and no more, as [`deliver`](Self::deliver) does.
    pub async fn take_up(
        &self,
        incoming: Arc<Incoming>,
        recorded: Arc<Delivery>,
        target: Target,
    ) -> Result<Delivered, StoreError> {
        if let Some(held) = self.wait_behind_others(&incoming, &recorded, &target).await {
            return held.map(Delivered::waiting);
        }
        let (ready, wait) = oneshot::channel();
        let this = self.clone();
        self.0.tasks.spawn(Box::pin(async move {
            let made = this.hand_over(&incoming, &target).await.into_attempt(1);
            this.settle(incoming, recorded, target, made, ready).await;
        }));
        wait.await.unwrap_or_else(|_ended| Err(self.0.store.closed()))
    }

    /// Records a delivery that is not handed to any target; that too goes on when the caller gives up.
    pub async fn record_only(
        &self,
        incoming: Arc<Incoming>,
        why: NotForwarded,
    ) -> Result<Arc<Delivery>, StoreError> {
        let incoming = Arc::unwrap_or_clone(incoming);
        let incoming = Arc::new(Incoming { not_forwarded: Some(why), ..incoming });
        let this = self.clone();
        let recording = self.0.tasks.spawn(async move {
            let delivery = this.record(incoming).await?;
            this.0.bus.publish(Update::NotForwarded(Arc::clone(&delivery)));
            Ok(delivery)
        });
        recording.await.unwrap_or_else(|_ended| Err(self.0.store.closed()))
    }

    async fn run(self, incoming: Arc<Incoming>, target: Target, early: Option<Early>, ready: Ready) {
        if let Some(held) = self.wait_if_closed(&incoming, &target).await {
            // The caller may have left; the delivery waits all the same.
            drop(ready.send(held.map(Delivered::waiting)));
            return;
        }
        // Without a record there is nothing to answer with: the hand-over is given up, and the sender tries again.
        match self.record_meanwhile(&incoming, &target, early).await {
            Ok((delivery, made)) => self.settle(incoming, delivery, target, made, ready).await,
            // The caller may have left; nobody else needs to know.
            Err(error) => drop(ready.send(Err(error))),
        }
    }

    /// Records a delivery while it is handed over. Both are pinned where they stand, and so are those within: passing them on
    /// would copy their two kilobytes at each level.
    async fn record_meanwhile(
        &self,
        incoming: &Arc<Incoming>,
        target: &Target,
        early: Option<Early>,
    ) -> Result<(Arc<Delivery>, Made), StoreError> {
        let record = pin!(self.record(Arc::clone(incoming)));
        let hand_over = pin!(async {
            let mut made = self.hand_over(incoming, target).await.into_attempt(1);
            let recorded = early.and_then(|early| early.tell(&mut made));
            Ok((made, recorded))
        });
        let (delivery, (made, recorded)) = tokio::try_join!(record, hand_over)?;
        recorded.map(|recorded| recorded.send(()).ok());
        Ok((delivery, made))
    }

    /// Where a delivery has to wait for its target, if it has to: as long as what this gives is kept, the queue is not found
    /// empty.
    async fn queue_of(&self, target: &Target) -> Option<(&Hold, impl Sized)> {
        let hold = self.0.hold.as_ref()?;
        if self.0.presence.is_paused() {
            self.close(hold, target).await;
        }
        Some((hold, hold.closed(target).await?))
    }

    /// Records a delivery that has to wait for its target, if it has to.
    async fn wait_if_closed(
        &self,
        incoming: &Arc<Incoming>,
        target: &Target,
    ) -> Option<Result<Arc<Delivery>, StoreError>> {
        let (hold, _closed) = self.queue_of(target).await?;
        // In a box: few wait, and the others would carry the room for it along.
        let held = Box::pin(self.record_held(Arc::clone(incoming), target)).await;
        Some(held.inspect(|delivery| hold.keep(delivery.number, &incoming.outgoing().headers)))
    }

    /// Answers the caller, and puts the outcome on disk; the other way round when the answer promises more than that
    /// the delivery is recorded.
    async fn settle(
        &self,
        incoming: Arc<Incoming>,
        recorded: Arc<Delivery>,
        target: Target,
        made: Made,
        ready: Ready,
    ) {
        let (attempt, wire, rest) = made;
        self.0.presence.note(&target, &attempt.outcome);
        let waits = is_away(&attempt.outcome) || self.was_cut_off(&attempt.outcome);
        let to_hold = self.0.hold.as_ref().filter(|_| self.0.holds_when_away && waits);
        let held = to_hold.is_some();
        let delivery = Delivery { attempts: vec![Arc::clone(&attempt)], held, ..(*recorded).clone() };
        let delivery = Arc::new(delivery);
        let (settle, settled) = oneshot::channel();
        let delivered = Delivered { delivery: Arc::clone(&delivery), wire, rest, settled };
        if let Some(hold) = to_hold {
            let waiting = Waiting::For(target.clone());
            // Before it has its turn.
            hold.keep(delivery.number, &incoming.outgoing().headers);
            match self.0.store.record_attempt(delivery.number, attempt, waiting).await {
                Ok(()) => {
                    self.0.bus.publish(Update::Held(Arc::clone(&delivery)));
                    settle.send(()).ok();
                    drop(ready.send(Ok(delivered)));
                    self.close(hold, &target).await;
                }
                Err(error) => {
                    hold.forget(delivery.number);
                    self.report(&error);
                    drop(ready.send(Err(error)));
                }
            }
            return;
        }
        drop(ready.send(Ok(delivered)));
        let recorded = if is_ours(delivery.origin) {
            self.0.store.record_attempt(delivery.number, attempt, Waiting::AsBefore).await
        } else {
            self.0.store.record_attempt_later(delivery.number, attempt).await
        };
        if let Err(error) = recorded {
            self.report(&error);
        }
        let slot = self.slot(&delivery);
        let then = if slot.is_some() { Then::AgainIn(retry::pause(1)) } else { Then::Over };
        self.0.bus.publish(Update::Attempted(Arc::clone(&delivery), then));
        // Nobody waits for it unless the delivery is of our own making.
        settle.send(()).ok();
        if let Some(slot) = slot {
            Box::pin(self.retry(slot, incoming, delivery, target)).await;
        }
    }

    /// Lets deliveries to a target wait, and sees to it that they go on when it is back.
    async fn close(&self, hold: &Hold, target: &Target) {
        if !hold.close(target).await {
            return;
        }
        let (this, hold, target) = (self.clone(), hold.clone(), target.clone());
        self.0.tasks.spawn(async move { hold.drain(&this, &target).await });
    }

    /// Records a delivery, of which its observers hear at once.
    async fn record(&self, incoming: Arc<Incoming>) -> Result<Arc<Delivery>, StoreError> {
        self.0.store.record(incoming).await.inspect_err(|error| self.report(error))
    }

    /// Lets a delivery of an earlier run wait for its target, if it has to: the attempt of that run has failed.
    async fn wait_behind_others(
        &self,
        incoming: &Incoming,
        recorded: &Arc<Delivery>,
        target: &Target,
    ) -> Option<Result<Arc<Delivery>, StoreError>> {
        let (hold, _closed) = self.queue_of(target).await?;
        hold.keep(recorded.number, &incoming.outgoing().headers);
        let (attempt, ..) = left::attempt_of_earlier(recorded, target);
        let waiting = Waiting::For(target.clone());
        let held = self.0.store.record_attempt(recorded.number, Arc::clone(&attempt), waiting).await;
        let held = held.inspect_err(|error| {
            hold.forget(recorded.number);
            self.report(error);
        });
        Some(held.map(|()| {
            let held = Delivery { attempts: vec![attempt], held: true, ..(**recorded).clone() };
            let held = Arc::new(held);
            self.0.bus.publish(Update::Held(Arc::clone(&held)));
            held
        }))
    }

    async fn record_held(
        &self,
        incoming: Arc<Incoming>,
        target: &Target,
    ) -> Result<Arc<Delivery>, StoreError> {
        let recorded = self.0.store.record_held(incoming, target.clone()).await;
        recorded
            .inspect(|delivery| self.0.bus.publish(Update::Held(Arc::clone(delivery))))
            .inspect_err(|error| self.report(error))
    }

    async fn hand_over(&self, incoming: &Incoming, target: &Target) -> Handed {
        // What waited at a relay comes one by one, as it would have come.
        let _turn = match &incoming.relayed {
            Some(relayed) if relayed.late => Some(relayed.line.handler().await),
            _ => None,
        };
        let request = incoming.outgoing();
        // A relay sends again what it has no answer to.
        if incoming.relayed.is_some() {
            return self.send(target, &request).await;
        }
        let handed = self.hand_on(target, &request).await;
        handed.unwrap_or_else(|| left::handed_to_nobody(target, &request.path, incoming.received_at))
    }

    /// Sends a request, unless nobody waits for its answer any more.
    async fn hand_on(&self, target: &Target, request: &Request) -> Option<Handed> {
        self.0.cut.run_until_cancelled(self.send(target, request)).await
    }

    /// Sends a request when it is its turn.
    async fn send(&self, target: &Target, request: &Request) -> Handed {
        let _permit = self.0.parallel.acquire().await;
        self.0.forward.send(target, request).await
    }

    fn report(&self, error: &StoreError) {
        // It is sent again, and its user cannot do anything about it.
        if matches!(error, StoreError::OutOfTurn { .. }) {
            return;
        }
        let trouble = Trouble { code: "store", message: error.to_string(), hint: error.hint() };
        self.0.bus.publish(Update::Trouble(Arc::new(trouble)));
    }
}

/// Whether our own commands wait to read what became of it.
fn is_ours(origin: Origin) -> bool {
    match origin {
        Origin::Ingress | Origin::Tunnel => false,
        Origin::Trigger | Origin::Watch | Origin::Replay | Origin::Scenario | Origin::Api => true,
    }
}

/// Whether nobody was there: only then is it certain that a delivery was not seen by its handler.
fn is_away(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Answered(_) => false,
        Outcome::Failed(failure) => match failure.kind {
            FailureKind::Refused | FailureKind::Dns => true,
            // Whoever resets, stalls or talks nonsense is there.
            FailureKind::Timeout
            | FailureKind::Reset
            | FailureKind::Tls
            | FailureKind::TooLarge
            | FailureKind::Protocol => false,
        },
    }
}

impl Early {
    /// Tells of an answer, if it is one that can be told; who waits to hear that its delivery is recorded.
    fn tell(self, (attempt, wire, rest): &mut Made) -> Option<oneshot::Sender<()>> {
        match &attempt.outcome {
            Outcome::Answered(answer) if rest.is_none() && answer.body.len() <= self.most_bytes => {
                let (on_disk, recorded) = oneshot::channel();
                let answered =
                    Answered { attempt: Arc::clone(attempt), wire: std::mem::take(wire), recorded };
                self.sender.send(answered).ok().map(|()| on_disk)
            }
            Outcome::Answered(_) | Outcome::Failed(_) => None,
        }
    }
}

impl Delivered {
    fn waiting(delivery: Arc<Delivery>) -> Self {
        // It is settled as far as it can be.
        let (_, settled) = oneshot::channel();
        Self { delivery, wire: WireAnswer::default(), rest: None, settled }
    }
}

#[cfg(test)]
mod tests;
