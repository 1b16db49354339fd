//! Reads a part of a file once more when what came of it was damaged: the answer may have been bad, and not the file.

use std::pin::Pin;

use arrow::array::RecordBatch;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};

use crate::Error;

type Batches = BoxStream<'static, Result<RecordBatch>>;

/// The batches; at damage, those that `again` begins with, without the rows that were given before. They must be the same.
pub(super) fn with_second_reading<F, A>(first: Batches, again: A) -> Batches
where
    A: FnOnce() -> F + Send + 'static,
    F: Future<Output = Result<Batches>> + Send + 'static,
{
    let reading = Reading { batches: first, again: Some(again), given: 0, skip: 0 };
    futures::stream::unfold(reading, Reading::next).boxed()
}

/// The data file that an error says is damaged.
pub(crate) fn damaged_file(error: &DataFusionError) -> Option<&str> {
    match error.find_root() {
        DataFusionError::External(source) => source.downcast_ref::<Error>()?.damaged_file(),
        _ => None,
    }
}

struct Reading<A> {
    batches: Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>,
    again: Option<A>,
    /// Rows given so far.
    given: usize,
    /// Rows to come that were given before.
    skip: usize,
}

impl<F, A> Reading<A>
where
    A: FnOnce() -> F,
    F: Future<Output = Result<Batches>>,
{
    async fn next(mut self) -> Option<(Result<RecordBatch>, Self)> {
        loop {
            let error = match self.batches.next().await? {
                Ok(batch) => {
                    let skipped = self.skip.min(batch.num_rows());
                    self.skip -= skipped;
                    let left = batch.num_rows() - skipped;
                    if left == 0 && skipped > 0 {
                        continue;
                    }
                    self.given += left;
                    let batch = if skipped == 0 { batch } else { batch.slice(skipped, left) };
                    return Some((Ok(batch), self));
                }
                Err(error) => error,
            };
            let again = self.again.take().filter(|_| damaged_file(&error).is_some());
            let Some(again) = again else { return Some((Err(error), self)) };
            match again().await {
                Ok(batches) => (self.batches, self.skip) = (batches, self.given),
                Err(error) => return Some((Err(error), self)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn batches(numbers: &[&[i64]], then: Option<DataFusionError>) -> Batches {
        let batch = |numbers: &&[i64]| {
            let column: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
            RecordBatch::try_from_iter([("n", column)]).map_err(DataFusionError::from)
        };
        let items: Vec<Result<RecordBatch>> = numbers.iter().map(batch).chain(then.map(Err)).collect();
        futures::stream::iter(items).boxed()
    }

    fn damage() -> DataFusionError {
        Error::DamagedFile { location: "f".to_owned(), reason: "it is".to_owned() }.into()
    }

    async fn read(mut batches: Batches) -> (Vec<i64>, Option<String>) {
        let mut numbers = Vec::new();
        while let Some(batch) = batches.next().await {
            match batch {
                Ok(batch) => numbers.extend(batch.column(0).as_primitive::<Int64Type>().values()),
                Err(error) => return (numbers, Some(error.to_string())),
            }
        }
        (numbers, None)
    }

    #[tokio::test]
    async fn what_was_given_is_not_given_again() {
        let again = || async { Ok(batches(&[&[1], &[2, 3, 4], &[5]], None)) };
        let (numbers, error) = read(with_second_reading(batches(&[&[1, 2], &[3]], Some(damage())), again)).await;
        assert_eq!((numbers, error), (vec![1, 2, 3, 4, 5], None));
    }

    #[tokio::test]
    async fn what_is_damaged_twice_is_and_other_errors_are_not_read_again() {
        let again = || async { Ok(batches(&[&[1]], Some(damage()))) };
        let (numbers, error) = read(with_second_reading(batches(&[&[1]], Some(damage())), again)).await;
        assert_eq!(numbers, [1]);
        assert!(error.unwrap().contains("damaged"));
        let other = DataFusionError::Execution("division by zero".to_owned());
        let again = || async { panic!("read again") };
        let (_, error) = read(with_second_reading(batches(&[], Some(other)), again)).await;
        assert!(error.unwrap().contains("division by zero"));
    }
}
