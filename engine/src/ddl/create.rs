//! CREATE SCHEMA and CREATE TABLE.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::spec::{FormatVersion, NestedFieldRef, PrimitiveType, Schema, Transform, Type, UnboundPartitionSpec};
use polynya_catalog::{NewTable, is_placement};

use super::name::{require_create, schema_name, table_exists, table_reference};
use crate::access::{Access, Object, Privilege};
use crate::change::Change;
use crate::names::namespace;
use crate::query::QueryContext;
use crate::statement::{CreateSchema, CreateTable, PartitionBy};
use crate::{Engine, Error, Result, Session, TableName, write};

pub(super) async fn create_schema(
    engine: &Engine,
    create: CreateSchema,
    session: &Session,
    change: &Change,
) -> Result<&'static str> {
    let access = engine.access(session).await?;
    let (catalog_name, schema) = schema_name(engine, &create.schema, session, &access)?;
    // Before a privilege is asked for: a catalog that is hidden is not there.
    engine.catalog(&catalog_name, &access)?;
    access.require(Privilege::Create, Object::Catalog(&catalog_name))?;
    require_placement(&create.properties, &access)?;
    let catalog = engine.whole_catalog(&catalog_name)?;
    let properties = create.properties.into_iter().collect();
    change.begin()?;
    match catalog.create_namespace(&namespace(&schema)?, properties).await {
        Ok(()) => Ok("CREATE SCHEMA"),
        Err(polynya_catalog::Error::NamespaceExists { .. }) if create.if_not_exists => Ok("CREATE SCHEMA"),
        Err(polynya_catalog::Error::NamespaceExists { .. }) => {
            Err(Error::AlreadyExists { kind: "schema", name: format!("{catalog_name}.{schema}") })
        }
        Err(other) => Err(other.into()),
    }
}

pub(super) async fn create_table(
    engine: &Arc<Engine>,
    create: CreateTable,
    session: &Session,
    query: &QueryContext,
) -> Result<&'static str> {
    let access = engine.access(session).await?;
    let name = engine.resolve_name(&table_reference(&create.table)?, session)?;
    let name = require_create(engine, &name, &access).await?;
    require_placement(&create.properties, &access)?;
    let catalog = engine.whole_catalog(&name.catalog)?;
    let exists = || Error::AlreadyExists { kind: "table", name: name.to_string() };
    if table_exists(engine, &name, &access).await? {
        return if create.if_not_exists { Ok("CREATE TABLE") } else { Err(exists()) };
    }
    let schema = schema(create.columns)?;
    let new = new_table(&name, schema, &create.partitions, create.properties)?;
    match write::create_empty(catalog.as_ref(), &name, new, query).await {
        Ok(()) => Ok("CREATE TABLE"),
        Err(Error::Catalog(polynya_catalog::Error::TableExists { .. })) if create.if_not_exists => Ok("CREATE TABLE"),
        Err(Error::Catalog(polynya_catalog::Error::TableExists { .. })) => Err(exists()),
        Err(other) => Err(other),
    }
}

/// Refuses properties that say where files go to those who may create tables and no more: the server would write there, with its
/// own credentials, and it may be the folder of a table that they may not write to.
///
/// # Errors
/// `PermissionDenied` names the property.
pub(crate) fn require_placement(properties: &[(String, String)], access: &Access) -> Result<()> {
    match properties.iter().find(|(property, _)| is_placement(property)) {
        Some((property, _)) => access.require_admin(&format!(
            "choose where files go (property {property}; without it, the catalog chooses a folder)"
        )),
        None => Ok(()),
    }
}

fn schema(columns: Vec<NestedFieldRef>) -> Result<Schema> {
    let built = Schema::builder().with_fields(columns).build();
    built.map_err(|error| Error::Invalid(format!("the columns do not make a table: {}", error.message())))
}

/// A table to be created, from its columns, its PARTITIONED BY and its properties.
///
/// # Errors
/// If a property or a partition does not fit the columns.
pub(crate) fn new_table(
    name: &TableName,
    schema: Schema,
    partitions: &[PartitionBy],
    properties: Vec<(String, String)>,
) -> Result<NewTable> {
    let format_version = format_version(&properties)?;
    let mut properties: HashMap<String, String> = properties.into_iter().collect();
    properties.retain(|key, _| !FORMAT_VERSION_KEYS.contains(&key.as_str()));
    let location = properties.remove("location");
    check_format(&mut properties)?;
    check_version(name, &schema, format_version)?;
    Ok(NewTable {
        partition_spec: partition_spec(name, &schema, partitions)?,
        schema,
        sort_order: None,
        location,
        properties,
        format_version,
    })
}

/// How CREATE TABLE names the format version.
const FORMAT_VERSION_KEYS: [&str; 2] = ["format_version", "format-version"];

/// The format version that properties ask for: 2 unless they say otherwise.
///
/// # Errors
/// If it is none that there is.
pub(crate) fn format_version(properties: &[(String, String)]) -> Result<FormatVersion> {
    let given = properties.iter().find(|(key, _)| FORMAT_VERSION_KEYS.contains(&key.as_str()));
    match given.map(|(_, version)| version.as_str()) {
        Some("1") => Ok(FormatVersion::V1),
        None | Some("2") => Ok(FormatVersion::V2),
        Some("3") => Ok(FormatVersion::V3),
        Some(other) => Err(Error::Invalid(format!("property format_version is '{other}'; expected 1, 2 or 3"))),
    }
}

/// `format = 'parquet'` is what other engines write; anything else could not be kept.
fn check_format(properties: &mut HashMap<String, String>) -> Result<()> {
    match properties.remove("format") {
        Some(format) if !format.eq_ignore_ascii_case("parquet") => {
            Err(Error::unsupported("CREATE TABLE", format!("format = '{format}' (only parquet can be written)")))
        }
        _ => match ["partitioning", "sorted_by", "sort_order"].iter().find(|key| properties.contains_key(**key)) {
            Some(key) => Err(Error::unsupported("CREATE TABLE", format!("property {key} (use PARTITIONED BY)"))),
            None => Ok(()),
        },
    }
}

fn check_version(name: &TableName, schema: &Schema, version: FormatVersion) -> Result<()> {
    if version >= FormatVersion::V3 {
        return Ok(());
    }
    match schema.as_struct().fields().iter().find(|field| has_nanoseconds(&field.field_type)) {
        Some(field) => Err(Error::Invalid(format!(
            "column {} of table {name} has nanoseconds, which need format version 3: add WITH (format_version = 3), or use timestamp(6)",
            field.name
        ))),
        None => Ok(()),
    }
}

fn has_nanoseconds(ty: &Type) -> bool {
    match ty {
        Type::Primitive(ty) => matches!(ty, PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs),
        Type::Struct(fields) => fields.fields().iter().any(|field| has_nanoseconds(&field.field_type)),
        Type::List(list) => has_nanoseconds(&list.element_field.field_type),
        Type::Map(map) => has_nanoseconds(&map.key_field.field_type) || has_nanoseconds(&map.value_field.field_type),
    }
}

/// The fields of PARTITIONED BY, named as the Iceberg libraries name them: `at_month`, `id_bucket`.
fn partition_spec(
    table: &TableName,
    schema: &Schema,
    partitions: &[PartitionBy],
) -> Result<Option<UnboundPartitionSpec>> {
    if partitions.is_empty() {
        return Ok(None);
    }
    let mut spec = UnboundPartitionSpec::builder();
    for partition in partitions {
        let (path, field) = find_column(table, schema, partition)?;
        if let Err(error) = partition.transform.result_type(&field.field_type) {
            let message = format!("PARTITIONED BY {} of column {path}: {}", partition.transform, error.message());
            return Err(Error::Invalid(message));
        }
        let name = partition_name(schema, &path, partition.transform);
        spec = spec
            .add_partition_field(field.id, name, partition.transform)
            .map_err(|error| Error::Invalid(format!("PARTITIONED BY: {}", error.message())))?;
    }
    Ok(Some(spec.build()))
}

fn find_column(table: &TableName, schema: &Schema, partition: &PartitionBy) -> Result<(String, NestedFieldRef)> {
    let path = partition.column.iter().map(super::name::normalized).collect::<Vec<_>>().join(".");
    let exact = schema.field_by_name(&path);
    let found = exact.or_else(|| match partition.column.iter().any(|part| part.quote_style.is_some()) {
        true => None,
        false => schema.field_by_name_case_insensitive(&path),
    });
    let Some(field) = found else {
        let columns = schema.as_struct().fields().iter().map(|field| field.name.clone());
        let hint = crate::names::did_you_mean(&path, columns);
        return Err(Error::NotFound { kind: "column", name: format!("{path} of table {table}"), hint });
    };
    let path = schema.name_by_field_id(field.id).unwrap_or(&path).to_string();
    Ok((path, Arc::clone(field)))
}

fn partition_name(schema: &Schema, column: &str, transform: Transform) -> String {
    let name = match transform {
        Transform::Identity | Transform::Unknown => return column.to_string(),
        Transform::Bucket(_) => format!("{column}_bucket"),
        Transform::Truncate(_) => format!("{column}_trunc"),
        Transform::Year => format!("{column}_year"),
        Transform::Month => format!("{column}_month"),
        Transform::Day => format!("{column}_day"),
        Transform::Hour => format!("{column}_hour"),
        Transform::Void => format!("{column}_null"),
    };
    // A partition field must not have a column's name.
    if schema.field_by_name(&name).is_some() { format!("{name}_part") } else { name }
}
