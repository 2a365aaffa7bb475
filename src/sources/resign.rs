//! Signatures that grew too old on the way, or while their handler was away, are made anew, so that a handler that checks their time accepts them.
//!
//! Only those of v2 have a time. Only what verified is signed again: nothing becomes valid that was not.

use jiff::{SignedDuration, Timestamp};

use super::compose::{message_id, signed_again};
use crate::contract::{Part, field_names};
use std::sync::Arc;

use crate::model::{Contract, Delivery, Headers, Incoming, Kind, Relayed, Request, Verdict, span};
use crate::signature::{Keyring, Signing, Stamp, TOLERANCE};

/// Until when a signature counts as good: handlers allow a little more, and take a while.
const GOOD_FOR: SignedDuration = SignedDuration::from_secs(TOLERANCE - 30);

/// When what came through a tunnel, or waited for its handler, is signed anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resign {
    /// When its signature is too old by now.
    #[default]
    Late,
    /// Never: the handler gets what came.
    Never,
    /// Always.
    Always,
}

impl Resign {
    /// Has a delivery go on with a fresh signature, if it is to have one, and notes that. `at` is now.
    pub fn apply(self, incoming: Incoming, keys: &Keyring, at: Timestamp) -> Incoming {
        let Incoming { kind, signature, request, .. } = &incoming;
        let came_through = incoming.relayed.as_ref();
        match came_through.and_then(|_| self.fresh(kind, *signature, request, keys, at)) {
            None => incoming,
            Some((headers, note)) => {
                let sent_on = |relayed| Relayed { sent_on_with: Some(headers), ..relayed };
                let relayed = incoming.relayed.map(sent_on);
                Incoming { relayed, signature_note: Some(note), ..incoming }
            }
        }
    }

    /// The fields with which a recorded delivery goes on that waited for its handler, if it is to have a fresh signature, and
    /// what there is to say of that.
    pub fn of_waiting(
        self,
        delivery: &Delivery,
        request: &Request,
        keys: &Keyring,
        at: Timestamp,
    ) -> Option<(Headers, Arc<str>)> {
        self.fresh(&delivery.kind, delivery.signature, request, keys, at)
    }

    /// The fields with a fresh signature, and how old the one is that came.
    fn fresh(
        self,
        kind: &Kind,
        signature: Verdict,
        request: &Request,
        keys: &Keyring,
        at: Timestamp,
    ) -> Option<(Headers, Arc<str>)> {
        if signature != Verdict::Valid || kind.contract != Some(Contract::V2) {
            return None;
        }
        let time =
            field_names(Contract::V2, Part::Timestamp).find_map(|name| request.headers.get_str(name))?;
        let age = at.duration_since(Timestamp::from_second(time.parse().ok()?).ok()?);
        let is_wanted = match self {
            Self::Late => age > GOOD_FOR,
            Self::Never => false,
            Self::Always => true,
        };
        if !is_wanted {
            return None;
        }
        let key = keys.key(Contract::V2, kind.event_type.as_ref());
        let stamp = Stamp { id: message_id(request)?, at };
        let signed = signed_again(request, &Signing::right(Contract::V2, key), &stamp, request.body.clone());
        let note = format!("its signature was {} old: it goes on with a fresh one", span(age.unsigned_abs()));
        Some((signed.ok()?.headers, note.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChannelId, Clock, Kind, Line, Secret};
    use crate::signature::{Claim, Key};
    use crate::sources::compose::request;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    /// One that was signed then, and came through a relay unless it is local.
    fn incoming(clock: &Clock, keys: &Keyring, contract: Contract, is_local: bool) -> Incoming {
        let signing = Signing::right(contract, keys.key(contract, None));
        let request = request(&signing, &Stamp::new(clock), "{}".into()).unwrap();
        let plain = Incoming::plain(clock);
        let relayed = Relayed {
            channel: ChannelId::new(clock),
            seq: 1,
            after: 0,
            arrived_at: clock.now(),
            late: true,
            line: Line::new(0),
            sent_on_with: None,
        };
        let kind = Kind { contract: Some(contract), ..plain.kind.clone() };
        let relayed = (!is_local).then_some(relayed);
        Incoming { kind, relayed, request, signature: Verdict::Valid, ..plain }
    }

    fn is_resigned(incoming: &Incoming) -> bool {
        incoming.relayed.as_ref().is_some_and(|relayed| relayed.sent_on_with.is_some())
    }

    #[test]
    fn what_verified_and_is_too_old_by_now_verifies_again_and_nothing_else_is_touched() {
        let then = Clock::fixed("2026-11-24T02:18:24Z".parse().unwrap(), 1);
        let keys = Keyring::new(Key::new(Secret::new(SECRET), "--secret"));
        let after = |seconds| then.now() + SignedDuration::from_secs(seconds);
        for (resign, contract, is_local, seconds, is_fresh) in [
            (Resign::Late, Contract::V2, false, 3 * 3600 + 120, true),
            (Resign::Late, Contract::V2, false, 301, true),
            (Resign::Late, Contract::V2, false, 60, false),
            (Resign::Late, Contract::V2, true, 3600, false),
            (Resign::Late, Contract::Preview, false, 3600, false),
            (Resign::Late, Contract::Callback, false, 3600, false),
            (Resign::Never, Contract::V2, false, 3600, false),
            (Resign::Always, Contract::V2, false, 1, true),
            (Resign::Always, Contract::V2, true, 1, false),
        ] {
            let incoming = incoming(&then, &keys, contract, is_local);
            let id = message_id(&incoming.request);
            let done = resign.apply(incoming, &keys, after(seconds));
            let what = format!("{resign:?} {contract:?} {seconds}");
            assert_eq!((is_resigned(&done), done.signature_note.is_some()), (is_fresh, is_fresh), "{what}");
            let sent = done.outgoing();
            let claim = |headers| Claim {
                contract: Some(contract),
                event_type: None,
                headers,
                body: &sent.body,
                at: after(seconds),
            };
            if contract == Contract::V2 {
                let verdict = claim(&sent.headers).verify(&keys);
                assert_eq!(verdict == Verdict::Valid, is_fresh || seconds < TOLERANCE, "{what}");
                assert_eq!(message_id(&sent), id, "{what}");
            }
        }
        let waited = |seconds| {
            let Incoming { kind, request, .. } = incoming(&then, &keys, Contract::V2, true);
            let fresh = Resign::Late.fresh(&kind, Verdict::Valid, &request, &keys, after(seconds));
            fresh.map(|(_, note)| note)
        };
        assert_eq!(waited(60), None);
        assert_eq!(
            waited(3600).as_deref(),
            Some("its signature was 1 h 0 min old: it goes on with a fresh one")
        );
        let mut forged = incoming(&then, &keys, Contract::V2, false);
        forged.signature = Verdict::Invalid;
        assert!(!is_resigned(&Resign::Always.apply(forged, &keys, after(3600))));
        let done =
            Resign::Late.apply(incoming(&then, &keys, Contract::V2, false), &keys, after(3 * 3600 + 120));
        insta::assert_snapshot!(done.signature_note.unwrap(), @"its signature was 3 h 2 min old: it goes on with a fresh one");
    }
}
