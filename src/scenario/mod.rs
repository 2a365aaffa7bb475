//! What goes wrong on the way from a sender to a handler, as pure rules: seeded, so that a run can be repeated.

mod distort;
mod fault;
mod order;

pub use distort::{distorted, gzip};
pub use fault::{BadFault, FAULTS, Faults, Share, Signed};
pub use order::{Sending, order};
