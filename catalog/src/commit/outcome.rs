//! Finds out what became of a commit, and never guesses.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};

use crate::{Catalog, Error, Result, Table};

use super::Failure;

/// Time for all attempts to reload a table.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(10);

/// What a catalog's answer to a commit means.
pub(super) enum Outcome {
    Committed(Table),
    /// Another writer was first. Nothing happened.
    Conflict(Error),
    /// The catalog refused. Nothing happened.
    Failed(Error),
    /// It may have happened.
    Unknown(Error),
}

/// Reads the answer. Only errors that a catalog gives before it commits are taken as failures.
pub(super) fn of(answer: Result<Table>) -> Outcome {
    match answer {
        Ok(table) => Outcome::Committed(table),
        Err(error @ Error::CommitConflict { .. }) => Outcome::Conflict(error),
        Err(
            error @ (Error::AccessDenied { .. }
            | Error::Invalid { .. }
            | Error::NamespaceNotFound { .. }
            | Error::NotCommitted { .. }
            | Error::Settings { .. }
            | Error::TableExists { .. }
            | Error::TableNotFound { .. }
            | Error::Unsupported { .. }),
        ) => Outcome::Failed(error),
        Err(error) => Outcome::Unknown(error),
    }
}

/// After an unknown outcome: committed if our snapshot is there, else still unknown.
///
/// A table without our snapshot proves nothing: the request may still be under way to the catalog.
pub(super) async fn resolve(
    catalog: &dyn Catalog,
    table: &Table,
    snapshot_id: i64,
    error: Error,
) -> Result<Table, Failure> {
    tracing::warn!(table = %table.ident, snapshot_id, "outcome of a commit is unknown, looking for its snapshot: {error}");
    match reload(catalog, table).await {
        Ok(current) if holds(&current, snapshot_id) => Ok(current),
        _ => Err(Failure::Unknown(as_unknown(table, error))),
    }
}

/// Whether our snapshot is in the table.
pub(super) fn holds(table: &Table, snapshot_id: i64) -> bool {
    table.metadata.snapshot_by_id(snapshot_id).is_some()
}

/// The table as it is now; tried a few times while the catalog is unavailable.
pub(super) async fn reload(catalog: &dyn Catalog, table: &Table) -> Result<Table> {
    let waits = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(5)
        .with_jitter();
    let load = || catalog.load_table(&table.ident);
    let reload = load.retry(waits).when(|error| matches!(error, Error::Unavailable { .. }));
    match tokio::time::timeout(RELOAD_TIMEOUT, reload).await {
        Ok(result) => result,
        Err(elapsed) => Err(Error::Unavailable {
            service: format!("catalog {}", table.catalog),
            action: format!("load table {}", table.ident),
            source: Box::new(elapsed),
        }),
    }
}

/// What it means for a commit that met a conflict that the table cannot be loaded.
pub(super) fn of_reload(table: &Table, error: Error) -> Failure {
    match error {
        // Dropped: there is nothing that the commit could be part of.
        gone @ (Error::TableNotFound { .. } | Error::NamespaceNotFound { .. }) => Failure::Certain(gone),
        other => Failure::Unknown(as_unknown(table, other)),
    }
}

fn as_unknown(table: &Table, error: Error) -> Error {
    match error {
        unknown @ Error::CommitUnknown { .. } => unknown,
        other => Error::CommitUnknown { table: table.ident.to_string(), source: Box::new(other) },
    }
}
