//! What a process counts, for its operator: no query, user or tenant is told apart.

use std::collections::BTreeMap;

use crate::Engine;
use crate::io::TierStats;

/// One moment's numbers.
#[derive(Debug, Clone, Default)]
pub struct EngineCounts {
    /// Queries that have not ended, by state.
    pub queries_under_way: BTreeMap<&'static str, u64>,
    /// Queries that ended since the start, by state.
    pub queries_ended: BTreeMap<&'static str, u64>,
    /// Requests to object stores for ended queries.
    pub requests: u64,
    /// Bytes that they brought.
    pub bytes_read: u64,
    /// What they cost, in US dollars.
    pub cost_usd: f64,
    /// Workers that were lost by ended queries.
    pub workers_lost: u64,
    /// Memory that running queries have reserved, in bytes.
    pub memory_used_bytes: u64,
    /// Memory that they may reserve, in bytes.
    pub memory_limit_bytes: u64,
    /// The tiers of the cache.
    pub cache: Vec<TierStats>,
    /// Workers, by state.
    pub workers: BTreeMap<&'static str, u64>,
    /// Tasks that this process runs for a coordinator.
    pub tasks: u64,
}

impl Engine {
    /// What this process has counted so far.
    pub async fn counts(&self) -> EngineCounts {
        let mut counts = EngineCounts {
            memory_used_bytes: self.memory_used_bytes() as u64,
            memory_limit_bytes: self.memory_limit_bytes(),
            cache: self.scan_caches().data.pages.cache.stats(),
            tasks: self.tasks().running() as u64,
            ..self.query_log().counts()
        };
        if let Some(cluster) = self.cluster() {
            for worker in cluster.status().await {
                *counts.workers.entry(worker.state).or_default() += 1;
            }
        }
        counts
    }
}
