//! A local development tunnel and webhook simulator for Meeting BaaS webhooks.
//!
//! Data flows one way:
//!
//! ```text
//! sources ──▶ pipeline: record → forward → record the outcome → publish ──▶ observers
//! ```
//!
//! The modules stand in groups, in reading order. A module may use only modules of earlier groups, and neighbours
//! in a group do not use each other. That is the whole rule; `tests/it/tidy.rs` enforces it.

// Words: plain data.
pub mod model;

// Rules: what Meeting BaaS does, as pure functions.
pub mod contract;
pub mod json;

pub mod fixture;
pub mod signature;

pub mod conformance;
pub mod scenario;

// Machines: one outside thing each.
mod bus;
mod forward;
mod serve;
mod store;
mod tunnel;
mod websocket;

// Roads.
mod pipeline;
mod relay;

// Sources: where deliveries come from.
mod sources;

// Observers: who watches.
mod observers;

// Assembly.
mod app;

// The command line.
pub mod cli;

// What `benches/` measures: how requests are made and written.
pub use observers::request_text;
pub use sources::maker;
