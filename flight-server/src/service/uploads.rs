//! Arrow data that clients send, read with care: Arrow's reader trusts its input in places.
//!
//! In: DoPut's messages. Out: their schema, dictionaries and rows. Checked before Arrow reads a message: buffers lie
//! within it, columns have a sane number of rows, and what compressed buffers claim to hold is bounded. What Arrow panics
//! at all the same is an error like any other damage.

use std::panic::AssertUnwindSafe;

use arrow_flight::FlightData;
use arrow_flight::decode::{DecodedPayload, FlightDataDecoder};
use arrow_flight::error::FlightError;
use arrow_ipc::{MessageHeader, RecordBatch, root_as_message};
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
use tonic::{Status, Streaming};

/// Rows of one message. Columns of NULL have rows without bytes.
const ROWS_MAX: i64 = 1 << 24;
/// Bytes that the compressed buffers of one message may hold.
const UNPACKED_BYTES_MAX: i64 = 1 << 30;
/// A compressed buffer begins with its uncompressed length, or this if it is not compressed after all.
const NOT_COMPRESSED: i64 = -1;

/// The messages of one DoPut that carry data.
pub(super) fn messages(
    first: FlightData,
    rest: Streaming<FlightData>,
) -> impl Stream<Item = Result<FlightData, FlightError>> + Send + 'static {
    stream::iter([Ok(first)])
        .chain(rest)
        .try_filter(|message| std::future::ready(!message.data_header.is_empty()))
        .map_err(|status: Status| FlightError::Tonic(Box::new(status)))
}

/// What the messages hold. Ends after an error.
pub(super) fn decoded(
    messages: impl Stream<Item = Result<FlightData, FlightError>> + Send + 'static,
) -> BoxStream<'static, Result<DecodedPayload, FlightError>> {
    let checked = messages.map(|message| {
        let message = message?;
        check(&message).map_err(FlightError::DecodeError)?;
        Ok(message)
    });
    let payloads = FlightDataDecoder::new(checked);
    let read = stream::unfold(Some(payloads), |payloads| async move {
        let mut payloads = payloads?;
        match AssertUnwindSafe(payloads.try_next()).catch_unwind().await {
            Ok(Ok(decoded)) => decoded.map(|decoded| (Ok(decoded.payload), Some(payloads))),
            Ok(Err(error)) => Some((Err(error), None)),
            Err(_) => Some((Err(damaged("it cannot be read")), None)),
        }
    });
    read.boxed()
}

fn damaged(why: &str) -> FlightError {
    FlightError::DecodeError(why.to_owned())
}

/// Whether a message keeps to its own bounds.
fn check(message: &FlightData) -> Result<(), String> {
    let root = root_as_message(&message.data_header).map_err(|error| error.to_string())?;
    let batch = match root.header_type() {
        MessageHeader::RecordBatch => root.header_as_record_batch(),
        MessageHeader::DictionaryBatch => root.header_as_dictionary_batch().and_then(|dictionary| dictionary.data()),
        _ => return Ok(()),
    };
    let batch = batch.ok_or_else(|| "a batch has no rows".to_owned())?;
    check_rows(&batch)?;
    check_buffers(&batch, &message.data_body)
}

fn check_rows(batch: &RecordBatch<'_>) -> Result<(), String> {
    let nodes = batch.nodes().into_iter().flatten();
    let columns = nodes.flat_map(|node| [node.length(), node.null_count()]);
    let mut counts = std::iter::once(batch.length()).chain(columns);
    match counts.find(|count| !(0..=ROWS_MAX).contains(count)) {
        Some(count) => Err(format!("a batch of {count} rows; at most {ROWS_MAX} are taken at once: send smaller ones")),
        None => Ok(()),
    }
}

fn check_buffers(batch: &RecordBatch<'_>, body: &[u8]) -> Result<(), String> {
    let mut unpacked = 0_i64;
    for buffer in batch.buffers().into_iter().flatten() {
        let (start, length) = (usize::try_from(buffer.offset()), usize::try_from(buffer.length()));
        let (Ok(start), Ok(length)) = (start, length) else { return Err("a buffer of negative length".to_owned()) };
        let bytes = start.checked_add(length).and_then(|end| body.get(start..end));
        let bytes = bytes.ok_or_else(|| format!("a buffer of {length} bytes lies outside of its message"))?;
        if batch.compression().is_none() || bytes.is_empty() {
            continue;
        }
        let claimed = bytes.first_chunk().map(|claimed| i64::from_le_bytes(*claimed));
        unpacked = match claimed {
            Some(NOT_COMPRESSED) => unpacked,
            Some(claimed @ 0..) => unpacked.saturating_add(claimed),
            _ => return Err("a compressed buffer does not say how long it is".to_owned()),
        };
        if unpacked > UNPACKED_BYTES_MAX {
            return Err(format!("a compressed batch of more than {UNPACKED_BYTES_MAX} bytes: send smaller ones"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch as Rows};
    use arrow_flight::encode::FlightDataEncoderBuilder;
    use arrow_ipc::CompressionType;
    use arrow_ipc::writer::IpcWriteOptions;

    use super::*;

    async fn sent(compression: Option<CompressionType>) -> Vec<FlightData> {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
        let rows = Rows::try_from_iter([("id", ids)]).unwrap();
        let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
        let encoder = FlightDataEncoderBuilder::new().with_options(options).build(stream::iter([Ok(rows)]));
        encoder.try_collect().await.unwrap()
    }

    async fn read(messages: Vec<FlightData>) -> Result<usize, FlightError> {
        let payloads: Vec<_> = decoded(stream::iter(messages.into_iter().map(Ok))).try_collect().await?;
        let rows = payloads.iter().map(|payload| match payload {
            DecodedPayload::RecordBatch(batch) => batch.num_rows(),
            _ => 0,
        });
        Ok(rows.sum())
    }

    #[tokio::test]
    async fn whole_messages_are_read_and_cut_ones_refused() {
        for compression in [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)] {
            let messages = sent(compression).await;
            assert_eq!(read(messages.clone()).await.unwrap(), 1000, "{compression:?}");
            let mut cut = messages;
            let body = &mut cut.last_mut().unwrap().data_body;
            body.truncate(body.len() / 2);
            let error = read(cut).await.unwrap_err().to_string();
            assert!(error.contains("lies outside of its message"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_small_message_cannot_claim_to_be_large() {
        let mut messages = sent(Some(CompressionType::LZ4_FRAME)).await;
        let body = &mut messages.last_mut().unwrap().data_body;
        let mut bytes = body.to_vec();
        let at = bytes.windows(8).position(|claimed| claimed == 8000_i64.to_le_bytes()).unwrap();
        bytes[at..at + 8].copy_from_slice(&(1_i64 << 50).to_le_bytes());
        *body = bytes.into();
        let error = read(messages).await.unwrap_err().to_string();
        assert!(error.contains("a compressed batch of more than"), "{error}");
    }
}
