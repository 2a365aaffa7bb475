//! The bare proxy with the system's allocator.

fn main() {
    bare_proxy::main();
}
