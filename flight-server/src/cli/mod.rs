//! The command line: what `polynya` can be asked to do.

mod demo;
mod hash_password;
mod logging;
mod serve;
mod sql;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// An OLAP engine over Iceberg tables in object stores, spoken to with SQL over Arrow Flight SQL.
#[derive(Debug, Parser)]
#[command(name = "polynya", version, about, max_term_width = 100)]
#[command(after_help = "Start with `polynya demo`: it makes tables, serves them, and checks 22 queries on them.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves SQL over Arrow Flight SQL.
    Serve(serve::Arguments),
    /// Runs tasks of large queries for a coordinator.
    Worker(worker::Arguments),
    /// Runs SQL, interactively or from -c, -f or standard input.
    Sql(Box<sql::Arguments>),
    /// Shows the whole way on TPC-H tables in a local folder: make, load, serve, query, check.
    Demo(demo::Arguments),
    /// Makes a line for the file of users (setting auth.users_file) of a password that is typed or read.
    HashPassword(hash_password::Arguments),
}

/// Stack of each thread, in bytes. Planning recurses as deep as an expression is long; `engine/src/statement/bounds.rs`
/// refuses expressions that this would not hold. Pages that are never touched cost nothing.
const STACK_BYTES: usize = 256 << 20;

/// Runs the process to its exit code.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the runtime could not be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        match arguments.command {
            Command::Serve(arguments) => serve::run(arguments).await,
            Command::Worker(arguments) => worker::run(arguments).await,
            Command::Sql(arguments) => sql::run(*arguments).await,
            Command::Demo(arguments) => demo::run(arguments).await,
            Command::HashPassword(arguments) => hash_password::run(&arguments),
        }
    });
    // Work on blocking threads (a prompt that waits for a key, a slow resolver) must not keep the process.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| {
        // `{:#}` gives the whole chain of causes, on one line.
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
