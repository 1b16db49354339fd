//! A table as a stream of record batches, made by several threads and given in the table's order.
//!
//! Each part is made whole on a blocking thread; at most `threads` parts exist at a time beyond the one being read, so that
//! memory is bounded by the part's size (some 10 MB) whatever the scale.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tpchgen::text::TextPool;

use super::TpchTable;
use crate::scale::Scale;

/// The rows of a table in key order.
pub(crate) fn stream_table(
    table: TpchTable,
    scale: Scale,
    threads: usize,
) -> impl Stream<Item = Result<RecordBatch, ArrowError>> + Send + 'static {
    stream::iter(1..=table.part_count(scale))
        .map(move |part| async move {
            let made = tokio::task::spawn_blocking(move || table.part(scale, part)).await;
            made.unwrap_or_else(|panic| Err(ArrowError::ExternalError(Box::new(panic))))
        })
        .buffered(threads.max(1))
        .map_ok(|batches| stream::iter(batches.into_iter().map(Ok)))
        .try_flatten()
}

/// Makes the text that all comments are cut from, which takes a second or so, once per process; later calls cost nothing.
pub(crate) async fn warm_up() {
    // A panic here would come again, and be told, when the first part is made.
    let _ = tokio::task::spawn_blocking(|| {
        TextPool::get_or_init_default();
    })
    .await;
}

/// The threads that make rows unless told otherwise: one per core.
pub(crate) fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;

    use super::*;

    #[tokio::test]
    async fn rows_come_in_key_order_from_several_threads() {
        let scale = Scale::new(0.05).expect("a scale");
        let batches: Vec<RecordBatch> =
            stream_table(TpchTable::Orders, scale, 4).try_collect().await.expect("the table is made");
        let keys: Vec<i64> =
            batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
        assert_eq!(keys.len() as u64, TpchTable::Orders.row_count(scale));
        assert!(keys.is_sorted());
    }
}
