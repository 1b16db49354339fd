//! Batches to Flight messages.
//!
//! In: batches of one schema, in the form and of the size that they are sent in. Out: what arrow-flight's own encoder makes
//! of them, at less cost: that one begins each message's body with an empty buffer, and copies what is in it each time that
//! it doubles. Here a body begins with as much room as the one before it took.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use arrow_flight::{FlightData, SchemaAsIpc};
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};

use crate::wire::{MESSAGE_TARGET_BYTES, sliced_bytes};

/// Encodes the batches of one result.
pub(super) struct Encoder {
    generator: IpcDataGenerator,
    dictionaries: DictionaryTracker,
    options: IpcWriteOptions,
    context: IpcWriteContext,
}

impl Encoder {
    /// For batches of a schema in which only columns are dictionaries, not what is inside of them.
    pub(super) fn new(schema: &Schema, options: IpcWriteOptions) -> Self {
        let mut dictionaries = DictionaryTracker::new(false);
        // The schema's message numbers them in this order.
        for field in schema.fields() {
            if matches!(field.data_type(), DataType::Dictionary(..)) {
                dictionaries.next_dict_id();
            }
        }
        let (generator, context) = (IpcDataGenerator::default(), IpcWriteContext::default());
        Self { generator, dictionaries, options, context }
    }

    /// The message that a result begins with.
    pub(super) fn schema(&self, schema: &Schema) -> FlightData {
        SchemaAsIpc::new(schema, &self.options).into()
    }

    /// A batch's messages: the dictionaries that its reader does not have yet, and then its rows.
    pub(super) fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<FlightData>, ArrowError> {
        // One huge row must not give all that follow its room.
        self.context.set_reserve_scratch(sliced_bytes(batch) <= MESSAGE_TARGET_BYTES);
        let encoded = self.generator.encode(batch, &mut self.dictionaries, &self.options, &mut self.context);
        let (dictionaries, rows) = encoded?;
        Ok(dictionaries.into_iter().chain([rows]).map(FlightData::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, DictionaryArray, Int64Array, StringArray};
    use arrow::datatypes::Int32Type;
    use arrow_flight::decode::FlightRecordBatchStream;
    use futures::{TryStreamExt, stream};

    use super::*;

    fn batch(numbers: std::ops::Range<i64>, words: &[&str]) -> RecordBatch {
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(numbers.clone().map(|number| number.to_string())));
        let words = words.iter().copied().cycle().take(texts.len());
        let words: ArrayRef = Arc::new(words.collect::<DictionaryArray<Int32Type>>());
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
        RecordBatch::try_from_iter([("n", numbers), ("t", texts), ("d", words)]).unwrap()
    }

    #[tokio::test]
    async fn messages_decode_to_the_batches_that_they_were_made_of() {
        // Dictionaries that stay, change and grow; slices; bodies that grow and shrink.
        let batches = [
            batch(0..10, &["a", "b"]),
            batch(0..50_000, &["a", "b"]).slice(100, 40_000),
            batch(7..8, &["c"]),
            batch(0..400_000, &["a", "b", "c"]).slice(0, 300_000),
            batch(0..0, &["a"]),
            batch(1..3, &["b", "a"]),
        ];
        let schema = batches[0].schema();
        let mut encoder = Encoder::new(&schema, IpcWriteOptions::default());
        let mut messages = vec![encoder.schema(&schema)];
        for batch in &batches {
            messages.extend(encoder.batch(batch).unwrap());
        }
        let messages = stream::iter(messages.into_iter().map(Ok));
        let decoded: Vec<RecordBatch> =
            FlightRecordBatchStream::new_from_flight_data(messages).try_collect().await.unwrap();
        assert_eq!(decoded.len(), batches.len());
        for (decoded, batch) in decoded.iter().zip(&batches) {
            assert_eq!(decoded.num_rows(), batch.num_rows());
            assert_eq!(decoded.columns(), batch.columns());
        }
    }
}
