//! A Flight SQL server that keeps ingested rows in memory and knows a handful of statements.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::error::ArrowError;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementIngest, CommandStatementQuery,
    CommandStatementUpdate, DoPutPreparedStatementResult, ProstMessageExt, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage,
    SchemaAsIpc, Ticket,
};
use base64::Engine as _;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use polynya_bench::client::Auth;
use prost::Message;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, Streaming};

const STATS: &str = r#"{"query_id":"q1","files_considered":84,"files_pruned":72,"requests_get":11,"requests_head":1}"#;

/// What the handle of a prepared statement with a value begins with: this server keeps no values.
const BOUND: &str = "SELECT ? = ";

/// The headers of one call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) authorization: Option<String>,
    pub(crate) cookie: Option<String>,
}

#[derive(Default)]
struct State {
    seen: Vec<Call>,
    tables: BTreeMap<String, u64>,
    ingests: Vec<String>,
    cancelled: bool,
}

#[derive(Clone, Default)]
struct Service(Arc<Mutex<State>>);

/// A running server; it ends with the test's runtime.
pub(crate) struct TestServer {
    port: u16,
    service: Service,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let service = Service::default();
        let flight = FlightServiceServer::new(service.clone());
        let server = tonic::transport::Server::builder().add_service(flight);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { port, service }
    }

    pub(crate) fn url(&self) -> String {
        format!("grpc://127.0.0.1:{}", self.port)
    }

    pub(crate) fn auth(&self) -> Auth {
        Auth { user: Some("me".into()), password: Some("secret".into()), ..Auth::default() }
    }

    pub(crate) fn seen(&self) -> Vec<Call> {
        self.service.state(|state| state.seen.clone())
    }

    pub(crate) fn ingests(&self) -> Vec<String> {
        self.service.state(|state| state.ingests.clone())
    }

    pub(crate) async fn wait_until_cancelled(&self) {
        for _ in 0..200 {
            if self.service.state(|state| state.cancelled) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the query was not cancelled");
    }
}

impl Service {
    fn state<T>(&self, read: impl FnOnce(&mut State) -> T) -> T {
        read(&mut self.0.lock().expect("the state"))
    }

    fn see<T>(&self, request: &Request<T>) {
        let header = |name| request.metadata().get(name).and_then(|value| value.to_str().ok()).map(str::to_string);
        let call = Call { authorization: header("authorization"), cookie: header("cookie") };
        self.state(|state| state.seen.push(call));
    }

    /// The table that a statement ends its name with: everything after the last word, without quotes.
    fn rows_of(&self, sql: &str) -> u64 {
        let name = sql.rsplit(' ').next().unwrap_or_default().replace('"', "");
        self.state(|state| state.tables.get(&name).copied().unwrap_or(0))
    }

    fn answer(&self, sql: &str) -> Result<RecordBatch, Status> {
        let column: (&str, ArrayRef) = if sql == "SELECT numbers" || sql == "SELECT endless" {
            ("n", Arc::new(Int64Array::from(vec![1, 2, 3])))
        } else if let Some(value) = sql.strip_prefix(BOUND) {
            ("n", Arc::new(Int64Array::from(vec![value.parse::<i64>().ok()])))
        } else if sql == "SELECT 1" {
            ("1", Arc::new(Int64Array::from(vec![1])))
        } else if sql.starts_with("SELECT count(*) FROM ") {
            ("count(*)", Arc::new(Int64Array::from(vec![i64::try_from(self.rows_of(sql)).unwrap_or(0)])))
        } else if sql.starts_with("-- TPC-H Q17") {
            ("avg_yearly", Arc::new(Float64Array::from(vec![None])))
        } else if sql.starts_with("-- TPC-H Q6") {
            let money = Decimal128Array::from(vec![100]).with_precision_and_scale(38, 2);
            ("revenue", Arc::new(money.map_err(|error| Status::internal(error.to_string()))?))
        } else {
            let table = sql.rsplit(' ').next().unwrap_or_default();
            let mut status = Status::new(Code::InvalidArgument, format!("no table called {table}"));
            status.metadata_mut().insert("polynya-sqlstate", tonic::metadata::MetadataValue::from_static("42P01"));
            status.metadata_mut().insert("polynya-query-id", tonic::metadata::MetadataValue::from_static("q7"));
            return Err(status);
        };
        RecordBatch::try_from_iter_with_nullable([(column.0, column.1, true)])
            .map_err(|error| Status::internal(error.to_string()))
    }

    fn info(&self, sql: &str) -> Result<Response<FlightInfo>, Status> {
        let schema = self.answer(sql)?.schema();
        let ticket = TicketStatementQuery { statement_handle: sql.as_bytes().to_vec().into() };
        let ticket = Ticket::new(ticket.as_any().encode_to_vec());
        let info = FlightInfo::new().try_with_schema(&schema).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(info.with_endpoint(FlightEndpoint::new().with_ticket(ticket))))
    }

    fn rows(&self, sql: &str) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let batch = self.answer(sql)?;
        let schema = batch.schema();
        let endless = (sql == "SELECT endless").then(|| Cancelled(self.clone()));
        let batches = match endless {
            Some(guard) => {
                let repeated = stream::repeat(batch).map(move |batch| {
                    let _ = &guard;
                    Ok(batch)
                });
                repeated.boxed()
            }
            // As the real server does: the account comes on a batch without rows.
            None => stream::iter([Ok(batch.clone()), Ok(batch.slice(0, 0))]).boxed(),
        };
        let messages = FlightDataEncoderBuilder::new().with_schema(schema).build(batches);
        let with_account =
            messages.map_err(|error: FlightError| Status::internal(error.to_string())).map_ok(|message| {
                // An account on each message but the schema: only the last one counts.
                if message.data_body.is_empty() && message.app_metadata.is_empty() && !is_schema(&message) {
                    message.with_app_metadata(STATS)
                } else {
                    message
                }
            });
        // A message without an IPC header must be passed over too.
        let trailer = stream::iter([Ok(FlightData::new().with_app_metadata(STATS))]);
        Ok(Response::new(Box::pin(with_account.chain(trailer))))
    }
}

fn is_schema(message: &FlightData) -> bool {
    Schema::try_from(message).is_ok()
}

/// Tells when the stream that holds it is dropped.
struct Cancelled(Service);

impl Drop for Cancelled {
    fn drop(&mut self) {
        self.0.state(|state| state.cancelled = true);
    }
}

type HandshakeStream = Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>;

#[tonic::async_trait]
impl FlightSqlService for Service {
    type FlightService = Service;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<HandshakeStream>, Status> {
        let basic = base64::engine::general_purpose::STANDARD.encode("me:secret");
        let sent = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        if sent != Some(&format!("Basic {basic}")) {
            return Err(Status::unauthenticated("wrong user or password"));
        }
        let none: HandshakeStream = Box::pin(stream::empty());
        let mut response = Response::new(none);
        let bearer = tonic::metadata::MetadataValue::from_static("Bearer test-token");
        response.metadata_mut().insert("authorization", bearer);
        let cookie = tonic::metadata::MetadataValue::from_static("polynya-session-id=s1; Path=/");
        response.metadata_mut().insert("set-cookie", cookie);
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.see(&request);
        self.info(&query.query)
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        _request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        self.rows(&String::from_utf8_lossy(&ticket.statement_handle))
    }

    async fn do_put_statement_update(
        &self,
        update: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        self.see(&request);
        if let Some(name) = update.query.strip_prefix("DROP TABLE IF EXISTS ") {
            self.state(|state| state.tables.remove(&name.replace('"', "")));
        }
        Ok(-1)
    }

    async fn do_put_statement_ingest(
        &self,
        command: CommandStatementIngest,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let messages = request.into_inner().map_err(|status| FlightError::Tonic(Box::new(status)));
        let batches = FlightRecordBatchStream::new_from_flight_data(messages);
        let batches: Vec<RecordBatch> =
            batches.try_collect().await.map_err(|error| Status::internal(error.to_string()))?;
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let name = format!("{}.{}", command.schema.unwrap_or_default(), command.table);
        self.state(|state| {
            state.ingests.push(name.clone());
            *state.tables.entry(name).or_default() += rows as u64;
        });
        i64::try_from(rows).map_err(|error| Status::internal(error.to_string()))
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        _request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let schema = match self.answer(&query.query) {
            Ok(batch) => batch.schema(),
            Err(_) => Arc::new(Schema::empty()),
        };
        let options = Default::default();
        let encoded = |schema: &Schema| {
            let message: Result<IpcMessage, ArrowError> = SchemaAsIpc::new(schema, &options).try_into();
            message.map(|IpcMessage(bytes)| bytes).map_err(|_| Status::internal("no schema"))
        };
        let parameters = match query.query.contains('?') {
            true => Schema::new(vec![Field::new("n", DataType::Int64, true)]),
            false => Schema::empty(),
        };
        Ok(ActionCreatePreparedStatementResult {
            dataset_schema: encoded(&schema)?,
            parameter_schema: encoded(&parameters)?,
            prepared_statement_handle: query.query.into(),
        })
    }

    async fn do_put_prepared_statement_query(
        &self,
        _query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let messages = request.into_inner().map_err(|status| FlightError::Tonic(Box::new(status)));
        let mut batches = FlightRecordBatchStream::new_from_flight_data(messages);
        let batch = batches.try_next().await?.ok_or_else(|| Status::invalid_argument("there are no values"))?;
        let value = batch.column(0).as_primitive::<Int64Type>().value(0);
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(format!("{BOUND}{value}").into()) })
    }

    async fn do_action_close_prepared_statement(
        &self,
        _query: ActionClosePreparedStatementRequest,
        _request: Request<Action>,
    ) -> Result<(), Status> {
        Ok(())
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        _request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.info(&String::from_utf8_lossy(&query.prepared_statement_handle))
    }

    async fn do_put_prepared_statement_update(
        &self,
        _query: CommandPreparedStatementUpdate,
        _request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Ok(4)
    }

    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {}
}
