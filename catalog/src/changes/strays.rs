//! Which files of a change nothing refers to.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::metadata_cache::{MetadataCache, Room, read_table_metadata};
use crate::pointer::{Missing, reachable_files};
use crate::storage::{Listed, Storage};
use crate::{Error, Result, Table};

/// By how much the clocks of a store and of a server may differ.
const CLOCK_SKEW: Duration = Duration::from_secs(600);
/// Nobody pauses for so long while writing a small file: one that was not finished is nobody's then.
pub(super) const UNFINISHED_MAX: Duration = Duration::from_secs(10);
const METADATA_SUFFIX: &str = ".metadata.json";

/// The files of one change.
pub(super) struct Strays<'a> {
    pub(super) storage: &'a Arc<Storage>,
    pub(super) folders: &'a [String],
    pub(super) change_id: Uuid,
    pub(super) snapshot_id: i64,
    /// Milliseconds since 1970.
    pub(super) began_ms: i64,
    /// Whether the catalog may have come to write a metadata file.
    pub(super) may_have_metadata: bool,
    /// The table's, if the change was to create it: metadata files of that table alone are the change's.
    pub(super) created_uuid: Option<Uuid>,
}

impl Strays<'_> {
    /// Deletes them, but for those that `table` reaches. Returns how many; `None` if it cannot be told yet of all.
    ///
    /// # Errors
    /// If the store cannot list or delete them, or the table's metadata cannot be read: what is not known to be unused stays.
    pub(super) async fn delete(&self, table: Option<(&Table, &Arc<MetadataCache>)>) -> Result<Option<usize>> {
        let (named, metadata) = self.candidates().await?;
        let mut reached: HashSet<String> = HashSet::new();
        if let Some((table, cache)) = table
            && !(named.is_empty() && metadata.is_empty())
        {
            reached.extend(reachable_files(table, cache, Missing::Error).await?.all());
        }
        let mut strays: Vec<String> = named.into_iter().filter(|location| !reached.contains(location)).collect();
        // The table has the snapshot: so have its later metadata files, also those that its log has forgotten.
        let is_committed = table.is_some_and(|(table, _)| table.metadata.snapshot_by_id(self.snapshot_id).is_some());
        let mut is_certain = true;
        for Listed { location, modified } in metadata.into_iter().filter(|_| !is_committed) {
            let is_stray = if location.contains('#') {
                let is_old = modified.elapsed().is_ok_and(|age| age > UNFINISHED_MAX);
                is_certain &= is_old;
                is_old
            } else {
                !reached.contains(&location) && self.is_of_this_change(&location).await?
            };
            if is_stray {
                strays.push(location);
            }
        }
        let mut failed = None;
        for location in &strays {
            failed = self.storage.delete_listed(location).await.err().or(failed);
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(is_certain.then_some(strays.len())),
        }
    }

    /// What has the change's id in its name, and metadata files that were written since it began.
    async fn candidates(&self) -> Result<(HashSet<String>, Vec<Listed>)> {
        let id = self.change_id.to_string();
        let since = u64::try_from(self.began_ms).unwrap_or_default();
        let since = SystemTime::UNIX_EPOCH + Duration::from_millis(since) - CLOCK_SKEW;
        let (mut named, mut metadata) = (HashSet::new(), Vec::new());
        for folder in self.folders {
            for listed in self.storage.list_all(folder).await? {
                let name = listed.location.rsplit('/').next().unwrap_or_default();
                if name.contains(&id) {
                    named.insert(listed.location);
                } else if self.may_have_metadata && name.contains(METADATA_SUFFIX) && listed.modified >= since {
                    metadata.push(listed);
                }
            }
        }
        Ok((named, metadata))
    }

    /// Whether a metadata file has the change's snapshot, or is of the table that it was to create.
    async fn is_of_this_change(&self, location: &str) -> Result<bool> {
        match read_table_metadata(self.storage, location, &Room::default()).await {
            Ok((metadata, _)) => {
                Ok(Some(metadata.uuid()) == self.created_uuid || metadata.snapshot_by_id(self.snapshot_id).is_some())
            }
            Err(Error::FileNotFound { .. } | Error::Malformed { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }
}
