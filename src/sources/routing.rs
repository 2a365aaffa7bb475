//! Which target a delivery goes to: the first route that matches its event type, else the one for all.

use std::sync::Arc;

use jiff::Timestamp;

use crate::model::{Delivery, EventFilter, EventType, Incoming, NotForwarded, Target};
use crate::pipeline::{Delivered, Early, Pipeline};
use crate::store::StoreError;

/// Where deliveries go.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// Deliveries of other event types are recorded and not forwarded.
    pub filter: EventFilter,
    /// Routes for some event types, in order; one without a target is for recording only.
    pub special: Vec<(EventFilter, Option<Target>)>,
    /// The target of all others.
    pub default: Option<Target>,
}

impl Routes {
    /// Every target, each once.
    pub fn targets(&self) -> Vec<Target> {
        let mut targets: Vec<Target> = Vec::new();
        let special = self.special.iter().filter_map(|(_, target)| target.as_ref());
        for target in special.chain(&self.default) {
            if !targets.contains(target) {
                targets.push(target.clone());
            }
        }
        targets
    }

    /// The target of a delivery, or why it has none.
    pub fn target(&self, event_type: Option<&EventType>) -> Result<&Target, NotForwarded> {
        if !self.filter.matches(event_type) {
            return Err(NotForwarded::Filtered);
        }
        match self.special.iter().find(|(filter, _)| filter.matches(event_type)) {
            Some((_, Some(target))) => Ok(target),
            Some((_, None)) => Err(NotForwarded::Disabled),
            None if self.special.is_empty() || self.default.is_some() => {
                self.default.as_ref().ok_or(NotForwarded::NoTarget)
            }
            None => Err(NotForwarded::Filtered),
        }
    }
}

/// A cloneable handle to the road with its routes.
#[derive(Clone)]
pub struct Router {
    routes: Arc<Routes>,
    pipeline: Pipeline,
}

/// A delivery that is on disk.
pub enum Taken {
    /// It was handed over.
    Delivered(Delivered),
    /// It was not, for a reason of ours.
    NotForwarded(NotForwarded),
}

impl Router {
    /// Sends deliveries down `pipeline` to where `routes` say.
    pub fn new(routes: Routes, pipeline: Pipeline) -> Self {
        Self { routes: Arc::new(routes), pipeline }
    }

    /// Whether anything goes to `target` now.
    pub fn leads_to(&self, target: &Target) -> bool {
        self.routes.targets().contains(target)
    }

    /// Records a delivery and hands it to its target, if it has one.
    pub async fn deliver(&self, incoming: Arc<Incoming>, early: Option<Early>) -> Result<Taken, StoreError> {
        match self.routes.target(incoming.kind.event_type.as_ref()) {
            Ok(target) => self.pipeline.deliver(incoming, target.clone(), early).await.map(Taken::Delivered),
            Err(why) => self.record_only(incoming, why).await,
        }
    }

    /// Records a delivery, and hands it to its target without waiting for the answer; see [`Pipeline::send_off`].
    pub async fn send_off(
        &self,
        incoming: Arc<Incoming>,
        until_over: impl Send + 'static,
    ) -> Result<(), StoreError> {
        match self.routes.target(incoming.kind.event_type.as_ref()) {
            Ok(target) => self.pipeline.send_off(incoming, target.clone(), until_over).await,
            Err(why) => self.record_only(incoming, why).await.map(drop),
        }
    }

    /// Settles what earlier runs recorded and no more, up to that number; how many deliveries those were. What has no target
    /// now is left to a run in which it has.
    pub async fn settle_left(&self, up_to: i64, now: Timestamp) -> Result<usize, StoreError> {
        let mut settled = 0;
        for delivery in self.pipeline.left(up_to, now)? {
            if let Ok(target) = self.routes.target(delivery.kind.event_type.as_ref()) {
                self.pipeline.give_up(&delivery, target.clone()).await?;
                settled += 1;
            }
        }
        Ok(settled)
    }

    /// Hands a delivery to its target that an earlier run recorded and no more.
    pub async fn take_up(
        &self,
        incoming: Arc<Incoming>,
        recorded: Arc<Delivery>,
    ) -> Result<Taken, StoreError> {
        match self.routes.target(incoming.kind.event_type.as_ref()) {
            Ok(target) => {
                self.pipeline.take_up(incoming, recorded, target.clone()).await.map(Taken::Delivered)
            }
            Err(why) => Ok(Taken::NotForwarded(why)),
        }
    }

    /// Records a delivery that is not handed to anybody.
    pub async fn record_only(&self, incoming: Arc<Incoming>, why: NotForwarded) -> Result<Taken, StoreError> {
        self.pipeline.record_only(incoming, why).await?;
        Ok(Taken::NotForwarded(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_route_wins_and_the_filter_comes_before_all() {
        let routes = Routes {
            filter: "meeting.*,event.*".parse().unwrap(),
            special: vec![
                ("meeting.failed".parse().unwrap(), Some("1".parse().unwrap())),
                ("meeting.*".parse().unwrap(), Some("2".parse().unwrap())),
            ],
            default: Some("3".parse().unwrap()),
        };
        let port = |name: &str| routes.target(Some(&name.parse().unwrap())).map(Target::authority);
        assert_eq!(port("meeting.failed"), Ok("localhost:1"));
        assert_eq!(port("meeting.started"), Ok("localhost:2"));
        assert_eq!(port("event.added"), Ok("localhost:3"));
        assert_eq!(port("calendar.synced"), Err(NotForwarded::Filtered));
        let disabled = Routes { special: vec![("event.*".parse().unwrap(), None)], ..Routes::default() };
        let why = |name: &str| disabled.target(Some(&name.parse().unwrap())).err();
        assert_eq!(why("event.added"), Some(NotForwarded::Disabled));
        assert_eq!(why("meeting.failed"), Some(NotForwarded::Filtered));
        assert_eq!(Routes::default().target(None), Err(NotForwarded::NoTarget));
    }
}
