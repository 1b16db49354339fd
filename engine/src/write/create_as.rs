//! CREATE TABLE … AS: a table with the columns of a query, and its rows.
//!
//! The table is created first and filled by one commit. If filling it fails, or the client goes away meanwhile, the
//! table is dropped again.

use std::sync::Arc;

use polynya_catalog::{Catalog, NewTable, Table, TableIdent};

use super::align::Alignment;
use super::append::append;
use super::insert::run_query;
use crate::ddl;
use crate::parameters::Parameters;
use crate::query::QueryContext;
use crate::statement::CreateTable;
use crate::{Completion, Engine, Error, Result, Session, TableName};

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
    let rows = run_query(engine, source, parameters, session, query).await?;
    let schema = crate::types::iceberg_schema(&rows.schema(), ddl::format_version(&create.properties)?)?;
    let new = ddl::new_table(&name, schema, &create.partitions, create.properties)?;
    let catalog = engine.whole_catalog(&name.catalog)?;
    let (created, table) = CreatedTable::create(&catalog, &name, new).await?;
    let align = Box::new(|plan: &_, source: &_| Alignment::by_position(plan, &[], source));
    let written = append(engine, catalog.as_ref(), &table, rows, align, query).await;
    created.settle(written).await.map(|rows| done(Some(rows)))
}

/// A table that is dropped again unless what it was created for succeeds.
pub(super) struct CreatedTable {
    catalog: Arc<dyn Catalog>,
    ident: Option<TableIdent>,
}

impl CreatedTable {
    pub(super) async fn create(catalog: &Arc<dyn Catalog>, name: &TableName, new: NewTable) -> Result<(Self, Table)> {
        let ident = name.ident()?;
        let table = catalog.create_table(&ident, new).await?;
        Ok((Self { catalog: Arc::clone(catalog), ident: Some(ident) }, table))
    }

    /// Keeps the table, or drops it if the work on it failed. A commit whose outcome is not known may have filled
    /// the table, so it is kept then.
    pub(super) async fn settle<T>(mut self, result: Result<T>) -> Result<T> {
        let ident = self.ident.take();
        let unknown = matches!(&result, Err(Error::Catalog(polynya_catalog::Error::CommitUnknown { .. })));
        if let (Some(ident), Err(_), false) = (ident, &result, unknown) {
            drop_created(self.catalog.as_ref(), &ident).await;
        }
        result
    }
}

impl Drop for CreatedTable {
    fn drop(&mut self) {
        let Some(ident) = self.ident.take() else { return };
        let catalog = Arc::clone(&self.catalog);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { drop_created(catalog.as_ref(), &ident).await });
        }
    }
}

async fn drop_created(catalog: &dyn Catalog, ident: &TableIdent) {
    if let Err(error) = catalog.drop_table(ident, true).await {
        tracing::warn!(table = %ident, %error, "a table that could not be filled could not be dropped either");
    }
}
