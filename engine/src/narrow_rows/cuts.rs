//! Where batches are cut.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, GenericListArray, OffsetSizeTrait, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{ArrowNativeType, DataType};
use datafusion::common::Result;
use datafusion::physical_plan::unnest::ListUnnest;
use prost::Message;

use crate::functions::array_bytes;

/// What an operator may write for the rows of a batch, in bytes; for a single row as much as it takes.
pub(super) const BATCH_BYTES: usize = 32 << 20;
/// Rows that an operator may make of those of a batch.
const BATCH_ROWS: usize = 1 << 20;

/// What an operator writes for each row.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Cuts {
    /// The bytes of its constants.
    #[prost(uint64, tag = "1")]
    constants: u64,
    /// The columns of lists of which it makes rows.
    #[prost(uint32, repeated, tag = "2")]
    lists: Vec<u32>,
    /// Whether elements become rows, and nothing within them.
    #[prost(bool, tag = "3")]
    is_flat: bool,
}

impl Cuts {
    /// Constants of so many bytes in each row.
    pub(crate) fn of_constants(bytes: usize) -> Self {
        Self { constants: bytes as u64, lists: Vec::new(), is_flat: false }
    }

    /// A row for each element of these lists.
    pub(super) fn of_lists(lists: &[ListUnnest]) -> Self {
        Self {
            constants: 0,
            lists: lists.iter().filter_map(|list| u32::try_from(list.index_in_input_schema).ok()).collect(),
            is_flat: lists.iter().all(|list| list.depth == 1),
        }
    }

    /// The parts of a batch, in its order.
    pub(super) fn apply(&self, batch: RecordBatch) -> Result<Vec<RecordBatch>> {
        if self.lists.is_empty() {
            let rows = (BATCH_BYTES as u64 / self.constants.max(1)).max(1) as usize;
            return Ok(runs(batch.num_rows(), rows).map(|run| batch.slice(run.start, run.len())).collect());
        }
        self.apply_to_lists(batch)
    }
}

/// Rows one after the other, so many at a time.
fn runs(rows: usize, at_once: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows).step_by(at_once).map(move |start| start..(start + at_once).min(rows))
}

impl Cuts {
    fn apply_to_lists(&self, batch: RecordBatch) -> Result<Vec<RecordBatch>> {
        let made = |row: usize| {
            let lengths = self.lists.iter().map(|&list| length(batch.column(list as usize), row));
            lengths.max().unwrap_or(0).max(1)
        };
        let at_once = self.rows_at_once(&batch);
        // Lists of a fixed size are what their type says: they stay whole.
        let is_flat = self.is_flat
            && self.lists.iter().all(|&list| {
                matches!(batch.column(list as usize).data_type(), DataType::List(_) | DataType::LargeList(_))
            });
        let mut parts = Vec::new();
        let (mut start, mut rows) = (0, 0);
        for row in 0..batch.num_rows() {
            let more = made(row);
            if row > start && rows + more > at_once {
                parts.push(batch.slice(start, row - start));
                (start, rows) = (row, 0);
            }
            if more > at_once && is_flat {
                for elements in runs(more, at_once) {
                    parts.push(self.with_elements(&batch.slice(row, 1), &elements)?);
                }
                (start, rows) = (row + 1, 0);
            } else {
                rows += more;
            }
        }
        if start < batch.num_rows() {
            parts.push(batch.slice(start, batch.num_rows() - start));
        }
        Ok(parts)
    }

    fn is_list(&self, column: usize) -> bool {
        self.lists.iter().any(|&list| list as usize == column)
    }

    /// How many rows may be made at a time, as wide as they are here.
    fn rows_at_once(&self, batch: &RecordBatch) -> usize {
        let rows = batch.num_rows().max(1);
        let width = batch.columns().iter().enumerate().map(|(index, column)| match self.is_list(index) {
            true => array_bytes(column) / (0..rows).map(|row| length(column, row)).sum::<usize>().max(1),
            false => array_bytes(column).div_ceil(rows),
        });
        (BATCH_BYTES / width.sum::<usize>().max(1)).clamp(1, BATCH_ROWS)
    }

    /// A row with these elements of its lists only.
    fn with_elements(&self, row: &RecordBatch, elements: &Range<usize>) -> Result<RecordBatch> {
        let columns = row.columns().iter().enumerate().map(|(index, column)| match self.is_list(index) {
            true => part_of_list(column, elements),
            false => Arc::clone(column),
        });
        Ok(RecordBatch::try_new(row.schema(), columns.collect())?)
    }
}

/// The elements of the list in a row.
fn length(lists: &ArrayRef, row: usize) -> usize {
    if lists.is_null(row) {
        return 0;
    }
    match lists.data_type() {
        DataType::List(_) => lists.as_list::<i32>().value_length(row).as_usize(),
        DataType::LargeList(_) => lists.as_list::<i64>().value_length(row).as_usize(),
        DataType::FixedSizeList(_, length) => length.as_usize(),
        _ => 1,
    }
}

fn part_of_list(list: &ArrayRef, elements: &Range<usize>) -> ArrayRef {
    match list.data_type() {
        DataType::List(_) => Arc::new(part(list.as_list::<i32>(), elements)),
        DataType::LargeList(_) => Arc::new(part(list.as_list::<i64>(), elements)),
        _ => Arc::clone(list),
    }
}

/// These of the elements of an array of one list, as far as it has them.
fn part<O: OffsetSizeTrait>(list: &GenericListArray<O>, elements: &Range<usize>) -> GenericListArray<O> {
    let (first, last) = (list.value_offsets()[0].as_usize(), list.value_offsets()[1].as_usize());
    let start = (first + elements.start).min(last);
    let length = (first + elements.end).min(last) - start;
    let (DataType::List(field) | DataType::LargeList(field)) = list.data_type() else { return list.clone() };
    let offsets = OffsetBuffer::<O>::from_lengths([length]);
    GenericListArray::new(Arc::clone(field), offsets, list.values().slice(start, length), list.nulls().cloned())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, ListArray, StringArray};
    use arrow::compute::concat_batches;
    use arrow::datatypes::Int64Type;

    use super::*;

    fn flat() -> Cuts {
        Cuts { constants: 0, lists: vec![1], is_flat: true }
    }

    fn batch(lengths: &[Option<i64>], width: usize) -> RecordBatch {
        let lists = lengths.iter().map(|length| length.map(|length| (0..length).map(Some)));
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(lengths.iter().map(|_| "x".repeat(width))));
        RecordBatch::try_from_iter([("text", texts), ("list", lists)]).unwrap()
    }

    #[test]
    fn constants_bound_the_rows_of_a_batch() {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100));
        let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
        let parts = Cuts::of_constants(BATCH_BYTES / 30).apply(batch.clone()).unwrap();
        assert_eq!(parts.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [30, 30, 30, 10]);
        assert_eq!(concat_batches(&batch.schema(), &parts).unwrap(), batch);
        assert_eq!(Cuts::of_constants(usize::MAX).apply(batch).unwrap().len(), 100);
    }

    #[test]
    fn rows_that_become_few_stay_together() {
        let batch = batch(&[Some(3), None, Some(0), Some(1)], 10);
        assert_eq!(flat().apply(batch.clone()).unwrap(), [batch]);
    }

    #[test]
    fn a_long_list_is_cut_and_its_row_is_in_each_part() {
        let batch = batch(&[Some(2), Some(70), None, Some(0)], BATCH_BYTES / 32);
        let parts = flat().apply(batch).unwrap();
        let lengths =
            |part: &RecordBatch| (0..part.num_rows()).map(|row| length(part.column(1), row)).collect::<Vec<_>>();
        let lengths: Vec<_> = parts.iter().map(lengths).collect();
        assert_eq!(lengths[0], [2]);
        assert_eq!(lengths[1..lengths.len() - 1].iter().flatten().sum::<usize>(), 70);
        assert!(lengths.len() > 3 && lengths[1..lengths.len() - 1].iter().all(|part| part.len() == 1), "{lengths:?}");
        assert_eq!(lengths[lengths.len() - 1], [0, 0]);
        let elements = parts[1..parts.len() - 1]
            .iter()
            .flat_map(|part| part.column(1).as_list::<i32>().value(0).as_primitive::<Int64Type>().values().to_vec());
        assert!(elements.eq(0..70));
    }

    #[test]
    fn lists_within_lists_are_cut_between_rows_alone() {
        let batch = batch(&[Some(50), Some(50), Some(50)], BATCH_BYTES / 32);
        let nested = Cuts { is_flat: false, ..flat() };
        assert_eq!(nested.apply(batch).unwrap().len(), 3);
    }
}
