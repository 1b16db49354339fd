//! The `polynya-bench` command: reads the command line, and calls the library.

mod latency_command;
mod raw_flight_command;
mod s3_proxy_command;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use polynya_bench::client::Client;
use polynya_bench::credentials::Credentials;
use polynya_bench::progress::Progress;
use polynya_bench::scale::Scale;
use polynya_bench::tpch::answer::Answers;
use polynya_bench::tpch::query::Query;
use polynya_bench::tpch::{self, GenerateOptions, LoadOptions, OnExisting, RunOptions, TpchTable};

/// The server's allocator, so that what is compared with it does not differ by this.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Benchmarks for Polynya, or any other Arrow Flight SQL server.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// TPC-H: eight tables of a wholesaler, 22 queries.
    #[command(subcommand)]
    Tpch(Tpch),
    /// Measure how long queries of one row take, whole round trips on one connection.
    #[command(after_help = latency_command::HELP)]
    Latency(latency_command::Latency),
    /// Serve a query's rows from memory with arrow-flight alone: what large results are compared with.
    #[command(after_help = raw_flight_command::HELP)]
    RawFlight(raw_flight_command::RawFlightServer),
    /// Stand before an S3 server: add latency, limit bandwidth, inject faults, count requests.
    #[command(after_help = s3_proxy_command::HELP)]
    S3Proxy(s3_proxy_command::S3Proxy),
}

#[derive(Debug, Subcommand)]
enum Tpch {
    /// Write the tables as files, without a server.
    #[command(after_help = "Example:\n  polynya-bench tpch generate --scale 0.1 --output data/tpch_sf0_1")]
    Generate(Generate),
    /// Create the tables in a server and fill them over Flight SQL.
    #[command(after_help = "Examples:\n  polynya-bench tpch load --scale 1 --url grpc://127.0.0.1:50051\n  \
        polynya-bench tpch load --scale 10 --catalog lake --schema tpch_by_month --partitioned --replace")]
    Load(Load),
    /// Run the queries, measure them, and check their answers.
    #[command(after_help = "Examples:\n  polynya-bench tpch run --scale 1 --check\n  \
        polynya-bench tpch run --schema tpch_sf1 --queries 1,6,17-19 --iterations 5 --json out.json\n\n\
        Exit code: 0 when all queries ran and no checked answer was wrong, 1 otherwise.")]
    Run(Run),
}

/// The server, and who is asking.
#[derive(Debug, Args)]
struct Connection {
    /// The server: grpc://host:port, or grpc+tls://host:port for an encrypted connection.
    #[arg(long, default_value = "grpc://127.0.0.1:50051", env = "POLYNYA_URL")]
    url: String,
    #[command(flatten)]
    credentials: Credentials,
}

impl Connection {
    async fn connect(self) -> Result<Client> {
        Ok(Client::connect(&self.url, &self.credentials.auth()?).await?)
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FileFormat {
    /// One Parquet file per table, zstd.
    Parquet,
}

#[derive(Debug, Args)]
struct Generate {
    /// Scale factor: about this many gigabytes of raw data; 0.1 has 600,572 rows in lineitem.
    #[arg(long, default_value = "1")]
    scale: Scale,
    /// Folder for the files. Complete files of the same scale in it are kept.
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
    /// Format of the files.
    #[arg(long, value_enum, default_value = "parquet")]
    format: FileFormat,
    /// Only these tables, separated by commas. Default: all eight.
    #[arg(long, value_delimiter = ',', value_name = "TABLE,..")]
    tables: Vec<TpchTable>,
}

#[derive(Debug, Args)]
struct Load {
    #[command(flatten)]
    connection: Connection,
    /// Scale factor: about this many gigabytes of raw data; 0.1 has 600,572 rows in lineitem.
    #[arg(long, default_value = "1")]
    scale: Scale,
    /// Catalog of the tables. Default: the server's default catalog.
    #[arg(long)]
    catalog: Option<String>,
    /// Schema of the tables, made if it does not exist. Default: tpch_sf1 for scale 1, tpch_sf0_1 for 0.1.
    #[arg(long)]
    schema: Option<String>,
    /// Only these tables, separated by commas. Default: all eight.
    #[arg(long, value_delimiter = ',', value_name = "TABLE,..")]
    tables: Vec<TpchTable>,
    /// Partition lineitem by months(l_shipdate) and orders by months(o_orderdate).
    #[arg(long)]
    partitioned: bool,
    /// Drop tables that exist, with their rows. Without this or --keep, tables that have rows are an error.
    #[arg(long)]
    replace: bool,
    /// Keep tables that already hold all the rows of this scale.
    #[arg(long, conflicts_with = "replace")]
    keep: bool,
    /// Threads that make rows. Default: one per core.
    #[arg(long, value_name = "COUNT")]
    threads: Option<usize>,
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    connection: Connection,
    /// Catalog of the tables. Default: the server's default catalog.
    #[arg(long)]
    catalog: Option<String>,
    /// Schema of the tables. Default: that of --scale, or else the server's default schema.
    #[arg(long)]
    schema: Option<String>,
    /// Scale factor of the tables, to find their answers. Default: as the schema's name tells (tpch_sf0_1: 0.1).
    #[arg(long)]
    scale: Option<Scale>,
    /// Only these queries, such as 1,6,17-19. Default: all 22.
    #[arg(long, default_value = "1-22", value_name = "NUMBERS")]
    queries: QueryList,
    /// How often each query runs; the first time is "cold", the best of the others "warm".
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "COUNT")]
    iterations: u32,
    /// Drop the server's caches before each query (first run: "cold"), and run it once as after a restart ("restarted").
    /// Everyone on that server pays for it.
    #[arg(long)]
    drop_caches: bool,
    /// Compare every result with the expected answer (stored for the scales 0.01, 0.1 and 1).
    #[arg(long)]
    check: bool,
    /// Folder with expected answers, as benchmarks/answers/produce.py makes them, for other scales.
    #[arg(long, value_name = "FOLDER", requires = "check")]
    answers: Option<PathBuf>,
    /// Write all measurements to this file as JSON (times in seconds).
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Numbers and ranges of queries, in the order given.
#[derive(Debug, Clone)]
struct QueryList(Vec<Query>);

impl std::str::FromStr for QueryList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut queries = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| {
                let number = text.trim().trim_start_matches(['q', 'Q']).parse().ok();
                number
                    .filter(|number| Query::new(*number).is_some())
                    .ok_or(format!("{text} is not a number from 1 to 22"))
            };
            queries.extend((number(first)?..=number(last)?).filter_map(Query::new));
        }
        if queries.is_empty() { Err(format!("{text} names no query")) } else { Ok(Self(queries)) }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().benchmark {
        Benchmark::Tpch(Tpch::Generate(args)) => generate(args).await,
        Benchmark::Tpch(Tpch::Load(args)) => load(args).await,
        Benchmark::Tpch(Tpch::Run(args)) => run(args).await,
        Benchmark::Latency(args) => args.run().await,
        Benchmark::RawFlight(args) => args.run().await,
        Benchmark::S3Proxy(args) => args.run().await,
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn all_if_none(tables: Vec<TpchTable>) -> Vec<TpchTable> {
    if tables.is_empty() { TpchTable::ALL.to_vec() } else { tables }
}

async fn generate(args: Generate) -> Result<ExitCode> {
    let FileFormat::Parquet = args.format;
    let options = GenerateOptions {
        scale: args.scale,
        output: args.output,
        tables: all_if_none(args.tables),
        progress: Progress::Shown,
    };
    tpch::generate(&options).await?;
    Ok(ExitCode::SUCCESS)
}

async fn load(args: Load) -> Result<ExitCode> {
    let client = args.connection.connect().await?;
    let options = LoadOptions {
        scale: args.scale,
        catalog: args.catalog,
        schema: args.schema,
        tables: all_if_none(args.tables),
        partitioned: args.partitioned,
        on_existing: match (args.replace, args.keep) {
            (true, _) => OnExisting::Replace,
            (false, true) => OnExisting::Keep,
            (false, false) => OnExisting::Refuse,
        },
        threads: args.threads,
        progress: Progress::Shown,
    };
    let report = tpch::load(&client, &options).await?;
    println!("TPC-H scale {} is in schema {} of {}", options.scale, report.schema, client.url());
    Ok(ExitCode::SUCCESS)
}

async fn run(args: Run) -> Result<ExitCode> {
    let client = args.connection.connect().await?;
    let options = RunOptions {
        catalog: args.catalog,
        schema: args.schema,
        scale: args.scale,
        queries: args.queries.0,
        iterations: args.iterations as usize,
        drop_caches: args.drop_caches,
        check: args.check,
        answers: args.answers.as_deref().map(Answers::folder),
        progress: Progress::Shown,
    };
    let report = tpch::run(&client, &options).await?;
    println!("{}", report.render());
    if let Some(path) = &args.json {
        std::fs::write(path, report.to_json()? + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(if report.failures() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn queries_are_numbers_and_ranges() {
        let numbers = |text: &str| {
            text.parse::<QueryList>().map(|list| list.0.iter().map(|query| query.number()).collect::<Vec<_>>())
        };
        assert_eq!(numbers("1, 6,17-19"), Ok(vec![1, 6, 17, 18, 19]));
        assert_eq!(numbers("q22"), Ok(vec![22]));
        for text in ["0", "23", "5-", "x", "9-3"] {
            assert!(numbers(text).is_err(), "{text}");
        }
    }
}
