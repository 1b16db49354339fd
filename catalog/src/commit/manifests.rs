//! Writes manifests, and remembers every file that a commit has written.
//!
//! Manifests of added files leave their sequence number and first row id to the manifest list, so that the same manifests
//! serve every attempt. They are written without a word to the catalog.

use std::collections::HashMap;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use iceberg::io::FileIO;
use iceberg::spec::{DataFile, FormatVersion, ManifestFile, ManifestWriter, ManifestWriterBuilder};
use iceberg::spec::{PartitionSpec, SchemaRef, TableMetadata};
use uuid::Uuid;

use crate::metadata_cache::avro::deflated;
use crate::{Error, Result, Table};

use super::change::ChangeSet;
use super::conflict;
use super::gate::CommitIdentity;
use super::retry::parse;

const TARGET_BYTES_DEFAULT: u64 = 8 << 20;
/// By how much deflate shrinks a manifest, at the least.
const DEFLATE_FACTOR: u64 = 3;
/// Manifests written at once.
const WRITE_CONCURRENCY: usize = 4;
/// Where `iceberg`'s writers put their bytes before we store them.
const SCRATCH: &str = "memory:///scratch";

/// The identity of a commit, and the metadata files that it has written.
pub(super) struct Written {
    table: Table,
    snapshot_id: i64,
    commit_id: Uuid,
    folder: String,
    next_manifest: usize,
    next_list: usize,
    /// Manifests of added files, as every attempt's manifest list will hold them.
    pub(super) added: Vec<ManifestFile>,
    /// Merged manifests, by the locations of what they were merged from.
    pub(super) merged: HashMap<Vec<String>, Vec<ManifestFile>>,
    manifests: Vec<String>,
    lists: Vec<String>,
}

impl Written {
    pub(super) fn new(table: &Table, identity: Option<CommitIdentity>) -> Self {
        let identity = identity.unwrap_or_else(|| CommitIdentity::new_to(&table.metadata));
        Self {
            table: table.clone(),
            snapshot_id: identity.snapshot_id,
            commit_id: identity.change_id,
            folder: metadata_folder(&table.metadata),
            next_manifest: 0,
            next_list: 0,
            added: Vec::new(),
            merged: HashMap::new(),
            manifests: Vec::new(),
            lists: Vec::new(),
        }
    }

    pub(super) fn snapshot_id(&self) -> i64 {
        self.snapshot_id
    }

    pub(super) fn new_manifest(&mut self) -> String {
        let location = format!("{}/{}-m{}.avro", self.folder, self.commit_id, self.next_manifest);
        self.next_manifest += 1;
        self.manifests.push(location.clone());
        location
    }

    pub(super) fn new_list(&mut self) -> String {
        let location = format!("{}/snap-{}-{}-{}.avro", self.folder, self.snapshot_id, self.next_list, self.commit_id);
        self.next_list += 1;
        self.lists.push(location.clone());
        location
    }

    /// After success: deletes what lost attempts wrote and the committed snapshot does not use. Best effort.
    pub(super) async fn delete_leftovers(&self, committed: &Table) {
        let Some(snapshot) = committed.metadata.snapshot_by_id(self.snapshot_id) else { return };
        let unused = self.lists.iter().filter(|list| *list != snapshot.manifest_list()).cloned().collect();
        self.delete(unused).await;
    }

    /// After a certain failure: deletes everything written, and `others`. Best effort.
    pub(super) async fn delete_all(&self, others: Vec<String>) {
        self.delete(self.lists.iter().chain(&self.manifests).cloned().chain(others).collect()).await;
    }

    async fn delete(&self, locations: Vec<String>) {
        if let Err(error) = self.table.storage.delete_all(locations).await {
            tracing::warn!(table = %self.table.ident, "files of a lost commit attempt are left behind: {error}");
        }
    }
}

/// The folder of a table's metadata files, without a slash at its end.
pub fn metadata_folder(metadata: &TableMetadata) -> String {
    match metadata.properties().get("write.metadata.path") {
        Some(path) => path.trim_end_matches('/').to_string(),
        None => format!("{}/metadata", metadata.location().trim_end_matches('/')),
    }
}

/// Writes the manifests of the added files: as many as keep each near `commit.manifest.target-size-bytes`.
pub(super) async fn write_added(table: &Table, changes: &ChangeSet, written: &mut Written) -> Result<()> {
    if changes.added_data_files.is_empty() {
        return Ok(());
    }
    let metadata = &table.metadata;
    let spec_id = conflict::spec_id(table, changes);
    let spec = metadata
        .partition_spec_by_id(spec_id)
        .ok_or_else(|| Error::invalid(format!("table {} has no partition spec {spec_id}", table.ident)))?;
    let format = Format {
        version: metadata.format_version(),
        schema: metadata.current_schema().clone(),
        spec: spec.as_ref().clone(),
        snapshot_id: written.snapshot_id,
    };
    let mut writes = Vec::new();
    for files in split(&changes.added_data_files, target_bytes(metadata)?) {
        let (location, format) = (written.new_manifest(), format.clone());
        writes.push(async move {
            let fill = move |writer: &mut ManifestWriter| {
                files.into_iter().try_for_each(|file| writer.add_file(file, UNASSIGNED))
            };
            write_manifest(table, location, format, fill).await
        });
    }
    written.added = futures::stream::iter(writes).buffered(WRITE_CONCURRENCY).try_collect().await?;
    Ok(())
}

/// Tells `iceberg`'s writer that the manifest list assigns the sequence number.
const UNASSIGNED: i64 = -1;

pub(super) fn target_bytes(metadata: &TableMetadata) -> Result<u64> {
    Ok(parse(metadata.properties(), "commit.manifest.target-size-bytes", TARGET_BYTES_DEFAULT)?.max(1))
}

/// Cuts the files, in order, into runs that make manifests of about `target_bytes`.
fn split(files: &[DataFile], target_bytes: u64) -> Vec<Vec<DataFile>> {
    let mut runs = Vec::new();
    let (mut run, mut run_bytes) = (Vec::new(), 0);
    for file in files {
        let bytes = entry_bytes(file) / DEFLATE_FACTOR;
        if run_bytes + bytes > target_bytes && !run.is_empty() {
            runs.push(std::mem::take(&mut run));
            run_bytes = 0;
        }
        run_bytes += bytes;
        run.push(file.clone());
    }
    runs.push(run);
    runs
}

/// About what a file's entry takes in a manifest, before compression.
fn entry_bytes(file: &DataFile) -> u64 {
    let counts = [file.column_sizes(), file.value_counts(), file.null_value_counts(), file.nan_value_counts()];
    let counts: usize = counts.iter().map(|map| map.len() * 6).sum();
    let bounds = file.lower_bounds().values().chain(file.upper_bounds().values());
    let bounds: usize = bounds.map(|bound| 4 + bound.to_bytes().map_or(8, |bytes| bytes.len())).sum();
    (64 + file.file_path().len() + counts + bounds + file.split_offsets().map_or(0, |o| o.len() * 5)) as u64
}

/// What a manifest's header states.
#[derive(Clone)]
pub(super) struct Format {
    pub(super) version: FormatVersion,
    pub(super) schema: SchemaRef,
    pub(super) spec: PartitionSpec,
    pub(super) snapshot_id: i64,
}

/// Encodes a manifest of data files on a thread that may block, compresses it, and stores it.
pub(super) async fn write_manifest(
    table: &Table,
    location: String,
    format: Format,
    fill: impl FnOnce(&mut ManifestWriter) -> iceberg::Result<()> + Send + 'static,
) -> Result<ManifestFile> {
    let encoded = tokio::task::spawn_blocking(move || encode(format, fill)).await;
    let (mut file, bytes) = match encoded {
        Ok(Ok(encoded)) => encoded,
        Ok(Err(error)) => return Err(cannot_encode(table, "manifest", error)),
        Err(error) => {
            return Err(Error::Internal(format!("a manifest of table {} was not encoded: {error}", table.ident)));
        }
    };
    file.manifest_path.clone_from(&location);
    file.manifest_length = bytes.len() as i64;
    table.storage.write(&location, bytes).await?;
    Ok(file)
}

fn encode(
    format: Format,
    fill: impl FnOnce(&mut ManifestWriter) -> iceberg::Result<()>,
) -> iceberg::Result<(ManifestFile, Bytes)> {
    let scratch = FileIO::new_with_memory();
    let output = scratch.new_output(SCRATCH)?;
    let builder = ManifestWriterBuilder::new(output, Some(format.snapshot_id), format.schema, format.spec);
    let mut writer = match format.version {
        FormatVersion::V1 => builder.build_v1(),
        FormatVersion::V2 => builder.build_v2_data(),
        FormatVersion::V3 => builder.build_v3_data(),
    };
    fill(&mut writer)?;
    let file = futures::executor::block_on(writer.write_manifest_file())?;
    let bytes = futures::executor::block_on(scratch.new_input(SCRATCH)?.read())?;
    Ok((file, compressed(bytes)?))
}

pub(super) fn compressed(bytes: Bytes) -> iceberg::Result<Bytes> {
    deflated(bytes).map_err(|error| {
        iceberg::Error::new(iceberg::ErrorKind::Unexpected, "a metadata file cannot be compressed").with_source(error)
    })
}

pub(super) fn cannot_encode(table: &Table, kind: &str, source: iceberg::Error) -> Error {
    Error::Invalid {
        message: format!("a {kind} of table {} cannot be written", table.ident),
        source: Some(Box::new(source)),
    }
}
