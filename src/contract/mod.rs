//! What Meeting BaaS sends, as pure rules: how its contracts are told apart, what in them is a credential
//! or another secret.

mod credentials;
mod recognise;
pub mod redact;
mod redact_json;
mod redact_text;

pub use credentials::{is_credential, is_mask, mask};
pub use recognise::{WireNames, recognise, wire_event};
