//! What a commit changes, and how it is made.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::spec::{DataFile, Operation, SchemaRef};

use super::gate::{CommitGate, CommitIdentity};
use crate::MetadataCache;

/// What a commit changes.
///
/// Only appends can be committed today: change sets that remove files or add delete files are refused, not ignored.
#[derive(Debug, Clone, Default)]
pub struct ChangeSet {
    /// What kind of change this is, as the snapshot's summary will say.
    pub operation: Operation,
    /// New data files, all written with one partition spec.
    pub added_data_files: Vec<DataFile>,
    /// New position or equality delete files, or deletion vectors.
    pub added_delete_files: Vec<DataFile>,
    /// Locations of data or delete files that the table no longer holds.
    pub removed_files: Vec<String>,
    /// The partition spec that the added files were written with; the table's default one if none.
    pub partition_spec_id: Option<i32>,
    /// Entries to add to the snapshot's summary. Computed entries win over these.
    pub summary: HashMap<String, String>,
    /// What the change does to the table besides.
    pub target: Target,
}

/// The table that a change is for.
#[derive(Debug, Clone, Default)]
pub enum Target {
    /// As it is.
    #[default]
    Existing,
    /// With these columns instead of its own, and without what it holds: see [`with_columns`](super::with_columns).
    Replaced(SchemaRef),
    /// Not there yet: it appears with its first snapshot, from [`Catalog::stage_table`](crate::Catalog::stage_table).
    Staged,
}

impl ChangeSet {
    /// New rows, and nothing else. The files were written with the table's default partition spec.
    pub fn append(added_data_files: Vec<DataFile>) -> Self {
        Self { operation: Operation::Append, added_data_files, ..Self::default() }
    }

    /// The same, for another target than a table as it is.
    #[must_use]
    pub fn to(self, target: Target) -> Self {
        Self { target, ..self }
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        let has_files =
            !(self.added_data_files.is_empty() && self.added_delete_files.is_empty() && self.removed_files.is_empty());
        !has_files && matches!(self.target, Target::Existing)
    }

    pub(super) fn added_paths(&self) -> Vec<String> {
        let added = self.added_data_files.iter().chain(&self.added_delete_files);
        added.map(|file| file.file_path().to_string()).collect()
    }
}

/// How a commit is made.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// Where the parent's manifest list is looked for first.
    pub cache: Option<Arc<MetadataCache>>,
    /// Whether the added files are deleted, too, when the commit has certainly failed.
    pub cleanup_data_files: bool,
    /// Whether others have certainly committed since the table was loaded: it is loaded again before the first attempt.
    pub is_behind: bool,
    /// What the files are called by; chosen now if it was not before.
    pub identity: Option<CommitIdentity>,
    /// Who may stop it before it begins.
    pub gate: Option<Arc<dyn CommitGate>>,
}
