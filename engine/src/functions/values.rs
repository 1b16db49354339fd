//! How long the values of arguments are, row by row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, GenericListArray, OffsetSizeTrait, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{ArrowNativeType, DataType, FieldRef};
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

/// The same rows, without the values of others: a part of a list array has those of all of it, and functions go through them.
pub(super) fn narrow(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::List(field) => Arc::new(narrow_list(array.as_list::<i32>(), field)),
        DataType::LargeList(field) => Arc::new(narrow_list(array.as_list::<i64>(), field)),
        _ => Arc::clone(array),
    }
}

fn narrow_list<O: OffsetSizeTrait>(lists: &GenericListArray<O>, field: &FieldRef) -> GenericListArray<O> {
    let first = lists.value_offsets()[0].as_usize();
    let offsets = OffsetBuffer::<O>::from_lengths(lists.offsets().lengths());
    let values = lists.values().slice(first, offsets[lists.len()].as_usize());
    GenericListArray::new(Arc::clone(field), offsets, narrow(&values), lists.nulls().cloned())
}

/// Whether values of a type may be of any length.
pub(crate) fn is_long(data_type: &DataType) -> bool {
    !(data_type.is_primitive()
        || matches!(data_type, DataType::Boolean | DataType::Null | DataType::FixedSizeBinary(_)))
}

/// The bytes of the widest row of a batch, or more: the longest values of its columns.
pub(crate) fn longest_row_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(longest).sum()
}

/// The bytes of the longest value, about.
fn longest(array: &ArrayRef) -> usize {
    fn of_offsets<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> usize {
        offsets.lengths().max().unwrap_or(0)
    }
    /// On average: the longest list need not be that of the longest elements.
    fn of_element(values: &ArrayRef) -> usize {
        bytes(values).div_ceil(values.len().max(1))
    }
    fn of_list<O: OffsetSizeTrait>(list: &GenericListArray<O>) -> usize {
        of_offsets(list.offsets()).saturating_mul(of_element(list.values()))
    }
    match array.data_type() {
        DataType::Utf8 => of_offsets(array.as_string::<i32>().offsets()),
        DataType::LargeUtf8 => of_offsets(array.as_string::<i64>().offsets()),
        DataType::Binary => of_offsets(array.as_binary::<i32>().offsets()),
        DataType::LargeBinary => of_offsets(array.as_binary::<i64>().offsets()),
        // Views begin with the length.
        DataType::Utf8View => array.as_string_view().lengths().max().unwrap_or(0) as usize,
        DataType::BinaryView => array.as_binary_view().lengths().max().unwrap_or(0) as usize,
        DataType::List(_) => of_list(array.as_list::<i32>()),
        DataType::LargeList(_) => of_list(array.as_list::<i64>()),
        DataType::Struct(_) => array.as_struct().columns().iter().map(longest).sum(),
        DataType::Map(..) => {
            let map = array.as_map();
            of_offsets(map.offsets()).saturating_mul(map.entries().columns().iter().map(of_element).sum())
        }
        other => other.primitive_width().unwrap_or_else(|| bytes(array).div_ceil(array.len().max(1))),
    }
}

/// The bytes of the value in a row, nested values included.
pub(super) fn row_bytes(arg: &ColumnarValue, row: usize) -> usize {
    match arg {
        ColumnarValue::Scalar(value) => scalar_bytes(value),
        ColumnarValue::Array(array) => match text_length(arg, row) {
            Some(length) => length,
            None => array.data_type().primitive_width().unwrap_or_else(|| bytes(&narrow(&array.slice(row, 1)))),
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

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Int64Array, ListArray, StringArray, StringViewArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn the_longest_row_has_the_longest_value_of_each_column() {
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1); 3]), None]);
        let columns: [(&str, ArrayRef); 5] = [
            ("number", Arc::new(Int64Array::from(vec![1, 2]))),
            ("text", Arc::new(StringArray::from(vec!["abcde", "x"]))),
            ("view", Arc::new(StringViewArray::from(vec!["", "a text of more than twelve letters"]))),
            ("list", Arc::new(lists)),
            ("flag", Arc::new(BooleanArray::from(vec![true, false]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let flag = longest(batch.column(4));
        assert_eq!(longest_row_bytes(&batch) - flag, 8 + 5 + 34 + 24);
        assert!(longest_row_bytes(&batch.slice(0, 1)) - flag <= 8 + 5 + 24);
    }
}
