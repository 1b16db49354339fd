//! The summary of a new snapshot: what it adds, and the table's totals after it.

use std::collections::{HashMap, HashSet};

use iceberg::spec::{DataFile, Struct, Summary, TableMetadata};

use crate::{Result, Table};

use super::change::ChangeSet;

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
    entries.extend(added(changes));
    add_totals(&mut entries, metadata);
    entries.insert("engine-name".to_string(), "polynya".to_string());
    entries.insert("engine-version".to_string(), env!("CARGO_PKG_VERSION").to_string());
    Ok(Summary { operation: changes.operation.clone(), additional_properties: entries })
}

/// What the added files come to. Counted here: iceberg's collector writes partitions as paths to tell them apart, which
/// panics on timestamps before 1970.
fn added(changes: &ChangeSet) -> HashMap<String, String> {
    let files = &changes.added_data_files;
    let partitions: HashSet<&Struct> = files.iter().map(DataFile::partition).collect();
    let entries = [
        ("added-data-files", files.len() as u64),
        ("added-records", files.iter().map(DataFile::record_count).sum()),
        ("added-files-size", files.iter().map(DataFile::file_size_in_bytes).sum()),
        ("changed-partition-count", partitions.len() as u64),
    ];
    entries.into_iter().map(|(name, count)| (name.to_string(), count.to_string())).collect()
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
