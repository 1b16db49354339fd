//! Runs what is neither a query nor an INSERT: CREATE, DROP, ALTER, SHOW, DESCRIBE, USE, SET, RESET, GRANT, REVOKE.
//!
//! In: a parsed statement. Out: rows that are in memory already, or word that it is done. Only the catalog and the
//! session change here; rows are written by `write`. What changes more than the session can be given up until it asks the catalog
//! (`change`).

mod create;
mod describe;
mod drop;
mod grant;
mod name;
mod session;
mod show;
mod show_create;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;

pub(crate) use create::{format_version, new_table, require_placement};
pub(crate) use name::{require_create, table_exists, table_reference};

use crate::parameters::Parameters;
use crate::query::QueryContext;
use crate::statement::{Show, Statement};
use crate::{Answer, Completion, Description, Engine, Error, Result, RowStream, Session, StatementKind, write};

/// Runs a statement to its end.
///
/// # Errors
/// If it names what is not there, or is there already, or the catalog refuses; the thing is named.
pub(crate) async fn execute(
    engine: &Arc<Engine>,
    statement: Statement,
    parameters: &Parameters,
    session: &Session,
    query: &Arc<QueryContext>,
) -> Result<Answer> {
    let tag = match statement {
        Statement::CreateTable(create) if create.query.is_some() => {
            return write::create_table_as(engine, create, parameters, session, query).await.map(Answer::Done);
        }
        Statement::CreateTable(table) => create::create_table(engine, table, session, query).await?,
        Statement::CreateSchema(schema) => create::create_schema(engine, schema, session, query.change()).await?,
        Statement::DropTable { table, if_exists, purge } => {
            drop::drop_table(engine, &table, if_exists, purge, session, query.change()).await?
        }
        Statement::DropSchema { schema, if_exists, cascade } => {
            drop::drop_schema(engine, &schema, if_exists, cascade, session, query.change()).await?
        }
        Statement::RenameTable { from, to, if_exists } => {
            drop::rename_table(engine, &from, &to, if_exists, session, query.change()).await?
        }
        Statement::Access(statement) => match grant::execute(engine, statement, session, query.change()).await? {
            grant::Outcome::Done(tag) => tag,
            grant::Outcome::Rows(batch) => return rows(query, batch),
        },
        Statement::Use(chosen) => session::use_(engine, chosen, session).await?,
        Statement::Set { name, value } => session::set(engine, &name, &value, session)?,
        Statement::Reset { name } => session::reset(engine, name.as_deref(), session)?,
        Statement::Show(show) => return rows(query, show_rows(engine, show, session).await?),
        Statement::Describe { table } => return rows(query, describe::describe(engine, &table, session).await?),
        Statement::Query(_) | Statement::Insert(_) | Statement::Call(_) => {
            return Err(Error::Internal("a query or an INSERT among the definitions".to_string()));
        }
    };
    Ok(Answer::Done(Completion { query_id: query.id().to_string(), rows: None, tag: tag.to_string() }))
}

/// What a statement gives back, without running it.
pub(crate) fn describe(statement: &Statement) -> Description {
    let schema = match statement {
        Statement::Describe { .. } => describe::schema(),
        Statement::Show(show) => show_schema(show),
        Statement::Access(statement) => match grant::schema(statement) {
            Some(schema) => schema,
            None => return Description::update(),
        },
        _ => return Description::update(),
    };
    Description { kind: StatementKind::Query, schema, parameters: Arc::new(Schema::empty()) }
}

fn rows(query: &Arc<QueryContext>, batch: RecordBatch) -> Result<Answer> {
    Ok(Answer::Rows(RowStream::from_batches(Arc::clone(query), batch.schema(), vec![batch])))
}

async fn show_rows(engine: &Arc<Engine>, show: Show, session: &Session) -> Result<RecordBatch> {
    match show {
        Show::Catalogs { like } => show::catalogs(engine, like.as_deref(), session).await,
        Show::Schemas { catalog, like } => show::schemas(engine, catalog.as_ref(), like.as_deref(), session).await,
        Show::Tables { schema, like } => show::tables(engine, schema.as_ref(), like.as_deref(), session).await,
        Show::Columns { table } => describe::describe(engine, &table, session).await,
        Show::CreateTable { table } => show_create::show_create_table(engine, &table, session).await,
        Show::Settings { name } => session::show(engine, name.as_deref(), session),
    }
}

fn show_schema(show: &Show) -> arrow::datatypes::SchemaRef {
    match show {
        Show::Catalogs { .. } => show::text_schema(&show::CATALOGS),
        Show::Schemas { .. } => show::text_schema(&show::SCHEMAS),
        Show::Tables { .. } => show::text_schema(&show::TABLES),
        Show::Columns { .. } => describe::schema(),
        Show::CreateTable { .. } => show::text_schema(&show_create::COLUMNS),
        Show::Settings { .. } => show::text_schema(&session::COLUMNS),
    }
}
