//! The engine: one value a process, shared by all sessions. `Engine::query` is its table of contents.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::SessionState;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::sql::parser::Statement as DFStatement;
use futures::FutureExt;
use polynya_catalog::{Catalog, MetadataCache, Table, TableIdent, open_catalog};
use tokio_util::task::AbortOnDropHandle;

use crate::access::{Access, AccessControl, VisibleCatalog};
use crate::admission::Admission;
use crate::answer::{Answer, RowStream};
use crate::base_state::base_state;
use crate::change::{Change, Changes, Sweeper};
use crate::cluster::{Cluster, Tasks};
use crate::computing::Computing;
use crate::execute::within;
use crate::io::{
    Budget, DataCaches, DecodedTier, DiskTier, FooterCache, Hydration, PageCache, PageTier, Pages, Prices, QueryIo,
    Stores,
};
use crate::memory::MemoryBudget;
use crate::memory_guard::guard;
use crate::names::{TableName, did_you_mean};
use crate::options::PolynyaOptions;
use crate::parameters::Parameters;
use crate::pin::TablePointers;
use crate::query::QueryContext;
use crate::scan::{ManifestCache, ScanCaches, ScanCodec};
use crate::spill::SpillFolder;
use crate::statement::Statement;
use crate::system::{self, QueryLog};
use crate::trace::TraceContext;
use crate::watchdog::watch;
use crate::wire_options::WireOptions;
use crate::write::{IngestMode, Turns};
use crate::{Error, Result, Session, Settings, ddl, explain, trace, types, write};

/// Runs SQL on the tables of its catalogs.
#[derive(Debug)]
pub struct Engine {
    catalogs: BTreeMap<String, Arc<dyn Catalog>>,
    default_catalog: Option<String>,
    default_schema: Option<String>,
    memory_limit_bytes: u64,
    memory: MemoryBudget,
    prices: Prices,
    query_log: Arc<QueryLog>,
    turns: Turns,
    changes: Changes,
    admission: Arc<Admission>,
    computing: Arc<Computing>,
    hydrate_pages: bool,
    pointers: TablePointers,
    access: AccessControl,
    cluster: Option<Arc<Cluster>>,
    tasks: Arc<Tasks>,
    trace: Option<Arc<dyn TraceContext>>,
    scan_codec: Arc<ScanCodec>,
    caches: Arc<ScanCaches>,
    spill: Option<Arc<SpillFolder>>,
    _sweeper: Sweeper,
    base: SessionState,
    _watchdog: Option<AbortOnDropHandle<()>>,
    _memory_guard: AbortOnDropHandle<()>,
}

impl Engine {
    /// Opens the catalogs and makes the pools that all queries share.
    ///
    /// # Errors
    /// If a setting is wrong or a catalog cannot be opened; the message names the setting.
    pub async fn start(settings: Settings) -> Result<Arc<Self>> {
        let memory = MemoryBudget::new(settings.memory.limit_bytes());
        let metadata_bytes = settings.cache.metadata_bytes.as_u64();
        let metadata = MetadataCache::within(metadata_bytes / 4, Arc::new(memory.clone()));
        let mut catalogs = BTreeMap::new();
        for (key, catalog) in &settings.catalog {
            catalogs.insert(key.clone(), open_catalog(key, catalog, &metadata).await?);
        }
        let default_catalog = default_catalog(&settings, &catalogs)?;
        let data = data_caches(&settings, &memory)?;
        let manifests = ManifestCache::new(metadata_bytes / 2, Arc::clone(&data.pages.cache), Arc::clone(&metadata));
        let caches = ScanCaches { metadata, manifests, data };
        let spill = SpillFolder::of(&settings.memory)?.map(Arc::new);
        let query_log = Arc::default();
        let computing = Arc::new(Computing::new(&memory));
        let limits_bytes = settings.memory.limit_bytes().saturating_add(settings.cache.limits_bytes());
        let sweeper = Sweeper::start(&catalogs, &caches.metadata).await;
        Ok(Arc::new(Self {
            catalogs,
            default_catalog,
            default_schema: settings.default_schema.clone(),
            memory_limit_bytes: settings.memory.limit_bytes(),
            prices: settings.prices.prices()?,
            _watchdog: watch(&query_log, settings.execution.stalled_after),
            query_log,
            turns: Turns::default(),
            changes: Changes::default(),
            admission: Admission::new(settings.admission.clone(), settings.memory.limit_bytes()),
            _memory_guard: guard(&computing, limits_bytes),
            computing,
            hydrate_pages: settings.cache.hydrate_pages,
            pointers: TablePointers::new(settings.cache.metadata_max_age_ms),
            access: AccessControl::new(&settings)?,
            cluster: Cluster::new(&settings)?,
            tasks: Arc::default(),
            trace: settings.trace.clone(),
            scan_codec: Arc::new(ScanCodec::new(caches.data.clone())),
            caches: Arc::new(caches),
            base: base_state(&settings, &memory, spill.as_ref())?,
            memory,
            spill,
            _sweeper: sweeper,
        }))
    }

    /// Removes what was spilled to disk. For the end of the process, which does not drop what its tasks hold: nothing is to
    /// run any more.
    pub fn close(&self) {
        if let Some(spill) = &self.spill {
            spill.remove();
        }
    }

    /// A session that starts in the server's default catalog and schema.
    pub fn session(&self, tenant: impl Into<String>, user: impl Into<String>) -> Session {
        Session::new(tenant, user, self.default_catalog.clone(), self.default_schema.clone())
    }

    /// Runs one statement. Queries run as their rows are polled; everything else has run when this returns.
    ///
    /// # Errors
    /// Grouped by who can act; see [`Error`].
    pub async fn query(self: &Arc<Self>, sql: &str, session: &Session) -> Result<Answer> {
        self.query_with(sql, &Parameters::none(), session).await
    }

    /// Runs one statement for each row of its parameters, as one query: a query gives the rows of all runs, and what an
    /// INSERT writes is one commit.
    ///
    /// # Errors
    /// As [`Engine::query`], and if the values are not as many as the parameters.
    pub async fn query_with(self: &Arc<Self>, sql: &str, parameters: &Parameters, session: &Session) -> Result<Answer> {
        let query = self.begin(session);
        self.query_log.begin(&query, session.user(), sql);
        let given_up = GivenUp { engine: self, query: &query };
        // Boxed, so that the types of those who wait for it do not grow with all that a statement may do.
        let answer = self.run(sql, parameters, session, &query).boxed().await;
        given_up.answered();
        let answer = answer.map_err(|error| query.explain(error).of_query(query.id()));
        match &answer {
            Ok(Answer::Rows(_)) => query.becomes("PLANNED"),
            answer => self.ended(&query, answer.as_ref().err()),
        }
        answer
    }

    /// A statement that gives no rows has come to its end.
    fn ended(&self, query: &QueryContext, error: Option<&Error>) {
        self.pointers.forget();
        match error {
            None => query.end("FINISHED", None),
            Some(Error::Cancelled) => query.end("CANCELLED", None),
            Some(error) => query.end("FAILED", Some(error.to_string())),
        }
    }

    async fn run(
        self: &Arc<Self>,
        sql: &str,
        parameters: &Parameters,
        session: &Session,
        query: &Arc<QueryContext>,
    ) -> Result<Answer> {
        let (statement, count, _memory) = self.parse(sql, session, query).await?;
        trace::is(query, statement.kind());
        query.audit().names_of(&statement, self, session);
        parameters.check(count)?;
        let statement = match statement {
            Statement::Query(statement) => {
                return self.rows(statement, parameters, session, query).await.map(Answer::Rows);
            }
            other => other,
        };
        query.becomes("RUNNING");
        match statement {
            Statement::Call(procedure) => system::call(self, &procedure, session, query).await,
            statement if statement.changes_something() => {
                let (engine, context, session) = (Arc::clone(self), Arc::clone(query), session.as_it_is());
                let parameters = parameters.clone();
                let work = async move {
                    match statement {
                        Statement::Insert(insert) => {
                            write::insert(&engine, insert, &parameters, &session, &context).await.map(Answer::Done)
                        }
                        other => ddl::execute(&engine, other, &parameters, &session, &context).await,
                    }
                };
                self.change(query, work).await
            }
            other => ddl::execute(self, other, parameters, session, query).await,
        }
    }

    /// Runs work that changes something to one of its two ends, whoever waits for it.
    async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        query: &Arc<QueryContext>,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (engine, context) = (Arc::clone(self), Arc::clone(query));
        let explained = Arc::clone(query);
        let work = async move { work.await.map_err(|error| explained.explain(error)) };
        let ended = move |answer: &Result<T>| engine.ended(&context, answer.as_ref().err());
        self.changes.run(query, work.boxed(), ended).await
    }

    /// How many statements are under way that change something.
    pub fn changes_under_way(&self) -> usize {
        self.changes.count()
    }

    /// Gives up the statements that change something, but for those that are being committed, and waits for all of them, at most so
    /// long. Returns how many have not ended. For the end of the process.
    pub async fn end_changes(&self, patience: Duration) -> usize {
        self.changes.end(patience).await
    }

    /// Writes rows into a table, columns matched by name. Returns the rows written.
    ///
    /// # Errors
    /// If the table does not fit the mode, or the rows do not fit the table; then nothing is committed.
    pub async fn ingest(
        self: &Arc<Self>,
        table: &TableName,
        mode: IngestMode,
        rows: SendableRecordBatchStream,
        session: &Session,
    ) -> Result<u64> {
        let query = self.begin(session);
        self.query_log.begin(&query, session.user(), &format!("ingest into {table}"));
        trace::is(&query, "INGEST");
        query.audit().names(table);
        let given_up = GivenUp { engine: self, query: &query };
        let (engine, context, session) = (Arc::clone(self), Arc::clone(&query), session.as_it_is());
        let table = table.clone();
        let work = async move {
            let access = engine.access(&session).await?;
            write::ingest(&engine, &table, mode, rows, &access, &context).await
        };
        let written = self.change(&query, work).await;
        given_up.answered();
        written.map_err(|error| error.of_query(query.id()))
    }

    /// How the session wants its results sent.
    pub fn wire_options(&self, session: &Session) -> WireOptions {
        let config = self.session_config(session).ok();
        let options = config.and_then(|config| config.options().extensions.get::<PolynyaOptions>().cloned());
        options.unwrap_or_default().wire
    }

    /// Carries scans between processes.
    pub fn scan_codec(&self) -> Arc<ScanCodec> {
        Arc::clone(&self.scan_codec)
    }

    /// Memory that running queries hold, in bytes.
    pub fn memory_used_bytes(&self) -> usize {
        self.runtime().memory_pool.reserved()
    }

    /// Where memory is reserved that no operator counts.
    pub fn memory(&self) -> &MemoryBudget {
        &self.memory
    }

    /// What a session may do now.
    ///
    /// # Errors
    /// If grants are in the control database, and it is away.
    pub async fn access(&self, session: &Session) -> Result<Arc<Access>> {
        self.access.of(session).boxed().await
    }

    /// The grants in force.
    pub(crate) fn access_control(&self) -> &AccessControl {
        &self.access
    }

    /// The catalogs that a caller sees, sorted.
    pub fn visible_catalog_names(&self, access: &Access) -> Vec<String> {
        self.catalogs.keys().filter(|name| access.sees_catalog(name)).cloned().collect()
    }

    /// All catalogs, sorted, whoever asks.
    pub fn catalog_names(&self) -> Vec<String> {
        self.catalogs.keys().cloned().collect()
    }

    /// The catalog of names without one.
    pub fn default_catalog(&self) -> Option<String> {
        self.default_catalog.clone()
    }

    /// A catalog by name, to read as the caller sees it: what is hidden from the caller is not there.
    ///
    /// # Errors
    /// `NotFound`, with the nearest name that the caller sees.
    pub fn catalog(&self, name: &str, access: &Arc<Access>) -> Result<Arc<dyn Catalog>> {
        let found = self.catalogs.get(name).filter(|_| access.sees_catalog(name));
        found.map(|catalog| VisibleCatalog::of(catalog, access)).ok_or_else(|| {
            let hint = did_you_mean(name, self.visible_catalog_names(access).into_iter());
            Error::NotFound { kind: "catalog", name: name.to_owned(), hint }
        })
    }

    /// A catalog by name, with all that is in it, to write what a privilege was asked for.
    ///
    /// # Errors
    /// `NotFound`, without a hint.
    pub fn whole_catalog(&self, name: &str) -> Result<Arc<dyn Catalog>> {
        self.catalogs.get(name).cloned().ok_or_else(|| Error::not_found("catalog", name))
    }

    /// The columns of a table, with field ids, as the engine types them.
    ///
    /// # Errors
    /// If the table is not there or has a column that cannot be read.
    pub async fn table_schema(&self, catalog: &str, table: &TableIdent, access: &Arc<Access>) -> Result<SchemaRef> {
        let table = self.catalog(catalog, access)?.load_table(table).await?;
        self.arrow_schema(&table)
    }

    pub(crate) fn arrow_schema(&self, table: &Table) -> Result<SchemaRef> {
        types::arrow_schema(table.metadata.current_schema())
            .map_err(|error| Error::unsupported(format!("table {}", table.ident), error.to_string()))
    }

    /// Pins, plans, places and executes a query: `run_for_each` has the steps.
    pub(crate) async fn rows(
        self: &Arc<Self>,
        statement: DFStatement,
        parameters: &Parameters,
        session: &Session,
        query: &Arc<QueryContext>,
    ) -> Result<RowStream> {
        let reports = explain::Report::wanted(&statement);
        let planned = self.run_for_each(statement, parameters, session, query);
        let stream = within(self.statement_timeout(session), query, planned).await??;
        Ok(RowStream::new(Arc::clone(query), explain::append_report(stream, reports, query)))
    }

    pub(crate) fn begin(&self, session: &Session) -> Arc<QueryContext> {
        let config = self.session_config(session).ok();
        let options = config.and_then(|config| config.options().extensions.get::<PolynyaOptions>().cloned());
        let options = options.unwrap_or_default();
        let io = QueryIo::new(options.cache, options.limits, self.prices);
        let change = Change::new(options.statement_timeout);
        QueryContext::new(session.tenant(), self.memory_limit_bytes, io, &self.query_log, change)
    }

    pub(crate) fn base_state(&self) -> &SessionState {
        &self.base
    }

    /// What writers need to leave their files in the cache.
    pub(crate) fn hydration(&self) -> Hydration {
        Hydration::new(Arc::clone(&self.caches.data.pages.cache), self.hydrate_pages)
    }

    /// Tables that were loaded lately.
    pub(crate) fn pointers(&self) -> &TablePointers {
        &self.pointers
    }

    /// The workers, if there may be some.
    pub(crate) fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref()
    }

    /// The tasks that this process runs for a coordinator.
    pub(crate) fn tasks(&self) -> &Arc<Tasks> {
        &self.tasks
    }

    /// How spans pass between processes, if they do.
    pub(crate) fn trace_context(&self) -> Option<&dyn TraceContext> {
        self.trace.as_deref()
    }

    /// Memory that running queries may hold, in bytes.
    pub(crate) fn memory_limit_bytes(&self) -> u64 {
        self.memory_limit_bytes
    }

    /// What requests cost.
    pub(crate) fn prices(&self) -> Prices {
        self.prices
    }

    /// Who may run.
    pub(crate) fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// The threads that queries run on.
    pub(crate) fn computing(&self) -> &Arc<Computing> {
        &self.computing
    }

    pub(crate) fn query_log(&self) -> &QueryLog {
        &self.query_log
    }

    /// Whose commit comes next.
    pub(crate) fn turns(&self) -> &Turns {
        &self.turns
    }

    pub(crate) fn scan_caches(&self) -> &Arc<ScanCaches> {
        &self.caches
    }

    /// The pools that all queries share.
    pub(crate) fn runtime(&self) -> &Arc<RuntimeEnv> {
        self.base.runtime_env()
    }
}

/// Ends a statement of which nobody waits for the answer any more: its client went away, or it panicked. One that is being
/// committed goes on, and is logged when it has ended.
struct GivenUp<'a> {
    engine: &'a Engine,
    query: &'a QueryContext,
}

impl GivenUp<'_> {
    /// There is an answer.
    fn answered(self) {
        std::mem::forget(self);
    }
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        let stops = self.query.change().give_up();
        self.engine.pointers.forget();
        match std::thread::panicking() {
            false if !stops => {}
            true => self.query.end("FAILED", Some("internal error: it panicked".to_owned())),
            false => self.query.end("CANCELLED", None),
        }
    }
}

/// The catalog of names without one: the one named, or the only one.
fn default_catalog(settings: &Settings, catalogs: &BTreeMap<String, Arc<dyn Catalog>>) -> Result<Option<String>> {
    match &settings.default_catalog {
        Some(name) if catalogs.contains_key(name) => Ok(Some(name.clone())),
        Some(name) => Err(Error::Settings {
            setting: "server.default_catalog".to_owned(),
            message: format!(
                "there is no catalog {name}; the catalogs are: {}",
                catalogs.keys().cloned().collect::<Vec<_>>().join(", ")
            ),
        }),
        None if catalogs.len() == 1 => Ok(catalogs.keys().next().cloned()),
        None => Ok(None),
    }
}

/// The page cache, warm if its folder is, and the stores behind it.
fn data_caches(settings: &Settings, memory: &MemoryBudget) -> Result<DataCaches> {
    let cache = &settings.cache;
    let disk = match &cache.disk_dir {
        Some(folder) => Some(DiskTier::open(folder, cache.disk_bytes.as_u64())?),
        None => None,
    };
    let gap_bytes = cache.gap_bytes.map(|bytes| bytes.as_u64());
    let stores = Stores::new(settings.prices.prices()?.get_usd, gap_bytes, cache.concurrent_requests.get());
    Ok(DataCaches {
        footers: FooterCache::new(cache.metadata_bytes.as_u64() / 4, memory),
        pages: Pages {
            cache: PageCache::new(
                DecodedTier::new(cache.decoded_limit_bytes()),
                PageTier::new(cache.memory_bytes.as_u64()),
                disk,
            ),
            stores: Arc::new(stores),
        },
        budget: Budget::new(cache.prefetch_bytes.as_u64()),
        memory: memory.clone(),
    })
}
