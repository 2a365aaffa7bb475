//! Rebuilds when a fixture changes, so that the embedded copies are never stale.

fn main() {
    println!("cargo:rerun-if-changed=fixtures");
}
