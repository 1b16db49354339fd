//! A catalog as one caller sees it: what is hidden is not there, in lists, in look-ups and in the hints that are made from lists.
//!
//! It only reads. Whoever writes has asked for a privilege first and uses the whole catalog, so that a write that forgot to ask
//! fails here.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use polynya_catalog::{
    Catalog, Error, NamespaceIdent, NewTable, Result, Table, TableIdent, TableRequirement, TableUpdate,
};

use super::Access;
use crate::TableName;

/// See the module.
#[derive(Debug)]
pub(crate) struct VisibleCatalog {
    catalog: Arc<dyn Catalog>,
    access: Arc<Access>,
}

impl VisibleCatalog {
    /// The catalog as the caller sees it; itself, if nothing is hidden.
    pub(crate) fn of(catalog: &Arc<dyn Catalog>, access: &Arc<Access>) -> Arc<dyn Catalog> {
        match access.is_everything() {
            true => Arc::clone(catalog),
            false => Arc::new(Self { catalog: Arc::clone(catalog), access: Arc::clone(access) }),
        }
    }

    fn sees_schema(&self, namespace: &NamespaceIdent) -> bool {
        self.access.sees_schema(self.catalog.name(), &namespace.join("."))
    }

    fn sees_table(&self, table: &TableIdent) -> bool {
        self.access.sees_table(&TableName {
            catalog: self.catalog.name().to_owned(),
            schema: table.namespace.join("."),
            table: table.name.clone(),
        })
    }

    fn check_schema(&self, namespace: &NamespaceIdent) -> Result<()> {
        match self.sees_schema(namespace) {
            true => Ok(()),
            false => Err(Error::NamespaceNotFound {
                catalog: self.catalog.name().to_owned(),
                namespace: namespace.to_string(),
            }),
        }
    }

    fn check_table(&self, table: &TableIdent) -> Result<()> {
        self.check_schema(&table.namespace)?;
        match self.sees_table(table) {
            true => Ok(()),
            false => Err(Error::TableNotFound { catalog: self.catalog.name().to_owned(), table: table.to_string() }),
        }
    }
}

/// A bug of ours, and not a hole.
fn only_reads<T>() -> Result<T> {
    Err(Error::Internal("a write that nobody asked a privilege for".to_owned()))
}

#[async_trait]
impl Catalog for VisibleCatalog {
    fn name(&self) -> &str {
        self.catalog.name()
    }

    async fn list_namespaces(&self, parent: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
        if let Some(parent) = parent {
            self.check_schema(parent)?;
        }
        let mut found = self.catalog.list_namespaces(parent).await?;
        found.retain(|namespace| self.sees_schema(namespace));
        Ok(found)
    }

    async fn namespace_properties(&self, namespace: &NamespaceIdent) -> Result<HashMap<String, String>> {
        self.check_schema(namespace)?;
        self.catalog.namespace_properties(namespace).await
    }

    async fn create_namespace(&self, _: &NamespaceIdent, _: HashMap<String, String>) -> Result<()> {
        only_reads()
    }

    async fn drop_namespace(&self, _: &NamespaceIdent) -> Result<()> {
        only_reads()
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        self.check_schema(namespace)?;
        let mut found = self.catalog.list_tables(namespace).await?;
        found.retain(|table| self.sees_table(table));
        Ok(found)
    }

    async fn load_table(&self, table: &TableIdent) -> Result<Table> {
        self.check_table(table)?;
        self.catalog.load_table(table).await
    }

    async fn create_table(&self, _: &TableIdent, _: NewTable) -> Result<Table> {
        only_reads()
    }

    async fn drop_table(&self, _: &TableIdent, _: bool) -> Result<()> {
        only_reads()
    }

    async fn rename_table(&self, _: &TableIdent, _: &TableIdent) -> Result<()> {
        only_reads()
    }

    async fn register_table(&self, _: &TableIdent, _: &str) -> Result<Table> {
        only_reads()
    }

    async fn commit_table(&self, _: &TableIdent, _: Vec<TableRequirement>, _: Vec<TableUpdate>) -> Result<Table> {
        only_reads()
    }
}
