//! Decides who gets which channel, for several claimants in one transaction: after a restart, everybody comes at once. And how
//! one is given up.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::channels::{Channel, Channels};
use super::{Claim, Claimant, NAMELESS, NoClaim, NotGivenUp, TokenHash, messages};
use crate::model::{ChannelId, Clock};
use crate::store::bodies::Place;

/// How far numbers leap ahead for one claimant at the most: nobody brings them to their end.
const LARGEST_LEAP: i64 = 1_000_000_000;

/// What a claimant gets, once it is on disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    id: ChannelId,
    number: i64,
    epoch: i64,
    is_new: bool,
}

/// A channel that is given up, once that is on disk.
pub(super) struct Given {
    pub id: ChannelId,
    /// What holds from now on.
    pub epoch: i64,
    /// How many messages are thrown away.
    pub discarded: u64,
    /// Where large ones of them stood.
    pub freed: Vec<Place>,
}

/// What was granted within the transaction, and is not yet known to the channels.
#[derive(Default)]
pub(super) struct Granted {
    of_token: HashMap<TokenHash, Grant>,
    of_tenant: HashMap<Arc<str>, u64>,
}

impl Granted {
    /// Decides on one claimant. The outer error is the database's and ends the transaction.
    pub fn decide(
        &mut self,
        connection: &Connection,
        channels: &Channels,
        claimant: &Claimant,
        clock: &Clock,
    ) -> rusqlite::Result<Result<Grant, NoClaim>> {
        let known = match self.of_token.get(&claimant.token) {
            Some(grant) => Some(*grant),
            None => match channels.of_token(claimant.token) {
                Some((_, channel)) if channel.tenant != claimant.tenant && &*channel.tenant != NAMELESS => {
                    return Ok(Err(NoClaim::NotTheirs));
                }
                Some((_, Channel { is_given_up: true, .. })) => return Ok(Err(NoClaim::GivenUp)),
                Some((id, Channel { number, epoch, .. })) => {
                    Some(Grant { id, number: *number, epoch: *epoch, is_new: false })
                }
                None => None,
            },
        };
        let now = clock.now().as_microsecond();
        let grant = if let Some(before) = known {
            let epoch = before.epoch + 1;
            let text = "UPDATE channels SET epoch = ?2, claimed_at = ?3, tenant = ?4 WHERE number = ?1";
            let values = params![before.number, epoch, now, &*claimant.tenant];
            connection.prepare_cached(text)?.execute(values)?;
            Grant { epoch, ..before }
        } else {
            let new = self.of_tenant.entry(Arc::clone(&claimant.tenant)).or_default();
            let has = channels.of_tenant(&claimant.tenant) + *new;
            if let Some(most) = claimant.most_channels.filter(|most| has >= *most) {
                return Ok(Err(NoClaim::TooMany(most)));
            }
            *new += 1;
            let (id, epoch) = (ChannelId::new(clock), 1);
            let text = "INSERT INTO channels (id, token, tenant, epoch, opened_at, claimed_at)
                VALUES (?1, ?2, ?3, ?4, ?5, ?5)";
            let values = params![id.bytes(), claimant.token.0, &*claimant.tenant, epoch, now];
            connection.prepare_cached(text)?.execute(values)?;
            Grant { id, number: connection.last_insert_rowid(), epoch, is_new: true }
        };
        go_beyond(connection, claimant.has)?;
        self.of_token.insert(claimant.token, grant);
        Ok(Ok(grant))
    }
}

impl Grant {
    /// Makes the claimant the owner, now that it is on disk.
    pub fn take_effect(self, channels: &mut Channels, claimant: &Claimant) -> Claim {
        if self.is_new && channels.get(self.id).is_none() {
            let tenant = Arc::clone(&claimant.tenant);
            channels.insert(self.id, Channel::new(self.number, claimant.token, tenant, self.epoch));
        }
        channels.belongs_to(self.id, &claimant.tenant);
        channels.claimed(self.id, self.epoch).expect("the channel is known by now")
    }
}

/// Gives a channel up within a transaction of its own.
pub(super) fn give_up(
    connection: &Connection,
    channels: &Channels,
    claimant: &Claimant,
    discard: bool,
    clock: &Clock,
) -> rusqlite::Result<Result<Given, NotGivenUp>> {
    let (id, channel) = match channels.of_token(claimant.token) {
        None => return Ok(Err(NotGivenUp::Nothing)),
        Some((_, channel)) if channel.tenant != claimant.tenant && &*channel.tenant != NAMELESS => {
            return Ok(Err(NotGivenUp::NotTheirs));
        }
        Some((_, Channel { is_given_up: true, .. })) => return Ok(Err(NotGivenUp::Before)),
        Some(found) => found,
    };
    let (waiting, epoch) = (channel.waiting.messages, channel.epoch + 1);
    if waiting > 0 && !discard {
        return Ok(Err(NotGivenUp::Waiting(waiting)));
    }
    let text = "UPDATE channels SET epoch = ?2, given_up_at = ?3 WHERE number = ?1";
    connection.execute(text, params![channel.number, epoch, clock.now().as_microsecond()])?;
    let freed = messages::delete_all(connection, channel.number)?;
    Ok(Ok(Given { id, epoch, discarded: waiting, freed }))
}

/// Forgets within a transaction which channels were given up before then; which these were.
pub(super) fn forget_given_up(
    connection: &Connection,
    before: Timestamp,
) -> rusqlite::Result<Vec<ChannelId>> {
    let text = "DELETE FROM channels WHERE given_up_at < ?1 RETURNING id";
    let mut statement = connection.prepare_cached(text)?;
    let gone = statement.query_map([before.as_microsecond()], |row| row.get(0).map(ChannelId::from_bytes))?;
    gone.collect()
}

/// Sees to it that further numbers are above one that somebody has: ours may come from an old backup.
fn go_beyond(connection: &Connection, has: i64) -> rusqlite::Result<()> {
    let text = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'messages'";
    let ours: i64 = connection.prepare_cached(text)?.query_row([], |row| row.get(0))?;
    if has <= ours || has - ours > LARGEST_LEAP {
        return Ok(());
    }
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'messages'", [])?;
    connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('messages', ?1)", [has]).map(drop)
}
