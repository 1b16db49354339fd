//! Names of tables: completed from the session, matched against what the catalog has.
//!
//! `table`, `schema.table` or `catalog.schema.table`; a nested namespace is one schema whose parts are joined by dots.

use std::fmt;
use std::sync::Arc;

use datafusion::common::TableReference;
use polynya_catalog::{Catalog, Error as CatalogError, NamespaceIdent, Table, TableIdent};

use crate::access::Access;
use crate::{Engine, Error, Result, Session};

/// A table's full name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// The catalog, as the settings call it.
    pub catalog: String,
    /// The namespace, its parts joined by dots.
    pub schema: String,
    /// The table.
    pub table: String,
}

impl TableName {
    /// The name as the catalog takes it.
    ///
    /// # Errors
    /// If a part is empty.
    pub fn ident(&self) -> Result<TableIdent> {
        Ok(TableIdent::new(namespace(&self.schema)?, self.table.clone()))
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.catalog, self.schema, self.table)
    }
}

/// A schema's name as a namespace: `a.b` is `b` in `a`.
///
/// # Errors
/// If a part is empty.
pub fn namespace(schema: &str) -> Result<NamespaceIdent> {
    let parts: Vec<String> = schema.split('.').map(str::to_owned).collect();
    if parts.iter().any(String::is_empty) {
        return Err(Error::Invalid(format!("schema name '{schema}' has an empty part")));
    }
    NamespaceIdent::from_vec(parts).map_err(|error| Error::Invalid(error.to_string()))
}

impl Engine {
    /// Completes a name from the session. Does not ask the catalog.
    ///
    /// # Errors
    /// If a part is missing and the session has none either.
    pub fn resolve_name(&self, reference: &TableReference, session: &Session) -> Result<TableName> {
        let catalog = match reference.catalog() {
            Some(catalog) => catalog.to_owned(),
            None => self.current_catalog(session)?,
        };
        let schema = match reference.schema() {
            Some(schema) => schema.to_owned(),
            None => session.schema().ok_or_else(|| {
                let message = "no schema is selected: write schema.table, or choose one with USE".to_owned();
                Error::Invalid(format!("table {}: {message}", reference.table()))
            })?,
        };
        Ok(TableName { catalog, schema, table: reference.table().to_owned() })
    }

    /// The session's catalog, or the server's default.
    pub(crate) fn current_catalog(&self, session: &Session) -> Result<String> {
        session.catalog().or_else(|| self.default_catalog()).ok_or_else(|| {
            let message = "no catalog is selected: name one (SHOW CATALOGS lists them), or choose one with USE";
            Error::Invalid(message.to_owned())
        })
    }

    /// Loads a table by its name; if no table has it exactly, by the one name that differs only in case. A table that is hidden
    /// from the caller is not there; what else the caller may do with it is for [`Access::require`] to say.
    ///
    /// # Errors
    /// `NotFound` names the nearest table, if one is near.
    pub(crate) async fn load_table(&self, name: &TableName, access: &Arc<Access>) -> Result<(TableName, Table)> {
        let catalog = self.catalog(&name.catalog, access)?;
        let missing = match catalog.load_table(&name.ident()?).await {
            Ok(table) => return Ok((name.clone(), table)),
            Err(error @ (CatalogError::TableNotFound { .. } | CatalogError::NamespaceNotFound { .. })) => error,
            Err(other) => return Err(other.into()),
        };
        let Some(found) = self.match_name(catalog.as_ref(), name).await? else {
            return Err(self.table_not_found(catalog.as_ref(), name, missing, access).await);
        };
        let table = catalog.load_table(&found.ident()?).await?;
        Ok((found, table))
    }

    /// The one table whose name differs only in case, if there is just one.
    async fn match_name(&self, catalog: &dyn Catalog, name: &TableName) -> Result<Option<TableName>> {
        let schema = match_schema(catalog, &name.schema).await?;
        let Some(schema) = schema else { return Ok(None) };
        let tables = match catalog.list_tables(&namespace(&schema)?).await {
            Ok(tables) => tables,
            Err(CatalogError::NamespaceNotFound { .. }) => return Ok(None),
            Err(other) => return Err(other.into()),
        };
        let mut alike = tables.into_iter().filter(|table| table.name.eq_ignore_ascii_case(&name.table));
        Ok(match (alike.next(), alike.next()) {
            (Some(table), None) => Some(TableName { catalog: name.catalog.clone(), schema, table: table.name }),
            _ => None,
        })
    }

    async fn table_not_found(
        &self,
        catalog: &dyn Catalog,
        name: &TableName,
        missing: CatalogError,
        access: &Access,
    ) -> Error {
        // Not every catalog tells a missing table from a missing schema.
        let schema_missing = matches!(missing, CatalogError::NamespaceNotFound { .. });
        if schema_missing || !has_schema(catalog, &name.schema).await {
            let schemas = catalog.list_namespaces(None).await.unwrap_or_default();
            let names = schemas.iter().map(|schema| schema.join("."));
            // The first of two parts names a schema.
            let hint = match self.visible_catalog_names(access).contains(&name.schema) {
                true => format!(
                    ": {} is a catalog, and a table's name is catalog.schema.table or schema.table",
                    name.schema
                ),
                false => did_you_mean(&name.schema, names),
            };
            return Error::NotFound { kind: "schema", name: format!("{}.{}", name.catalog, name.schema), hint };
        }
        let Ok(namespace) = namespace(&name.schema) else { return Error::not_found("table", name.to_string()) };
        let tables = catalog.list_tables(&namespace).await.unwrap_or_default();
        let hint = did_you_mean(&name.table, tables.into_iter().map(|table| table.name));
        Error::NotFound { kind: "table", name: name.to_string(), hint }
    }
}

/// The schema of that name, or the one top-level schema that differs only in case.
pub(crate) async fn match_schema(catalog: &dyn Catalog, schema: &str) -> Result<Option<String>> {
    if schema.contains('.') {
        return Ok(Some(schema.to_owned()));
    }
    let names: Vec<String> = catalog.list_namespaces(None).await?.iter().map(|name| name.join(".")).collect();
    if names.iter().any(|name| name == schema) {
        return Ok(Some(schema.to_owned()));
    }
    let mut alike = names.into_iter().filter(|name| name.eq_ignore_ascii_case(schema));
    Ok(match (alike.next(), alike.next()) {
        (Some(name), None) => Some(name),
        _ => None,
    })
}

/// Whether the schema is there; a catalog that does not answer is taken to have it.
async fn has_schema(catalog: &dyn Catalog, schema: &str) -> bool {
    match namespace(schema) {
        Ok(namespace) => {
            let found = catalog.namespace_properties(&namespace).await;
            !matches!(found, Err(CatalogError::NamespaceNotFound { .. }))
        }
        Err(_) => false,
    }
}

/// `: did you mean x?` for the nearest candidate, or nothing if none is near. Comparing takes as long as both are, multiplied: nobody
/// mistypes what is longer than this.
pub(crate) fn did_you_mean(wanted: &str, candidates: impl Iterator<Item = String>) -> String {
    const COMPARED_BYTES_MAX: usize = 256;
    if wanted.len() > COMPARED_BYTES_MAX {
        return String::new();
    }
    let wanted = wanted.to_lowercase();
    let near = candidates
        .filter(|candidate| candidate.len() <= 2 * COMPARED_BYTES_MAX)
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3) / 3)
        .min();
    near.map_or_else(String::new, |(_, candidate)| format!(": did you mean {candidate}?"))
}
