//! DESCRIBE and SHOW COLUMNS: a table's columns, and how it is partitioned by them.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::sql::sqlparser::ast::ObjectName;
use iceberg::spec::{NestedField, TableMetadata, Transform};

use super::name::table_reference;
use super::show::{text_rows, text_schema};
use crate::types::{quoted, sql_type_name};
use crate::{Engine, Result, Session};

const COLUMNS: [&str; 5] = ["column_name", "data_type", "is_nullable", "partition", "comment"];

pub(super) fn schema() -> SchemaRef {
    text_schema(&COLUMNS)
}

pub(super) async fn describe(engine: &Engine, table: &ObjectName, session: &Session) -> Result<RecordBatch> {
    let name = engine.resolve_name(&table_reference(table)?, session)?;
    let (_, table) = engine.load_table(&name, &engine.access(session).await?).await?;
    let metadata = &table.metadata;
    let rows = metadata.current_schema().as_struct().fields().iter().map(|field| {
        let nullable = if field.required { "NO" } else { "YES" };
        let partition = partition_of(metadata, field);
        vec![
            Some(field.name.clone()),
            Some(sql_type_name(&field.field_type)),
            Some(nullable.to_string()),
            partition,
            field.doc.clone(),
        ]
    });
    text_rows(&COLUMNS, rows.collect())
}

/// The transforms of the partition spec that use a column.
fn partition_of(metadata: &TableMetadata, column: &NestedField) -> Option<String> {
    let fields = metadata.default_partition_spec().fields().iter();
    let uses = fields.filter(|field| field.source_id == column.id && field.transform != Transform::Void);
    let transforms: Vec<String> = uses.map(|field| transform_sql(field.transform, &quoted(&column.name))).collect();
    (!transforms.is_empty()).then(|| transforms.join(", "))
}

/// A partition field as PARTITIONED BY writes it.
pub(super) fn transform_sql(transform: Transform, column: &str) -> String {
    match transform {
        Transform::Identity => column.to_string(),
        Transform::Bucket(buckets) => format!("bucket({buckets}, {column})"),
        Transform::Truncate(width) => format!("truncate({width}, {column})"),
        Transform::Year => format!("years({column})"),
        Transform::Month => format!("months({column})"),
        Transform::Day => format!("days({column})"),
        Transform::Hour => format!("hours({column})"),
        Transform::Void => format!("void({column})"),
        Transform::Unknown => format!("unknown({column})"),
    }
}
