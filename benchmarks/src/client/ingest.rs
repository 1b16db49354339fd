//! Bulk ingest: a stream of record batches into one table, in one call and so in one snapshot.
//!
//! A failure of the caller's stream must not look like its end, or the server commits the rows so far. Ending the call does
//! not tell them apart: tonic's servers take a reset for the end of the stream. So a message goes out that no server accepts.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{
    CommandStatementIngest, ProstMessageExt, TableDefinitionOptions, TableExistsOption, TableNotExistOption,
};
use arrow_flight::{FlightData, FlightDescriptor};
use futures::channel::oneshot;
use futures::{Stream, StreamExt};
use prost::Message;

use super::{Client, Error, Result, update_count};

/// Stands where an IPC header should, after the caller's rows have failed.
const FAILURE_HEADER: &[u8] = b"the client could not make the remaining rows";

/// The table that rows go into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestTarget {
    /// The catalog; absent: the session's.
    pub catalog: Option<String>,
    /// The schema; absent: the session's.
    pub schema: Option<String>,
    /// The table's name.
    pub table: String,
}

/// What becomes of a table that exists, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IngestMode {
    /// Add to the table, which must exist.
    Append,
    /// Make the table, which must not exist.
    Create,
    /// Drop the table if it exists, and make it anew.
    Replace,
    /// Add to the table, and make it if it does not exist.
    CreateAppend,
}

impl IngestMode {
    fn options(self) -> TableDefinitionOptions {
        let (if_not_exist, if_exists) = match self {
            IngestMode::Append => (TableNotExistOption::Fail, TableExistsOption::Append),
            IngestMode::Create => (TableNotExistOption::Create, TableExistsOption::Fail),
            IngestMode::Replace => (TableNotExistOption::Create, TableExistsOption::Replace),
            IngestMode::CreateAppend => (TableNotExistOption::Create, TableExistsOption::Append),
        };
        TableDefinitionOptions { if_not_exist: if_not_exist.into(), if_exists: if_exists.into() }
    }
}

impl Client {
    /// Puts all rows of a stream into a table, matching columns by name. The number of rows that the server stored.
    pub async fn ingest<S>(&self, target: &IngestTarget, mode: IngestMode, schema: SchemaRef, rows: S) -> Result<u64>
    where
        S: Stream<Item = std::result::Result<RecordBatch, FlightError>> + Send + 'static,
    {
        let command = CommandStatementIngest {
            table_definition_options: Some(mode.options()),
            table: target.table.clone(),
            schema: target.schema.clone(),
            catalog: target.catalog.clone(),
            temporary: false,
            transaction_id: None,
            options: Default::default(),
        };
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let messages =
            FlightDataEncoderBuilder::new().with_schema(schema).with_flight_descriptor(Some(descriptor)).build(rows);
        let (failed, mut failure) = oneshot::channel();
        let stored = self.put_rows(spoilt_by_failure(messages, failed)).await;
        match failure.try_recv() {
            Ok(Some(source)) => Err(Error::Input { source: Box::new(source) }),
            // The sender is dropped without a word when the stream ends well.
            Ok(None) | Err(_) => stored,
        }
    }

    async fn put_rows<S>(&self, messages: S) -> Result<u64>
    where
        S: Stream<Item = FlightData> + Send + 'static,
    {
        let mut results = self.service.clone().do_put(messages).await?.into_inner();
        let result = results.next().await.ok_or(Error::Protocol("the server did not answer the ingest"))??;
        update_count(&result.app_metadata)?.ok_or(Error::Protocol("the server did not count the ingested rows"))
    }
}

/// The messages up to an error, which goes to `failed`; then one whose header is no IPC message, so that the server refuses all.
fn spoilt_by_failure<S>(
    messages: S,
    failed: oneshot::Sender<FlightError>,
) -> impl Stream<Item = FlightData> + Send + 'static
where
    S: Stream<Item = std::result::Result<FlightData, FlightError>> + Send + 'static,
{
    futures::stream::unfold(Some((Box::pin(messages), failed)), |state| async move {
        let (mut messages, failed) = state?;
        match messages.next().await? {
            Ok(message) => Some((message, Some((messages, failed)))),
            Err(error) => {
                // Nobody listening means that the call is over already.
                let _ = failed.send(error);
                Some((FlightData::new().with_data_header(FAILURE_HEADER), None))
            }
        }
    })
}
