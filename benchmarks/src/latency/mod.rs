//! Measures how long small queries take, from the request to the end of the answer, one after the other on one
//! connection.
//!
//! Each round runs a query of a table, `SELECT 1`, and a prepared query with a value bound to it, so that what disturbs the
//! machine disturbs all three alike. Each has to give one row.

mod report;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use futures::TryStreamExt;

use crate::client::{self, Client, PreparedQuery, QueryStream};
use crate::progress::Progress;
use crate::tpch::run::{RunError, use_schema};

pub use report::{LatencyReport, Quantiles, StatementReport};

/// A query that reads no table.
const CONSTANT: &str = "SELECT 1";

/// What to run, and how often.
#[derive(Debug, Clone)]
pub struct LatencyOptions {
    /// The catalog; absent: the session's default.
    pub catalog: Option<String>,
    /// The schema of names without one; absent: the session's default.
    pub schema: Option<String>,
    /// A query that gives one row of a table.
    pub query: String,
    /// A query with one parameter that gives one row.
    pub prepared: String,
    /// The parameter's value.
    pub value: i64,
    /// Rounds that are not measured.
    pub warm_up: usize,
    /// Rounds that are measured; at least one.
    pub rounds: usize,
    /// How progress is shown.
    pub progress: Progress,
}

impl Default for LatencyOptions {
    fn default() -> Self {
        Self {
            catalog: None,
            schema: None,
            query: "SELECT n_name, n_regionkey FROM nation WHERE n_nationkey = 7".to_owned(),
            prepared: "SELECT n_name, n_regionkey FROM nation WHERE n_nationkey = ?".to_owned(),
            value: 7,
            warm_up: 50,
            rounds: 500,
            progress: Progress::Shown,
        }
    }
}

/// Why latencies were not measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LatencyError {
    /// The catalog or the schema cannot be used.
    #[error(transparent)]
    Schema(#[from] RunError),
    /// A query failed.
    #[error("{sql}")]
    Failed {
        /// The query.
        sql: String,
        /// The server's answer.
        #[source]
        source: client::Error,
    },
    /// A query gives more or less than a row.
    #[error("{sql} gives {rows} rows: latencies are measured with queries that give one")]
    Rows {
        /// The query.
        sql: String,
        /// The rows that it gave.
        rows: usize,
    },
    /// The prepared query takes other parameters than one number.
    #[error("{sql} has to take one parameter, a number: {reason}")]
    Parameter {
        /// The query.
        sql: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// One run of a query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// From the request to the first rows.
    pub(crate) first_rows: Duration,
    /// From the request to the end.
    pub(crate) whole: Duration,
}

/// Runs the queries in turn, and measures all but the first rounds.
pub async fn run(client: &Client, options: &LatencyOptions) -> Result<LatencyReport, LatencyError> {
    use_schema(client, options.catalog.as_deref(), options.schema.as_deref()).await?;
    let failed = |source| LatencyError::Failed { sql: options.prepared.clone(), source };
    let mut prepared = client.prepare_query(&options.prepared).await.map_err(failed)?;
    let values = values(&prepared, options)?;
    let rounds = options.warm_up + options.rounds.max(1);
    let step = options.progress.step("latency", rounds as u64, "rounds");
    let mut samples: [Vec<Sample>; 3] = Default::default();
    for round in 0..rounds {
        let measured = [
            text(client, &options.query).await?,
            text(client, CONSTANT).await?,
            bound(&mut prepared, values.clone(), &options.prepared).await?,
        ];
        if round >= options.warm_up {
            samples.iter_mut().zip(measured).for_each(|(samples, sample)| samples.push(sample));
        }
        step.advance(1);
    }
    drop(step);
    prepared.close().await.map_err(failed)?;
    let [query, constant, with_value] = samples;
    let mut report = LatencyReport::new(client.url(), options.warm_up);
    report.add("one row of a table", &options.query, &query);
    report.add("constant", CONSTANT, &constant);
    report.add("prepared, execution only", &options.prepared, &with_value);
    Ok(report)
}

/// Runs a query from its text.
async fn text(client: &Client, sql: &str) -> Result<Sample, LatencyError> {
    let begun = Instant::now();
    one_row(client.query(sql).await, begun, sql).await
}

/// Runs a prepared query.
async fn bound(prepared: &mut PreparedQuery, values: RecordBatch, sql: &str) -> Result<Sample, LatencyError> {
    let begun = Instant::now();
    one_row(prepared.run(values).await, begun, sql).await
}

/// Reads a query that was begun to its end.
async fn one_row(rows: client::Result<QueryStream>, begun: Instant, sql: &str) -> Result<Sample, LatencyError> {
    let failed = |source| LatencyError::Failed { sql: sql.to_owned(), source };
    let mut stream = rows.map_err(failed)?;
    let (mut first_rows, mut rows) = (None, 0);
    while let Some(batch) = stream.try_next().await.map_err(failed)? {
        first_rows.get_or_insert_with(|| begun.elapsed());
        rows += batch.num_rows();
    }
    let whole = begun.elapsed();
    match (first_rows, rows) {
        (Some(first_rows), 1) => Ok(Sample { first_rows, whole }),
        _ => Err(LatencyError::Rows { sql: sql.to_owned(), rows }),
    }
}

/// The parameter's value, in the type that the server asks for.
fn values(prepared: &PreparedQuery, options: &LatencyOptions) -> Result<RecordBatch, LatencyError> {
    let wrong = |reason: String| LatencyError::Parameter { sql: options.prepared.clone(), reason };
    let asked = prepared.parameters();
    let schema = match asked.fields().len() {
        // Not every server tells.
        0 => Arc::new(Schema::new(vec![Field::new("$1", DataType::Int64, true)])),
        1 => Arc::clone(asked),
        count => return Err(wrong(format!("it takes {count}"))),
    };
    let number: ArrayRef = Arc::new(Int64Array::from(vec![options.value]));
    let value = cast(&number, schema.field(0).data_type()).map_err(|error| wrong(error.to_string()))?;
    if value.null_count() > 0 {
        return Err(wrong(format!("{} is no {}", options.value, schema.field(0).data_type())));
    }
    RecordBatch::try_new(schema, vec![value]).map_err(|error| wrong(error.to_string()))
}
