//! One row group of a file, batch by batch: from columns of the decoded tier, from the decoder, or from both side by side.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, RecordBatch};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::datasource::physical_plan::parquet::RowGroupAccess;
use futures::stream::BoxStream;
use futures::{StreamExt, TryFutureExt, TryStreamExt};
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStream};

use super::decoded_scan::Split;
use super::named::decoding;
use crate::Error;
use crate::io::{BATCH_ROWS, DecodedColumn, Reservation};
use crate::types::Form;

/// Batches of columns that are being decoded.
pub(super) type Batches = ParquetRecordBatchStream<Box<dyn AsyncFileReader>>;

/// One row group, batch by batch.
pub(super) struct GroupReader {
    split: Arc<Split>,
    row_group: usize,
    /// By position among the split's columns.
    taken: Vec<Option<DecodedColumn>>,
    /// Batches given so far.
    batch: usize,
    /// Rows decoded so far.
    decoded: usize,
    source: Source,
}

/// What a row group's batches follow.
pub(super) enum Source {
    /// All columns are here: the rows that are left.
    Taken(VecDeque<Range<usize>>),
    /// Some have to be decoded: those at these positions, of which some may be kept. The footer says how many rows there are.
    Decoded { batches: std::pin::Pin<Box<Batches>>, expected: usize, missing: Vec<usize>, kept: Vec<Option<Kept>> },
}

/// What was decoded so far of a column that will be kept.
pub(super) struct Kept {
    batches: Vec<ArrayRef>,
    _reservation: Reservation,
}

impl Kept {
    pub(super) fn new(reservation: Reservation) -> Self {
        Self { batches: Vec::new(), _reservation: reservation }
    }
}

impl GroupReader {
    /// A row group of which the tier gave `taken`, by position among the split's columns.
    pub(super) fn new(split: Arc<Split>, row_group: usize, taken: Vec<Option<DecodedColumn>>, source: Source) -> Self {
        Self { split, row_group, taken, batch: 0, decoded: 0, source }
    }

    pub(super) fn into_stream(self) -> BoxStream<'static, Result<RecordBatch>> {
        let next = |mut reader: Self| async move { Ok(reader.next().await?.map(|batch| (batch, reader))) };
        futures::stream::try_unfold(self, next).boxed()
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let (columns, rows) = match &mut self.source {
            Source::Taken(left) => {
                let Some(run) = next_run(left) else { return Ok(None) };
                let columns = self.taken.iter().flatten().map(|column| slice(column, &run));
                (columns.collect::<Option<Vec<_>>>(), run.len())
            }
            Source::Decoded { batches, expected, missing, kept } => {
                let next = batches.try_next().map_err(DataFusionError::from);
                let decoded = decoding(&self.split.file.location, next).await?;
                self.decoded += decoded.as_ref().map_or(0, RecordBatch::num_rows);
                if self.decoded > *expected || (decoded.is_none() && self.decoded < *expected) {
                    let (group, decoded) = (self.row_group, self.decoded);
                    let reason = format!("row group {group} has {expected} rows by its footer; {decoded} were decoded");
                    let location = self.split.file.location.to_string();
                    return Err(Error::DamagedFile { location, reason }.into());
                }
                let Some(decoded) = decoded else {
                    self.finish();
                    return Ok(None);
                };
                let columns = decoded.columns().iter().map(|column| Form::OneNan.of(column));
                let columns = columns.collect::<Result<Vec<_>>>()?;
                for (kept, column) in kept.iter_mut().zip(&columns) {
                    kept.iter_mut().for_each(|kept| kept.batches.push(Arc::clone(column)));
                }
                let rows = decoded.num_rows();
                let columns = self.taken.iter().enumerate().map(|(position, taken)| match taken {
                    Some(column) => column.batches().get(self.batch).filter(|batch| batch.len() == rows).cloned(),
                    None => missing.binary_search(&position).ok().map(|at| Arc::clone(&columns[at])),
                });
                (columns.collect(), rows)
            }
        };
        self.batch += 1;
        match columns {
            Some(columns) => self.split.project(columns, rows).map(Some),
            None => internal_err!("columns of {} differ in their rows", self.split.file.location),
        }
    }

    /// Keeps what was decoded.
    fn finish(&mut self) {
        let Source::Decoded { missing, kept, .. } = &mut self.source else { return };
        for (position, kept) in missing.iter().zip(std::mem::take(kept)) {
            let Some(kept) = kept else { continue };
            self.split.insert(self.row_group, *position, DecodedColumn::new(kept.batches));
        }
    }
}

/// The rows that are left of a row group.
pub(super) fn rows_left(access: &RowGroupAccess, rows: usize) -> VecDeque<Range<usize>> {
    let RowGroupAccess::Selection(selection) = access else {
        return access.should_scan().then_some(0..rows).into_iter().collect();
    };
    let mut at = 0;
    let ranges = selection.iter().map(|selector| {
        let range = at..(at + selector.row_count).min(rows);
        at += selector.row_count;
        (range, selector.skip)
    });
    ranges.filter(|(_, skip)| !skip).map(|(range, _)| range).collect()
}

/// Takes the next rows off those that are left, up to a boundary between batches.
fn next_run(left: &mut VecDeque<Range<usize>>) -> Option<Range<usize>> {
    while left.front().is_some_and(Range::is_empty) {
        left.pop_front();
    }
    let first = left.front_mut()?;
    let end = first.end.min((first.start / BATCH_ROWS + 1) * BATCH_ROWS);
    Some(std::mem::replace(&mut first.start, end)..end)
}

/// Rows of a decoded column that lie within one batch.
fn slice(column: &DecodedColumn, run: &Range<usize>) -> Option<ArrayRef> {
    let (batch, start) = (column.batches().get(run.start / BATCH_ROWS)?, run.start % BATCH_ROWS);
    match (start, run.len()) {
        (0, length) if length == batch.len() => Some(Arc::clone(batch)),
        (_, length) => (start + length <= batch.len()).then(|| batch.slice(start, length)),
    }
}

#[cfg(test)]
mod tests {
    use parquet::arrow::arrow_reader::{RowSelection, RowSelector};

    use super::*;

    fn runs(access: &RowGroupAccess, rows: usize) -> Vec<Range<usize>> {
        let mut left = rows_left(access, rows);
        std::iter::from_fn(|| next_run(&mut left)).take(100).collect()
    }

    #[test]
    fn runs_cross_no_boundary_and_leave_out_what_is_skipped() {
        assert_eq!(runs(&RowGroupAccess::Scan, 10_000), [0..8192, 8192..10_000]);
        let selected = RowSelection::from(vec![
            RowSelector::skip(8000),
            RowSelector::select(500),
            RowSelector::skip(10_000),
            RowSelector::select(10),
        ]);
        let left = runs(&RowGroupAccess::Selection(selected), 18_505);
        assert_eq!(left, [8000..8192, 8192..8500, 18_500..18_505]);
        assert!(runs(&RowGroupAccess::Skip, 10).is_empty());
        assert!(runs(&RowGroupAccess::Scan, 0).is_empty());
    }

    #[test]
    fn a_row_group_that_says_it_is_endless_takes_no_memory() {
        assert_eq!(runs(&RowGroupAccess::Scan, i64::MAX as usize).len(), 100);
    }
}
