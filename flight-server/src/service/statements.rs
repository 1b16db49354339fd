//! Statements: what they are, and running them.
//!
//! A query is planned when its FlightInfo is asked for, and runs when its ticket is fetched. DDL, DML, SET and USE run at
//! once and only then, in GetFlightInfo or DoPut; their ticket fetches nothing.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::sql::{Command, ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, Ticket};
use polynya_engine::{Answer, Parameters, Session, StatementKind};
use prost::Message;
use tonic::Status;

use super::column_notes::result_schema;
use super::metadata::check_length;
use super::{Inner, ServerStream, fetch, no_transaction, not_offered};
use crate::results::Promised;
use crate::sessions::Caller;
use crate::status::{arrow_status, engine_status, malformed, unimplemented};

impl Inner {
    /// GetFlightInfo: runs a statement, or announces a metadata result.
    pub(super) async fn flight_info(
        &self,
        command: Command,
        descriptor: FlightDescriptor,
        caller: &mut Caller,
    ) -> Result<FlightInfo, Status> {
        match command {
            Command::CommandStatementQuery(statement) => {
                no_transaction(statement.transaction_id.as_ref())?;
                self.run(&statement.query, &Parameters::none(), &caller.session, descriptor).await
            }
            Command::CommandPreparedStatementQuery(statement) => {
                let prepared = self.prepared.get(&statement.prepared_statement_handle, caller.user())?;
                caller.adopt(&prepared.session);
                self.run(&prepared.sql, &prepared.bound, &prepared.session, descriptor).await
            }
            Command::CommandStatementSubstraitPlan(_) => {
                Err(unimplemented("Substrait plans are not supported: send SQL"))
            }
            command => {
                check_length(&command)?;
                let schema = self.metadata_schema(&command).ok_or_else(|| not_offered(&command, "GetFlightInfo"))?;
                // The command itself is the ticket: metadata is read when it is fetched.
                flight_info(&schema, descriptor.cmd.clone(), descriptor)
            }
        }
    }

    /// GetSchema: the schema that GetFlightInfo and DoGet would give, without running anything.
    pub(super) async fn schema(&self, command: Command, caller: &Caller) -> Result<SchemaRef, Status> {
        match command {
            Command::CommandStatementQuery(statement) => {
                no_transaction(statement.transaction_id.as_ref())?;
                self.describe(&statement.query, &Parameters::none(), &caller.session).await
            }
            Command::CommandPreparedStatementQuery(statement) => {
                let prepared = self.prepared.get(&statement.prepared_statement_handle, caller.user())?;
                self.describe(&prepared.sql, &prepared.bound, &prepared.session).await
            }
            command => self.metadata_schema(&command).ok_or_else(|| not_offered(&command, "GetSchema")),
        }
    }

    async fn describe(&self, sql: &str, values: &Parameters, session: &Session) -> Result<SchemaRef, Status> {
        let description = self.engine.describe_with(sql, values, session).await;
        let description = description.map_err(|error| engine_status(&error, None))?;
        Ok(match description.kind {
            StatementKind::Query => result_schema(&description.schema, &self.engine.wire_options(session)),
            StatementKind::Update => Arc::new(Schema::empty()),
        })
    }

    /// Plans a query and keeps it for its ticket, or runs an update to its end.
    async fn run(
        &self,
        sql: &str,
        values: &Parameters,
        session: &Session,
        descriptor: FlightDescriptor,
    ) -> Result<FlightInfo, Status> {
        let _running = self.activity.start_statement()?;
        let answer = self.engine.query_with(sql, values, session).await;
        let answer = answer.map_err(|error| engine_status(&error, None))?;
        match answer {
            Answer::Rows(rows) => {
                let options = self.engine.wire_options(session);
                let schema = result_schema(&rows.schema(), &options);
                let metadata = about(rows.query_id());
                let handle = self.results.promise(Promised::Rows(rows, options), session.user())?;
                Ok(flight_info(&schema, ticket(handle), descriptor)?.with_app_metadata(metadata))
            }
            Answer::Done(done) => {
                tracing::info!(query_id = done.query_id, tag = done.tag, rows = done.rows, "a statement finished");
                let handle = self.results.promise(Promised::Nothing, session.user())?;
                // Drivers that run updates through this call take the number of rows changed from here.
                let changed = done.rows.and_then(|rows| i64::try_from(rows).ok()).unwrap_or(-1);
                let info = flight_info(&Schema::empty(), ticket(handle), descriptor)?;
                Ok(info.with_total_records(changed).with_app_metadata(about(&done.query_id)))
            }
        }
    }

    /// Runs an update to its end; how many rows it changed.
    ///
    /// A statement that counts no rows, such as DDL, changed 0. The protocol has -1 for "unknown", but JDBC's driver takes
    /// -1 for "this was a query after all" and runs the statement a second time.
    pub(super) async fn update(&self, sql: &str, values: &Parameters, session: &Session) -> Result<i64, Status> {
        if values.row_count() == 0 {
            return Ok(0);
        }
        let _running = self.activity.start_statement()?;
        match self.engine.query_with(sql, values, session).await.map_err(|error| engine_status(&error, None))? {
            Answer::Done(done) => {
                tracing::info!(query_id = done.query_id, tag = done.tag, rows = done.rows, "a statement finished");
                Ok(i64::try_from(done.rows.unwrap_or(0)).unwrap_or(i64::MAX))
            }
            Answer::Rows(_) => {
                Err(crate::status::invalid("this statement gives rows: run it as a query, not as an update"))
            }
        }
    }

    /// DoGet: the rows of a ticket.
    pub(super) async fn fetch(&self, command: Command, caller: &Caller) -> Result<ServerStream<FlightData>, Status> {
        match command {
            Command::TicketStatementQuery(statement) => {
                let handle = std::str::from_utf8(&statement.statement_handle)
                    .map_err(|error| malformed("the ticket", &error))?;
                let (promised, fetching) = self.results.fetch(handle, caller.user())?;
                let running = self.activity.start_stream();
                Ok(match promised {
                    Promised::Rows(rows, options) => fetch::rows(rows, options, fetching, running)?,
                    Promised::Nothing => fetch::nothing(),
                })
            }
            Command::CommandPreparedStatementQuery(statement) => {
                let prepared = self.prepared.get(&statement.prepared_statement_handle, caller.user())?;
                // Clients may use the command itself as the ticket; run it as GetFlightInfo would.
                let running = self.run(&prepared.sql, &prepared.bound, &prepared.session, FlightDescriptor::default());
                let info = running.await?;
                let handle = info.endpoint.into_iter().next().and_then(|endpoint| endpoint.ticket);
                let handle = handle.ok_or_else(|| Status::internal("a result has no ticket"))?;
                match super::decode_command("the ticket", &handle.ticket)? {
                    Command::TicketStatementQuery(ticket) => {
                        Box::pin(self.fetch(Command::TicketStatementQuery(ticket), caller)).await
                    }
                    other => Err(not_offered(&other, "DoGet")),
                }
            }
            command => {
                let batch = self.metadata(command, &caller.session).await?;
                fetch::batch(batch)
            }
        }
    }
}

fn ticket(handle: String) -> bytes::Bytes {
    TicketStatementQuery { statement_handle: handle.into() }.as_any().encode_to_vec().into()
}

/// What a FlightInfo says about its statement besides the rows.
fn about(query_id: &str) -> String {
    serde_json::json!({ "query_id": query_id }).to_string()
}

/// One endpoint without locations: the ticket is good where it was given.
fn flight_info(schema: &Schema, ticket: bytes::Bytes, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
    let endpoint = FlightEndpoint::new().with_ticket(Ticket { ticket });
    Ok(FlightInfo::new()
        .try_with_schema(schema)
        .map_err(|error| arrow_status(&error, None))?
        .with_descriptor(descriptor)
        .with_endpoint(endpoint)
        .with_total_records(-1)
        .with_total_bytes(-1))
}
