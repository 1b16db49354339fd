//! Requirements and updates, as a catalog applies them to the current metadata.

use iceberg::spec::{FormatVersion, TableMetadata, TableMetadataBuildResult};
use iceberg::{ErrorKind, TableIdent, TableRequirement, TableUpdate};

use crate::{Error, Result};

/// An `iceberg` error about what the caller asked for.
pub(super) fn invalid(error: iceberg::Error) -> Error {
    Error::Invalid { message: error.message().to_owned(), source: Some(error.into()) }
}

/// `CommitConflict`, naming the first requirement that does not hold.
pub(super) fn check(table: &TableIdent, current: &TableMetadata, requirements: &[TableRequirement]) -> Result<()> {
    for requirement in requirements {
        requirement.check(Some(current)).map_err(|error| Error::CommitConflict {
            table: table.to_string(),
            message: error.message().trim_start_matches("Requirement failed: ").to_owned(),
        })?;
    }
    Ok(())
}

/// The next metadata, or nothing if the updates change nothing. `from` is where the current metadata is.
pub(super) fn apply(
    table: &TableIdent,
    current: &TableMetadata,
    from: &str,
    updates: Vec<TableUpdate>,
) -> Result<Option<TableMetadataBuildResult>> {
    check_snapshots_are_next(table, current, &updates)?;
    let mut builder = current.clone().into_builder(Some(from.to_owned()));
    for update in updates {
        builder = update.apply(builder).map_err(|error| failed(table, error))?;
    }
    let result = builder.build().map_err(|error| failed(table, error))?;
    Ok(Some(result).filter(|result| !result.changes.is_empty()))
}

/// A new table's first metadata.
pub(super) fn created(table: &TableIdent, staged: &TableMetadata, updates: Vec<TableUpdate>) -> Result<TableMetadata> {
    if updates.is_empty() {
        return Ok(staged.clone());
    }
    let mut builder = staged.clone().into_builder(None);
    for update in updates {
        builder = update.apply(builder).map_err(|error| failed(table, error))?;
    }
    Ok(builder.build().map_err(|error| failed(table, error))?.metadata)
}

/// Whether metadata files that leave the log are deleted.
pub(super) fn deletes_old_metadata(metadata: &TableMetadata) -> bool {
    let property = metadata.properties().get("write.metadata.delete-after-commit.enabled");
    property.is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// A snapshot whose sequence number (or first row id) was taken meanwhile, by a commit to another branch for instance,
/// is a conflict: made again on the new state it can succeed.
fn check_snapshots_are_next(table: &TableIdent, current: &TableMetadata, updates: &[TableUpdate]) -> Result<()> {
    let conflict = |message: String| Err(Error::CommitConflict { table: table.to_string(), message });
    for update in updates {
        let TableUpdate::AddSnapshot { snapshot } = update else { continue };
        let (number, last) = (snapshot.sequence_number(), current.last_sequence_number());
        if current.format_version() != FormatVersion::V1 && number <= last && snapshot.parent_snapshot_id().is_some() {
            return conflict(format!("sequence number {number} is taken, the last one is {last}"));
        }
        let next_row_id = current.next_row_id();
        if snapshot.first_row_id().is_some_and(|first| first < next_row_id) {
            return conflict(format!("rows up to id {next_row_id} were added meanwhile"));
        }
    }
    Ok(())
}

fn failed(table: &TableIdent, error: iceberg::Error) -> Error {
    let message = error.message().to_owned();
    match error.kind() {
        ErrorKind::CatalogCommitConflicts => Error::CommitConflict { table: table.to_string(), message },
        ErrorKind::FeatureUnsupported => Error::Unsupported { what: format!("table {table}"), feature: message },
        _ => Error::Invalid {
            message: format!("table {table} cannot be changed so: {message}"),
            source: Some(error.into()),
        },
    }
}
