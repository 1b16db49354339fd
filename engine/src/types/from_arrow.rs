//! Arrow types to Iceberg types: the schema of a table made from a query or from rows that a client sends.
//!
//! In: an Arrow schema, from any producer. Out: the narrowest Iceberg type that holds every value of each column.
//! Every column is optional, whatever the producer says: that a query's result happens to hold no NULL is not a
//! promise about later inserts. Field ids are fresh.

use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, TimeUnit};
use iceberg::spec::{
    FormatVersion, ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, Schema as IcebergSchema, StructType,
    Type,
};

use super::{FieldIds, UnsupportedType};

/// The Iceberg schema that holds rows of an Arrow schema, in a table of that format version: nanoseconds, which only
/// version 3 has, become microseconds in the others.
///
/// # Errors
/// Names the first column whose type Iceberg cannot hold, or that is there twice.
pub fn iceberg_schema(schema: &Schema, version: FormatVersion) -> Result<IcebergSchema, UnsupportedType> {
    let mut ids = Fresh { ids: FieldIds::default(), version };
    let fields = struct_fields(schema.fields().iter().map(|field| field.as_ref()), "", &mut ids)?;
    IcebergSchema::builder().with_fields(fields).build().map_err(|source| UnsupportedType {
        column: schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", "),
        type_name: "struct".to_string(),
        reason: source.message().to_string(),
    })
}

/// What all fields of one schema share.
struct Fresh {
    ids: FieldIds,
    version: FormatVersion,
}

fn struct_fields<'a>(
    fields: impl Iterator<Item = &'a Field>,
    parent: &str,
    ids: &mut Fresh,
) -> Result<Vec<NestedFieldRef>, UnsupportedType> {
    // The fields of one struct get consecutive ids, as the libraries that assign them on creation do.
    let fields: Vec<(i32, &Field)> = fields.map(|field| (ids.ids.next(), field)).collect();
    let mut converted: Vec<NestedFieldRef> = Vec::with_capacity(fields.len());
    for (id, field) in fields {
        let path = if parent.is_empty() { field.name().clone() } else { format!("{parent}.{}", field.name()) };
        if converted.iter().any(|other| other.name == *field.name()) {
            return Err(unsupported(&path, field.data_type(), "its name is there twice: give one an alias"));
        }
        let field_type = from_arrow_type(field.data_type(), &path, ids)?;
        converted.push(NestedField::optional(id, field.name(), field_type).into());
    }
    Ok(converted)
}

fn from_arrow_type(ty: &DataType, column: &str, ids: &mut Fresh) -> Result<Type, UnsupportedType> {
    Ok(match ty {
        DataType::Struct(fields) => {
            Type::Struct(StructType::new(struct_fields(fields.iter().map(|field| field.as_ref()), column, ids)?))
        }
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::FixedSizeList(element, _)
        | DataType::ListView(element)
        | DataType::LargeListView(element) => {
            let id = ids.ids.next();
            let element_type = from_arrow_type(element.data_type(), &format!("{column}.element"), ids)?;
            Type::List(ListType::new(NestedField::list_element(id, element_type, false).into()))
        }
        DataType::Map(entries, _) => {
            let DataType::Struct(entry) = entries.data_type() else {
                return Err(unsupported(column, ty, "its entries are not a struct"));
            };
            let [key, value] = entry.as_ref() else {
                return Err(unsupported(column, ty, "its entries are not pairs"));
            };
            let (key_id, value_id) = (ids.ids.next(), ids.ids.next());
            let key_type = from_arrow_type(key.data_type(), &format!("{column}.key"), ids)?;
            let value_type = from_arrow_type(value.data_type(), &format!("{column}.value"), ids)?;
            Type::Map(MapType::optional(key_id, key_type, value_id, value_type))
        }
        DataType::Dictionary(_, value) => from_arrow_type(value, column, ids)?,
        DataType::RunEndEncoded(_, value) => from_arrow_type(value.data_type(), column, ids)?,
        leaf => Type::Primitive(primitive(leaf, column, ids.version)?),
    })
}

fn primitive(ty: &DataType, column: &str, version: FormatVersion) -> Result<PrimitiveType, UnsupportedType> {
    let decimal = |precision: u8, scale: i8| match (precision, scale) {
        (1..=38, 0..) if scale.unsigned_abs() <= precision => {
            Ok(PrimitiveType::Decimal { precision: precision.into(), scale: scale as u32 })
        }
        _ => Err(unsupported(column, ty, "cast it to a decimal of at most 38 digits and a scale of 0 or more")),
    };
    Ok(match ty {
        DataType::Boolean => PrimitiveType::Boolean,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => PrimitiveType::Int,
        DataType::Int64 | DataType::UInt32 => PrimitiveType::Long,
        DataType::UInt64 => PrimitiveType::Decimal { precision: 20, scale: 0 },
        DataType::Float16 | DataType::Float32 => PrimitiveType::Float,
        DataType::Float64 => PrimitiveType::Double,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => decimal(*precision, *scale)?,
        DataType::Date32 | DataType::Date64 => PrimitiveType::Date,
        DataType::Time32(_) | DataType::Time64(TimeUnit::Microsecond) => PrimitiveType::Time,
        DataType::Time64(_) => return Err(unsupported(column, ty, "a time has microseconds: cast it to time(6)")),
        DataType::Timestamp(TimeUnit::Nanosecond, zone) if version >= FormatVersion::V3 => match zone {
            None => PrimitiveType::TimestampNs,
            Some(_) => PrimitiveType::TimestamptzNs,
        },
        DataType::Timestamp(_, None) => PrimitiveType::Timestamp,
        DataType::Timestamp(_, Some(_)) => PrimitiveType::Timestamptz,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => PrimitiveType::String,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => PrimitiveType::Binary,
        DataType::FixedSizeBinary(length) => PrimitiveType::Fixed(u64::from(length.unsigned_abs())),
        DataType::Null => return Err(unsupported(column, ty, "cast the NULL to a type")),
        DataType::Interval(IntervalUnit::YearMonth | IntervalUnit::DayTime | IntervalUnit::MonthDayNano)
        | DataType::Duration(_) => return Err(unsupported(column, ty, "Iceberg tables cannot hold intervals")),
        _ => return Err(unsupported(column, ty, "Iceberg has no such type")),
    })
}

fn unsupported(column: &str, ty: &DataType, reason: &str) -> UnsupportedType {
    UnsupportedType { column: column.to_string(), type_name: ty.to_string(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Fields;

    use super::*;
    use crate::types::arrow_schema;

    fn converted(ty: DataType) -> Result<Type, UnsupportedType> {
        let schema = iceberg_schema(&Schema::new(vec![Field::new("c", ty, false)]), FormatVersion::V2)?;
        Ok((*schema.as_struct().fields()[0].field_type).clone())
    }

    #[test]
    fn narrow_types_widen() {
        for (arrow, iceberg) in [
            (DataType::Int8, PrimitiveType::Int),
            (DataType::UInt16, PrimitiveType::Int),
            (DataType::UInt32, PrimitiveType::Long),
            (DataType::UInt64, PrimitiveType::Decimal { precision: 20, scale: 0 }),
            (DataType::Timestamp(TimeUnit::Second, None), PrimitiveType::Timestamp),
            (DataType::Timestamp(TimeUnit::Millisecond, Some("+02:00".into())), PrimitiveType::Timestamptz),
            (DataType::Timestamp(TimeUnit::Nanosecond, None), PrimitiveType::Timestamp),
            (DataType::LargeUtf8, PrimitiveType::String),
            (DataType::Date64, PrimitiveType::Date),
            (DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)), PrimitiveType::String),
        ] {
            assert_eq!(converted(arrow).expect("supported"), Type::Primitive(iceberg));
        }
    }

    #[test]
    fn types_iceberg_lacks_name_the_column() {
        for arrow in [DataType::Null, DataType::Decimal128(10, -2), DataType::Duration(TimeUnit::Second)] {
            assert_eq!(converted(arrow).expect_err("unsupported").column, "c");
        }
    }

    #[test]
    fn nested_types_come_back() {
        let list = DataType::List(Field::new("item", DataType::Int64, true).into());
        let schema = Schema::new(vec![
            Field::new("s", DataType::Struct(Fields::from(vec![Field::new("l", list, true)])), true),
            Field::new("t", DataType::Utf8, false),
        ]);
        let iceberg = iceberg_schema(&schema, FormatVersion::V3).expect("supported");
        let ids: Vec<i32> = iceberg.as_struct().fields().iter().map(|field| field.id).collect();
        assert_eq!(ids, [1, 2]);
        assert_eq!(iceberg.name_by_field_id(4), Some("s.l.element"));
        assert!(arrow_schema(&iceberg).is_ok());
    }
}
