//! The palisade binary. Everything is in the library, so that a gateway with its own plugins is as short.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    palisade::builder().run()
}
