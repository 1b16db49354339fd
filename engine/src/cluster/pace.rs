//! Which workers are slow: those whose tasks take many times the processor time of their peers' for the same bytes.
//!
//! Learnt from the tasks of each query that ends. A worker that was slow twice in a row gets no tasks for a while, then
//! another chance. A worker that does not answer at all is another matter: its connections break.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::placement::Worker;
use crate::system::TaskRecord;

/// Times the cost of the cheapest task of the stage.
const SLOW: f64 = 4.0;
/// Stages in a row.
const STRIKES: u32 = 2;
/// How long a slow worker is left alone.
const REST: Duration = Duration::from_secs(60);
/// How long a worker that was slow once is remembered, if it has no tasks since.
const MEMORY: Duration = Duration::from_secs(3600);
/// Tasks that took less than this, or read less, tell nothing.
const COMPUTE_MS_MIN: u64 = 50;
const BYTES_MIN: u64 = 1 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pace {
    workers: Mutex<HashMap<String, Slowness>>,
}

#[derive(Debug)]
struct Slowness {
    /// Stages in a row.
    strikes: u32,
    /// What is held against it is forgotten then.
    until: Instant,
}

impl Pace {
    /// Learns from the tasks of an attempt that ended well.
    pub(super) fn learn<'a>(&self, tasks: impl IntoIterator<Item = &'a TaskRecord>) {
        let mut stages: BTreeMap<u64, Vec<(&str, f64, u64)>> = BTreeMap::new();
        for task in tasks.into_iter().filter(|task| task.bytes >= BYTES_MIN) {
            let cost = task.compute_ms as f64 / task.bytes as f64;
            stages.entry(task.stage).or_default().push((&task.worker, cost, task.compute_ms));
        }
        let mut workers = self.workers.lock();
        // Nothing is held against those that are not slow, and not against those that are long gone.
        workers.retain(|_, slowness| Instant::now() < slowness.until);
        for stage in stages.values() {
            let cheapest = stage.iter().map(|(_, cost, _)| *cost).fold(f64::INFINITY, f64::min);
            for (worker, cost, compute_ms) in stage {
                if *compute_ms < COMPUTE_MS_MIN || *cost < cheapest * SLOW {
                    // One that rests already has ended what it had begun.
                    workers.retain(|known, slowness| known != worker || slowness.strikes >= STRIKES);
                    continue;
                }
                let until = Instant::now() + MEMORY;
                let slowness = workers.entry((*worker).to_owned()).or_insert(Slowness { strikes: 0, until });
                slowness.strikes += 1;
                if slowness.strikes >= STRIKES {
                    slowness.until = Instant::now() + REST;
                }
                if slowness.strikes == STRIKES {
                    tracing::warn!(worker, times = cost / cheapest, "a worker is slow: it gets no tasks for a while");
                }
            }
        }
    }

    /// The workers that are not slow; all of them if all are.
    pub(super) fn quick(&self, workers: Vec<Worker>) -> Vec<Worker> {
        let known = self.workers.lock();
        let rests = |worker: &Worker| {
            let slowness = known.get(worker.url.as_str());
            slowness.is_some_and(|slowness| slowness.strikes >= STRIKES && Instant::now() < slowness.until)
        };
        let quick: Vec<Worker> = workers.iter().filter(|worker| !rests(worker)).cloned().collect();
        if quick.is_empty() { workers } else { quick }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use url::Url;

    use super::*;
    use crate::system::TaskLog;

    const ONE: &str = "http://127.0.0.1:1/";
    const TWO: &str = "http://127.0.0.1:2/";

    fn tasks(one_ms: u64, two_ms: u64) -> Vec<TaskRecord> {
        let log = TaskLog::default();
        log.begin(1, 1, 0, ONE);
        log.begin(1, 1, 1, TWO);
        let mut tasks = log.records();
        for (task, compute_ms) in tasks.iter_mut().zip([one_ms, two_ms]) {
            (task.bytes, task.compute_ms) = (100 << 20, compute_ms);
        }
        tasks
    }

    fn quick(pace: &Pace) -> Vec<String> {
        let worker = |url: &str| Worker { id: Arc::from(url), url: Url::parse(url).unwrap() };
        pace.quick(vec![worker(ONE), worker(TWO)]).into_iter().map(|worker| worker.url.to_string()).collect()
    }

    #[test]
    fn a_worker_that_is_slow_twice_in_a_row_is_left_alone() {
        let pace = Pace::default();
        for (one, two) in [(100, 1000), (100, 120), (100, 900), (100, 80)] {
            pace.learn(&tasks(one, two));
            assert_eq!(quick(&pace), [ONE, TWO], "once is chance");
        }
        pace.learn(&tasks(100, 1000));
        pace.learn(&tasks(110, 1200));
        assert_eq!(quick(&pace), [ONE]);
        pace.learn(&tasks(1000, 100));
        pace.learn(&tasks(1000, 100));
        assert_eq!(quick(&pace), [ONE, TWO], "somebody has to work");
    }

    #[test]
    fn small_tasks_tell_nothing() {
        let pace = Pace::default();
        for _ in 0..5 {
            pace.learn(&tasks(1, 40));
        }
        assert_eq!(quick(&pace), [ONE, TWO]);
    }
}
