//! Catalogs that keep only names and, for each table, a pointer to its current metadata file.
//!
//! The SQL and the memory catalog are this, over different [`Pointers`]. The metadata files themselves are written here,
//! and a commit is: read the pointer, check the requirements, write the next metadata file, swap the pointer if nobody
//! else did. Never deletes a metadata file that the pointer may have come to name.

mod catalog;
mod metadata_file;
mod purge;
mod update;

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use iceberg::{NamespaceIdent, TableIdent};

use crate::Result;

pub(crate) use catalog::PointerCatalog;
pub(crate) use purge::{Missing, delete_reachable, reachable_files};

/// Names, and where each table's current metadata file is. Each call is atomic.
#[async_trait]
pub(crate) trait Pointers: Debug + Send + Sync {
    /// Every namespace that was created or that a table is in. Parents that are only implied are left out.
    async fn namespaces(&self) -> Result<Vec<NamespaceIdent>>;

    /// What was stored for a namespace; empty if nothing was.
    async fn properties(&self, namespace: &NamespaceIdent) -> Result<HashMap<String, String>>;

    /// Stores a namespace; false if it is there already.
    async fn add_namespace(&self, namespace: &NamespaceIdent, properties: &HashMap<String, String>) -> Result<bool>;

    /// Forgets what was stored for a namespace.
    async fn remove_namespace(&self, namespace: &NamespaceIdent) -> Result<()>;

    /// The names of the tables directly in a namespace.
    async fn tables(&self, namespace: &NamespaceIdent) -> Result<Vec<String>>;

    /// Where a table's metadata file is, if there is such a table.
    async fn get(&self, table: &TableIdent) -> Result<Option<String>>;

    /// Adds a table; false if the name is taken. `CommitUnknown` says that it may have been added.
    async fn add(&self, table: &TableIdent, location: &str) -> Result<bool>;

    /// Points a table from one metadata file to the next; false if it does not point to `from` any more.
    /// `CommitUnknown` says that it may have been done; any other error that it was not.
    async fn swap(&self, table: &TableIdent, from: &str, to: &str) -> Result<bool>;

    /// Forgets a table; false if there is none.
    async fn remove(&self, table: &TableIdent) -> Result<bool>;

    /// Renames a table.
    async fn rename(&self, from: &TableIdent, to: &TableIdent) -> Result<Renamed>;

    /// What tells these names from those of other catalogs, to every process that uses them. No secret.
    fn identity(&self) -> String;

    /// How long after its process has died a change that it asked for may still happen.
    fn settles_after(&self) -> Duration;
}

/// How a rename ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renamed {
    /// It has its new name.
    Done,
    /// There is no table of the old name.
    Missing,
    /// The new name is taken.
    Taken,
}
