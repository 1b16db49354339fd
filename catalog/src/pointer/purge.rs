//! Which files a table's metadata reaches, and their deletion when it is dropped for good.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::Manifest;

use crate::metadata_cache::MetadataCache;
use crate::storage::Storage;
use crate::{Error, Result, Table};

/// Requests in flight at once.
const CONCURRENCY: usize = 16;

/// The files that a table's metadata reaches.
#[derive(Debug)]
pub(crate) struct ReachableFiles {
    data: Vec<String>,
    manifests: Vec<String>,
    /// Manifest lists, statistics, older metadata files.
    metadata: Vec<String>,
    /// The current metadata file, by which the others are found.
    root: String,
}

/// What a file is that should be there and is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// An error: files that it names may be there, and would not be found.
    Error,
    /// Deleted before, after all that it names: deleting is gone on with.
    Deleted,
}

impl ReachableFiles {
    pub(crate) fn all(self) -> impl Iterator<Item = String> {
        self.data.into_iter().chain(self.manifests).chain(self.metadata).chain([self.root])
    }
}

/// Fails for a table whose files are not ours to delete.
///
/// # Errors
/// `Invalid` names the property.
pub(super) fn check_is_ours(table: &Table) -> Result<()> {
    match table.metadata.properties().get("gc.enabled").is_some_and(|value| value.eq_ignore_ascii_case("false")) {
        true => Err(Error::invalid(format!(
            "table {} has gc.enabled = false, so its files are not ours to delete: drop it without PURGE",
            table.ident
        ))),
        false => Ok(()),
    }
}

/// Every file of every snapshot. Nothing is deleted yet.
pub(crate) async fn reachable_files(
    table: &Table,
    cache: &Arc<MetadataCache>,
    missing: Missing,
) -> Result<ReachableFiles> {
    let metadata = &table.metadata;
    let mut lists = BTreeSet::new();
    let mut manifests = Vec::new();
    let mut seen = BTreeSet::new();
    for snapshot in metadata.snapshots() {
        let list = match cache.manifest_list(&table.storage, metadata, snapshot).await {
            Err(Error::FileNotFound { .. }) if missing == Missing::Deleted => continue,
            list => list?,
        };
        lists.insert(snapshot.manifest_list().to_owned());
        manifests.extend(list.entries().iter().filter(|file| seen.insert(file.manifest_path.clone())).cloned());
    }
    let data: BTreeSet<String> = stream::iter(manifests)
        .map(|file| {
            let (storage, cache) = (Arc::clone(&table.storage), Arc::clone(cache));
            async move {
                let bytes = match storage.read(&file.manifest_path).await {
                    Err(Error::FileNotFound { .. }) if missing == Missing::Deleted => return Ok(Vec::new()),
                    bytes => bytes?,
                };
                cache.decode_manifest(bytes, &file, |manifest| paths(&manifest)).await
            }
        })
        .buffer_unordered(CONCURRENCY)
        .try_fold(BTreeSet::new(), |mut all, files| async move {
            all.extend(files);
            Ok(all)
        })
        .await?;
    let statistics = metadata.statistics_iter().map(|file| file.statistics_path.clone());
    let partition_statistics = metadata.partition_statistics_iter().map(|file| file.statistics_path.clone());
    let log = metadata.metadata_log().iter().map(|entry| entry.metadata_file.clone());
    let metadata = lists.into_iter().chain(statistics).chain(partition_statistics).chain(log);
    Ok(ReachableFiles {
        data: data.into_iter().collect(),
        manifests: seen.into_iter().collect(),
        metadata: metadata.collect(),
        root: table.metadata_location.clone(),
    })
}

fn paths(manifest: &Manifest) -> Vec<String> {
    manifest.entries().iter().map(|entry| entry.file_path().to_owned()).collect()
}

/// Deletes files, as many as can be: those by which others are found after these. What is left is logged: the table is gone from the
/// catalog already.
pub(crate) async fn delete_reachable(storage: &Arc<Storage>, files: ReachableFiles) {
    for files in [files.data, files.manifests, files.metadata, vec![files.root]] {
        delete_files(storage, files).await;
    }
}

/// Deletes files, as many as can be.
pub(super) async fn delete_files(storage: &Arc<Storage>, files: Vec<String>) {
    let (count, first) = (files.len(), files.first().cloned());
    if let Err(error) = storage.delete_all(files).await {
        tracing::warn!(files = count, first, %error, "not all files could be deleted");
    }
}
