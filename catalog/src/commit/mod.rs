//! Commits: a change set becomes manifests, a manifest list, a snapshot, and a request to the catalog.
//!
//! ```text
//! change set ──► validate ──► write manifests ──► snapshot on the current parent ──► catalog
//!                (conflict)    (once: reused by        (once per attempt)               │
//!                               every attempt)      ▲                                   ▼
//!                                                   └── reload ◄── conflict ◄── outcome ──► done
//! ```
//! Three outcomes, and what becomes of the files: **done**, the manifest lists of lost attempts are deleted; **certainly
//! failed**, everything written is deleted; **unknown**, nothing is deleted, ever. The snapshot id stays the same over all
//! attempts, so that whatever happened can be found in the table's snapshots.

mod attempt;
mod change;
mod conflict;
#[cfg(test)]
mod faulty_catalog;
mod manifests;
mod merge;
mod outcome;
mod retry;
mod summary;
#[cfg(test)]
mod tests;

use crate::{Catalog, Error, Result, Table};

use self::attempt::Attempt;
pub use self::change::{ChangeSet, CommitOptions};
use self::manifests::Written;
use self::outcome::Outcome;
use self::retry::Retries;

/// Commits a change set to a table, on top of whatever other writers commit first.
///
/// `table` is the state that the change was computed from. Returns the table as committed. A change set without files
/// commits nothing and returns the table as it is.
///
/// Retries are set by the table's properties `commit.retry.num-retries` (default 20), `commit.retry.min-wait-ms` (100),
/// `commit.retry.max-wait-ms` (5000) and `commit.retry.total-timeout-ms` (1800000).
///
/// # Errors
/// - `CommitConflict` if another writer's change rules this one out, or if others won every attempt. Nothing was
///   committed; the files written are deleted.
/// - `CommitUnknown` if the request was sent and it cannot be found out whether it took effect. No file is deleted.
/// - `Unsupported` for changes that are not supported yet, `Invalid` for files that do not fit the table.
/// - Other errors, of the store or the catalog, from before the commit could take effect: files written are deleted.
pub async fn commit(
    catalog: &dyn Catalog,
    table: &Table,
    changes: ChangeSet,
    options: &CommitOptions,
) -> Result<Table> {
    conflict::check_supported(table, &changes)?;
    if changes.is_empty() {
        return Ok(table.clone());
    }
    let mut written = Written::new(table);
    let result = match manifests::write_added(table, &changes, &mut written).await {
        Ok(()) => run(catalog, table, &changes, options, &mut written).await,
        Err(error) => Err(Failure::Certain(error)),
    };
    match result {
        Ok(committed) => {
            written.delete_leftovers(&committed).await;
            Ok(committed)
        }
        Err(Failure::Unknown(error)) => Err(error),
        Err(Failure::Certain(error)) => {
            let data_files = if options.cleanup_data_files { changes.added_paths() } else { Vec::new() };
            written.delete_all(data_files).await;
            Err(error)
        }
    }
}

/// Why a commit did not come back with a table, and with that, what may be done with its files.
enum Failure {
    /// It has not taken effect and never will.
    Certain(Error),
    /// It may have taken effect, or may yet.
    Unknown(Error),
}

/// Attempts until one is decided.
async fn run(
    catalog: &dyn Catalog,
    table: &Table,
    changes: &ChangeSet,
    options: &CommitOptions,
    written: &mut Written,
) -> Result<Table, Failure> {
    let mut retries = Retries::new(table.metadata.properties()).map_err(Failure::Certain)?;
    let mut current = match options.is_behind {
        true => outcome::reload(catalog, table).await.map_err(Failure::Certain)?,
        false => table.clone(),
    };
    loop {
        conflict::check(table, &current, changes).map_err(Failure::Certain)?;
        let attempt = Attempt::write(&current, changes, options, written).await.map_err(Failure::Certain)?;
        let Attempt { requirements, updates } = attempt;
        let answer = catalog.commit_table(&table.ident, requirements, updates).await;
        let conflict = match outcome::of(answer) {
            Outcome::Committed(committed) => return Ok(committed),
            Outcome::Failed(error) => return Err(Failure::Certain(error)),
            Outcome::Unknown(error) => return outcome::resolve(catalog, table, written.snapshot_id(), error).await,
            Outcome::Conflict(error) => error,
        };
        // A request that was repeated on the way conflicts with itself: look before concluding that others won.
        current = outcome::reload(catalog, table).await.map_err(outcome::of_reload)?;
        if outcome::holds(&current, written.snapshot_id()) {
            return Ok(current);
        }
        if !retries.wait().await {
            return Err(Failure::Certain(conflict));
        }
        tracing::debug!(table = %table.ident, "commit lost to another writer, trying again on its snapshot");
    }
}
