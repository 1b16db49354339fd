//! What clients upload: checked and counted before Arrow's decoder sees it, and decoded where nobody waits for it.
//!
//! In: DoPut's messages. Out: their schema and their rows.
//!
//! A message says how many rows it has, and each of its compressed buffers how long it will be. The decoder, and what comes
//! after it, make room for what is said, and memory that is not there ends the process: so lengths that cannot be true, or
//! are true and too much, are refused here, as the client's error. What may be is reserved in `memory.limit` before it is unpacked, on a
//! thread that serves nobody, and given back when the next message is asked for. What else is wrong with a message is the decoder's to
//! say; what it panics at is an error like any other damage.

use std::collections::{HashMap, VecDeque};
use std::io::Read;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;

use arrow_flight::FlightData;
use arrow_flight::decode::{DecodedPayload, FlightDataDecoder};
use arrow_flight::error::FlightError;
use arrow_ipc::{Buffer, CompressionType, MessageHeader, RecordBatch, root_as_message};
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
use lz4_flex::frame::FrameDecoder;
use parking_lot::Mutex;
use polynya_engine::Reserved;
use tonic::{Code, Status, Streaming};

use crate::status::{invalid, status};

/// Rows of one message. More than this fit into none of 64 MiB unless they hold next to nothing.
const ROWS_MAX: u64 = 1 << 24;
/// A compressed buffer begins with its length.
const LENGTH_BYTES: usize = 8;
/// Messages up to this size are decoded at once: another thread would cost more than that.
const SMALL_BYTES: usize = 64 << 10;

/// The messages of one DoPut that carry data.
pub(super) fn messages(
    first: FlightData,
    rest: Streaming<FlightData>,
) -> impl Stream<Item = Result<FlightData, Status>> + Send + 'static {
    stream::iter([Ok(first)]).chain(rest).try_filter(|message| std::future::ready(!message.data_header.is_empty()))
}

/// What the messages hold, each of at most `bytes_max` once it is unpacked, and reserved in `memory` until the next is asked for.
/// Ends after an error.
pub(super) fn decoded(
    messages: impl Stream<Item = Result<FlightData, Status>> + Send + 'static,
    bytes_max: usize,
    memory: Reserved,
) -> BoxStream<'static, Result<DecodedPayload, FlightError>> {
    let upload = Upload {
        messages: messages.boxed(),
        decoder: Some(Decoder::default()),
        dictionaries: HashMap::new(),
        bytes_max,
        memory,
    };
    stream::unfold(Some(upload), |upload| async move {
        let mut upload = upload?;
        match upload.next().await {
            Ok(payload) => payload.map(|payload| (Ok(payload), Some(upload))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

/// One DoPut's data, as it is taken.
struct Upload {
    messages: BoxStream<'static, Result<FlightData, Status>>,
    /// None while it is on another thread.
    decoder: Option<Decoder>,
    /// What the dictionaries hold that later messages refer to, in bytes by their ids.
    dictionaries: HashMap<i64, usize>,
    bytes_max: usize,
    memory: Reserved,
}

impl Upload {
    async fn next(&mut self) -> Result<Option<DecodedPayload>, FlightError> {
        // What was given before has been taken.
        self.reserve(0)?;
        loop {
            let message = self.messages.try_next().await.map_err(|status| FlightError::Tonic(Box::new(status)))?;
            let Some(message) = message else { return Ok(None) };
            let size = check(&message, self.bytes_max).map_err(|status| FlightError::Tonic(Box::new(status)))?;
            let bytes = match size.dictionary {
                Some((id, is_delta)) => {
                    let held = self.dictionaries.entry(id).or_default();
                    *held = if is_delta { *held + size.bytes } else { size.bytes };
                    message.data_body.len()
                }
                None => size.bytes,
            };
            self.reserve(bytes)?;
            if let Some(payload) = self.decode(message, size.bytes).await? {
                return Ok(Some(payload));
            }
        }
    }

    /// Reserves so many bytes beside those of the dictionaries.
    fn reserve(&mut self, bytes: usize) -> Result<(), FlightError> {
        let bytes = self.dictionaries.values().fold(bytes, |sum, held| sum.saturating_add(*held));
        self.memory.resize(bytes).map_err(|error| FlightError::ExternalError(Box::new(error)))
    }

    async fn decode(&mut self, message: FlightData, bytes: usize) -> Result<Option<DecodedPayload>, FlightError> {
        let damaged = || FlightError::DecodeError("they are not valid Arrow data".to_owned());
        let Some(mut decoder) = self.decoder.take() else { return Err(damaged()) };
        let work = move || {
            let decoded = std::panic::catch_unwind(AssertUnwindSafe(|| match has_more_than_said(&message) {
                true => Err(FlightError::DecodeError("a buffer is longer than it says".to_owned())),
                false => decoder.decode(message),
            }));
            (decoder, decoded)
        };
        let (decoder, decoded) = match bytes <= SMALL_BYTES {
            true => work(),
            false => tokio::task::spawn_blocking(work).await.map_err(|_| damaged())?,
        };
        self.decoder = Some(decoder);
        decoded.map_err(|_| damaged())?
    }
}

/// Arrow's decoder, fed message by message.
struct Decoder {
    fed: Arc<Mutex<VecDeque<FlightData>>>,
    decoder: FlightDataDecoder,
}

impl Default for Decoder {
    fn default() -> Self {
        let fed: Arc<Mutex<VecDeque<FlightData>>> = Arc::default();
        let messages = Arc::clone(&fed);
        let messages = stream::poll_fn(move |_| match messages.lock().pop_front() {
            Some(message) => Poll::Ready(Some(Ok(message))),
            None => Poll::Pending,
        });
        Self { fed, decoder: FlightDataDecoder::new(messages) }
    }
}

impl Decoder {
    /// What a message holds; none if it only helps to read the next ones.
    fn decode(&mut self, message: FlightData) -> Result<Option<DecodedPayload>, FlightError> {
        self.fed.lock().push_back(message);
        let decoded = self.decoder.try_next().now_or_never().transpose()?.flatten();
        Ok(decoded.map(|decoded| decoded.payload))
    }
}

/// What a message will take once it is unpacked.
#[derive(Debug, Default)]
struct Size {
    bytes: usize,
    /// The dictionary that it is, and whether it adds to what was sent of it before.
    dictionary: Option<(i64, bool)>,
}

/// Refuses a message of more rows than one may have, or whose compressed buffers would grow beyond `bytes_max` together.
fn check(message: &FlightData, bytes_max: usize) -> Result<Size, Status> {
    let Ok(header) = root_as_message(&message.data_header) else { return Ok(Size::default()) };
    let (batch, dictionary) = match header.header_type() {
        MessageHeader::RecordBatch => (header.header_as_record_batch(), None),
        MessageHeader::DictionaryBatch => {
            let dictionary = header.header_as_dictionary_batch();
            let about = dictionary.map(|dictionary| (dictionary.id(), dictionary.isDelta()));
            (dictionary.and_then(|dictionary| dictionary.data()), about)
        }
        _ => (None, None),
    };
    let packed = message.data_body.len();
    let Some(batch) = batch else { return Ok(Size { bytes: packed, dictionary }) };
    let bytes = match batch.compression() {
        Some(_) => unpacked_bytes(&batch, &message.data_body),
        None => packed as u64,
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
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    // Packed and unpacked it is there at the same time.
    let bytes = if batch.compression().is_some() { bytes.saturating_add(packed) } else { bytes };
    Ok(Size { bytes, dictionary })
}

/// What the buffers of a batch say that they will have once they are unpacked.
fn unpacked_bytes(batch: &RecordBatch<'_>, body: &[u8]) -> u64 {
    let buffers = batch.buffers().into_iter().flat_map(|buffers| buffers.iter());
    let said = buffers.map(|buffer| match said(buffer, body) {
        Some((length, packed)) => u64::try_from(length).unwrap_or(packed.len() as u64),
        // The decoder says what is wrong with it.
        None => 0,
    });
    said.fold(0, u64::saturating_add)
}

/// The length that a compressed buffer begins with, -1 if it is not compressed after all, and what follows.
fn said<'a>(buffer: &Buffer, body: &'a [u8]) -> Option<(i64, &'a [u8])> {
    let begin = usize::try_from(buffer.offset()).ok()?;
    let end = begin.checked_add(usize::try_from(buffer.length()).ok()?)?;
    let (length, packed) = body.get(begin..end)?.split_first_chunk::<LENGTH_BYTES>()?;
    Some((i64::from_le_bytes(*length), packed))
}

/// Whether a buffer unpacks to more than it says, and than was reserved. Arrow's decoder of LZ4 unpacks all that there is before it
/// compares; its decoder of Zstandard stops.
fn has_more_than_said(message: &FlightData) -> bool {
    let Ok(header) = root_as_message(&message.data_header) else { return false };
    let batch = match header.header_type() {
        MessageHeader::RecordBatch => header.header_as_record_batch(),
        MessageHeader::DictionaryBatch => header.header_as_dictionary_batch().and_then(|dictionary| dictionary.data()),
        _ => None,
    };
    let Some(batch) =
        batch.filter(|batch| batch.compression().is_some_and(|by| by.codec() == CompressionType::LZ4_FRAME))
    else {
        return false;
    };
    batch.buffers().into_iter().flat_map(|buffers| buffers.iter()).any(|buffer| {
        let Some((length, packed)) = said(buffer, &message.data_body) else { return false };
        let Ok(length) = u64::try_from(length) else { return false };
        let mut unpacked = FrameDecoder::new(packed).take(length.saturating_add(1));
        std::io::copy(&mut unpacked, &mut std::io::sink()).is_ok_and(|bytes| bytes > length)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, NullArray, RecordBatch, StringArray};
    use arrow_flight::encode::FlightDataEncoderBuilder;
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

    #[tokio::test]
    async fn buffers_that_are_longer_than_they_say_are_found() {
        let zeros: ArrayRef = Arc::new(Int64Array::from(vec![0; MIB]));
        for (compression, is_unbounded) in [(CompressionType::LZ4_FRAME, true), (CompressionType::ZSTD, false)] {
            let mut messages = messages(Arc::clone(&zeros), Some(compression)).await;
            let message = messages.last_mut().unwrap();
            assert!(!has_more_than_said(message), "{compression:?}");
            let mut body = message.data_body.to_vec();
            let at = body.windows(LENGTH_BYTES).position(|bytes| bytes == (8 * MIB as u64).to_le_bytes()).unwrap();
            body[at..at + LENGTH_BYTES].copy_from_slice(&8_u64.to_le_bytes());
            message.data_body = body.into();
            assert_eq!(has_more_than_said(message), is_unbounded, "{compression:?}");
        }
    }
}
