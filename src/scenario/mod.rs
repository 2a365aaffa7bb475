//! Scenarios, and what goes wrong on the way from a sender to a handler, as pure rules: seeded, so that a run can be
//! repeated.

mod distort;
mod fault;
mod library;
mod order;
mod read;
mod script;
mod templated;
mod write;

pub use distort::{distorted, gzip};
pub use fault::{BadFault, FAULTS, Faults, Share, Signed};
pub use library::{BuiltIn, UnknownScenario, built_in, find};
pub use order::{Sending, order};
pub use read::{ScenarioError, read};
pub use script::{Scenario, Step};
pub use templated::Templates;
pub use write::{RecordedEvent, write};
