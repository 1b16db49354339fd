//! The `polynya` binary: see `polynya --help`.

use std::process::ExitCode;

/// Queries allocate and free arrays of some hundred KiB all the time, on all cores: what the system's allocator does slowly
/// and gives back late.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    polynya_flight_server::cli::main()
}
