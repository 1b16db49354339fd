//! How long the values of arguments are, row by row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{ArrowNativeType, DataType};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;

/// The bytes that rows of an array hold.
pub(crate) fn bytes(array: &dyn Array) -> usize {
    match array.data_type() {
        DataType::Utf8View => array.as_string_view().total_bytes_len(),
        DataType::BinaryView => array.as_binary_view().total_bytes_len(),
        _ => array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size()),
    }
}

/// The bytes of the value in a row, nested values included.
pub(super) fn row_bytes(arg: &ColumnarValue, row: usize) -> usize {
    match arg {
        ColumnarValue::Scalar(value) => scalar_bytes(value),
        ColumnarValue::Array(array) => match text_length(arg, row) {
            Some(length) => length,
            None => array.data_type().primitive_width().unwrap_or_else(|| bytes(&array.slice(row, 1))),
        },
    }
}

/// The bytes of a constant where it is the value of a row.
pub(crate) fn scalar_bytes(value: &ScalarValue) -> usize {
    match value {
        ScalarValue::List(list) => bytes(list.as_ref()),
        ScalarValue::LargeList(list) => bytes(list.as_ref()),
        ScalarValue::FixedSizeList(list) => bytes(list.as_ref()),
        ScalarValue::Struct(fields) => bytes(fields.as_ref()),
        ScalarValue::Map(map) => bytes(map.as_ref()),
        value => match value.try_as_str() {
            Some(text) => text.map_or(0, str::len),
            None => value.data_type().primitive_width().unwrap_or_else(|| value.size()),
        },
    }
}

/// The length of a text in a row; none of what is no text.
pub(super) fn text_length(arg: &ColumnarValue, row: usize) -> Option<usize> {
    text(arg, row).map(str::len)
}

/// The text in a row; none of what is no text.
pub(super) fn text(arg: &ColumnarValue, row: usize) -> Option<&str> {
    match arg {
        ColumnarValue::Scalar(value) => value.try_as_str().flatten(),
        ColumnarValue::Array(array) if array.is_null(row) => None,
        ColumnarValue::Array(array) => match array.data_type() {
            DataType::Utf8 => Some(array.as_string::<i32>().value(row)),
            DataType::LargeUtf8 => Some(array.as_string::<i64>().value(row)),
            DataType::Utf8View => Some(array.as_string_view().value(row)),
            _ => None,
        },
    }
}

/// How many elements the list in a row has; none of what is no list.
pub(super) fn list_length(arg: &ColumnarValue, row: usize) -> Option<usize> {
    let (array, row) = match arg {
        ColumnarValue::Scalar(ScalarValue::List(list)) => (Arc::clone(list) as ArrayRef, 0),
        ColumnarValue::Scalar(_) => return None,
        ColumnarValue::Array(array) => (Arc::clone(array), row),
    };
    match array.data_type() {
        DataType::List(_) => Some(array.as_list::<i32>().value_length(row).as_usize()),
        DataType::LargeList(_) => Some(array.as_list::<i64>().value_length(row).as_usize()),
        _ => None,
    }
}
