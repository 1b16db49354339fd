//! Tells of queries that do not go on: where each of their parts waits, once in the log and in `system.queries` for as long as it lasts.
//!
//! A query goes on while it gives rows, reads bytes, sends requests or ends tasks. One that does none of these may compute: its
//! process uses CPU then, and no part that it cannot do without waits for long. What is left has stopped, and somebody will want
//! to know where. Nothing is ended here: that is for `polynya.statement_timeout`, or whoever reads the log.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use polynya_catalog::RequestCounts;
use tokio_util::task::AbortOnDropHandle;

use crate::io::{IoCounts, WaitReport};
use crate::query::QueryContext;
use crate::system::QueryLog;

/// How often queries are looked at, at most and at least.
const INTERVAL_MIN: Duration = Duration::from_millis(50);
const INTERVAL_MAX: Duration = Duration::from_secs(5);
/// A process that uses less than this share of a core does not compute.
const IDLE_SHARE: f64 = 0.05;
/// States in which others decide when a query goes on: a slot comes free, or its client fetches.
const NOT_RUNNING: [&str; 2] = ["QUEUED", "PLANNED"];

/// What changes as long as a query goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pulse {
    /// Rows given to the client.
    pub(crate) rows: u64,
    pub(crate) requests: RequestCounts,
    pub(crate) io: IoCounts,
    /// Bytes of the pieces of files whose reading has begun, workers' included.
    pub(crate) begun_bytes: u64,
    /// Tasks on workers: all, and those that run.
    pub(crate) tasks: (usize, usize),
    /// Bytes that tasks which run on workers have read.
    pub(crate) worker_bytes: u64,
}

/// How a query's tasks on one worker are.
#[derive(Debug, Clone, Default)]
pub(crate) struct WorkerPulse {
    /// Read so far by those that run, from whichever tier.
    pub(crate) read_bytes: u64,
    /// CPU that the worker has used since its start, for whichever query.
    pub(crate) cpu: Duration,
    /// Where parts of them wait.
    pub(crate) waits: Vec<WaitReport>,
}

/// What is remembered of a query between two looks.
struct Seen {
    pulse: Pulse,
    state: &'static str,
    /// Since when the pulse has not changed.
    since: Instant,
    /// CPU that the query's processes had used by then.
    cpu: Duration,
    told: bool,
}

/// Looks at all running queries until the handle is dropped; none if `after` is zero.
pub(crate) fn watch(log: &Arc<QueryLog>, after: Duration) -> Option<AbortOnDropHandle<()>> {
    if after.is_zero() {
        return None;
    }
    let log = Arc::downgrade(log);
    Some(AbortOnDropHandle::new(tokio::spawn(look(log, after))))
}

async fn look(log: Weak<QueryLog>, after: Duration) {
    let mut seen: HashMap<String, Seen> = HashMap::new();
    loop {
        tokio::time::sleep((after / 6).clamp(INTERVAL_MIN, INTERVAL_MAX)).await;
        let Some(log) = log.upgrade() else { return };
        let running = log.running();
        seen.retain(|id, _| running.iter().any(|(query, _)| query.id() == id));
        for (query, state) in running {
            let pulse = query.pulse();
            let known = seen.get_mut(query.id()).filter(|seen| seen.pulse == pulse && seen.state == state);
            match known {
                Some(seen) => judge(&query, seen, after),
                None => {
                    query.stalls(None);
                    let cpu = cpu_of(&query);
                    let now = Seen { pulse, state, since: Instant::now(), cpu, told: false };
                    seen.insert(query.id().to_owned(), now);
                }
            }
        }
    }
}

/// Tells of a query whose pulse has not changed, if that has lasted for long enough.
fn judge(query: &QueryContext, seen: &mut Seen, after: Duration) {
    let lasts = seen.since.elapsed();
    if lasts < after || NOT_RUNNING.contains(&seen.state) {
        return;
    }
    let (here, workers) = (query.io().waits.report(), query.workers());
    let waits = here.iter().chain(workers.values().flat_map(|worker| &worker.waits));
    let waits_long = waits.map(|waits| waits.longest).max().unwrap_or_default() >= after;
    let computes = cpu_of(query).saturating_sub(seen.cpu) >= lasts.mul_f64(IDLE_SHARE);
    if computes && !waits_long {
        query.stalls(None);
        return;
    }
    let text = told(query, seen.state, lasts, here.as_ref());
    if !seen.told {
        seen.told = true;
        tracing::warn!(query_id = query.id(), "a query makes no progress: {text}");
    }
    query.stalls(Some(text.into()));
}

fn told(query: &QueryContext, state: &str, lasts: Duration, here: Option<&WaitReport>) -> String {
    let mut parts = vec![format!("no row, byte or request for {} s ({state})", lasts.as_secs())];
    parts.extend(here.map(|waits| format!("waits {}", waits.text)));
    for (worker, pulse) in query.workers() {
        parts.extend(pulse.waits.into_iter().map(|waits| format!("worker {worker} waits {}", waits.text)));
    }
    let tasks = query.tasks().records();
    let tasks = tasks.iter().filter(|task| task.state == "RUNNING");
    let tasks: Vec<String> =
        tasks.map(|task| format!("stage {} task {} on {}", task.stage, task.task, task.worker)).collect();
    if !tasks.is_empty() {
        parts.push(format!("tasks that run: {}", tasks.join(", ")));
    }
    if parts.len() == 1 {
        parts.push("no part is known to wait".to_owned());
    }
    parts.join("; ")
}

/// CPU that this process and the query's workers have used.
fn cpu_of(query: &QueryContext) -> Duration {
    cpu_used() + query.workers().values().map(|worker| worker.cpu).sum::<Duration>()
}

/// CPU that this process has used since its start; zero where the system does not tell.
pub(crate) fn cpu_used() -> Duration {
    /// Linux counts CPU in hundredths of a second, whatever its own clock does (proc(5)).
    const TICK: Duration = Duration::from_millis(10);
    let used = || {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The program's name, in parentheses, may hold spaces. User time is field 14, system time field 15.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace().skip(11);
        let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(TICK * user.saturating_add(system))
    };
    used().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Change;
    use crate::io::QueryIo;

    async fn until<T>(found: impl Fn() -> Option<T>) -> T {
        for _ in 0..1000 {
            if let Some(found) = found() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it did not come to be");
    }

    #[tokio::test]
    async fn a_query_that_waits_for_long_is_told_of_until_it_goes_on() {
        let log = Arc::default();
        let _watchdog = watch(&log, Duration::from_millis(300));
        let query = QueryContext::new("tenant", 0, Arc::<QueryIo>::default(), &log, Change::new(None));
        let queued = QueryContext::new("tenant", 0, Arc::<QueryIo>::default(), &log, Change::new(None));
        for query in [&query, &queued] {
            log.begin(query, "ann", "SELECT 1");
        }
        query.becomes("RUNNING");
        queued.becomes("QUEUED");
        let file = Arc::from("s3://lake/a.parquet");
        let wait = query.io().waits.enter_file("the store's answer", &file, Some(0..4));
        let text = until(|| query.stalled()).await;
        let expected = "(RUNNING); waits for the store's answer, bytes 0 to 4 of s3://lake/a.parquet for ";
        assert!(text.contains(expected), "{text}");
        assert_eq!(queued.stalled(), None);
        drop(wait);
        query.count_rows(1);
        until(|| query.stalled().is_none().then_some(())).await;
    }

    #[test]
    fn the_cpu_of_a_process_grows_while_it_computes() {
        let before = cpu_used();
        let begun = Instant::now();
        while cpu_used() == before {
            assert!(begun.elapsed() < Duration::from_secs(30) || !std::path::Path::new("/proc/self/stat").exists());
        }
        assert!(cpu_used() > before);
    }
}
