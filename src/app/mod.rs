//! Binds the parts together: the only place that knows them all, owns their tasks and shuts them down.

pub mod artifacts;
pub mod demo;
pub mod doctor;
pub mod endpoints;
pub mod inspect;
mod left;
pub mod listen;
pub mod private_file;
pub mod retention;
pub mod secret;
pub mod shutdown;
pub mod state;
