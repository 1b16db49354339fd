//! DoPut: updates, prepared updates, values for parameters, and the door to bulk ingest.

use arrow_flight::sql::{Command, DoPutPreparedStatementResult, DoPutUpdateResult};
use arrow_flight::{FlightData, PutResult};
use polynya_engine::Parameters;
use prost::Message;
use tonic::{Status, Streaming};

use super::{Inner, decode_command, no_transaction, not_offered};
use crate::sessions::Caller;
use crate::status::{invalid, unimplemented};

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
                Ok(updated(self.update(&statement.query, &Parameters::none(), &caller.session).await?))
            }
            Command::CommandPreparedStatementUpdate(statement) => {
                let prepared = self.prepared.get(&statement.prepared_statement_handle, caller.user())?;
                // Drivers send the values with the update, or bind them to the handle before.
                let sent = self.binding(&prepared, first, messages).await?;
                caller.adopt(&prepared.session);
                let values = sent.unwrap_or(prepared.bound);
                Ok(updated(self.update(&prepared.sql, &values, &prepared.session).await?))
            }
            Command::CommandPreparedStatementQuery(statement) => {
                let handle = statement.prepared_statement_handle;
                let prepared = self.prepared.get(&handle, caller.user())?;
                let values = self.binding(&prepared, first, messages).await?;
                self.prepared.bind(&handle, values.unwrap_or_else(Parameters::none))?;
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
