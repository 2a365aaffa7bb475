//! Makes events as Meeting BaaS would send them: a body of the catalogue or of the user, edited, signed, named.

use anyhow::Result;
use bytes::Bytes;

use super::compose::{self, Patch};
use super::dispatch::Parcel;
use super::provenance::Provenance;
use crate::contract::retry::{Ladder, ladder};
use crate::contract::{WireNames, recognise, recognise_within, wire_event};
use crate::fixture::{Artifacts, Entry, Fixture, Run};
use crate::forward::Manner;
use crate::json::Json;
use crate::model::{Clock, Contract, EventName, Headers, Kind, Origin};
use crate::scenario::{Faults, Signed, distorted, gzip};
use crate::signature::{HeaderStyle, Keyring, SignMode, Signing, Stamp};

/// What is sent: an event of the catalogue, or the user's own bytes.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its contract.
    pub contract: Contract,
    /// The event's name, where it comes from the catalogue; otherwise its body tells.
    pub name: Option<EventName>,
    /// Its body.
    pub fixture: Fixture,
}

/// Makes requests, each with ids and times of its own.
pub struct Maker {
    /// What is sent.
    pub event: Event,
    /// How long the meeting is to be, in minutes, where the fixture says what that changes.
    pub minutes: Option<u32>,
    /// Edits of its body.
    pub patches: Vec<Patch>,
    /// Signed right, or wrong on purpose.
    pub mode: SignMode,
    /// How the authentication headers of v2 are named.
    pub style: HeaderStyle,
    /// The method, where it is not the one that the contract usually has.
    pub method: Option<String>,
    /// Whether the bytes are sent as they are, neither filled in nor brought into canonical form.
    pub raw: bool,
    /// How deliveries of it come to be.
    pub origin: Origin,
    /// The event type behind each wire event.
    pub names: WireNames,
    /// Where the files of meetings can be fetched.
    pub artifacts: Artifacts,
    /// Looks up an environment variable, for templates.
    pub environment: fn(&str) -> Option<String>,
}

/// An event that was made: what all attempts at sending it have in common.
#[derive(Clone, Debug)]
pub struct Message {
    body: Bytes,
    kind: Kind,
    stamp: Stamp,
}

impl Message {
    /// Its body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// What it is.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The same message, for another attempt that is made now.
    #[must_use]
    pub fn again(&self, clock: &Clock) -> Self {
        Self { stamp: self.stamp.again(clock), ..self.clone() }
    }
}

impl From<Entry> for Event {
    fn from(Entry { contract, name, fixture }: Entry) -> Self {
        Self { contract, name: Some(name), fixture }
    }
}

impl Event {
    /// An event of the user's: of that contract, or else of the one that its body speaks of. `label` stands for it in
    /// messages.
    pub fn of_user(names: &WireNames, contract: Option<Contract>, label: &str, bytes: Vec<u8>) -> Self {
        let told = recognise(names, &Headers::new(), &bytes);
        let contract = contract.or(told.contract).unwrap_or(Contract::Preview);
        Self { contract, name: None, fixture: Fixture::new(label, bytes) }
    }
}

impl Maker {
    /// Makes the next request.
    ///
    /// # Errors
    ///
    /// When the body cannot be filled in or edited, or its contract cannot be signed like that.
    pub fn make(&self, clock: &Clock, keys: &Keyring) -> Result<Parcel> {
        self.parcel(&self.message(clock)?, keys, &Faults::default())
    }

    /// Makes the next event.
    ///
    /// # Errors
    ///
    /// When the body cannot be filled in or edited.
    pub fn message(&self, clock: &Clock) -> Result<Message> {
        let body = if self.raw {
            Bytes::copy_from_slice(self.event.fixture.source())
        } else {
            self.canonical_body(&self.event.fixture, clock)?
        };
        Ok(self.with_body(body, clock))
    }

    /// The event with a body that is made already.
    pub fn with_body(&self, body: Bytes, clock: &Clock) -> Message {
        Message { kind: self.kind(&body), body, stamp: Stamp::new(clock) }
    }

    /// The request of one attempt at sending an event, as it leaves with these faults.
    ///
    /// # Errors
    ///
    /// When its contract cannot be signed like that.
    pub fn parcel(&self, message: &Message, keys: &Keyring, faults: &Faults) -> Result<Parcel> {
        let Message { body, kind, stamp } = message;
        let contract = self.event.contract;
        let key = keys.key(contract, kind.event_type.as_ref());
        let signing = Signing { contract, key, mode: self.mode, style: self.style };
        let signed = if faults.gzip == Some(Signed::Compressed) { gzip(body) } else { body.clone() };
        let mut request = compose::request_of(&signing, stamp, kind.wire_event.as_deref(), signed)?;
        if let Some(method) = &self.method {
            request.method.clone_from(method);
        }
        let request = distorted(request, faults);
        let manner = match (faults.reset, faults.slow) {
            (Some(share), _) => Manner::BrokenOff(share.of(request.body.len())),
            (None, Some(time)) => Manner::Slowly(time),
            (None, None) => Manner::Whole,
        };
        let provenance = Provenance { origin: self.origin, replay_of: None, contract: Some(contract) };
        Ok(Parcel { request, kind: kind.clone(), provenance, manner })
    }

    /// How whoever sends the event tries again.
    pub fn ladder(&self) -> &'static Ladder {
        ladder(self.event.contract, self.event.fixture.wire_event().as_deref())
    }

    fn canonical_body(&self, fixture: &Fixture, clock: &Clock) -> Result<Bytes> {
        let run = Run::new(clock, self.environment).with_artifacts(self.artifacts.clone());
        let run = match self.minutes {
            Some(minutes) => run.lasting(minutes),
            None => run,
        };
        if self.patches.is_empty() {
            return Ok(Bytes::from(fixture.render_canonical(&run)?));
        }
        let mut body: Json = fixture.render(&run)?;
        compose::edit(&mut body, &self.patches)?;
        Ok(Bytes::from(body.to_canonical()))
    }

    /// What the request is: as the catalogue says, or, for the user's own, as its body says.
    fn kind(&self, body: &[u8]) -> Kind {
        let event_type = match &self.event.name {
            Some(name) => Some(name.event_type.clone()),
            None => recognise_within(&self.names, Some(self.event.contract), body).event_type,
        };
        Kind { contract: Some(self.event.contract), event_type, wire_event: wire_event(body) }
    }
}
