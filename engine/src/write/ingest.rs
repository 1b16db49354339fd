//! Bulk ingest: rows that a client sends, into a table by column name.

use std::sync::Arc;

use datafusion::physical_plan::SendableRecordBatchStream;

use super::align::Alignment;
use super::append::{Align, append};
use super::destination::Destination;
use crate::access::{Access, Object, Privilege};
use crate::query::QueryContext;
use crate::statement::{check_fields, check_name};
use crate::{Engine, Error, Result, TableName, ddl, types};

/// What becomes of a table that is there, or not there, before an ingest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IngestMode {
    /// The table must be there; rows are added.
    Append,
    /// The table must not be there; it is created with the rows' columns.
    Create,
    /// The table gets the rows' columns and the rows, instead of what it has; it is created if it is not there.
    Replace,
    /// Rows are added; the table is created if it is not there.
    CreateAppend,
}

/// Writes rows into a table. Returns how many.
///
/// # Errors
/// If the table does not fit the mode, or the rows do not fit the table; then nothing is committed.
pub(crate) async fn ingest(
    engine: &Arc<Engine>,
    name: &TableName,
    mode: IngestMode,
    rows: SendableRecordBatchStream,
    access: &Arc<Access>,
    query: &Arc<QueryContext>,
) -> Result<u64> {
    check_name(&name.table)?;
    check_fields(rows.schema().fields())?;
    let exists = match mode {
        IngestMode::Append => true,
        _ => exists(engine, name, access).await?,
    };
    match (mode, exists) {
        (IngestMode::Append | IngestMode::CreateAppend, true) => {
            let (name, table) = engine.load_table(name, access).await?;
            access.require(Privilege::Insert, Object::Table(&name))?;
            let catalog = engine.whole_catalog(&name.catalog)?;
            append(engine, catalog.as_ref(), Destination::existing(table), rows, by_name(), query).await
        }
        (IngestMode::Create, true) => Err(Error::AlreadyExists { kind: "table", name: name.to_string() }),
        (IngestMode::Replace, true) => replace(engine, name, rows, access, query).await,
        (_, false) => create(engine, &ddl::require_create(engine, name, access).await?, rows, query).await,
    }
}

/// Whether the caller sees such a table.
async fn exists(engine: &Arc<Engine>, name: &TableName, access: &Arc<Access>) -> Result<bool> {
    match engine.load_table(name, access).await {
        Ok(_) => Ok(true),
        Err(Error::NotFound { kind: "table" | "schema", .. }) => Ok(false),
        Err(other) => Err(other),
    }
}

fn by_name() -> Align {
    Box::new(Alignment::by_name)
}

async fn create(
    engine: &Arc<Engine>,
    name: &TableName,
    rows: SendableRecordBatchStream,
    query: &Arc<QueryContext>,
) -> Result<u64> {
    let catalog = engine.whole_catalog(&name.catalog)?;
    let schema = types::iceberg_schema(&rows.schema(), ddl::format_version(&[])?)?;
    let new = ddl::new_table(name, schema, &[], Vec::new())?;
    let destination = Destination::new(catalog.as_ref(), name, new, query).await?;
    append(engine, catalog.as_ref(), destination, rows, by_name(), query).await
}

/// Gives a table the rows' columns, and the rows instead of what it holds, by one commit: until then the old ones answer.
async fn replace(
    engine: &Arc<Engine>,
    name: &TableName,
    rows: SendableRecordBatchStream,
    access: &Arc<Access>,
    query: &Arc<QueryContext>,
) -> Result<u64> {
    let (old, table) = engine.load_table(name, access).await?;
    access.require(Privilege::Drop, Object::Table(&old))?;
    let old = ddl::require_create(engine, &old, access).await?;
    let catalog = engine.whole_catalog(&old.catalog)?;
    let columns = types::iceberg_schema(&rows.schema(), table.metadata.format_version())?;
    let destination = Destination::replaced(table, columns)?;
    append(engine, catalog.as_ref(), destination, rows, by_name(), query).await
}
