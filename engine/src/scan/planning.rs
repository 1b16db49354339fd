//! From a snapshot to the data files that a scan must open.
//!
//! In: a pinned table and filters. Out: a [`Selection`]. Reads manifest lists and manifests (cached), never data files.
//! Manifests are first judged by their partition summaries; those left are fetched concurrently and decoded in parallel.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::Expr;
use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{ManifestContentType, ManifestFile};
use polynya_catalog::MetadataCache;

use super::manifest::{FileEntry, ManifestColumns};
use super::manifest_cache::ManifestCache;
use super::manifest_list::summaries;
use super::pruning::Pruner;
use crate::pin::PinnedTable;
use crate::query::QueryContext;
use crate::{Error, Result};

/// Manifests fetched at once.
const CONCURRENT_MANIFESTS: usize = 32;

/// The data files that a scan must open, with what planning counted.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// Each manifest that has a selected file, with the positions of those files.
    pub(crate) manifests: Vec<(Arc<ManifestColumns>, Vec<usize>)>,
    pub(crate) counts: SelectionCounts,
}

/// What planning considered and what it left out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SelectionCounts {
    pub(crate) manifests_considered: u64,
    pub(crate) manifests_pruned: u64,
    pub(crate) files_considered: u64,
    pub(crate) files_pruned: u64,
}

impl Selection {
    /// The selected files, in manifest order.
    pub(crate) fn files(&self) -> impl Iterator<Item = &FileEntry> {
        self.manifests
            .iter()
            .flat_map(|(manifest, positions)| positions.iter().map(|position| &manifest.files[*position]))
    }

    /// Sizes of the selected files, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.files().map(|file| file.size_bytes).sum()
    }
}

/// Selects the files of a pinned snapshot that may hold rows that pass every filter.
pub(crate) async fn select_files(
    table: &PinnedTable,
    filters: &[Expr],
    schema: &SchemaRef,
    metadata: &MetadataCache,
    manifests: &ManifestCache,
    query: &QueryContext,
) -> Result<Selection> {
    let Some(snapshot) = table.snapshot() else { return Ok(Selection::default()) };
    let list = metadata.manifest_list(table.storage(), table.metadata(), snapshot).await?;
    let pruner = Pruner::new(filters, schema, &ExecutionProps::new());
    let (deletes, data): (Vec<&ManifestFile>, Vec<&ManifestFile>) = list
        .entries()
        .iter()
        .filter(|file| may_be_live(file))
        .partition(|file| file.content == ManifestContentType::Deletes);
    refuse_deletes(table, &deletes, manifests).await?;

    let mut selection = Selection::default();
    let kept = keep_manifests(table, &data, &pruner, &mut selection.counts);
    let fetches: Vec<_> = kept.into_iter().map(|file| manifests.get(table.storage(), file)).collect();
    let fetched: Vec<Arc<ManifestColumns>> =
        futures::stream::iter(fetches).buffered(CONCURRENT_MANIFESTS).try_collect().await?;
    for manifest in fetched {
        let keep = pruner.keep(&manifest.statistics);
        let positions: Vec<usize> = (0..manifest.files.len()).filter(|position| keep[*position]).collect();
        selection.counts.files_considered += manifest.files.len() as u64;
        selection.counts.files_pruned += (manifest.files.len() - positions.len()) as u64;
        if !positions.is_empty() {
            selection.manifests.push((manifest, positions));
        }
    }
    if let Some((file, feature)) = selection.files().find_map(|file| Some((file, file.unreadable?))) {
        return Err(unreadable(table, file, feature));
    }
    count(query, &selection);
    Ok(selection)
}

/// A manifest without live entries has nothing to say. Counts that are missing mean "not zero" (spec, manifest lists).
fn may_be_live(file: &ManifestFile) -> bool {
    file.added_files_count != Some(0) || file.existing_files_count != Some(0)
}

/// The manifests whose partition summaries do not rule them out, in the list's order.
fn keep_manifests<'a>(
    table: &PinnedTable,
    data: &[&'a ManifestFile],
    pruner: &Pruner,
    counts: &mut SelectionCounts,
) -> Vec<&'a ManifestFile> {
    let mut by_spec: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
    for (position, file) in data.iter().enumerate() {
        by_spec.entry(file.partition_spec_id).or_default().push(position);
    }
    let mut keep = vec![true; data.len()];
    for (spec_id, positions) in by_spec {
        let Some(spec) = table.metadata().partition_spec_by_id(spec_id) else { continue };
        let files: Vec<&ManifestFile> = positions.iter().map(|position| data[*position]).collect();
        let judged = pruner.keep(&summaries(&files, spec, table.iceberg_schema()));
        positions.iter().zip(judged).for_each(|(position, judged)| keep[*position] = judged);
    }
    counts.manifests_considered += data.len() as u64;
    let (kept, pruned): (Vec<_>, Vec<_>) = data.iter().zip(keep).partition(|(_, keep)| *keep);
    counts.manifests_pruned += pruned.len() as u64;
    let pruned_files: u64 = pruned.iter().map(|(file, _)| live_files(file)).sum();
    counts.files_considered += pruned_files;
    counts.files_pruned += pruned_files;
    kept.into_iter().map(|(file, _)| *file).collect()
}

fn live_files(file: &ManifestFile) -> u64 {
    u64::from(file.added_files_count.unwrap_or(0)) + u64::from(file.existing_files_count.unwrap_or(0))
}

/// Rows deleted by files that are not applied yet would come back: such a table is refused.
async fn refuse_deletes(table: &PinnedTable, deletes: &[&ManifestFile], manifests: &ManifestCache) -> Result<()> {
    for file in deletes {
        let manifest = manifests.get(table.storage(), file).await?;
        if let Some(file) = manifest.files.first() {
            return Err(unreadable(table, file, file.unreadable.unwrap_or("delete files")));
        }
    }
    Ok(())
}

fn unreadable(table: &PinnedTable, file: &FileEntry, feature: &str) -> Error {
    Error::unsupported(format!("reading table {} (file {})", table.name(), file.location), feature)
}

fn count(query: &QueryContext, selection: &Selection) {
    let planning = query.planning();
    let add = |counter: &std::sync::atomic::AtomicU64, value: u64| counter.fetch_add(value, Ordering::Relaxed);
    add(&planning.manifests_considered, selection.counts.manifests_considered);
    add(&planning.manifests_pruned, selection.counts.manifests_pruned);
    add(&planning.files_considered, selection.counts.files_considered);
    add(&planning.files_pruned, selection.counts.files_pruned);
    add(&planning.bytes_to_read, selection.bytes());
}
