//! What Meeting BaaS sends, as pure rules: how its contracts are told apart, what in them is a credential.

mod credentials;
mod recognise;

pub use credentials::{is_credential, is_mask, mask};
pub use recognise::{WireNames, recognise, wire_event};
