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
mod gate;
mod manifests;
mod merge;
mod outcome;
mod replace;
mod retry;
mod summary;
#[cfg(test)]
mod tests;

use iceberg::spec::Operation;
use iceberg::{TableRequirement, TableUpdate};

use crate::{Catalog, Error, Result, Table};

use self::attempt::Attempt;
pub use self::change::{ChangeSet, CommitOptions, Target};
#[cfg(test)]
pub(crate) use self::faulty_catalog::file_at;
pub use self::gate::{CommitGate, CommitIdentity};
use self::manifests::Written;
pub use self::manifests::metadata_folder;
use self::outcome::Outcome;
use self::replace::Replaced;
pub use self::replace::with_columns;
use self::retry::Retries;

/// Commits a change set to a table, on top of whatever other writers commit first.
///
/// `table` is the state that the change was computed from. Returns the table as committed. A change set that changes nothing
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
    if changes.is_empty() && changes.operation == Operation::Append {
        return Ok(table.clone());
    }
    let mut written = Written::new(table, options.identity);
    let result = match write_added(table, &changes, &mut written).await {
        Ok(base) => run(catalog, table, &base, &changes, options, &mut written).await,
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

/// Writes what every attempt needs. Returns the table that the files were written for.
async fn write_added(table: &Table, changes: &ChangeSet, written: &mut Written) -> Result<Table> {
    let base = Ground::of(table, changes)?.table;
    conflict::check_supported(&base, changes)?;
    manifests::write_added(&base, changes, written).await?;
    Ok(base)
}

/// Why a commit did not come back with a table, and with that, what may be done with its files.
enum Failure {
    /// It has not taken effect and never will.
    Certain(Error),
    /// It may have taken effect, or may yet.
    Unknown(Error),
}

/// What the new snapshot is put on: the table, or what is made of it first.
struct Ground {
    table: Table,
    updates: Vec<TableUpdate>,
    requirements: Vec<TableRequirement>,
}

impl Ground {
    fn of(current: &Table, changes: &ChangeSet) -> Result<Self> {
        match &changes.target {
            Target::Existing | Target::Staged => {
                Ok(Self { table: current.clone(), updates: Vec::new(), requirements: Vec::new() })
            }
            Target::Replaced(columns) => {
                let Replaced { table, updates, requirements } = replace::replaced(current, columns)?;
                Ok(Self { table, updates, requirements })
            }
        }
    }
}

/// Attempts until one is decided. `base` is what the files were written for.
async fn run(
    catalog: &dyn Catalog,
    table: &Table,
    base: &Table,
    changes: &ChangeSet,
    options: &CommitOptions,
    written: &mut Written,
) -> Result<Table, Failure> {
    let mut retries = Retries::new(table.metadata.properties()).map_err(Failure::Certain)?;
    let mut current = match options.is_behind && !matches!(changes.target, Target::Staged) {
        true => outcome::reload(catalog, table).await.map_err(Failure::Certain)?,
        false => table.clone(),
    };
    loop {
        let ground = Ground::of(&current, changes).map_err(Failure::Certain)?;
        conflict::check(base, &ground.table, changes).map_err(Failure::Certain)?;
        let attempt = Attempt::write(&current, &ground.table, changes, options, written).await;
        let attempt = attempt.map_err(Failure::Certain)?;
        let updates = ground.updates.into_iter().chain(attempt.updates).collect();
        if let Some(gate) = &options.gate {
            gate.begin().await.map_err(Failure::Certain)?;
        }
        let answer = match changes.target {
            Target::Staged => catalog.create_staged(table, updates).await,
            Target::Existing | Target::Replaced(_) => {
                let requirements = attempt::requirements(&current).into_iter().chain(ground.requirements).collect();
                catalog.commit_table(&table.ident, requirements, updates).await
            }
        };
        let conflict = match outcome::of(answer) {
            Outcome::Committed(committed) => return Ok(committed),
            Outcome::Failed(error) => return Err(Failure::Certain(error)),
            Outcome::Unknown(error) => return outcome::resolve(catalog, table, written.snapshot_id(), error).await,
            Outcome::Conflict(error) => error,
        };
        // A request that was repeated on the way conflicts with itself: look before concluding that others won.
        let reloaded = outcome::reload(catalog, table).await;
        current = reloaded.map_err(|error| outcome::of_reload(table, error))?;
        if outcome::holds(&current, written.snapshot_id()) {
            return Ok(current);
        }
        if matches!(changes.target, Target::Staged) {
            let exists = Error::TableExists { catalog: table.catalog.clone(), table: table.ident.to_string() };
            return Err(Failure::Certain(exists));
        }
        if let Some(gate) = &options.gate {
            gate.lost();
        }
        if !retries.wait().await {
            return Err(Failure::Certain(conflict));
        }
        tracing::debug!(table = %table.ident, "commit lost to another writer, trying again on its snapshot");
    }
}
