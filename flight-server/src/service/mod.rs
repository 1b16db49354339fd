//! The Flight SQL service: which call does what.
//!
//! In: gRPC calls of the Flight protocol with Flight SQL commands inside, whose callers `auth` has let in. Out: calls of
//! the engine. This file only decodes and dispatches; arrow-flight's own `FlightSqlService` is not used, because it
//! hard-codes UNIMPLEMENTED for GetSchema and leaves sessions and cancelling out. Panics end here, as INTERNAL with an id
//! that the log explains.

mod actions;
mod bind;
mod column_notes;
mod encode;
mod fetch;
mod handshake;
mod ingest;
mod metadata;
mod poll;
mod puts;
mod session_messages;
mod sql_info;
mod statements;
mod type_info;
mod uploads;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::metadata::{SqlInfoData, XdbcTypeInfoData};
use arrow_flight::sql::{Any, Command};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use polynya_engine::Engine;
use prost::Message;
use tonic::metadata::{KeyAndValueRef, MetadataMap};
use tonic::{Extensions, Request, Response, Status, Streaming};

use crate::activity::Activity;
use crate::auth::{Authenticator, Identity};
use crate::polls::Polls;
use crate::prepared::PreparedStatements;
use crate::quota::{self, Quota};
use crate::results::Results;
use crate::sessions::{Caller, Sessions};
use crate::settings::ServerSettings;
use crate::status::{arrow_status, engine_status, flight_status, invalid, malformed, panicked, unimplemented};
use crate::wire::schema_bytes;

/// Whom everything is counted for: all users are one tenant's.
const TENANT: &str = "default";

/// What the names of headers begin with that are settings.
const SETTING_HEADERS: &str = "polynya.";

type ServerStream<T> = BoxStream<'static, Result<T, Status>>;

/// The Flight SQL service over one engine. Cheap to clone.
#[derive(Clone)]
pub(crate) struct PolynyaService {
    inner: Arc<Inner>,
}

/// What all calls share.
struct Inner {
    engine: Arc<Engine>,
    auth: Arc<Authenticator>,
    sessions: Arc<Sessions>,
    prepared: PreparedStatements,
    results: Results,
    polls: Polls,
    activity: Activity,
    /// What one DoPut may bind to a statement's parameters, in bytes.
    bound_bytes_max: usize,
    sql_info: SqlInfoData,
    type_info: XdbcTypeInfoData,
}

impl PolynyaService {
    /// A service with no sessions.
    pub(crate) fn new(
        engine: Arc<Engine>,
        auth: Arc<Authenticator>,
        settings: &ServerSettings,
        results: Results,
        activity: Activity,
    ) -> Result<Self, Status> {
        let fresh = {
            let engine = Arc::clone(&engine);
            move |user: &str| engine.session(TENANT, user)
        };
        let quota = Quota::new(&quota::SESSIONS, settings.sessions_max, settings);
        let sessions = Arc::new(Sessions::new(fresh, settings.session_idle_timeout, quota));
        let prepared = PreparedStatements::new(settings);
        let sql_info = sql_info::all().map_err(flight_status)?;
        let type_info = type_info::all().map_err(flight_status)?;
        let polls = Polls::new(results.clone(), settings);
        let bound_bytes_max = usize::try_from(settings.max_message_bytes.as_u64()).unwrap_or(usize::MAX);
        let inner =
            Inner { engine, auth, sessions, prepared, results, polls, activity, bound_bytes_max, sql_info, type_info };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The sessions that clients hold on to.
    pub(crate) fn sessions(&self) -> Arc<Sessions> {
        Arc::clone(&self.inner.sessions)
    }

    /// Forgets what nobody used for too long.
    pub(crate) fn expire(&self) {
        self.inner.sessions.expire();
        self.inner.prepared.expire();
        self.inner.results.expire();
        self.inner.polls.expire();
    }
}

/// Settings among the headers of a call; a value is none if it is not text.
fn settings_in(metadata: &MetadataMap) -> impl Iterator<Item = (&str, Option<&str>)> {
    metadata.iter().filter_map(|header| match header {
        KeyAndValueRef::Ascii(name, value) if name.as_str().starts_with(SETTING_HEADERS) => {
            Some((name.as_str(), value.to_str().ok()))
        }
        _ => None,
    })
}

/// Runs a handler; a panic in it is INTERNAL, never a broken connection.
async fn guarded<T>(rpc: &'static str, handler: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    AssertUnwindSafe(handler).catch_unwind().await.unwrap_or_else(|panic| Err(panicked(rpc, None, panic.as_ref())))
}

/// Ends a stream at a panic, as INTERNAL.
fn guarded_stream<T: Send + 'static>(rpc: &'static str, stream: ServerStream<T>) -> ServerStream<T> {
    AssertUnwindSafe(stream)
        .catch_unwind()
        .map(move |item| item.unwrap_or_else(|panic| Err(panicked(rpc, None, panic.as_ref()))))
        .boxed()
}

/// The Flight SQL command inside a descriptor or ticket.
fn decode_command(what: &str, bytes: &Bytes) -> Result<Command, Status> {
    let any = Any::decode(bytes.clone()).map_err(|error| malformed(what, &error))?;
    Command::try_from(any).map_err(|error| malformed(what, &error))
}

/// A command that this server does not know or does not offer here.
fn not_offered(command: &Command, rpc: &str) -> Status {
    let url = command.type_url();
    let name = url.rsplit(['/', '.']).next().unwrap_or(url);
    unimplemented(format!("{name} is not supported by {rpc}"))
}

impl Inner {
    /// A response, with the session's cookie if the call began to need one.
    fn reply<T>(&self, message: T, caller: &Caller) -> Result<Response<T>, Status> {
        let mut response = Response::new(message);
        if let Some(cookie) = self.sessions.keep_if_changed(caller)? {
            response.metadata_mut().insert("set-cookie", cookie);
        }
        Ok(response)
    }

    /// Who calls, and in which session. Headers named like settings, `polynya.…`, set what the session has not chosen itself:
    /// drivers send unknown parameters of their connection strings so.
    fn caller(&self, metadata: &MetadataMap, extensions: &Extensions) -> Result<Caller, Status> {
        let mut caller = self.sessions.resolve(metadata, Identity::of(extensions)?);
        let mut settings = settings_in(metadata).peekable();
        if settings.peek().is_some() {
            for (name, value) in settings {
                let value = value.ok_or_else(|| invalid(format!("the header {name} is not text")))?;
                let set = self.engine.set_if_unset(name, value, &caller.session);
                set.map_err(|error| engine_status(&error, None))?;
            }
            caller.begins_as_it_is();
        }
        Ok(caller)
    }
}

#[tonic::async_trait]
impl FlightService for PolynyaService {
    type HandshakeStream = ServerStream<HandshakeResponse>;
    type ListFlightsStream = ServerStream<FlightInfo>;
    type DoGetStream = ServerStream<FlightData>;
    type DoPutStream = ServerStream<PutResult>;
    type DoActionStream = ServerStream<arrow_flight::Result>;
    type ListActionsStream = ServerStream<ActionType>;
    type DoExchangeStream = ServerStream<FlightData>;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let (metadata, extensions, requests) = request.into_parts();
        guarded("Handshake", self.inner.handshake(&metadata, &extensions, requests)).await
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let (metadata, extensions, descriptor) = request.into_parts();
        guarded("GetFlightInfo", async {
            let mut caller = self.inner.caller(&metadata, &extensions)?;
            let command = decode_command("the descriptor's command", &descriptor.cmd)?;
            let info = self.inner.flight_info(command, descriptor, &mut caller).await?;
            self.inner.reply(info, &caller)
        })
        .await
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let (metadata, extensions, descriptor) = request.into_parts();
        guarded("GetSchema", async {
            let caller = self.inner.caller(&metadata, &extensions)?;
            let command = decode_command("the descriptor's command", &descriptor.cmd)?;
            let schema = self.inner.schema(command, &caller).await?;
            let schema = schema_bytes(&schema).map_err(|error| arrow_status(&error, None))?;
            Ok(Response::new(SchemaResult { schema }))
        })
        .await
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let (metadata, extensions, ticket) = request.into_parts();
        let stream = guarded("DoGet", async {
            let caller = self.inner.caller(&metadata, &extensions)?;
            let command = decode_command("the ticket", &ticket.ticket)?;
            self.inner.fetch(command, &caller).await
        })
        .await?;
        Ok(Response::new(guarded_stream("DoGet", stream)))
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        let (metadata, extensions, messages) = request.into_parts();
        guarded("DoPut", async {
            let mut caller = self.inner.caller(&metadata, &extensions)?;
            let result = self.inner.put(messages, &mut caller).await?;
            self.inner.reply(futures::stream::iter([Ok(result)]).boxed(), &caller)
        })
        .await
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let (metadata, extensions, action) = request.into_parts();
        guarded("DoAction", async {
            let caller = self.inner.caller(&metadata, &extensions)?;
            self.inner.act(action, &caller).await
        })
        .await
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Ok(Response::new(futures::stream::iter(actions::offered().into_iter().map(Ok)).boxed()))
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(unimplemented("ListFlights is not supported: list tables with Flight SQL's CommandGetTables"))
    }

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        let (metadata, extensions, descriptor) = request.into_parts();
        guarded("PollFlightInfo", async {
            let mut caller = self.inner.caller(&metadata, &extensions)?;
            let command = decode_command("the descriptor's command", &descriptor.cmd)?;
            let answer = self.inner.poll(command, descriptor, &mut caller).await?;
            self.inner.reply(answer, &caller)
        })
        .await
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(unimplemented("DoExchange is not part of Flight SQL"))
    }
}

/// A transaction id, where this server has none to give.
fn no_transaction(transaction_id: Option<&Bytes>) -> Result<(), Status> {
    match transaction_id {
        Some(id) if !id.is_empty() => Err(invalid("there is no such transaction: transactions are not supported")),
        _ => Ok(()),
    }
}
