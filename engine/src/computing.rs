//! Threads that compute, apart from those that serve.
//!
//! A function may compute on one batch for minutes without a pause. On the threads that serve clients, as many such batches as there are
//! cores would stop the server: no connection, deadline or signal would be heard, and no answer of a store. So each query that runs has
//! threads of its own, one for each core, and the system shares the cores among queries. Threads are kept for the next query.
//!
//! Only plans run here: a query whose threads compute on must keep nobody else waiting. What queries share (requests to stores and
//! what is decoded of them, slots, workers and the question whether they answer) is driven by the threads that serve; what a plan asks of
//! it goes there by [`own_task`](polynya_catalog::own_task).

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use datafusion::common::DataFusionError;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use parking_lot::Mutex;
use polynya_catalog::spawning_on;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::memory::MemoryBudget;
use crate::memory_guard::Account;
use crate::{Error, Result, allocations, memory_guard, panics};

/// Batches that are made before they are asked for.
const BATCHES_AHEAD: usize = 1;
/// Stack of each thread, in bytes: expressions are evaluated by recursion. Pages that are never touched cost nothing.
const STACK_BYTES: usize = 256 << 20;
/// Sets of threads that wait for a query.
const KEPT_MAX: usize = 16;

/// Sets of threads that have no query.
#[derive(Debug)]
pub(crate) struct Computing {
    kept: Mutex<Vec<Set>>,
    memory: Arc<dyn MemoryPool>,
    limit_bytes: u64,
    /// Of all threads, also of those that have no query.
    accounts: Mutex<Vec<Weak<Account>>>,
}

/// Threads, and whether their query was stopped.
#[derive(Debug)]
struct Set {
    runtime: Runtime,
    stops: Stops,
    account: Arc<Account>,
}

/// Set once nobody waits for a query any more, or for one of its tasks.
type Stopped = Arc<AtomicBool>;
/// Tells what works for a query, or for one of its tasks, that nobody waits for it any more.
#[derive(Debug, Default)]
pub(crate) struct StopOnDrop(pub(crate) Stopped);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Those of the query that has a set of threads.
type Stops = Arc<Mutex<Vec<Stopped>>>;

thread_local! {
    static STOPS: RefCell<Option<Stops>> = const { RefCell::new(None) };
    static MEMORY: RefCell<Option<Arc<dyn MemoryPool>>> = const { RefCell::new(None) };
    static ACCOUNT: RefCell<Option<Arc<Account>>> = const { RefCell::new(None) };
}

/// The memory that whatever this thread computes is to come from; none on threads that do not compute for a query.
pub(crate) fn memory() -> Option<Arc<dyn MemoryPool>> {
    MEMORY.with_borrow(Option::clone)
}

/// Whether the query that this thread computes for may go on. On any other thread, yes.
///
/// # Errors
/// `Cancelled` if nobody waits for it any more.
pub(crate) fn check() -> Result<()> {
    let is_stopped = STOPS.with_borrow(|stops| {
        let stops = stops.as_ref().map(|stops| stops.lock());
        stops.is_some_and(|stops| !stops.is_empty() && stops.iter().all(|stopped| stopped.load(Relaxed)))
    });
    let is_stopped =
        is_stopped || ACCOUNT.with_borrow(|account| account.as_ref().is_some_and(|account| account.is_over()));
    if is_stopped { Err(Error::Cancelled) } else { Ok(()) }
}

/// The threads of one query, until it is dropped.
#[derive(Debug)]
pub(crate) struct Threads {
    set: Option<Set>,
    serving: Handle,
    computing: Arc<Computing>,
}

impl Computing {
    /// No threads yet. What is computed on them comes from this memory.
    pub(crate) fn new(memory: &MemoryBudget) -> Self {
        Self {
            kept: Mutex::default(),
            memory: Arc::clone(memory.pool()),
            limit_bytes: memory.limit_bytes(),
            accounts: Mutex::default(),
        }
    }

    /// What the threads have taken, set by set.
    pub(crate) fn accounts(&self) -> Vec<Arc<Account>> {
        self.accounts.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Threads for a query, which [`stops_with`](Threads::stops_with) something. To be called on a thread that serves.
    pub(crate) fn take(self: &Arc<Self>) -> Threads {
        let serving = Handle::current();
        let idle = {
            let mut kept = self.kept.lock();
            kept.iter().position(Set::is_idle).map(|index| kept.swap_remove(index))
        };
        let set = idle.or_else(|| {
            start(&serving, &self.memory)
                .inspect(|set| {
                    let mut accounts = self.accounts.lock();
                    accounts.retain(|account| account.strong_count() > 0);
                    accounts.push(Arc::downgrade(&set.account));
                })
                .inspect_err(
                    |error| tracing::warn!(%error, "a query has no threads of its own: the process may have no more"),
                )
                .ok()
        });
        if let Some(set) = &set {
            set.stops.lock().clear();
            set.account.begin();
        }
        Threads { set, serving, computing: Arc::clone(self) }
    }
}

impl Drop for Computing {
    fn drop(&mut self) {
        // Whoever drops the last owner may be on a thread of another runtime.
        self.kept.get_mut().drain(..).for_each(|set| set.runtime.shutdown_background());
    }
}

impl Threads {
    /// The rows of a plan, which are made here from the first on. A panic is an error, and nothing runs on when they are dropped.
    pub(crate) fn run(&self, plan: Arc<dyn ExecutionPlan>, task: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut made = RecordBatchReceiverStream::builder(plan.schema(), BATCHES_AHEAD);
        let batches = made.tx();
        let make = async move {
            let mut running = execute_stream(plan, task)?;
            while let Some(batch) = running.next().await {
                if batches.send(batch).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        let (account, limit_bytes) = (self.account(), self.computing.limit_bytes);
        let make = async move {
            let ended = within_memory(account, limit_bytes, panics::guarded("a query", make)).await?;
            ended.unwrap_or_else(|id| Err(panics::broken_off(id).into()))
        };
        made.spawn_on(make, self.handle());
        made.build()
    }

    /// What comes of `work`, or an error if the query takes too much memory in the meantime.
    pub(crate) async fn within_memory<T>(&self, work: impl Future<Output = T>) -> Result<T, DataFusionError> {
        within_memory(self.account(), self.computing.limit_bytes, work).await
    }

    fn account(&self) -> Option<Arc<Account>> {
        self.set.as_ref().map(|set| Arc::clone(&set.account))
    }

    /// The query is to stop once this is set, and whatever else it stops with.
    pub(crate) fn stops_with(&self, stopped: &Stopped) {
        let Some(set) = &self.set else { return };
        let mut stops = set.stops.lock();
        if !stops.iter().any(|known| Arc::ptr_eq(known, stopped)) {
            stops.push(Arc::clone(stopped));
        }
    }

    /// Where the query's tasks are spawned.
    pub(crate) fn handle(&self) -> &Handle {
        self.set.as_ref().map_or(&self.serving, |set| set.runtime.handle())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let Some(set) = self.set.take() else { return };
        let mut kept = self.computing.kept.lock();
        kept.push(set);
        // What was stopped may compute on for a while.
        if kept.len() > KEPT_MAX {
            let busy = kept.iter().position(|set| !set.is_idle()).unwrap_or(0);
            kept.swap_remove(busy).runtime.shutdown_background();
        }
    }
}

/// The threads of queries of which several tasks run here, by the query's id.
#[derive(Debug)]
pub(crate) struct QueryThreads {
    computing: Arc<Computing>,
    running: Mutex<HashMap<Vec<u8>, Weak<Threads>>>,
}

impl QueryThreads {
    /// No query runs yet.
    pub(crate) fn of(computing: &Arc<Computing>) -> Self {
        Self { computing: Arc::clone(computing), running: Mutex::default() }
    }

    /// The query's threads, for as long as somebody has them.
    pub(crate) fn take(&self, query: &[u8]) -> Arc<Threads> {
        let mut running = self.running.lock();
        if let Some(threads) = running.get(query).and_then(Weak::upgrade) {
            return threads;
        }
        running.retain(|_, threads| threads.strong_count() > 0);
        let threads = Arc::new(self.computing.take());
        running.insert(query.to_owned(), Arc::downgrade(&threads));
        threads
    }
}

impl Set {
    fn is_idle(&self) -> bool {
        self.runtime.metrics().num_alive_tasks() == 0
    }
}

async fn within_memory<T>(
    account: Option<Arc<Account>>,
    limit_bytes: u64,
    work: impl Future<Output = T>,
) -> Result<T, DataFusionError> {
    let Some(account) = account else { return Ok(work.await) };
    let done = tokio::select! {
        biased;
        () = account.over() => None,
        done = work => Some(done),
    };
    // What stopped for it says that nobody waits any more.
    done.filter(|_| !account.is_over()).ok_or_else(|| memory_guard::error(limit_bytes).into())
}

fn start(serving: &Handle, memory: &Arc<dyn MemoryPool>) -> std::io::Result<Set> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let stops = Stops::default();
    let account = Arc::new(Account::new());
    let of_threads = Arc::clone(&account);
    let (of_thread, spawns_elsewhere, memory) = (Arc::clone(&stops), spawning_on(serving), Arc::clone(memory));
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(cores)
        .thread_name("computing")
        .thread_stack_size(STACK_BYTES)
        .on_thread_start(move || {
            spawns_elsewhere();
            STOPS.set(Some(Arc::clone(&of_thread)));
            MEMORY.set(Some(Arc::clone(&memory)));
            allocations::count_in(of_threads.bytes());
            ACCOUNT.set(Some(Arc::clone(&of_threads)));
        })
        // No sockets: what they serve is shared. So threads that are kept hold no descriptors either.
        .enable_time();
    // Where the process may have no more threads, tokio panics.
    let built = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| builder.build()));
    let runtime = built.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::WouldBlock)))?;
    Ok(Set { runtime, stops, account })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use polynya_catalog::own_task;

    use super::*;

    fn no_threads() -> Arc<Computing> {
        Arc::new(Computing::new(&MemoryBudget::new(1 << 30)))
    }

    #[tokio::test]
    async fn what_computes_on_all_cores_stops_nobody_else() {
        let computing = no_threads();
        let (stuck, other) = (computing.take(), computing.take());
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        // More than there are threads: each keeps one until the gate opens.
        let waiting = (0..64).map(|_| {
            let gate = Arc::clone(&gate);
            stuck.handle().spawn(async move { gate.lock().recv().ok() })
        });
        let waiting: Vec<_> = waiting.collect();
        let answer = other.handle().spawn(async { own_task(async { 42 }).await.unwrap() });
        assert_eq!(tokio::time::timeout(Duration::from_secs(60), answer).await.unwrap().unwrap(), 42);
        assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
        drop(open);
    }

    #[tokio::test]
    async fn requests_are_tasks_of_the_threads_that_serve() {
        let computing = no_threads();
        let serving = Handle::current().id();
        let threads = computing.take();
        let spawned = async { own_task(async { Handle::current().id() }).await.unwrap() };
        let (of_request, own) =
            threads.handle().spawn(async { (spawned.await, Handle::current().id()) }).await.unwrap();
        assert_eq!(of_request, serving);
        assert_ne!(own, serving);
    }

    #[tokio::test]
    async fn what_computes_finds_out_that_it_was_stopped() {
        let (computing, stopped) = (no_threads(), Stopped::default());
        let threads = computing.take();
        threads.stops_with(&stopped);
        let ask = || threads.handle().spawn(async { check().is_ok() });
        assert!(ask().await.unwrap());
        stopped.store(true, Relaxed);
        assert!(!ask().await.unwrap());
        assert!(check().is_ok(), "here nothing computes");
        let another_task = Stopped::default();
        threads.stops_with(&another_task);
        assert!(ask().await.unwrap());
        another_task.store(true, Relaxed);
        assert!(!ask().await.unwrap());
        drop(threads);
        let next = computing.take();
        assert!(next.handle().spawn(async { check().is_ok() }).await.unwrap());
    }

    #[tokio::test]
    async fn threads_are_kept_for_the_next_query_but_not_those_that_compute_on() {
        let computing = no_threads();
        let first = computing.take();
        let id = first.handle().id();
        drop(first);
        let second = computing.take();
        assert_eq!(second.handle().id(), id);
        let (release, released) = std::sync::mpsc::channel::<()>();
        let computes = second.handle().spawn(async move { released.recv().ok() });
        drop(second);
        let third = computing.take();
        assert_ne!(third.handle().id(), id);
        release.send(()).unwrap();
        computes.await.unwrap();
        drop(third);
        for _ in 0..2 * KEPT_MAX {
            // All at once, then back.
            let many: Vec<Threads> = (0..3).map(|_| computing.take()).collect();
            drop(many);
        }
        assert!(computing.kept.lock().len() <= KEPT_MAX);
    }

    #[tokio::test]
    async fn the_tasks_of_a_query_share_its_threads() {
        let queries = QueryThreads::of(&no_threads());
        let (first, second, other) = (queries.take(b"a"), queries.take(b"a"), queries.take(b"b"));
        assert_eq!(first.handle().id(), second.handle().id());
        assert_ne!(first.handle().id(), other.handle().id());
        drop((first, second, other));
        let _third = queries.take(b"c");
        assert_eq!(queries.running.lock().len(), 1);
    }
}
