//! The last queries of this process, running ones first to be seen, and what each tenant has used since the start.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

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
    pub(crate) stats: QueryStats,
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
            stats: QueryStats::default(),
        };
        self.state.lock().running.push(Running { context: Arc::downgrade(context), record });
    }

    /// A statement that has not ended is in another state.
    pub(crate) fn becomes(&self, id: &str, state: &'static str) {
        if let Some(running) = self.state.lock().running.iter_mut().find(|running| running.record.id == id) {
            running.record.state = state;
        }
    }

    /// A statement ended, with this account. Later calls for the same query change nothing.
    pub(crate) fn end(&self, id: &str, state: &'static str, error: Option<String>, stats: QueryStats) {
        let mut log = self.state.lock();
        let Some(at) = log.running.iter().position(|running| running.record.id == id) else { return };
        let record = Record { state, error, stats, ..log.running.swap_remove(at).record };
        let totals = log.totals.entry(record.tenant.clone()).or_default();
        totals.queries += 1;
        totals.requests_get += stats.requests_get;
        totals.requests_head += stats.requests_head;
        totals.bytes_read += stats.bytes_read;
        totals.bytes_from_memory += stats.io.bytes_from_memory;
        totals.bytes_from_disk += stats.io.bytes_from_disk;
        totals.retries += stats.io.retries;
        totals.hedges += stats.io.hedges;
        totals.cost_usd += stats.cost_usd;
        log.ended.push_front(record);
        log.ended.truncate(RECORDS_MAX);
    }

    /// A tenant's queries, the running ones first, then from the latest to the oldest.
    pub(crate) fn of_tenant(&self, tenant: &str) -> Vec<Record> {
        let log = self.state.lock();
        let running = log.running.iter().filter_map(|running| {
            let stats = running.context.upgrade()?.stats();
            Some(Record { stats, ..running.record.clone() })
        });
        running.chain(log.ended.iter().cloned()).filter(|record| record.tenant == tenant).collect()
    }

    /// What a tenant's ended queries have used.
    pub(crate) fn totals_of(&self, tenant: &str) -> TenantTotals {
        self.state.lock().totals.get(tenant).copied().unwrap_or_default()
    }
}
