//! Shapes results for the wire: plain types, bounded messages.
//!
//! In: the engine's batches, which may hold views, dictionaries and run-end encodings. Out: batches of types that every
//! Flight SQL client reads, cut so that no message outgrows a client's limit. The schema announced in a `FlightInfo` and
//! the schema that opens a stream both come from [`wire_schema`], so they are equal.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_flight::{IpcMessage, SchemaAsIpc};
use arrow_ipc::writer::IpcWriteOptions;
use bytes::Bytes;

/// What a message's data is cut to, in bytes. Clients commonly accept 4 MiB (gRPC's default) or 16 MiB (Arrow's drivers).
pub(crate) const MESSAGE_TARGET_BYTES: usize = 2 * 1024 * 1024;

/// The schema as clients see it: names and nullability unchanged, types plain, our own notes on fields left out.
pub(crate) fn wire_schema(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().map(wire_field).collect::<Fields>()))
}

fn wire_field(field: &FieldRef) -> FieldRef {
    let data_type = wire_type(field.data_type());
    // Extension types and Flight SQL's notes are for clients. Field ids are not, and planning and execution do not
    // agree on whether an expression inherits them, so that the schemas of GetSchema and DoGet would differ.
    let mut metadata = field.metadata().clone();
    metadata.retain(|key, _| key.starts_with("ARROW:"));
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()).with_metadata(metadata))
}

/// The plain type that carries the same values.
///
/// JDBC drivers up to 18.3 throw on views and run ends, and none of them decodes dictionaries; narrow decimals are newer
/// than most clients.
fn wire_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Dictionary(_, values) => wire_type(values),
        DataType::RunEndEncoded(_, values) => wire_type(values.data_type()),
        DataType::List(item) | DataType::ListView(item) => DataType::List(wire_field(item)),
        DataType::LargeList(item) | DataType::LargeListView(item) => DataType::LargeList(wire_field(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(wire_field(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(wire_field).collect()),
        DataType::Map(entries, sorted) => DataType::Map(wire_field(entries), *sorted),
        other => other.clone(),
    }
}

/// Gives a batch the wire schema, casting the columns that differ.
pub(crate) fn to_wire(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| cast_column(column, field.data_type()))
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

fn cast_column(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if column.data_type() == to {
        return Ok(Arc::clone(column));
    }
    cast_with_options(column, to, &CastOptions { safe: false, ..CastOptions::default() })
}

/// Cuts a batch into pieces of at most about `max_bytes` each; a single row is never cut.
///
/// Halving, rather than dividing evenly, keeps a few huge rows from dragging their small neighbours over the limit.
pub(crate) fn split(batch: RecordBatch, max_bytes: usize) -> Vec<RecordBatch> {
    let mut pieces = Vec::new();
    let mut left = vec![batch];
    while let Some(batch) = left.pop() {
        let rows = batch.num_rows();
        if rows <= 1 || sliced_bytes(&batch) <= max_bytes {
            pieces.push(batch);
            continue;
        }
        let half = rows / 2;
        left.push(batch.slice(half, rows - half));
        left.push(batch.slice(0, half));
    }
    pieces
}

/// The bytes that the rows of a batch really span, whatever larger buffers they are slices of.
pub(crate) fn sliced_bytes(batch: &RecordBatch) -> usize {
    let bytes = |column: &ArrayRef| {
        column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_buffer_memory_size())
    };
    batch.columns().iter().map(bytes).sum()
}

/// A schema as an encapsulated IPC message, the form that every schema field of Flight SQL takes.
pub(crate) fn schema_bytes(schema: &Schema) -> Result<Bytes, ArrowError> {
    let IpcMessage(bytes) = SchemaAsIpc::new(schema, &IpcWriteOptions::default()).try_into()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use arrow::array::{DictionaryArray, Int32Array, ListArray, StringArray, StringViewArray, StructArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn views_and_dictionaries_become_plain_at_every_depth() {
        let views: ArrayRef = Arc::new(StringViewArray::from(vec!["a", "a string longer than twelve bytes", "c"]));
        let item = Arc::new(Field::new("item", DataType::Utf8View, true));
        let list: ArrayRef =
            Arc::new(ListArray::new(item, OffsetBuffer::from_lengths([1, 2]), Arc::clone(&views), None));
        let dictionary: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::from_iter(["x", "y"]));
        let inner = Arc::new(Field::new("d", dictionary.data_type().clone(), true));
        let nested: ArrayRef = Arc::new(StructArray::from(vec![(inner, dictionary)]));
        let batch = RecordBatch::try_from_iter([("l", list), ("s", nested)]).unwrap();

        let schema = wire_schema(&batch.schema());
        let wire = to_wire(&batch, &schema).unwrap();
        assert_eq!(schema.field(0).data_type(), &DataType::new_list(DataType::Utf8, true));
        assert_eq!(schema.field(1).data_type(), &DataType::Struct(vec![Field::new("d", DataType::Utf8, true)].into()));
        assert_eq!(wire.schema(), schema);
    }

    #[test]
    fn split_bounds_every_piece_and_keeps_the_order() {
        let mut values = vec!["x".to_owned(); 1000];
        values[500] = "y".repeat(100_000);
        let batch = RecordBatch::try_from_iter([
            ("n", Arc::new(Int32Array::from_iter_values(0..1000)) as ArrayRef),
            ("s", Arc::new(StringArray::from(values)) as ArrayRef),
        ])
        .unwrap();
        let pieces = split(batch, 4096);
        assert!(pieces.iter().all(|piece| piece.num_rows() == 1 || sliced_bytes(piece) <= 4096));
        let rows: Vec<i32> = pieces
            .iter()
            .flat_map(|piece| piece.column(0).as_any().downcast_ref::<Int32Array>().unwrap().values().to_vec())
            .collect();
        assert_eq!(rows, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn split_keeps_batches_without_columns() {
        let options = RecordBatchOptions::new().with_row_count(Some(7));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
        let pieces = split(batch, 10);
        assert_eq!(pieces.iter().map(RecordBatch::num_rows).sum::<usize>(), 7);
    }
}
