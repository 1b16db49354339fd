//! `polynya-bench latency`: its command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use polynya_bench::latency::{self, LatencyOptions};
use polynya_bench::progress::Progress;
use polynya_bench::scale::Scale;

use crate::Connection;

/// What `--help` shows last.
pub(crate) const HELP: &str = "\
Examples:
  polynya-bench latency --scale 0.1
  polynya-bench latency --schema shop --query 'SELECT name FROM customers WHERE id = 7' \\
      --prepared 'SELECT name FROM customers WHERE id = ?' --value 7 --rounds 1000 --json out.json

One connection, one query at a time. Times are those of whole round trips: GetFlightInfo, DoGet, and the answer to its end; of the
prepared query, which is prepared once, also the DoPut that binds the value.";

/// What to measure, and how often.
#[derive(Debug, Args)]
pub(crate) struct Latency {
    #[command(flatten)]
    connection: Connection,
    /// Catalog of the tables. Default: the server's default catalog.
    #[arg(long)]
    catalog: Option<String>,
    /// Schema of the tables. Default: that of --scale, or else the server's default schema.
    #[arg(long)]
    schema: Option<String>,
    /// Scale factor of the TPC-H tables, which names their schema (0.1: tpch_sf0_1).
    #[arg(long, conflicts_with = "schema")]
    scale: Option<Scale>,
    /// A query that gives one row. Default: one of TPC-H's nation.
    #[arg(long, value_name = "SQL")]
    query: Option<String>,
    /// A query with one parameter, a number, that gives one row. Default: one of TPC-H's nation.
    #[arg(long, value_name = "SQL", requires = "value")]
    prepared: Option<String>,
    /// The parameter's value [default: 7].
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    value: Option<i64>,
    /// Rounds that are not measured.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(..=1_000_000), value_name = "COUNT")]
    warm_up: u32,
    /// Rounds that are measured; each runs every query once.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "COUNT")]
    rounds: u32,
    /// Write all measurements to this file as JSON (times in seconds).
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Latency {
    /// Measures, and prints a table.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let client = self.connection.connect().await?;
        let default = LatencyOptions::default();
        let options = LatencyOptions {
            catalog: self.catalog,
            schema: self.schema.or_else(|| self.scale.map(Scale::tpch_schema)),
            query: self.query.unwrap_or(default.query),
            prepared: self.prepared.unwrap_or(default.prepared),
            value: self.value.unwrap_or(default.value),
            warm_up: self.warm_up as usize,
            rounds: self.rounds as usize,
            progress: Progress::Shown,
        };
        let report = latency::run(&client, &options).await?;
        println!("{}", report.render());
        if let Some(path) = &self.json {
            let json = report.to_json()? + "\n";
            std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
