//! `cargo xtask test`: the tests, from the cheapest to the most outside.
//!
//! Every cargo call selects the whole workspace, because a call for one package would resolve other features and build the
//! dependencies a second time. Only the dev profile is built here.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::install::{self, Programs};
use crate::steps::Steps;
use crate::{cargo, root, target_dir};

/// What to run.
#[derive(Args)]
pub(crate) struct TestOptions {
    /// Only what needs no service: unit tests and sqllogictests.
    #[arg(long)]
    fast: bool,
    /// Only these suites (comma separated).
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Suite>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// Unit and documentation tests, and the crates' own integration tests (catalogs against real services).
    Cargo,
    /// sqllogictests against a server in the test's process.
    Slt,
    /// The expectations of the sqllogictests, checked by DuckDB.
    Expect,
    /// A server process against foreign readers, writers and clients.
    Interop,
}

/// Runs the suites asked for; an error when any of them failed.
pub(crate) fn run(options: &TestOptions) -> Result<()> {
    let wanted = |suite: Suite| {
        let fast = matches!(suite, Suite::Cargo | Suite::Slt);
        (options.only.is_empty() || options.only.contains(&suite)) && (!options.fast || fast)
    };
    let mut steps = Steps::new();
    let mut programs = None;
    if !options.fast && options.only != [Suite::Slt] {
        programs = steps.check("services: install what the tests need", install::programs);
        if programs.is_none() {
            return steps.finish();
        }
    }
    steps.run("build: every target, dev profile", cargo().args(["build", "--workspace", "--all-targets"]));
    if wanted(Suite::Cargo) {
        cargo_tests(&mut steps, options.fast, programs.as_ref());
    }
    if wanted(Suite::Slt) {
        steps.run("sqllogictests", cargo().args(["test", "--workspace", "--test", "slt"]));
        let mut distributed = cargo();
        distributed.args(["test", "--workspace", "--test", "slt", "--"]);
        steps.run("sqllogictests, on 2 workers", on_workers(&mut distributed, 2));
    }
    if let Some(programs) = &programs {
        if wanted(Suite::Expect) {
            let mut expect = Command::new(&programs.python);
            steps.run("sqllogictests: expectations against DuckDB", expect.arg(root().join("sqllogictests/expect.py")));
        }
        if wanted(Suite::Interop) {
            steps.run("interop: foreign readers, writers and clients", &mut interop(programs));
        }
    }
    steps.finish()
}

fn cargo_tests(steps: &mut Steps, fast: bool, programs: Option<&Programs>) {
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]);
    if fast {
        command.args(["--lib", "--bins"]);
    }
    // The sqllogictests are a step of their own.
    command.env("POLYNYA_SLT_SKIP", "1");
    // Many tests wait, for timeouts and for services.
    command.env("RUST_TEST_THREADS", "4");
    if let Some(programs) = programs {
        programs.export(&mut command);
    }
    steps.run("cargo test", &mut command);
}

/// Runs the sqllogictests' queries on worker processes.
fn on_workers(command: &mut Command, workers: usize) -> &mut Command {
    command.args(["--workers", &workers.to_string(), "--program"]).arg(binary("polynya"))
}

/// A program of ours, in the dev profile.
fn binary(name: &str) -> PathBuf {
    target_dir().join("debug").join(name)
}

fn interop(programs: &Programs) -> Command {
    let mut command = Command::new(&programs.python);
    programs.export(&mut command);
    command
        .current_dir(root())
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5", "sqllogictests/interop"])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("POLYNYA_BIN", binary("polynya"))
        .env("POLYNYA_BENCH_BIN", binary("polynya-bench"))
        .env("POLYNYA_EMBEDDED_BIN", binary("examples/embedded"));
    command
}

/// `cargo xtask slt`.
pub(crate) fn slt(filter: Option<&str>, update: bool, url: Option<&str>, workers: Option<usize>) -> Result<()> {
    let mut command = cargo();
    command.args(["test", "--quiet", "--workspace", "--test", "slt", "--"]).args(filter);
    if update {
        command.arg("--update");
    }
    if let Some(url) = url {
        command.args(["--url", url]);
    }
    if let Some(workers) = workers {
        let built = cargo().args(["build", "--workspace", "--bins"]).status()?;
        anyhow::ensure!(built.success(), "the worker's program could not be built");
        on_workers(&mut command, workers);
    }
    let status = command.status()?;
    if !status.success() {
        bail!("the sqllogictests failed");
    }
    Ok(())
}

/// `cargo xtask chaos`.
pub(crate) fn chaos(arguments: &[String]) -> Result<()> {
    harness("chaos.py", arguments)
}

/// `cargo xtask elastic`.
pub(crate) fn elastic(arguments: &[String]) -> Result<()> {
    harness("elastic.py", arguments)
}

/// `cargo xtask hostile`.
pub(crate) fn hostile(arguments: &[String]) -> Result<()> {
    harness("hostile.py", arguments)
}

/// `cargo xtask soak`.
pub(crate) fn soak(arguments: &[String]) -> Result<()> {
    harness("soak.py", arguments)
}

/// `cargo xtask wire`.
pub(crate) fn wire(arguments: &[String]) -> Result<()> {
    harness("wire.py", arguments)
}

/// `cargo xtask interrupt`.
pub(crate) fn interrupt(arguments: &[String]) -> Result<()> {
    harness("interrupted.py", arguments)
}

/// `cargo xtask fuzz-sql`.
pub(crate) fn fuzz_sql(arguments: &[String]) -> Result<()> {
    harness("fuzz_sql.py", arguments)
}

/// Runs a script beside the interop tests on programs of the release profile.
fn harness(script: &str, arguments: &[String]) -> Result<()> {
    let programs = install::programs()?;
    let packages = ["polynya-flight-server", "polynya-bench", "polynya-sqllogictests"].map(|name| ["--package", name]);
    let built = cargo().args(["build", "--release", "--bins", "--examples"]).args(packages.as_flattened()).status()?;
    anyhow::ensure!(built.success(), "the programs could not be built");
    let binary = |name: &str| target_dir().join("release").join(name);
    let mut command = Command::new(&programs.python);
    programs.export(&mut command);
    command
        .arg(root().join("sqllogictests/interop").join(script))
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("POLYNYA_BIN", binary("polynya"))
        .env("POLYNYA_BENCH_BIN", binary("polynya-bench"))
        .env("POLYNYA_EMBEDDED_BIN", binary("examples/embedded"));
    let status = command.status()?;
    if !status.success() {
        bail!("{script} found what must not be");
    }
    Ok(())
}
