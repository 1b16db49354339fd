//! Loads the TPC-H tables into a server: schema and tables by SQL, rows by bulk ingest.
//!
//! Each table is one ingest call and so one snapshot: a table is either empty or whole, however a load ends.

use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow_flight::error::FlightError;
use futures::TryStreamExt;

use super::TpchTable;
use super::batches::{default_threads, stream_table, warm_up};
use crate::client::{self, Client, IngestMode, IngestTarget};
use crate::progress::{Progress, Step, grouped};
use crate::scale::Scale;

/// What becomes of a table that already has rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnExisting {
    /// The load stops before anything is changed.
    #[default]
    Refuse,
    /// The table is dropped and loaded anew.
    Replace,
    /// The table is kept if it holds all the rows of this scale; otherwise the load stops.
    Keep,
}

/// What to load, and where.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The scale factor.
    pub scale: Scale,
    /// The catalog; absent: the session's default.
    pub catalog: Option<String>,
    /// The schema, made if it does not exist; absent: [`Scale::tpch_schema`].
    pub schema: Option<String>,
    /// The tables, in the order of loading.
    pub tables: Vec<TpchTable>,
    /// Part `lineitem` and `orders` by month.
    pub partitioned: bool,
    /// What becomes of tables that have rows.
    pub on_existing: OnExisting,
    /// Threads that make rows; absent: one per core.
    pub threads: Option<usize>,
    /// How progress is shown.
    pub progress: Progress,
}

impl LoadOptions {
    /// All tables of a scale into their usual schema of the default catalog; nothing that exists is changed.
    pub fn new(scale: Scale) -> Self {
        Self {
            scale,
            catalog: None,
            schema: None,
            tables: TpchTable::ALL.to_vec(),
            partitioned: false,
            on_existing: OnExisting::Refuse,
            threads: None,
            progress: Progress::Shown,
        }
    }

    /// The schema's name, unquoted.
    pub fn schema_name(&self) -> String {
        self.schema.clone().unwrap_or_else(|| self.scale.tpch_schema())
    }
}

/// What was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadReport {
    /// The schema's name.
    pub schema: String,
    /// The tables, in the order of loading.
    pub tables: Vec<LoadedTable>,
}

/// One table of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedTable {
    /// The table.
    pub table: TpchTable,
    /// Its rows.
    pub rows: u64,
    /// It was there already, with all its rows.
    pub kept: bool,
    /// How long the ingest took.
    pub elapsed: Duration,
}

/// Why a load failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A table has rows, and the caller did not say that they may go.
    #[error(
        "table {table} already has {rows} rows: load with --replace to drop and load it again, or choose another --schema"
    )]
    NotEmpty {
        /// The table's name, quoted.
        table: String,
        /// Its rows.
        rows: u64,
    },
    /// A table that should be kept is not of this scale.
    #[error(
        "table {table} has {found} rows, but {expected} at scale {scale}: load with --replace, or choose another --schema"
    )]
    OtherScale {
        /// The table's name, quoted.
        table: String,
        /// The rows it has.
        found: u64,
        /// The rows of this scale.
        expected: u64,
        /// The scale asked for.
        scale: Scale,
    },
    /// A count of the rows gave no number.
    #[error("the server did not count the rows of {table}")]
    Count {
        /// The table's name, quoted.
        table: String,
    },
    /// The server stored another number of rows than it was sent.
    #[error("table {table} was sent {sent} rows, but the server stored {stored}")]
    RowsLost {
        /// The table's name, quoted.
        table: String,
        /// The rows sent.
        sent: u64,
        /// The rows stored, by the server's count.
        stored: u64,
    },
    /// A statement or the ingest failed.
    #[error("cannot {action}")]
    Server {
        /// What was being done.
        action: String,
        /// The server's answer.
        #[source]
        source: client::Error,
    },
}

/// Loads the tables. Checks all of them before it changes any.
pub async fn load(client: &Client, options: &LoadOptions) -> Result<LoadReport, LoadError> {
    let schema = options.schema_name();
    let quoted_schema = qualified(&[options.catalog.as_deref(), Some(&schema)]);
    update(client, &format!("CREATE SCHEMA IF NOT EXISTS {quoted_schema}"), || format!("make schema {quoted_schema}"))
        .await?;
    let mut keep = Vec::new();
    for &table in &options.tables {
        keep.push(prepare(client, table, options, &quoted_schema).await?);
    }
    let mut tables = Vec::new();
    for (&table, kept) in options.tables.iter().zip(keep) {
        tables.push(match kept {
            Some(rows) => LoadedTable { table, rows, kept: true, elapsed: Duration::ZERO },
            None => load_table(client, table, options, &schema, &quoted_schema).await?,
        });
    }
    Ok(LoadReport { schema, tables })
}

/// Makes the table if it is missing, and decides what becomes of its rows: the rows that are kept, or none if it is to be loaded.
async fn prepare(
    client: &Client,
    table: TpchTable,
    options: &LoadOptions,
    quoted_schema: &str,
) -> Result<Option<u64>, LoadError> {
    if options.on_existing == OnExisting::Replace {
        return Ok(None);
    }
    let name = quoted_table(quoted_schema, table);
    update(client, &table.ddl(&name, options.partitioned), || format!("create table {name}")).await?;
    let found = count_rows(client, &name).await?;
    if found == 0 {
        return Ok(None);
    }
    if options.on_existing == OnExisting::Refuse {
        return Err(LoadError::NotEmpty { table: name, rows: found });
    }
    let expected = table.row_count(options.scale);
    if found != expected {
        return Err(LoadError::OtherScale { table: name, found, expected, scale: options.scale });
    }
    options.progress.line(&format!("{table}: {} rows are there already", grouped(found)));
    Ok(Some(found))
}

async fn load_table(
    client: &Client,
    table: TpchTable,
    options: &LoadOptions,
    schema: &str,
    quoted_schema: &str,
) -> Result<LoadedTable, LoadError> {
    let name = quoted_table(quoted_schema, table);
    if options.on_existing == OnExisting::Replace {
        update(client, &format!("DROP TABLE IF EXISTS {name}"), || format!("drop table {name}")).await?;
        update(client, &table.ddl(&name, options.partitioned), || format!("create table {name}")).await?;
    }
    warm_up().await;
    let started = Instant::now();
    let rows = table.row_count(options.scale);
    let step = options.progress.step(table.name(), rows, "rows");
    let stored = ingest(client, table, options, schema, &step).await;
    let stored = stored.map_err(|source| LoadError::Server { action: format!("load table {name}"), source })?;
    if stored != rows {
        return Err(LoadError::RowsLost { table: name, sent: rows, stored });
    }
    let elapsed = started.elapsed();
    let per_second = grouped((rows as f64 / elapsed.as_secs_f64().max(1e-3)) as u64);
    step.done(&format!("{table}: {} rows in {:.1} s ({per_second} rows/s)", grouped(rows), elapsed.as_secs_f64()));
    Ok(LoadedTable { table, rows, kept: false, elapsed })
}

async fn ingest(
    client: &Client,
    table: TpchTable,
    options: &LoadOptions,
    schema: &str,
    step: &Step,
) -> client::Result<u64> {
    let target = IngestTarget {
        catalog: options.catalog.clone(),
        schema: Some(schema.to_string()),
        table: table.name().to_string(),
    };
    let count = step.counter();
    let rows = stream_table(table, options.scale, options.threads.unwrap_or_else(default_threads))
        .inspect_ok(move |batch| count(batch.num_rows() as u64))
        .map_err(FlightError::from);
    client.ingest(&target, IngestMode::Append, table.schema(), rows).await
}

async fn update(client: &Client, sql: &str, action: impl FnOnce() -> String) -> Result<(), LoadError> {
    let done = client.execute_update(sql).await;
    done.map(|_| ()).map_err(|source| LoadError::Server { action: action(), source })
}

async fn count_rows(client: &Client, name: &str) -> Result<u64, LoadError> {
    let result = client.query_all(&format!("SELECT count(*) FROM {name}")).await;
    let result = result.map_err(|source| LoadError::Server { action: format!("count the rows of {name}"), source })?;
    let count = result.batches.first().and_then(|batch| {
        let column = batch.columns().first()?.as_primitive_opt::<Int64Type>()?;
        u64::try_from(*column.values().first()?).ok()
    });
    count.ok_or_else(|| LoadError::Count { table: name.to_string() })
}

fn quoted_table(quoted_schema: &str, table: TpchTable) -> String {
    format!("{quoted_schema}.\"{table}\"")
}

/// Names quoted for SQL and joined with dots; absent ones are left out.
pub(crate) fn qualified(parts: &[Option<&str>]) -> String {
    let quoted: Vec<String> = parts.iter().flatten().map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect();
    quoted.join(".")
}
