//! CREATE TABLE … AS: a table with the columns of a query, and its rows.
//!
//! Both come with one commit, where the catalog can do that (`destination`).

use std::sync::Arc;

use super::align::Alignment;
use super::append::append;
use super::destination::Destination;
use super::insert::run_query;
use crate::ddl;
use crate::parameters::Parameters;
use crate::query::QueryContext;
use crate::statement::CreateTable;
use crate::{Completion, Engine, Error, Result, Session};

/// Runs a CREATE TABLE AS to its end.
///
/// # Errors
/// If the table is there already, the query fails, or its columns have types that tables cannot hold.
pub(crate) async fn create_table_as(
    engine: &Arc<Engine>,
    mut create: CreateTable,
    parameters: &Parameters,
    session: &Session,
    query: &Arc<QueryContext>,
) -> Result<Completion> {
    let access = engine.access(session).await?;
    let name = engine.resolve_name(&ddl::table_reference(&create.table)?, session)?;
    let name = ddl::require_create(engine, &name, &access).await?;
    ddl::require_placement(&create.properties, &access)?;
    let done = |rows| Completion { query_id: query.id().to_string(), rows, tag: "CREATE TABLE".to_string() };
    if ddl::table_exists(engine, &name, &access).await? {
        return match create.if_not_exists {
            true => Ok(done(Some(0))),
            false => Err(Error::AlreadyExists { kind: "table", name: name.to_string() }),
        };
    }
    let Some(source) = create.query.take() else {
        return Err(Error::Internal("CREATE TABLE AS without a query".to_string()));
    };
    let rows = query.change().unless_given_up(run_query(engine, source, parameters, session, query)).await??;
    let schema = crate::types::iceberg_schema(&rows.schema(), ddl::format_version(&create.properties)?)?;
    let new = ddl::new_table(&name, schema, &create.partitions, create.properties)?;
    let catalog = engine.whole_catalog(&name.catalog)?;
    let destination = Destination::new(catalog.as_ref(), &name, new, query).await?;
    let align = Box::new(|plan: &_, source: &_| Alignment::by_position(plan, &[], source));
    append(engine, catalog.as_ref(), destination, rows, align, query).await.map(|rows| done(Some(rows)))
}
