//! The summary of a new snapshot: what it adds, and the table's totals after it.

use std::collections::HashMap;

use iceberg::spec::{SnapshotSummaryCollector, Summary, TableMetadata};

use crate::{Result, Table};

use super::change::ChangeSet;
use super::conflict;
use super::retry::parse;

/// Each total, what adds to it, and what takes from it.
const TOTALS: [(&str, &str, &str); 6] = [
    ("total-data-files", "added-data-files", "deleted-data-files"),
    ("total-delete-files", "added-delete-files", "removed-delete-files"),
    ("total-records", "added-records", "deleted-records"),
    ("total-files-size", "added-files-size", "removed-files-size"),
    ("total-position-deletes", "added-position-deletes", "removed-position-deletes"),
    ("total-equality-deletes", "added-equality-deletes", "removed-equality-deletes"),
];

/// The summary of `changes` on top of the table's current snapshot.
pub(super) fn summarise(current: &Table, changes: &ChangeSet) -> Result<Summary> {
    let metadata = &current.metadata;
    let mut entries = changes.summary.clone();
    entries.extend(added(metadata, changes, conflict::spec_id(current, changes))?);
    add_totals(&mut entries, metadata);
    entries.insert("engine-name".to_string(), "polynya".to_string());
    entries.insert("engine-version".to_string(), env!("CARGO_PKG_VERSION").to_string());
    Ok(Summary { operation: changes.operation.clone(), additional_properties: entries })
}

fn added(metadata: &TableMetadata, changes: &ChangeSet, spec_id: i32) -> Result<HashMap<String, String>> {
    let mut collector = SnapshotSummaryCollector::default();
    collector.set_partition_summary_limit(parse(metadata.properties(), "write.summary.partition-limit", 0)?);
    // Checked before: the spec is in the metadata.
    let spec = metadata.partition_spec_by_id(spec_id).unwrap_or_else(|| metadata.default_partition_spec());
    for file in &changes.added_data_files {
        collector.add_file(file, metadata.current_schema().clone(), spec.clone());
    }
    let mut entries = collector.build();
    // The collector counts partitions of partitioned tables only; elsewhere, the table is one partition.
    entries.entry("changed-partition-count".to_string()).or_insert_with(|| "1".to_string());
    Ok(entries)
}

/// Totals follow from the parent's. One that the parent does not state is not known, and is left out.
fn add_totals(entries: &mut HashMap<String, String>, metadata: &TableMetadata) {
    for (total, adds, takes) in TOTALS {
        let before = match metadata.current_snapshot() {
            None => Some(0),
            Some(parent) => count(&parent.summary().additional_properties, total),
        };
        let change = |name| count(entries, name).unwrap_or(0);
        let after = before.and_then(|before| before.checked_add(change(adds))?.checked_sub(change(takes)));
        match after {
            Some(after) => entries.insert(total.to_string(), after.to_string()),
            None => entries.remove(total),
        };
    }
}

fn count(entries: &HashMap<String, String>, name: &str) -> Option<u64> {
    entries.get(name)?.parse().ok()
}
