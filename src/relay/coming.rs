//! What is on its way to the disk counts as waiting already: else many at once pass a limit that each alone would not.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::ChannelId;
use crate::store::relay::Waiting;

/// What is on its way.
#[derive(Debug, Default)]
pub struct Coming(Mutex<Requests>);

#[derive(Debug, Default)]
struct Requests {
    all: Waiting,
    of_channels: HashMap<ChannelId, Waiting>,
}

/// A request on its way; it is there when this is dropped, or it never will be.
#[derive(Debug)]
pub struct OnItsWay<'a> {
    coming: &'a Coming,
    channel: ChannelId,
    bytes: u64,
    /// What is on its way in its channel, with this one,
    pub in_channel: Waiting,
    /// and in all.
    pub in_all: Waiting,
}

impl Coming {
    /// One more is on its way.
    pub fn enter(&self, channel: ChannelId, bytes: u64) -> OnItsWay<'_> {
        let mut coming = self.lock();
        let add = |to: &mut Waiting| {
            to.messages += 1;
            to.bytes += bytes;
            *to
        };
        let in_channel = add(coming.of_channels.entry(channel).or_default());
        let in_all = add(&mut coming.all);
        OnItsWay { coming: self, channel, bytes, in_channel, in_all }
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        let mut coming = self.coming.lock();
        let subtract = |from: &mut Waiting| {
            from.messages -= 1;
            from.bytes -= self.bytes;
            from.messages == 0
        };
        subtract(&mut coming.all);
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
        let first = coming.enter(one, 5);
        let second = coming.enter(one, 7);
        assert_eq!(first.in_channel, Waiting { messages: 1, bytes: 5 });
        assert_eq!(second.in_channel, Waiting { messages: 2, bytes: 12 });
        let third = coming.enter(other, 1);
        assert_eq!((third.in_channel.messages, third.in_all), (1, Waiting { messages: 3, bytes: 13 }));
        drop(first);
        assert_eq!(coming.enter(one, 1).in_channel, Waiting { messages: 2, bytes: 8 });
        drop((second, third));
        assert!(coming.lock().of_channels.is_empty() && coming.lock().all == Waiting::default());
    }
}
