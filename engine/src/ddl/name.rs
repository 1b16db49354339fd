//! Names in definitions: what is not quoted is lower-cased when it is created, and matched without regard to case
//! when it is looked up.

use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart};
use polynya_catalog::{Catalog, Error as CatalogError};

use crate::access::{Access, Object, Privilege};
use crate::names::{match_schema, namespace};
use crate::{Engine, Error, Result, Session, TableName};

/// A table's name in up to three parts.
///
/// # Errors
/// If it has more.
pub(crate) fn table_reference(name: &ObjectName) -> Result<TableReference> {
    Ok(match parts(name)?.as_slice() {
        [table] => TableReference::bare(table.as_str()),
        [schema, table] => TableReference::partial(schema.as_str(), table.as_str()),
        [catalog, schema, table] => TableReference::full(catalog.as_str(), schema.as_str(), table.as_str()),
        _ => return Err(too_many_parts(name, "catalog.schema.table")),
    })
}

/// A schema's catalog and name, completed from the session.
///
/// # Errors
/// If the name has more than two parts, or its catalog is not there.
pub(super) fn schema_name(
    engine: &Engine,
    name: &ObjectName,
    session: &Session,
    access: &Arc<Access>,
) -> Result<(String, String)> {
    match parts(name)?.as_slice() {
        [schema] => Ok((engine.current_catalog(session)?, schema.clone())),
        [catalog, schema] => {
            engine.catalog(catalog, access)?;
            Ok((catalog.clone(), schema.clone()))
        }
        _ => Err(too_many_parts(name, "catalog.schema")),
    }
}

/// An identifier's value: lower-cased unless quoted.
pub(super) fn normalized(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

fn parts(name: &ObjectName) -> Result<Vec<String>> {
    let part = |part: &ObjectNamePart| match part {
        ObjectNamePart::Identifier(ident) => Ok(normalized(ident)),
        ObjectNamePart::Function(_) => Err(Error::Invalid(format!("{name} is not a name"))),
    };
    name.0.iter().map(part).collect()
}

fn too_many_parts(name: &ObjectName, form: &str) -> Error {
    Error::Invalid(format!("{name} has too many parts: write {form}, and a nested schema as \"a.b\""))
}

/// The schema as the catalog calls it, or none if it is not there.
pub(super) async fn existing_schema(catalog: &dyn Catalog, schema: &str) -> Result<Option<String>> {
    match catalog.namespace_properties(&namespace(schema)?).await {
        Ok(_) => return Ok(Some(schema.to_string())),
        Err(CatalogError::NamespaceNotFound { .. }) => {}
        Err(other) => return Err(other.into()),
    }
    match match_schema(catalog, schema).await? {
        Some(found) if found != schema => Ok(Some(found)),
        _ => Ok(None),
    }
}

/// The schema as the catalog calls it.
///
/// # Errors
/// `NotFound` if it is not there.
pub(super) async fn require_schema(catalog: &dyn Catalog, schema: &str) -> Result<String> {
    if let Some(found) = existing_schema(catalog, schema).await? {
        return Ok(found);
    }
    let known = catalog.list_namespaces(None).await.unwrap_or_default();
    let hint = crate::names::did_you_mean(schema, known.iter().map(|name| name.join(".")));
    Err(Error::NotFound { kind: "schema", name: format!("{}.{schema}", catalog.name()), hint })
}

/// The name of a table that the caller may create, in the schema's own letters.
///
/// # Errors
/// If there is no such schema, for the caller, or the caller may not create tables in it.
pub(crate) async fn require_create(engine: &Engine, name: &TableName, access: &Arc<Access>) -> Result<TableName> {
    let catalog = engine.catalog(&name.catalog, access)?;
    let schema = require_schema(catalog.as_ref(), &name.schema).await?;
    access.require(Privilege::Create, Object::Schema(&name.catalog, &schema))?;
    Ok(TableName { schema, ..name.clone() })
}

/// Whether there is a table of that name, or one that differs only in case. Those who may create tables are told also of tables
/// that are hidden from them: a name can be taken only once.
pub(crate) async fn table_exists(engine: &Engine, name: &TableName, access: &Access) -> Result<bool> {
    match engine.load_table(name, &Arc::new(Access::unrestricted(access.user()))).await {
        Ok(_) => Ok(true),
        Err(Error::NotFound { kind: "table" | "schema", .. }) => Ok(false),
        // It is there, and cannot be read. Why not, and where it lies, is nothing to tell whoever may not even see it.
        Err(Error::Catalog(
            CatalogError::Malformed { .. } | CatalogError::FileNotFound { .. } | CatalogError::Unsupported { .. },
        )) => Ok(true),
        Err(other) => Err(other),
    }
}
