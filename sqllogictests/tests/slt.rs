//! Runs `slt/**/*.slt`: `cargo xtask slt [FILTER] [--update] [--url grpc://…]`.
//!
//! Starts a server in this process unless given one. Prints a line for each file, and closes as libtest does.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use polynya_sqllogictests::{LocalServer, Suite, Workers};

/// Runs the sqllogictests.
#[derive(Parser)]
struct Arguments {
    /// Part of a path below slt/.
    filter: Option<String>,
    /// Write the engine's answers into the files.
    #[arg(long)]
    update: bool,
    /// A running server; by default one is started in this process.
    #[arg(long)]
    url: Option<String>,
    /// Run queries on so many worker processes.
    #[arg(long, value_name = "COUNT", requires = "program")]
    workers: Option<usize>,
    /// The program `polynya`, for the workers.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Accepted, because `cargo test -- --nocapture` passes it to every test.
    #[arg(long, hide = true)]
    nocapture: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    // `cargo xtask test` runs this as a step of its own.
    if std::env::var_os("POLYNYA_SLT_SKIP").is_some() {
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(&arguments))
}

async fn run(arguments: &Arguments) -> Result<ExitCode> {
    let suite = Suite::find(&Path::new(env!("CARGO_MANIFEST_DIR")).join("slt"), arguments.filter.as_deref())?;
    let workers = arguments.workers.zip(arguments.program.clone()).map(|(count, program)| Workers { count, program });
    let local = match &arguments.url {
        Some(_) => None,
        None => Some(LocalServer::start(workers.as_ref()).await?),
    };
    let url = match (&arguments.url, &local) {
        (Some(url), _) => url.clone(),
        (None, Some(server)) => server.url(),
        (None, None) => anyhow::bail!("no server"),
    };
    println!("running {} files", suite.files());
    let begun = Instant::now();
    let outcomes = suite
        .run(&url, arguments.update, |outcome| match &outcome.failure {
            None => println!(
                "{} ({} records, {:.2} s) ... ok",
                outcome.name,
                outcome.records,
                outcome.elapsed.as_secs_f64()
            ),
            Some(failure) => println!("{} ... FAILED\n{failure}\n", outcome.name),
        })
        .await;
    if let Some(server) = local {
        server.stop().await;
    }
    let failed: Vec<_> = outcomes.iter().filter(|outcome| outcome.failure.is_some()).collect();
    let records: usize =
        outcomes.iter().filter(|outcome| outcome.failure.is_none()).map(|outcome| outcome.records).sum();
    for outcome in &failed {
        println!("failed: {}", outcome.name);
    }
    println!(
        "test result: {}. {records} passed; {} failed; 0 ignored; 0 measured; 0 filtered out; finished in {:.2}s",
        if failed.is_empty() { "ok" } else { "FAILED" },
        failed.len(),
        begun.elapsed().as_secs_f64()
    );
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
