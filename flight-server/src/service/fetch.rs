//! DoGet's streams: rows as a query makes them, or one batch of metadata.
//!
//! A result ends with a batch of no rows whose `app_metadata` is the query's account as JSON. A message without a batch
//! would carry it as well, but several clients (arrow-rs among them) refuse messages without an IPC header, while all
//! read empty batches. Dropping the stream stops the query, and so does cancelling it, at once: a client that does not read
//! would otherwise keep what a cancelled query holds.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::FlightData;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_ipc::writer::IpcWriteOptions;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use polynya_engine::plain_size::{cut, plain_bytes};
use polynya_engine::{QueryContext, RowStream, WireCompression, WireOptions};
use prost::Message;
use tonic::{Code, Status};

use super::ServerStream;
use super::column_notes::result_schema;
use super::encode::Encoder;
use crate::activity::ActivityGuard;
use crate::results::Fetching;
use crate::status::{arrow_status, engine_status, flight_status, status, too_large};
use crate::wire::{MESSAGE_TARGET_BYTES, split, to_wire, wire_schema, write_options};

/// A row may shrink so many times by compression, and fit a message then. A larger one is refused before it is made plain.
const SHRINKING_MAX: u64 = 16;

/// The rows of a query, as they are made, in the form that was announced for them.
pub(super) fn rows(
    rows: RowStream,
    options: WireOptions,
    fetching: Fetching,
    running: ActivityGuard,
) -> Result<ServerStream<FlightData>, Status> {
    let schema = result_schema(&rows.schema(), &options);
    let context = rows.context();
    let batches = wire_batches(rows, Arc::clone(&schema), Arc::clone(&context), &options);
    let written = write_options(options.compression).map_err(|error| arrow_status(&error, Some(context.id())))?;
    let messages = encoded(batches, &schema, written);
    let held = Arc::new(Mutex::new(Held { messages: Some(messages), _running: Some(running) }));
    let to_stop = Arc::clone(&held);
    fetching.on_cancel(move || {
        let held = std::mem::take(&mut *to_stop.lock());
        drop(held);
    });
    let fetch = Fetch {
        held,
        closing: VecDeque::new(),
        message_bytes_max: options.message_bytes_max,
        schema,
        context,
        outcome: Outcome::Abandoned,
        fetching,
    };
    let stream = stream::unfold(fetch, |mut fetch| async move {
        let item = fetch.next().await?;
        Some((item, fetch))
    });
    Ok(stream.boxed())
}

/// The stream of a statement that gives no rows: an empty schema.
pub(super) fn nothing() -> ServerStream<FlightData> {
    builder(Arc::new(Schema::empty())).build(stream::empty()).map_err(flight_status).boxed()
}

/// One batch that is in memory already.
pub(super) fn batch(batch: RecordBatch) -> Result<ServerStream<FlightData>, Status> {
    let schema = wire_schema(&batch.schema());
    let batch = to_wire(&batch, &schema).map_err(|error| arrow_status(&error, None))?;
    let pieces = split(batch, MESSAGE_TARGET_BYTES).into_iter().map(Ok);
    Ok(builder(schema).build(stream::iter(pieces)).map_err(flight_status).boxed())
}

/// Arrow's own encoder. Batches arrive cut already, so it must not cut them again by its coarser measure.
fn builder(schema: SchemaRef) -> FlightDataEncoderBuilder {
    FlightDataEncoderBuilder::new().with_schema(schema).with_max_flight_data_size(usize::MAX)
}

fn wire_batches(
    rows: RowStream,
    schema: SchemaRef,
    context: Arc<QueryContext>,
    options: &WireOptions,
) -> impl Stream<Item = Result<RecordBatch, FlightError>> + Send + use<> {
    let message_bytes_max = options.message_bytes_max;
    let row_bytes_max = match options.compression {
        WireCompression::None => message_bytes_max,
        _ => message_bytes_max.saturating_mul(SHRINKING_MAX),
    };
    // A message has a header besides its rows, so these get half of it at most.
    let target = usize::try_from(message_bytes_max / 2).unwrap_or(usize::MAX).min(MESSAGE_TARGET_BYTES);
    let failed = |status: Status| vec![Err(FlightError::Tonic(Box::new(status)))];
    rows.flat_map(move |batch| {
        let (schema, context) = (Arc::clone(&schema), Arc::clone(&context));
        let pieces = match batch {
            Ok(batch) => cut(&batch, usize::MAX, target),
            Err(error) => return stream::iter(failed(engine_status(&error, Some(context.id())))).left_stream(),
        };
        // One piece after the other becomes plain, when it is asked for: a text that many rows share is then in each of them.
        stream::iter(pieces)
            .flat_map(move |piece| {
                let bytes = plain_bytes(&piece);
                if bytes as u64 > row_bytes_max && piece.num_rows() == 1 {
                    return stream::iter(failed(too_large(bytes, message_bytes_max, context.id())));
                }
                stream::iter(match to_wire(&piece, &schema) {
                    Ok(batch) => split(batch, target).into_iter().map(Ok).collect(),
                    Err(error) => failed(arrow_status(&error, Some(context.id()))),
                })
            })
            .right_stream()
    })
}

/// The schema's message, and then those of the batches that have rows.
fn encoded(
    batches: impl Stream<Item = Result<RecordBatch, FlightError>> + Send + 'static,
    schema: &Schema,
    options: IpcWriteOptions,
) -> Messages {
    let mut encoder = Encoder::new(schema, options);
    let begin = stream::iter([Ok(encoder.schema(schema))]);
    let rows = batches.try_filter(|batch| std::future::ready(batch.num_rows() > 0)).flat_map(move |batch| {
        let messages = batch.and_then(|batch| encoder.batch(&batch).map_err(FlightError::from));
        stream::iter(match messages {
            Ok(messages) => messages.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
    });
    begin.chain(rows).boxed()
}

/// A result's messages, made as they are taken.
type Messages = BoxStream<'static, Result<FlightData, FlightError>>;

/// What a result holds while it is sent. Whoever cancels it takes all of it.
#[derive(Default)]
struct Held {
    /// The rows; gone, and the query with them, once the result has ended in any way.
    messages: Option<Messages>,
    _running: Option<ActivityGuard>,
}

/// A result being sent.
struct Fetch {
    held: Arc<Mutex<Held>>,
    /// What is left to send after the rows.
    closing: VecDeque<FlightData>,
    message_bytes_max: u64,
    schema: SchemaRef,
    context: Arc<QueryContext>,
    outcome: Outcome,
    fetching: Fetching,
}

/// How a result ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Finished,
    Failed,
    Cancelled,
    /// The client went away before the end.
    Abandoned,
}

impl Fetch {
    async fn next(&mut self) -> Option<Result<FlightData, Status>> {
        if self.outcome != Outcome::Abandoned {
            return self.closing.pop_front().map(Ok);
        }
        let held = Arc::clone(&self.held);
        let next_message = poll_fn(|cx| match &mut held.lock().messages {
            Some(messages) => messages.poll_next_unpin(cx),
            // Cancelled, which the other branch tells.
            None => Poll::Pending,
        });
        let next = tokio::select! {
            biased;
            () = self.fetching.cancelled.cancelled() => {
                self.end(Outcome::Cancelled);
                let id = self.context.id();
                return Some(Err(status(Code::Cancelled, "57014", "the query was cancelled", Some(id))));
            }
            next = next_message => next,
        };
        match next {
            Some(Ok(message)) if message.encoded_len() as u64 > self.message_bytes_max => {
                self.end(Outcome::Failed);
                Some(Err(too_large(message.encoded_len(), self.message_bytes_max, self.context.id())))
            }
            Some(Ok(message)) => Some(Ok(message)),
            Some(Err(error)) => {
                self.end(Outcome::Failed);
                Some(Err(flight_status(error)))
            }
            None => {
                self.end(Outcome::Finished);
                match self.account() {
                    Ok(messages) => self.closing.extend(messages),
                    Err(status) => return Some(Err(status)),
                }
                self.closing.pop_front().map(Ok)
            }
        }
    }

    fn end(&mut self, outcome: Outcome) {
        self.outcome = outcome;
        // Dropped without the lock: it may take a while.
        let messages = self.held.lock().messages.take();
        drop(messages);
    }

    /// The closing messages: no rows, and with the last what the query has used. Where dictionaries are sent, those of
    /// the empty batch come before it, because a client may not have seen any yet.
    fn account(&self) -> Result<Vec<FlightData>, Status> {
        let empty = RecordBatch::new_empty(Arc::clone(&self.schema));
        let closing = Encoder::new(&self.schema, IpcWriteOptions::default()).batch(&empty);
        let mut closing = closing.map_err(|error| arrow_status(&error, Some(self.context.id())))?;
        if let Some(last) = closing.last_mut() {
            last.app_metadata = account_json(&self.context).into();
        }
        Ok(closing)
    }
}

/// The query's statistics and id.
fn account_json(context: &QueryContext) -> String {
    let mut account = serde_json::to_value(context.stats()).unwrap_or_default();
    if let Some(figures) = account.as_object_mut() {
        figures.insert("query_id".to_owned(), context.id().into());
    }
    account.to_string()
}

impl Drop for Fetch {
    fn drop(&mut self) {
        let stats = self.context.stats();
        let outcome = match self.outcome {
            Outcome::Finished => "finished",
            Outcome::Failed => "failed",
            Outcome::Cancelled => "cancelled",
            Outcome::Abandoned => "abandoned by its client",
        };
        tracing::info!(
            query_id = self.context.id(),
            outcome,
            rows = stats.rows,
            elapsed_ms = stats.elapsed_ms,
            requests_get = stats.requests_get,
            bytes_read = stats.bytes_read,
            bytes_from_memory = stats.io.bytes_from_memory,
            bytes_from_disk = stats.io.bytes_from_disk,
            page_hits = stats.io.page_hits,
            page_misses = stats.io.page_misses,
            retries = stats.io.retries,
            hedges = stats.io.hedges,
            wait_ms = stats.io.wait_ms,
            cost_usd = stats.cost_usd,
            tenant = self.context.tenant(),
            files_pruned = stats.files_pruned,
            "a query ended"
        );
        // What could stop it holds it as well.
        let held = std::mem::take(&mut *self.held.lock());
        drop(held);
    }
}
