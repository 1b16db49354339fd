//! INSERT INTO … VALUES, SELECT or DEFAULT VALUES.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::sql::parser::Statement as DFStatement;
use datafusion::sql::sqlparser::ast::{Query, Statement as SqlStatement};
use tracing::Instrument;

use super::align::{Alignment, target_fields};
use super::append::append;
use super::bound_rows;
use super::destination::Destination;
use super::plan::WritePlan;
use super::value_rows::mean_columns;
use crate::access::{Object, Privilege};
use crate::ddl::table_reference;
use crate::options::zone_of_session;
use crate::parameters::{Declared, Parameters, ordinal_of};
use crate::query::QueryContext;
use crate::statement::Insert;
use crate::{Completion, Engine, Error, Result, Session, trace, types};

/// Runs an INSERT to its end.
///
/// # Errors
/// If the table, a column or a value is wrong; then nothing is committed.
pub(crate) async fn insert(
    engine: &Arc<Engine>,
    insert: Insert,
    parameters: &Parameters,
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
            match bound_rows::select(&source, parameters)? {
                Some((select, tables)) => {
                    let planning = engine.plan(select, tables, session).instrument(trace::plan(query));
                    engine.execute(query.change().unless_given_up(planning).await??, query)?
                }
                None => {
                    let planning = run_query(engine, source, parameters, session, query);
                    query.change().unless_given_up(planning).await??
                }
            }
        }
        None if columns.is_empty() => one_empty_row()?,
        None => return Err(Error::Invalid("DEFAULT VALUES takes no list of columns".to_string())),
    };
    let zone = zone_of_session(session);
    let defaults_only = rows.schema().fields().is_empty();
    let align = Box::new(move |plan: &Arc<WritePlan>, source: &Schema| match defaults_only {
        true => Alignment::by_name(plan, source),
        false => Ok(Alignment::by_position(plan, &columns, source)?.in_zone(zone)),
    });
    let written = append(engine, catalog.as_ref(), Destination::existing(table), rows, align, query).await?;
    Ok(Completion { query_id: query.id().to_string(), rows: Some(written), tag: "INSERT".to_string() })
}

/// The rows of a query that feeds a write.
pub(super) async fn run_query(
    engine: &Arc<Engine>,
    source: Box<Query>,
    parameters: &Parameters,
    session: &Session,
    query: &Arc<QueryContext>,
) -> Result<SendableRecordBatchStream> {
    let statement = DFStatement::Statement(Box::new(SqlStatement::Query(source)));
    engine.run_for_each(statement, parameters, session, query).await
}

/// The types of an INSERT's parameters: the column's where a parameter stands for one, else what the query tells.
///
/// # Errors
/// If the table or a column is not there, or the query cannot be planned.
pub(crate) async fn describe_insert(
    engine: &Arc<Engine>,
    insert: Insert,
    count: usize,
    session: &Session,
    query: &Arc<QueryContext>,
) -> Result<Declared> {
    let Some(mut source) = insert.source else { return Ok(vec![None; count]) };
    let asked = engine.resolve_name(&table_reference(&insert.table)?, session)?;
    let access = engine.access(session).await?;
    let (name, table) = engine.load_table(&asked, &access).await?;
    access.require(Privilege::Insert, Object::Table(&name))?;
    let plan = WritePlan::new(&table, 1)?;
    let targets = target_fields(&plan, &insert.columns)?;
    let mut declared: Declared = vec![None; count];
    for row in bound_rows::cells(&source) {
        for (cell, target) in row.into_iter().zip(&targets) {
            if let Some(slot) = cell.and_then(ordinal_of).and_then(|ordinal| declared.get_mut(ordinal - 1)) {
                *slot = Some(types::arrow_type(&target.field_type, &target.name)?);
            }
        }
    }
    if declared.contains(&None) {
        mean_columns(&mut source, &targets);
        let told = engine.describe_source(source, count, session, query).await?;
        declared.iter_mut().zip(told).for_each(|(known, told)| *known = known.take().or(told));
    }
    Ok(declared)
}

/// One row without columns: every column of the table then has its default.
fn one_empty_row() -> Result<SendableRecordBatchStream> {
    let schema = Arc::new(Schema::empty());
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::clone(&schema), Vec::new(), &options)?;
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter([Ok(row)]))))
}
