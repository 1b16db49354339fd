//! SHOW CATALOGS, SHOW SCHEMAS and SHOW TABLES.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{ObjectName, ObjectNamePart};

use super::name::{normalized, require_schema, schema_name};
use crate::information_schema::all_namespaces;
use crate::names::namespace;
use crate::{Engine, Error, Result, Session};

pub(super) const CATALOGS: [&str; 1] = ["catalog_name"];
pub(super) const SCHEMAS: [&str; 2] = ["catalog_name", "schema_name"];
pub(super) const TABLES: [&str; 4] = ["table_catalog", "table_schema", "table_name", "table_type"];

pub(super) async fn catalogs(engine: &Engine, like: Option<&str>, session: &Session) -> Result<RecordBatch> {
    let access = engine.access(session).await?;
    let names = engine.visible_catalog_names(&access).into_iter().filter(|name| matches(like, name));
    text_rows(&CATALOGS, names.map(|name| vec![Some(name)]).collect())
}

pub(super) async fn schemas(
    engine: &Engine,
    catalog: Option<&ObjectName>,
    like: Option<&str>,
    session: &Session,
) -> Result<RecordBatch> {
    let catalog_name = match catalog.map(|name| name.0.as_slice()) {
        None => engine.current_catalog(session)?,
        Some([ObjectNamePart::Identifier(name)]) => normalized(name),
        Some(_) => return Err(Error::Invalid("SHOW SCHEMAS FROM takes the name of a catalog".to_string())),
    };
    let catalog = engine.catalog(&catalog_name, &engine.access(session).await?)?;
    let schemas = all_namespaces(catalog.as_ref()).await?;
    let names = schemas.iter().map(|schema| schema.join(".")).filter(|name| matches(like, name));
    text_rows(&SCHEMAS, names.map(|name| vec![Some(catalog_name.clone()), Some(name)]).collect())
}

pub(super) async fn tables(
    engine: &Engine,
    schema: Option<&ObjectName>,
    like: Option<&str>,
    session: &Session,
) -> Result<RecordBatch> {
    let access = engine.access(session).await?;
    let (catalog_name, schema) = match schema {
        Some(schema) => schema_name(engine, schema, session, &access)?,
        None => {
            let message = "no schema is selected: write SHOW TABLES FROM a schema, or choose one with USE";
            let schema = session.schema().ok_or_else(|| Error::Invalid(message.to_string()))?;
            (engine.current_catalog(session)?, schema)
        }
    };
    let catalog = engine.catalog(&catalog_name, &access)?;
    let schema = require_schema(catalog.as_ref(), &schema).await?;
    let tables = catalog.list_tables(&namespace(&schema)?).await?;
    let rows = tables.into_iter().filter(|table| matches(like, table.name())).map(|table| {
        let kind = "BASE TABLE".to_string();
        vec![Some(catalog_name.clone()), Some(schema.clone()), Some(table.name), Some(kind)]
    });
    text_rows(&TABLES, rows.collect())
}

/// Columns of text.
pub(super) fn text_schema(columns: &[&str]) -> SchemaRef {
    let fields = columns.iter().map(|name| Field::new(*name, DataType::Utf8, true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Rows of text.
pub(super) fn text_rows(columns: &[&str], rows: Vec<Vec<Option<String>>>) -> Result<RecordBatch> {
    let arrays = (0..columns.len()).map(|column| {
        let values: StringArray = rows.iter().map(|row| row.get(column).cloned().flatten()).collect();
        Arc::new(values) as ArrayRef
    });
    Ok(RecordBatch::try_new(text_schema(columns), arrays.collect())?)
}

/// Whether a name matches a LIKE pattern, without regard to case. Everything matches no pattern.
pub(super) fn matches(pattern: Option<&str>, name: &str) -> bool {
    let Some(pattern) = pattern else { return true };
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let name: Vec<char> = name.to_lowercase().chars().collect();
    like(&pattern, &name)
}

fn like(pattern: &[char], name: &[char]) -> bool {
    match pattern {
        [] => name.is_empty(),
        ['%', rest @ ..] => (0..=name.len()).any(|skipped| like(rest, &name[skipped..])),
        ['_', rest @ ..] => !name.is_empty() && like(rest, &name[1..]),
        ['\\', literal, rest @ ..] | [literal, rest @ ..] => name.first() == Some(literal) && like(rest, &name[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_like() {
        assert!(matches(None, "orders"));
        assert!(matches(Some("ord%"), "Orders"));
        assert!(matches(Some("%er_"), "orders"));
        assert!(matches(Some("a\\_b"), "a_b"));
        assert!(!matches(Some("a\\_b"), "axb"));
        assert!(!matches(Some("ord"), "orders"));
    }
}
