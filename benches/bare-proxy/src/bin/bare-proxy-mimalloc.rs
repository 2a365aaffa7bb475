//! The bare proxy with the allocator that mbaas-dev has.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    bare_proxy::main();
}
