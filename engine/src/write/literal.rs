//! Iceberg values and Arrow values, one at a time: partition values, column defaults.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use datafusion::common::ScalarValue;
use iceberg::spec::{Literal, PrimitiveLiteral, PrimitiveType};

use crate::{Error, Result};

/// The value of one row as a literal of an Iceberg type; none if NULL.
pub(super) fn literal_at(array: &dyn Array, row: usize, ty: &PrimitiveType) -> Result<Option<Literal>> {
    if array.is_null(row) {
        return Ok(None);
    }
    let literal = match array.data_type() {
        DataType::Boolean => PrimitiveLiteral::Boolean(array.as_boolean().value(row)),
        DataType::Int32 => PrimitiveLiteral::Int(array.as_primitive::<Int32Type>().value(row)),
        DataType::Date32 => PrimitiveLiteral::Int(array.as_primitive::<Date32Type>().value(row)),
        DataType::Int64 => PrimitiveLiteral::Long(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => PrimitiveLiteral::Float(array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => PrimitiveLiteral::Double(array.as_primitive::<Float64Type>().value(row).into()),
        DataType::Time64(TimeUnit::Microsecond) => {
            PrimitiveLiteral::Long(array.as_primitive::<Time64MicrosecondType>().value(row))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            PrimitiveLiteral::Long(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            PrimitiveLiteral::Long(array.as_primitive::<TimestampNanosecondType>().value(row))
        }
        DataType::Decimal128(..) => PrimitiveLiteral::Int128(array.as_primitive::<Decimal128Type>().value(row)),
        DataType::Utf8 => PrimitiveLiteral::String(array.as_string::<i32>().value(row).to_string()),
        DataType::Binary => PrimitiveLiteral::Binary(array.as_binary::<i32>().value(row).to_vec()),
        DataType::FixedSizeBinary(_) => {
            let bytes = array.as_fixed_size_binary().value(row);
            match (ty, <[u8; 16]>::try_from(bytes)) {
                (PrimitiveType::Uuid, Ok(bytes)) => PrimitiveLiteral::UInt128(u128::from_be_bytes(bytes)),
                _ => PrimitiveLiteral::Binary(bytes.to_vec()),
            }
        }
        other => return Err(Error::Internal(format!("a partition value of type {other}"))),
    };
    Ok(Some(Literal::Primitive(literal)))
}

/// `rows` copies of a literal (none is NULL), in the Arrow type of its column.
pub(super) fn repeated(literal: Option<&Literal>, ty: &DataType, rows: usize, column: &str) -> Result<ArrayRef> {
    let Some(literal) = literal else {
        return Ok(arrow::array::new_null_array(ty, rows));
    };
    let unsupported = || Error::unsupported(format!("column {column}"), "a default value of a nested type");
    let Literal::Primitive(primitive) = literal else { return Err(unsupported()) };
    let scalar = match (primitive, ty) {
        (PrimitiveLiteral::Boolean(value), _) => ScalarValue::Boolean(Some(*value)),
        (PrimitiveLiteral::Int(value), DataType::Date32) => ScalarValue::Date32(Some(*value)),
        (PrimitiveLiteral::Int(value), _) => ScalarValue::Int32(Some(*value)),
        (PrimitiveLiteral::Long(value), DataType::Time64(_)) => ScalarValue::Time64Microsecond(Some(*value)),
        (PrimitiveLiteral::Long(value), DataType::Timestamp(TimeUnit::Nanosecond, zone)) => {
            ScalarValue::TimestampNanosecond(Some(*value), zone.clone())
        }
        (PrimitiveLiteral::Long(value), DataType::Timestamp(_, zone)) => {
            ScalarValue::TimestampMicrosecond(Some(*value), zone.clone())
        }
        (PrimitiveLiteral::Long(value), _) => ScalarValue::Int64(Some(*value)),
        (PrimitiveLiteral::Float(value), _) => ScalarValue::Float32(Some(value.0)),
        (PrimitiveLiteral::Double(value), _) => ScalarValue::Float64(Some(value.0)),
        (PrimitiveLiteral::String(value), _) => ScalarValue::Utf8(Some(value.clone())),
        (PrimitiveLiteral::Binary(value), DataType::FixedSizeBinary(size)) => {
            ScalarValue::FixedSizeBinary(*size, Some(value.clone()))
        }
        (PrimitiveLiteral::Binary(value), _) => ScalarValue::Binary(Some(value.clone())),
        (PrimitiveLiteral::UInt128(value), _) => ScalarValue::FixedSizeBinary(16, Some(value.to_be_bytes().to_vec())),
        (PrimitiveLiteral::Int128(value), DataType::Decimal128(precision, scale)) => {
            ScalarValue::Decimal128(Some(*value), *precision, *scale)
        }
        _ => return Err(unsupported()),
    };
    let array = scalar.to_array_of_size(rows)?;
    if array.data_type() == ty { Ok(array) } else { Ok(Arc::clone(&arrow::compute::cast(&array, ty)?)) }
}
