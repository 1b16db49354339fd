//! Runs the queries against a server, measures them, and checks their answers.
//!
//! The time of a query is what a client sees: from the request to the last row. The first time is called cold, although the
//! server may have seen the data before unless its caches are dropped. One wrong answer does not stop the others.

use std::time::Instant;

use super::answer::{Answer, AnswerError, Answers};
use super::load::qualified;
use super::query::Query;
use super::report::{Check, QueryReport, Report};
use crate::client::{self, Client};
use crate::progress::Progress;
use crate::scale::Scale;

/// What to run, and how often.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The catalog; absent: the session's default.
    pub catalog: Option<String>,
    /// The schema; absent: that of the scale, or else the session's default.
    pub schema: Option<String>,
    /// The scale of the tables; absent: as the schema's name tells.
    pub scale: Option<Scale>,
    /// The queries, in the order to run them.
    pub queries: Vec<Query>,
    /// How often each query runs; at least once.
    pub iterations: usize,
    /// Drop the server's caches before each query, and run it once more as after a restart: memory empty, disk warm.
    pub drop_caches: bool,
    /// Compare every result with the expected one.
    pub check: bool,
    /// Where the expected results are; absent: those stored for the scale.
    pub answers: Option<Answers>,
    /// How progress is shown.
    pub progress: Progress,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            catalog: None,
            schema: None,
            scale: None,
            queries: Query::all(),
            iterations: 3,
            drop_caches: false,
            check: false,
            answers: None,
            progress: Progress::Shown,
        }
    }
}

/// Why a run did not begin. Failures of single queries are in the report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Answers are wanted, but not for which scale.
    #[error("to check the answers, give the scale of the tables with --scale (the schema's name does not tell it)")]
    NoScale,
    /// The catalog alone says not where the tables are.
    #[error("catalog {0} was given without a schema: add --schema or --scale")]
    NoSchema(String),
    /// The expected answers cannot be had.
    #[error(transparent)]
    Answers(#[from] AnswerError),
    /// The server has no caches that it drops when asked.
    #[error("the server does not drop its caches (CALL system.evict); leave out --drop-caches")]
    DropCaches(#[source] client::Error),
    /// The schema cannot be used.
    #[error("cannot use schema {schema}")]
    Use {
        /// The schema's name, quoted.
        schema: String,
        /// The server's answer.
        #[source]
        source: client::Error,
    },
}

/// Runs the queries one after the other.
pub async fn run(client: &Client, options: &RunOptions) -> Result<Report, RunError> {
    let schema = options.schema.clone().or_else(|| options.scale.map(Scale::tpch_schema));
    let scale = options.scale.or_else(|| schema.as_deref().and_then(Scale::of_tpch_schema));
    let answers = answers(options, scale)?;
    use_schema(client, options.catalog.as_deref(), schema.as_deref()).await?;
    let mut report = Report::new(client.url(), options.catalog.clone(), schema, scale, options.iterations.max(1));
    let total = options.queries.len() * report.iterations;
    let step = options.progress.step("tpch", total as u64, "runs");
    for &query in &options.queries {
        let answer = answers.as_ref().map(|answers| answers.get(query)).transpose()?;
        let mut measured = QueryReport::new(query.number());
        for iteration in 1..=report.iterations {
            step.at(format!("Q{}, run {iteration}", query.number()));
            if options.drop_caches && iteration == 1 {
                drop_caches(client, "CALL system.evict()").await?;
            }
            run_once(client, query, answer.as_ref(), &mut measured).await;
            if options.drop_caches && iteration == 1 && measured.error.is_none() {
                run_restarted(client, query, &mut measured).await?;
            }
            step.advance(1);
            if measured.error.is_some() {
                break;
            }
        }
        report.queries.push(measured);
    }
    drop(step);
    Ok(report)
}

/// Runs a query with what a restart leaves: the disk cache.
async fn run_restarted(client: &Client, query: Query, report: &mut QueryReport) -> Result<(), RunError> {
    drop_caches(client, "CALL system.evict(tier => 'memory')").await?;
    let started = Instant::now();
    match client.query_all(query.sql()).await {
        Ok(result) => {
            report.restarted_s = Some(started.elapsed().as_secs_f64());
            report.restarted_stats = result.stats;
        }
        Err(error) => report.error = Some(error.full_message()),
    }
    Ok(())
}

async fn drop_caches(client: &Client, call: &str) -> Result<(), RunError> {
    client.query_all(call).await.map(|_| ()).map_err(RunError::DropCaches)
}

fn answers(options: &RunOptions, scale: Option<Scale>) -> Result<Option<Answers>, RunError> {
    if !options.check {
        return Ok(None);
    }
    match (&options.answers, scale) {
        (Some(answers), _) => Ok(Some(answers.clone())),
        (None, Some(scale)) => Ok(Some(Answers::stored(scale)?)),
        (None, None) => Err(RunError::NoScale),
    }
}

pub(crate) async fn use_schema(client: &Client, catalog: Option<&str>, schema: Option<&str>) -> Result<(), RunError> {
    let name = match (catalog, schema) {
        (_, Some(_)) => qualified(&[catalog, schema]),
        (Some(catalog), None) => return Err(RunError::NoSchema(catalog.to_string())),
        (None, None) => return Ok(()),
    };
    let used = client.execute_update(&format!("USE {name}")).await;
    used.map(|_| ()).map_err(|source| RunError::Use { schema: name, source })
}

/// Runs a query once and adds what was seen; a failure goes to the report.
async fn run_once(client: &Client, query: Query, answer: Option<&Answer>, report: &mut QueryReport) {
    let started = Instant::now();
    let result = match client.query_all(query.sql()).await {
        Ok(result) => result,
        Err(error) => {
            report.error = Some(error.full_message());
            return;
        }
    };
    report.times_s.push(started.elapsed().as_secs_f64());
    report.rows = Some(result.rows() as u64);
    // The first run's account is the one that shows what is read without a warm cache.
    if report.times_s.len() == 1 {
        report.stats = result.stats;
    }
    if let Some(answer) = answer
        && !matches!(report.check, Check::Wrong { .. })
    {
        report.check = match answer.check(query, &result.batches) {
            Ok(()) => Check::Ok,
            Err(mismatch) => Check::Wrong { mismatch: mismatch.to_string() },
        };
    }
}
