//! The Arrow and Parquet schemas that data files are written with.
//!
//! In: a table's Iceberg schema. Out: Arrow types whose bytes are owned (no views: a batch cut into partitions must
//! not keep the whole batch alive), and a Parquet schema with field ids and the specification's logical types.
//! Specification: <https://iceberg.apache.org/spec/#parquet>.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use iceberg::spec::{PrimitiveType, Schema as IcebergSchema, Type};
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::LogicalType;
use parquet::errors::Result as ParquetResult;
use parquet::schema::types::{Type as ParquetType, TypePtr};

use crate::Result;
use crate::types::arrow_schema;

/// The Arrow schema of batches that are about to be written.
pub(super) fn write_schema(schema: &IcebergSchema) -> Result<SchemaRef> {
    let schema = arrow_schema(schema)?;
    Ok(Arc::new(Schema::new(schema.fields().iter().map(owned).collect::<Fields>())))
}

/// A field with views replaced by types that own their bytes, at every depth.
fn owned(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(owned).collect()),
        DataType::List(element) => DataType::List(owned(element)),
        DataType::Map(entries, sorted) => DataType::Map(owned(entries), *sorted),
        _ => return Arc::clone(field),
    };
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()).with_metadata(field.metadata().clone()))
}

/// The Parquet schema of a table's data files.
pub(super) fn parquet_schema(arrow: &Schema, iceberg: &IcebergSchema) -> ParquetResult<TypePtr> {
    let converted = ArrowSchemaConverter::new().schema_root("table").convert(arrow)?;
    with_uuids(&converted.root_schema_ptr(), iceberg)
}

/// The same schema with the logical type of UUID columns, which Arrow has no type for.
fn with_uuids(node: &TypePtr, iceberg: &IcebergSchema) -> ParquetResult<TypePtr> {
    let info = node.get_basic_info();
    let id = info.has_id().then(|| info.id());
    if let ParquetType::GroupType { fields, .. } = node.as_ref() {
        let fields = fields.iter().map(|field| with_uuids(field, iceberg)).collect::<ParquetResult<_>>()?;
        let mut group = ParquetType::group_type_builder(info.name())
            .with_fields(fields)
            .with_id(id)
            .with_logical_type(info.logical_type_ref().cloned())
            .with_converted_type(info.converted_type());
        if info.has_repetition() {
            group = group.with_repetition(info.repetition());
        }
        return Ok(Arc::new(group.build()?));
    }
    let field = id.and_then(|id| iceberg.field_by_id(id));
    if field.is_none_or(|field| *field.field_type != Type::Primitive(PrimitiveType::Uuid)) {
        return Ok(Arc::clone(node));
    }
    let column = ParquetType::primitive_type_builder(info.name(), node.get_physical_type())
        .with_repetition(info.repetition())
        .with_length(16)
        .with_logical_type(Some(LogicalType::Uuid))
        .with_id(id)
        .build()?;
    Ok(Arc::new(column))
}
