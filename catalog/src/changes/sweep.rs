//! Finds what was left by processes that are gone, and finishes or undoes it.
//!
//! Other coordinators may be at work in the same warehouse: a note whose process lives, or may live, is left alone.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use iceberg::{NamespaceIdent, TableIdent};
use uuid::Uuid;

use super::log::{ChangeLog, Own};
use super::note::{LEASE, parse, place};
use super::record::{CREATED_FOR, Change, Creates, Phase, Record};
use super::strays::{Strays, UNFINISHED_MAX};
use crate::metadata_cache::{MetadataCache, Room, read_table_metadata};
use crate::pointer::{Missing, delete_reachable, reachable_files};
use crate::storage::Listed;
use crate::{Catalog, Error, Result, Table};

/// What a sweep found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Changes of processes that are gone, which have left nothing any more.
    pub finished: usize,
    /// Changes that are under way, or whose end is not known yet: worth looking again in a while.
    pub waiting: usize,
}

/// Looks at every note of a catalog's warehouse.
///
/// # Errors
/// If the notes cannot be listed. What cannot be finished now counts as waiting.
pub async fn sweep(catalog: &dyn Catalog, cache: &Arc<MetadataCache>) -> Result<Swept> {
    match catalog.change_log().await? {
        Some(log) => sweep_log(catalog, cache, &log).await,
        None => Ok(Swept::default()),
    }
}

pub(super) async fn sweep_log(catalog: &dyn Catalog, cache: &Arc<MetadataCache>, log: &ChangeLog) -> Result<Swept> {
    let mut swept = Swept::default();
    for listed in log.storage.list_all(&log.folder).await? {
        let sweep = Sweep { catalog, cache, log };
        match sweep.look_at(&listed).await {
            Ok(Some(true)) => swept.finished += 1,
            Ok(Some(false)) => swept.waiting += 1,
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(note = listed.location, %error, "what a change has left could not be removed yet");
                swept.waiting += 1;
            }
        }
    }
    Ok(swept)
}

struct Sweep<'a> {
    catalog: &'a dyn Catalog,
    cache: &'a Arc<MetadataCache>,
    log: &'a ChangeLog,
}

impl Sweep<'_> {
    /// Whether nothing of the change is left. `None` if it is another catalog's.
    async fn look_at(&self, listed: &Listed) -> Result<Option<bool>> {
        let Listed { location, modified } = listed;
        let silent = SystemTime::now().duration_since(*modified).unwrap_or_default();
        // A note that was not finished: nothing had begun.
        if location.contains('#') {
            return match silent > UNFINISHED_MAX {
                true => self.log.storage.delete_listed(location).await.map(|()| None),
                false => Ok(Some(false)),
            };
        }
        let Some((stem, phase)) = parse(location) else { return Ok(None) };
        let Some(record) = self.read(location).await?.filter(|record| record.catalog == self.log.catalog) else {
            return Ok(None);
        };
        let is_own = record.log_id == self.log.id;
        match is_own.then(|| self.log.own(stem)) {
            Some(Own::UnderWay) => return Ok(Some(false)),
            Some(Own::Ended) => return self.delete(stem).await.map(|()| None),
            Some(Own::LetGo) => {}
            None if record.process.lives().unwrap_or(silent < LEASE) => return Ok(Some(false)),
            None => {}
        }
        // Not before: who lived until a moment ago may have said until then that it asks the catalog. That is looked at by itself.
        if phase == Phase::Writing && self.log.storage.exists(&place(stem, Phase::Committing)).await? {
            return Ok(Some(false));
        }
        let is_finished = match &record.change {
            Change::Write { .. } => self.finish_write(&record, silent).await?,
            Change::Purge { table, uuid, metadata_location } => {
                self.finish_purge(table, *uuid, metadata_location, silent).await?
            }
        };
        if is_finished {
            tracing::info!(query_id = record.query_id, change = ?record.change, "a change that was left in the middle is cleared up");
            self.delete(stem).await?;
            if is_own {
                self.log.forget(stem);
            }
        }
        Ok(Some(is_finished))
    }

    /// A note; none if it is gone, or of another form.
    async fn read(&self, location: &str) -> Result<Option<Record>> {
        match self.log.storage.read(location).await {
            Err(Error::FileNotFound { .. }) => Ok(None),
            read => Ok(Record::decode(&read?)),
        }
    }

    /// Deletes a note: the object that tells more is there until the other is gone.
    async fn delete(&self, stem: &str) -> Result<()> {
        self.log.storage.delete(&place(stem, Phase::Writing)).await?;
        self.log.storage.delete(&place(stem, Phase::Committing)).await
    }

    async fn finish_write(&self, record: &Record, silent: Duration) -> Result<bool> {
        let Change::Write { table: ident, uuid, folders, change_id, snapshot_id, creates } = &record.change else {
            return Ok(true);
        };
        // A new table that the catalog was not asked for is nowhere; one that was there may have another name by now.
        let everywhere = record.phase == Phase::Committing || *creates == Creates::Nothing;
        let found = self.find(ident, *uuid, *change_id, *creates, everywhere).await?;
        let is_committed = found.as_ref().is_some_and(|table| table.metadata.snapshot_by_id(*snapshot_id).is_some());
        // What the table shows counts more than the note, which a late request may have brought back.
        let may_be_committed = record.phase == Phase::Committing || is_committed;
        if may_be_committed && !is_committed && silent < self.log.settles_after {
            return Ok(false);
        }
        if let Some(table) = &found
            && *creates == Creates::Before
            && table.metadata.snapshots().len() == 0
        {
            self.catalog.drop_table(&table.ident, true).await?;
        }
        if found.is_none() && may_be_committed && *creates == Creates::Nothing {
            tracing::warn!(table = %ident, %change_id, "a table is gone that was being written to: files of the change may be left in its folder");
            return Ok(true);
        }
        // Where a table that is created for a change goes, the catalog says.
        let its_own = found.iter().filter(|_| *creates == Creates::Before).map(|table| table.metadata.location());
        let folders: Vec<String> = folders.iter().cloned().chain(its_own.map(str::to_owned)).collect();
        let strays = Strays {
            storage: found.as_ref().map_or(&self.log.storage, |table| &table.storage),
            folders: &folders,
            change_id: *change_id,
            snapshot_id: *snapshot_id,
            began_ms: record.began_ms,
            may_have_metadata: may_be_committed,
            created_uuid: (*creates == Creates::WithCommit && found.is_none()).then_some(*uuid),
        };
        // Whatever the note says, nothing is deleted that the table reaches.
        let reached = found.as_ref().map(|table| (table, self.cache));
        let Some(deleted) = strays.delete(reached).await? else { return Ok(false) };
        if deleted > 0 {
            tracing::info!(table = %ident, %change_id, files = deleted, "files of a change that was never committed are deleted");
        }
        Ok(true)
    }

    /// The table's name is taken first, and its files are deleted then: if the name is gone, so shall they be.
    async fn finish_purge(
        &self,
        ident: &TableIdent,
        uuid: Uuid,
        metadata_location: &str,
        silent: Duration,
    ) -> Result<bool> {
        if self.find(ident, uuid, Uuid::nil(), Creates::Nothing, true).await?.is_some() {
            return Ok(silent >= self.log.settles_after);
        }
        let storage = &self.log.storage;
        let metadata = match read_table_metadata(storage, metadata_location, &Room::default()).await {
            Ok((metadata, _)) => Arc::new(metadata),
            Err(Error::FileNotFound { .. }) => return Ok(true),
            Err(other) => return Err(other),
        };
        let table = Table {
            catalog: self.catalog.name().to_owned(),
            ident: ident.clone(),
            metadata_location: metadata_location.to_owned(),
            metadata,
            storage: Arc::clone(storage),
        };
        let files = reachable_files(&table, self.cache, Missing::Deleted).await?;
        delete_reachable(storage, files).await;
        Ok(true)
    }

    /// The table of this UUID, by its name; by any name, if `everywhere`, since it may have been renamed.
    async fn find(
        &self,
        ident: &TableIdent,
        uuid: Uuid,
        change_id: Uuid,
        creates: Creates,
        everywhere: bool,
    ) -> Result<Option<Table>> {
        let is_it = |table: &Table| match creates {
            // Its UUID was not known when the note was made.
            Creates::Before => table.metadata.properties().get(CREATED_FOR) == Some(&change_id.to_string()),
            Creates::Nothing | Creates::WithCommit => table.metadata.uuid() == uuid,
        };
        if let Some(table) = self.load(ident).await?.filter(is_it) {
            return Ok(Some(table));
        }
        if !everywhere {
            return Ok(None);
        }
        let mut namespaces: Vec<NamespaceIdent> = self.catalog.list_namespaces(None).await?;
        while let Some(namespace) = namespaces.pop() {
            namespaces.extend(self.catalog.list_namespaces(Some(&namespace)).await?);
            for other in self.catalog.list_tables(&namespace).await? {
                let table = match self.load(&other).await {
                    // Any lake has tables that cannot be read; that the one which is looked for was renamed, too, is left out of account.
                    Err(Error::FileNotFound { .. } | Error::Malformed { .. } | Error::Unsupported { .. }) => None,
                    table => table?.filter(is_it),
                };
                if table.is_some() {
                    return Ok(table);
                }
            }
        }
        Ok(None)
    }

    /// The table of this name. One that is there and cannot be read is an error: nobody knows which files it has.
    async fn load(&self, ident: &TableIdent) -> Result<Option<Table>> {
        match self.catalog.load_table(ident).await {
            Ok(table) => Ok(Some(table)),
            Err(Error::TableNotFound { .. } | Error::NamespaceNotFound { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }
}
