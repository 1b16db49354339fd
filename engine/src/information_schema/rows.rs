//! The rows of `information_schema`, from catalogs. A table that cannot be loaded has no columns to show; the rest is shown.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::SchemaRef;
use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{NestedField, PrimitiveType, Type};
use polynya_catalog::{Catalog, Error as CatalogError, NamespaceIdent, TableIdent};

use super::{INFORMATION_SCHEMA, Wanted};
use crate::names::namespace;
use crate::{Result, types};

/// Catalog requests at once.
const CONCURRENT_REQUESTS: usize = 16;

pub(super) async fn schemata(catalog: &dyn Catalog, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut names: Vec<String> = all_namespaces(catalog).await?.iter().map(|name| name.join(".")).collect();
    names.push(INFORMATION_SCHEMA.to_owned());
    let catalogs = vec![catalog.name(); names.len()];
    let owners: Vec<Option<&str>> = vec![None; names.len()];
    batch(schema, vec![strings(catalogs), strings(names), Arc::new(StringArray::from(owners))])
}

pub(super) async fn tables(catalog: &dyn Catalog, schema: &SchemaRef, wanted: &Wanted) -> Result<RecordBatch> {
    let tables = wanted_tables(catalog, wanted).await?;
    batch(
        schema,
        vec![
            strings(vec![catalog.name(); tables.len()]),
            strings(tables.iter().map(|table| table.namespace.join("."))),
            strings(tables.iter().map(|table| table.name.clone())),
            strings(vec!["BASE TABLE"; tables.len()]),
        ],
    )
}

pub(super) async fn columns(catalog: &dyn Catalog, schema: &SchemaRef, wanted: &Wanted) -> Result<RecordBatch> {
    let tables = wanted_tables(catalog, wanted).await?;
    let loads = futures::stream::iter(tables).map(|table| async move {
        match catalog.load_table(&table).await {
            Ok(loaded) => Some((table, loaded.metadata.current_schema().as_struct().fields().to_vec())),
            Err(error) => {
                tracing::warn!(%table, %error, "a table cannot be loaded: its columns are not listed");
                None
            }
        }
    });
    let loaded: Vec<_> = loads.buffered(CONCURRENT_REQUESTS).filter_map(std::future::ready).collect().await;
    let columns: Vec<(&TableIdent, usize, &NestedField)> = loaded
        .iter()
        .flat_map(|(table, fields)| {
            fields.iter().enumerate().map(move |(position, field)| (table, position, field.as_ref()))
        })
        .collect();
    let ints = |value: &dyn Fn(&NestedField) -> Option<i32>| -> ArrayRef {
        Arc::new(columns.iter().map(|(_, _, field)| value(field)).collect::<Int32Array>())
    };
    let optional = |value: &dyn Fn(&NestedField) -> Option<String>| -> ArrayRef {
        Arc::new(columns.iter().map(|(_, _, field)| value(field)).collect::<StringArray>())
    };
    let positions: Int32Array = columns.iter().map(|(_, position, _)| i32::try_from(position + 1).ok()).collect();
    batch(
        schema,
        vec![
            strings(vec![catalog.name(); columns.len()]),
            strings(columns.iter().map(|(table, _, _)| table.namespace.join("."))),
            strings(columns.iter().map(|(table, _, _)| table.name.clone())),
            strings(columns.iter().map(|(_, _, field)| field.name.clone())),
            Arc::new(positions),
            optional(&|_| None),
            strings(columns.iter().map(|(_, _, field)| if field.required { "NO" } else { "YES" })),
            strings(columns.iter().map(|(_, _, field)| types::sql_type_name(&field.field_type))),
            ints(&precision),
            ints(&scale),
            ints(&datetime_precision),
            optional(&|field| field.doc.clone()),
        ],
    )
}

fn precision(field: &NestedField) -> Option<i32> {
    match field.field_type.as_primitive_type()? {
        PrimitiveType::Decimal { precision, .. } => i32::try_from(*precision).ok(),
        PrimitiveType::Int => Some(32),
        PrimitiveType::Long => Some(64),
        PrimitiveType::Float => Some(24),
        PrimitiveType::Double => Some(53),
        _ => None,
    }
}

fn scale(field: &NestedField) -> Option<i32> {
    match field.field_type.as_ref() {
        Type::Primitive(PrimitiveType::Decimal { scale, .. }) => i32::try_from(*scale).ok(),
        Type::Primitive(PrimitiveType::Int | PrimitiveType::Long) => Some(0),
        _ => None,
    }
}

fn datetime_precision(field: &NestedField) -> Option<i32> {
    match field.field_type.as_primitive_type()? {
        PrimitiveType::Date => Some(0),
        PrimitiveType::Time | PrimitiveType::Timestamp | PrimitiveType::Timestamptz => Some(6),
        PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs => Some(9),
        _ => None,
    }
}

/// The tables that the filters leave, by namespace and name.
async fn wanted_tables(catalog: &dyn Catalog, wanted: &Wanted) -> Result<Vec<TableIdent>> {
    let namespaces = match &wanted.schema {
        Some(schema) => namespace(schema).map(|namespace| vec![namespace]).unwrap_or_default(),
        None => all_namespaces(catalog).await?,
    };
    let lists = futures::stream::iter(namespaces).map(|namespace| async move {
        match catalog.list_tables(&namespace).await {
            Err(CatalogError::NamespaceNotFound { .. }) => Ok(Vec::new()),
            other => other,
        }
    });
    let lists: Vec<Vec<TableIdent>> = lists.buffered(CONCURRENT_REQUESTS).try_collect().await?;
    let matches = |table: &TableIdent| wanted.table.as_ref().is_none_or(|name| *name == table.name);
    Ok(lists.into_iter().flatten().filter(matches).collect())
}

/// All namespaces of a catalog, nested ones after their parents.
pub(crate) async fn all_namespaces(catalog: &dyn Catalog) -> Result<Vec<NamespaceIdent>> {
    let mut found = Vec::new();
    let mut level = catalog.list_namespaces(None).await?;
    while !level.is_empty() {
        let below = futures::stream::iter(level.clone())
            .map(|parent| async move { catalog.list_namespaces(Some(&parent)).await })
            .buffered(CONCURRENT_REQUESTS);
        let below: Vec<Vec<NamespaceIdent>> = below.try_collect().await?;
        found.extend(level);
        level = below.into_iter().flatten().collect();
    }
    found.sort();
    Ok(found)
}

fn strings<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
