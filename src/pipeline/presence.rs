//! Whether each target is there: its going and its coming back are told once. Whether anything is handed over at all
//! just now is known here as well, since both are waited for together.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::is_away;
use crate::bus::Bus;
use crate::forward::Forward;
use crate::model::{Meanwhile, Outcome, Place, Target, Update};

/// How long to wait before the first look whether a target is back.
const FIRST_LOOK: Duration = Duration::from_millis(250);

/// How long to wait between looks at the most.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// A cloneable handle to what is known.
#[derive(Clone)]
pub struct Presence(Arc<Parts>);

struct Parts {
    down: Mutex<HashSet<Place>>,
    forward: Forward,
    bus: Bus,
    meanwhile: Meanwhile,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Changes when some target comes back, or when forwarding goes on.
    came_back: watch::Sender<()>,
    paused: AtomicBool,
}

impl Presence {
    /// Every target counts as there until it is seen not to be. Looks run in `tasks` until `stop` is cancelled.
    pub fn new(
        forward: Forward,
        bus: Bus,
        meanwhile: Meanwhile,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let came_back = watch::Sender::new(());
        Self(Arc::new(Parts {
            down: Mutex::default(),
            forward,
            bus,
            meanwhile,
            tasks,
            stop,
            came_back,
            paused: AtomicBool::new(false),
        }))
    }

    /// Takes note of what came of an attempt.
    pub fn note(&self, target: &Target, outcome: &Outcome) {
        match outcome {
            Outcome::Answered(_) => self.came_back(target),
            Outcome::Failed(failure) if is_away(outcome) => self.went_away(target, &failure.detail),
            Outcome::Failed(_) => {}
        }
    }

    /// Whether the target was not there when it was last looked at.
    pub fn is_down(&self, target: &Target) -> bool {
        self.down().contains(target.place())
    }

    /// Whether nothing is handed over until it is said to go on.
    pub fn is_paused(&self) -> bool {
        self.0.paused.load(Ordering::Relaxed)
    }

    /// Pauses, or goes on.
    pub fn pause(&self, paused: bool) {
        self.0.paused.store(paused, Ordering::Relaxed);
        self.0.came_back.send_replace(());
    }

    /// Waits until the target is there, as far as is known, and nothing is paused.
    pub async fn until_up(&self, target: &Target) {
        self.while_it_holds(|| self.is_paused() || self.is_down(target)).await;
    }

    /// Waits until nothing is paused.
    pub async fn until_resumed(&self) {
        self.while_it_holds(|| self.is_paused()).await;
    }

    async fn while_it_holds(&self, condition: impl Fn() -> bool) {
        let mut came_back = self.0.came_back.subscribe();
        while condition() {
            // The sender is part of what this is a handle to.
            drop(came_back.changed().await);
        }
    }

    fn went_away(&self, target: &Target, detail: &str) {
        if !self.down().insert(target.place().clone()) {
            return;
        }
        let down = Arc::new(target.clone());
        self.0.bus.publish(Update::TargetDown(down, detail.into(), self.0.meanwhile));
        let (this, target) = (self.clone(), target.clone());
        self.0.tasks.spawn(async move {
            let stop = this.0.stop.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                () = this.look_until_back(&target) => {}
            }
        });
    }

    fn came_back(&self, target: &Target) {
        let mut down = self.down();
        // Nearly always nobody is down, and this is asked with every answer.
        if down.is_empty() || !down.remove(target.place()) {
            return;
        }
        drop(down);
        self.0.bus.publish(Update::TargetUp(Arc::new(target.clone())));
        self.0.came_back.send_replace(());
    }

    async fn look_until_back(&self, target: &Target) {
        let mut wait = FIRST_LOOK;
        while self.is_down(target) {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
            if self.0.forward.is_reachable(target).await {
                self.came_back(target);
            }
        }
    }

    fn down(&self) -> std::sync::MutexGuard<'_, HashSet<Place>> {
        self.0.down.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
