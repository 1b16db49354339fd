//! `polynya demo`: the main job in one command, on a folder of this machine.
//!
//! Makes TPC-H data, creates Iceberg tables of it in a SQLite catalog and a local warehouse, serves them, runs the 22
//! queries through a Flight SQL client, and checks the answers. What it wrote is kept, and reused by the next run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use arrow::util::pretty::pretty_format_batches;
use clap::Args;
use polynya_bench::client::{Auth, Client};
use polynya_bench::scale::Scale;
use polynya_bench::tpch::answer::Answers;
use polynya_bench::tpch::{LoadOptions, LoadReport, OnExisting, Report, RunOptions, load, run as run_queries};
use polynya_engine::Engine;

use super::logging;
use crate::settings::{AuthSettings, DEFAULT_FILE, LogFormat, Overrides, Settings};
use crate::{Server, ServerSettings};

/// What `demo` may be told.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The TPC-H scale factor: gigabytes of raw data. Answers can be checked at 0.01, 0.1 and 1.
    #[arg(long, value_name = "FACTOR", default_value = "0.1")]
    scale: Scale,
    /// The folder for catalog, tables and settings; made if it is not there, reused if it is.
    #[arg(long, value_name = "FOLDER", default_value = "polynya-demo")]
    dir: PathBuf,
    /// How often each query runs; the first time is cold.
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    iterations: usize,
    /// Run the queries on so many worker processes, which come for them and go when they are done.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    workers: usize,
}

/// How long the demo's workers wait for another query before they go.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the demo waits for them to be gone.
const GONE_TIMEOUT: Duration = Duration::from_secs(30);

/// Shows everything; fails on any wrong answer.
pub(super) async fn run(arguments: Arguments) -> Result<ExitCode> {
    logging::start(LogFormat::Text, "warn", None);
    let folder = make_folder(&arguments.dir)?;
    let file = write_settings(&folder, arguments.scale, arguments.workers)?;
    let settings = Settings::load(Some(&file), &Overrides::default())?;

    let engine = Engine::start(settings.engine).await.context("the engine could not be started")?;
    // A free port, so that the demo does not fight with a server that runs already. Nobody else has a part in it.
    let (auth, tls) = (AuthSettings::default(), None);
    let server = ServerSettings { listen: "127.0.0.1:0".to_owned(), auth, tls, ..settings.server };
    let server = Server::bind(engine, &server).await?;
    println!("A Polynya server runs on {}, its tables are in {}.\n", server.url(), arguments.dir.display());
    let client = Client::connect(&server.url(), &Auth::default()).await?;

    let loaded = load_tables(&client, arguments.scale).await?;
    println!("{}\n", describe_load(&loaded));
    let checked = Answers::stored(arguments.scale).is_ok();
    let options = RunOptions {
        scale: Some(arguments.scale),
        check: checked,
        iterations: arguments.iterations.max(1),
        ..RunOptions::default()
    };
    if arguments.workers > 0 {
        println!("No worker runs: the first query starts {}, on this machine.", arguments.workers);
    }
    let report = run_queries(&client, &options).await?;
    println!("{}", report.render());
    if arguments.workers > 0 {
        show_workers(&client, arguments.workers).await?;
    }
    drop(client);
    server.drain().await;

    let verdict = verdict(&report, checked, arguments.scale);
    println!("{}", verdict.as_ref().unwrap_or_else(|failure| failure));
    if verdict.is_err() {
        return Ok(ExitCode::FAILURE);
    }
    println!("{}", what_next(&arguments.dir, &loaded.schema));
    Ok(ExitCode::SUCCESS)
}

/// The folder, as an absolute path: the settings name it, and may be read from anywhere.
fn make_folder(dir: &Path) -> Result<PathBuf> {
    let context = || format!("cannot make the folder {} (choose another with --dir)", dir.display());
    std::fs::create_dir_all(dir.join("warehouse")).with_context(context)?;
    dir.canonicalize().with_context(context)
}

/// Writes the settings that a later `polynya serve` can use as they are.
fn write_settings(folder: &Path, scale: Scale, workers: usize) -> Result<PathBuf> {
    let path = |name: &str| -> Result<String> {
        let path = folder.join(name);
        path.to_str().map(str::to_owned).with_context(|| format!("the path {} is not text", path.display()))
    };
    let uri = toml::Value::String(format!("sqlite://{}", path("catalog.db")?));
    let warehouse = toml::Value::String(format!("file://{}", path("warehouse")?));
    let schema = toml::Value::String(scale.tpch_schema());
    let text = format!(
        "# Written by `polynya demo`.\n\
         [server]\n\
         listen = \"127.0.0.1:50051\"\n\
         default_catalog = \"demo\"\n\
         default_schema = {schema}\n\n\
         [catalog.demo]\n\
         type = \"sql\"\n\
         uri = {uri}\n\
         warehouse = {warehouse}\n"
    );
    let text = match workers {
        0 => text,
        workers => format!("{text}\n{}", worker_settings(workers)),
    };
    let file = folder.join(DEFAULT_FILE);
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// Worker processes for every query, however small.
fn worker_settings(workers: usize) -> String {
    format!(
        "[workers]\n\
         provisioner = \"local-process\"\n\
         max = {workers}\n\
         bytes_per_worker = \"1KiB\"\n\
         idle_timeout = {}\n\
         execution = \"distributed\"\n",
        IDLE_TIMEOUT.as_secs()
    )
}

/// Shows which workers ran tasks, and waits until they are gone.
async fn show_workers(client: &Client, workers: usize) -> Result<()> {
    let tasks =
        "SELECT worker, count(*) AS tasks, sum(rows) AS rows_given FROM system.tasks GROUP BY worker ORDER BY worker";
    let tasks = client.query_all(tasks).await?;
    println!("{}", pretty_format_batches(&tasks.batches)?);
    let begun = Instant::now();
    loop {
        let running = client.query_all("SELECT worker_id FROM system.workers").await?.rows();
        if running == 0 {
            println!("{:.1} s after the last query all {workers} workers are gone.\n", begun.elapsed().as_secs_f64());
            return Ok(());
        }
        anyhow::ensure!(begun.elapsed() < GONE_TIMEOUT, "{running} workers are still there after {GONE_TIMEOUT:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn load_tables(client: &Client, scale: Scale) -> Result<LoadReport> {
    let options = LoadOptions { on_existing: OnExisting::Keep, ..LoadOptions::new(scale) };
    load(client, &options).await.context("the tables could not be loaded (delete the folder to begin anew)")
}

fn describe_load(loaded: &LoadReport) -> String {
    let rows: u64 = loaded.tables.iter().map(|table| table.rows).sum();
    let kept = loaded.tables.iter().filter(|table| table.kept).count();
    let how = match kept {
        0 => "loaded now".to_owned(),
        kept if kept == loaded.tables.len() => "kept from an earlier run".to_owned(),
        kept => format!("{kept} of them kept from an earlier run"),
    };
    format!(
        "Schema {} has {} tables with {rows} rows, {how}. Running the 22 queries of TPC-H.",
        loaded.schema,
        loaded.tables.len()
    )
}

/// The last word, `Err` if the demo failed.
fn verdict(report: &Report, checked: bool, scale: Scale) -> Result<String, String> {
    let total = report.queries.len();
    match (report.failures(), checked) {
        (0, true) if report.answers_right() == total => Ok(format!("{total} of {total} answers are right.")),
        (0, true) => Err(format!("Only {} of {total} answers were checked.", report.answers_right())),
        (0, false) => Ok(format!("{total} queries ran. At scale {scale} there are no answers to check them against.")),
        (failures, _) => Err(format!("{failures} of {total} queries failed or gave a wrong answer.")),
    }
}

fn what_next(dir: &Path, schema: &str) -> String {
    let file = dir.join(DEFAULT_FILE);
    format!(
        "\nTry next:\n\
         \x20 polynya serve --config {file}      serve these tables\n\
         \x20 polynya sql                                        and in another terminal, query them:\n\
         \x20     SELECT o_orderpriority, count(*) FROM orders GROUP BY 1 ORDER BY 1;\n\
         \x20     EXPLAIN ANALYZE SELECT sum(l_quantity) FROM {schema}.lineitem WHERE l_shipdate >= DATE '1998-01-01';\n\
         \x20 polynya sql --config {file}        the same without a server",
        file = file.display()
    )
}
