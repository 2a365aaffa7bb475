//! What is on its way to the disk counts as waiting already: else many at once pass a limit that each alone would not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::ChannelId;
use crate::store::relay::Waiting;

/// What is on its way.
#[derive(Debug, Default)]
pub struct Coming(Mutex<Requests>);

#[derive(Debug, Default)]
struct Requests {
    all: Waiting,
    of_tenants: HashMap<Arc<str>, Waiting>,
    of_channels: HashMap<ChannelId, Waiting>,
}

/// A request on its way; it is there when this is dropped, or it never will be.
#[derive(Debug)]
pub struct OnItsWay<'a> {
    coming: &'a Coming,
    pub channel: ChannelId,
    pub tenant: Arc<str>,
    itself: Waiting,
    /// What is on its way in its channel, with this one,
    pub in_channel: Waiting,
    /// in those of its tenant,
    pub of_tenant: Waiting,
    /// and in all.
    pub in_all: Waiting,
}

impl Coming {
    /// One more is on its way.
    pub fn enter(&self, channel: ChannelId, tenant: Arc<str>, bytes: u64) -> OnItsWay<'_> {
        let itself = Waiting { messages: 1, bytes };
        let mut coming = self.lock();
        let add = |to: &mut Waiting| {
            *to += itself;
            *to
        };
        let in_channel = add(coming.of_channels.entry(channel).or_default());
        let of_tenant = add(coming.of_tenants.entry(Arc::clone(&tenant)).or_default());
        let in_all = add(&mut coming.all);
        OnItsWay { coming: self, channel, tenant, itself, in_channel, of_tenant, in_all }
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        let mut coming = self.coming.lock();
        coming.all -= self.itself;
        let subtract = |from: &mut Waiting| {
            *from -= self.itself;
            from.messages == 0
        };
        if coming.of_tenants.get_mut(&self.tenant).is_some_and(subtract) {
            coming.of_tenants.remove(&self.tenant);
        }
        if coming.of_channels.get_mut(&self.channel).is_some_and(subtract) {
            coming.of_channels.remove(&self.channel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_counts_until_it_is_there() {
        let (coming, [one, other]) = (Coming::default(), [[1; 16], [2; 16]].map(ChannelId::from_bytes));
        let enter = |channel, bytes| coming.enter(channel, "a".into(), bytes);
        let first = enter(one, 5);
        let second = enter(one, 7);
        assert_eq!(first.in_channel, Waiting { messages: 1, bytes: 5 });
        assert_eq!(second.in_channel, Waiting { messages: 2, bytes: 12 });
        let third = enter(other, 1);
        assert_eq!((third.in_channel.messages, third.of_tenant), (1, Waiting { messages: 3, bytes: 13 }));
        let foreign = coming.enter(other, "b".into(), 0);
        assert_eq!((foreign.of_tenant.messages, foreign.in_all), (1, Waiting { messages: 4, bytes: 13 }));
        drop(first);
        assert_eq!(enter(one, 1).in_channel, Waiting { messages: 2, bytes: 8 });
        drop((second, third, foreign));
        let left = coming.lock();
        assert!(left.of_channels.is_empty() && left.of_tenants.is_empty() && left.all == Waiting::default());
    }
}
