//! Decides whether a change that was computed from one state of a table may be committed on another.
//!
//! Row deltas, overwrites and rewrites will add their checks here (files that they remove are still there, no new file
//! matches what they read: as the Java library's `validate*` methods do). An append reads nothing, so that other
//! writers' rows never rule it out; only what its files were written *for* may have gone.

use std::collections::HashSet;

use iceberg::spec::{DataContentType, DataFile, Operation, StructType};

use crate::{Error, Result, Table};

use super::change::{ChangeSet, Target};

/// Fails for change sets that cannot be committed at all.
///
/// # Errors
/// `Unsupported` for what is not an append, `Invalid` for files that do not fit the table.
pub(super) fn check_supported(table: &Table, changes: &ChangeSet) -> Result<()> {
    if changes.operation != Operation::Append {
        return Err(unsupported(table, &format!("commits of kind {}", changes.operation.as_str())));
    }
    if !changes.added_delete_files.is_empty() {
        return Err(unsupported(table, "commits that add delete files"));
    }
    if !changes.removed_files.is_empty() {
        return Err(unsupported(table, "commits that remove files"));
    }
    check_files(table, changes)
}

/// Fails if the change cannot be committed on the table's current state.
///
/// # Errors
/// `CommitConflict` names what another writer changed.
pub(super) fn check(base: &Table, current: &Table, changes: &ChangeSet) -> Result<()> {
    let conflict = |message: String| Error::CommitConflict { table: base.ident.to_string(), message };
    let (was, is) = (&base.metadata, &current.metadata);
    if was.uuid() != is.uuid() {
        return Err(conflict("it was dropped, and another table has its name".to_string()));
    }
    if was.format_version() > is.format_version() {
        return Err(conflict("its format version was lowered".to_string()));
    }
    let spec_id = spec_id(base, changes);
    if is.partition_spec_by_id(spec_id).is_none() {
        return Err(conflict(format!("partition spec {spec_id}, which the new files were written with, was removed")));
    }
    if let Target::Replaced(_) = changes.target {
        return match was.current_schema() == is.current_schema()
            && was.default_partition_spec_id() == is.default_partition_spec_id()
        {
            true => Ok(()),
            false => Err(conflict("its columns or partitions were changed while it was to be replaced".to_string())),
        };
    }
    let schema_id = was.current_schema_id();
    if is.schema_by_id(schema_id).is_none() {
        return Err(conflict(format!("schema {schema_id}, which the new files were written with, was removed")));
    }
    check_new_columns(base, current).map_err(conflict)
}

/// The spec of the added files.
pub(super) fn spec_id(base: &Table, changes: &ChangeSet) -> i32 {
    changes.partition_spec_id.unwrap_or_else(|| base.metadata.default_partition_spec_id())
}

/// A column that became required since, and has no default for rows written before, rules new files without it out.
fn check_new_columns(base: &Table, current: &Table) -> Result<(), String> {
    let (was, is) = (base.metadata.current_schema(), current.metadata.current_schema());
    let missing = is.as_struct().fields().iter().find(|column| {
        let written = was.field_by_id(column.id);
        column.required && column.initial_default.is_none() && written.is_none_or(|written| !written.required)
    });
    match missing {
        Some(column) => {
            Err(format!("column {} became required, and the new files may lack values for it", column.name))
        }
        None => Ok(()),
    }
}

fn check_files(table: &Table, changes: &ChangeSet) -> Result<()> {
    let metadata = &table.metadata;
    let spec_id = spec_id(table, changes);
    let spec = metadata.partition_spec_by_id(spec_id).ok_or_else(|| {
        Error::invalid(format!("table {} has no partition spec {spec_id}, which its new files name", table.ident))
    })?;
    let partition_type = spec.partition_type(metadata.current_schema()).map_err(|source| Error::Invalid {
        message: format!("files cannot be added to partition spec {spec_id} of table {}", table.ident),
        source: Some(Box::new(source)),
    })?;
    let mut paths = HashSet::new();
    for file in &changes.added_data_files {
        check_file(table, file, &partition_type)?;
        if !paths.insert(file.file_path()) {
            return Err(Error::invalid(format!("file {} is added to table {} twice", file.file_path(), table.ident)));
        }
    }
    Ok(())
}

fn check_file(table: &Table, file: &DataFile, partition_type: &StructType) -> Result<()> {
    let bad = |what: &str| {
        Error::invalid(format!("file {} cannot be added to table {}: {what}", file.file_path(), table.ident))
    };
    if file.content_type() != DataContentType::Data {
        return Err(bad("it is a delete file"));
    }
    let (values, fields) = (file.partition().fields(), partition_type.fields());
    if values.len() != fields.len() {
        return Err(bad(&format!(
            "it has {} partition values, and the spec has {} fields",
            values.len(),
            fields.len()
        )));
    }
    for (value, field) in values.iter().zip(fields) {
        let Some(value) = value else { continue };
        let literal = value.as_primitive_literal();
        let fits =
            field.field_type.as_primitive_type().zip(literal).is_some_and(|(kind, value)| kind.compatible(&value));
        if !fits {
            return Err(bad(&format!("its value for partition field {} is not a {}", field.name, field.field_type)));
        }
    }
    Ok(())
}

fn unsupported(table: &Table, feature: &str) -> Error {
    Error::Unsupported { what: format!("table {}", table.ident), feature: feature.to_string() }
}
