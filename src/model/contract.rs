//! The five ways in which Meeting BaaS sends HTTP.

use std::fmt;
use std::str::FromStr;

/// One of the outgoing HTTP contracts of Meeting BaaS.
///
/// The order is the order in which an event name that stands in several contracts is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Contract {
    /// The contract of the Webhooks API page: nine event types, an HMAC in hex in `X-MeetingBaas-Signature`.
    Preview,
    /// Account webhooks of API v2, delivered by Svix.
    V2,
    /// Webhooks of API v1, which carry the account's API key.
    V1,
    /// Per-bot callbacks of API v2, which carry a shared secret.
    Callback,
    /// Callbacks of alert rules.
    Alert,
}

impl Contract {
    /// Every contract, in resolution order.
    pub const ALL: [Self; 5] = [Self::Preview, Self::V2, Self::V1, Self::Callback, Self::Alert];

    /// The name used on the command line, in JSON and as the folder under `fixtures/`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preview => "preview",
            Self::V2 => "v2",
            Self::V1 => "v1",
            Self::Callback => "callback",
            Self::Alert => "alert",
        }
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Contract {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|contract| contract.as_str() == name).ok_or_else(|| {
            format!("`{name}` is not a contract; there are preview, v1, v2, callback and alert")
        })
    }
}
