//! The schema `system`, in every catalog: what this server runs and holds. Tables show one moment, that of planning.
//!
//! A session sees its own tenant's queries, of them the user's own unless the user is an admin; the cache is the server's.

mod call;
mod query_log;
mod task_log;
mod warm;

pub(crate) use call::{call, describe_call};
pub(crate) use query_log::QueryLog;
pub(crate) use task_log::{TaskLog, TaskRecord};

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use datafusion::arrow::datatypes::Schema;
use datafusion::catalog::{MemTable, TableProvider};

use self::query_log::Record;
use crate::access::Access;
use crate::cluster::WorkerStatus;
use crate::io::TierStats;
use crate::names::{TableName, did_you_mean};
use crate::{Engine, Error, Result, Session};

/// The schema's name.
pub(crate) const SYSTEM: &str = "system";
const TABLES: [&str; 5] = ["cache", "queries", "tasks", "tenants", "workers"];

/// The table that `name` names, as it is now.
pub(crate) async fn table(
    engine: &Engine,
    name: &TableName,
    session: &Session,
    access: &Access,
) -> Result<Arc<dyn TableProvider>> {
    let records = || {
        let mut records = engine.query_log().of_tenant(session.tenant());
        records.retain(|record| access.may_see_queries_of(&record.user));
        records
    };
    let columns = match name.table.to_lowercase().as_str() {
        "cache" => cache(&engine.scan_caches().data.pages.cache.stats()),
        "queries" => queries(&records()),
        "tasks" => tasks(&records()),
        "tenants" => tenants(engine, session.tenant()),
        "workers" => workers(&match engine.cluster() {
            Some(cluster) => cluster.status().await,
            None => Vec::new(),
        }),
        _ => {
            let hint = did_you_mean(&name.table, TABLES.iter().map(|table| (*table).to_owned()));
            return Err(Error::NotFound { kind: "table", name: name.to_string(), hint });
        }
    };
    let batch = RecordBatch::try_from_iter(columns)?;
    // A column without nulls now may have some later: the schema does not depend on the rows.
    let fields =
        batch.schema().fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>();
    let schema = Arc::new(Schema::new(fields));
    let batch = batch.with_schema(Arc::clone(&schema))?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

type Columns = Vec<(&'static str, ArrayRef)>;

fn text<'a, T>(rows: &'a [T], value: impl Fn(&'a T) -> Option<&'a str>) -> ArrayRef {
    Arc::new(rows.iter().map(value).collect::<StringArray>())
}

fn number<T>(rows: &[T], value: impl Fn(&T) -> u64) -> ArrayRef {
    Arc::new(rows.iter().map(|row| Some(value(row))).collect::<UInt64Array>())
}

fn cache(tiers: &[TierStats]) -> Columns {
    vec![
        ("tier", text(tiers, |tier| Some(tier.tier))),
        ("bytes", number(tiers, |tier| tier.bytes)),
        ("limit_bytes", number(tiers, |tier| tier.limit_bytes)),
        ("entries", number(tiers, |tier| tier.entries)),
        ("hits", number(tiers, |tier| tier.hits)),
        ("misses", number(tiers, |tier| tier.misses)),
        ("evictions", number(tiers, |tier| tier.evictions)),
        ("damaged", number(tiers, |tier| tier.damaged)),
        ("write_errors", number(tiers, |tier| tier.write_errors)),
    ]
}

fn queries(records: &[Record]) -> Columns {
    let ratio = |record: &Record| record.stats.io.hit_ratio();
    let started = records.iter().map(|record| Some(record.started_micros)).collect::<TimestampMicrosecondArray>();
    vec![
        ("query_id", text(records, |record| Some(&record.id))),
        ("tenant", text(records, |record| Some(&record.tenant))),
        ("user", text(records, |record| Some(&record.user))),
        ("state", text(records, |record| Some(record.state))),
        ("statement", text(records, |record| Some(&record.statement))),
        ("error", text(records, |record| record.error.as_deref())),
        ("stalled", text(records, |record| record.stalled.as_deref())),
        ("started_at", Arc::new(started.with_timezone("UTC"))),
        ("elapsed_ms", number(records, |record| record.stats.elapsed_ms)),
        ("rows", number(records, |record| record.stats.rows)),
        ("progress", Arc::new(records.iter().map(|record| record.progress).collect::<Float64Array>())),
        ("files_considered", number(records, |record| record.stats.files_considered)),
        ("files_pruned", number(records, |record| record.stats.files_pruned)),
        ("requests_get", number(records, |record| record.stats.requests_get)),
        ("requests_head", number(records, |record| record.stats.requests_head)),
        ("bytes_read", number(records, |record| record.stats.bytes_read)),
        ("bytes_from_memory", number(records, |record| record.stats.io.bytes_from_memory)),
        ("bytes_from_disk", number(records, |record| record.stats.io.bytes_from_disk)),
        ("bytes_from_peers", number(records, |record| record.stats.io.bytes_from_peers)),
        ("bytes_from_store", number(records, |record| record.stats.io.bytes_from_store)),
        ("page_hits", number(records, |record| record.stats.io.page_hits)),
        ("page_misses", number(records, |record| record.stats.io.page_misses)),
        ("pages_from_peers", number(records, |record| record.stats.io.pages_from_peers)),
        ("cache_hit_ratio", Arc::new(records.iter().map(ratio).collect::<Float64Array>())),
        ("retries", number(records, |record| record.stats.io.retries)),
        ("hedges", number(records, |record| record.stats.io.hedges)),
        ("workers_lost", number(records, |record| record.stats.workers_lost)),
        ("wait_ms", number(records, |record| record.stats.io.wait_ms)),
        ("cost_usd", Arc::new(records.iter().map(|record| Some(record.stats.cost_usd)).collect::<Float64Array>())),
    ]
}

fn tasks(records: &[Record]) -> Columns {
    let tasks: Vec<(&str, &TaskRecord)> =
        records.iter().flat_map(|record| record.tasks.iter().map(|task| (record.id.as_str(), task))).collect();
    vec![
        ("query_id", text(&tasks, |(query, _)| Some(query))),
        ("attempt", number(&tasks, |(_, task)| task.attempt)),
        ("stage", number(&tasks, |(_, task)| task.stage)),
        ("task", number(&tasks, |(_, task)| task.task)),
        ("worker", text(&tasks, |(_, task)| Some(&task.worker))),
        ("state", text(&tasks, |(_, task)| Some(task.state))),
        ("rows", number(&tasks, |(_, task)| task.rows)),
        ("bytes", number(&tasks, |(_, task)| task.bytes)),
        ("elapsed_ms", number(&tasks, |(_, task)| task.elapsed_ms)),
        ("compute_ms", number(&tasks, |(_, task)| task.compute_ms)),
        ("requests_get", number(&tasks, |(_, task)| task.requests)),
        ("spilled_bytes", number(&tasks, |(_, task)| task.spilled_bytes)),
    ]
}

fn workers(workers: &[WorkerStatus]) -> Columns {
    vec![
        ("worker_id", text(workers, |worker| Some(&worker.id))),
        ("url", text(workers, |worker| Some(&worker.url))),
        ("state", text(workers, |worker| Some(worker.state))),
    ]
}

fn tenants(engine: &Engine, tenant: &str) -> Columns {
    let totals = [(tenant.to_owned(), engine.query_log().totals_of(tenant))];
    vec![
        ("tenant", text(&totals, |(tenant, _)| Some(tenant))),
        ("queries", number(&totals, |(_, totals)| totals.queries)),
        ("requests_get", number(&totals, |(_, totals)| totals.requests_get)),
        ("requests_head", number(&totals, |(_, totals)| totals.requests_head)),
        ("bytes_read", number(&totals, |(_, totals)| totals.bytes_read)),
        ("bytes_from_memory", number(&totals, |(_, totals)| totals.bytes_from_memory)),
        ("bytes_from_disk", number(&totals, |(_, totals)| totals.bytes_from_disk)),
        ("retries", number(&totals, |(_, totals)| totals.retries)),
        ("hedges", number(&totals, |(_, totals)| totals.hedges)),
        ("cost_usd", Arc::new(totals.iter().map(|(_, totals)| Some(totals.cost_usd)).collect::<Float64Array>())),
    ]
}
