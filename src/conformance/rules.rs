//! The rules, one by one: a name, what is sent, what is expected, why it matters, and what to do about it.

use super::{Edit, Expected};
use crate::model::Contract;
use crate::signature::SignMode;

/// Something that a handler has to do.
#[derive(Debug, PartialEq)]
pub struct Rule {
    /// What it is called on the command line and in reports.
    pub name: &'static str,
    /// What is sent to find out whether it holds.
    pub probe: Probe,
    /// The same, for people.
    pub sent: &'static str,
    /// Which answers hold.
    pub expected: Expected,
    /// How much it matters.
    pub severity: Severity,
    /// Why it matters, in one sentence.
    pub why: &'static str,
    /// What to do about it.
    pub hint: &'static str,
}

/// What is sent to find out whether a rule holds: one event of the contract, the one that matters most, unless it says
/// otherwise, and signed as it should be, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Signed in this way.
    Signed(SignMode),
    /// Each event of the contract.
    EveryEvent,
    /// With another body.
    Edited(Edit),
    /// The same message twice.
    Twice,
    /// With the header names of Standard Webhooks.
    StandardNames,
    /// Nothing: the answers to everything else are looked at.
    Nothing,
}

/// How much a rule matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// A handler that does not keep it loses events, or takes what is forged.
    Must,
    /// A handler that does not keep it may come to.
    Should,
}

impl Severity {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Must => "must",
            Self::Should => "should",
        }
    }
}

impl Rule {
    /// Whether it makes sense where events come by that contract.
    pub fn applies_to(&self, contract: Contract) -> bool {
        match self.probe {
            Probe::Signed(mode) => mode.check(contract).is_ok(),
            Probe::Edited(edit) => edit.of(contract).is_some(),
            Probe::StandardNames => contract == Contract::V2,
            Probe::EveryEvent | Probe::Twice | Probe::Nothing => true,
        }
    }

    const fn must_take(name: &'static str, probe: Probe, texts: [&'static str; 3]) -> Self {
        Self::new(name, probe, (Expected::Acknowledged, Severity::Must), texts)
    }

    const fn must_refuse(mode: SignMode, name: &'static str, texts: [&'static str; 3]) -> Self {
        Self::new(name, Probe::Signed(mode), (Expected::Refused, Severity::Must), texts)
    }

    const fn new(
        name: &'static str,
        probe: Probe,
        (expected, severity): (Expected, Severity),
        [sent, why, hint]: [&'static str; 3],
    ) -> Self {
        Self { name, probe, sent, expected, severity, why, hint }
    }
}

/// Every rule, in the order in which they are tried.
pub const RULES: [Rule; 19] = [
    Rule::must_take(
        "valid",
        Probe::Signed(SignMode::Valid),
        [
            "an event as Meeting BaaS sends it",
            "an event that is not acknowledged is sent again for a while, and then it is lost",
            "`mbaas-dev secret show` prints the secret that it is signed with; the handler needs the same, and verifies the \
             bytes of the body as they arrive",
        ],
    ),
    Rule::must_take(
        "every-event",
        Probe::EveryEvent,
        [
            "the event as Meeting BaaS sends it",
            "whoever subscribes to all events gets this one, again and again while it is not acknowledged",
            "acknowledge what you have no use for as well; `mbaas-dev events show` has every field of it, and which may be null",
        ],
    ),
    Rule::must_take(
        "unicode",
        Probe::Edited(Edit::Unicode),
        [
            "emoji, combining marks, U+2028, <&>",
            "names and words come in every script: such an event is refused each time it is sent",
            "verify the bytes as they arrive: what another library writes anew may have \\u escapes or other forms of a letter",
        ],
    ),
    Rule::must_take(
        "large",
        Probe::Edited(Edit::Large),
        [
            "a body of about 1 MiB",
            "a long transcript, a full calendar or an `extra` of yours makes such a body, and most frameworks take 100 KB or \
             1 MB unless told otherwise",
            "raise the limit to 5 MB or more: `express.json({ limit: '5mb' })`, `client_max_body_size 5m` in nginx, \
             MAX_CONTENT_LENGTH in Flask",
        ],
    ),
    Rule::must_take(
        "extra-field",
        Probe::Edited(Edit::ExtraField),
        [
            "fields that do not exist yet",
            "Meeting BaaS adds fields without asking: on that day every event is refused",
            "ignore fields that you do not know: no `additionalProperties: false`, no `.strict()`, no `extra=\"forbid\"`",
        ],
    ),
    Rule::must_take(
        "duplicate",
        Probe::Twice,
        [
            "the same message twice",
            "events come at least once: one whose acknowledgement was lost comes again, until it is acknowledged",
            "answer 2xx to what you have had already, instead of 409 or an error of the database",
        ],
    ),
    Rule::must_take(
        "rotated",
        Probe::Signed(SignMode::Rotated),
        [
            "two signatures, of which the second fits",
            "while a secret is being changed, events carry a signature of the old and one of the new",
            "take the signatures apart at the spaces, and accept if any of them fits, as the `svix` library does",
        ],
    ),
    Rule::must_refuse(
        SignMode::WrongSecret,
        "wrong-secret",
        [
            "made with another secret",
            "whoever knows the URL can make up events, and the handler believes them",
            "compare with what the secret gives, in constant time, and answer 401 where it differs",
        ],
    ),
    Rule::must_refuse(
        SignMode::Tampered,
        "tampered",
        [
            "changed after it was signed",
            "whoever stands in between can change events, and the handler believes them",
            "sign the body that arrived, all of it, before you compare; answer 401 where it differs",
        ],
    ),
    Rule::must_refuse(
        SignMode::Missing,
        "missing",
        [
            "without any authentication",
            "whoever knows the URL can send anything, without even trying to sign it",
            "answer 401 where the header is not there, before you compare: `compare_digest(None, …)` and \
             `Buffer.from(undefined)` raise, which ends in a 500",
        ],
    ),
    Rule::must_refuse(
        SignMode::Malformed,
        "malformed",
        [
            "a value that cannot be right",
            "anybody can make such a request, and an exception for each fills the log and hides what is real",
            "compare lengths first: `timingSafeEqual` throws where they differ, which ends in a 500; answer 401",
        ],
    ),
    Rule::must_refuse(
        SignMode::Stale,
        "stale",
        [
            "signed 301 seconds ago",
            "whoever has seen one event can send it again at any time",
            "refuse what was signed more than five minutes ago, as the `svix` library does",
        ],
    ),
    Rule::must_refuse(
        SignMode::Future,
        "future",
        [
            "signed 301 seconds from now",
            "a time stamp that is never too old makes an event good for ever",
            "refuse what is signed for more than five minutes from now, as the `svix` library does",
        ],
    ),
    Rule::must_refuse(
        SignMode::MissingId,
        "missing-id",
        [
            "without svix-id",
            "the id is signed as well: what is verified without it is something else than what was sent",
            "answer 400 or 401 where one of the three headers is not there",
        ],
    ),
    Rule::must_refuse(
        SignMode::MissingTimestamp,
        "missing-timestamp",
        [
            "without svix-timestamp",
            "without its time a request can be as old as it likes",
            "answer 400 or 401 where one of the three headers is not there",
        ],
    ),
    Rule::must_refuse(
        SignMode::MissingSignature,
        "missing-signature",
        [
            "without svix-signature",
            "an id and a time stamp prove nothing: everybody can make them up",
            "answer 400 or 401 where one of the three headers is not there",
        ],
    ),
    Rule::new(
        "unknown-event",
        Probe::Edited(Edit::UnknownEvent),
        (Expected::Acknowledged, Severity::Should),
        [
            "an event that does not exist yet",
            "Meeting BaaS adds events: one that is refused is sent again and again, and an endpoint where nothing \
             succeeds is switched off",
            "acknowledge events that you do not know, and do nothing",
        ],
    ),
    // The sender has the others, but servers of Svix can be told to use these, and its own verifiers take both.
    Rule::new(
        "header-style",
        Probe::StandardNames,
        (Expected::Acknowledged, Severity::Should),
        [
            "webhook-id, webhook-timestamp, …",
            "the sender writes svix-id and so on; the names of Standard Webhooks stand for the same, and a server of Svix can \
             be told to use them",
            "let the `svix` library verify, which takes both; or look for `webhook-*` where there is no `svix-*`",
        ],
    ),
    Rule::new(
        "prompt",
        Probe::Nothing,
        (Expected::Prompt, Severity::Should),
        [
            "the slowest answer of all",
            "what takes so long here, with nothing else to do, takes longer in production, and what takes too long is sent again",
            "acknowledge first and work later: put the event into a queue, or give it to a task of its own",
        ],
    ),
];
