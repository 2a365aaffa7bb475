//! How a delivery and an attempt are put into their tables.

use std::borrow::Cow;

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, params};

use super::bodies::{Column, Place};
use super::job::Waiting;
use super::{row, texts};
use crate::contract;
use crate::model::{
    Attempt, ChannelId, Contract, EventType, Headers, Incoming, NotForwarded, Outcome, Relayed,
};

/// The statements of one transaction, prepared once for the connection.
pub(super) struct Inserts<'c> {
    connection: &'c Connection,
    delivery: CachedStatement<'c>,
    attempt: CachedStatement<'c>,
    hold: CachedStatement<'c>,
    release: CachedStatement<'c>,
    again: CachedStatement<'c>,
    /// Up to which delivery the text index goes.
    watermark: i64,
    /// How far the channel of the newest delivery from a relay is recorded.
    recorded: Option<(ChannelId, i64)>,
}

impl<'c> Inserts<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            connection,
            delivery: connection.prepare_cached(
                "INSERT INTO deliveries (id, received_at, origin, replay_of, contract, event_type, wire_event,
                     signature, not_forwarded, method, path, headers, body, signature_note)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            )?,
            hold: connection.prepare_cached(
                "INSERT OR REPLACE INTO held (delivery, target)
                 SELECT number, ?2 FROM deliveries WHERE number = ?1",
            )?,
            release: connection.prepare_cached("DELETE FROM held WHERE delivery = ?1")?,
            again: connection.prepare_cached("INSERT OR IGNORE INTO texts_again (delivery) VALUES (?1)")?,
            watermark: texts::watermark(connection)?,
            recorded: None,
            attempt: connection.prepare_cached(
                "INSERT INTO attempts (delivery, number, target, started_at, duration_us, acknowledged, status,
                     error, detail, cut, headers, body)
                 SELECT number, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12 FROM deliveries WHERE number = ?1",
            )?,
        })
    }

    /// Puts a delivery in, with its body or the place of that, and gives its number. One from a relay whose turn it is
    /// not finds no row.
    pub(super) fn delivery(&mut self, incoming: &Incoming, body: Option<Place>) -> rusqlite::Result<i64> {
        if let Some(Relayed { channel, seq, after, .. }) = &incoming.relayed {
            // Compared here: a statement that compares with what is bound is prepared anew for each.
            let last = self.recorded_up_to(channel)?;
            if !(*after..*seq).contains(&last) {
                return Err(rusqlite::Error::QueryReturnedNoRows);
            }
        }
        let (kind, request) = (&incoming.kind, &incoming.request);
        self.delivery.execute(params![
            row::id_bytes(&incoming.id),
            incoming.received_at.as_microsecond(),
            incoming.origin.as_str(),
            incoming.replay_of.as_ref().map(row::id_bytes),
            kind.contract.map(Contract::as_str),
            kind.event_type.as_ref().map(EventType::as_str),
            kind.wire_event,
            incoming.signature.as_str(),
            incoming.not_forwarded.map(NotForwarded::as_str),
            request.method,
            request.path,
            &contract::mask(&request.headers).to_block_with(&contract::mask(&request.trailers))[..],
            Column::new(&request.body, body),
            incoming.signature_note.as_deref(),
        ])?;
        let number = self.connection.last_insert_rowid();
        if let Some(relayed) = &incoming.relayed {
            let text = "INSERT INTO relayed (delivery, channel, seq, late_since) VALUES (?1, ?2, ?3, ?4)";
            let late_since = relayed.late_since().map(Timestamp::as_microsecond);
            let values = params![number, relayed.channel.bytes(), relayed.seq, late_since];
            self.connection.prepare_cached(text)?.execute(values)?;
            self.recorded = Some((relayed.channel, relayed.seq));
        }
        Ok(number)
    }

    /// How far a channel is recorded; what comes together is mostly of one.
    fn recorded_up_to(&self, channel: &ChannelId) -> rusqlite::Result<i64> {
        if let Some((_, last)) = self.recorded.filter(|(of, _)| of == channel) {
            return Ok(last);
        }
        let text = "SELECT coalesce(max(seq), 0) FROM relayed WHERE channel = ?1";
        self.connection.prepare_cached(text)?.query_row([channel.bytes()], |row| row.get(0))
    }

    /// Lets a delivery wait for its target, if it is still there, or wait no more.
    pub(super) fn waiting(&mut self, delivery: i64, waiting: &Waiting) -> rusqlite::Result<()> {
        match waiting {
            Waiting::AsBefore => Ok(()),
            Waiting::For(target) => self.hold.execute(params![delivery, target.to_string()]).map(drop),
            Waiting::NoMore => self.release.execute([delivery]).map(drop),
        }
    }

    /// Puts an attempt in, with the body of its answer or the place of that, if its delivery is still there; within the transaction that the statements
    /// were prepared in, since the watermark of the text index may be another one in the next.
    pub(super) fn attempt(
        &mut self,
        delivery: i64,
        attempt: &Attempt,
        body: Option<Place>,
    ) -> rusqlite::Result<()> {
        let (mut status, mut error, mut detail, mut cut) = (None, None, None, false);
        let mut headers = Cow::Owned(Headers::new());
        match &attempt.outcome {
            Outcome::Answered(answer) => {
                (status, cut) = (Some(answer.status), answer.cut);
                headers = contract::mask(&answer.headers);
            }
            Outcome::Failed(failure) => {
                (error, detail) = (Some(failure.kind.as_str()), Some(failure.detail.as_str()));
            }
        }
        let put = self.attempt.execute(params![
            delivery,
            attempt.number,
            attempt.target,
            attempt.started_at.as_microsecond(),
            row::micros(attempt.duration),
            attempt.outcome.is_acknowledged(),
            status,
            error,
            detail,
            cut,
            &headers.to_block()[..],
            Column::new(answer_body(attempt), body),
        ])?;
        if put > 0 && delivery <= self.watermark {
            self.again.execute([delivery])?;
        }
        Ok(())
    }
}

/// The body of an attempt's answer; empty when there was none.
pub(super) fn answer_body(attempt: &Attempt) -> &[u8] {
    match &attempt.outcome {
        Outcome::Answered(answer) => &answer.body,
        Outcome::Failed(_) => &[],
    }
}
