//! Workers: other processes that run the stages of large queries.
//!
//! ```text
//! provisioner ─► placement ─────────► distribute ─────────► channels ─► worker
//! who is there   who reads which      the plan, cut into     calls,      runs tasks
//! (presence)     piece of a file      stages for them        watched     (rows between them: exchange)
//! ```
//! A query is tried again when it lost a worker, on the same snapshots, as long as the client has seen no row of it.

mod attempt;
mod begun;
mod caught;
mod channels;
mod distribute;
mod exchange;
mod follow;
mod group;
mod kubernetes;
mod lent;
mod local_process;
mod marks;
mod pace;
mod peers;
mod placement;
mod presence;
mod provisioner;
mod run;
mod secret;
mod sendable;
mod settings;
mod tasks;
mod travelling;
mod wire;
mod worker;

pub use secret::Secret;
pub(crate) use sendable::scalar_subqueries_have_one_row;
pub use settings::{KubernetesSettings, ProvisionerKind, WorkerSettings, WorkloadKind};
pub(crate) use tasks::Tasks;
pub(crate) use travelling::{SessionSettings, TaskIo};
pub use worker::WorkerService;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use url::Url;

use self::channels::{Channels, Presence};
use self::kubernetes::Kubernetes;
use self::local_process::{LocalProcess, Recipe};
use self::pace::Pace;
use self::placement::{Placement, Worker};
use self::presence::Presences;
use self::provisioner::{Loss, Provisioner, Static, Unfit};
use crate::query::QueryContext;
use crate::trace::TraceContext;
use crate::{Error, Result, Settings};

/// How often it is looked whether workers are idle.
const IDLE_CHECK: Duration = Duration::from_millis(500);
/// How long `system.workers` waits for a worker to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a worker that was asked to end may go on with its tasks.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);

/// The coordinator's view of its workers.
#[derive(Debug)]
pub(crate) struct Cluster {
    settings: WorkerSettings,
    provisioner: Box<dyn Provisioner>,
    channels: Arc<Channels>,
    presences: Presences,
    pace: Pace,
    trace: Option<Arc<dyn TraceContext>>,
    queries: AtomicUsize,
    last_used: Mutex<Instant>,
}

/// A worker as `system.workers` shows it.
#[derive(Debug, Clone)]
pub(crate) struct WorkerStatus {
    pub(crate) id: Arc<str>,
    pub(crate) url: String,
    pub(crate) state: &'static str,
}

/// Keeps workers from being stopped while a query uses them.
#[derive(Debug)]
struct Use(Arc<Cluster>);

impl Drop for Use {
    fn drop(&mut self) {
        *self.0.last_used.lock() = Instant::now();
        self.0.queries.fetch_sub(1, Relaxed);
    }
}

impl Cluster {
    /// `None` if the settings name no workers.
    ///
    /// # Errors
    /// `Settings`, where they cannot work.
    pub(crate) fn new(settings: &Settings) -> Result<Option<Arc<Self>>> {
        let workers = settings.workers.clone();
        workers.check()?;
        let secret = match workers.provisioner {
            ProvisionerKind::None => return Ok(None),
            ProvisionerKind::LocalProcess => Secret::random(),
            ProvisionerKind::Static | ProvisionerKind::Kubernetes if !workers.secret.is_strong() => {
                return Err(Error::Settings {
                    setting: "workers.secret".to_owned(),
                    message: "has fewer than 16 characters, or some that are not printable ASCII".to_owned(),
                });
            }
            ProvisionerKind::Static | ProvisionerKind::Kubernetes => workers.secret.clone(),
        };
        let channels = Channels::new(secret.clone());
        let provisioner: Box<dyn Provisioner> = match workers.provisioner {
            ProvisionerKind::None => return Ok(None),
            ProvisionerKind::Static => Box::new(Static::new(workers.urls.clone())),
            ProvisionerKind::Kubernetes => Box::new(Kubernetes::new(&workers)?),
            ProvisionerKind::LocalProcess => {
                Box::new(LocalProcess::new(recipe(settings, secret)?, Arc::clone(&channels)))
            }
        };
        let cluster = Arc::new(Self {
            settings: workers,
            provisioner,
            presences: Presences::new(&channels),
            channels,
            pace: Pace::default(),
            trace: settings.trace.clone(),
            queries: AtomicUsize::new(0),
            last_used: Mutex::new(Instant::now()),
        });
        let watched = Arc::downgrade(&cluster);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(IDLE_CHECK);
            loop {
                ticks.tick().await;
                let Some(cluster) = watched.upgrade() else { return };
                cluster.stop_if_idle().await;
            }
        });
        Ok(Some(cluster))
    }

    /// All workers, asked whether they answer.
    pub(crate) async fn status(&self) -> Vec<WorkerStatus> {
        let status = self.provisioner.running().await.into_iter().map(|worker| async move {
            let state = match self.channels.presence(&worker.url, ANSWER_TIMEOUT).await {
                Presence::Ready => "READY",
                Presence::Silent => "LOST",
                Presence::Unfit(why) => why.state(),
            };
            WorkerStatus { id: worker.id, url: worker.url.to_string(), state }
        });
        futures::future::join_all(status).await
    }

    /// Workers for a query that reads so many bytes: those that are there, without those that turned out to be unfit; starts
    /// them if need be. `is_patient`: waits a little for some although nobody has answered lately.
    async fn workers(
        self: &Arc<Self>,
        bytes: u64,
        query: &QueryContext,
        unfit: &[(Url, Unfit)],
        is_patient: bool,
    ) -> Result<(Arc<Placement>, Use)> {
        self.queries.fetch_add(1, Relaxed);
        let used = Use(Arc::clone(self));
        let per_worker = self.settings.bytes_per_worker.as_u64().max(1);
        let wanted = usize::try_from(bytes.div_ceil(per_worker)).unwrap_or(usize::MAX).max(2);
        query.becomes("STARTING");
        let deadline = self.settings.start_timeout;
        let workers = tokio::time::timeout(deadline, self.provisioner.workers(wanted)).await;
        let mut workers: Vec<Worker> = workers.map_err(|_| {
            Error::NoWorkers(format!("none was ready after {deadline:?} (setting workers.start_timeout)"))
        })??;
        workers.retain(|worker| unfit.iter().all(|(url, _)| *url != worker.url));
        let found = self.presences.of(&workers, is_patient).await;
        for silent in &found.silent {
            tracing::warn!(
                query_id = query.id(),
                worker = silent.url.as_str(),
                "a worker does not answer: it is left out"
            );
            self.provisioner.lost(&silent.url, Loss::Silent);
        }
        let placement = Placement::new(self.pace.quick(found.ready)).ok_or_else(|| {
            match (found.unfit.last().or(unfit.last()), &found.silent[..]) {
                (Some((url, why)), _) => why.error(url),
                (None, []) => Error::NoWorkers("none runs".to_owned()),
                (None, silent) => {
                    let urls: Vec<&str> = silent.iter().map(|worker| worker.url.as_str()).collect();
                    Error::NoWorkers(format!("none answers at {}", urls.join(", ")))
                }
            }
        })?;
        query.becomes("RUNNING");
        Ok((Arc::new(placement), used))
    }

    async fn stop_if_idle(&self) {
        if self.queries.load(Relaxed) == 0 && self.last_used.lock().elapsed() >= self.settings.idle_timeout {
            self.provisioner.idle().await;
        }
    }
}

/// How a worker of this machine is started: with its share of the memory and disk that this process was given.
fn recipe(settings: &Settings, secret: Secret) -> Result<Recipe> {
    let (workers, cache) = (&settings.workers, &settings.cache);
    let share = |bytes: u64| (bytes / workers.max as u64).to_string();
    let mut environment = vec![
        ("POLYNYA__MEMORY__LIMIT".to_owned(), share(settings.memory.limit_bytes())),
        ("POLYNYA__MEMORY__SPILL_LIMIT".to_owned(), share(settings.memory.spill_limit.as_u64())),
        ("POLYNYA__CACHE__MEMORY_BYTES".to_owned(), share(cache.memory_bytes.as_u64())),
        ("POLYNYA__CACHE__DECODED_BYTES".to_owned(), share(cache.decoded_limit_bytes())),
        ("POLYNYA__CACHE__METADATA_BYTES".to_owned(), share(cache.metadata_bytes.as_u64())),
        ("POLYNYA__CACHE__PREFETCH_BYTES".to_owned(), share(cache.prefetch_bytes.as_u64())),
    ];
    environment.extend(workers.environment.iter().cloned());
    let mut also = |name: &str, value: Option<String>| environment.extend(value.map(|value| (name.to_owned(), value)));
    also("POLYNYA__MEMORY__SPILL_DIR", settings.memory.spill_dir.as_ref().map(|folder| folder.display().to_string()));
    also("POLYNYA__CACHE__GAP_BYTES", cache.gap_bytes.map(|bytes| bytes.as_u64().to_string()));
    if let Some(folder) = &cache.disk_dir {
        environment.push(("POLYNYA__CACHE__DISK_DIR".to_owned(), folder.join("worker-{}").display().to_string()));
        environment.push(("POLYNYA__CACHE__DISK_BYTES".to_owned(), share(cache.disk_bytes.as_u64())));
    }
    let program = match &workers.program {
        Some(program) => program.clone(),
        None => std::env::current_exe().map_err(|error| Error::Settings {
            setting: "workers.program".to_owned(),
            message: format!("cannot be guessed: {error}"),
        })?,
    };
    Ok(Recipe {
        program,
        secret,
        environment,
        min: workers.min,
        max: workers.max,
        // Before the query gives up: the others are ready then.
        start_timeout: workers.start_timeout / 10 * 9,
        drain_timeout: DRAIN_TIMEOUT,
    })
}
