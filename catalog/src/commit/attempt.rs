//! One attempt: a manifest list and a snapshot on the current parent, and what the catalog is asked to do.

use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::spec::{
    FormatVersion, MAIN_BRANCH, ManifestFile, ManifestListWriter, Snapshot, SnapshotReference, SnapshotRetention,
    TableMetadata,
};
use iceberg::{TableRequirement, TableUpdate};

use crate::metadata_cache::{Room, read_manifest_list};
use crate::{Error, Result, Table};

use super::change::{ChangeSet, CommitOptions};
use super::manifests::{Written, cannot_encode, compressed};
use super::{merge, summary};

const SCRATCH: &str = "memory:///scratch";

/// What the catalog is asked to do.
pub(super) struct Attempt {
    pub(super) updates: Vec<TableUpdate>,
}

/// What must still be so when the catalog does it: the table is the same, and so is its main branch.
pub(super) fn requirements(current: &Table) -> Vec<TableRequirement> {
    let metadata = &current.metadata;
    vec![
        TableRequirement::UuidMatch { uuid: metadata.uuid() },
        TableRequirement::RefSnapshotIdMatch {
            r#ref: MAIN_BRANCH.to_string(),
            snapshot_id: metadata.current_snapshot_id(),
        },
    ]
}

impl Attempt {
    /// Writes a manifest list of the new manifests and those of the current snapshot. `branch` is the table whose main branch is
    /// kept as long as it was; `current` that table, or what is made of it first.
    pub(super) async fn write(
        branch: &Table,
        current: &Table,
        changes: &ChangeSet,
        options: &CommitOptions,
        written: &mut Written,
    ) -> Result<Self> {
        let metadata = &current.metadata;
        let kept = existing_manifests(current, options).await?;
        let kept = merge::small_manifests(current, kept, written).await?;
        // New manifests come first, as in lists that the Java library writes.
        let manifests = written.added.iter().cloned().chain(kept).collect();
        let location = written.new_list();
        let list = encode_list(metadata, written.snapshot_id(), manifests);
        let list = list.map_err(|error| cannot_encode(current, "manifest list", error))?;
        current.storage.write(&location, list.bytes).await?;

        let builder = Snapshot::builder()
            .with_snapshot_id(written.snapshot_id())
            .with_parent_snapshot_id(metadata.current_snapshot_id())
            .with_sequence_number(metadata.next_sequence_number())
            // Never before the parent, whatever the clocks of its writer and ours say.
            .with_timestamp_ms(chrono::Utc::now().timestamp_millis().max(metadata.last_updated_ms()))
            .with_manifest_list(location)
            .with_summary(summary::summarise(current, changes)?)
            .with_schema_id(metadata.current_schema_id());
        let snapshot = match list.assigned_rows {
            Some(rows) => builder.with_row_range(metadata.next_row_id(), rows).build(),
            None => builder.build(),
        };
        let reference = SnapshotReference::new(snapshot.snapshot_id(), main_retention(&branch.metadata)?);
        Ok(Self {
            updates: vec![
                TableUpdate::AddSnapshot { snapshot },
                TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.to_string(), reference },
            ],
        })
    }
}

/// The manifests of the current snapshot that still hold live files.
async fn existing_manifests(current: &Table, options: &CommitOptions) -> Result<Vec<ManifestFile>> {
    let metadata = &current.metadata;
    let Some(parent) = metadata.current_snapshot() else { return Ok(Vec::new()) };
    let entries = match &options.cache {
        Some(cache) => cache.manifest_list(&current.storage, metadata, parent).await?.entries().to_vec(),
        None => {
            let list = read_manifest_list(&current.storage, metadata, parent, &Room::default()).await?;
            list.consume_entries().into_iter().collect()
        }
    };
    Ok(entries.into_iter().filter(|file| file.has_added_files() || file.has_existing_files()).collect())
}

struct EncodedList {
    bytes: Bytes,
    /// Row ids given to manifests of this list; none below version 3.
    assigned_rows: Option<u64>,
}

fn encode_list(
    metadata: &TableMetadata,
    snapshot_id: i64,
    manifests: Vec<ManifestFile>,
) -> iceberg::Result<EncodedList> {
    let scratch = FileIO::new_with_memory();
    let output = futures::executor::block_on(scratch.new_output(SCRATCH)?.writer())?;
    let (parent, sequence_number) = (metadata.current_snapshot_id(), metadata.next_sequence_number());
    let first_row_id = metadata.next_row_id();
    let mut writer = match metadata.format_version() {
        FormatVersion::V1 => ManifestListWriter::v1(output, snapshot_id, parent),
        FormatVersion::V2 => ManifestListWriter::v2(output, snapshot_id, parent, sequence_number),
        FormatVersion::V3 => ManifestListWriter::v3(output, snapshot_id, parent, sequence_number, Some(first_row_id)),
    };
    writer.add_manifests(manifests.into_iter())?;
    let assigned_rows = writer.next_row_id().map(|next| next - first_row_id);
    futures::executor::block_on(writer.close())?;
    let bytes = futures::executor::block_on(scratch.new_input(SCRATCH)?.read())?;
    Ok(EncodedList { bytes: compressed(bytes)?, assigned_rows })
}

/// How long the main branch's snapshots are kept: as before, since setting the branch would otherwise forget it.
fn main_retention(metadata: &TableMetadata) -> Result<SnapshotRetention> {
    /// The part of a metadata file that `TableMetadata` does not show.
    #[derive(serde::Deserialize)]
    struct Refs {
        #[serde(default)]
        refs: std::collections::HashMap<String, SnapshotReference>,
    }
    let unreadable = |error: serde_json::Error| Error::Internal(format!("table metadata cannot be written: {error}"));
    if metadata.current_snapshot().is_none() {
        return Ok(SnapshotRetention::branch(None, None, None));
    }
    let json = serde_json::to_vec(metadata).map_err(unreadable)?;
    let mut refs: Refs = serde_json::from_slice(&json).map_err(unreadable)?;
    Ok(refs.refs.remove(MAIN_BRANCH).map_or_else(|| SnapshotRetention::branch(None, None, None), |main| main.retention))
}
