//! Names to one snapshot per table, so that every scan of a query agrees.
//!
//! In: a parsed statement. Out: each table it names, loaded from its catalog once. Reads catalogs and table metadata only.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::sql::parser::Statement as DFStatement;
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{TableFactor, Visit, Visitor};
use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{Schema as IcebergSchema, SnapshotRef, TableMetadata};
use parking_lot::Mutex;
use polynya_catalog::{Storage, Table};

use crate::access::{Access, Object, Privilege, ReadRights};
use crate::information_schema::{self, INFORMATION_SCHEMA};
use crate::names::TableName;
use crate::query::QueryContext;
use crate::scan::{ColumnMapping, IcebergTableProvider};
use crate::system::{self, SYSTEM};
use crate::{Engine, Result, Session, types};

/// Tables loaded at once.
const CONCURRENT_LOADS: usize = 16;

/// A table pinned to one snapshot.
#[derive(Debug)]
pub(crate) struct PinnedTable {
    name: TableName,
    table: Table,
    snapshot: Option<SnapshotRef>,
    arrow_schema: SchemaRef,
    mapping: Arc<ColumnMapping>,
}

impl PinnedTable {
    /// Pins the current snapshot, under the current schema.
    pub(crate) fn current(name: TableName, table: Table, query: &QueryContext) -> Result<Self> {
        let schema = Arc::clone(table.metadata.current_schema());
        let arrow_schema = types::arrow_schema(&schema)
            .map_err(|error| crate::Error::unsupported(format!("table {name}"), error.to_string()))?;
        let arrow_schema = types::without_ids_below(&arrow_schema);
        let mapping = Arc::new(ColumnMapping::of_table(&name.to_string(), &table.metadata, &schema)?);
        let snapshot = table.metadata.current_snapshot().cloned();
        let storage = table.storage.metered(Arc::clone(query.meter()));
        Ok(Self { name, table: Table { storage, ..table }, snapshot, arrow_schema, mapping })
    }

    /// The full name, as errors give it.
    pub(crate) fn name(&self) -> &TableName {
        &self.name
    }

    /// The snapshot; none if the table never had one.
    pub(crate) fn snapshot(&self) -> Option<&SnapshotRef> {
        self.snapshot.as_ref()
    }

    /// The metadata that the snapshot was pinned from.
    pub(crate) fn metadata(&self) -> &TableMetadata {
        &self.table.metadata
    }

    /// The schema that rows are given in.
    pub(crate) fn iceberg_schema(&self) -> &IcebergSchema {
        self.mapping.schema()
    }

    /// The same in Arrow, with the field ids of its columns.
    pub(crate) fn arrow_schema(&self) -> &SchemaRef {
        &self.arrow_schema
    }

    /// How files' columns become the table's.
    pub(crate) fn mapping(&self) -> &Arc<ColumnMapping> {
        &self.mapping
    }

    /// The table's stores, counted for this query.
    pub(crate) fn storage(&self) -> &Arc<Storage> {
        &self.table.storage
    }
}

/// Tables as they were loaded, for as long as the setting `cache.metadata_max_age_ms` lets queries use them again.
#[derive(Debug)]
pub(crate) struct TablePointers {
    max_age: Duration,
    loaded: Mutex<HashMap<TableName, (TableName, Table, Instant)>>,
    /// Statements of this process that changed tables.
    changes: AtomicU64,
}

impl TablePointers {
    pub(crate) fn new(max_age_ms: u64) -> Self {
        Self { max_age: Duration::from_millis(max_age_ms), loaded: Mutex::default(), changes: AtomicU64::new(0) }
    }

    fn get(&self, asked: &TableName) -> Option<(TableName, Table)> {
        let mut loaded = self.loaded.lock();
        loaded.retain(|_, (_, _, at)| at.elapsed() < self.max_age);
        loaded.get(asked).map(|(found, table, _)| (found.clone(), table.clone()))
    }

    fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Keeps a table that was loaded after so many changes: another since then may have changed it.
    fn keep(&self, asked: &TableName, (found, table): &(TableName, Table), changes: u64) {
        let mut loaded = self.loaded.lock();
        if !self.max_age.is_zero() && self.changes() == changes {
            loaded.insert(asked.clone(), (found.clone(), table.clone(), Instant::now()));
        }
    }

    /// Forgets all: this process has changed a table.
    pub(crate) fn forget(&self) {
        let mut loaded = self.loaded.lock();
        self.changes.fetch_add(1, Ordering::SeqCst);
        loaded.clear();
    }
}

/// The tables of a statement, by catalog, schema and table as the planner will ask for them.
#[derive(Debug, Default, Clone)]
pub(crate) struct PinnedTables {
    pub(crate) tables: BTreeMap<TableName, Arc<dyn TableProvider>>,
    /// What the caller needs to read them; none if they are the caller's own rows.
    pub(crate) rights: Option<Arc<ReadRights>>,
}

/// One table of a statement.
struct Pinned {
    /// The name that the planner will ask for.
    asked: TableName,
    /// The table that the caller needs SELECT on; none if it is a list of what the caller sees.
    read: Option<TableName>,
    provider: Arc<dyn TableProvider>,
}

impl Engine {
    /// Pins every table that a statement names.
    pub(crate) async fn pin(
        self: &Arc<Self>,
        statement: &DFStatement,
        session: &Session,
        query: &Arc<QueryContext>,
    ) -> Result<PinnedTables> {
        let (references, _ctes) = resolve_table_references(statement, true)?;
        let functions = table_functions(statement);
        let access = &self.access(session).await?;
        let tables = references.into_iter().filter(|reference| !functions.contains(reference.table()));
        let loads = futures::stream::iter(tables).map(|reference| self.pin_one(reference, session, access, query));
        let pinned: Vec<Pinned> = loads.buffer_unordered(CONCURRENT_LOADS).try_collect().await?;
        let read = pinned.iter().map(|table| table.read.clone()).collect();
        let rights = Some(Arc::new(ReadRights::new(access, session, read)));
        let tables = pinned.into_iter().map(|table| (table.asked, table.provider)).collect();
        Ok(PinnedTables { tables, rights })
    }

    async fn pin_one(
        self: &Arc<Self>,
        reference: TableReference,
        session: &Session,
        access: &Arc<Access>,
        query: &Arc<QueryContext>,
    ) -> Result<Pinned> {
        if reference.schema() == Some(INFORMATION_SCHEMA) {
            let catalog =
                reference.catalog().map_or_else(|| self.current_catalog(session), |name| Ok(name.to_owned()))?;
            let name =
                TableName { catalog, schema: INFORMATION_SCHEMA.to_owned(), table: reference.table().to_owned() };
            query.audit().names(&name);
            let provider = information_schema::table(self, &name, access)?;
            return Ok(Pinned { asked: name, read: None, provider });
        }
        if reference.schema() == Some(SYSTEM) {
            let catalog =
                reference.catalog().map_or_else(|| self.current_catalog(session).unwrap_or_default(), str::to_owned);
            let name = TableName { catalog, schema: SYSTEM.to_owned(), table: reference.table().to_owned() };
            query.audit().names(&name);
            let provider = system::table(self, &name, session, access).await?;
            return Ok(Pinned { asked: name, read: None, provider });
        }
        let asked = self.resolve_name(&reference, session)?;
        query.audit().names(&asked);
        let (found, table) = self.pinned_or_loaded(&asked, access).await?;
        access.require(Privilege::Select, Object::Table(&found))?;
        let pinned = Arc::new(PinnedTable::current(found.clone(), table, query)?);
        let provider = IcebergTableProvider::new(pinned, Arc::clone(self.scan_caches()), Arc::clone(query));
        Ok(Pinned { asked, read: Some(found), provider: Arc::new(provider) })
    }

    /// A table as it was loaded lately, by whomever, or loads it. Which table a name in other letters stands for depends on what
    /// the caller sees, so that is shared only among those who see everything.
    async fn pinned_or_loaded(&self, asked: &TableName, access: &Arc<Access>) -> Result<(TableName, Table)> {
        let is_shared = |found: &TableName| access.is_everything() || (found == asked && access.sees_table(found));
        if let Some(known) = self.pointers().get(asked).filter(|(found, _)| is_shared(found)) {
            return Ok(known);
        }
        let changes = self.pointers().changes();
        let loaded = self.load_table(asked, access).await?;
        if is_shared(&loaded.0) {
            self.pointers().keep(asked, &loaded, changes);
        }
        Ok(loaded)
    }
}

/// The names that a statement calls as table functions, such as `range(1, 10)`: the planner knows them, catalogs do not.
fn table_functions(statement: &DFStatement) -> BTreeSet<String> {
    struct Calls(BTreeSet<String>);
    impl Visitor for Calls {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { name, args: Some(_), .. } = factor {
                let name = name.0.last().and_then(|part| part.as_ident());
                self.0.extend(name.map(|name| name.value.to_lowercase()));
            }
            ControlFlow::Continue(())
        }
    }
    let mut calls = Calls(BTreeSet::new());
    let mut statement = statement;
    while let DFStatement::Explain(explain) = statement {
        statement = &explain.statement;
    }
    if let DFStatement::Statement(statement) = statement {
        let _: ControlFlow<()> = statement.visit(&mut calls);
    }
    calls.0
}
