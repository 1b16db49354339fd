//! The values of prepared statements' parameters: what types clients are told to send, and reading what they send.
//!
//! In: DoPut's messages. Out: [`Parameters`] of the statement's types. All rows of one DoPut belong together; their
//! number and their bytes are bounded. What is not Arrow data is the client's error.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow_flight::FlightData;
use arrow_flight::decode::DecodedPayload;
use arrow_flight::error::FlightError;
use futures::{StreamExt, TryStreamExt};
use polynya_engine::plain_size::plain_bytes;
use polynya_engine::{Error, MemoryBudget, Parameters, Reserved};
use tonic::{Code, Status, Streaming};

use super::{Inner, uploads};
use crate::prepared::Prepared;
use crate::status::{engine_status, invalid, malformed, status};
use crate::wire::wire_schema;

/// What errors call the values.
const VALUES: &str = "a statement's values";
/// Rows of values that one DoPut may bind. Columns of NULL have rows without bytes.
const ROWS_MAX: usize = 1_000_000;

/// The parameters as clients are told to send them. Values of other types are taken too.
///
/// JDBC's driver writes timestamps and times as milliseconds whatever their unit is, and knows no parameter without a
/// type.
pub(super) fn advertised(parameters: &Schema) -> Schema {
    let plain = wire_schema(parameters);
    let fields = plain.fields().iter().map(|field| {
        let data_type = match field.data_type() {
            DataType::Null => DataType::Utf8,
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
            DataType::Time32(_) | DataType::Time64(_) => DataType::Time32(TimeUnit::Millisecond),
            other => other.clone(),
        };
        Field::new(field.name(), data_type, true)
    });
    Schema::new(fields.collect::<Vec<_>>())
}

impl Inner {
    /// The values that a DoPut brings for a statement; none if it brings none.
    pub(super) async fn binding(
        &self,
        prepared: &Prepared,
        first: FlightData,
        rest: Streaming<FlightData>,
    ) -> Result<Option<Parameters>, Status> {
        let declared = &prepared.description.parameters;
        if declared.fields().is_empty() && first.data_header.is_empty() {
            return Ok(None);
        }
        let memory = self.engine.memory();
        let Some((rows, held)) = read(first, rest, self.bound_bytes_max, memory).await? else { return Ok(None) };
        let bound =
            Parameters::bind(declared, &rows, &prepared.session).map_err(|error| engine_status(&error, None))?;
        Ok(Some(bound.holding(held)))
    }
}

/// All rows in one batch, and the memory that they have; none if there is no schema or if it has no columns.
async fn read(
    first: FlightData,
    rest: Streaming<FlightData>,
    bytes_max: usize,
    memory: &MemoryBudget,
) -> Result<Option<(RecordBatch, Reserved)>, Status> {
    let mut bytes = 0;
    let bounded = uploads::messages(first, rest).map(move |message| {
        let message = message?;
        bytes += message.data_header.len() + message.data_body.len();
        if bytes > bytes_max { Err(too_much(bytes_max)) } else { Ok(message) }
    });
    let mut payloads = uploads::decoded(bounded, bytes_max, memory.begin(VALUES));
    let mut held = memory.begin(VALUES);
    let schema = match payloads.try_next().await.map_err(refused)? {
        None => return Ok(None),
        Some(DecodedPayload::Schema(schema)) => schema,
        Some(_) => return Err(invalid("the values of the parameters do not begin with a schema")),
    };
    let (mut batches, mut rows, mut plain) = (Vec::new(), 0, 0_usize);
    while let Some(payload) = payloads.try_next().await.map_err(refused)? {
        match payload {
            DecodedPayload::RecordBatch(batch) => {
                rows += batch.num_rows();
                if rows > ROWS_MAX {
                    return Err(invalid(format!(
                        "at most {ROWS_MAX} rows of parameters can be bound: use bulk ingest"
                    )));
                }
                // Compressed bodies grow as they are read, and what many rows share is plain in each of them.
                plain = plain.saturating_add(plain_bytes(&batch));
                if plain > bytes_max {
                    return Err(too_much(bytes_max));
                }
                held.resize(plain).map_err(|error| engine_status(&error, None))?;
                batches.push(batch);
            }
            DecodedPayload::None => {}
            DecodedPayload::Schema(_) => return Err(invalid("the values of the parameters have a second schema")),
        }
    }
    if schema.fields().is_empty() {
        return Ok(None);
    }
    let rows = concat_batches(&schema, &batches).map_err(|error| malformed("the data of the parameters", &error))?;
    Ok(Some((rows, held)))
}

fn too_much(bytes_max: usize) -> Status {
    let message = format!(
        "the values of the parameters have more than {bytes_max} bytes, the limit (setting server.max_message_bytes): \
         bind fewer rows at once, or use bulk ingest"
    );
    status(Code::ResourceExhausted, "54000", message, None)
}

/// Whatever is wrong with the data is the client's error.
fn refused(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        FlightError::ExternalError(source) => match source.downcast::<Error>() {
            Ok(ours) => engine_status(&ours, None),
            Err(source) => malformed("the data of the parameters", source.as_ref()),
        },
        other => malformed("the data of the parameters", &other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_advertised_in_types_that_drivers_bind() {
        let utc = || Some("UTC".into());
        let parameters = Schema::new(vec![
            Field::new("$1", DataType::Null, true),
            Field::new("$2", DataType::Timestamp(TimeUnit::Microsecond, utc()), true),
            Field::new("$3", DataType::Time64(TimeUnit::Microsecond), true),
            Field::new("$4", DataType::Utf8View, true),
            Field::new("$5", DataType::Decimal128(10, 2), true),
        ]);
        let advertised = advertised(&parameters);
        let types: Vec<&DataType> = advertised.fields().iter().map(|field| field.data_type()).collect();
        assert_eq!(
            types,
            [
                &DataType::Utf8,
                &DataType::Timestamp(TimeUnit::Millisecond, utc()),
                &DataType::Time32(TimeUnit::Millisecond),
                &DataType::Utf8,
                &DataType::Decimal128(10, 2),
            ]
        );
    }
}
