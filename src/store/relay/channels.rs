//! The channels in memory: who owns them, and the newest messages for those who are connected.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::{Notify, watch};

use super::window::{Look, Window};
use super::{Claim, Found, GIVEN_UP, Stored, TokenHash, Waiting};
use crate::model::ChannelId;

/// How many bytes of messages are kept in memory for those who are connected; what does not fit is read from disk.
const MOST_HOT: u64 = 64 * 1024 * 1024;

/// Every channel.
#[derive(Debug, Default)]
pub(super) struct Channels {
    by_id: HashMap<ChannelId, Channel>,
    by_token: HashMap<TokenHash, ChannelId>,
    sums: Sums,
    hot_bytes: u64,
    /// What was delivered and still is on disk.
    done: Vec<(ChannelId, i64)>,
}

/// What waits in all channels together, and in those of each tenant.
#[derive(Debug, Default)]
struct Sums {
    all: Waiting,
    by_tenant: HashMap<Arc<str>, OfTenant>,
}

/// The channels of a tenant.
#[derive(Clone, Copy, Debug, Default)]
struct OfTenant {
    channels: u64,
    waiting: Waiting,
}

/// A channel.
#[derive(Debug)]
pub(super) struct Channel {
    /// Its number in the tables.
    pub number: i64,
    pub token: TokenHash,
    pub tenant: Arc<str>,
    pub epoch: i64,
    /// The highest number of its messages, as far as is known.
    pub last: i64,
    pub waiting: Waiting,
    /// Whether it was given up: only its name and its token are left.
    pub is_given_up: bool,
    /// What was delivered and still is on disk.
    done: HashSet<i64>,
    /// How many are reading its messages from disk,
    reading: usize,
    /// and what of `done` was deleted meanwhile: they may have read it before.
    deleted: Vec<i64>,
    /// What was deleted while its owner may have been at it.
    expired: HashSet<i64>,
    owner: Option<Owner>,
}

/// What is in memory for an owner.
#[derive(Debug)]
struct Owner {
    displaced: watch::Sender<i64>,
    news: Arc<Notify>,
    /// The newest messages, as they came.
    hot: Window,
    /// Older ones, as they were read.
    read: Window,
}

/// Where the next message of a channel is.
pub(super) enum Next {
    /// It is here.
    Here(Stored),
    /// On disk, if it is anywhere: behind the first number, not behind the second.
    OnDisk { number: i64, after: i64, up_to: i64 },
    /// There is none yet.
    ToCome(Arc<Notify>),
    /// Nobody owns the channel.
    Nowhere,
}

impl Channel {
    pub fn new(number: i64, token: TokenHash, tenant: Arc<str>, epoch: i64) -> Self {
        Self {
            number,
            token,
            tenant,
            epoch,
            last: 0,
            waiting: Waiting::default(),
            is_given_up: false,
            done: HashSet::new(),
            reading: 0,
            deleted: Vec::new(),
            expired: HashSet::new(),
            owner: None,
        }
    }
}

impl Channels {
    pub fn insert(&mut self, id: ChannelId, channel: Channel) {
        if !channel.is_given_up {
            self.sums.of(&channel.tenant).channels += 1;
        }
        self.sums.enter(&channel);
        self.by_token.insert(channel.token, id);
        self.by_id.insert(id, channel);
    }

    pub fn of_token(&self, token: TokenHash) -> Option<(ChannelId, &Channel)> {
        let id = *self.by_token.get(&token)?;
        self.by_id.get(&id).map(|channel| (id, channel))
    }

    pub fn get(&self, id: ChannelId) -> Option<&Channel> {
        self.by_id.get(&id)
    }

    pub fn of_tenant(&self, tenant: &str) -> u64 {
        self.sums.by_tenant.get(tenant).map_or(0, |of_tenant| of_tenant.channels)
    }

    /// What waits in all channels of a tenant.
    pub fn waiting_of(&self, tenant: &str) -> Waiting {
        self.sums.by_tenant.get(tenant).map_or_else(Waiting::default, |of_tenant| of_tenant.waiting)
    }

    /// What waits in all of them.
    pub fn in_all(&self) -> Waiting {
        self.sums.all
    }

    /// What waits in all of them, how many there are, and how many are owned.
    pub fn sums(&self) -> (Waiting, u64, u64) {
        let open: u64 = self.sums.by_tenant.values().map(|of_tenant| of_tenant.channels).sum();
        let owned = self.by_id.values().filter(|channel| channel.owner.is_some()).count() as u64;
        (self.sums.all, open, owned)
    }

    pub fn find(&self, id: ChannelId) -> Found {
        match self.by_id.get(&id) {
            None => Found::Nothing,
            Some(Channel { is_given_up: true, .. }) => Found::GivenUp,
            Some(channel) => Found::Open {
                owned: channel.owner.is_some(),
                tenant: Arc::clone(&channel.tenant),
                waiting: channel.waiting,
            },
        }
    }

    /// A channel belongs to another tenant from now on.
    pub fn belongs_to(&mut self, id: ChannelId, tenant: &Arc<str>) {
        let Some(channel) = self.by_id.get_mut(&id) else { return };
        self.sums.of(&channel.tenant).channels -= 1;
        self.sums.leave(channel);
        channel.tenant = Arc::clone(tenant);
        self.sums.of(tenant).channels += 1;
        self.sums.enter(channel);
    }

    /// Gives a channel its new owner.
    pub fn claimed(&mut self, id: ChannelId, epoch: i64) -> Option<Claim> {
        let channel = self.by_id.get_mut(&id)?;
        self.hot_bytes -= channel.displace(epoch);
        channel.epoch = epoch;
        let (sender, displaced) = watch::channel(epoch);
        channel.owner = Some(Owner {
            displaced: sender,
            news: Arc::default(),
            hot: Window::default(),
            read: Window::default(),
        });
        let (waiting, last) = (channel.waiting.messages, channel.last);
        Some(Claim { channel: id, epoch, waiting, last, displaced })
    }

    /// A channel is given up: whoever owns it hears of it, and what waits in it is no more.
    pub fn given_up(&mut self, id: ChannelId, epoch: i64) {
        let Some(channel) = self.by_id.get_mut(&id) else { return };
        self.hot_bytes -= channel.displace(GIVEN_UP);
        channel.epoch = epoch;
        channel.is_given_up = true;
        self.sums.leave(channel);
        channel.waiting = Waiting::default();
        self.sums.of(&channel.tenant).channels -= 1;
    }

    /// Forgets a channel that was given up.
    pub fn forget(&mut self, id: ChannelId) {
        if let Some(channel) = self.by_id.remove(&id) {
            self.by_token.remove(&channel.token);
        }
    }

    /// Takes a channel from its owner, if that one still owns it.
    pub fn left(&mut self, id: ChannelId, epoch: i64) {
        if let Some(channel) = self.by_id.get_mut(&id).filter(|channel| channel.epoch == epoch) {
            self.hot_bytes -= channel.displace(epoch);
        }
    }

    /// Takes note of a message that is on disk.
    pub fn kept(&mut self, id: ChannelId, stored: Stored) {
        let Some(channel) = self.by_id.get_mut(&id) else { return };
        let bytes = stored.message.bytes();
        self.sums.more(channel, bytes);
        let last = std::mem::replace(&mut channel.last, stored.seq);
        let Some(owner) = &mut channel.owner else { return };
        if self.hot_bytes + bytes <= MOST_HOT {
            self.hot_bytes += bytes;
            self.hot_bytes -= owner.hot.push(last, stored);
        } else {
            self.hot_bytes -= owner.hot.clear();
        }
        owner.news.notify_one();
    }

    /// Where the message behind `after` is.
    pub fn next(&mut self, id: ChannelId, epoch: i64, mut after: i64) -> Next {
        let Some(channel) = self.by_id.get_mut(&id).filter(|channel| channel.epoch == epoch) else {
            return Next::Nowhere;
        };
        let Some(owner) = &mut channel.owner else { return Next::Nowhere };
        loop {
            let so_far = after;
            match owner.read.look(after).0 {
                Look::At(stored) => return Next::Here(stored),
                Look::NothingUpTo(to) => after = to,
                Look::Elsewhere => {}
            }
            let (look, gone) = owner.hot.look(after);
            self.hot_bytes -= gone;
            match look {
                Look::At(stored) => return Next::Here(stored),
                Look::NothingUpTo(to) => after = to,
                Look::Elsewhere => {}
            }
            if after == so_far {
                break;
            }
        }
        if after >= channel.last {
            return Next::ToCome(Arc::clone(&owner.news));
        }
        // The rest may be in memory already.
        let up_to = if owner.hot.from() > after { owner.hot.from().min(channel.last) } else { channel.last };
        Next::OnDisk { number: channel.number, after, up_to }
    }

    /// Somebody reads messages of a channel from disk.
    pub fn begins_to_read(&mut self, id: ChannelId) {
        if let Some(channel) = self.by_id.get_mut(&id) {
            channel.reading += 1;
        }
    }

    /// Somebody reads them no more.
    pub fn ends_reading(&mut self, id: ChannelId) {
        let Some(channel) = self.by_id.get_mut(&id) else { return };
        channel.reading = channel.reading.saturating_sub(1);
        if channel.reading == 0 {
            for seq in std::mem::take(&mut channel.deleted) {
                channel.done.remove(&seq);
            }
        }
    }

    /// Takes note of what was read from disk: everything behind `from` up to `to`.
    pub fn was_read(&mut self, id: ChannelId, from: i64, to: i64, found: Vec<Stored>) {
        let Some(channel) = self.by_id.get_mut(&id) else { return };
        let done = &channel.done;
        let found = found.into_iter().filter(|stored| !done.contains(&stored.seq)).collect();
        if let Some(owner) = &mut channel.owner {
            owner.read.replace(from, to, found);
        }
    }

    /// A message that waits cannot be read: nobody gets it, and it stays on disk until it is too old. Whether that is news.
    pub fn lost(&mut self, id: ChannelId, seq: i64, bytes: u64) -> bool {
        let Some(channel) = self.by_id.get_mut(&id) else { return false };
        let is_news = channel.done.insert(seq);
        if is_news {
            self.sums.less(channel, bytes);
        }
        is_news
    }

    /// A message is delivered; `false` when whoever says so does not own the channel.
    pub fn acked(&mut self, id: ChannelId, epoch: i64, stored: &Stored) -> bool {
        let Some(channel) = self.by_id.get_mut(&id) else { return false };
        if channel.epoch != epoch {
            return false;
        }
        if channel.expired.remove(&stored.seq) {
            return true;
        }
        // One that was delivered twice is done once.
        if channel.done.insert(stored.seq) {
            let bytes = stored.message.bytes();
            self.sums.less(channel, bytes);
            self.done.push((id, stored.seq));
            if let Some(owner) = &mut channel.owner {
                self.hot_bytes -= owner.hot.remove(stored.seq);
                owner.read.remove(stored.seq);
            }
        }
        true
    }

    /// What is to be deleted.
    pub fn take_done(&mut self) -> Vec<(ChannelId, i64)> {
        std::mem::take(&mut self.done)
    }

    /// It could not be deleted yet.
    pub fn put_back(&mut self, done: Vec<(ChannelId, i64)>) {
        self.done.extend(done);
    }

    /// It was deleted.
    pub fn deleted(&mut self, done: &[(ChannelId, i64)]) {
        for (id, seq) in done {
            match self.by_id.get_mut(id) {
                Some(channel) if channel.reading > 0 => channel.deleted.push(*seq),
                Some(channel) => drop(channel.done.remove(seq)),
                None => {}
            }
        }
    }

    /// A message was deleted although nobody got it.
    pub fn expired(&mut self, id: ChannelId, seq: i64, bytes: u64) {
        let Some(channel) = self.by_id.get_mut(&id) else { return };
        // One that was delivered meanwhile is counted already.
        if channel.done.contains(&seq) {
            return;
        }
        self.sums.less(channel, bytes);
        if let Some(owner) = &mut channel.owner {
            channel.expired.insert(seq);
            self.hot_bytes -= owner.hot.remove(seq);
            owner.read.remove(seq);
        }
    }
}

impl Channel {
    /// Tells the owner, if there is one, that it owns the channel no more. How many bytes of memory that frees.
    fn displace(&mut self, epoch: i64) -> u64 {
        self.expired = HashSet::new();
        let Some(mut owner) = self.owner.take() else { return 0 };
        owner.displaced.send_replace(epoch);
        owner.news.notify_one();
        owner.hot.clear()
    }
}

impl Sums {
    fn of(&mut self, tenant: &Arc<str>) -> &mut OfTenant {
        self.by_tenant.entry(Arc::clone(tenant)).or_default()
    }

    /// One message more waits in a channel.
    fn more(&mut self, channel: &mut Channel, bytes: u64) {
        let one = Waiting { messages: 1, bytes };
        channel.waiting += one;
        self.all += one;
        self.of(&channel.tenant).waiting += one;
    }

    /// One message less waits in a channel.
    fn less(&mut self, channel: &mut Channel, bytes: u64) {
        let one = Waiting { messages: 1, bytes };
        channel.waiting -= one;
        self.all -= one;
        self.of(&channel.tenant).waiting -= one;
    }

    /// What waits in a channel counts from now on.
    fn enter(&mut self, channel: &Channel) {
        self.all += channel.waiting;
        self.of(&channel.tenant).waiting += channel.waiting;
    }

    /// It counts no more.
    fn leave(&mut self, channel: &Channel) {
        self.all -= channel.waiting;
        self.of(&channel.tenant).waiting -= channel.waiting;
    }
}
