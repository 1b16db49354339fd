//! From a statement and its pinned tables to a physical plan.
//!
//! Each query gets a session state of its own, with its tables and the session's settings; functions and rules are shared.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::var_provider::VarType;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement as DFStatement;
use datafusion::sql::sqlparser::ast::{TableFactor, Visit, Visitor};

use crate::cluster::{SessionSettings, scalar_subqueries_have_one_row};
use crate::names::TableName;
use crate::own_thread::on_own_thread;
use crate::pin::PinnedTables;
use crate::refusals::in_sql_words;
use crate::{Engine, Error, Result, Session, columns, dialect, parameters};

/// A statement planned on pinned tables. It may be executed more than once.
pub(crate) struct Planned {
    pub(crate) state: SessionState,
    pub(crate) logical: LogicalPlan,
    pub(crate) physical: Arc<dyn ExecutionPlan>,
}

impl Engine {
    /// Plans a query without parameters on its pinned tables. Refuses anything that would write.
    pub(crate) async fn plan(
        &self,
        statement: DFStatement,
        pinned: PinnedTables,
        session: &Session,
    ) -> Result<Planned> {
        self.plan_with(statement, &[], pinned, session).await
    }

    /// Plans a query with these values for its parameters, as if they had been written into it.
    pub(crate) async fn plan_with(
        &self,
        statement: DFStatement,
        values: &[ScalarValue],
        pinned: PinnedTables,
        session: &Session,
    ) -> Result<Planned> {
        let (mut state, logical) = self.logical_plan(statement, values, pinned, session).await?;
        if self.cluster().is_some() && scalar_subqueries_have_one_row(&logical) {
            // Stages on workers cannot share the result of such a subquery.
            state.config_mut().options_mut().optimizer.enable_physical_uncorrelated_scalar_subquery = false;
        }
        on_own_thread(async move {
            let physical = state.create_physical_plan(&logical).await.map_err(in_sql_words)?;
            Ok::<_, Error>(Planned { state, logical, physical })
        })
        .await?
    }

    /// The logical plan of a query, checked to be one, with the state that it was planned in. Without values, parameters
    /// stay in it.
    pub(crate) async fn logical_plan(
        &self,
        mut statement: DFStatement,
        values: &[ScalarValue],
        pinned: PinnedTables,
        session: &Session,
    ) -> Result<(SessionState, LogicalPlan)> {
        refuse_ignored_clauses(&statement)?;
        dialect::translate(&mut statement)?;
        self.tell_session(&mut statement, &pinned, session);
        columns::match_case(&mut statement, &pinned);
        parameters::name_items(&mut statement);
        let mut state = self.session_state(pinned, session)?;
        if !values.is_empty() {
            parameters::as_variables(&mut statement);
            let variables = parameters::provider(values);
            state.execution_props_mut().add_var_provider(VarType::UserDefined, variables);
        }
        let (state, mut logical) = on_own_thread(async move {
            let logical = state.statement_to_plan(statement).await.map_err(in_sql_words)?;
            Ok::<_, Error>((state, logical))
        })
        .await??;
        if !values.is_empty() {
            logical = parameters::bind_variables(logical, values)?;
        }
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        options.verify_plan(&logical)?;
        Ok((state, logical))
    }

    /// The state that one query is planned and run with.
    pub(crate) fn session_state(&self, pinned: PinnedTables, session: &Session) -> Result<SessionState> {
        let catalog = self.current_catalog(session).unwrap_or_default();
        let schema = session.schema().unwrap_or_default();
        let config = self.session_config(session)?.with_default_catalog_and_schema(catalog, schema);
        let tables = Arc::new(PinnedCatalogs(pinned));
        let has_settings = config.get_extension::<SessionSettings>().is_some_and(|settings| !settings.0.is_empty());
        let mut state = self.base_state().clone();
        if has_settings {
            // Some functions depend on settings: the builder asks each for its new form, and puts all into place again.
            state = SessionStateBuilder::new_from_existing(state).with_config(config).with_catalog_list(tables).build();
        } else {
            *state.config_mut() = config;
            state.register_catalog_list(tables);
        }
        // now() and the optimiser's aliases are the query's own.
        state.mark_start_execution();
        Ok(state)
    }

    /// The server's configuration with the session's settings on top.
    pub(crate) fn session_config(&self, session: &Session) -> Result<SessionConfig> {
        let mut config = self.base_state().config().clone();
        for (name, value) in session.settings() {
            config.options_mut().set(&name, &value)?;
        }
        Ok(config.with_extension(Arc::new(SessionSettings(session.settings()))))
    }
}

/// DataFusion plans a table without these clauses as if they were not there: a wrong answer, so they are refused.
fn refuse_ignored_clauses(statement: &DFStatement) -> Result<()> {
    match statement {
        DFStatement::Explain(explain) => refuse_ignored_clauses(&explain.statement),
        DFStatement::Statement(statement) => match statement.visit(&mut IgnoredClauses) {
            ControlFlow::Break(clause) => Err(Error::unsupported("this query", clause)),
            ControlFlow::Continue(()) => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Stops at the first clause that the planner would ignore.
struct IgnoredClauses;

impl Visitor for IgnoredClauses {
    type Break = &'static str;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<&'static str> {
        let TableFactor::Table { version, sample, partitions, with_hints, index_hints, .. } = factor else {
            return ControlFlow::Continue(());
        };
        match () {
            () if version.is_some() => ControlFlow::Break("time travel (VERSION AS OF, TIMESTAMP AS OF)"),
            () if sample.is_some() => ControlFlow::Break("TABLESAMPLE"),
            () if !partitions.is_empty() => ControlFlow::Break("PARTITION (…) after a table's name"),
            () if !with_hints.is_empty() || !index_hints.is_empty() => ControlFlow::Break("hints after a table's name"),
            () => ControlFlow::Continue(()),
        }
    }
}

/// The pinned tables as DataFusion looks names up. What was not pinned is not there.
#[derive(Debug)]
struct PinnedCatalogs(PinnedTables);

impl CatalogProviderList for PinnedCatalogs {
    fn register_catalog(&self, _name: String, _catalog: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.0.tables.keys().map(|name| &name.catalog).collect();
        names.into_iter().cloned().collect()
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        let tables = self.0.tables.iter().filter(|(table, _)| table.catalog == name);
        let mut schemas: BTreeMap<String, BTreeMap<String, Arc<dyn TableProvider>>> = BTreeMap::new();
        for (TableName { schema, table, .. }, provider) in tables {
            schemas.entry(schema.clone()).or_default().insert(table.clone(), Arc::clone(provider));
        }
        Some(Arc::new(PinnedCatalog(schemas)))
    }
}

#[derive(Debug)]
struct PinnedCatalog(BTreeMap<String, BTreeMap<String, Arc<dyn TableProvider>>>);

impl CatalogProvider for PinnedCatalog {
    fn schema_names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        Some(Arc::new(PinnedSchema(self.0.get(name)?.clone())))
    }
}

#[derive(Debug)]
struct PinnedSchema(BTreeMap<String, Arc<dyn TableProvider>>);

#[async_trait]
impl SchemaProvider for PinnedSchema {
    fn table_names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        Ok(self.0.get(name).cloned())
    }

    fn table_exist(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}
