//! Iceberg types to Arrow types.
//!
//! In: an Iceberg schema. Out: the Arrow schema that the engine plans and writes with. Every field, nested ones
//! too, carries its Iceberg field id, because columns are found by id and never by name. Strings and binaries are
//! views inside the engine; what clients see is decided where results leave it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use iceberg::spec::{NestedField, PrimitiveType, Schema as IcebergSchema, Type};

use super::UnsupportedType;

/// The Arrow metadata key that holds a field's Iceberg id; the key that Parquet readers and writers use too.
pub const FIELD_ID_KEY: &str = "PARQUET:field_id";

/// The Arrow schema of an Iceberg schema, with field ids.
///
/// # Errors
/// Names the first column whose type Arrow cannot hold.
pub fn arrow_schema(schema: &IcebergSchema) -> Result<SchemaRef, UnsupportedType> {
    let fields: Fields =
        schema.as_struct().fields().iter().map(|field| arrow_field(field)).collect::<Result<_, _>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

/// The schema with the ids of its columns only. A plan's types have none within: values that are made while a query is planned or runs lose
/// them, and would be of another type then.
pub(crate) fn without_ids_below(schema: &Schema) -> SchemaRef {
    let columns = schema.fields().iter().map(|column| {
        let plain = without_notes(column.data_type());
        Arc::new(column.as_ref().clone().with_data_type(plain))
    });
    Arc::new(Schema::new_with_metadata(columns.collect::<Fields>(), schema.metadata().clone()))
}

/// The type without the notes of the fields within it.
fn without_notes(data_type: &DataType) -> DataType {
    let plain = |field: &FieldRef| {
        let data_type = without_notes(field.data_type());
        Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
    };
    match data_type {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain).collect()),
        DataType::List(field) => DataType::List(plain(field)),
        DataType::LargeList(field) => DataType::LargeList(plain(field)),
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(plain(field), *size),
        DataType::Map(entries, sorted) => DataType::Map(plain(entries), *sorted),
        other => other.clone(),
    }
}

/// The Arrow field of an Iceberg field: its name, type, nullability and id.
///
/// # Errors
/// Names the field, or the field within it, whose type Arrow cannot hold.
pub fn arrow_field(field: &NestedField) -> Result<FieldRef, UnsupportedType> {
    field_at(field, &field.name)
}

/// The Arrow type of an Iceberg type; `column` is what an error calls it.
///
/// # Errors
/// When Arrow cannot hold the type.
pub fn arrow_type(ty: &Type, column: &str) -> Result<DataType, UnsupportedType> {
    Ok(match ty {
        Type::Primitive(primitive) => primitive_type(primitive, column)?,
        Type::Struct(fields) => DataType::Struct(
            fields
                .fields()
                .iter()
                .map(|field| field_at(field, &format!("{column}.{}", field.name)))
                .collect::<Result<_, _>>()?,
        ),
        Type::List(list) => DataType::List(field_at(&list.element_field, &format!("{column}.element"))?),
        Type::Map(map) => {
            let key = field_at(&map.key_field, &format!("{column}.key"))?;
            let value = field_at(&map.value_field, &format!("{column}.value"))?;
            let entries = Field::new("key_value", DataType::Struct(Fields::from(vec![key, value])), false);
            DataType::Map(Arc::new(entries), false)
        }
    })
}

fn field_at(field: &NestedField, path: &str) -> Result<FieldRef, UnsupportedType> {
    let data_type = arrow_type(&field.field_type, path)?;
    let id = HashMap::from([(FIELD_ID_KEY.to_string(), field.id.to_string())]);
    Ok(Arc::new(Field::new(&field.name, data_type, !field.required).with_metadata(id)))
}

fn primitive_type(primitive: &PrimitiveType, column: &str) -> Result<DataType, UnsupportedType> {
    let unsupported = |reason: &str| UnsupportedType {
        column: column.to_string(),
        type_name: primitive.to_string(),
        reason: reason.to_string(),
    };
    let utc = || Some(Arc::from("UTC"));
    Ok(match primitive {
        PrimitiveType::Boolean => DataType::Boolean,
        PrimitiveType::Int => DataType::Int32,
        PrimitiveType::Long => DataType::Int64,
        PrimitiveType::Float => DataType::Float32,
        PrimitiveType::Double => DataType::Float64,
        PrimitiveType::Decimal { precision, scale } => {
            if *precision == 0 || *precision > u32::from(DECIMAL128_MAX_PRECISION) || scale > precision {
                return Err(unsupported("a decimal has 1 to 38 digits, and no more of them after the point"));
            }
            DataType::Decimal128(*precision as u8, *scale as i8)
        }
        PrimitiveType::Date => DataType::Date32,
        PrimitiveType::Time => DataType::Time64(TimeUnit::Microsecond),
        PrimitiveType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        PrimitiveType::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, utc()),
        PrimitiveType::TimestampNs => DataType::Timestamp(TimeUnit::Nanosecond, None),
        PrimitiveType::TimestamptzNs => DataType::Timestamp(TimeUnit::Nanosecond, utc()),
        PrimitiveType::String => DataType::Utf8View,
        PrimitiveType::Uuid => DataType::FixedSizeBinary(16),
        PrimitiveType::Fixed(length) => {
            let length = i32::try_from(*length).map_err(|_| unsupported("the longest fixed is 2147483647 bytes"))?;
            DataType::FixedSizeBinary(length)
        }
        PrimitiveType::Binary => DataType::BinaryView,
    })
}

#[cfg(test)]
mod tests {
    use iceberg::spec::{ListType, MapType, StructType};

    use super::*;

    #[test]
    fn nested_fields_carry_their_ids() {
        let schema = IcebergSchema::builder()
            .with_fields([
                NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long)).into(),
                NestedField::optional(
                    2,
                    "tags",
                    Type::Map(MapType::optional(
                        3,
                        Type::Primitive(PrimitiveType::String),
                        4,
                        Type::List(ListType::new(
                            NestedField::list_element(
                                5,
                                Type::Struct(StructType::new(vec![
                                    NestedField::optional(6, "at", Type::Primitive(PrimitiveType::Timestamptz)).into(),
                                ])),
                                true,
                            )
                            .into(),
                        )),
                    )),
                )
                .into(),
            ])
            .build()
            .expect("a schema");
        let arrow = arrow_schema(&schema).expect("supported");
        assert_eq!(arrow.field(0).metadata()[FIELD_ID_KEY], "1");
        assert!(!arrow.field(0).is_nullable());
        let DataType::Map(entries, false) = arrow.field(1).data_type() else { panic!("a map") };
        let DataType::Struct(entry) = entries.data_type() else { panic!("entries") };
        assert_eq!((entry[0].name().as_str(), entry[0].metadata()[FIELD_ID_KEY].as_str()), ("key", "3"));
        let DataType::List(element) = entry[1].data_type() else { panic!("a list") };
        assert_eq!((element.name().as_str(), element.is_nullable()), ("element", false));
        let DataType::Struct(inner) = element.data_type() else { panic!("a struct") };
        assert_eq!(inner[0].metadata()[FIELD_ID_KEY], "6");
        assert_eq!(inner[0].data_type(), &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    }

    #[test]
    fn a_decimal_too_wide_names_the_column() {
        let wide = Type::Primitive(PrimitiveType::Decimal { precision: 40, scale: 2 });
        let error = arrow_type(&wide, "price").expect_err("too wide");
        assert_eq!(error.column, "price");
    }
}
