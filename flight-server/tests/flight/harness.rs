//! A server in this process, and the clients that talk to it.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{Action, FlightDescriptor, FlightInfo, IpcMessage, SchemaResult, Ticket};
use futures::TryStreamExt;
use polynya_catalog::{CatalogSettings, CatalogType};
use polynya_engine::Engine;
use polynya_flight_server::{Server, ServerSettings};
use prost::Message;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// A server with a memory catalog `lake`, a schema `s`, and a table `s.t (id bigint, name varchar)` of three rows.
pub(crate) struct Harness {
    pub(crate) server: Server,
    pub(crate) sql: FlightSqlServiceClient<Channel>,
    pub(crate) raw: FlightServiceClient<Channel>,
}

impl Harness {
    /// Starts with a small table.
    pub(crate) async fn start() -> Self {
        Self::start_with(ServerSettings::default()).await
    }

    /// Starts with these settings, on a free port.
    pub(crate) async fn start_with(settings: ServerSettings) -> Self {
        let mut harness = Self::start_empty(settings).await;
        harness.update("CREATE SCHEMA s").await;
        harness.update("CREATE TABLE s.t (id BIGINT NOT NULL, name VARCHAR)").await;
        harness.update("INSERT INTO s.t VALUES (1, 'one'), (2, NULL), (3, 'three')").await;
        harness
    }

    /// Starts without any schema.
    pub(crate) async fn start_empty(settings: ServerSettings) -> Self {
        Self::start_engine(polynya_engine::Settings::default(), settings).await
    }

    /// Starts without any schema, on an engine with these settings, and the catalog added if they have none.
    pub(crate) async fn start_engine(mut engine: polynya_engine::Settings, settings: ServerSettings) -> Self {
        let lake = CatalogSettings::new(CatalogType::Memory).with_warehouse("memory:///warehouse");
        engine.catalog.entry("lake".to_owned()).or_insert(lake);
        engine.default_catalog = Some("lake".to_owned());
        let engine = Engine::start(engine).await.unwrap();
        let settings = ServerSettings { listen: "127.0.0.1:0".to_owned(), ..settings };
        let server = Server::bind(engine, &settings).await.unwrap();
        let channel = connect(&server).await;
        let sql = FlightSqlServiceClient::new(channel.clone());
        let raw = FlightServiceClient::new(channel);
        Self { server, sql, raw }
    }

    /// Runs an update; the rows it changed.
    pub(crate) async fn update(&mut self, sql: &str) -> i64 {
        self.sql.execute_update(sql.to_owned(), None).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Asks for a statement's FlightInfo.
    pub(crate) async fn info(&mut self, sql: &str) -> Result<FlightInfo, Status> {
        let response = self.raw.get_flight_info(Request::new(statement(sql))).await?;
        Ok(response.into_inner())
    }

    /// Fetches the rows of a FlightInfo's only endpoint.
    pub(crate) async fn fetch(&mut self, info: &FlightInfo) -> Result<(Schema, Vec<RecordBatch>), Status> {
        self.fetch_ticket(ticket(info)).await
    }

    /// Fetches the rows of a ticket.
    pub(crate) async fn fetch_ticket(&mut self, ticket: Ticket) -> Result<(Schema, Vec<RecordBatch>), Status> {
        let messages = self.raw.do_get(ticket).await?.into_inner();
        let mut stream = FlightRecordBatchStream::new_from_flight_data(messages.map_err(Into::into));
        let mut batches = Vec::new();
        while let Some(batch) = stream.try_next().await.map_err(Status::from)? {
            batches.push(batch);
        }
        let schema = stream.schema().expect("a stream begins with its schema").as_ref().clone();
        Ok((schema, batches))
    }

    /// Runs a query to its end.
    pub(crate) async fn query(&mut self, sql: &str) -> Result<Vec<RecordBatch>, Status> {
        let info = self.info(sql).await?;
        Ok(self.fetch(&info).await?.1)
    }

    /// Runs a query; its rows as text, columns parted by bars.
    pub(crate) async fn rows(&mut self, sql: &str) -> Vec<String> {
        text(&self.query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")))
    }

    /// Asks for a command's result through GetFlightInfo and DoGet; the schemas of both are compared.
    pub(crate) async fn command(
        &mut self,
        command: impl ProstMessageExt,
    ) -> Result<(Schema, Vec<RecordBatch>), Status> {
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let info = self.raw.get_flight_info(descriptor.clone()).await?.into_inner();
        let announced = info_schema(&info);
        let described = schema_of(self.raw.get_schema(descriptor).await?.into_inner());
        let (schema, batches) = self.fetch(&info).await?;
        assert_eq!(announced, schema, "FlightInfo and DoGet");
        assert_eq!(described, schema, "GetSchema and DoGet");
        Ok((schema, batches))
    }

    /// Calls an action; the bodies of its results.
    pub(crate) async fn action(
        &mut self,
        name: &str,
        body: impl Into<bytes::Bytes>,
    ) -> Result<Vec<bytes::Bytes>, Status> {
        let results = self.raw.do_action(Action::new(name, body)).await?.into_inner();
        results.map_ok(|result| result.body).try_collect().await
    }
}

/// A connection of its own.
pub(crate) async fn connect(server: &Server) -> Channel {
    let uri = format!("http://{}", server.address());
    Endpoint::from_shared(uri).unwrap().http2_max_header_list_size(256 * 1024).connect().await.unwrap()
}

/// The descriptor of a statement.
pub(crate) fn statement(sql: &str) -> FlightDescriptor {
    let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

/// The ticket of a FlightInfo's only endpoint.
pub(crate) fn ticket(info: &FlightInfo) -> Ticket {
    assert_eq!(info.endpoint.len(), 1);
    assert!(info.endpoint[0].location.is_empty(), "the ticket is good where it was given");
    info.endpoint[0].ticket.clone().unwrap()
}

/// The schema that a FlightInfo announces.
pub(crate) fn info_schema(info: &FlightInfo) -> Schema {
    Schema::try_from(IpcMessage(info.schema.clone())).unwrap()
}

/// The schema that GetSchema gives.
pub(crate) fn schema_of(result: SchemaResult) -> Schema {
    Schema::try_from(IpcMessage(result.schema)).unwrap()
}

/// Rows as text, columns parted by bars; NULL is empty.
pub(crate) fn text(batches: &[RecordBatch]) -> Vec<String> {
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    let options = FormatOptions::default();
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|"));
        }
    }
    rows
}

/// Checks an error's code and that its message holds a text.
#[track_caller]
pub(crate) fn assert_refused<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, part: &str) -> Status {
    let status = result.unwrap_err();
    assert_eq!(status.code(), code, "{status:?}");
    assert!(status.message().contains(part), "{status:?}");
    status
}

/// Waits, within two seconds, until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..200 {
        if holds() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("within two seconds: {what}");
}
