//! Bulk ingest: CommandStatementIngest's rows into one table.

use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use arrow_flight::decode::DecodedPayload;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{CommandStatementIngest, TableDefinitionOptions, TableExistsOption, TableNotExistOption};
use datafusion::common::TableReference;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::TryStreamExt;
use polynya_engine::{Error, IngestMode, Reserved, Session, TableName};
use tonic::{Status, Streaming};

use super::{Inner, no_transaction, uploads};
use crate::sessions::Caller;
use crate::status::{chain, engine_status, flight_status, invalid, unimplemented};

/// A compressed message may grow so many times beyond what a message may have.
const GROWTH_MAX: usize = 16;

impl Inner {
    /// Streams the rows into the table; how many there were.
    pub(super) async fn ingest(
        &self,
        command: CommandStatementIngest,
        first: FlightData,
        rest: Streaming<FlightData>,
        caller: &Caller,
    ) -> Result<i64, Status> {
        no_transaction(command.transaction_id.as_ref())?;
        if command.temporary {
            return Err(unimplemented("temporary tables are not supported"));
        }
        let mode = mode(command.table_definition_options.as_ref())?;
        let table = self.ingest_target(&command, &caller.session)?;
        let _running = self.activity.start_statement()?;
        let memory = self.engine.memory().begin(format!("an upload for table {table}"));
        let rows = rows(first, rest, self.bound_bytes_max.saturating_mul(GROWTH_MAX), memory).await?;
        let stored = self.engine.ingest(&table, mode, rows, &caller.session).await;
        let stored = stored.map_err(|error| engine_status(&error, None))?;
        tracing::info!(table = table.to_string(), rows = stored, "an ingest finished");
        Ok(i64::try_from(stored).unwrap_or(i64::MAX))
    }

    /// The table's full name; what the client leaves out is the session's.
    fn ingest_target(&self, command: &CommandStatementIngest, session: &Session) -> Result<TableName, Status> {
        let named = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
        let schema = named(&command.schema).or_else(|| session.schema());
        let table = command.table.clone();
        let reference = match (named(&command.catalog), schema) {
            (Some(catalog), Some(schema)) => TableReference::full(catalog, schema, table),
            (_, Some(schema)) => TableReference::partial(schema, table),
            (_, None) => TableReference::bare(table),
        };
        self.engine.resolve_name(&reference, session).map_err(|error| engine_status(&error, None))
    }
}

/// The engine's word for what the client wants to happen when the table exists, or does not.
fn mode(options: Option<&TableDefinitionOptions>) -> Result<IngestMode, Status> {
    let missing = options.map_or(TableNotExistOption::Unspecified, TableDefinitionOptions::if_not_exist);
    let exists = options.map_or(TableExistsOption::Unspecified, TableDefinitionOptions::if_exists);
    match (missing, exists) {
        (TableNotExistOption::Create, TableExistsOption::Append) => Ok(IngestMode::CreateAppend),
        (TableNotExistOption::Create, TableExistsOption::Replace) => Ok(IngestMode::Replace),
        (TableNotExistOption::Create, TableExistsOption::Fail | TableExistsOption::Unspecified) => {
            Ok(IngestMode::Create)
        }
        (_, TableExistsOption::Append | TableExistsOption::Unspecified) => Ok(IngestMode::Append),
        (_, TableExistsOption::Replace) => {
            Err(unimplemented("replacing a table only if it exists is not supported: ask for create and replace"))
        }
        (_, TableExistsOption::Fail) => {
            Err(invalid("an ingest that neither creates a table nor adds to one does nothing"))
        }
    }
}

/// The rows as the engine takes them. The schema comes first, so that its absence is the client's error, not the engine's.
async fn rows(
    first: FlightData,
    rest: Streaming<FlightData>,
    unpacked_bytes_max: usize,
    memory: Reserved,
) -> Result<SendableRecordBatchStream, Status> {
    let mut payloads = uploads::decoded(uploads::messages(first, rest), unpacked_bytes_max, memory);
    let schema: SchemaRef = match payloads.try_next().await.map_err(flight_status)? {
        Some(DecodedPayload::Schema(schema)) => schema,
        _ => return Err(invalid("the rows to ingest do not begin with a schema")),
    };
    let batches = payloads
        .try_filter_map(|payload| {
            std::future::ready(match payload {
                DecodedPayload::RecordBatch(batch) => Ok(Some(batch)),
                DecodedPayload::None => Ok(None),
                DecodedPayload::Schema(_) => Err(FlightError::ProtocolError("a second schema".to_owned())),
            })
        })
        .map_err(unreadable);
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
}

/// Whatever is wrong with the rows is the client's error.
fn unreadable(error: FlightError) -> DataFusionError {
    let error = match error {
        // The limit of memory is not the rows' fault.
        FlightError::ExternalError(source) => match source.downcast::<Error>() {
            Ok(ours) => return (*ours).into(),
            Err(source) => FlightError::ExternalError(source),
        },
        other => other,
    };
    let why = match &error {
        FlightError::Tonic(status) => status.message().to_owned(),
        other => chain(other),
    };
    Error::Invalid(format!("the rows to ingest cannot be read: {why}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(missing: TableNotExistOption, exists: TableExistsOption) -> Result<IngestMode, Status> {
        mode(Some(&TableDefinitionOptions { if_not_exist: missing.into(), if_exists: exists.into() }))
    }

    #[test]
    fn the_modes_of_adbc_are_understood() {
        use TableExistsOption as Exists;
        use TableNotExistOption as Missing;
        assert!(matches!(asked(Missing::Create, Exists::Fail), Ok(IngestMode::Create)));
        assert!(matches!(asked(Missing::Fail, Exists::Append), Ok(IngestMode::Append)));
        assert!(matches!(asked(Missing::Create, Exists::Replace), Ok(IngestMode::Replace)));
        assert!(matches!(asked(Missing::Create, Exists::Append), Ok(IngestMode::CreateAppend)));
        assert!(matches!(mode(None), Ok(IngestMode::Append)));
        assert_eq!(asked(Missing::Fail, Exists::Replace).unwrap_err().code(), tonic::Code::Unimplemented);
    }
}
