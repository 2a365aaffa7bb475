//! How a delivery came through a relay: its channel, and its place in the order of that channel.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::{Mutex as Turns, OwnedMutexGuard, oneshot};

use super::{Clock, Headers};

/// A channel on a relay: 128 random bits that the relay chose, 32 hexadecimal digits as text.
///
/// Whoever knows it may send to it, so its `Debug` shows the beginning only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId([u8; 16]);

impl ChannelId {
    /// A new channel.
    pub fn new(clock: &Clock) -> Self {
        Self(clock.random_bytes())
    }

    /// Its bits.
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The channel of these bits.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelId({}…)", hex::encode(&self.0[..3]))
    }
}

impl FromStr for ChannelId {
    type Err = NotAChannel;

    fn from_str(text: &str) -> Result<Self, NotAChannel> {
        let mut bytes = [0; 16];
        let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) if is_lower => Ok(Self(bytes)),
            _ => Err(NotAChannel),
        }
    }
}

/// A text that is no channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a channel is 32 hexadecimal digits in lower case")]
pub struct NotAChannel;

/// The way of a delivery through a relay.
#[derive(Clone, Debug)]
pub struct Relayed {
    /// Its channel.
    pub channel: ChannelId,
    /// Its number on the relay, which rises within the channel, not always by one.
    pub seq: i64,
    /// The one that the relay sent before it; 0 when it is the first. One that went wrong makes those behind it wait.
    pub after: i64,
    /// When it reached the relay.
    pub arrived_at: Timestamp,
    /// Whether it had to wait there for somebody to take it.
    pub late: bool,
    /// Where it stands with those that come with it.
    pub line: Line,
    /// The fields that its handler gets in the place of those that came, when it is signed anew.
    pub sent_on_with: Option<Headers>,
}

impl Relayed {
    /// When it reached the relay, if it had to wait there.
    pub fn late_since(&self) -> Option<Timestamp> {
        self.late.then_some(self.arrived_at)
    }
}

/// The deliveries of a channel, in line to be recorded: each knows which one it comes after. What waited at the relay is
/// in line for its handler as well.
#[derive(Clone, Debug)]
pub struct Line(Arc<Queues>);

#[derive(Debug)]
struct Queues {
    record: Mutex<Queue>,
    handler: Arc<Turns<()>>,
}

#[derive(Debug)]
struct Queue {
    at: i64,
    /// Each is woken when its own turn has come, not before: there may be hundreds.
    waiting: Vec<(i64, oneshot::Sender<()>)>,
}

impl Line {
    /// A line in which all up to this number have had their turn.
    pub fn new(at: i64) -> Self {
        let record = Mutex::new(Queue { at, waiting: Vec::new() });
        Self(Arc::new(Queues { record, handler: Arc::default() }))
    }

    /// Whether this one has had its turn.
    pub fn is_past(&self, seq: i64) -> bool {
        self.queue().at >= seq
    }

    /// This one has its turn now: those behind it may be written behind it.
    pub fn advance(&self, seq: i64) {
        let mut queue = self.queue();
        if queue.at < seq {
            queue.at = seq;
            for (_, turn) in queue.waiting.extract_if(.., |(after, _)| *after <= seq) {
                // Whoever has given up needs no turn.
                turn.send(()).ok();
            }
        }
    }

    /// What comes after this one could not be written: it has its turn once more.
    pub fn fall_back(&self, after: i64) {
        let mut queue = self.queue();
        queue.at = queue.at.min(after);
    }

    /// Waits until this one has had its turn.
    pub async fn wait_for(&self, after: i64) {
        while let Some(turn) = self.enqueue(after) {
            // The sender lives as long as this handle.
            drop(turn.await);
        }
    }

    /// A place in the queue, if there is something to wait for.
    fn enqueue(&self, after: i64) -> Option<oneshot::Receiver<()>> {
        let mut queue = self.queue();
        if queue.at >= after {
            return None;
        }
        queue.waiting.retain(|(_, turn)| !turn.is_closed());
        let (turn, wait) = oneshot::channel();
        queue.waiting.push((after, turn));
        Some(wait)
    }

    /// Waits until the handler is done with all that asked before.
    pub async fn handler(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.0.handler).lock_owned().await
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_reads_back_as_written_and_nothing_else_is_one() {
        let channel = ChannelId::new(&Clock::fixed(Timestamp::UNIX_EPOCH, 1));
        let text = channel.to_string();
        assert_eq!(text.parse(), Ok(channel));
        assert!(!format!("{channel:?}").contains(&text[6..]));
        let upper = text.to_uppercase();
        let longer = format!("{text}0");
        for other in ["", "..", &text[1..], &longer, &upper, "gg", &text.replace(&text[..1], "é")] {
            assert_eq!(other.parse::<ChannelId>(), Err(NotAChannel), "{other}");
        }
    }

    #[tokio::test]
    async fn a_line_goes_forward_and_back_when_something_went_wrong() {
        let line = Line::new(3);
        line.wait_for(3).await;
        line.advance(7);
        line.advance(5);
        assert!(line.is_past(7) && !line.is_past(8));
        line.fall_back(5);
        assert!(line.is_past(5) && !line.is_past(6));
        let waiting = line.clone();
        let ((), ()) = tokio::join!(waiting.wait_for(6), async { line.advance(6) });
    }
}
