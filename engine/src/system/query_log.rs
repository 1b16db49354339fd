//! The last queries of this process, running ones first to be seen, and what each tenant has used since the start.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::task_log::TaskRecord;
use crate::EngineCounts;
use crate::query::{QueryContext, QueryStats};

/// Ended queries that are remembered.
const RECORDS_MAX: usize = 1_000;
/// The start of a statement that is remembered, in characters.
const STATEMENT_CHARS_MAX: usize = 4_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct QueryLog {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: Vec<Running>,
    ended: VecDeque<Record>,
    totals: HashMap<String, TenantTotals>,
    ended_by_state: BTreeMap<&'static str, u64>,
}

#[derive(Debug)]
struct Running {
    context: Weak<QueryContext>,
    record: Record,
}

/// A query as `system.queries` shows it.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) tenant: String,
    pub(crate) user: String,
    pub(crate) statement: String,
    pub(crate) state: &'static str,
    pub(crate) error: Option<String>,
    /// Microseconds since 1970.
    pub(crate) started_micros: i64,
    /// From 0 to 1, where it is known.
    pub(crate) progress: Option<f64>,
    /// Where its parts wait, if it makes no progress.
    pub(crate) stalled: Option<Arc<str>>,
    pub(crate) stats: QueryStats,
    /// What ran on workers.
    pub(crate) tasks: Arc<[TaskRecord]>,
}

/// What a tenant's ended queries have used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TenantTotals {
    pub(crate) queries: u64,
    pub(crate) requests_get: u64,
    pub(crate) requests_head: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_from_memory: u64,
    pub(crate) bytes_from_disk: u64,
    pub(crate) retries: u64,
    pub(crate) hedges: u64,
    pub(crate) workers_lost: u64,
    pub(crate) cost_usd: f64,
}

impl QueryLog {
    /// A statement begins.
    pub(crate) fn begin(&self, context: &Arc<QueryContext>, user: &str, statement: &str) {
        let record = Record {
            id: context.id().to_owned(),
            tenant: context.tenant().to_owned(),
            user: user.to_owned(),
            statement: statement.chars().take(STATEMENT_CHARS_MAX).collect(),
            state: "PLANNING",
            error: None,
            started_micros: chrono::Utc::now().timestamp_micros(),
            progress: None,
            stalled: None,
            stats: QueryStats::default(),
            tasks: Arc::default(),
        };
        context.audit().is_of(user);
        self.state.lock().running.push(Running { context: Arc::downgrade(context), record });
    }

    /// A statement that has not ended is in another state.
    pub(crate) fn becomes(&self, id: &str, state: &'static str) {
        if let Some(running) = self.state.lock().running.iter_mut().find(|running| running.record.id == id) {
            running.record.state = state;
        }
    }

    /// A statement ended. Later calls for the same query change nothing, and give `false`.
    pub(crate) fn end(&self, context: &QueryContext, state: &'static str, error: Option<String>) -> bool {
        let stats = context.stats();
        let mut log = self.state.lock();
        let Some(at) = log.running.iter().position(|running| running.record.id == context.id()) else { return false };
        let tasks = context.tasks().ended().into();
        let progress = context.progress().fraction();
        let record = Record { state, error, progress, stats, tasks, ..log.running.swap_remove(at).record };
        *log.ended_by_state.entry(state).or_default() += 1;
        let totals = log.totals.entry(record.tenant.clone()).or_default();
        totals.queries += 1;
        totals.requests_get += stats.requests_get;
        totals.requests_head += stats.requests_head;
        totals.bytes_read += stats.bytes_read;
        totals.bytes_from_memory += stats.io.bytes_from_memory;
        totals.bytes_from_disk += stats.io.bytes_from_disk;
        totals.retries += stats.io.retries;
        totals.hedges += stats.io.hedges;
        totals.workers_lost += stats.workers_lost;
        totals.cost_usd += stats.cost_usd;
        log.ended.push_front(record);
        log.ended.truncate(RECORDS_MAX);
        true
    }

    /// The queries that have not ended, with their states.
    pub(crate) fn running(&self) -> Vec<(Arc<QueryContext>, &'static str)> {
        let log = self.state.lock();
        log.running.iter().filter_map(|running| Some((running.context.upgrade()?, running.record.state))).collect()
    }

    /// A tenant's queries, the running ones first, then from the latest to the oldest.
    pub(crate) fn of_tenant(&self, tenant: &str) -> Vec<Record> {
        let log = self.state.lock();
        let running = log.running.iter().filter_map(|running| {
            let context = running.context.upgrade()?;
            let (stats, tasks) = (context.stats(), context.tasks().records().into());
            let progress = context.progress().fraction();
            let stalled = context.stalled();
            Some(Record { progress, stalled, stats, tasks, ..running.record.clone() })
        });
        running.chain(log.ended.iter().cloned()).filter(|record| record.tenant == tenant).collect()
    }

    /// All tenants' queries, counted.
    pub(crate) fn counts(&self) -> EngineCounts {
        let log = self.state.lock();
        let mut counts = EngineCounts { queries_ended: log.ended_by_state.clone(), ..EngineCounts::default() };
        for running in log.running.iter().filter(|running| running.context.strong_count() > 0) {
            *counts.queries_under_way.entry(running.record.state).or_default() += 1;
        }
        for totals in log.totals.values() {
            counts.requests += totals.requests_get + totals.requests_head;
            counts.bytes_read += totals.bytes_read;
            counts.cost_usd += totals.cost_usd;
            counts.workers_lost += totals.workers_lost;
        }
        counts
    }

    /// What a tenant's ended queries have used.
    pub(crate) fn totals_of(&self, tenant: &str) -> TenantTotals {
        self.state.lock().totals.get(tenant).copied().unwrap_or_default()
    }
}
