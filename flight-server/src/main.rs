//! The `polynya` binary: see `polynya --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    polynya_flight_server::cli::main()
}
