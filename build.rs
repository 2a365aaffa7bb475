//! Rebuilds when a fixture or a file of the inspector's page changes, so that the embedded copies are never stale.

fn main() {
    println!("cargo:rerun-if-changed=fixtures");
    println!("cargo:rerun-if-changed=src/observers/inspector/page");
}
