//! The tasks of one query on workers, as `system.tasks` shows them.

use std::time::Instant;

use datafusion::physical_plan::metrics::MetricsSet;
use parking_lot::Mutex;

use crate::io::IoMeter;

/// Tasks that are remembered of one query.
const TASKS_MAX: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct TaskLog {
    tasks: Mutex<Vec<TaskRecord>>,
}

/// One task of one stage.
#[derive(Debug, Clone)]
pub(crate) struct TaskRecord {
    /// Counts from 1; a query that lost a worker begins another.
    pub(crate) attempt: u64,
    pub(crate) stage: u64,
    pub(crate) task: u64,
    pub(crate) worker: String,
    pub(crate) state: &'static str,
    /// Rows that it gave.
    pub(crate) rows: u64,
    /// Bytes of data files that it read, from whichever tier.
    pub(crate) bytes: u64,
    /// From when the worker had its plan to when it was done.
    pub(crate) elapsed_ms: u64,
    /// Added up over its operators and partitions.
    pub(crate) compute_ms: u64,
    pub(crate) requests: u64,
    pub(crate) spilled_bytes: u64,
    begun: Instant,
}

impl TaskLog {
    /// A worker took a task. Returns the name by which it is told of later.
    pub(crate) fn begin(&self, attempt: u64, stage: usize, task: usize, worker: &str) -> Option<usize> {
        let mut tasks = self.tasks.lock();
        if tasks.len() >= TASKS_MAX {
            return None;
        }
        tasks.push(TaskRecord {
            attempt,
            stage: stage as u64,
            task: task as u64,
            worker: worker.to_owned(),
            state: "RUNNING",
            rows: 0,
            bytes: 0,
            elapsed_ms: 0,
            compute_ms: 0,
            requests: 0,
            spilled_bytes: 0,
            begun: Instant::now(),
        });
        Some(tasks.len() - 1)
    }

    /// A task ended, in this state, if it has not ended before.
    pub(crate) fn end(&self, task: Option<usize>, state: &'static str) {
        if let Some(task) = task {
            self.change(task, |task| task.state = state);
        }
    }

    /// A worker told what a task took, operator by operator.
    pub(crate) fn measured(&self, task: Option<usize>, nodes: &[MetricsSet]) {
        let Some(task) = task else { return };
        let io = IoMeter::default();
        io.add_task(nodes);
        let sum = |value: fn(&MetricsSet) -> Option<usize>| nodes.iter().filter_map(value).sum::<usize>() as u64;
        self.change(task, |task| {
            task.state = "FINISHED";
            task.rows = nodes.iter().find_map(MetricsSet::output_rows).unwrap_or(0) as u64;
            task.bytes = io.bytes();
            task.requests = io.remote().0;
            task.compute_ms = sum(MetricsSet::elapsed_compute) / 1_000_000;
            task.spilled_bytes = sum(MetricsSet::spilled_bytes);
        });
    }

    /// All tasks, in the order in which they were taken.
    pub(crate) fn records(&self) -> Vec<TaskRecord> {
        let mut tasks = self.tasks.lock().clone();
        for task in tasks.iter_mut().filter(|task| task.state == "RUNNING") {
            task.elapsed_ms = task.begun.elapsed().as_millis() as u64;
        }
        tasks
    }

    /// All tasks of a query that has ended: what still runs of them is stopped.
    pub(crate) fn ended(&self) -> Vec<TaskRecord> {
        let mut tasks = self.records();
        for task in tasks.iter_mut().filter(|task| task.state == "RUNNING") {
            task.state = "CANCELLED";
        }
        tasks
    }

    /// Changes a task that has not ended.
    fn change(&self, task: usize, change: impl FnOnce(&mut TaskRecord)) {
        if let Some(task) = self.tasks.lock().get_mut(task).filter(|task| task.state == "RUNNING") {
            task.elapsed_ms = task.begun.elapsed().as_millis() as u64;
            change(task);
        }
    }
}
