//! Developer commands: `cargo xtask test | lint | tidy | deny | slt | bench | chaos | elastic | hostile | soak | wire | interrupt | fuzz-sql |
//! services`.
//!
//! In: a command line. Out: the exit code that CI reads. Each command is a list of steps; what a step needs from outside (a Python
//! environment, SeaweedFS, PostgreSQL) is installed by [`install`] at pinned versions, never by hand.

mod install;
mod lint;
mod services;
mod steps;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// Developer commands of Polynya.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything a change must pass besides `lint`: unit tests, sqllogictests, and the tests against real services.
    Test(test::TestOptions),
    /// Formatting, clippy, tidy, and (where cargo-deny is installed) licences and advisories.
    Lint,
    /// House rules that no lint of the compiler covers: file headers, file lengths, leftovers, machine paths.
    Tidy,
    /// Licences, advisories and banned crates; installs cargo-deny at its pinned version when it is missing.
    Deny,
    /// Run the sqllogictests whose path contains FILTER.
    Slt {
        /// Part of a path below sqllogictests/slt, such as `joins/` or `decimals/overflow`.
        filter: Option<String>,
        /// Write what the engine answers into the files. Review the difference: it becomes the expectation.
        #[arg(long)]
        update: bool,
        /// A running server to test, such as grpc://127.0.0.1:50051; by default the test starts its own.
        #[arg(long)]
        url: Option<String>,
        /// Run the queries on so many worker processes.
        #[arg(long, value_name = "COUNT")]
        workers: Option<usize>,
    },
    /// `polynya-bench` in the release profile, with the arguments that follow.
    #[command(disable_help_flag = true)]
    Bench {
        /// Arguments for polynya-bench.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Kill and stop workers while TPC-H queries run (release profile), with the arguments that follow; --help lists them.
    #[command(disable_help_flag = true)]
    Chaos {
        /// Arguments for the harness.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Compare TPC-H on workers with the coordinator alone, and measure queries that find no worker (release profile), with
    /// the arguments that follow; --help lists them.
    #[command(disable_help_flag = true)]
    Elastic {
        /// Arguments for the harness.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run an honest client beside hostile ones: statements, uploads, damaged files, silence (release profile), with the arguments that
    /// follow; --help lists them.
    #[command(disable_help_flag = true)]
    Hostile {
        /// Arguments for the harness.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run TPC-H and TPC-DS by several clients under limits so tight that whatever can wait for itself does (release profile), with
    /// the arguments that follow; --help lists them.
    #[command(disable_help_flag = true)]
    Soak {
        /// Arguments for the harness.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measure round trips of small queries, and a large result against arrow-flight alone (release profile), with the
    /// arguments that follow; --help lists them.
    #[command(disable_help_flag = true)]
    Wire {
        /// Arguments for the harness.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// End ingests and definitions at random moments, by their client, a deadline or SIGKILL (release profile), with the arguments that
    /// follow; --help lists them.
    #[command(disable_help_flag = true)]
    Interrupt {
        /// Arguments for the harness.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Compare the answers to random queries with those of PostgreSQL and DuckDB, and with ours in other ways: on workers, with little
    /// memory, without optimiser passes (release profile), with the arguments that follow; --help lists them.
    #[command(disable_help_flag = true)]
    FuzzSql {
        /// Arguments for the harness.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Start SeaweedFS (S3 and the Iceberg REST catalog) and PostgreSQL for work by hand, until Ctrl-C.
    Services,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Task::Test(options) => test::run(&options),
        Task::Lint => lint::run(),
        Task::Tidy => tidy::run(),
        Task::Deny => lint::deny(),
        Task::Slt { filter, update, url, workers } => test::slt(filter.as_deref(), update, url.as_deref(), workers),
        Task::Bench { arguments } => bench(&arguments),
        Task::Chaos { arguments } => test::chaos(&arguments),
        Task::Elastic { arguments } => test::elastic(&arguments),
        Task::Hostile { arguments } => test::hostile(&arguments),
        Task::Soak { arguments } => test::soak(&arguments),
        Task::Wire { arguments } => test::wire(&arguments),
        Task::Interrupt { arguments } => test::interrupt(&arguments),
        Task::FuzzSql { arguments } => test::fuzz_sql(&arguments),
        Task::Services => services::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(arguments: &[String]) -> Result<()> {
    let mut command = cargo();
    command.args(["run", "--release", "--package", "polynya-bench", "--"]).args(arguments);
    let status = command.status().context("cannot start cargo")?;
    anyhow::ensure!(status.success(), "polynya-bench ended with {status}");
    Ok(())
}

/// The workspace root: the folder above this crate.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where cargo puts its artifacts.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A cargo command in the workspace root, the same cargo that runs us.
///
/// What `cargo run` has told us of our own package is left out: build scripts look at these variables, and a developer's
/// `cargo build` would then build ring, and all that depends on it, once more after each `cargo xtask`.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let ours = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(ours)) {
        command.env_remove(name);
    }
    command.current_dir(root());
    command
}
