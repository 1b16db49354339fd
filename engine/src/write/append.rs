//! Streams rows into a table: align, write, commit. Nothing is visible before the commit, and nothing stays behind
//! if there is none.

use std::num::NonZero;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt;
use iceberg::spec::Operation;
use polynya_catalog::{Catalog, ChangeSet, CommitOptions, Table, Target, commit};

use super::align::Alignment;
use super::destination::{Destination, create_staged};
use super::plan::WritePlan;
use super::writer::{TableWriter, Written};
use crate::plain_size::{cut, largest_value};
use crate::query::QueryContext;
use crate::{Engine, Error, Result};

/// How the source's columns find the table's.
pub(super) type Align = Box<dyn FnOnce(&Arc<WritePlan>, &arrow::datatypes::Schema) -> Result<Alignment> + Send>;

/// Rows that are made into a table's columns at once, and their bytes then: what leaves columns out, or names one text many times, is
/// small before and large after.
const PIECE_ROWS: usize = 64 << 10;
const PIECE_BYTES: usize = 32 << 20;
/// Copies of a large value that the encoder may hold, and what values may have without being counted.
const COPIES: usize = 8;
const FREE_BYTES: usize = 16 << 20;

/// Writes rows to where they go. Returns how many.
///
/// # Errors
/// If a row does not fit the table, the store fails, the commit does, or the statement is given up first. Then no row is in the
/// table, except that the outcome of a commit may be unknown.
pub(super) async fn append(
    engine: &Engine,
    catalog: &dyn Catalog,
    destination: Destination,
    rows: SendableRecordBatchStream,
    align: Align,
    query: &QueryContext,
) -> Result<u64> {
    let written = append_to(engine, catalog, &destination, rows, align, query).await;
    // A commit whose outcome is not known may have filled the table, so it is kept then.
    let failed = !matches!(written, Ok(_) | Err(Error::Catalog(polynya_catalog::Error::CommitUnknown { .. })));
    if failed && destination.was_created_empty() {
        let ident = &destination.table.ident;
        if let Err(error) = catalog.drop_table(ident, true).await {
            tracing::warn!(table = %ident, %error, "a table that could not be filled could not be dropped either");
        }
    }
    written
}

async fn append_to(
    engine: &Engine,
    catalog: &dyn Catalog,
    destination: &Destination,
    rows: SendableRecordBatchStream,
    align: Align,
    query: &QueryContext,
) -> Result<u64> {
    let metered = |table: &Table| Table { storage: table.storage.metered(Arc::clone(query.meter())), ..table.clone() };
    let (table, change) = (metered(&destination.table), query.change());
    let written = write(engine, catalog, &table, destination, rows, align, query).await?;
    if written.files.is_empty() {
        match &destination.target {
            Target::Existing => return Ok(0),
            Target::Staged => return create_staged(catalog, destination, query).await.map(|()| 0),
            Target::Replaced(_) => {}
        }
    }
    let mut changes = ChangeSet::append(written.files).to(destination.target.clone());
    debug_assert_eq!(changes.operation, Operation::Append);
    changes.summary.insert("engine-name".to_string(), "polynya".to_string());
    changes.summary.insert("engine-version".to_string(), env!("CARGO_PKG_VERSION").to_string());
    changes.summary.insert("polynya.query-id".to_string(), query.id().to_string());
    let turn = change.unless_given_up(engine.turns().take(table.metadata.uuid())).await?;
    change.announce().await;
    let options = CommitOptions {
        cache: Some(Arc::clone(&engine.scan_caches().metadata)),
        cleanup_data_files: true,
        is_behind: turn.has_waited,
        identity: Some(destination.identity),
        gate: Some(Arc::clone(change) as _),
    };
    // The commit alone knows whether the files are in use after a failure, so it deletes them.
    change.unfinished().hand_over();
    commit(catalog, &metered(&destination.committed_to), changes, &options).await?;
    Ok(written.rows)
}

/// What the encoder takes for the largest values of some rows before the writer can count it: copies for a dictionary, for pages, and for
/// the least and the greatest of a page and of a file.
fn encoding_bytes(rows: &RecordBatch) -> usize {
    let largest = rows.columns().iter().map(|column| largest_value(column.as_ref()));
    largest.fold(0, usize::saturating_add).saturating_mul(COPIES).saturating_sub(FREE_BYTES)
}

async fn write(
    engine: &Engine,
    catalog: &dyn Catalog,
    table: &Table,
    destination: &Destination,
    mut rows: SendableRecordBatchStream,
    align: Align,
    query: &QueryContext,
) -> Result<Written> {
    // Encoding computes and never waits: more of it at once than there are cores would only hold more memory.
    let lanes = std::thread::available_parallelism().map_or(1, NonZero::get);
    let change = query.change();
    let plan = WritePlan::new(table, lanes)?.with_id(destination.identity.change_id).with_hydration(engine.hydration());
    let mut writer = TableWriter::new(plan, &engine.runtime().memory_pool, change.unfinished());
    let alignment = align(writer.plan(), &rows.schema())?;
    let data_folder = writer.plan().properties.data_location.clone();
    let noting = destination.note(catalog, &data_folder, query);
    let (noted, first) = futures::join!(noting, change.unless_given_up(rows.next()));
    noted?;
    let mut next = first?;
    let mut encoding = engine.memory().begin(format!("encoding large values for table {}", table.ident));
    let writing = async {
        while let Some(batch) = next {
            for piece in cut(&batch?, PIECE_ROWS, PIECE_BYTES) {
                if piece.num_rows() == 0 {
                    continue;
                }
                let piece = alignment.align(&piece)?;
                encoding.resize(encoding_bytes(&piece))?;
                writer.write(piece).await?;
            }
            next = rows.next().await;
        }
        writer.finish().await
    };
    change.unless_given_up(writing).await?
}
