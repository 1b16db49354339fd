//! As much of Flight SQL as ADBC's driver needs to run a query. All else is UNIMPLEMENTED, which drivers take as "do without".

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::server::FlightSqlService;
use arrow_flight::sql::{
    CommandGetSqlInfo, CommandStatementQuery, ProstMessageExt, SqlInfo, SqlSupportedTransaction, TicketStatementQuery,
};
use arrow_flight::{Action, FlightDescriptor, FlightEndpoint, FlightInfo, Ticket};
use bytes::Bytes;
use futures::{TryStreamExt, stream};
use prost::Message;
use tonic::{Request, Response, Status};

use super::RawAnswer;

/// The handle of the only result that there is.
const HANDLE: &[u8] = b"all";

/// See the module.
#[derive(Clone)]
pub(super) struct Service {
    schema: SchemaRef,
    batches: Arc<[RecordBatch]>,
    about: Arc<SqlInfoData>,
}

impl Service {
    pub(super) fn new(answer: RawAnswer) -> Result<Self, FlightError> {
        let mut about = SqlInfoDataBuilder::new();
        about.append(SqlInfo::FlightSqlServerName, "arrow-flight");
        about.append(SqlInfo::FlightSqlServerReadOnly, true);
        about.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
        Ok(Self { schema: answer.schema, batches: answer.batches.into(), about: Arc::new(about.build()?) })
    }
}

/// The answer to GetFlightInfo: one endpoint, to be fetched from where it was given.
fn info(schema: &Schema, ticket: Vec<u8>, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
    let info = FlightInfo::new().try_with_schema(schema).map_err(|error| Status::internal(error.to_string()))?;
    let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket));
    Ok(Response::new(info.with_endpoint(endpoint).with_descriptor(request.into_inner())))
}

type Rows = <Service as FlightService>::DoGetStream;

/// The answer to DoGet.
fn rows<B>(schema: SchemaRef, batches: B) -> Response<Rows>
where
    B: Iterator<Item = RecordBatch> + Send + 'static,
{
    // Arrow's measure takes batches that share a message's memory for many times as large as they are, and would cut them.
    let encoder = FlightDataEncoderBuilder::new().with_schema(schema).with_max_flight_data_size(usize::MAX);
    Response::new(Box::pin(encoder.build(stream::iter(batches.map(Ok))).map_err(Status::from)))
}

#[tonic::async_trait]
impl FlightSqlService for Service {
    type FlightService = Service;

    async fn get_flight_info_statement(
        &self,
        _query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let ticket = TicketStatementQuery { statement_handle: Bytes::from_static(HANDLE) };
        info(&self.schema, ticket.as_any().encode_to_vec(), request)
    }

    async fn do_get_statement(
        &self,
        _ticket: TicketStatementQuery,
        _request: Request<Ticket>,
    ) -> Result<Response<Rows>, Status> {
        let batches = Arc::clone(&self.batches);
        Ok(rows(Arc::clone(&self.schema), (0..batches.len()).map(move |number| batches[number].clone())))
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let ticket = query.as_any().encode_to_vec();
        info(&self.about.schema(), ticket, request)
    }

    async fn do_get_sql_info(
        &self,
        query: CommandGetSqlInfo,
        _request: Request<Ticket>,
    ) -> Result<Response<Rows>, Status> {
        let about = query.into_builder(&self.about).build().map_err(Status::from)?;
        Ok(rows(about.schema(), std::iter::once(about)))
    }

    /// Drivers end a session that was never begun, and go on if that is not implemented.
    async fn do_action_fallback(
        &self,
        request: Request<Action>,
    ) -> Result<Response<<Self as FlightService>::DoActionStream>, Status> {
        Err(Status::unimplemented(format!("there is no action {}", request.get_ref().r#type)))
    }

    async fn register_sql_info(&self, _id: i32, _about: &SqlInfo) {}
}
