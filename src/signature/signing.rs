//! What a sender signs its requests with, and the headers that come of it.

use jiff::{SignedDuration, Timestamp};

use super::svix::{self, BadKey, HeaderStyle, SvixKey};
use super::{Key, SignMode, Unsupported, preview};
use crate::contract::{Part, field_names};
use crate::model::{Clock, Contract, Headers, Secret};

/// How far outside of what receivers allow a time stamp lies that is wrong on purpose.
const TOO_FAR: SignedDuration = SignedDuration::from_secs(svix::TOLERANCE + 1);

/// How to sign a message.
#[derive(Clone, Debug)]
pub struct Signing {
    /// The contract, which decides the scheme.
    pub contract: Contract,
    /// With what.
    pub key: Key,
    /// Right, or wrong on purpose.
    pub mode: SignMode,
    /// How the headers of v2 are named.
    pub style: HeaderStyle,
}

/// What tells one attempt at sending a message from the others. Only v2 shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The id of the message, the same on every attempt.
    pub id: String,
    /// When the attempt is made.
    pub at: Timestamp,
}

/// A message that cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotSign {
    /// Its contract has no such way.
    #[error(transparent)]
    Mode(#[from] Unsupported),
    /// The secret is not of the form that its contract needs.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// The contract sends its secret as it is, and no header can carry this one.
    #[error(
        "the secret for {0} has a line break, another control character or white space at its ends: {0} sends it as it is, in a header"
    )]
    Credential(Contract),
}

impl Stamp {
    /// The first attempt of a new message.
    pub fn new(clock: &Clock) -> Self {
        let at = clock.now();
        Self { id: svix::message_id(at, clock.random_bytes()), at }
    }

    /// Another attempt of the same message.
    #[must_use]
    pub fn again(&self, clock: &Clock) -> Self {
        Self { id: self.id.clone(), at: clock.now() }
    }
}

impl Signing {
    /// As Meeting BaaS signs.
    pub fn right(contract: Contract, key: Key) -> Self {
        Self { contract, key, mode: SignMode::Valid, style: HeaderStyle::Svix }
    }

    /// The authentication headers of one attempt at sending `body`, in the order in which they are sent.
    ///
    /// # Errors
    ///
    /// The contract has nothing that could be signed in that mode, or the secret is not one that it can have.
    pub fn sign(&self, stamp: &Stamp, body: &[u8]) -> Result<Headers, CannotSign> {
        self.mode.check(self.contract)?;
        match self.contract {
            Contract::V2 => self.sign_v2(stamp, body),
            Contract::Preview => Ok(self.field(preview::HEADER, self.preview_value(body))),
            Contract::V1 | Contract::Callback | Contract::Alert => {
                if !self.key.secret().fits_a_header() {
                    return Err(CannotSign::Credential(self.contract));
                }
                let name = field_names(self.contract, Part::Credential).next();
                Ok(self
                    .field(name.expect("a contract without signature has a credential"), self.credential()))
            }
        }
    }

    fn sign_v2(&self, stamp: &Stamp, body: &[u8]) -> Result<Headers, CannotSign> {
        let right = SvixKey::all(&self.key)?;
        let keys = match self.mode {
            SignMode::WrongSecret => right.iter().map(SvixKey::other).collect(),
            SignMode::Rotated => [vec![right[0].other()], right].concat(),
            _ => right,
        };
        let at = match self.mode {
            SignMode::Stale => stamp.at.saturating_sub(TOO_FAR),
            SignMode::Future => stamp.at.saturating_add(TOO_FAR),
            _ => Ok(stamp.at),
        };
        let seconds = at.unwrap_or(stamp.at).as_second();
        let changed = (self.mode == SignMode::Tampered).then(|| tampered(body));
        let body = changed.as_deref().unwrap_or(body);
        let signature = match self.mode {
            SignMode::Malformed => TOO_SHORT.to_owned(),
            _ => keys.iter().map(|key| key.sign(&stamp.id, seconds, body)).collect::<Vec<_>>().join(" "),
        };
        let is_there = |part: &Part| match self.mode {
            SignMode::Missing => false,
            SignMode::MissingId => *part != Part::Id,
            SignMode::MissingTimestamp => *part != Part::Timestamp,
            SignMode::MissingSignature => *part != Part::Signature,
            _ => true,
        };
        let values = [
            (Part::Id, stamp.id.clone()),
            (Part::Timestamp, seconds.to_string()),
            (Part::Signature, signature),
        ];
        let fields = values.into_iter().filter(|(part, _)| is_there(part));
        Ok(fields.map(|(part, value)| (self.style.name(part).as_bytes(), value)).collect())
    }

    fn preview_value(&self, body: &[u8]) -> String {
        match self.mode {
            SignMode::WrongSecret => preview::sign(&other(self.key.secret()), body),
            SignMode::Tampered => preview::sign(self.key.secret(), &tampered(body)),
            SignMode::Malformed => TOO_SHORT.to_owned(),
            _ => preview::sign(self.key.secret(), body),
        }
    }

    fn credential(&self) -> String {
        match self.mode {
            SignMode::WrongSecret => other(self.key.secret()).expose().to_owned(),
            SignMode::Malformed => String::new(),
            _ => self.key.secret().expose().to_owned(),
        }
    }

    /// The only header of a contract that has one, unless it is missing on purpose.
    fn field(&self, name: &'static str, value: String) -> Headers {
        let is_there = self.mode != SignMode::Missing;
        is_there.then_some((name.as_bytes(), value)).into_iter().collect()
    }
}

/// What cannot be a signature of any contract.
const TOO_SHORT: &str = "deadbeef";

/// A secret that is not this one, the same each time.
fn other(secret: &Secret) -> Secret {
    Secret::new(format!("not-{}", secret.expose()))
}

/// A body that differs in one bit.
fn tampered(body: &[u8]) -> Vec<u8> {
    match body.split_last() {
        Some((last, rest)) => [rest, &[last ^ 1]].concat(),
        None => vec![b' '],
    }
}
