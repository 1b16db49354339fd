//! The `polynya` binary: see `polynya --help`.

use std::process::ExitCode;

use polynya_engine::CountingAllocator;

/// Queries allocate and free arrays of some hundred KiB all the time, on all cores: what the system's allocator does slowly
/// and gives back late. What planning allocates is counted against `memory.limit`.
#[global_allocator]
static ALLOCATOR: CountingAllocator<mimalloc::MiMalloc> = CountingAllocator(mimalloc::MiMalloc);

fn main() -> ExitCode {
    polynya_flight_server::cli::main()
}
