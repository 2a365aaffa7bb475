//! What earlier runs recorded and no more, and is too new to be settled when `listen` starts: another command may be at it
//! by itself. A little later it cannot be.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::model::{Clock, Trouble, Update};
use crate::pipeline::{OLD, Pipeline};
use crate::sources::routing::Router;
use crate::store::StoreError;

/// What knows where deliveries go, and tells of those that were left.
pub struct Left {
    pub router: Router,
    pub pipeline: Pipeline,
    pub bus: Bus,
    pub clock: Clock,
    /// The newest delivery that is not of this run.
    pub up_to: i64,
}

impl Left {
    /// Settles what was left once nobody else can be at it any more.
    pub async fn settle_later(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(OLD + Duration::from_secs(1)) => self.settle().await,
        }
    }

    /// Settles what was left, and lets it go on where it waits.
    async fn settle(&self) {
        match self.router.settle_left(self.up_to, self.clock.now()).await {
            Ok(0) => {}
            Ok(count) => {
                self.bus.publish(Update::Trouble(Arc::new(had_no_answer(count))));
                self.pipeline.resume().await;
            }
            Err(error) => self.bus.publish(Update::Trouble(Arc::new(unsettled(&error)))),
        }
    }
}

/// Why what was left has to wait for the next run.
pub fn unsettled(error: &StoreError) -> Trouble {
    Trouble { code: "store", message: error.to_string(), hint: error.hint() }
}

fn had_no_answer(count: usize) -> Trouble {
    let plural = if count == 1 { "y" } else { "ies" };
    Trouble {
        code: "left",
        message: format!("{count} deliver{plural} of an earlier run had no answer"),
        hint: "with `--hold` they are sent now, else `mbaas-dev replay --failed` sends them".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::forward::{self, Forward};
    use crate::model::{Incoming, Origin};
    use crate::pipeline::{Hold, Parts, Settings};
    use crate::sources::routing::Routes;
    use crate::store::{Reader, Selector, Store};

    #[tokio::test]
    async fn what_was_too_new_at_the_start_is_settled_later_and_what_is_of_this_run_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (clock, bus, tasks) = (Clock::real(), Bus::new(), TaskTracker::new());
        let mut updates = bus.subscribe();
        let pipeline = Pipeline::new(
            Parts {
                store: Store::open(folder.path()).unwrap(),
                forward: Forward::new(forward::Settings::default(), clock.clone(), tasks.clone()),
                bus: bus.clone(),
                hold: Some(Hold::new(folder.path().to_owned(), None)),
                tasks,
                stop: CancellationToken::new(),
            },
            &Settings { parallel: 1, retries: 0, hold: false },
        );
        let routes = Routes { default: Some("1".parse().unwrap()), ..Routes::default() };
        let router = Router::new(routes, pipeline.clone());
        let other = Store::open(folder.path()).unwrap();
        let record = |age| {
            let received_at = clock.now() - age;
            let incoming = Incoming { received_at, origin: Origin::Trigger, ..Incoming::plain(&clock) };
            other.record(Arc::new(incoming))
        };
        let left = record(OLD).await.unwrap();
        let up_to = pipeline.newest().unwrap();
        assert_eq!(up_to, left.number);
        let own = record(OLD * 2).await.unwrap();
        let settling = Left { router, pipeline, bus, clock: clock.clone(), up_to };
        settling.settle().await;
        let attempts = |number| {
            let reader = Reader::open(folder.path()).unwrap().unwrap();
            reader.find(&Selector::Number(number)).unwrap().unwrap().delivery.attempts.len()
        };
        assert_eq!((attempts(left.number), attempts(own.number)), (1, 0));
        let told = std::iter::from_fn(|| updates.try_recv()).find_map(|update| match update {
            Ok(Update::Trouble(trouble)) => Some(trouble.message.clone()),
            _ => None,
        });
        assert_eq!(told.as_deref(), Some("1 delivery of an earlier run had no answer"));
    }
}
