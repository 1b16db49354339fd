//! What the tables are: Iceberg catalogs, their metadata, the stores their files live in, and commits.
//!
//! In: catalog settings and names. Out: [`Table`]s pinned to one metadata file, and new snapshots.
//! Knows no SQL and no query engine; never reads data files.

mod catalog;
mod changes;
mod commit;
#[cfg(feature = "testing")]
pub mod contract;
mod error;
mod memory;
mod metadata_cache;
mod open;
mod own_task;
mod pointer;
mod rest;
mod settings;
mod sql;
mod storage;
#[cfg(feature = "testing")]
pub mod testing;

pub use catalog::{Catalog, NewTable, Table};
pub use changes::{Change, ChangeLog, Creates, Note, Swept, created_for, sweep};
pub use commit::{ChangeSet, CommitGate, CommitIdentity, CommitOptions, Target, commit, metadata_folder, with_columns};
pub use error::{Error, Result, Source};
/// The specification's own types (schemas, snapshots, manifests, updates), from the `iceberg` crate.
pub use iceberg::{NamespaceIdent, TableIdent, TableRequirement, TableUpdate, spec};
pub use metadata_cache::{Memory, MetadataCache, read_manifest};
pub use open::open_catalog;
pub use own_task::{own_task, spawning_on};
pub use settings::{CatalogSettings, CatalogType};
pub use sql::{ControlChange, ControlDatabase};
pub use storage::{
    Arrived, Health, Progress, ReadFailure, ReadFailureKind, RequestCounts, RequestMeter, Storage, Tries, Turn,
    is_placement,
};
