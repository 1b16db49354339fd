//! What the reads of one query came from and cost: counters that only grow, shared by all that works for the query.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Where a query's data bytes came from, and what it took to get them.
#[derive(Debug, Default)]
pub(crate) struct IoMeter {
    memory_bytes: AtomicU64,
    disk_bytes: AtomicU64,
    store_bytes: AtomicU64,
    page_hits: AtomicU64,
    page_misses: AtomicU64,
    retries: AtomicU64,
    hedges: AtomicU64,
    wait_micros: AtomicU64,
}

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    Memory,
    Disk,
    Store,
}

/// What an [`IoMeter`] had counted at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct IoCounts {
    /// Bytes of data files and footers that memory answered.
    pub bytes_from_memory: u64,
    /// Bytes that the disk tier answered.
    pub bytes_from_disk: u64,
    /// Bytes of pages that were fetched from the store for this query. Gaps that were read through are not in it.
    pub bytes_from_store: u64,
    /// Pages that a tier of the cache answered.
    pub page_hits: u64,
    /// Pages that had to be fetched.
    pub page_misses: u64,
    /// Requests that were sent again after a failure.
    pub retries: u64,
    /// Second requests that were sent because the first took long.
    pub hedges: u64,
    /// Milliseconds that decoding waited for reads, added up over all partitions.
    pub wait_ms: u64,
}

impl IoMeter {
    pub(crate) fn page(&self, tier: Tier, bytes: u64) {
        let counter = match tier {
            Tier::Memory => &self.memory_bytes,
            Tier::Disk => &self.disk_bytes,
            Tier::Store => &self.store_bytes,
        };
        counter.fetch_add(bytes, Relaxed);
        let pages = if tier == Tier::Store { &self.page_misses } else { &self.page_hits };
        pages.fetch_add(1, Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(crate) fn hedged(&self) {
        self.hedges.fetch_add(1, Relaxed);
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.wait_micros.fetch_add(time.as_micros() as u64, Relaxed);
    }

    pub(crate) fn counts(&self) -> IoCounts {
        IoCounts {
            bytes_from_memory: self.memory_bytes.load(Relaxed),
            bytes_from_disk: self.disk_bytes.load(Relaxed),
            bytes_from_store: self.store_bytes.load(Relaxed),
            page_hits: self.page_hits.load(Relaxed),
            page_misses: self.page_misses.load(Relaxed),
            retries: self.retries.load(Relaxed),
            hedges: self.hedges.load(Relaxed),
            wait_ms: self.wait_micros.load(Relaxed) / 1000,
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
