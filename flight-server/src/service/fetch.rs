//! DoGet's streams: rows as a query makes them, or one batch of metadata.
//!
//! A result ends with a batch of no rows whose `app_metadata` is the query's account as JSON. A message without a batch
//! would carry it as well, but several clients (arrow-rs among them) refuse messages without an IPC header, while all
//! read empty batches. Dropping the stream stops the query.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::FlightData;
use arrow_flight::encode::{FlightDataEncoder, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use arrow_flight::utils::batches_to_flight_data;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use polynya_engine::{QueryContext, RowStream};
use tonic::{Code, Status};

use super::ServerStream;
use crate::activity::ActivityGuard;
use crate::results::Fetching;
use crate::status::{arrow_status, engine_status, flight_status, status};
use crate::wire::{MESSAGE_TARGET_BYTES, split, to_wire, wire_schema};

/// The rows of a query, as they are made.
pub(super) fn rows(rows: RowStream, fetching: Fetching, running: ActivityGuard) -> ServerStream<FlightData> {
    let schema = wire_schema(&rows.schema());
    let context = rows.context();
    let batches = wire_batches(rows, Arc::clone(&schema), Arc::clone(&context));
    let messages = encoder(Arc::clone(&schema), batches);
    let fetch =
        Fetch { messages: Some(messages), schema, context, outcome: Outcome::Abandoned, fetching, _running: running };
    stream::unfold(fetch, |mut fetch| async move {
        let item = fetch.next().await?;
        Some((item, fetch))
    })
    .boxed()
}

/// The stream of a statement that gives no rows: an empty schema.
pub(super) fn nothing() -> ServerStream<FlightData> {
    encoder(Arc::new(Schema::empty()), stream::empty()).map_err(flight_status).boxed()
}

/// One batch that is in memory already.
pub(super) fn batch(batch: RecordBatch) -> Result<ServerStream<FlightData>, Status> {
    let schema = wire_schema(&batch.schema());
    let batch = to_wire(&batch, &schema).map_err(|error| arrow_status(&error, None))?;
    let pieces = split(batch, MESSAGE_TARGET_BYTES).into_iter().map(Ok);
    Ok(encoder(schema, stream::iter(pieces)).map_err(flight_status).boxed())
}

/// Batches arrive cut already, so the encoder must not cut them again by its coarser measure.
fn encoder<S>(schema: SchemaRef, batches: S) -> FlightDataEncoder
where
    S: Stream<Item = Result<RecordBatch, FlightError>> + Send + 'static,
{
    FlightDataEncoderBuilder::new().with_schema(schema).with_max_flight_data_size(usize::MAX).build(batches)
}

fn wire_batches(
    rows: RowStream,
    schema: SchemaRef,
    context: Arc<QueryContext>,
) -> impl Stream<Item = Result<RecordBatch, FlightError>> + Send {
    let failed = |status: Status| vec![Err(FlightError::Tonic(Box::new(status)))];
    rows.flat_map(move |batch| {
        let pieces = match batch {
            Ok(batch) => match to_wire(&batch, &schema) {
                Ok(batch) => split(batch, MESSAGE_TARGET_BYTES).into_iter().map(Ok).collect(),
                Err(error) => failed(arrow_status(&error, Some(context.id()))),
            },
            Err(error) => failed(engine_status(&error, Some(context.id()))),
        };
        stream::iter(pieces)
    })
}

/// A result being sent.
struct Fetch {
    /// The rows; gone, and the query with them, once the result has ended in any way.
    messages: Option<FlightDataEncoder>,
    schema: SchemaRef,
    context: Arc<QueryContext>,
    outcome: Outcome,
    fetching: Fetching,
    _running: ActivityGuard,
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
        let messages = self.messages.as_mut()?;
        let next = tokio::select! {
            biased;
            () = self.fetching.cancelled.cancelled() => {
                self.end(Outcome::Cancelled);
                let id = self.context.id();
                return Some(Err(status(Code::Cancelled, "57014", "the query was cancelled", Some(id))));
            }
            next = messages.next() => next,
        };
        match next {
            Some(Ok(message)) => Some(Ok(message)),
            Some(Err(error)) => {
                self.end(Outcome::Failed);
                Some(Err(flight_status(error)))
            }
            None => {
                self.end(Outcome::Finished);
                Some(self.account())
            }
        }
    }

    fn end(&mut self, outcome: Outcome) {
        self.outcome = outcome;
        self.messages = None;
    }

    /// The closing message: no rows, and what the query has used.
    fn account(&self) -> Result<FlightData, Status> {
        let failed = |error: &arrow::error::ArrowError| arrow_status(error, Some(self.context.id()));
        let empty = RecordBatch::new_empty(Arc::clone(&self.schema));
        let mut messages = batches_to_flight_data(&self.schema, vec![empty]).map_err(|error| failed(&error))?;
        let message = messages.pop().ok_or_else(|| Status::internal("an empty batch has no message"))?;
        let account = account_json(&self.context);
        Ok(message.with_app_metadata(account))
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
    }
}
