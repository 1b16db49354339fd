//! Which files a table's metadata reaches, and their deletion when it is dropped for good.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use crate::metadata_cache::{MetadataCache, read_manifest};
use crate::storage::Storage;
use crate::{Error, Result, Table};

/// Requests in flight at once.
const CONCURRENCY: usize = 16;

/// Every file of every snapshot, data files first, the current metadata file last. Nothing is deleted yet.
pub(super) async fn reachable_files(table: &Table, cache: &Arc<MetadataCache>) -> Result<Vec<String>> {
    let metadata = &table.metadata;
    if metadata.properties().get("gc.enabled").is_some_and(|value| value.eq_ignore_ascii_case("false")) {
        let ident = &table.ident;
        return Err(Error::invalid(format!(
            "table {ident} has gc.enabled = false, so its files are not ours to delete: drop it without PURGE"
        )));
    }
    let mut lists = BTreeSet::new();
    let mut manifests = Vec::new();
    let mut seen = BTreeSet::new();
    for snapshot in metadata.snapshots() {
        let list = cache.manifest_list(&table.storage, metadata, snapshot).await?;
        lists.insert(snapshot.manifest_list().to_owned());
        manifests.extend(list.entries().iter().filter(|file| seen.insert(file.manifest_path.clone())).cloned());
    }
    let data: BTreeSet<String> = stream::iter(manifests)
        .map(|file| {
            let storage = Arc::clone(&table.storage);
            async move {
                let manifest = read_manifest(&storage, &file).await?;
                Ok::<_, Error>(manifest.entries().iter().map(|entry| entry.file_path().to_owned()).collect::<Vec<_>>())
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
    let files = data.into_iter().chain(seen).chain(lists).chain(statistics).chain(partition_statistics).chain(log);
    Ok(files.chain([table.metadata_location.clone()]).collect())
}

/// Deletes files, as many as can be. What is left is logged: the table is gone from the catalog already.
pub(super) async fn delete_files(storage: &Arc<Storage>, files: Vec<String>) {
    let (count, first) = (files.len(), files.first().cloned());
    if let Err(error) = storage.delete_all(files).await {
        tracing::warn!(files = count, first, %error, "not all files could be deleted");
    }
}
