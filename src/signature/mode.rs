//! Signing right, and signing wrong in the ways that handlers must survive.

use std::fmt;

use crate::model::Contract;

/// How to sign an event: right, or wrong in a way that handlers must survive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignMode {
    /// As Meeting BaaS does.
    #[default]
    Valid,
    /// With a secret that is not the configured one.
    WrongSecret,
    /// Over a body that is not the one sent.
    Tampered,
    /// Not at all.
    Missing,
    /// With a value that cannot be a signature: too short, or, where it would be the secret itself, empty.
    Malformed,
    /// 301 seconds ago, one more than receivers allow.
    Stale,
    /// 301 seconds from now.
    Future,
    /// With another secret and with the right one, as while an endpoint changes its secret. Handlers must accept it.
    Rotated,
    /// Without the id.
    MissingId,
    /// Without the time stamp.
    MissingTimestamp,
    /// With id and time stamp only.
    MissingSignature,
}

/// A way of signing that a contract does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// The contract.
    pub contract: Contract,
    /// The way.
    pub mode: SignMode,
}

impl SignMode {
    /// Every mode.
    pub const ALL: [Self; 11] = [
        Self::Valid,
        Self::WrongSecret,
        Self::Tampered,
        Self::Missing,
        Self::Malformed,
        Self::Stale,
        Self::Future,
        Self::Rotated,
        Self::MissingId,
        Self::MissingTimestamp,
        Self::MissingSignature,
    ];

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::WrongSecret => "wrong-secret",
            Self::Tampered => "tampered",
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Stale => "stale",
            Self::Future => "future",
            Self::Rotated => "rotated",
            Self::MissingId => "missing-id",
            Self::MissingTimestamp => "missing-timestamp",
            Self::MissingSignature => "missing-signature",
        }
    }

    /// Whether a handler must accept what is signed so.
    pub fn is_right(self) -> bool {
        matches!(self, Self::Valid | Self::Rotated)
    }

    /// Fails when a contract has nothing that could be signed so.
    pub fn check(self, contract: Contract) -> Result<(), Unsupported> {
        let fits = match self {
            Self::Valid | Self::WrongSecret | Self::Missing | Self::Malformed => true,
            Self::Tampered => matches!(contract, Contract::Preview | Contract::V2),
            Self::Stale
            | Self::Future
            | Self::Rotated
            | Self::MissingId
            | Self::MissingTimestamp
            | Self::MissingSignature => contract == Contract::V2,
        };
        if fits { Ok(()) } else { Err(Unsupported { contract, mode: self }) }
    }
}

impl fmt::Display for SignMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Unsupported {
    /// What to do about it.
    pub fn hint(self) -> String {
        let fitting = SignMode::ALL.into_iter().filter(|mode| mode.check(self.contract).is_ok());
        let names: Vec<&str> = fitting.map(SignMode::as_str).collect();
        format!("a {} event can be signed {}", self.contract, names.join(", "))
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { contract, mode } = self;
        let what = if *contract == Contract::Preview { "signature" } else { "request" };
        match mode {
            SignMode::Tampered => {
                write!(f, "a {contract} request carries the secret itself, which says nothing about the body")
            }
            SignMode::Rotated => write!(f, "a {contract} {what} is made with one secret only"),
            SignMode::MissingId => write!(f, "a {contract} {what} carries no id that could be missing"),
            SignMode::MissingTimestamp => {
                write!(f, "a {contract} {what} carries no time stamp that could be missing")
            }
            SignMode::MissingSignature => {
                write!(f, "a {contract} request has no other part than one: use `missing`")
            }
            _ => write!(f, "a {contract} {what} carries no time stamp, so it cannot be {mode}"),
        }
    }
}

impl std::error::Error for Unsupported {}
