//! The catalog trait: the names, and each table's current metadata pointer.
//!
//! Every implementation passes the suite in `contract`. Values are pinned: a [`Table`] never changes under its reader.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use iceberg::spec::{FormatVersion, Schema, SortOrder, TableMetadataRef, UnboundPartitionSpec};
use iceberg::{NamespaceIdent, TableIdent, TableRequirement, TableUpdate};

use crate::changes::ChangeLog;
use crate::storage::Storage;
use crate::{Error, Result};

/// A source of names and of each table's current metadata. Cheap to share behind an `Arc`.
#[async_trait]
pub trait Catalog: Debug + Send + Sync {
    /// The name users type: the key under `[catalog]` in the settings.
    fn name(&self) -> &str;

    /// The namespaces directly below `parent`, or the top ones. Sorted.
    async fn list_namespaces(&self, parent: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>>;

    /// A namespace's properties; an error if it does not exist.
    async fn namespace_properties(&self, namespace: &NamespaceIdent) -> Result<HashMap<String, String>>;

    /// Creates a namespace; an error if it exists.
    async fn create_namespace(&self, namespace: &NamespaceIdent, properties: HashMap<String, String>) -> Result<()>;

    /// Drops an empty namespace.
    async fn drop_namespace(&self, namespace: &NamespaceIdent) -> Result<()>;

    /// The tables directly in a namespace, sorted; an error if the namespace does not exist.
    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>>;

    /// The table as of its current metadata file.
    async fn load_table(&self, table: &TableIdent) -> Result<Table>;

    /// Creates an empty table; an error if it exists or its namespace does not.
    async fn create_table(&self, table: &TableIdent, new: NewTable) -> Result<Table>;

    /// A table as [`Catalog::create_table`] would make it, of which there is nothing in the catalog yet: its first snapshot can be
    /// written before there is a table. `None` if the catalog cannot do that.
    async fn stage_table(&self, _table: &TableIdent, _new: &NewTable) -> Result<Option<Table>> {
        Ok(None)
    }

    /// Creates a table that was staged, with `updates` applied; an error if one of that name exists by now.
    ///
    /// `TableExists` and `CommitConflict` say that nothing happened; `CommitUnknown` says that it may have.
    async fn create_staged(&self, staged: &Table, _updates: Vec<TableUpdate>) -> Result<Table> {
        Err(Error::Internal(format!("catalog {} has not staged table {}", self.name(), staged.ident)))
    }

    /// Where changes under way are noted, so that what is left of those whose process died can be found. `None` if nowhere.
    async fn change_log(&self) -> Result<Option<Arc<ChangeLog>>> {
        Ok(None)
    }

    /// Forgets a table; `purge` also deletes the files its metadata reaches.
    async fn drop_table(&self, table: &TableIdent, purge: bool) -> Result<()>;

    /// Renames a table, possibly into another namespace of this catalog.
    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()>;

    /// Gives a name to a table whose metadata file exists already.
    async fn register_table(&self, table: &TableIdent, metadata_location: &str) -> Result<Table>;

    /// Applies `updates` atomically if every requirement holds on the current metadata.
    ///
    /// `CommitConflict` says that nothing happened; `CommitUnknown` says that it may have.
    async fn commit_table(
        &self,
        table: &TableIdent,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<Table>;
}

/// What a table to be created looks like. Field ids are assigned afresh.
#[derive(Debug, Clone)]
pub struct NewTable {
    /// Columns, in order.
    pub schema: Schema,
    /// How rows are divided into partitions; unpartitioned if none.
    pub partition_spec: Option<UnboundPartitionSpec>,
    /// How rows are ordered within files; unordered if none.
    pub sort_order: Option<SortOrder>,
    /// Where the table's files go; a folder in the warehouse if none.
    pub location: Option<String>,
    /// Table properties, such as `write.target-file-size-bytes`.
    pub properties: HashMap<String, String>,
    /// The format version; 2 unless asked otherwise.
    pub format_version: FormatVersion,
}

/// A table as of one metadata file.
///
/// One that is [staged](Catalog::stage_table) has no metadata file yet, and an empty `metadata_location`.
#[derive(Debug, Clone)]
pub struct Table {
    /// The catalog's name.
    pub catalog: String,
    /// The namespace and name.
    pub ident: TableIdent,
    /// The location of the metadata file that `metadata` was read from.
    pub metadata_location: String,
    /// Schemas, specs, snapshots, properties.
    pub metadata: TableMetadataRef,
    /// The stores that its files live in, with this table's credentials.
    pub storage: Arc<Storage>,
}
