//! What clients upload: checked before Arrow's decoder sees it.
//!
//! In: DoPut's messages. Out: their schema and their rows.
//!
//! A message says how many rows it has, and each of its compressed buffers how long it will be. The decoder, and what comes
//! after it, make room for what is said, and memory that is not there ends the process: so lengths that cannot be true, or
//! are true and too much, are refused here, as the client's error. What else is wrong with a message is the decoder's to say; what it panics at is an
//! error like any other damage.

use std::panic::AssertUnwindSafe;

use arrow_flight::FlightData;
use arrow_flight::decode::{DecodedPayload, FlightDataDecoder};
use arrow_flight::error::FlightError;
use arrow_ipc::{MessageHeader, RecordBatch, root_as_message};
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
use tonic::{Code, Status, Streaming};

use crate::status::{invalid, status};

/// Rows of one message. More than this fit into none of 64 MiB unless they hold next to nothing.
const ROWS_MAX: u64 = 1 << 24;
/// A compressed buffer begins with its length.
const LENGTH_BYTES: usize = 8;

/// The messages of one DoPut that carry data.
pub(super) fn messages(
    first: FlightData,
    rest: Streaming<FlightData>,
) -> impl Stream<Item = Result<FlightData, Status>> + Send + 'static {
    stream::iter([Ok(first)]).chain(rest).try_filter(|message| std::future::ready(!message.data_header.is_empty()))
}

/// What the messages hold, each of at most `bytes_max` once it is unpacked. Ends after an error.
pub(super) fn decoded(
    messages: impl Stream<Item = Result<FlightData, Status>> + Send + 'static,
    bytes_max: usize,
) -> BoxStream<'static, Result<DecodedPayload, FlightError>> {
    let checked = messages.map(move |message| {
        let checked = message.and_then(|message| check(&message, bytes_max).map(|()| message));
        checked.map_err(|status| FlightError::Tonic(Box::new(status)))
    });
    let read = stream::unfold(Some(FlightDataDecoder::new(checked)), |payloads| async move {
        let mut payloads = payloads?;
        match AssertUnwindSafe(payloads.try_next()).catch_unwind().await {
            Ok(Ok(decoded)) => decoded.map(|decoded| (Ok(decoded.payload), Some(payloads))),
            Ok(Err(error)) => Some((Err(error), None)),
            Err(_) => Some((Err(FlightError::DecodeError("they are not valid Arrow data".to_owned())), None)),
        }
    });
    read.boxed()
}

/// Refuses a message of more rows than one may have, or whose compressed buffers would grow beyond `bytes_max` together.
fn check(message: &FlightData, bytes_max: usize) -> Result<(), Status> {
    let Ok(header) = root_as_message(&message.data_header) else { return Ok(()) };
    let batch = match header.header_type() {
        MessageHeader::RecordBatch => header.header_as_record_batch(),
        MessageHeader::DictionaryBatch => header.header_as_dictionary_batch().and_then(|dictionary| dictionary.data()),
        _ => None,
    };
    let Some(batch) = batch else { return Ok(()) };
    let bytes = match batch.compression() {
        Some(_) => unpacked_bytes(&batch, &message.data_body),
        None => message.data_body.len() as u64,
    };
    if bytes > bytes_max as u64 {
        let message = format!(
            "a message would have {bytes} bytes once it is unpacked, and may have {bytes_max} (a multiple of the setting \
             server.max_message_bytes): send fewer rows in a message"
        );
        return Err(status(Code::ResourceExhausted, "54000", message, None));
    }
    // Values take a bit at least, but for those of types that hold nothing, such as Null.
    let length_max = ROWS_MAX.max(bytes.saturating_mul(8));
    let mut lengths = batch.nodes().into_iter().flat_map(|nodes| nodes.iter()).map(|node| node.length());
    let is_possible = |length: i64, max: u64| u64::try_from(length).is_ok_and(|length| length <= max);
    if !is_possible(batch.length(), ROWS_MAX) || !lengths.all(|length| is_possible(length, length_max)) {
        return Err(invalid(format!("a message may have {ROWS_MAX} rows, and this one says that it has more")));
    }
    Ok(())
}

/// What the buffers of a batch say that they will have once they are unpacked.
fn unpacked_bytes(batch: &RecordBatch<'_>, body: &[u8]) -> u64 {
    let buffers = batch.buffers().into_iter().flat_map(|buffers| buffers.iter());
    let said = buffers.map(|buffer| {
        let packed = u64::try_from(buffer.length()).unwrap_or(u64::MAX);
        let begin = usize::try_from(buffer.offset()).ok();
        let length = begin.and_then(|begin| body.get(begin..begin.checked_add(LENGTH_BYTES)?));
        let length = length.and_then(|length| Some(i64::from_le_bytes(length.try_into().ok()?)));
        match length {
            _ if packed < LENGTH_BYTES as u64 => 0,
            Some(length) => u64::try_from(length).unwrap_or(packed),
            // The decoder says what is wrong with it.
            None => 0,
        }
    });
    said.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, NullArray, RecordBatch, StringArray};
    use arrow_flight::encode::FlightDataEncoderBuilder;
    use arrow_ipc::CompressionType;
    use arrow_ipc::writer::IpcWriteOptions;

    use super::*;

    const MIB: usize = 1 << 20;

    async fn messages(column: ArrayRef, compression: Option<CompressionType>) -> Vec<FlightData> {
        let batch = RecordBatch::try_from_iter_with_nullable([("c", column, true)]).unwrap();
        let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
        let encoder = FlightDataEncoderBuilder::new().with_options(options).with_max_flight_data_size(usize::MAX);
        encoder.build(futures::stream::iter([Ok(batch)])).try_collect().await.unwrap()
    }

    fn refused(messages: &[FlightData], bytes_max: usize) -> Option<Code> {
        messages.iter().find_map(|message| check(message, bytes_max).err()).map(|status| status.code())
    }

    #[tokio::test]
    async fn honest_messages_pass_up_to_the_limit() {
        let zeros: ArrayRef = Arc::new(Int64Array::from(vec![0; MIB]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["the same again"; 10_000]));
        for compression in [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)] {
            let messages = messages(Arc::clone(&zeros), compression).await;
            assert_eq!(refused(&messages, 9 * MIB), None, "{compression:?}");
            assert_eq!(refused(&messages, 7 * MIB), Some(Code::ResourceExhausted), "{compression:?}");
            let messages = self::messages(Arc::clone(&texts), compression).await;
            assert_eq!(refused(&messages, MIB), None, "{compression:?}");
        }
        let nothing: ArrayRef = Arc::new(NullArray::new(1000));
        assert_eq!(refused(&messages(nothing, None).await, MIB), None);
    }

    #[tokio::test]
    async fn lengths_that_are_not_true_are_refused() {
        let rows: ArrayRef = Arc::new(NullArray::new(1 << 45));
        assert_eq!(refused(&messages(rows, None).await, MIB), Some(Code::InvalidArgument));

        let zeros: ArrayRef = Arc::new(Int64Array::from(vec![0; MIB]));
        let mut messages = messages(zeros, Some(CompressionType::LZ4_FRAME)).await;
        let message = messages.last_mut().unwrap();
        let true_length = (8 * MIB as u64).to_le_bytes();
        let mut body = message.data_body.to_vec();
        let at = body.windows(LENGTH_BYTES).position(|bytes| bytes == true_length).unwrap();
        body[at..at + LENGTH_BYTES].copy_from_slice(&(1u64 << 46).to_le_bytes());
        message.data_body = body.into();
        assert_eq!(refused(&messages, 1024 * MIB), Some(Code::ResourceExhausted));
    }
}
