//! Iceberg literals as Arrow arrays and scalars, in the layout that the engine uses for their type (see docs/types.md).

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int32Array, Int64Array, StringViewArray, Time64MicrosecondArray, TimestampMicrosecondArray,
    TimestampNanosecondArray,
};
use datafusion::common::ScalarValue;
use iceberg::spec::{PrimitiveLiteral, PrimitiveType};

use crate::types::Form;

/// An array of `values` of type `primitive`; a literal of another type becomes null, that is unknown.
/// `None` if the type has no Arrow layout here.
pub(crate) fn array<'a>(
    primitive: &PrimitiveType,
    values: impl Iterator<Item = Option<&'a PrimitiveLiteral>>,
) -> Option<ArrayRef> {
    macro_rules! collect {
        ($array:ty, $variant:ident, $convert:expr) => {
            values
                .map(|value| match value {
                    Some(PrimitiveLiteral::$variant(value)) => Some($convert(value)),
                    _ => None,
                })
                .collect::<$array>()
        };
    }
    Some(match primitive {
        PrimitiveType::Boolean => Arc::new(collect!(BooleanArray, Boolean, |value: &bool| *value)),
        PrimitiveType::Int => Arc::new(collect!(Int32Array, Int, |value: &i32| *value)),
        PrimitiveType::Long => Arc::new(collect!(Int64Array, Long, |value: &i64| *value)),
        PrimitiveType::Float => Arc::new(
            values
                .map(|value| match value {
                    Some(PrimitiveLiteral::Float(value)) => Some(value.0),
                    _ => None,
                })
                .collect::<Float32Array>(),
        ),
        PrimitiveType::Double => Arc::new(
            values
                .map(|value| match value {
                    Some(PrimitiveLiteral::Double(value)) => Some(value.0),
                    _ => None,
                })
                .collect::<Float64Array>(),
        ),
        PrimitiveType::Decimal { precision, scale } => {
            let decimals = collect!(Decimal128Array, Int128, |value: &i128| *value);
            let precision = u8::try_from(*precision).ok()?;
            let scale = i8::try_from(*scale).ok()?;
            Arc::new(decimals.with_precision_and_scale(precision, scale).ok()?)
        }
        PrimitiveType::Date => Arc::new(collect!(Date32Array, Int, |value: &i32| *value)),
        PrimitiveType::Time => Arc::new(collect!(Time64MicrosecondArray, Long, |value: &i64| *value)),
        PrimitiveType::Timestamp => Arc::new(collect!(TimestampMicrosecondArray, Long, |value: &i64| *value)),
        PrimitiveType::Timestamptz => {
            Arc::new(collect!(TimestampMicrosecondArray, Long, |value: &i64| *value).with_timezone("UTC"))
        }
        PrimitiveType::TimestampNs => Arc::new(collect!(TimestampNanosecondArray, Long, |value: &i64| *value)),
        PrimitiveType::TimestamptzNs => {
            Arc::new(collect!(TimestampNanosecondArray, Long, |value: &i64| *value).with_timezone("UTC"))
        }
        PrimitiveType::String => Arc::new(collect!(StringViewArray, String, |value: &'a String| value.as_str())),
        PrimitiveType::Binary => Arc::new(collect!(BinaryViewArray, Binary, |value: &'a Vec<u8>| value.as_slice())),
        PrimitiveType::Uuid => fixed(values.map(uuid_bytes), 16)?,
        PrimitiveType::Fixed(width) => {
            fixed(values.map(|value| binary_bytes(value, *width)), i32::try_from(*width).ok()?)?
        }
    })
}

/// One literal as a scalar; `None` if it does not belong to the type.
pub(crate) fn scalar(primitive: &PrimitiveType, value: &PrimitiveLiteral) -> Option<ScalarValue> {
    let values = Form::OneNan.of(&array(primitive, std::iter::once(Some(value)))?).ok()?;
    let scalar = ScalarValue::try_from_array(&values, 0).ok()?;
    (!scalar.is_null()).then_some(scalar)
}

fn fixed(values: impl Iterator<Item = Option<Vec<u8>>>, width: i32) -> Option<ArrayRef> {
    Some(Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, width).ok()?))
}

fn uuid_bytes(value: Option<&PrimitiveLiteral>) -> Option<Vec<u8>> {
    match value {
        Some(PrimitiveLiteral::UInt128(value)) => Some(value.to_be_bytes().to_vec()),
        _ => None,
    }
}

fn binary_bytes(value: Option<&PrimitiveLiteral>, width: u64) -> Option<Vec<u8>> {
    match value {
        Some(PrimitiveLiteral::Binary(value)) if value.len() as u64 == width => Some(value.clone()),
        _ => None,
    }
}
