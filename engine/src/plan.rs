//! From a statement and its pinned tables to a physical plan.
//!
//! Each query gets a session state of its own, with its tables and the session's settings; functions and rules are shared.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Fields};
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::var_provider::VarType;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement as DFStatement;
use datafusion::sql::sqlparser::ast::{TableFactor, Visit, Visitor};

use crate::cluster::{SessionSettings, scalar_subqueries_have_one_row};
use crate::execute::within;
use crate::names::TableName;
use crate::options::{PolynyaOptions, set_for_session};
use crate::own_thread::on_own_thread;
use crate::pin::PinnedTables;
use crate::planner::wide_select;
use crate::query::QueryContext;
use crate::refusals::in_sql_words;
use crate::session_values::SessionValues;
use crate::statement::{self, Statement, TYPE_DEPTH_MAX};
use crate::{Engine, Error, Result, Session, columns, dialect, parameters, shared_rows};

/// Statements that are parsed at once, where they arrive. Longer ones take a while, and recurse far.
const SHORT_BYTES_MAX: usize = 2_048;

/// A statement planned on pinned tables. It may be executed more than once.
pub(crate) struct Planned {
    pub(crate) state: SessionState,
    pub(crate) logical: LogicalPlan,
    pub(crate) physical: Arc<dyn ExecutionPlan>,
    /// What the plans hold.
    pub(crate) memory: Arc<MemoryReservation>,
}

/// A query that is to be planned, with all that planning needs of the engine and the session.
pub(crate) struct Unplanned {
    statement: DFStatement,
    values: Vec<ScalarValue>,
    tables: PinnedTables,
    session: SessionValues,
    state: SessionState,
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
        let unplanned = self.unplanned(statement, values, pinned, session)?;
        let has_cluster = self.cluster().is_some();
        let planning = async move {
            let (mut state, logical) = unplanned.logical_plan().await?;
            if has_cluster && scalar_subqueries_have_one_row(&logical) {
                // Stages on workers cannot share the result of such a subquery.
                state.config_mut().options_mut().optimizer.enable_physical_uncorrelated_scalar_subquery = false;
            }
            let physical = state.create_physical_plan(&logical).await.map_err(in_sql_words)?;
            Ok((state, logical, physical))
        };
        let ((state, logical, physical), memory) = on_own_thread(&self.runtime().memory_pool, planning).await?;
        Ok(Planned { state, logical, physical, memory: Arc::new(memory) })
    }

    /// Parses a statement. Returns the number of its parameters, and what is reserved for what was made of it.
    ///
    /// # Errors
    /// As [`statement::parse_with_parameters`].
    pub(crate) async fn parse(
        &self,
        sql: &str,
        session: &Session,
        query: &QueryContext,
    ) -> Result<(Statement, usize, Option<MemoryReservation>)> {
        if sql.len() <= SHORT_BYTES_MAX {
            let (statement, count) = statement::parse_with_parameters(sql)?;
            return Ok((statement, count, None));
        }
        let sql = sql.to_owned();
        let parsing = on_own_thread(&self.runtime().memory_pool, async move { statement::parse_with_parameters(&sql) });
        let ((statement, count), memory) = within(self.statement_timeout(session), query, parsing).await??;
        Ok((statement, count, Some(memory)))
    }

    /// Gathers what planning needs, so that it can go to a thread of its own. Without values, parameters stay in the plan.
    pub(crate) fn unplanned(
        &self,
        statement: DFStatement,
        values: &[ScalarValue],
        tables: PinnedTables,
        session: &Session,
    ) -> Result<Unplanned> {
        let state = self.session_state(tables.clone(), session)?;
        let session = SessionValues::of(self, session);
        Ok(Unplanned { statement, values: values.to_vec(), tables, session, state })
    }

    /// How long a statement of the session may take.
    pub(crate) fn statement_timeout(&self, session: &Session) -> Option<Duration> {
        let config = self.session_config(session).ok()?;
        config.options().extensions.get::<PolynyaOptions>()?.statement_timeout
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
            set_for_session(config.options_mut(), &name, &value)?;
        }
        Ok(config.with_extension(Arc::new(SessionSettings(session.settings()))))
    }
}

impl Unplanned {
    /// The logical plan, checked to be one of a query, with the state that it was planned in. To be called on a thread of its own.
    pub(crate) async fn logical_plan(self) -> Result<(SessionState, LogicalPlan)> {
        let Self { mut statement, values, tables, session, mut state } = self;
        refuse_ignored_clauses(&statement)?;
        dialect::translate(&mut statement)?;
        dialect::call_by_name(&mut statement, state.scalar_functions());
        dialect::mark_volatile_ctes(&mut statement, state.scalar_functions())?;
        session.write(&mut statement, &tables);
        columns::match_case(&mut statement, &tables);
        parameters::name_items(&mut statement);
        if !values.is_empty() {
            parameters::as_variables(&mut statement);
            let variables = parameters::provider(&values);
            state.execution_props_mut().add_var_provider(VarType::UserDefined, variables);
        }
        let columns = tables.tables.values().map(|table| table.schema().fields().len()).max().unwrap_or(0);
        let is_wide = wide_select::take(&mut statement, columns);
        let mut logical = state.statement_to_plan(statement).await.map_err(in_sql_words)?;
        if is_wide {
            logical = wide_select::put(logical)?;
        }
        if !values.is_empty() {
            logical = parameters::bind_variables(logical, &values)?;
        }
        logical = shared_rows::share(logical)?;
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        options.verify_plan(&logical)?;
        refuse_deep_types(&logical)?;
        Ok((state, logical))
    }
}

/// Clients recurse into the types of columns, and some end where these are very deep.
fn refuse_deep_types(plan: &LogicalPlan) -> Result<()> {
    let too_deep = plan.schema().fields().iter().find(|field| nests_deeper(field.data_type(), TYPE_DEPTH_MAX));
    match too_deep {
        Some(field) => {
            let name: String = field.name().chars().take(60).collect();
            Err(Error::TooComplex(format!("the type of the column {name} nests more than {TYPE_DEPTH_MAX} levels")))
        }
        None => Ok(()),
    }
}

fn nests_deeper(data_type: &DataType, levels: usize) -> bool {
    let of_fields =
        |fields: &Fields| fields.iter().any(|field| nests_deeper(field.data_type(), levels.saturating_sub(1)));
    match data_type {
        _ if !data_type.is_nested() => false,
        _ if levels == 0 => true,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => nests_deeper(field.data_type(), levels - 1),
        DataType::Struct(fields) => of_fields(fields),
        DataType::Dictionary(_, values) => nests_deeper(values, levels - 1),
        _ => false,
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
