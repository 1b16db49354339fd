//! How large rows are once they are written out plainly, and batches cut by that.
//!
//! Views, dictionaries and runs name a value many times and hold it once: a batch of some kilobytes may stand for gigabytes. Whoever
//! makes plain columns of it (a message, a data file) first cuts it into pieces that are small once they are plain.

use arrow::array::{Array, AsArray, OffsetSizeTrait, RecordBatch, make_array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{ArrowNativeType, ByteArrayType, DataType};

/// The batch in pieces of at most so many rows, and of at most about so many bytes each once they are plain. A row is never cut.
///
/// Halving, rather than dividing evenly, keeps a few huge rows from dragging their small neighbours over the limit.
pub fn cut(batch: &RecordBatch, rows_max: usize, bytes_max: usize) -> Vec<RecordBatch> {
    let mut pieces = Vec::new();
    let mut left = vec![batch.clone()];
    while let Some(batch) = left.pop() {
        let rows = batch.num_rows();
        if rows <= 1 || (rows <= rows_max && plain_bytes(&batch) <= bytes_max) {
            pieces.push(batch);
            continue;
        }
        let half = rows / 2;
        left.push(batch.slice(half, rows - half));
        left.push(batch.slice(0, half));
    }
    pieces
}

/// The bytes of the rows of a batch once they are plain.
pub fn plain_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| of_array(column.as_ref())).fold(0, usize::saturating_add)
}

/// The bytes of the largest value, about; within nested values, of a row on average.
pub(crate) fn largest_value(array: &dyn Array) -> usize {
    match array.data_type() {
        DataType::Utf8 => largest_text(array.as_string::<i32>()),
        DataType::Binary => largest_text(array.as_binary::<i32>()),
        _ => of_array(array).div_ceil(array.len().max(1)),
    }
}

fn largest_text<T: ByteArrayType>(texts: &arrow::array::GenericByteArray<T>) -> usize {
    let ends = texts.value_offsets().windows(2).map(|ends| ends[1].as_usize() - ends[0].as_usize());
    ends.max().unwrap_or(0)
}

fn of_array(array: &dyn Array) -> usize {
    let nulls = if array.nulls().is_some() { array.len().div_ceil(8) } else { 0 };
    let content = match array.data_type() {
        DataType::Utf8View => of_views(array.as_string_view().views()),
        DataType::BinaryView => of_views(array.as_binary_view().views()),
        DataType::Utf8 => of_texts(array.as_string::<i32>()),
        DataType::Binary => of_texts(array.as_binary::<i32>()),
        DataType::LargeUtf8 => of_texts(array.as_string::<i64>()),
        DataType::LargeBinary => of_texts(array.as_binary::<i64>()),
        DataType::Dictionary(..) => of_dictionary(array),
        DataType::RunEndEncoded(..) => of_runs(array),
        DataType::List(_) => of_lists(array.as_list::<i32>().offsets(), array.as_list::<i32>().values().as_ref()),
        DataType::LargeList(_) => of_lists(array.as_list::<i64>().offsets(), array.as_list::<i64>().values().as_ref()),
        DataType::Map(..) => of_lists(array.as_map().offsets(), array.as_map().entries()),
        DataType::FixedSizeList(..) => of_array(array.as_fixed_size_list().values().as_ref()),
        DataType::Struct(_) => array.as_struct().columns().iter().map(|column| of_array(column.as_ref())).sum(),
        _ => array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_buffer_memory_size()),
    };
    nulls.saturating_add(content)
}

/// A view's first four bytes are its value's length; offsets take another four.
fn of_views(views: &[u128]) -> usize {
    views.iter().map(|view| *view as u32 as usize + size_of::<i32>()).fold(0, usize::saturating_add)
}

fn of_texts<T: ByteArrayType>(texts: &arrow::array::GenericByteArray<T>) -> usize {
    let offsets = texts.value_offsets();
    let held = offsets[offsets.len() - 1].as_usize() - offsets[0].as_usize();
    held + size_of_val(offsets)
}

fn of_lists<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>, values: &dyn Array) -> usize {
    let (first, end) = (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize());
    size_of_val::<[O]>(offsets).saturating_add(of_array(values.slice(first, end - first).as_ref()))
}

/// Each value as often as a key names it.
fn of_dictionary(array: &dyn Array) -> usize {
    let dictionary = array.as_any_dictionary();
    let values = dictionary.values();
    if values.is_empty() {
        return 0;
    }
    let sizes: Vec<usize> = (0..values.len()).map(|value| of_array(values.slice(value, 1).as_ref())).collect();
    let keys = dictionary.normalized_keys();
    let named = keys.iter().enumerate().filter(|(row, _)| array.is_valid(*row));
    named.map(|(_, key)| sizes.get(*key).copied().unwrap_or(0)).fold(0, usize::saturating_add)
}

/// At most the largest value in every row.
fn of_runs(array: &dyn Array) -> usize {
    let data = array.to_data();
    let Some(values) = data.child_data().get(1).cloned().map(make_array) else { return 0 };
    let largest = (0..values.len()).map(|value| of_array(values.slice(value, 1).as_ref())).max().unwrap_or(0);
    largest.saturating_mul(array.len())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, DictionaryArray, Int32Array, Int64Array, ListArray, RunArray, StringArray, StringViewBuilder,
    };
    use arrow::datatypes::{Field, Int32Type};

    use super::*;

    const TEXT_BYTES: usize = 10_000;

    fn column(array: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable([("c", array, true)]).unwrap()
    }

    /// One text in every row, held once.
    fn repeated(rows: usize) -> [ArrayRef; 3] {
        let text = "x".repeat(TEXT_BYTES);
        let mut views = StringViewBuilder::new().with_deduplicate_strings();
        (0..rows).for_each(|_| views.append_value(&text));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![text]));
        let dictionary = DictionaryArray::<Int32Type>::new(Int32Array::from(vec![0; rows]), Arc::clone(&texts));
        let runs = RunArray::<Int32Type>::try_new(&Int32Array::from(vec![rows as i32]), texts.as_ref()).unwrap();
        [Arc::new(views.finish()), Arc::new(dictionary), Arc::new(runs)]
    }

    #[test]
    fn a_value_that_many_rows_share_counts_in_each_of_them() {
        for array in repeated(1000) {
            let batch = column(Arc::clone(&array));
            assert!(batch.get_array_memory_size() < 100 * TEXT_BYTES, "{}", array.data_type());
            let plain = plain_bytes(&batch);
            assert!((1000 * TEXT_BYTES..1100 * TEXT_BYTES).contains(&plain), "{}: {plain}", array.data_type());
            let pieces = cut(&batch, usize::MAX, 100 * TEXT_BYTES);
            assert!(pieces.len() >= 10 && pieces.iter().map(RecordBatch::num_rows).sum::<usize>() == 1000);
            assert!(pieces.iter().all(|piece| plain_bytes(piece) <= 100 * TEXT_BYTES));
            let item = Arc::new(Field::new("item", array.data_type().clone(), true));
            let lists = ListArray::new(item, OffsetBuffer::from_lengths([600, 400]), array, None);
            let lists = column(Arc::new(lists));
            assert!(plain_bytes(&lists.slice(1, 1)) < 450 * TEXT_BYTES, "only what the slice holds");
            assert!(plain_bytes(&lists) >= 1000 * TEXT_BYTES);
        }
    }

    #[test]
    fn rows_bound_a_piece_where_bytes_do_not() {
        let batch = column(Arc::new(Int64Array::from(vec![1; 1000])));
        assert_eq!(plain_bytes(&batch), 8000);
        assert_eq!(cut(&batch, 1000, usize::MAX).len(), 1);
        assert!(cut(&batch, 100, usize::MAX).iter().all(|piece| piece.num_rows() <= 100));
        assert_eq!(cut(&batch.slice(0, 0), 100, 0).len(), 1);
    }
}
