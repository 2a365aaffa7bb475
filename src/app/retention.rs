//! Keeps the record from growing without end while `listen` runs: at the start, and every hour.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::model::{Clock, Trouble, Update};
use crate::store::{Limits, Pruner, StoreError};

/// How often old deliveries are looked for.
const EVERY: Duration = Duration::from_hours(1);

/// How long pruning pauses between two slices, so that whoever writes gets the file.
pub const PAUSE: Duration = Duration::from_millis(20);

/// Which deliveries are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// So many of the newest.
    Newest(u64),
    /// Those that are not older.
    For(Duration),
}

/// Prunes the record in a folder.
pub struct Retention {
    /// What is kept.
    pub keep: Keep,
    /// The folder.
    pub folder: PathBuf,
    /// What time it is.
    pub clock: Clock,
    /// Where trouble is told.
    pub bus: Bus,
}

impl Retention {
    /// Prunes now and every hour, until `stop` is cancelled; then it ends within a slice.
    pub async fn run(self, stop: CancellationToken) {
        let this = Arc::new(self);
        loop {
            let (worker, stopped) = (Arc::clone(&this), stop.clone());
            // Reading and writing the file blocks: not on the thread that serves.
            let pruning = tokio::task::spawn_blocking(move || worker.prune(|| !stopped.is_cancelled()));
            if let Ok(Err(error)) = pruning.await {
                let trouble = Trouble { code: "prune", message: error.to_string(), hint: error.hint() };
                this.bus.publish(Update::Trouble(Arc::new(trouble)));
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    fn prune(&self, go_on: impl Fn() -> bool) -> Result<(), StoreError> {
        let limits = match self.keep {
            Keep::Newest(keep) => Limits { keep: Some(keep), ..Limits::default() },
            Keep::For(age) => Limits { before: Some(self.clock.now() - age), ..Limits::default() },
        };
        if let Some(mut pruner) = Pruner::open(&self.folder, self.clock.clone())? {
            pruner.prune(&limits, PAUSE, go_on)?;
        }
        Ok(())
    }
}
