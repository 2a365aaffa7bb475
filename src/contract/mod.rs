//! What Meeting BaaS sends, as pure rules: how its contracts are told apart, what their bodies look like, what in them
//! is a credential or another secret, how its senders try again.

mod authentication;
mod bot;
mod credentials;
pub mod presigned;
mod recognise;
pub mod redact;
mod redact_encoded;
mod redact_json;
mod redact_multipart;
mod redact_text;
pub mod retry;
pub mod schema;
pub mod sender;

pub use authentication::{Part, authenticated_contract, authenticates, field_names};
pub use bot::{BOT_KEYS, bot_of};
pub use credentials::{is_credential, is_mask, mask};
pub use recognise::{WireNames, recognise, recognise_within, wire_event};
