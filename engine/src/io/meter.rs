//! What the reads of one query came from and cost: counters that only grow, shared by all that works for the query.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, MetricValue, MetricsSet};

/// Where a query's data bytes came from, and what it took to get them.
#[derive(Debug, Default)]
pub(crate) struct IoMeter {
    memory_bytes: Count,
    disk_bytes: Count,
    peer_bytes: Count,
    store_bytes: Count,
    page_hits: Count,
    page_misses: Count,
    pages_from_peers: Count,
    retries: Count,
    hedges: Count,
    wait_micros: Count,
    requests: Count,
    request_bytes: Count,
    published: AtomicBool,
    /// Bytes of pieces of files whose reading has begun. Does not travel with the others, which come too late to show
    /// progress by.
    begun_bytes: Arc<AtomicU64>,
    /// Requests for data that workers sent, and their bytes.
    remote_requests: Count,
    remote_bytes: Count,
}

type Counter = fn(&IoMeter) -> &Count;

/// What a worker's meter counts for a task, by the names of its metrics, and where the coordinator adds it.
const TRAVELLING: [(&str, Counter, Counter); 12] = [
    ("polynya_memory_bytes", |meter| &meter.memory_bytes, |meter| &meter.memory_bytes),
    ("polynya_disk_bytes", |meter| &meter.disk_bytes, |meter| &meter.disk_bytes),
    ("polynya_peer_bytes", |meter| &meter.peer_bytes, |meter| &meter.peer_bytes),
    ("polynya_store_bytes", |meter| &meter.store_bytes, |meter| &meter.store_bytes),
    ("polynya_page_hits", |meter| &meter.page_hits, |meter| &meter.page_hits),
    ("polynya_page_misses", |meter| &meter.page_misses, |meter| &meter.page_misses),
    ("polynya_pages_from_peers", |meter| &meter.pages_from_peers, |meter| &meter.pages_from_peers),
    ("polynya_retries", |meter| &meter.retries, |meter| &meter.retries),
    ("polynya_hedges", |meter| &meter.hedges, |meter| &meter.hedges),
    ("polynya_wait_micros", |meter| &meter.wait_micros, |meter| &meter.wait_micros),
    ("polynya_requests", |meter| &meter.requests, |meter| &meter.remote_requests),
    ("polynya_request_bytes", |meter| &meter.request_bytes, |meter| &meter.remote_bytes),
];

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    Memory,
    Disk,
    Peer,
    Store,
}

/// What an [`IoMeter`] had counted at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct IoCounts {
    /// Bytes of data files and footers that memory answered.
    pub bytes_from_memory: u64,
    /// Bytes that the disk tier answered.
    pub bytes_from_disk: u64,
    /// Bytes that other workers answered.
    pub bytes_from_peers: u64,
    /// Bytes of pages that were fetched from the store for this query. Gaps that were read through are not in it.
    pub bytes_from_store: u64,
    /// Pages that a tier of the cache answered.
    pub page_hits: u64,
    /// Pages that had to be fetched, from peers or the store.
    pub page_misses: u64,
    /// Those of them that other workers had.
    pub pages_from_peers: u64,
    /// Requests that were sent again after a failure.
    pub retries: u64,
    /// Second requests that were sent because the first took long.
    pub hedges: u64,
    /// Milliseconds that decoding waited for reads, added up over all partitions.
    pub wait_ms: u64,
}

impl IoMeter {
    /// The meter of a task, which counts what it begins to read together with others.
    pub(super) fn of_task(begun_bytes: Arc<AtomicU64>) -> Self {
        Self { begun_bytes, ..Self::default() }
    }

    /// A piece of a file begins to be read.
    pub(super) fn begun(&self, bytes: u64) {
        self.begun_bytes.fetch_add(bytes, Relaxed);
    }

    /// Bytes of pieces of files whose reading has begun in this process.
    pub(crate) fn begun_bytes(&self) -> u64 {
        self.begun_bytes.load(Relaxed)
    }

    /// The query begins again: nothing is read yet.
    pub(crate) fn begin_again(&self) {
        self.begun_bytes.store(0, Relaxed);
    }

    pub(crate) fn page(&self, tier: Tier, bytes: u64) {
        let counter = match tier {
            Tier::Memory => &self.memory_bytes,
            Tier::Disk => &self.disk_bytes,
            Tier::Peer => &self.peer_bytes,
            Tier::Store => &self.store_bytes,
        };
        counter.add(bytes as usize);
        let fetched = matches!(tier, Tier::Peer | Tier::Store);
        if fetched { &self.page_misses } else { &self.page_hits }.add(1);
        if tier == Tier::Peer {
            self.pages_from_peers.add(1);
        }
    }

    pub(crate) fn retried(&self) {
        self.retries.add(1);
    }

    pub(crate) fn hedged(&self) {
        self.hedges.add(1);
    }

    pub(crate) fn requested(&self, bytes: u64) {
        self.requests.add(1);
        self.request_bytes.add(bytes as usize);
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.wait_micros.add(time.as_micros() as usize);
    }

    /// Shows the counters among a plan's metrics, which travel to the coordinator; once.
    pub(crate) fn publish(&self, metrics: &ExecutionPlanMetricsSet) {
        if !self.published.swap(true, Relaxed) {
            for (name, counter, _) in TRAVELLING {
                let count = counter(self).clone();
                MetricBuilder::new(metrics).build(MetricValue::Count { name: name.into(), count });
            }
        }
    }

    /// Adds what a worker counted for a task.
    pub(crate) fn add_task(&self, nodes: &[MetricsSet]) {
        for (name, _, counter) in TRAVELLING {
            let counted = nodes.iter().filter_map(|node| node.sum_by_name(name)).map(|value| value.as_usize());
            counter(self).add(counted.sum());
        }
    }

    /// Requests for data that workers sent, and their bytes.
    pub(crate) fn remote(&self) -> (u64, u64) {
        (self.remote_requests.value() as u64, self.remote_bytes.value() as u64)
    }

    /// Bytes of data files, from whichever tier.
    pub(crate) fn bytes(&self) -> u64 {
        [&self.memory_bytes, &self.disk_bytes, &self.peer_bytes, &self.store_bytes]
            .map(|count| count.value() as u64)
            .iter()
            .sum()
    }

    pub(crate) fn counts(&self) -> IoCounts {
        IoCounts {
            bytes_from_memory: self.memory_bytes.value() as u64,
            bytes_from_disk: self.disk_bytes.value() as u64,
            bytes_from_peers: self.peer_bytes.value() as u64,
            bytes_from_store: self.store_bytes.value() as u64,
            page_hits: self.page_hits.value() as u64,
            page_misses: self.page_misses.value() as u64,
            pages_from_peers: self.pages_from_peers.value() as u64,
            retries: self.retries.value() as u64,
            hedges: self.hedges.value() as u64,
            wait_ms: self.wait_micros.value() as u64 / 1000,
        }
    }
}

impl IoCounts {
    /// Pages that the cache answered, of all pages asked for; none if nothing was asked for.
    pub fn hit_ratio(&self) -> Option<f64> {
        let asked = self.page_hits + self.page_misses;
        (asked > 0).then(|| self.page_hits as f64 / asked as f64)
    }
}
