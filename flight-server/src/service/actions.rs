//! DoAction: prepared statements, cancelling, sessions.
//!
//! Flight SQL's own actions carry their request inside a `google.protobuf.Any`; Flight's (CancelFlightInfo, sessions)
//! carry it bare.

use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, Command, ProstMessageExt,
};
use arrow_flight::{Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo};
use bytes::Bytes;
use futures::StreamExt;
use polynya_engine::{Parameters, Session, StatementKind};
use prost::Message;
use tonic::{Code, Response, Status};

use super::bind::advertised;
use super::column_notes::result_schema;
use super::session_messages::{
    CloseSessionResult, CloseSessionStatus, GetSessionOptionsResult, OptionError, OptionErrorValue, OptionValue,
    SessionOptionValue, SetSessionOptionsRequest, SetSessionOptionsResult,
};
use super::{Inner, ServerStream, decode_command, no_transaction};
use crate::prepared::Prepared;
use crate::sessions::{Caller, expired_cookie, set_cookie};
use crate::status::{arrow_status, engine_status, invalid, malformed, status, unimplemented};
use crate::wire::schema_bytes;

/// The session options that are not settings of the engine.
const CATALOG: &str = "catalog";
const SCHEMA: &str = "schema";

type Reply = Response<ServerStream<arrow_flight::Result>>;

/// The actions that do something here.
pub(super) fn offered() -> Vec<ActionType> {
    let action = |name: &str, description: &str| ActionType { r#type: name.into(), description: description.into() };
    vec![
        action("CreatePreparedStatement", "Prepares a statement. Request: ActionCreatePreparedStatementRequest."),
        action("ClosePreparedStatement", "Forgets a prepared statement. Request: ActionClosePreparedStatementRequest."),
        action("CancelFlightInfo", "Stops a query. Request: CancelFlightInfoRequest."),
        action("CancelQuery", "Stops a query (deprecated form). Request: ActionCancelQueryRequest."),
        action("SetSessionOptions", "Sets catalog, schema and settings. Request: SetSessionOptionsRequest."),
        action("GetSessionOptions", "Gives the session's options. Request: GetSessionOptionsRequest."),
        action("CloseSession", "Forgets the session. Request: CloseSessionRequest."),
    ]
}

impl Inner {
    /// Does what the action's name says.
    pub(super) async fn act(&self, action: Action, caller: &Caller) -> Result<Reply, Status> {
        match action.r#type.as_str() {
            "CreatePreparedStatement" => self.prepare(unpack(&action)?, caller).await,
            "ClosePreparedStatement" => {
                let request: ActionClosePreparedStatementRequest = unpack(&action)?;
                self.prepared.close(&request.prepared_statement_handle, caller.user());
                Ok(reply(None))
            }
            "CancelFlightInfo" => {
                let request: CancelFlightInfoRequest = bare(&action)?;
                let info = request.info.ok_or_else(|| invalid("CancelFlightInfo needs the FlightInfo to cancel"))?;
                self.cancel(&info, caller)?;
                let result = CancelFlightInfoResult { status: CancelStatus::Cancelled.into() };
                Ok(reply(Some(result.encode_to_vec())))
            }
            "CancelQuery" => {
                let request: ActionCancelQueryRequest = unpack(&action)?;
                let info = FlightInfo::decode(request.info).map_err(|error| malformed("the FlightInfo", &error))?;
                self.cancel(&info, caller)?;
                // ActionCancelQueryResult's own enum has the same number for "cancelled".
                let result = ActionCancelQueryResult { result: CancelStatus::Cancelled.into() };
                Ok(reply(Some(result.as_any().encode_to_vec())))
            }
            "SetSessionOptions" => self.set_options(bare(&action)?, caller).await,
            "GetSessionOptions" => Ok(reply(Some(self.options(caller).await?.encode_to_vec()))),
            "CloseSession" => Ok(self.close_session(caller)),
            "BeginTransaction" | "EndTransaction" | "BeginSavepoint" | "EndSavepoint" => {
                Err(unimplemented("transactions are not supported: each statement is atomic by itself"))
            }
            "CreatePreparedSubstraitPlan" => Err(unimplemented("Substrait plans are not supported: send SQL")),
            other => Err(unimplemented(format!("there is no action named {other}"))),
        }
    }

    async fn prepare(&self, request: ActionCreatePreparedStatementRequest, caller: &Caller) -> Result<Reply, Status> {
        no_transaction(request.transaction_id.as_ref())?;
        let _running = self.activity.start_statement()?;
        let description = self.engine.describe(&request.query, &caller.session).await;
        let description = description.map_err(|error| not_do_without(engine_status(&error, None)))?;
        if description.kind == StatementKind::Query && description.schema.fields().is_empty() {
            return Err(no_columns());
        }
        let encode = |schema: &arrow::datatypes::Schema| match schema.fields().is_empty() {
            true => Ok(Bytes::new()),
            false => schema_bytes(schema).map_err(|error| arrow_status(&error, None)),
        };
        // None: this is an update.
        let dataset_schema = match description.kind {
            StatementKind::Query => {
                let options = self.engine.wire_options(&caller.session);
                encode(&result_schema(&description.schema, &options))?
            }
            StatementKind::Update => Bytes::new(),
        };
        let parameter_schema = encode(&advertised(&description.parameters))?;
        let session = std::sync::Arc::clone(&caller.session);
        let handle =
            self.prepared.insert(Prepared { sql: request.query, description, session, bound: Parameters::none() })?;
        let result = ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.into(),
            dataset_schema,
            parameter_schema,
        };
        Ok(reply(Some(result.as_any().encode_to_vec())))
    }

    /// Stops the caller's queries of a FlightInfo's tickets.
    fn cancel(&self, info: &FlightInfo, caller: &Caller) -> Result<(), Status> {
        let mut found = false;
        for ticket in info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref()) {
            if let Command::TicketStatementQuery(ticket) = decode_command("the ticket", &ticket.ticket)? {
                let handle = std::str::from_utf8(&ticket.statement_handle);
                found |= handle.is_ok_and(|handle| self.results.cancel(handle, caller.user()));
            }
        }
        if found {
            return Ok(());
        }
        Err(status(Code::NotFound, "24000", "there is no such query: it has ended, or was never started", None))
    }

    async fn set_options(&self, request: SetSessionOptionsRequest, caller: &Caller) -> Result<Reply, Status> {
        let mut result = SetSessionOptionsResult::default();
        let asked = request.session_options.len();
        for (name, value) in request.session_options {
            if let Err(reason) = self.set_option(&name, value, caller).await {
                result.errors.insert(name, OptionError { value: reason.into() });
            }
        }
        // A session that nothing came of is not worth keeping.
        if asked > 0 && result.errors.len() == asked {
            return Ok(reply(Some(result.encode_to_vec())));
        }
        let id = self.sessions.keep(caller)?;
        let mut reply = reply(Some(result.encode_to_vec()));
        if let Some(cookie) = set_cookie(&id) {
            reply.metadata_mut().insert("set-cookie", cookie);
        }
        Ok(reply)
    }

    async fn set_option(&self, name: &str, value: SessionOptionValue, caller: &Caller) -> Result<(), OptionErrorValue> {
        let session = &caller.session;
        let text = match value.option_value {
            Some(OptionValue::String(text)) => Some(text),
            Some(OptionValue::Bool(switch)) => Some(switch.to_string()),
            Some(OptionValue::Int64(number)) => Some(number.to_string()),
            Some(OptionValue::Double(number)) => Some(number.to_string()),
            Some(OptionValue::StringList(_)) => return Err(OptionErrorValue::InvalidValue),
            None => None,
        };
        let plain = name.to_lowercase();
        match (plain.as_str(), text) {
            (CATALOG, Some(catalog)) => {
                let access = self.engine.access(session).await.map_err(|error| option_error(&error))?;
                let known = self.engine.visible_catalog_names(&access);
                let found = known.into_iter().find(|name| name.eq_ignore_ascii_case(&catalog));
                session.set_catalog(found.ok_or(OptionErrorValue::InvalidValue)?);
            }
            (SCHEMA, Some(schema)) => session.set_schema(schema),
            (CATALOG | SCHEMA, None) => return Err(OptionErrorValue::InvalidValue),
            (name, Some(value)) => self.set_setting(name, &value, session).await?,
            (name, None) => session.reset(Some(name)),
        }
        Ok(())
    }

    /// Sets a setting of the engine as SQL's `SET` does, with the same checks.
    async fn set_setting(&self, name: &str, value: &str, session: &Session) -> Result<(), OptionErrorValue> {
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.')) {
            return Err(OptionErrorValue::InvalidName);
        }
        let sql = format!("SET {name} = '{}'", value.replace('\'', "''"));
        self.engine.query(&sql, session).await.map(|_| ()).map_err(|error| option_error(&error))
    }

    /// What the session has chosen. The server's default catalog is not there for those who do not see it.
    async fn options(&self, caller: &Caller) -> Result<GetSessionOptionsResult, Status> {
        let session = &caller.session;
        let access = self.engine.access(session).await.map_err(|error| engine_status(&error, None))?;
        let catalog = session.catalog().filter(|catalog| access.sees_catalog(catalog));
        let named = [(CATALOG, catalog), (SCHEMA, session.schema())];
        let mut result = GetSessionOptionsResult::default();
        for (name, value) in named {
            // A driver that asks for the current catalog takes a missing option for a failure.
            result.session_options.insert(name.to_owned(), value.unwrap_or_default().as_str().into());
        }
        for (name, value) in session.settings() {
            result.session_options.insert(name, value.as_str().into());
        }
        Ok(result)
    }

    fn close_session(&self, caller: &Caller) -> Reply {
        self.prepared.close_all_of(&caller.session);
        self.sessions.close(caller);
        let result = CloseSessionResult { status: CloseSessionStatus::Closed.into() };
        let mut reply = reply(Some(result.encode_to_vec()));
        reply.metadata_mut().insert("set-cookie", expired_cookie());
        reply
    }
}

/// Drivers take an empty schema as "this is an update", and would run the query as one.
fn no_columns() -> Status {
    let message = "a query without columns cannot be prepared, since drivers take it for an update: select something";
    status(Code::InvalidArgument, "0A000", message, None)
}

/// A refusal to prepare a statement, which is never UNIMPLEMENTED: ADBC's DB-API takes that for "there are no prepared
/// statements here", goes on without, and then tells of something else. The SQLSTATE stays.
fn not_do_without(refusal: Status) -> Status {
    match refusal.code() {
        Code::Unimplemented => {
            Status::with_metadata(Code::InvalidArgument, refusal.message(), refusal.metadata().clone())
        }
        _ => refusal,
    }
}

fn option_error(error: &polynya_engine::Error) -> OptionErrorValue {
    match error.root() {
        polynya_engine::Error::NotFound { .. } => OptionErrorValue::InvalidName,
        polynya_engine::Error::Internal(_) => OptionErrorValue::Error,
        _ => OptionErrorValue::InvalidValue,
    }
}

fn reply(body: Option<Vec<u8>>) -> Reply {
    let results = body.map(|body| Ok(arrow_flight::Result { body: body.into() }));
    Response::new(futures::stream::iter(results).boxed())
}

/// The request of one of Flight SQL's actions.
fn unpack<M: ProstMessageExt>(action: &Action) -> Result<M, Status> {
    let what = format!("the body of {}", action.r#type);
    let any = Any::decode(action.body.clone()).map_err(|error| malformed(&what, &error))?;
    let message = any.unpack().map_err(|error| malformed(&what, &error))?;
    message.ok_or_else(|| invalid(format!("{what} is a {}, not a {}", any.type_url, M::type_url())))
}

/// The request of one of Flight's actions.
fn bare<M: Message + Default>(action: &Action) -> Result<M, Status> {
    M::decode(action.body.clone()).map_err(|error| malformed(&format!("the body of {}", action.r#type), &error))
}
