//! INSERT INTO … VALUES, SELECT or DEFAULT VALUES.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::sql::parser::Statement as DFStatement;
use datafusion::sql::sqlparser::ast::{Query, Statement as SqlStatement};

use super::align::{Alignment, target_fields};
use super::append::append;
use super::plan::WritePlan;
use super::value_rows::mean_columns;
use crate::access::{Object, Privilege};
use crate::ddl::table_reference;
use crate::query::QueryContext;
use crate::statement::Insert;
use crate::{Completion, Engine, Error, Result, Session};

/// Runs an INSERT to its end.
///
/// # Errors
/// If the table, a column or a value is wrong; then nothing is committed.
pub(crate) async fn insert(
    engine: &Arc<Engine>,
    insert: Insert,
    session: &Session,
    query: &Arc<QueryContext>,
) -> Result<Completion> {
    let asked = engine.resolve_name(&table_reference(&insert.table)?, session)?;
    let access = engine.access(session).await?;
    let (name, table) = engine.load_table(&asked, &access).await?;
    access.require(Privilege::Insert, Object::Table(&name))?;
    let catalog = engine.whole_catalog(&name.catalog)?;
    let plan = WritePlan::new(&table, 1)?;
    let Insert { columns, source, .. } = insert;
    let rows = match source {
        Some(mut source) => {
            mean_columns(&mut source, &target_fields(&plan, &columns)?);
            run_query(engine, source, session, query).await?
        }
        None if columns.is_empty() => one_empty_row()?,
        None => return Err(Error::Invalid("DEFAULT VALUES takes no list of columns".to_string())),
    };
    let defaults_only = rows.schema().fields().is_empty();
    let align = Box::new(move |plan: &Arc<WritePlan>, source: &Schema| match defaults_only {
        true => Alignment::by_name(plan, source),
        false => Alignment::by_position(plan, &columns, source),
    });
    let written = append(engine, catalog.as_ref(), &table, rows, align, query).await?;
    Ok(Completion { query_id: query.id().to_string(), rows: Some(written), tag: "INSERT".to_string() })
}

/// The rows of a query that feeds a write.
pub(super) async fn run_query(
    engine: &Arc<Engine>,
    source: Box<Query>,
    session: &Session,
    query: &Arc<QueryContext>,
) -> Result<SendableRecordBatchStream> {
    let statement = DFStatement::Statement(Box::new(SqlStatement::Query(source)));
    engine.run_source(statement, session, query).await
}

/// One row without columns: every column of the table then has its default.
fn one_empty_row() -> Result<SendableRecordBatchStream> {
    let schema = Arc::new(Schema::empty());
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::clone(&schema), Vec::new(), &options)?;
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter([Ok(row)]))))
}
