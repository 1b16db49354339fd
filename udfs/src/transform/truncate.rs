//! `truncate[W]`: numbers down to a multiple of W, strings to W characters, binaries to W bytes.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, Decimal128Array, Int32Array, Int64Array, LargeBinaryArray,
    LargeStringArray, StringArray, StringViewArray,
};
use arrow::datatypes::{DataType, Decimal128Type, Int32Type, Int64Type};
use datafusion::common::exec_err;
use datafusion::error::Result;

/// Each value truncated to `width`, in the input's own type.
///
/// A decimal's width is in units of its last digit. Numbers round towards negative infinity.
pub(super) fn apply(width: u32, input: &ArrayRef) -> Result<ArrayRef> {
    let Ok(step @ 1..) = i32::try_from(width) else {
        return exec_err!("the width of truncate is {width}; it must be from 1 to 2147483647");
    };
    let length = step as usize;
    let text = |value| prefix_chars(value, length);
    let bytes = |value| prefix_bytes(value, length);
    Ok(match input.data_type() {
        DataType::Int32 => {
            let floor = |value: i32| value.wrapping_sub(value.rem_euclid(step));
            Arc::new(input.as_primitive::<Int32Type>().unary::<_, Int32Type>(floor)) as Arc<Int32Array>
        }
        DataType::Int64 => {
            let floor = |value: i64| value.wrapping_sub(value.rem_euclid(step.into()));
            Arc::new(input.as_primitive::<Int64Type>().unary::<_, Int64Type>(floor)) as Arc<Int64Array>
        }
        DataType::Decimal128(..) => {
            let floor = |value: i128| value.wrapping_sub(value.rem_euclid(step.into()));
            let floored: Decimal128Array = input.as_primitive::<Decimal128Type>().unary(floor);
            Arc::new(floored.with_data_type(input.data_type().clone()))
        }
        DataType::Utf8 => collect::<StringArray, _>(input.as_string::<i32>().iter(), text),
        DataType::LargeUtf8 => collect::<LargeStringArray, _>(input.as_string::<i64>().iter(), text),
        DataType::Utf8View => collect::<StringViewArray, _>(input.as_string_view().iter(), text),
        DataType::Binary => collect::<BinaryArray, _>(input.as_binary::<i32>().iter(), bytes),
        DataType::LargeBinary => collect::<LargeBinaryArray, _>(input.as_binary::<i64>().iter(), bytes),
        DataType::BinaryView => collect::<BinaryViewArray, _>(input.as_binary_view().iter(), bytes),
        other => return exec_err!("truncate is not defined for {other}"),
    })
}

fn collect<A, V>(values: impl Iterator<Item = Option<V>>, cut: impl Fn(V) -> V) -> ArrayRef
where
    A: Array + FromIterator<Option<V>> + 'static,
{
    Arc::new(values.map(|value| value.map(&cut)).collect::<A>())
}

/// At most the first `length` code points.
fn prefix_chars(value: &str, length: usize) -> &str {
    value.char_indices().nth(length).map_or(value, |(end, _)| &value[..end])
}

/// At most the first `length` bytes.
fn prefix_bytes(value: &[u8], length: usize) -> &[u8] {
    &value[..length.min(value.len())]
}
