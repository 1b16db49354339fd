//! What an operator may change about the engine: plain values with defaults, read by the server from `polynya.toml`.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use polynya_catalog::CatalogSettings;

pub use crate::access::{AccessSettings, ControlSettings, RoleSettings, UserSettings};
pub use crate::cluster::WorkerSettings;
pub use crate::io::{CacheSettings, PriceSettings};
use crate::trace::TraceContext;

/// Everything the engine can be told. Unknown keys are errors.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The catalogs, by the name that users type.
    pub catalog: BTreeMap<String, CatalogSettings>,
    /// The catalog of names without one. Default: the only catalog, if there is just one.
    pub default_catalog: Option<String>,
    /// The schema of names without one.
    pub default_schema: Option<String>,
    /// Memory for queries.
    pub memory: MemorySettings,
    /// How queries run.
    pub execution: ExecutionSettings,
    /// How many queries run at once, and how many wait.
    pub admission: AdmissionSettings,
    /// What is kept between queries, and read ahead.
    pub cache: CacheSettings,
    /// What the object store charges.
    pub prices: PriceSettings,
    /// Other processes that run large queries.
    pub workers: WorkerSettings,
    /// Who may do what. Default: everybody may do everything.
    pub access: Option<AccessSettings>,
    /// The database of what is neither data nor table metadata.
    pub control: ControlSettings,
    /// How plans are made, for programs that test the planner. The settings' file has no such key.
    #[serde(skip)]
    pub planning: PlanningSettings,
    /// How spans pass between processes, given by whoever exports them. Default: not at all.
    #[serde(skip)]
    pub trace: Option<Arc<dyn TraceContext>>,
}

/// Memory for queries, and where they go when it is not enough.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemorySettings {
    /// The memory that all queries together may hold, in bytes. Default: 60% of the machine's.
    #[serde(deserialize_with = "crate::sizes::optional")]
    pub limit: Option<ByteSize>,
    /// Folder for what joins, sorts and aggregates spill. Default: the system's temporary folder.
    pub spill_dir: Option<PathBuf>,
    /// The disk that all queries together may fill by spilling, in bytes. Default: 100 GiB.
    #[serde(deserialize_with = "crate::sizes::size")]
    pub spill_limit: ByteSize,
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self { limit: None, spill_dir: None, spill_limit: ByteSize::gib(100) }
    }
}

impl MemorySettings {
    /// The limit in force, in bytes.
    pub fn limit_bytes(&self) -> u64 {
        self.limit.map_or_else(|| machine_memory_bytes() / 10 * 6, |limit| limit.as_u64())
    }
}

/// How queries run.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExecutionSettings {
    /// Partitions that one query is divided into. Default: the number of cores, and on machines of less than 16 cores
    /// twice as many, at most 16. 0 is the default, too.
    pub target_partitions: Option<usize>,
    /// How long a query may take unless its session says otherwise (`SET polynya.statement_timeout`). Default: 0, no limit.
    #[serde(deserialize_with = "crate::duration::deserialize")]
    pub statement_timeout: Duration,
    /// How long a running query may make no progress (no row, no byte, no CPU) before the log and `system.queries` tell where
    /// each of its parts waits. 0 never tells. Default: 30 seconds.
    #[serde(deserialize_with = "crate::duration::deserialize")]
    pub stalled_after: Duration,
}

impl Default for ExecutionSettings {
    fn default() -> Self {
        Self { target_partitions: None, statement_timeout: Duration::ZERO, stalled_after: Duration::from_secs(30) }
    }
}

impl ExecutionSettings {
    /// The partitions in force. Those of one query are never equally heavy, and each waits for its pages now and then: with
    /// one for each core, cores rest at the end of every stage. Many of them cost more in exchanges than that.
    pub fn partitions(&self) -> usize {
        const PARTITIONS_BEYOND_CORES_MAX: usize = 16;
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let chosen = self.target_partitions.filter(|partitions| *partitions > 0);
        chosen.unwrap_or_else(|| (2 * cores).min(PARTITIONS_BEYOND_CORES_MAX).max(cores))
    }
}

/// What a test may change about plans. None of it changes an answer.
#[derive(Debug, Clone, Default)]
pub struct PlanningSettings {
    /// Optimiser passes that are left out, by name.
    pub without: Vec<String>,
    /// Rows in a batch, fewer than a session may choose. Default: those of DataFusion.
    pub batch_rows: Option<NonZeroUsize>,
}

/// How many queries run at once, and how many wait.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdmissionSettings {
    /// Queries that read tables at the same time; more wait. A result that is not fetched to its end counts as running,
    /// until its client has taken no rows for 30 seconds.
    /// Default: eight for each core, at least 16.
    pub max_running: NonZeroUsize,
    /// Memory that each running query reserves of `memory.limit`, in bytes; those for which none is left wait. A query may
    /// use more than it reserved, as long as there is some. Default: 64 MiB.
    #[serde(deserialize_with = "crate::sizes::size")]
    pub memory_per_query: ByteSize,
    /// Queries that wait; more are turned away. Default: 1,000.
    pub max_queued: usize,
    /// How long a query waits before it is turned away, in seconds. Default: 300.
    pub queue_timeout_s: u64,
}

impl Default for AdmissionSettings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        // Many of them may be results that a client has left half read.
        let running = NonZeroUsize::new((cores * 8).max(16)).unwrap_or(NonZeroUsize::MIN);
        Self { max_running: running, memory_per_query: ByteSize::mib(64), max_queued: 1_000, queue_timeout_s: 300 }
    }
}

/// The memory of this machine or container, in bytes; 8 GiB where it cannot be told.
pub(crate) fn machine_memory_bytes() -> u64 {
    let cgroup = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
    });
    [cgroup, meminfo].into_iter().flatten().min().unwrap_or(8 << 30)
}
