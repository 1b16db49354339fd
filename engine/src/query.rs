//! What belongs to one query while it lives: its id, its meter, and what planning learned about its files.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use datafusion::error::DataFusionError;
use parking_lot::Mutex;
use polynya_catalog::{RequestCounts, RequestMeter};
use tracing::Span;

use crate::Error;
use crate::audit::Audit;
use crate::change::Change;
use crate::io::{IoCounts, QueryIo};
use crate::progress::{Progress, ProgressMeter};
use crate::system::{QueryLog, TaskLog};
use crate::trace;
use crate::watchdog::{Pulse, WorkerPulse};

/// One query's identity and counters, shared by everything that works for it.
#[derive(Debug)]
pub struct QueryContext {
    id: String,
    tenant: String,
    meter: Arc<RequestMeter>,
    io: Arc<QueryIo>,
    log: Arc<QueryLog>,
    planning: PlanningCounts,
    progress: ProgressMeter,
    tasks: TaskLog,
    workers_lost: AtomicU64,
    rows: AtomicU64,
    on_workers: Mutex<BTreeMap<String, WorkerPulse>>,
    stalled: Mutex<Option<Arc<str>>>,
    stopped: Arc<AtomicBool>,
    started: Instant,
    memory_limit_bytes: u64,
    span: Span,
    audit: Audit,
    change: Arc<Change>,
}

/// What planning considered and what it left out.
#[derive(Debug, Default)]
pub(crate) struct PlanningCounts {
    pub(crate) manifests_considered: AtomicU64,
    pub(crate) manifests_pruned: AtomicU64,
    pub(crate) files_considered: AtomicU64,
    pub(crate) files_pruned: AtomicU64,
    pub(crate) bytes_to_read: AtomicU64,
}

/// What a query has used so far.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct QueryStats {
    /// Manifests of the pinned snapshots.
    pub manifests_considered: u64,
    /// Manifests that no row could come from, never fetched.
    pub manifests_pruned: u64,
    /// Data files of the pinned snapshots, those of pruned manifests included.
    pub files_considered: u64,
    /// Data files that no row could come from, never opened.
    pub files_pruned: u64,
    /// GET requests, metadata included.
    pub requests_get: u64,
    /// HEAD requests.
    pub requests_head: u64,
    /// Bytes read from the store, metadata included.
    pub bytes_read: u64,
    /// Where the bytes of data files came from.
    #[serde(flatten)]
    pub io: IoCounts,
    /// What the requests cost, in US dollars, by the server's prices.
    pub cost_usd: f64,
    /// How often the query began again because a worker was lost.
    pub workers_lost: u64,
    /// Rows given to the client.
    pub rows: u64,
    /// Milliseconds since the query came.
    pub elapsed_ms: u64,
}

impl QueryContext {
    /// A query that starts now.
    pub(crate) fn new(
        tenant: &str,
        memory_limit_bytes: u64,
        io: Arc<QueryIo>,
        log: &Arc<QueryLog>,
        change: Arc<Change>,
    ) -> Arc<Self> {
        let id = uuid::Uuid::now_v7().to_string();
        let span = trace::query(&id, tenant);
        Arc::new(Self {
            id,
            tenant: tenant.to_owned(),
            meter: Arc::new(RequestMeter::default()),
            io,
            log: Arc::clone(log),
            planning: PlanningCounts::default(),
            progress: ProgressMeter::default(),
            tasks: TaskLog::default(),
            workers_lost: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            on_workers: Mutex::default(),
            stalled: Mutex::default(),
            stopped: Arc::default(),
            started: Instant::now(),
            memory_limit_bytes,
            span,
            audit: Audit::default(),
            change,
        })
    }

    /// The id that logs and errors name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whom the query is counted for.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Time since the query came.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Counts every request that this query makes.
    pub fn meter(&self) -> &Arc<RequestMeter> {
        &self.meter
    }

    /// Tells the log how the query ended; only the first word counts.
    pub(crate) fn end(&self, state: &'static str, error: Option<String>) {
        if state == "FINISHED" {
            self.progress.finish();
        }
        if self.log.end(self, state, error) {
            trace::ended(&self.span, state, &self.stats());
            self.audit.ended(self, state);
        }
    }

    /// What is told of the statement once it has ended.
    pub(crate) fn audit(&self) -> &Audit {
        &self.audit
    }

    /// The parent of all that is done for the query.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Tells the log what the query does now.
    pub(crate) fn becomes(&self, state: &'static str) {
        self.log.becomes(&self.id, state);
    }

    /// Set once nobody wants the rows any more.
    pub(crate) fn stopped(&self) -> &Arc<AtomicBool> {
        &self.stopped
    }

    /// Whoever works for it next is not to stop: the one before has ended, and the query has not.
    pub(crate) fn goes_on(&self) {
        self.stopped.store(false, Ordering::Relaxed);
    }

    /// Until when it can be given up, if it changes something.
    pub(crate) fn change(&self) -> &Arc<Change> {
        &self.change
    }

    /// What the query's data reads share.
    pub(crate) fn io(&self) -> &Arc<QueryIo> {
        &self.io
    }

    pub(crate) fn planning(&self) -> &PlanningCounts {
        &self.planning
    }

    /// The query's tasks on workers.
    pub(crate) fn tasks(&self) -> &TaskLog {
        &self.tasks
    }

    /// Counts a worker that was lost. Returns how many were.
    pub(crate) fn lost_worker(&self) -> u64 {
        self.workers_lost.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn count_rows(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// How far the query is.
    pub fn progress(&self) -> Progress {
        self.progress.now(self.io.meter.begun_bytes())
    }

    /// A plan that reads so many bytes of files is about to run; for the first time, or once more from the beginning.
    pub(crate) fn begins(&self, bytes_to_read: u64) {
        self.io.meter.begin_again();
        self.progress.begin(bytes_to_read);
    }

    /// Workers have begun to read so many bytes by now.
    pub(crate) fn begun_on_workers(&self, bytes: u64) {
        self.progress.on_workers(bytes);
    }

    /// A worker tells how far its tasks are by now.
    pub(crate) fn hears_of(&self, worker: &str, pulse: WorkerPulse) {
        self.on_workers.lock().insert(worker.to_owned(), pulse);
    }

    /// How its workers were when they last told.
    pub(crate) fn workers(&self) -> BTreeMap<String, WorkerPulse> {
        self.on_workers.lock().clone()
    }

    /// What changes as long as the query goes on.
    pub(crate) fn pulse(&self) -> Pulse {
        let tasks = self.tasks.records();
        Pulse {
            rows: self.rows.load(Ordering::Relaxed),
            requests: self.requests(),
            io: self.io.meter.counts(),
            begun_bytes: self.progress().done_bytes,
            tasks: (tasks.len(), tasks.iter().filter(|task| task.state == "RUNNING").count()),
            worker_bytes: self.on_workers.lock().values().map(|worker| worker.read_bytes).sum(),
        }
    }

    /// Says where the query's parts wait, since it makes no progress; none if it does.
    pub(crate) fn stalls(&self, waits: Option<Arc<str>>) {
        *self.stalled.lock() = waits;
    }

    /// Where the query's parts wait, if it makes no progress.
    pub(crate) fn stalled(&self) -> Option<Arc<str>> {
        self.stalled.lock().clone()
    }

    /// All rows are made.
    pub(crate) fn has_read_all(&self) {
        self.progress.read_all();
    }

    /// Requests so far.
    pub fn requests(&self) -> RequestCounts {
        let (requests, bytes) = self.io.meter.remote();
        let mut counts = self.meter.snapshot();
        counts.get += requests;
        counts.bytes_read += bytes;
        counts
    }

    /// What the query has used so far.
    pub fn stats(&self) -> QueryStats {
        let requests = self.requests();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        QueryStats {
            manifests_considered: read(&self.planning.manifests_considered),
            manifests_pruned: read(&self.planning.manifests_pruned),
            files_considered: read(&self.planning.files_considered),
            files_pruned: read(&self.planning.files_pruned),
            requests_get: requests.get,
            requests_head: requests.head,
            bytes_read: requests.bytes_read,
            io: self.io.meter.counts(),
            cost_usd: self.io.cost_usd(&requests),
            workers_lost: read(&self.workers_lost),
            rows: read(&self.rows),
            elapsed_ms: self.started.elapsed().as_millis() as u64,
        }
    }

    /// Gives an error the words that this query's user needs: which limit, which setting.
    pub(crate) fn explain(&self, error: Error) -> Error {
        if let Error::Query(source) = &error
            && let DataFusionError::ResourcesExhausted(message) = source.find_root()
        {
            return Error::MemoryLimit { limit_bytes: self.memory_limit_bytes, message: message.clone() };
        }
        error
    }
}
