//! What a relay keeps: channels and their owners, and every message until it is delivered.
//!
//! [`RelayStore`] is the interface, [`SqliteRelay`] the one that needs nothing beside it. `conformance` has what every
//! implementation must do.

mod channels;
mod claims;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod large;
mod messages;
mod schema;
mod seal;
mod sqlite;
mod window;
mod writer;

use std::error::Error;
use std::fmt;
use std::ops::{AddAssign, SubAssign};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body_util::combinators::BoxBody;
use jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

pub use self::seal::Key;
pub use self::sqlite::SqliteRelay;
use super::StoreError;
use crate::model::{ChannelId, Clock, Request};

/// What an operation ends with, some time.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A handler's answer on its way to whoever sent the message.
pub type Answer = Response<BoxBody<Bytes, Box<dyn Error + Send + Sync>>>;

/// The id of a message: it tells apart what was sent twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId(Uuid);

/// A request that came for a channel.
#[derive(Debug)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// When it was complete.
    pub arrived_at: Timestamp,
    /// The request; its path is the one behind the channel.
    pub request: Request,
}

/// A message that is kept.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its number, which rises within a channel, not always by one.
    pub seq: i64,
    /// The message.
    pub message: Arc<Message>,
}

/// The SHA-256 of a listen token: the token itself is kept by its owner only.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

/// The tenant of those who came without a name: their channels go with whoever has their listen tokens.
pub const NAMELESS: &str = "all";

/// Somebody who wants to own a channel.
#[derive(Clone, Debug)]
pub struct Claimant {
    /// The proof that the channel is theirs; a new one gets a new channel.
    pub token: TokenHash,
    /// Whose access token lets them in; a channel stays with the first.
    pub tenant: Arc<str>,
    /// How many channels that tenant may have; `None` for any number.
    pub most_channels: Option<u64>,
    /// The highest number that they have of this channel: after a restore from a backup, ours may be lower.
    pub has: i64,
}

/// A channel that is owned from now on, until the next one claims it.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The channel.
    pub channel: ChannelId,
    /// Counts the owners: whoever comes with a lower one is an owner no more.
    pub epoch: i64,
    /// How many messages wait.
    pub waiting: u64,
    /// The number of the newest message: those up to it had to wait.
    pub last: i64,
    /// Changes when somebody else claims the channel, or to [`GIVEN_UP`].
    pub displaced: watch::Receiver<i64>,
}

/// What an owner whose channel was given up sees in the place of the next epoch.
pub const GIVEN_UP: i64 = -1;

/// Why a channel cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NoClaim {
    /// It was opened with another access token.
    #[error("this channel belongs to another access token")]
    NotTheirs,
    /// The tenant has as many channels as it may have.
    #[error("the access token has as many channels as it may have, {0}")]
    TooMany(u64),
    /// It was given up.
    #[error("its channel was given up")]
    GivenUp,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a channel is not given up.
#[derive(Debug, thiserror::Error)]
pub enum NotGivenUp {
    /// There is none of this token.
    #[error("this listen token has no channel here")]
    Nothing,
    /// It was opened with another access token.
    #[error("this channel belongs to another access token")]
    NotTheirs,
    /// It was given up before.
    #[error("this channel was given up before")]
    Before,
    /// So many messages wait in it.
    #[error("{} in this channel", if *.0 == 1 { "a request waits".to_owned() } else { format!("{} requests wait", .0) })]
    Waiting(u64),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A channel, as senders find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// There is none.
    Nothing,
    /// There was one, which was given up.
    GivenUp,
    /// It is there.
    Open {
        /// Whether its owner is connected.
        owned: bool,
        /// Whose access token it was opened with.
        tenant: Arc<str>,
        /// How many messages wait, and how many bytes they have.
        waiting: Waiting,
    },
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The messages.
    pub messages: u64,
    /// The bytes of their bodies.
    pub bytes: u64,
}

impl AddAssign for Waiting {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

impl SubAssign for Waiting {
    fn sub_assign(&mut self, other: Self) {
        self.messages -= other.messages;
        self.bytes -= other.bytes;
    }
}

/// How the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether the last write succeeded.
    pub writes: bool,
    /// What waits in all channels.
    pub waiting: Waiting,
    /// How many channels there are.
    pub channels: u64,
    /// How many of them are owned at the moment.
    pub owned: u64,
    /// The size of its files.
    pub bytes_on_disk: u64,
}

/// What a relay keeps.
pub trait RelayStore: Send + Sync + 'static {
    /// Makes somebody the owner of the channel of their token; who owned it before owns it no more.
    fn claim(&self, claimant: Claimant) -> Pending<'_, Result<Claim, NoClaim>>;

    /// Gives the channel of a token up for good, and what waits in it if that is to be discarded; how much that was. Its name
    /// is given to nobody else, and its token gets no other one until it is [forgotten](Self::forget_given_up).
    fn give_up(&self, claimant: Claimant, discard: bool) -> Pending<'_, Result<u64, NotGivenUp>>;

    /// Forgets the channels that were given up before then.
    fn forget_given_up(&self, before: Timestamp) -> Pending<'_, Result<u64, StoreError>>;

    /// Gives a claim up; the channel stays.
    fn leave(&self, channel: ChannelId, epoch: i64);

    /// Looks a channel up.
    fn find(&self, channel: ChannelId) -> Pending<'_, Found>;

    /// Keeps a message of a channel that is there, and gives its number, once it is on disk.
    fn put(&self, channel: ChannelId, message: Arc<Message>) -> Pending<'_, Result<i64, StoreError>>;

    /// The oldest message behind `after` that waits; waits for one when there is none, and for ever when the claim is
    /// not the channel's owner any more.
    fn next(&self, channel: ChannelId, epoch: i64, after: i64) -> Pending<'_, Result<Stored, StoreError>>;

    /// A message is delivered: it is forgotten, on disk a moment later. `false` when the claim is not the channel's
    /// owner any more, who may not say so.
    fn ack(&self, channel: ChannelId, epoch: i64, stored: &Stored) -> bool;

    /// Waits for the answer to a message that will be put. Whoever drops it waits no more.
    fn call(&self, id: MessageId) -> Call;

    /// Gives the answer to whoever waits for it; nobody may.
    fn answer(&self, id: MessageId, answer: Answer);

    /// Forgets what arrived before then; how many messages that were.
    fn expire(&self, before: Timestamp) -> Pending<'_, Result<u64, StoreError>>;

    /// What waits in all channels, and in those of a tenant.
    fn waiting(&self, tenant: &str) -> (Waiting, Waiting);

    /// How it is.
    fn health(&self) -> Health;

    /// Writes what is left to write; nothing works afterwards.
    fn close(&self) -> Pending<'_, ()>;
}

/// Waits for an answer.
pub struct Call {
    /// The answer; an error when nobody will give one.
    pub answer: oneshot::Receiver<Answer>,
    /// Ends the waiting when it is dropped.
    pub hang_up: Box<dyn Send + Sync>,
}

impl MessageId {
    /// A new id, which sorts by time.
    pub fn new(clock: &Clock) -> Self {
        Self(clock.sortable_uuid())
    }

    fn bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "msg_{}", self.0.simple())
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

impl Message {
    /// The size of what is kept of it, in bytes, about.
    pub fn bytes(&self) -> u64 {
        self.request.body.len() as u64
    }
}
