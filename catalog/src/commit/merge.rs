//! Merges small manifests while appending, so that planning reads few large ones.
//!
//! As the Java library's merge append does: once a table has `commit.manifest-merge.min-count` small manifests of one
//! partition spec (default 100), they are rewritten into ones of about `commit.manifest.target-size-bytes`. Entries keep
//! their snapshot id, sequence numbers and row ids. What was merged for one attempt serves the next as long as the
//! manifests that it replaces are still there. Off with `commit.manifest-merge.enabled=false`.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{
    DataFile, DataFileBuilder, Manifest, ManifestContentType, ManifestFile, ManifestStatus, ManifestWriter, SchemaId,
};

use crate::metadata_cache::read_manifest;
use crate::{Error, Result, Table};

use super::manifests::{Format, Written, cannot_encode, target_bytes, write_manifest};
use super::retry::parse;

const MIN_COUNT_DEFAULT: u64 = 100;
/// Manifests read at once.
const READ_CONCURRENCY: usize = 16;

/// The same files in fewer manifests, if there are enough small ones.
pub(super) async fn small_manifests(
    current: &Table,
    manifests: Vec<ManifestFile>,
    written: &mut Written,
) -> Result<Vec<ManifestFile>> {
    let (mut manifests, reused) = reuse(manifests, written);
    let properties = current.metadata.properties();
    let enabled =
        properties.get("commit.manifest-merge.enabled").is_none_or(|value| !value.eq_ignore_ascii_case("false"));
    let min_count = parse(properties, "commit.manifest-merge.min-count", MIN_COUNT_DEFAULT)?.max(2);
    if enabled {
        for bin in bins(&manifests, target_bytes(&current.metadata)?, min_count) {
            let merged = merge(current, &bin, written).await?;
            let replaced: HashSet<&str> = bin.iter().map(|file| file.manifest_path.as_str()).collect();
            manifests.retain(|file| !replaced.contains(file.manifest_path.as_str()));
            written.merged.insert(bin.iter().map(|file| file.manifest_path.clone()).collect(), merged.clone());
            manifests.extend(merged);
        }
    }
    manifests.extend(reused);
    Ok(manifests)
}

/// Takes what earlier attempts merged, where all of its sources are still in the table.
fn reuse(mut manifests: Vec<ManifestFile>, written: &Written) -> (Vec<ManifestFile>, Vec<ManifestFile>) {
    let mut reused = Vec::new();
    for (sources, merged) in &written.merged {
        let there: HashSet<&str> = manifests.iter().map(|file| file.manifest_path.as_str()).collect();
        if sources.iter().all(|source| there.contains(source.as_str())) {
            manifests.retain(|file| !sources.contains(&file.manifest_path));
            reused.extend(merged.iter().cloned());
        }
    }
    (manifests, reused)
}

/// Runs of small manifests of one spec that together make about one of the target size. None if a spec has few.
fn bins(manifests: &[ManifestFile], target_bytes: u64, min_count: u64) -> Vec<Vec<ManifestFile>> {
    let mut by_spec: BTreeMap<i32, Vec<&ManifestFile>> = BTreeMap::new();
    for file in manifests {
        let small = (file.manifest_length.max(0) as u64) < target_bytes / 2;
        if small && file.content == ManifestContentType::Data && file.key_metadata.is_none() {
            by_spec.entry(file.partition_spec_id).or_default().push(file);
        }
    }
    let many = by_spec.into_values().filter(|files| files.len() as u64 >= min_count);
    many.flat_map(|files| runs(files, target_bytes)).filter(|run| run.len() > 1).collect()
}

fn runs(files: Vec<&ManifestFile>, target_bytes: u64) -> Vec<Vec<ManifestFile>> {
    let mut runs = vec![Vec::new()];
    let mut run_bytes = 0;
    for file in files {
        let bytes = file.manifest_length.max(0) as u64;
        if run_bytes + bytes > target_bytes {
            runs.push(Vec::new());
            run_bytes = 0;
        }
        run_bytes += bytes;
        if let Some(run) = runs.last_mut() {
            run.push(file.clone());
        }
    }
    runs
}

/// One entry that is kept: everything that was inherited is now written down.
struct Kept {
    file: DataFile,
    snapshot_id: i64,
    sequence_number: i64,
    file_sequence_number: i64,
}

/// Rewrites a bin: one manifest for each schema that its manifests were written with, as bounds are read by that schema.
async fn merge(current: &Table, bin: &[ManifestFile], written: &mut Written) -> Result<Vec<ManifestFile>> {
    let mut reads = Vec::with_capacity(bin.len());
    for file in bin {
        reads.push(async move { Ok::<_, Error>((file, read_manifest(&current.storage, file).await?)) });
    }
    let read: Vec<(&ManifestFile, Manifest)> =
        futures::stream::iter(reads).buffered(READ_CONCURRENCY).try_collect().await?;

    let mut by_schema: BTreeMap<SchemaId, (Format, Vec<Kept>)> = BTreeMap::new();
    for (file, manifest) in read {
        let header = manifest.metadata();
        let (_, kept) = by_schema.entry(header.schema_id).or_insert_with(|| {
            let format = Format {
                version: current.metadata.format_version(),
                schema: Arc::clone(&header.schema),
                spec: header.partition_spec.clone(),
                snapshot_id: written.snapshot_id(),
            };
            (format, Vec::new())
        });
        kept.extend(live_entries(current, file, &manifest)?);
    }
    let mut merged = Vec::new();
    for (format, kept) in by_schema.into_values().filter(|(_, kept)| !kept.is_empty()) {
        merged.push(write_manifest(current, written.new_manifest(), format, fill(kept)).await?);
    }
    Ok(merged)
}

fn fill(kept: Vec<Kept>) -> impl FnOnce(&mut ManifestWriter) -> iceberg::Result<()> {
    move |writer| {
        kept.into_iter().try_for_each(|entry| {
            let Kept { file, snapshot_id, sequence_number, file_sequence_number } = entry;
            writer.add_existing_file(file, snapshot_id, sequence_number, Some(file_sequence_number))
        })
    }
}

fn live_entries(current: &Table, source: &ManifestFile, manifest: &Manifest) -> Result<Vec<Kept>> {
    let mut next_row_id = source.first_row_id.and_then(|id| i64::try_from(id).ok());
    let mut kept = Vec::new();
    for entry in manifest.entries().iter().filter(|entry| entry.status != ManifestStatus::Deleted) {
        let (Some(snapshot_id), Some(sequence_number), Some(file_sequence_number)) =
            (entry.snapshot_id, entry.sequence_number, entry.file_sequence_number)
        else {
            return Err(Error::Malformed {
                location: source.manifest_path.clone(),
                kind: "manifest",
                source: format!("the entry of {} has no snapshot id or sequence number", entry.file_path()).into(),
            });
        };
        let mut file = entry.data_file.clone();
        // Spec, "first row id inheritance": files without one take theirs from the manifest, in order.
        if let (None, Some(id)) = (file.first_row_id(), next_row_id) {
            next_row_id = id.checked_add_unsigned(file.record_count());
            file = with_first_row_id(&file, source.partition_spec_id, id)
                .map_err(|error| cannot_encode(current, "manifest", error))?;
        }
        kept.push(Kept { file, snapshot_id, sequence_number, file_sequence_number });
    }
    Ok(kept)
}

fn with_first_row_id(file: &DataFile, spec_id: i32, first_row_id: i64) -> iceberg::Result<DataFile> {
    let mut builder = DataFileBuilder::default();
    builder
        .content(file.content_type())
        .file_path(file.file_path().to_string())
        .file_format(file.file_format())
        .partition(file.partition().clone())
        .partition_spec_id(spec_id)
        .record_count(file.record_count())
        .file_size_in_bytes(file.file_size_in_bytes())
        .column_sizes(file.column_sizes().clone())
        .value_counts(file.value_counts().clone())
        .null_value_counts(file.null_value_counts().clone())
        .nan_value_counts(file.nan_value_counts().clone())
        .lower_bounds(file.lower_bounds().clone())
        .upper_bounds(file.upper_bounds().clone())
        .key_metadata(file.key_metadata().map(<[u8]>::to_vec))
        .split_offsets(file.split_offsets().map(<[i64]>::to_vec))
        .equality_ids(file.equality_ids())
        .referenced_data_file(file.referenced_data_file())
        .content_offset(file.content_offset())
        .content_size_in_bytes(file.content_size_in_bytes())
        .first_row_id(Some(first_row_id));
    if let Some(id) = file.sort_order_id() {
        builder.sort_order_id(id);
    }
    builder.build().map_err(|error| {
        iceberg::Error::new(iceberg::ErrorKind::Unexpected, format!("{} cannot be described", file.file_path()))
            .with_source(error)
    })
}
