//! Some messages of a channel in memory, and which stretch of it they are all of.

use std::collections::VecDeque;

use super::Stored;

/// All messages that wait in a stretch of a channel.
#[derive(Debug, Default)]
pub struct Window {
    /// The stretch begins behind this number,
    from: i64,
    /// and ends with this one.
    to: i64,
    messages: VecDeque<Stored>,
}

/// What a window knows of the message behind a number.
#[derive(Debug)]
pub enum Look {
    /// This is it.
    At(Stored),
    /// There is none up to the end of the window.
    NothingUpTo(i64),
    /// The window does not begin there.
    Elsewhere,
}

impl Window {
    /// The message behind `after`; what comes before it is dropped. How many bytes went.
    pub fn look(&mut self, after: i64) -> (Look, u64) {
        if after < self.from || after > self.to {
            return (Look::Elsewhere, 0);
        }
        let mut gone = 0;
        while let Some(first) = self.messages.front()
            && first.seq <= after
        {
            gone += first.message.bytes();
            self.messages.pop_front();
        }
        self.from = after;
        let look = self.messages.front().cloned().map_or(Look::NothingUpTo(self.to), Look::At);
        (look, gone)
    }

    /// Where it begins.
    pub fn from(&self) -> i64 {
        self.from
    }

    /// Adds the newest message of the channel, whose newest so far was `last`; a window that does not reach up to
    /// there begins anew. How many bytes went.
    pub fn push(&mut self, last: i64, stored: Stored) -> u64 {
        let mut gone = 0;
        if self.to != last {
            gone = self.clear();
            self.from = last;
        }
        self.to = stored.seq;
        self.messages.push_back(stored);
        gone
    }

    /// Becomes the stretch that was read.
    pub fn replace(&mut self, from: i64, to: i64, messages: VecDeque<Stored>) {
        *self = Self { from, to, messages };
    }

    /// Forgets a message that does not wait any more. How many bytes went.
    pub fn remove(&mut self, seq: i64) -> u64 {
        let Ok(at) = self.messages.binary_search_by_key(&seq, |stored| stored.seq) else { return 0 };
        self.messages.remove(at).map_or(0, |stored| stored.message.bytes())
    }

    /// Knows nothing any more. How many bytes went.
    pub fn clear(&mut self) -> u64 {
        let gone = self.messages.iter().map(|stored| stored.message.bytes()).sum();
        *self = Self { from: i64::MAX, to: i64::MAX, messages: VecDeque::new() };
        gone
    }
}
