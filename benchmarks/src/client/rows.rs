//! The rows of a query, as they arrive.
//!
//! In: what the server tells of a query. Out: record batches of one schema, endpoint after endpoint in the order given, and
//! the server's account of the query once the last has ended.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::decode::{DecodedPayload, FlightDataDecoder};
use arrow_flight::error::FlightError;
use arrow_flight::{FlightData, FlightEndpoint};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};

use super::{Client, Error, QueryPoll, QueryStats, Result, schema_from_ipc};

/// A query's rows, streamed. Dropping it cancels the query.
pub struct QueryStream {
    schema: SchemaRef,
    batches: BoxStream<'static, Result<RecordBatch>>,
    poll: QueryPoll,
    stats: StatsSlot,
}

/// A query's rows, all of them.
#[derive(Debug, Clone)]
pub struct QueryResult {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows; batches without rows are left out.
    pub batches: Vec<RecordBatch>,
    /// The server's account, where it sends one.
    pub stats: Option<QueryStats>,
}

impl QueryResult {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

/// Where the account is put when its message passes.
#[derive(Clone, Default)]
struct StatsSlot(Arc<Mutex<Option<QueryStats>>>);

impl StatsSlot {
    fn set(&self, stats: QueryStats) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(stats);
    }

    fn get(&self) -> Option<QueryStats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl QueryStream {
    /// Opens the first endpoint, so that the schema is known.
    pub(crate) async fn open(client: Client, poll: QueryPoll) -> Result<Self> {
        let stats = StatsSlot::default();
        let announced = schema_from_ipc(poll.schema().await)?;
        let slot = stats.clone();
        let endpoints = stream::try_unfold((poll.clone(), 0), |(poll, number)| async move {
            let endpoint = poll.endpoint(number).await?;
            Ok::<_, Error>(endpoint.map(|endpoint| (endpoint, (poll, number + 1))))
        });
        let payloads =
            endpoints.and_then(move |endpoint| open_endpoint(client.clone(), endpoint, slot.clone())).try_flatten();
        let mut payloads = Box::pin(payloads);
        let mut first = None;
        let schema = match payloads.try_next().await? {
            Some(DecodedPayload::Schema(schema)) => schema,
            Some(DecodedPayload::RecordBatch(batch)) => {
                let schema = batch.schema();
                first = Some(Ok(batch));
                schema
            }
            Some(DecodedPayload::None) | None => {
                announced.ok_or(Error::Protocol("the result has neither a schema nor rows"))?
            }
        };
        let rest = payloads.try_filter_map(|payload| async move {
            Ok(match payload {
                DecodedPayload::RecordBatch(batch) if batch.num_rows() > 0 => Some(batch),
                _ => None,
            })
        });
        Ok(Self { schema, batches: stream::iter(first).chain(rest).boxed(), poll, stats })
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Asks how far the query is; only the rows of [`Client::execute_polled`] can tell.
    pub fn poll(&self) -> &QueryPoll {
        &self.poll
    }

    /// The server's account of the query; it comes with the last message, so ask after the stream has ended.
    pub fn stats(&self) -> Option<QueryStats> {
        self.stats.get()
    }

    /// Reads all the rows into memory.
    pub async fn read_all(mut self) -> Result<QueryResult> {
        let mut batches = Vec::new();
        while let Some(batch) = self.batches.try_next().await? {
            batches.push(batch);
        }
        Ok(QueryResult { schema: self.schema.clone(), batches, stats: self.stats() })
    }
}

/// The messages of one endpoint, decoded. Locations are not followed: the ticket is redeemed where it was given.
async fn open_endpoint(
    client: Client,
    endpoint: FlightEndpoint,
    stats: StatsSlot,
) -> Result<BoxStream<'static, Result<DecodedPayload>>> {
    let ticket = endpoint.ticket.ok_or(Error::Protocol("an endpoint of the result has no ticket"))?;
    let messages = client.service.clone().do_get(ticket).await?.into_inner();
    let messages = messages.map_err(|status| FlightError::Tonic(Box::new(status))).try_filter_map(move |message| {
        if !message.app_metadata.is_empty()
            && let Some(account) = QueryStats::from_metadata(&message.app_metadata)
        {
            stats.set(account);
        }
        // A message that only carries metadata has no IPC header, which arrow's decoder would refuse.
        std::future::ready(Ok::<_, FlightError>((!message.data_header.is_empty()).then_some::<FlightData>(message)))
    });
    Ok(FlightDataDecoder::new(messages).map_ok(|decoded| decoded.payload).map_err(Error::from).boxed())
}

impl Stream for QueryStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.poll_next_unpin(cx)
    }
}

impl std::fmt::Debug for QueryStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryStream").field("schema", &self.schema).finish_non_exhaustive()
    }
}
