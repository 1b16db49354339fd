//! DoPut: updates, prepared updates, bindings, and the door to bulk ingest.

use arrow::datatypes::Schema;
use arrow_flight::sql::{Command, DoPutPreparedStatementResult, DoPutUpdateResult};
use arrow_flight::{FlightData, PutResult};
use prost::Message;
use tonic::{Status, Streaming};

use super::{Inner, decode_command, no_transaction, not_offered};
use crate::sessions::Caller;
use crate::status::{invalid, malformed, unimplemented};

impl Inner {
    /// Does what the first message's descriptor asks for.
    pub(super) async fn put(
        &self,
        mut messages: Streaming<FlightData>,
        caller: &mut Caller,
    ) -> Result<PutResult, Status> {
        let first = messages.message().await?.ok_or_else(|| invalid("DoPut was called without a message"))?;
        let descriptor =
            first.flight_descriptor.as_ref().ok_or_else(|| invalid("the first message of DoPut has no descriptor"))?;
        match decode_command("the descriptor's command", &descriptor.cmd)? {
            Command::CommandStatementUpdate(statement) => {
                no_transaction(statement.transaction_id.as_ref())?;
                Ok(updated(self.update(&statement.query, &caller.session).await?))
            }
            Command::CommandPreparedStatementUpdate(statement) => {
                let prepared = self.prepared.get(&statement.prepared_statement_handle, caller.user())?;
                refuse_binding(&first)?;
                caller.adopt(&prepared.session);
                Ok(updated(self.update(&prepared.sql, &prepared.session).await?))
            }
            Command::CommandPreparedStatementQuery(statement) => {
                let handle = statement.prepared_statement_handle;
                self.prepared.get(&handle, caller.user())?;
                refuse_binding(&first)?;
                let result = DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) };
                Ok(PutResult { app_metadata: result.encode_to_vec().into() })
            }
            Command::CommandStatementIngest(command) => {
                Ok(updated(self.ingest(command, first, messages, caller).await?))
            }
            Command::CommandStatementSubstraitPlan(_) => {
                Err(unimplemented("Substrait plans are not supported: send SQL"))
            }
            other => Err(not_offered(&other, "DoPut")),
        }
    }
}

fn updated(record_count: i64) -> PutResult {
    PutResult { app_metadata: DoPutUpdateResult { record_count }.encode_to_vec().into() }
}

/// Some clients send an empty schema where they bind nothing; columns would be parameters.
fn refuse_binding(message: &FlightData) -> Result<(), Status> {
    if message.data_header.is_empty() {
        return Ok(());
    }
    let schema = Schema::try_from(message).map_err(|error| malformed("the parameters' schema", &error))?;
    if schema.fields().is_empty() {
        return Ok(());
    }
    Err(unimplemented("binding parameters is not supported yet: write the values into the SQL"))
}
