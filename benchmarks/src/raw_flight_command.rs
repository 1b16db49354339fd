//! `polynya-bench raw-flight`: its command line. Serves the rows of one query until Ctrl-C.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use clap::Args;
use polynya_bench::progress::{grouped, readable_bytes};
use polynya_bench::raw_flight::{RawAnswer, RawFlight};

use crate::Connection;

/// What `--help` shows last.
pub(crate) const HELP: &str = "\
Example:
  polynya-bench raw-flight --url grpc://127.0.0.1:50051 --sql 'SELECT * FROM tpch_sf1.lineitem'

Clients run any query against the printed address, and get the rows that were fetched at the start: in the same batches and with the
same schema, uncompressed, from memory, by arrow-flight alone. `cargo xtask wire` compares a server with it.";

/// What to serve, and where.
#[derive(Debug, Args)]
pub(crate) struct RawFlightServer {
    #[command(flatten)]
    connection: Connection,
    /// The query whose rows are fetched at the start, and held in memory.
    #[arg(long, value_name = "SQL")]
    sql: String,
    /// Where clients connect; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,
}

impl RawFlightServer {
    /// Fetches, and serves until Ctrl-C.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let client = self.connection.connect().await?;
        let result = client.query_all(&self.sql).await?;
        drop(client);
        let (rows, batches) = (result.rows() as u64, result.batches.len() as u64);
        let bytes: usize = result.batches.iter().map(sent_bytes).sum();
        let server =
            RawFlight::start(self.listen, RawAnswer { schema: result.schema, batches: result.batches }).await?;
        // The first line is for programs.
        println!("{}", server.url());
        println!("{} rows in {} batches, {}", grouped(rows), grouped(batches), readable_bytes(bytes as u64));
        tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The bytes of a batch's arrays, whatever larger buffers they are slices of.
fn sent_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}
