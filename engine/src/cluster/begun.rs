//! How far the tasks of each attempt are on a worker, for the coordinator that asks while they run.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::io::QueryIo;
use crate::watchdog::{WorkerPulse, cpu_used};

/// Counters of bytes of files, by query and attempt. All tasks of an attempt share one, so that what a task has read stays
/// counted after its end; it is forgotten with the last of them.
#[derive(Debug, Default)]
pub(crate) struct BegunBytes {
    attempts: Mutex<HashMap<(String, u64), Weak<AtomicU64>>>,
    /// The reads of the tasks that run.
    reads: Mutex<Vec<(String, u64, Weak<QueryIo>)>>,
}

impl BegunBytes {
    /// The counter of an attempt, for one more of its tasks.
    pub(super) fn counter(&self, query_id: &str, attempt: u64) -> Arc<AtomicU64> {
        let mut attempts = self.attempts.lock();
        attempts.retain(|_, counter| counter.strong_count() > 0);
        let known = attempts.entry((query_id.to_owned(), attempt)).or_default();
        known.upgrade().unwrap_or_else(|| {
            let counter = Arc::default();
            *known = Arc::downgrade(&counter);
            counter
        })
    }

    /// Watches the reads of one more task of an attempt.
    pub(super) fn watch(&self, query_id: &str, attempt: u64, io: &Arc<QueryIo>) {
        let mut reads = self.reads.lock();
        reads.retain(|(_, _, io)| io.strong_count() > 0);
        reads.push((query_id.to_owned(), attempt, Arc::downgrade(io)));
    }

    /// How an attempt's tasks are that run here now.
    pub(super) fn pulse(&self, query_id: &str, attempt: u64) -> WorkerPulse {
        let mut pulse = WorkerPulse { cpu: cpu_used(), ..WorkerPulse::default() };
        for (query, number, io) in self.reads.lock().iter() {
            let Some(io) = io.upgrade().filter(|_| query == query_id && *number == attempt) else { continue };
            pulse.read_bytes += io.meter.bytes();
            pulse.waits.extend(io.waits.report());
        }
        pulse
    }

    /// What an attempt's tasks have begun to read here, in bytes; 0 if there are none.
    pub(super) fn bytes(&self, query_id: &str, attempt: u64) -> u64 {
        let counter = self.attempts.lock().get(&(query_id.to_owned(), attempt)).and_then(Weak::upgrade);
        counter.map_or(0, |counter| counter.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_of_an_attempt_are_added_until_the_last_has_gone() {
        let begun = BegunBytes::default();
        let one = begun.counter("query", 1);
        let two = begun.counter("query", 1);
        let again = begun.counter("query", 2);
        one.fetch_add(10, Relaxed);
        two.fetch_add(5, Relaxed);
        again.fetch_add(1, Relaxed);
        drop(one);
        assert_eq!((begun.bytes("query", 1), begun.bytes("query", 2), begun.bytes("other", 1)), (15, 1, 0));
        drop(two);
        assert_eq!(begun.bytes("query", 1), 0);
    }
}
