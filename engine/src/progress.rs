//! How far a query is: of the bytes of files that its plan reads, those of pieces whose reading has begun.
//!
//! What is read in this process is counted where pieces are opened (`io/meter.rs`); what workers read is asked of them
//! (`cluster/follow.rs`).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// How much of its files a query has begun to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the pieces of files whose reading has begun or ended. Falls when a query begins again: it lost a worker, or
    /// ran out of memory.
    pub done_bytes: u64,
    /// Bytes of all pieces of files that the plan reads; 0 before it is made, and for statements that read no files.
    pub total_bytes: u64,
    /// Whether the query has given its last row, or the statement is done.
    pub finished: bool,
}

impl Progress {
    /// From 0 to 1; none if it is not known, as of a statement that reads no files.
    pub fn fraction(&self) -> Option<f64> {
        match (self.finished, self.total_bytes) {
            (true, _) => Some(1.0),
            (false, 0) => None,
            (false, total) => Some(self.done_bytes as f64 / total as f64),
        }
    }
}

/// What a query's progress is told by, beside what it has begun to read in this process.
#[derive(Debug, Default)]
pub(crate) struct ProgressMeter {
    total_bytes: AtomicU64,
    on_workers_bytes: AtomicU64,
    finished: AtomicBool,
}

impl ProgressMeter {
    /// A plan that reads so many bytes is about to run.
    pub(crate) fn begin(&self, total_bytes: u64) {
        self.on_workers_bytes.store(0, Relaxed);
        self.total_bytes.store(total_bytes, Relaxed);
    }

    /// Workers have begun to read so many bytes by now.
    pub(crate) fn on_workers(&self, bytes: u64) {
        self.on_workers_bytes.fetch_max(bytes, Relaxed);
    }

    /// Nothing is left to read, though rows may be left to give.
    pub(crate) fn read_all(&self) {
        self.on_workers(self.total_bytes.load(Relaxed));
    }

    /// The query has ended well.
    pub(crate) fn finish(&self) {
        self.finished.store(true, Relaxed);
    }

    /// The progress of a query that has begun to read so many bytes in this process. A plan may read a piece more than once,
    /// which counts once at most.
    pub(crate) fn now(&self, here_bytes: u64) -> Progress {
        let total_bytes = self.total_bytes.load(Relaxed);
        Progress {
            done_bytes: (here_bytes + self.on_workers_bytes.load(Relaxed)).min(total_bytes),
            total_bytes,
            finished: self.finished.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_here_and_on_workers_is_added_and_never_exceeds_the_whole() {
        let meter = ProgressMeter::default();
        assert_eq!(meter.now(0).fraction(), None, "nothing is planned");
        meter.begin(100);
        assert_eq!(meter.now(0).fraction(), Some(0.0));
        meter.on_workers(30);
        meter.on_workers(20);
        assert_eq!(meter.now(20).fraction(), Some(0.5), "a worker that forgets takes nothing back");
        assert_eq!(meter.now(200).fraction(), Some(1.0));
        meter.begin(100);
        assert_eq!(meter.now(0).fraction(), Some(0.0), "the query begins again");
        meter.read_all();
        assert_eq!(meter.now(0), Progress { done_bytes: 100, total_bytes: 100, finished: false });
    }

    #[test]
    fn what_has_finished_is_done_whatever_it_read() {
        let meter = ProgressMeter::default();
        meter.finish();
        assert_eq!(meter.now(0).fraction(), Some(1.0));
    }
}
