//! A small Arrow Flight SQL client over one connection.
//!
//! In: SQL text, or record batches to ingest. Out: streams of record batches with the server's account of the query, or a
//! count of rows. Knows nothing of any engine: the benchmark, the shell and the SQL tests use it against any server.
//! Never retries: whether a statement may run twice is the caller's knowledge.

mod address;
mod channel;
mod error;
mod ingest;
mod poll;
mod prepared;
mod rows;
mod stats;

use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    Any, CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementQuery, CommandStatementUpdate,
    DoPutUpdateResult, ProstMessageExt,
};
use arrow_flight::{Action, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, IpcMessage};
use base64::Engine as _;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use prost::Message;
use tonic::Code;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use address::Address;
use channel::SessionChannel;

pub use error::{Error, Met, Result};
pub use ingest::{IngestMode, IngestTarget};
pub use poll::QueryPoll;
pub use prepared::PreparedQuery;
pub use rows::{QueryResult, QueryStream};
pub use stats::QueryStats;

/// The largest message sent or accepted, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// A server that works hard may be slow to answer a ping; a dead one is told by TCP sooner.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(60);
const WINDOW_BYTES: u32 = 8 << 20;
const HEADER_LIST_BYTES_MAX: u32 = 64 << 10;

/// Who is asking, and how the server is trusted. The default is nobody, over the system's certificates.
#[derive(Clone, Default)]
pub struct Auth {
    /// User name for the Basic handshake, with `password`.
    pub user: Option<String>,
    /// Password for the Basic handshake.
    pub password: Option<String>,
    /// Bearer token, sent with every call; takes the place of user and password.
    pub token: Option<String>,
    /// PEM file of the certificate authority of a `grpc+tls://` server; absent: the system's.
    pub tls_ca: Option<PathBuf>,
    /// PEM file of the certificate that the server is shown, with `tls_key`; absent: none.
    pub tls_cert: Option<PathBuf>,
    /// PEM file of the key of `tls_cert`.
    pub tls_key: Option<PathBuf>,
    /// The name that must be in the server's certificate; absent: the address's host.
    pub tls_server_name: Option<String>,
}

impl Auth {
    /// Whether something is said that only an encrypted connection can mean.
    fn asks_for_tls(&self) -> bool {
        self.tls_ca.is_some() || self.tls_cert.is_some() || self.tls_key.is_some() || self.tls_server_name.is_some()
    }
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hidden = |secret: &Option<String>| secret.as_ref().map(|_| "***");
        f.debug_struct("Auth")
            .field("user", &self.user)
            .field("password", &hidden(&self.password))
            .field("token", &hidden(&self.token))
            .field("tls_ca", &self.tls_ca)
            .field("tls_cert", &self.tls_cert)
            .field("tls_key", &self.tls_key)
            .field("tls_server_name", &self.tls_server_name)
            .finish()
    }
}

/// What a statement of unknown kind gave.
#[derive(Debug)]
pub enum Outcome {
    /// The statement has a result set.
    Rows(Box<QueryStream>),
    /// The statement changed something; the number of rows, where the server counts them.
    Updated(Option<u64>),
}

/// One connection to a Flight SQL server, with its session. Clones share both.
#[derive(Debug, Clone)]
pub struct Client {
    address: Address,
    channel: SessionChannel,
    service: FlightServiceClient<SessionChannel>,
}

impl Client {
    /// Connects to `grpc://host:port` or `grpc+tls://host:port`, and shakes hands if there is a user or a token.
    pub async fn connect(url: &str, auth: &Auth) -> Result<Self> {
        let address: Address = url.parse()?;
        let endpoint = endpoint(&address, auth)?;
        let channel = endpoint.connect().await.map_err(|source| Error::connect(&address, source))?;
        let channel = SessionChannel::new(channel, address.tls);
        if let Some(token) = &auth.token {
            channel.set_authorization(format!("Bearer {token}"));
        }
        let service = FlightServiceClient::new(channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let client = Self { address, channel, service };
        if auth.token.is_none() && auth.user.is_some() {
            client.handshake(auth).await?;
        }
        Ok(client)
    }

    /// The address connected to, as `grpc://host:port`.
    pub fn url(&self) -> String {
        self.address.to_string()
    }

    /// Runs a statement that gives no rows, to its end. The number of rows it changed, where the server counts them.
    pub async fn execute_update(&self, sql: &str) -> Result<Option<u64>> {
        self.put_update(CommandStatementUpdate { query: sql.to_string(), transaction_id: None }).await
    }

    /// Starts a query; its rows come as the server makes them. Dropping the stream stops the query.
    pub async fn query(&self, sql: &str) -> Result<QueryStream> {
        let info = self.flight_info(CommandStatementQuery { query: sql.to_string(), transaction_id: None }).await?;
        QueryStream::open(self.clone(), QueryPoll::complete(self.clone(), info)).await
    }

    /// Runs a query to its end, and keeps all its rows in memory.
    pub async fn query_all(&self, sql: &str) -> Result<QueryResult> {
        self.query(sql).await?.read_all().await
    }

    /// Runs a statement without knowing its kind: the server is asked first (it prepares the statement).
    pub async fn execute(&self, sql: &str) -> Result<Outcome> {
        self.prepare_and_run(sql, false).await
    }

    /// The same, and rows that can tell how far their query is, if the server can (PollFlightInfo).
    pub async fn execute_polled(&self, sql: &str) -> Result<Outcome> {
        self.prepare_and_run(sql, true).await
    }

    async fn prepare_and_run(&self, sql: &str, polled: bool) -> Result<Outcome> {
        let prepared = self.prepare(sql).await?;
        let handle = prepared.prepared_statement_handle;
        let has_rows = schema_from_ipc(prepared.dataset_schema)?.is_some_and(|schema| !schema.fields().is_empty());
        let outcome = if has_rows {
            self.query_prepared(handle.clone(), polled).await
        } else {
            let command = CommandPreparedStatementUpdate { prepared_statement_handle: handle.clone() };
            self.put_update(command).await.map(Outcome::Updated)
        };
        // The outcome is the answer; a handle that cannot be closed ends with the session.
        if let Err(error) = self.close_prepared(handle).await {
            tracing::debug!(%error, "a prepared statement could not be closed");
        }
        outcome
    }

    async fn query_prepared(&self, handle: Bytes, polled: bool) -> Result<Outcome> {
        let command = CommandPreparedStatementQuery { prepared_statement_handle: handle };
        let poll = match polled {
            true => self.poll_info(command).await?,
            false => QueryPoll::complete(self.clone(), self.flight_info(command).await?),
        };
        Ok(Outcome::Rows(Box::new(QueryStream::open(self.clone(), poll).await?)))
    }

    /// Begins a query that is polled, or that is not if the server cannot do that.
    async fn poll_info(&self, command: CommandPreparedStatementQuery) -> Result<QueryPoll> {
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        match self.service.clone().poll_flight_info(descriptor).await {
            Ok(told) => Ok(QueryPoll::new(self.clone(), told.into_inner())),
            Err(status) if status.code() == Code::Unimplemented => {
                Ok(QueryPoll::complete(self.clone(), self.flight_info(command).await?))
            }
            Err(status) => Err(status.into()),
        }
    }

    async fn prepare(&self, sql: &str) -> Result<ActionCreatePreparedStatementResult> {
        let body = ActionCreatePreparedStatementRequest { query: sql.to_string(), transaction_id: None };
        let results = self.action("CreatePreparedStatement", body).await?;
        let body =
            results.into_iter().next().ok_or(Error::Protocol("the server did not answer CreatePreparedStatement"))?;
        let any =
            Any::decode(body).map_err(|_| Error::Protocol("the answer to CreatePreparedStatement is malformed"))?;
        any.unpack()?.ok_or(Error::Protocol("the answer to CreatePreparedStatement has another type"))
    }

    async fn close_prepared(&self, handle: Bytes) -> Result<()> {
        let body = ActionClosePreparedStatementRequest { prepared_statement_handle: handle };
        self.action("ClosePreparedStatement", body).await.map(|_| ())
    }

    async fn action(&self, name: &str, body: impl ProstMessageExt) -> Result<Vec<Bytes>> {
        let action = Action { r#type: name.to_string(), body: body.as_any().encode_to_vec().into() };
        let results = self.service.clone().do_action(action).await?.into_inner();
        Ok(results.map_ok(|result| result.body).try_collect().await?)
    }

    async fn flight_info(&self, command: impl ProstMessageExt) -> Result<FlightInfo> {
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        Ok(self.service.clone().get_flight_info(descriptor).await?.into_inner())
    }

    async fn put_update(&self, command: impl ProstMessageExt) -> Result<Option<u64>> {
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let message = FlightData { flight_descriptor: Some(descriptor), ..Default::default() };
        let mut results = self.service.clone().do_put(stream::iter([message])).await?.into_inner();
        let result = results.next().await.ok_or(Error::Protocol("the server did not answer the update"))??;
        update_count(&result.app_metadata)
    }

    async fn handshake(&self, auth: &Auth) -> Result<()> {
        let user = auth.user.as_deref().unwrap_or_default();
        let password = auth.password.as_deref().unwrap_or_default();
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        self.channel.set_authorization(format!("Basic {basic}"));
        let request = HandshakeRequest { protocol_version: 0, payload: Bytes::new() };
        let response = self.service.clone().handshake(stream::iter([request])).await?;
        if let Some(bearer) = response.metadata().get("authorization").and_then(|value| value.to_str().ok()) {
            self.channel.set_authorization(bearer.to_string());
        }
        let _ignored: Vec<_> = response.into_inner().try_collect().await?;
        Ok(())
    }
}

/// The rows that an update's answer counts; the protocol says -1 where the server does not know.
fn update_count(app_metadata: &[u8]) -> Result<Option<u64>> {
    let result = DoPutUpdateResult::decode(app_metadata)
        .map_err(|_| Error::Protocol("the server's answer to the update is malformed"))?;
    Ok(u64::try_from(result.record_count).ok())
}

/// A schema as Flight SQL sends it: an encapsulated IPC message; no bytes: no schema.
fn schema_from_ipc(bytes: Bytes) -> Result<Option<SchemaRef>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let schema: Schema =
        IpcMessage(bytes).try_into().map_err(|source: ArrowError| Error::Decode { source: Box::new(source.into()) })?;
    Ok(Some(SchemaRef::new(schema)))
}

fn endpoint(address: &Address, auth: &Auth) -> Result<Endpoint> {
    let invalid = |source: tonic::transport::Error| Error::Connect {
        url: address.to_string(),
        hint: "the address, or what is said of TLS, cannot be used",
        source: Box::new(source),
    };
    let endpoint = Endpoint::from_shared(address.http_uri())
        .map_err(invalid)?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES * 2)
        .http2_max_header_list_size(HEADER_LIST_BYTES_MAX);
    match (address.tls, auth.asks_for_tls()) {
        (true, _) => endpoint.tls_config(tls(auth)?).map_err(invalid),
        (false, false) => Ok(endpoint),
        (false, true) => Err(Error::Url {
            url: address.to_string(),
            reason: "options of TLS are given, so the scheme must be grpc+tls",
        }),
    }
}

/// How the server is trusted, and what it is shown.
fn tls(auth: &Auth) -> Result<ClientTlsConfig> {
    let mut tls = ClientTlsConfig::new();
    tls = match &auth.tls_ca {
        Some(path) => {
            let pem = pem(path, CERTIFICATE).map_err(|source| Error::TlsCa { path: path.clone(), source })?;
            tls.ca_certificate(Certificate::from_pem(pem))
        }
        None => tls.with_enabled_roots(),
    };
    if let (Some(certificate), Some(key)) = (&auth.tls_cert, &auth.tls_key) {
        let read = |path: &PathBuf, kind: &str| {
            pem(path, kind).map_err(|source| Error::TlsFile { path: path.clone(), source })
        };
        tls = tls.identity(Identity::from_pem(read(certificate, CERTIFICATE)?, read(key, PRIVATE_KEY)?));
    }
    if let Some(name) = &auth.tls_server_name {
        tls = tls.domain_name(name);
    }
    Ok(tls)
}

/// How what is in PEM files calls itself.
const CERTIFICATE: &str = "CERTIFICATE";
const PRIVATE_KEY: &str = "PRIVATE KEY";

/// A PEM file's text. One that holds nothing of the kind is an error here: a connection would only trust nobody.
fn pem(path: &Path, kind: &str) -> std::io::Result<String> {
    let text = std::fs::read_to_string(path)?;
    match text.lines().any(|line| line.starts_with("-----BEGIN ") && line.contains(kind)) {
        true => Ok(text),
        false => Err(std::io::Error::other(format!("there is no {} in it (PEM)", kind.to_lowercase()))),
    }
}
