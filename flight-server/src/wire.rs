//! Shapes results for the wire: plain types unless the session asks for more, bounded messages.
//!
//! In: the engine's batches, which may hold views, dictionaries and run-end encodings, and the session's wishes. Out:
//! batches of types that the client reads, cut so that no message outgrows its limit. The schema announced in a
//! `FlightInfo` and the schema that opens a stream both come from [`wire_schema_as`], so they are equal.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, OffsetSizeTrait, RecordBatch, RecordBatchOptions, StringViewArray,
};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_flight::{IpcMessage, SchemaAsIpc};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::IpcWriteOptions;
use bytes::Bytes;
use polynya_engine::{WireCompression, WireOptions};

/// What a message's data is cut to, in bytes. Clients commonly accept 4 MiB (gRPC's default) or 16 MiB (Arrow's drivers).
pub(crate) const MESSAGE_TARGET_BYTES: usize = 2 * 1024 * 1024;

/// The schema as clients see it: names and nullability unchanged, types plain, our own notes on fields left out.
pub(crate) fn wire_schema(schema: &Schema) -> SchemaRef {
    wire_schema_as(schema, &WireOptions::default())
}

/// The schema as a client sees it that asked for these options.
pub(crate) fn wire_schema_as(schema: &Schema, options: &WireOptions) -> SchemaRef {
    let field = |field: &FieldRef| sent_as(field, kept_type(field.data_type(), options));
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Fields>()))
}

/// A column's type on the wire. The session's wishes are for columns only: inside of nested types views and dictionaries are
/// plain in any case, where few clients read them, and timestamps keep their time zone.
fn kept_type(data_type: &DataType, options: &WireOptions) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::BinaryView if options.views => data_type.clone(),
        DataType::Dictionary(keys, values) if options.dictionaries => {
            DataType::Dictionary(keys.clone(), Box::new(wire_type(values)))
        }
        // Arrow counts from 1970 in UTC, whatever the time zone, so that nothing but the type changes.
        DataType::Timestamp(unit, Some(_)) if options.naive_timestamps => DataType::Timestamp(*unit, None),
        other => wire_type(other),
    }
}

fn wire_field(field: &FieldRef) -> FieldRef {
    sent_as(field, wire_type(field.data_type()))
}

fn sent_as(field: &FieldRef, data_type: DataType) -> FieldRef {
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
            pieces.push(without_spare_views(batch));
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
    batch.columns().iter().map(|column| array_bytes(column.as_ref())).sum()
}

/// The bytes that an array takes in a message. Arrow's own measure counts the whole values of a slice of lists, and none
/// of the text behind views.
fn array_bytes(array: &dyn Array) -> usize {
    let nulls = if array.nulls().is_some() { array.len().div_ceil(8) } else { 0 };
    let content = match array.data_type() {
        DataType::Utf8View => 16 * array.len() + array.as_string_view().total_buffer_bytes_used(),
        DataType::BinaryView => 16 * array.len() + array.as_binary_view().total_buffer_bytes_used(),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            list_bytes(list.offsets(), list.values().as_ref())
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            list_bytes(list.offsets(), list.values().as_ref())
        }
        DataType::Map(..) => {
            let map = array.as_map();
            list_bytes(map.offsets(), map.entries())
        }
        DataType::FixedSizeList(..) => array_bytes(array.as_fixed_size_list().values().as_ref()),
        DataType::Struct(_) => array.as_struct().columns().iter().map(|column| array_bytes(column.as_ref())).sum(),
        // The values travel in a message of their own.
        DataType::Dictionary(..) => array_bytes(array.as_any_dictionary().keys()),
        _ => return array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_buffer_memory_size()),
    };
    nulls + content
}

/// The bytes of lists: their offsets, and those values that they hold.
fn list_bytes<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>, values: &dyn Array) -> usize {
    let (first, end) = (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize());
    offsets.len() * size_of::<O>() + array_bytes(values.slice(first, end - first).as_ref())
}

/// The batch, with views that own no more text than they show: a message carries all that they own.
fn without_spare_views(batch: RecordBatch) -> RecordBatch {
    let held = |buffers: &[Buffer]| buffers.iter().map(Buffer::len).sum::<usize>();
    let spare_text = |view: &StringViewArray| held(view.data_buffers()) > view.total_buffer_bytes_used();
    let spare_bytes = |view: &BinaryViewArray| held(view.data_buffers()) > view.total_buffer_bytes_used();
    let lean = |column: &ArrayRef| -> ArrayRef {
        if let Some(view) = column.as_string_view_opt().filter(|view| spare_text(view)) {
            return Arc::new(view.gc());
        }
        if let Some(view) = column.as_binary_view_opt().filter(|view| spare_bytes(view)) {
            return Arc::new(view.gc());
        }
        Arc::clone(column)
    };
    if !batch.columns().iter().any(|column| matches!(column.data_type(), DataType::Utf8View | DataType::BinaryView)) {
        return batch;
    }
    let columns = batch.columns().iter().map(lean).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options).unwrap_or(batch)
}

/// How messages are written: with the compression that the session asked for.
pub(crate) fn write_options(compression: WireCompression) -> Result<IpcWriteOptions, ArrowError> {
    let codec = match compression {
        WireCompression::None => None,
        WireCompression::Lz4 => Some(CompressionType::LZ4_FRAME),
        WireCompression::Zstd => Some(CompressionType::ZSTD),
    };
    IpcWriteOptions::default().try_with_compression(codec)
}

/// A schema as an encapsulated IPC message, the form that every schema field of Flight SQL takes.
pub(crate) fn schema_bytes(schema: &Schema) -> Result<Bytes, ArrowError> {
    let IpcMessage(bytes) = SchemaAsIpc::new(schema, &IpcWriteOptions::default()).try_into()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use arrow::array::{DictionaryArray, Int32Array, ListArray, StringArray, StructArray};
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
    fn lists_are_cut_by_what_their_rows_hold() {
        let values: ArrayRef = Arc::new(Int32Array::from_iter_values(0..100_000));
        let item = Arc::new(Field::new("item", DataType::Int32, true));
        let list = ListArray::new(item, OffsetBuffer::from_lengths(vec![100; 1000]), values, None);
        let batch = RecordBatch::try_from_iter([("l", Arc::new(list) as ArrayRef)]).unwrap();
        let pieces = split(batch, 100_000);
        assert!(pieces.iter().all(|piece| sliced_bytes(piece) <= 100_000));
        assert!(pieces.len() <= 8, "{} pieces of 400 kB", pieces.len());
    }

    #[test]
    fn views_are_kept_on_request_and_carry_only_what_they_show() {
        let texts: Vec<String> = (0..1000).map(|row| format!("{row:>100}")).collect();
        let views: ArrayRef = Arc::new(StringViewArray::from_iter_values(&texts));
        let inner = Arc::new(Field::new("item", DataType::Utf8View, true));
        let list: ArrayRef =
            Arc::new(ListArray::new(inner, OffsetBuffer::from_lengths(vec![1; 1000]), Arc::clone(&views), None));
        let batch = RecordBatch::try_from_iter([("v", views), ("l", list)]).unwrap();
        let schema = wire_schema_as(&batch.schema(), &WireOptions { views: true, ..WireOptions::default() });
        assert_eq!(schema.field(0).data_type(), &DataType::Utf8View);
        assert_eq!(schema.field(1).data_type(), &DataType::new_list(DataType::Utf8, true));
        let wire = to_wire(&batch, &schema).unwrap();
        let pieces = split(wire, 50_000);
        assert!(pieces.len() >= 4);
        for piece in &pieces {
            let view = piece.column(0).as_string_view();
            assert_eq!(view.data_buffers().iter().map(Buffer::len).sum::<usize>(), 100 * piece.num_rows());
        }
    }

    #[test]
    fn dictionaries_are_kept_on_request_with_plain_values() {
        let dictionary: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::from_iter(["x", "y", "x"]));
        let views = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8View));
        let plain = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let batch = RecordBatch::try_from_iter([("d", dictionary)]).unwrap();
        let options = WireOptions { dictionaries: true, ..WireOptions::default() };
        let schema = wire_schema_as(&batch.schema(), &options);
        assert_eq!(schema.field(0).data_type(), &plain);
        assert_eq!(to_wire(&batch, &schema).unwrap().num_rows(), 3);
        let of_views = Schema::new(vec![Field::new("d", views, true)]);
        assert_eq!(wire_schema_as(&of_views, &options).field(0).data_type(), &plain);
        assert_eq!(wire_schema(&of_views).field(0).data_type(), &DataType::Utf8);
    }

    #[test]
    fn split_keeps_batches_without_columns() {
        let options = RecordBatchOptions::new().with_row_count(Some(7));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
        let pieces = split(batch, 10);
        assert_eq!(pieces.iter().map(RecordBatch::num_rows).sum::<usize>(), 7);
    }
}
