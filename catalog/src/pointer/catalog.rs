//! The [`Catalog`] over [`Pointers`].

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use iceberg::spec::{SortOrder, TableMetadata, TableMetadataBuilder, TableMetadataRef, UnboundPartitionSpec};
use iceberg::{NamespaceIdent, TableIdent, TableRequirement, TableUpdate};

use super::purge::Missing;
use super::{Pointers, Renamed, metadata_file, purge, update};
use crate::changes::{Change, ChangeLog, Note};
use crate::metadata_cache::MetadataCache;
use crate::storage::{Storage, check_namespace, check_table, overlap};
use crate::{Catalog, Error, NewTable, Result, Table};

/// A catalog that keeps names and pointers, and writes metadata files itself.
#[derive(Debug)]
pub(crate) struct PointerCatalog<P> {
    name: String,
    warehouse: Option<String>,
    storage: Arc<Storage>,
    cache: Arc<MetadataCache>,
    changes: Option<Arc<ChangeLog>>,
    pointers: P,
}

impl<P: Pointers> PointerCatalog<P> {
    /// A catalog of this name (as users type it), whose tables go under `warehouse` unless they say otherwise.
    pub(crate) fn new(
        name: &str,
        warehouse: Option<String>,
        storage: Arc<Storage>,
        cache: Arc<MetadataCache>,
        pointers: P,
    ) -> Self {
        let warehouse = warehouse.map(|location| location.trim_end_matches('/').to_owned());
        let changes = ChangeLog::of(pointers.identity(), warehouse.as_deref(), &storage, pointers.settles_after());
        Self { name: name.to_owned(), warehouse, storage, cache, changes, pointers }
    }

    fn no_table(&self, table: &TableIdent) -> Error {
        Error::TableNotFound { catalog: self.name.clone(), table: table.to_string() }
    }

    fn table_exists(&self, table: &TableIdent) -> Error {
        Error::TableExists { catalog: self.name.clone(), table: table.to_string() }
    }

    fn no_namespace(&self, namespace: &NamespaceIdent) -> Error {
        Error::NamespaceNotFound { catalog: self.name.clone(), namespace: namespace.to_string() }
    }

    fn table(&self, ident: &TableIdent, metadata_location: String, metadata: TableMetadataRef) -> Table {
        Table {
            catalog: self.name.clone(),
            ident: ident.clone(),
            metadata_location,
            metadata,
            storage: Arc::clone(&self.storage),
        }
    }

    /// Every namespace, those that only hold other namespaces included.
    async fn all_namespaces(&self) -> Result<BTreeSet<Vec<String>>> {
        let mut all = BTreeSet::new();
        for namespace in self.pointers.namespaces().await? {
            let levels = namespace.inner();
            all.extend((1..=levels.len()).map(|depth| levels[..depth].to_vec()));
        }
        Ok(all)
    }

    async fn require_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        let all = self.all_namespaces().await?;
        if all.contains(namespace.as_ref()) { Ok(()) } else { Err(self.no_namespace(namespace)) }
    }

    /// Where a new table's files go.
    async fn default_location(&self, table: &TableIdent) -> Result<String> {
        let name = metadata_file::folder_name(&table.name);
        if let Some(location) = self.pointers.properties(&table.namespace).await?.get("location") {
            return Ok(format!("{}/{name}", location.trim_end_matches('/')));
        }
        let Some(warehouse) = &self.warehouse else {
            return Err(Error::Settings {
                setting: format!("catalog.{}.warehouse", self.name),
                message: format!("is needed to place table {table}, such as \"s3://bucket/folder\""),
            });
        };
        let folders: Vec<_> = table.namespace.iter().map(|level| metadata_file::folder_name(level)).collect();
        Ok(format!("{warehouse}/{}/{name}", folders.join("/")))
    }

    /// The location that a new table asks for, if no table of its namespace has it, lies in it, or holds it. Tables whose metadata
    /// files are elsewhere are not found out: that would take reading all of them.
    async fn free_location(&self, table: &TableIdent, location: &str) -> Result<String> {
        for name in self.pointers.tables(&table.namespace).await? {
            let other = TableIdent::new(table.namespace.clone(), name);
            let Some(metadata) = self.pointers.get(&other).await? else { continue };
            if overlap(metadata_file::table_folder(&metadata), location) {
                return Err(Error::invalid(format!(
                    "property location = '{location}' is in the folder of table {other}, or holds it: \
                     choose a folder of the table's own, or leave the property out"
                )));
            }
        }
        Ok(location.trim_end_matches('/').to_owned())
    }

    /// A new table as it is before it has a metadata file.
    async fn stage(&self, table: &TableIdent, new: NewTable) -> Result<Table> {
        self.require_namespace(&table.namespace).await?;
        if self.pointers.get(table).await?.is_some() {
            return Err(self.table_exists(table));
        }
        check_table(&self.storage, &new)?;
        let location = match new.location {
            Some(location) => self.free_location(table, &location).await?,
            None => self.default_location(table).await?,
        };
        let spec = new.partition_spec.unwrap_or_else(|| UnboundPartitionSpec::builder().build());
        let order = new.sort_order.unwrap_or_else(SortOrder::unsorted_order);
        let metadata = TableMetadataBuilder::new(new.schema, spec, order, location, new.format_version, new.properties)
            .and_then(TableMetadataBuilder::build)
            .map_err(|error| Error::Invalid {
                message: format!("table {table} cannot be created: {}", error.message()),
                source: Some(error.into()),
            })?
            .metadata;
        Ok(self.table(table, String::new(), Arc::new(metadata)))
    }

    /// Notes that a table's files are to be deleted once its name is gone.
    async fn note_purge(&self, table: &Table) -> Result<Option<Note>> {
        let Some(changes) = &self.changes else { return Ok(None) };
        let purge = Change::Purge {
            table: table.ident.clone(),
            uuid: table.metadata.uuid(),
            metadata_location: table.metadata_location.clone(),
        };
        changes.note("", purge).await
    }

    /// Removes a metadata file that no pointer names. Failing to is only a leftover file.
    async fn discard(&self, location: &str) {
        if let Err(error) = self.storage.delete(location).await {
            tracing::warn!(location, %error, "a metadata file that was not committed could not be deleted");
        }
    }

    /// Writes a metadata file that no pointer names yet. What was written of one that failed is removed.
    async fn write_metadata(&self, location: &str, metadata: &TableMetadataRef) -> Result<()> {
        let written = metadata_file::write(&self.storage, location, metadata).await;
        if written.is_err() {
            // The store may have it, though it said otherwise.
            self.discard(location).await;
        }
        written
    }

    /// Writes a first metadata file and adds the name.
    async fn add(&self, ident: &TableIdent, metadata: TableMetadata) -> Result<Table> {
        let location = metadata_file::first_location(&metadata)?;
        let metadata = Arc::new(metadata);
        self.write_metadata(&location, &metadata).await?;
        match self.pointers.add(ident, &location).await {
            Ok(true) => {
                self.cache.insert_table_metadata(&self.storage, &location, Arc::clone(&metadata)).await;
                Ok(self.table(ident, location, metadata))
            }
            Ok(false) => {
                self.discard(&location).await;
                Err(self.table_exists(ident))
            }
            Err(error @ Error::CommitUnknown { .. }) => Err(error),
            Err(error) => {
                self.discard(&location).await;
                Err(error)
            }
        }
    }
}

#[async_trait]
impl<P: Pointers> Catalog for PointerCatalog<P> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn list_namespaces(&self, parent: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
        let all = self.all_namespaces().await?;
        let above: &[String] = parent.map_or(&[], |parent| parent.as_ref());
        if let Some(parent) = parent.filter(|parent| !all.contains(parent.as_ref())) {
            return Err(self.no_namespace(parent));
        }
        let below = all.iter().filter(|levels| levels.len() == above.len() + 1 && levels.starts_with(above));
        below.map(|levels| NamespaceIdent::from_strs(levels).map_err(update::invalid)).collect()
    }

    async fn namespace_properties(&self, namespace: &NamespaceIdent) -> Result<HashMap<String, String>> {
        self.require_namespace(namespace).await?;
        self.pointers.properties(namespace).await
    }

    async fn create_namespace(&self, namespace: &NamespaceIdent, properties: HashMap<String, String>) -> Result<()> {
        check_namespace(&self.storage, &properties)?;
        let exists = || Error::NamespaceExists { catalog: self.name.clone(), namespace: namespace.to_string() };
        if self.all_namespaces().await?.contains(namespace.as_ref()) {
            return Err(exists());
        }
        if self.pointers.add_namespace(namespace, &properties).await? { Ok(()) } else { Err(exists()) }
    }

    async fn drop_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        let all = self.all_namespaces().await?;
        if !all.contains(namespace.as_ref()) {
            return Err(self.no_namespace(namespace));
        }
        let has_children = all.iter().any(|levels| levels.len() > namespace.len() && levels.starts_with(namespace));
        if has_children || !self.pointers.tables(namespace).await?.is_empty() {
            return Err(Error::NamespaceNotEmpty { catalog: self.name.clone(), namespace: namespace.to_string() });
        }
        self.pointers.remove_namespace(namespace).await
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        let mut names = self.pointers.tables(namespace).await?;
        if names.is_empty() {
            self.require_namespace(namespace).await?;
        }
        names.sort_unstable();
        Ok(names.into_iter().map(|name| TableIdent::new(namespace.clone(), name)).collect())
    }

    async fn load_table(&self, table: &TableIdent) -> Result<Table> {
        let location = self.pointers.get(table).await?.ok_or_else(|| self.no_table(table))?;
        let metadata = self.cache.table_metadata(&self.storage, &location).await?;
        Ok(self.table(table, location, metadata))
    }

    async fn create_table(&self, table: &TableIdent, new: NewTable) -> Result<Table> {
        let staged = self.stage(table, new).await?;
        self.add(table, Arc::unwrap_or_clone(staged.metadata)).await
    }

    async fn stage_table(&self, table: &TableIdent, new: &NewTable) -> Result<Option<Table>> {
        self.stage(table, new.clone()).await.map(Some)
    }

    async fn create_staged(&self, staged: &Table, updates: Vec<TableUpdate>) -> Result<Table> {
        let metadata = update::created(&staged.ident, &staged.metadata, updates)?;
        self.add(&staged.ident, metadata).await.map_err(|error| not_committed(&staged.ident, error))
    }

    async fn change_log(&self) -> Result<Option<Arc<ChangeLog>>> {
        Ok(self.changes.clone())
    }

    async fn drop_table(&self, table: &TableIdent, purge: bool) -> Result<()> {
        if !purge {
            return if self.pointers.remove(table).await? { Ok(()) } else { Err(self.no_table(table)) };
        }
        let dropped = self.load_table(table).await?;
        purge::check_is_ours(&dropped)?;
        let files = purge::reachable_files(&dropped, &self.cache, Missing::Error).await?;
        let note = self.note_purge(&dropped).await?;
        let removed = self.pointers.remove(table).await;
        if let Ok(true) = removed {
            purge::delete_reachable(&self.storage, files).await;
        }
        // A removal whose outcome is not known: the next sweep will see whether the table is there.
        if let (Some(note), Ok(_)) = (note, &removed) {
            note.remove().await;
        }
        if removed? { Ok(()) } else { Err(self.no_table(table)) }
    }

    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        self.require_namespace(&to.namespace).await?;
        if from == to && self.pointers.get(from).await?.is_some() {
            return Err(self.table_exists(to));
        }
        match self.pointers.rename(from, to).await? {
            Renamed::Done => Ok(()),
            Renamed::Missing => Err(self.no_table(from)),
            Renamed::Taken => Err(self.table_exists(to)),
        }
    }

    async fn register_table(&self, table: &TableIdent, metadata_location: &str) -> Result<Table> {
        self.require_namespace(&table.namespace).await?;
        let metadata = self.cache.table_metadata(&self.storage, metadata_location).await?;
        if !self.pointers.add(table, metadata_location).await? {
            return Err(self.table_exists(table));
        }
        Ok(self.table(table, metadata_location.to_owned(), metadata))
    }

    async fn commit_table(
        &self,
        table: &TableIdent,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<Table> {
        // Nothing is changed before the pointer is: whatever fails until then leaves the table as it was.
        let certain = |error| not_committed(table, error);
        let from = self.pointers.get(table).await.map_err(certain)?.ok_or_else(|| self.no_table(table))?;
        let current = self.cache.table_metadata(&self.storage, &from).await.map_err(certain)?;
        update::check(table, &current, &requirements)?;
        let Some(next) = update::apply(table, &current, &from, updates)? else {
            return Ok(self.table(table, from, current));
        };
        let to = metadata_file::next_location(&from, &next.metadata)?;
        let metadata = Arc::new(next.metadata);
        self.write_metadata(&to, &metadata).await.map_err(certain)?;
        match self.pointers.swap(table, &from, &to).await {
            Ok(true) => {
                self.cache.insert_table_metadata(&self.storage, &to, Arc::clone(&metadata)).await;
                if update::deletes_old_metadata(&metadata) {
                    let old = next.expired_metadata_logs.into_iter().map(|log| log.metadata_file).collect();
                    purge::delete_files(&self.storage, old).await;
                }
                Ok(self.table(table, to, metadata))
            }
            Ok(false) => {
                self.discard(&to).await;
                let message = "its metadata file is not the one that this commit was made from".to_owned();
                Err(Error::CommitConflict { table: table.to_string(), message })
            }
            Err(error @ Error::CommitUnknown { .. }) => Err(error),
            Err(error) => {
                self.discard(&to).await;
                Err(not_committed(table, error))
            }
        }
    }
}

/// An error from before a commit could take effect. What says that by itself stays as it is.
fn not_committed(table: &TableIdent, error: Error) -> Error {
    match error {
        error @ (Error::Unavailable { .. }
        | Error::FileNotFound { .. }
        | Error::BucketNotFound { .. }
        | Error::Malformed { .. }
        | Error::Internal(_)) => Error::NotCommitted { table: table.to_string(), source: Box::new(error) },
        other => other,
    }
}
