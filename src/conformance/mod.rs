//! What a handler of these webhooks must do, as data: what is sent to find it out, and which answers hold.

mod edit;
mod expected;
mod plan;
mod rules;

pub use edit::{Edit, Edited};
pub use expected::{Expected, Violation, is_prompt, promptly};
pub use plan::{Trial, plan};
pub use rules::{Probe, RULES, Rule, Severity};
