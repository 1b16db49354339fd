//! How SQL runs on Iceberg tables.
//!
//! ```text
//! Engine::query:  parse ─► pin ─► plan ─► place ─► execute ─► RowStream
//! ```
//! Data flows one way, left to right. Planning does no data-file I/O; execution does no catalog I/O.

mod access;
mod admission;
mod allocations;
mod answer;
mod audit;
mod base_state;
mod budget;
mod change;
mod cluster;
mod columns;
mod computing;
mod counts;
mod ddl;
mod describe;
mod dialect;
pub mod duration;
mod engine;
mod error;
mod execute;
mod explain;
mod functions;
mod information_schema;
mod io;
mod memory;
mod memory_guard;
mod names;
mod narrow_rows;
mod options;
mod own_thread;
mod panics;
mod parameters;
mod pin;
pub mod plain_size;
mod plan;
mod planner;
mod progress;
mod query;
mod refusals;
mod scan;
mod session;
mod session_values;
mod settings;
mod shared_rows;
mod sizes;
mod spill;
mod spill_files;
pub mod statement;
mod system;
mod trace;
pub mod types;
mod urls;
mod watchdog;
mod wire_options;
mod write;

pub use access::Access;
pub use allocations::CountingAllocator;
pub use answer::{Answer, Completion, Description, RowStream, StatementKind};
pub use cluster::{KubernetesSettings, ProvisionerKind, Secret, WorkerService, WorkloadKind};
pub use counts::EngineCounts;
pub use engine::Engine;
pub use error::{Error, Result};
pub use io::{CacheMode, IoCounts, IoLimits, TierStats};
pub use memory::{MemoryBudget, Reserved};
pub use names::{TableName, namespace};
pub use options::Execution;
pub use parameters::Parameters;
pub use progress::Progress;
pub use query::{QueryContext, QueryStats};
pub use scan::{IcebergSource, ScanCodec};
pub use session::Session;
pub use settings::{
    AccessSettings, AdmissionSettings, CacheSettings, ControlSettings, ExecutionSettings, MemorySettings,
    PlanningSettings, PriceSettings, RoleSettings, Settings, UserSettings, WorkerSettings,
};
pub use trace::TraceContext;
pub use wire_options::{WireCompression, WireOptions};
pub use write::IngestMode;

/// Tests count what they allocate, as the server does.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: CountingAllocator<std::alloc::System> = CountingAllocator(std::alloc::System);
