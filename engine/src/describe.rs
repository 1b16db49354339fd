//! What a statement is, without running it: whether it gives rows, their columns, and the parameters it takes.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::sql::parser::Statement as DFStatement;
use datafusion::sql::sqlparser::ast::{Query, Statement as SqlStatement};
use futures::FutureExt;
use tracing::Instrument;

use crate::execute::within;
use crate::own_thread::on_own_thread;
use crate::parameters::{self, Declared, Parameters};
use crate::query::QueryContext;
use crate::statement::Statement;
use crate::{Description, Engine, Result, Session, StatementKind, budget, ddl, system, trace, write};

impl Engine {
    /// What a statement is, without running it.
    ///
    /// # Errors
    /// As [`Engine::query`] would have given before it ran anything.
    pub async fn describe(self: &Arc<Self>, sql: &str, session: &Session) -> Result<Description> {
        self.describe_with(sql, &Parameters::none(), session).await
    }

    /// The same with values, which the columns' types may depend on.
    ///
    /// # Errors
    /// As [`Engine::query_with`] would have given before it ran anything.
    pub async fn describe_with(
        self: &Arc<Self>,
        sql: &str,
        parameters: &Parameters,
        session: &Session,
    ) -> Result<Description> {
        let query = self.begin(session);
        let described = self.describe_for(sql, parameters, session, &query).boxed();
        let described = within(self.statement_timeout(session), &query, described).await.flatten();
        described.map_err(|error| query.explain(error).of_query(query.id()))
    }

    async fn describe_for(
        self: &Arc<Self>,
        sql: &str,
        parameters: &Parameters,
        session: &Session,
        query: &Arc<QueryContext>,
    ) -> Result<Description> {
        let (statement, count, _memory) = self.parse(sql, session, query).await?;
        trace::is(query, statement.kind());
        if parameters.is_bound() {
            parameters.check(count)?;
        }
        match statement {
            Statement::Query(statement) => {
                let values = if parameters.row_count() > 0 { parameters.values(0)? } else { Vec::new() };
                let (schema, declared) = self.describe_query(statement, count, &values, session, query).await?;
                Ok(Description { kind: StatementKind::Query, schema, parameters: parameters::schema(declared) })
            }
            Statement::Insert(insert) if count > 0 => {
                let declared = write::describe_insert(self, insert, count, session, query).await?;
                Ok(Description { parameters: parameters::schema(declared), ..Description::update() })
            }
            Statement::CreateTable(create) if count > 0 => {
                let declared = match create.query {
                    Some(source) => self.describe_source(source, count, session, query).await?,
                    None => vec![None; count],
                };
                Ok(Description { parameters: parameters::schema(declared), ..Description::update() })
            }
            Statement::Insert(_) => Ok(Description::update()),
            Statement::Call(procedure) => system::describe_call(&procedure),
            other => Ok(ddl::describe(&other)),
        }
    }

    /// The parameters of a query that feeds a write.
    pub(crate) async fn describe_source(
        self: &Arc<Self>,
        source: Box<Query>,
        count: usize,
        session: &Session,
        query: &Arc<QueryContext>,
    ) -> Result<Declared> {
        let statement = DFStatement::Statement(Box::new(SqlStatement::Query(source)));
        self.describe_query(statement, count, &[], session, query).await.map(|(_, declared)| declared)
    }

    /// A query's columns, and the types of its parameters.
    async fn describe_query(
        self: &Arc<Self>,
        statement: DFStatement,
        count: usize,
        values: &[ScalarValue],
        session: &Session,
        query: &Arc<QueryContext>,
    ) -> Result<(SchemaRef, Declared)> {
        let tables = self.pin(&statement, session, query).instrument(trace::pin(query)).await?;
        let unplanned = self.unplanned(statement, values, tables, session)?;
        let values = values.to_vec();
        let planning = async move {
            let (state, logical) = unplanned.logical_plan().await?;
            // Analysis may change types. It fails where a parameter's type is not known.
            let analyzed = state.analyzer().execute_and_check(logical.clone(), state.config_options(), |_, _| {});
            budget::check()?;
            let schema: Schema = analyzed.as_ref().unwrap_or(&logical).schema().as_arrow().clone();
            let declared = match values.is_empty() {
                true => parameters::infer(&logical, analyzed.as_ref().ok(), count)?,
                false => values.iter().map(|value| Some(value.data_type())).collect(),
            };
            Ok((Arc::new(schema), declared))
        };
        let planning = on_own_thread(&self.runtime().memory_pool, planning);
        let (described, _memory) = planning.instrument(trace::plan(query)).await?;
        Ok(described)
    }
}
