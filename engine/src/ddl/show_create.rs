//! SHOW CREATE TABLE: the statement that makes a table like this one, elsewhere.

use arrow::array::RecordBatch;
use datafusion::sql::sqlparser::ast::ObjectName;
use iceberg::spec::{NestedField, TableMetadata, Transform};

use super::describe::transform_sql;
use super::name::table_reference;
use super::show::text_rows;
use crate::types::{quoted, sql_type_name};
use crate::{Engine, Result, Session, TableName};

pub(super) const COLUMNS: [&str; 1] = ["create_table"];

pub(super) async fn show_create_table(engine: &Engine, table: &ObjectName, session: &Session) -> Result<RecordBatch> {
    let name = engine.resolve_name(&table_reference(table)?, session)?;
    let (name, table) = engine.load_table(&name, &engine.access(session).await?).await?;
    text_rows(&COLUMNS, vec![vec![Some(create_table(&name, &table.metadata))]])
}

fn create_table(name: &TableName, metadata: &TableMetadata) -> String {
    let columns: Vec<String> =
        metadata.current_schema().as_struct().fields().iter().map(|field| column(field)).collect();
    let full_name = [&name.catalog, &name.schema, &name.table].map(|part| quoted(part)).join(".");
    let mut sql = format!("CREATE TABLE {full_name} (\n    {}\n)", columns.join(",\n    "));
    let partitions = partitions(metadata);
    if !partitions.is_empty() {
        sql.push_str(&format!("\nPARTITIONED BY ({})", partitions.join(", ")));
    }
    sql.push_str(&format!("\nWITH (\n    {}\n)", properties(metadata).join(",\n    ")));
    sql
}

fn column(field: &NestedField) -> String {
    let not_null = if field.required { " NOT NULL" } else { "" };
    let comment = field.doc.as_ref().map(|doc| format!(" COMMENT {}", text(doc))).unwrap_or_default();
    format!("{} {}{not_null}{comment}", quoted(&field.name), sql_type_name(&field.field_type))
}

fn partitions(metadata: &TableMetadata) -> Vec<String> {
    let schema = metadata.current_schema();
    let fields = metadata.default_partition_spec().fields().iter();
    let used = fields.filter(|field| field.transform != Transform::Void);
    let columns = used.filter_map(|field| Some((field.transform, schema.name_by_field_id(field.source_id)?)));
    let parts = |path: &str| path.split('.').map(quoted).collect::<Vec<_>>().join(".");
    columns.map(|(transform, path)| transform_sql(transform, &parts(path))).collect()
}

fn properties(metadata: &TableMetadata) -> Vec<String> {
    let mut given: Vec<(&String, &String)> = metadata.properties().iter().collect();
    given.sort();
    let version = format!("format_version = {}", metadata.format_version() as u8);
    let rest = given.into_iter().map(|(key, value)| format!("\"{}\" = {}", key.replace('"', "\"\""), text(value)));
    std::iter::once(version).chain(rest).collect()
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
