//! Queries that are prepared once and run again and again, each time with other values for their parameters.
//!
//! A run is three calls: the values are bound, the query is planned, its rows are fetched.

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::sql::{CommandPreparedStatementQuery, DoPutPreparedStatementResult, ProstMessageExt};
use arrow_flight::{FlightData, FlightDescriptor, PutResult};
use bytes::Bytes;
use futures::{TryStreamExt, stream};
use prost::Message;

use super::{Client, Error, QueryPoll, QueryStream, Result, schema_from_ipc};

/// A query that the server keeps until it is closed, or for as long as it keeps what nobody uses.
#[derive(Debug)]
pub struct PreparedQuery {
    client: Client,
    handle: Bytes,
    parameters: SchemaRef,
}

impl Client {
    /// Prepares a query, whose parameters get their values when it runs.
    pub async fn prepare_query(&self, sql: &str) -> Result<PreparedQuery> {
        let prepared = self.prepare(sql).await?;
        let parameters = schema_from_ipc(prepared.parameter_schema)?;
        Ok(PreparedQuery {
            client: self.clone(),
            handle: prepared.prepared_statement_handle,
            parameters: parameters.unwrap_or_else(|| SchemaRef::new(Schema::empty())),
        })
    }
}

impl PreparedQuery {
    /// The parameters in order, in the types that the server asks for; none also where it does not tell.
    pub fn parameters(&self) -> &SchemaRef {
        &self.parameters
    }

    /// Starts the query with these values, a column for each parameter. Dropping the stream stops the query.
    pub async fn run(&mut self, values: RecordBatch) -> Result<QueryStream> {
        self.bind(values).await?;
        let info = self.client.flight_info(self.command()).await?;
        QueryStream::open(self.client.clone(), QueryPoll::complete(self.client.clone(), info)).await
    }

    /// Lets the server forget the query.
    pub async fn close(self) -> Result<()> {
        self.client.close_prepared(self.handle).await
    }

    async fn bind(&mut self, values: RecordBatch) -> Result<()> {
        let descriptor = FlightDescriptor::new_cmd(self.command().as_any().encode_to_vec());
        let messages: Vec<FlightData> = FlightDataEncoderBuilder::new()
            .with_schema(values.schema())
            .with_flight_descriptor(Some(descriptor))
            .build(stream::iter([Ok(values)]))
            .try_collect()
            .await
            .map_err(|source| Error::Values { source: Box::new(source) })?;
        let answers = self.client.service.clone().do_put(stream::iter(messages)).await?.into_inner();
        // To its end: a call that is left half-way costs both sides a reset.
        let answers: Vec<PutResult> = answers.try_collect().await?;
        match answers.first().map(|answer| DoPutPreparedStatementResult::decode(answer.app_metadata.clone())) {
            // Servers that keep no statements put the values into the handle.
            Some(Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) })) => self.handle = handle,
            // Older servers say nothing.
            Some(Ok(_)) | None => {}
            Some(Err(_)) => return Err(Error::Protocol("the answer to the values of parameters is malformed")),
        }
        Ok(())
    }

    fn command(&self) -> CommandPreparedStatementQuery {
        CommandPreparedStatementQuery { prepared_statement_handle: self.handle.clone() }
    }
}
