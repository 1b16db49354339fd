//! DROP TABLE, DROP SCHEMA and ALTER TABLE … RENAME TO.

use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::sql::sqlparser::ast::ObjectName;
use polynya_catalog::{Catalog, NamespaceIdent};

use super::name::{existing_schema, require_create, require_schema, schema_name, table_exists, table_reference};
use crate::access::{Access, Object, Privilege};
use crate::change::Change;
use crate::information_schema::all_namespaces;
use crate::names::namespace;
use crate::{Engine, Error, Result, Session, TableName};

pub(super) async fn drop_table(
    engine: &Arc<Engine>,
    table: &ObjectName,
    if_exists: bool,
    purge: bool,
    session: &Session,
    change: &Change,
) -> Result<&'static str> {
    let access = engine.access(session).await?;
    let asked = engine.resolve_name(&table_reference(table)?, session)?;
    let Some(name) = find_table(engine, &asked, if_exists, &access).await? else { return Ok("DROP TABLE") };
    access.require(Privilege::Drop, Object::Table(&name))?;
    change.begin()?;
    engine.whole_catalog(&name.catalog)?.drop_table(&name.ident()?, purge).await?;
    Ok("DROP TABLE")
}

pub(super) async fn drop_schema(
    engine: &Arc<Engine>,
    schema: &ObjectName,
    if_exists: bool,
    cascade: bool,
    session: &Session,
    change: &Change,
) -> Result<&'static str> {
    let access = engine.access(session).await?;
    let (catalog_name, schema) = schema_name(engine, schema, session, &access)?;
    let catalog = engine.catalog(&catalog_name, &access)?;
    let found = match if_exists {
        true => existing_schema(catalog.as_ref(), &schema).await?,
        false => Some(require_schema(catalog.as_ref(), &schema).await?),
    };
    let Some(found) = found else { return Ok("DROP SCHEMA") };
    access.require(Privilege::Drop, Object::Schema(&catalog_name, &found))?;
    let namespace = namespace(&found)?;
    let catalog = engine.whole_catalog(&catalog_name)?;
    if cascade {
        drop_contents(catalog.as_ref(), &namespace, &access, change).await?;
    }
    change.begin()?;
    catalog.drop_namespace(&namespace).await?;
    Ok("DROP SCHEMA")
}

/// Drops the tables of a namespace and of those below it, and then those below it, innermost first.
/// It goes on once the first is dropped: half of a schema is nothing that anybody asked for.
async fn drop_contents(
    catalog: &dyn Catalog,
    namespace: &NamespaceIdent,
    access: &Access,
    change: &Change,
) -> Result<()> {
    let mut below: Vec<NamespaceIdent> = all_namespaces(catalog).await?;
    below.retain(|other| other.len() > namespace.len() && other.starts_with(namespace));
    below.sort_by_key(|other| std::cmp::Reverse(other.len()));
    // Before anything is dropped. Schemas below that are hidden are not named.
    if below.iter().any(|nested| !access.has(Privilege::Drop, Object::Schema(catalog.name(), &nested.join(".")))) {
        access.require(Privilege::Drop, Object::Catalog(catalog.name()))?;
    }
    change.begin()?;
    for nested in below.iter().chain([namespace]) {
        for table in catalog.list_tables(nested).await? {
            catalog.drop_table(&table, false).await?;
        }
        if nested != namespace {
            catalog.drop_namespace(nested).await?;
        }
    }
    Ok(())
}

pub(super) async fn rename_table(
    engine: &Arc<Engine>,
    from: &ObjectName,
    to: &ObjectName,
    if_exists: bool,
    session: &Session,
    change: &Change,
) -> Result<&'static str> {
    let access = engine.access(session).await?;
    let asked = engine.resolve_name(&table_reference(from)?, session)?;
    let Some(from) = find_table(engine, &asked, if_exists, &access).await? else { return Ok("ALTER TABLE") };
    access.require(Privilege::Alter, Object::Table(&from))?;
    let to = match table_reference(to)? {
        TableReference::Bare { table } => TableName { table: table.to_string(), ..from.clone() },
        TableReference::Partial { schema, table } => {
            TableName { schema: schema.to_string(), table: table.to_string(), ..from.clone() }
        }
        full => engine.resolve_name(&full, session)?,
    };
    if to.catalog != from.catalog {
        let message = "use CREATE TABLE … AS SELECT, then DROP TABLE";
        return Err(Error::unsupported("renaming a table into another catalog", message));
    }
    let to = require_create(engine, &to, &access).await?;
    if table_exists(engine, &to, &access).await? {
        return Err(Error::AlreadyExists { kind: "table", name: to.to_string() });
    }
    let catalog = engine.whole_catalog(&from.catalog)?;
    change.begin()?;
    catalog.rename_table(&from.ident()?, &to.ident()?).await?;
    Ok("ALTER TABLE")
}

/// The table's name as the catalog has it; none if it is not there and need not be.
pub(super) async fn find_table(
    engine: &Engine,
    asked: &TableName,
    if_exists: bool,
    access: &Arc<Access>,
) -> Result<Option<TableName>> {
    match engine.load_table(asked, access).await {
        Ok((found, _)) => Ok(Some(found)),
        Err(Error::NotFound { kind: "table" | "schema", .. }) if if_exists => Ok(None),
        // A table that cannot be read can still be dropped or renamed.
        Err(Error::Catalog(
            polynya_catalog::Error::Malformed { .. }
            | polynya_catalog::Error::FileNotFound { .. }
            | polynya_catalog::Error::Unsupported { .. },
        )) => Ok(Some(asked.clone())),
        Err(other) => Err(other),
    }
}
