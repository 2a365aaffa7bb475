//! The proxy that records and does nothing else, with the allocator that mbaas-dev has.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    bare_proxy::recording::main();
}
