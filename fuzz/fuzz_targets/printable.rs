//! `cargo +nightly fuzz run printable`

#![no_main]

#[path = "../oracles.rs"]
#[allow(dead_code, reason = "each target has one")]
mod oracles;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oracles::printable(bytes));
