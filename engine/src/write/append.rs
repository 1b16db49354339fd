//! Streams rows into a table: align, write, commit. Nothing is visible before the commit, and nothing stays behind
//! if there is none.

use std::num::NonZero;
use std::sync::Arc;

use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt;
use iceberg::spec::Operation;
use polynya_catalog::{Catalog, ChangeSet, CommitOptions, Table, commit};

use super::align::Alignment;
use super::plan::WritePlan;
use super::writer::{TableWriter, Written};
use crate::query::QueryContext;
use crate::{Engine, Result};

/// How the source's columns find the table's.
pub(super) type Align = Box<dyn FnOnce(&Arc<WritePlan>, &arrow::datatypes::Schema) -> Result<Alignment> + Send>;

/// Appends rows to a table. Returns how many.
///
/// # Errors
/// If a row does not fit the table, the store fails, or the commit does. Then no row is in the table, except that the
/// outcome of a commit may be unknown.
pub(super) async fn append(
    engine: &Engine,
    catalog: &dyn Catalog,
    table: &Table,
    rows: SendableRecordBatchStream,
    align: Align,
    query: &QueryContext,
) -> Result<u64> {
    let table = Table { storage: table.storage.metered(Arc::clone(query.meter())), ..table.clone() };
    let written = write(engine, &table, rows, align).await?;
    if written.files.is_empty() {
        return Ok(0);
    }
    let mut changes = ChangeSet::append(written.files);
    debug_assert_eq!(changes.operation, Operation::Append);
    changes.summary.insert("engine-name".to_string(), "polynya".to_string());
    changes.summary.insert("engine-version".to_string(), env!("CARGO_PKG_VERSION").to_string());
    changes.summary.insert("polynya.query-id".to_string(), query.id().to_string());
    // The commit alone knows whether the files are in use after a failure, so it deletes them.
    let turn = engine.turns().take(table.metadata.uuid()).await;
    let options = CommitOptions {
        cache: Some(Arc::clone(&engine.scan_caches().metadata)),
        cleanup_data_files: true,
        is_behind: turn.has_waited,
    };
    written.guard.keep();
    commit(catalog, &table, changes, &options).await?;
    Ok(written.rows)
}

async fn write(engine: &Engine, table: &Table, mut rows: SendableRecordBatchStream, align: Align) -> Result<Written> {
    // Encoding computes and never waits: more of it at once than there are cores would only hold more memory.
    let lanes = std::thread::available_parallelism().map_or(1, NonZero::get);
    let plan = WritePlan::new(table, lanes)?.with_hydration(engine.hydration());
    let mut writer = TableWriter::new(plan, &engine.runtime().memory_pool);
    let alignment = align(writer.plan(), &rows.schema())?;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        if batch.num_rows() > 0 {
            writer.write(alignment.align(&batch)?).await?;
        }
    }
    writer.finish().await
}
