//! Where rows go: into a table that is there, instead of what is in one, or into one that appears with them.
//!
//! A new table appears by the commit of its rows, if its catalog can do that: whoever is interrupted has made nothing. Else it is
//! created empty, with a property that says for which change, and dropped again if that change comes to nothing.

use polynya_catalog::{
    Catalog, Change, CommitGate, CommitIdentity, Creates, NewTable, Table, Target, created_for, metadata_folder,
    with_columns,
};

use crate::query::QueryContext;
use crate::{Error, Result, TableName};

/// See the module.
pub(super) struct Destination {
    /// The table as the catalog has it, or as it is staged.
    pub(super) committed_to: Table,
    /// The table as the new files see it.
    pub(super) table: Table,
    pub(super) target: Target,
    pub(super) identity: CommitIdentity,
    creates: Creates,
}

impl Destination {
    /// A table that is there.
    pub(super) fn existing(table: Table) -> Self {
        Self {
            committed_to: table.clone(),
            table,
            target: Target::Existing,
            identity: CommitIdentity::random(),
            creates: Creates::Nothing,
        }
    }

    /// A table that is there, with other columns and without what it holds.
    ///
    /// # Errors
    /// If it cannot have such columns.
    pub(super) fn replaced(table: Table, columns: iceberg::spec::Schema) -> Result<Self> {
        Ok(Self {
            table: with_columns(&table, &columns)?,
            target: Target::Replaced(columns.into()),
            ..Self::existing(table)
        })
    }

    /// A table that is not there yet.
    ///
    /// # Errors
    /// If the name is taken, or the catalog refuses.
    pub(super) async fn new(
        catalog: &dyn Catalog,
        name: &TableName,
        new: NewTable,
        query: &QueryContext,
    ) -> Result<Self> {
        let ident = name.ident()?;
        if let Some(staged) = catalog.stage_table(&ident, &new).await? {
            return Ok(Self { target: Target::Staged, creates: Creates::WithCommit, ..Self::existing(staged) });
        }
        let identity = CommitIdentity::random();
        let NewTable { mut properties, .. } = new.clone();
        let (property, value) = created_for(&identity);
        properties.insert(property.to_owned(), value);
        let change = Change::Write {
            table: ident.clone(),
            // It is found by the property.
            uuid: uuid::Uuid::nil(),
            folders: Vec::new(),
            change_id: identity.change_id,
            snapshot_id: identity.snapshot_id,
            creates: Creates::Before,
        };
        query.change().note(catalog, query.id(), change).await?;
        let created = catalog.create_table(&ident, NewTable { properties, ..new }).await?;
        Ok(Self { identity, creates: Creates::Before, ..Self::existing(created) })
    }

    /// Notes what is about to be written, so that it is found if this process does not come to its end.
    ///
    /// # Errors
    /// If the store does not answer.
    pub(super) async fn note(&self, catalog: &dyn Catalog, data_folder: &str, query: &QueryContext) -> Result<()> {
        if self.creates == Creates::Before {
            return Ok(());
        }
        let change = Change::Write {
            table: self.table.ident.clone(),
            uuid: self.table.metadata.uuid(),
            folders: vec![metadata_folder(&self.table.metadata), data_folder.to_owned()],
            change_id: self.identity.change_id,
            snapshot_id: self.identity.snapshot_id,
            creates: self.creates,
        };
        query.change().note(catalog, query.id(), change).await
    }

    /// Whether there is a table that must go if the rows do not come.
    pub(super) fn was_created_empty(&self) -> bool {
        self.creates == Creates::Before
    }
}

/// Creates a table without rows.
///
/// # Errors
/// If the name is taken, or the catalog refuses.
pub(crate) async fn create_empty(
    catalog: &dyn Catalog,
    name: &TableName,
    new: NewTable,
    query: &QueryContext,
) -> Result<()> {
    let ident = name.ident()?;
    let Some(staged) = catalog.stage_table(&ident, &new).await? else {
        query.change().begin()?;
        catalog.create_table(&ident, new).await?;
        return Ok(());
    };
    let destination = Destination { creates: Creates::WithCommit, ..Destination::existing(staged) };
    let metadata = metadata_folder(&destination.table.metadata);
    destination.note(catalog, &metadata, query).await?;
    create_staged(catalog, &destination, query).await
}

/// Creates a staged table without rows.
///
/// # Errors
/// If it was given up, the name is taken by now, or the catalog refuses.
pub(super) async fn create_staged(
    catalog: &dyn Catalog,
    destination: &Destination,
    query: &QueryContext,
) -> Result<()> {
    query.change().announce().await;
    CommitGate::begin(query.change().as_ref()).await?;
    match catalog.create_staged(&destination.committed_to, Vec::new()).await {
        Ok(_) => Ok(()),
        Err(polynya_catalog::Error::CommitConflict { .. }) => {
            Err(Error::Catalog(polynya_catalog::Error::TableExists {
                catalog: catalog.name().to_owned(),
                table: destination.table.ident.to_string(),
            }))
        }
        Err(other) => Err(other.into()),
    }
}
