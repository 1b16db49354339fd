//! The one place where errors become gRPC statuses.
//!
//! In: errors of the engine and of Arrow. Out: a gRPC code, a message with the whole chain of causes, and as trailers
//! the SQLSTATE (`polynya-sqlstate`) and the query's id (`polynya-query-id`). Errors carry no secrets, so neither do
//! the messages.

mod query;

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::io::ErrorKind;

use arrow::error::ArrowError;
use arrow_flight::error::FlightError;
use polynya_engine::Error;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// The trailer that carries the SQLSTATE.
pub const SQLSTATE_TRAILER: &str = "polynya-sqlstate";
/// The trailer that carries the query's id.
pub const QUERY_ID_TRAILER: &str = "polynya-query-id";

/// Messages travel in trailers, whose size clients limit (8 KiB is common); longer ones are cut, in bytes.
const MESSAGE_BYTES_MAX: usize = 4096;

/// What went wrong, for a client.
pub(crate) fn engine_status(error: &Error, query_id: Option<&str>) -> Status {
    let (code, sqlstate) = classify(error);
    let query_id = query_id.or_else(|| error.query_id());
    match code {
        Code::Internal | Code::DataLoss | Code::Unavailable | Code::Unknown => {
            tracing::warn!(query_id, code = ?code, error = chain(error), "a statement failed");
        }
        _ => tracing::info!(query_id, code = ?code, error = chain(error), "a statement failed"),
    }
    status(code, sqlstate, chain(error), query_id)
}

/// A status with its SQLSTATE and query id as trailers.
pub(crate) fn status(code: Code, sqlstate: &str, message: impl Into<String>, query_id: Option<&str>) -> Status {
    let mut status = Status::new(code, shorten(message.into()));
    let trailers = [(SQLSTATE_TRAILER, Some(sqlstate)), (QUERY_ID_TRAILER, query_id)];
    for (name, value) in trailers {
        if let Some(value) = value.and_then(|value| MetadataValue::try_from(value).ok()) {
            status.metadata_mut().insert(name, value);
        }
    }
    status
}

/// A feature that this server does not have: never INTERNAL, so that drivers can fall back.
pub(crate) fn unimplemented(message: impl Into<String>) -> Status {
    status(Code::Unimplemented, "0A000", message, None)
}

/// A request that only its sender can mend.
pub(crate) fn invalid(message: impl Into<String>) -> Status {
    status(Code::InvalidArgument, "22023", message, None)
}

/// A message of a result that the client would not take, because a row or a dictionary is larger than it.
pub(crate) fn too_large(message_bytes: usize, limit_bytes: u64, query_id: &str) -> Status {
    let message = format!(
        "a row of the result (or a dictionary) needs a message of {message_bytes} bytes, and the client takes at most \
         {limit_bytes} (setting polynya.wire_message_bytes). Select shorter values, or, if the client is told to take \
         larger messages, raise the limit with SET polynya.wire_message_bytes = …"
    );
    status(Code::ResourceExhausted, "54000", message, Some(query_id))
}

/// A request that is not a well-formed Flight SQL message.
pub(crate) fn malformed(what: &str, error: &dyn StdError) -> Status {
    status(Code::InvalidArgument, "08P01", format!("{what} is not a valid Flight SQL message: {}", chain(error)), None)
}

/// A result that could not be put into Arrow's form.
pub(crate) fn arrow_status(error: &ArrowError, query_id: Option<&str>) -> Status {
    tracing::error!(query_id, error = chain(error), "a result could not be encoded");
    status(Code::Internal, "XX000", format!("the result could not be encoded: {}", chain(error)), query_id)
}

/// An error of a stream that was being encoded or decoded; statuses pass through whole.
pub(crate) fn flight_status(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        FlightError::Arrow(error) => arrow_status(&error, None),
        FlightError::ExternalError(source) => match source.downcast::<Error>() {
            Ok(ours) => engine_status(&ours, None),
            Err(source) => status(Code::Internal, "XX000", chain(source.as_ref()), None),
        },
        FlightError::ProtocolError(_) | FlightError::DecodeError(_) => malformed("the data", &error),
        other => status(Code::Internal, "XX000", chain(&other), None),
    }
}

/// A panic: the client learns only that it happened.
pub(crate) fn panicked(rpc: &str, query_id: Option<&str>, payload: &(dyn std::any::Any + Send)) -> Status {
    let detail = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    let incident = uuid::Uuid::now_v7().to_string();
    let id = query_id.unwrap_or(&incident);
    tracing::error!(rpc, id, panic = detail, "a request panicked");
    let message = format!("internal error in {rpc}: the server's log has the details under id {id}");
    status(Code::Internal, "XX000", message, Some(id))
}

/// The gRPC code and SQLSTATE of an error.
fn classify(error: &Error) -> (Code, &'static str) {
    match error {
        Error::Syntax { .. } => (Code::InvalidArgument, "42601"),
        Error::NotFound { kind, .. } => match *kind {
            "column" => (Code::InvalidArgument, "42703"),
            "schema" => (Code::NotFound, "3F000"),
            "catalog" => (Code::NotFound, "3D000"),
            "setting" | "role" | "grant" => (Code::InvalidArgument, "42704"),
            _ => (Code::NotFound, "42P01"),
        },
        Error::AlreadyExists { kind, .. } => (Code::AlreadyExists, if *kind == "schema" { "42P06" } else { "42P07" }),
        Error::PermissionDenied(_) => (Code::PermissionDenied, "42501"),
        Error::Invalid(_) => (Code::InvalidArgument, "42000"),
        Error::TooComplex(_) => (Code::InvalidArgument, "54001"),
        Error::Unsupported { .. } => (Code::Unimplemented, "0A000"),
        Error::Data(_) => (Code::InvalidArgument, "22000"),
        Error::ParameterCount { .. } => (Code::InvalidArgument, "07001"),
        Error::Parameter { .. } => (Code::InvalidArgument, "22023"),
        Error::Limit { .. } => (Code::ResourceExhausted, "53400"),
        Error::MemoryLimit { .. } | Error::MemoryTaken { .. } | Error::TooMuchMemory { .. } => {
            (Code::ResourceExhausted, "53200")
        }
        Error::ValuesTooLong => (Code::ResourceExhausted, "54000"),
        Error::SpillLimit { .. } => (Code::ResourceExhausted, "53200"),
        Error::SpillFailed { source, .. } => match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => (Code::ResourceExhausted, "53100"),
            _ => (Code::Unavailable, "58030"),
        },
        Error::Overloaded { .. } => (Code::Unavailable, "53300"),
        Error::WorkerLost(_) | Error::CredentialsEnded { .. } => (Code::Unavailable, "58000"),
        Error::NoWorkers(_) => (Code::Unavailable, "57P03"),
        Error::DamagedFile { .. } => (Code::DataLoss, "XX001"),
        Error::Shared(shared) => classify(shared),
        Error::OfQuery { source, .. } => classify(source),
        Error::Timeout(_) => (Code::DeadlineExceeded, "57014"),
        Error::Cancelled => (Code::Cancelled, "57014"),
        Error::Settings { .. } => (Code::FailedPrecondition, "F0000"),
        Error::Catalog(error) => classify_catalog(error),
        Error::Query(error) => query::classify_query(error),
        Error::Internal(_) => (Code::Internal, "XX000"),
        _ => (Code::Unknown, "XX000"),
    }
}

fn classify_catalog(error: &polynya_catalog::Error) -> (Code, &'static str) {
    use polynya_catalog::Error as Catalog;
    match error {
        Catalog::NamespaceNotFound { .. } => (Code::NotFound, "3F000"),
        Catalog::NamespaceExists { .. } => (Code::AlreadyExists, "42P06"),
        Catalog::NamespaceNotEmpty { .. } => (Code::FailedPrecondition, "2BP01"),
        Catalog::TableNotFound { .. } => (Code::NotFound, "42P01"),
        Catalog::TableExists { .. } => (Code::AlreadyExists, "42P07"),
        Catalog::Invalid { .. } => (Code::InvalidArgument, "42000"),
        Catalog::Unsupported { .. } => (Code::Unimplemented, "0A000"),
        Catalog::Settings { .. } => (Code::FailedPrecondition, "F0000"),
        Catalog::AccessDenied { .. } => (Code::PermissionDenied, "42501"),
        Catalog::CommitConflict { .. } => (Code::Aborted, "40001"),
        Catalog::NotCommitted { source, .. } => classify_catalog(source),
        Catalog::GivenUp => (Code::Cancelled, "57014"),
        Catalog::CommitUnknown { .. } => (Code::Unknown, "40003"),
        Catalog::Unavailable { .. } => (Code::Unavailable, "08006"),
        Catalog::Memory { .. } => (Code::ResourceExhausted, "53200"),
        Catalog::FileNotFound { .. } | Catalog::Malformed { .. } => (Code::DataLoss, "58030"),
        _ => (Code::Internal, "XX000"),
    }
}

/// The message and those of its causes that say something new, joined by colons.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        // A cause that only repeats what was said, perhaps behind a word such as "Schema error:", is left out.
        if !message.is_empty() && !text.contains(&message) && !message.contains(&text) {
            let _ = write!(text, ": {message}");
        }
        cause = error.source();
    }
    text
}

fn shorten(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        let end = (0..=MESSAGE_BYTES_MAX).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
        message.truncate(end);
        message.push_str(" …");
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_causes_and_gains_trailers() {
        let source = std::io::Error::other("connection refused");
        let catalog = polynya_catalog::Error::Unavailable {
            service: "catalog lake".into(),
            action: "load table".into(),
            source: Box::new(source),
        };
        let status = engine_status(&Error::Catalog(catalog), Some("q1"));
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.message(), "catalog lake is unavailable (load table): connection refused");
        assert_eq!(status.metadata().get(SQLSTATE_TRAILER).unwrap(), "08006");
        assert_eq!(status.metadata().get(QUERY_ID_TRAILER).unwrap(), "q1");
    }

    #[test]
    fn an_error_of_a_query_names_the_query_and_keeps_its_code() {
        let lost = Error::NotFound { kind: "table", name: "s.t".into(), hint: String::new() };
        let error = Error::OfQuery { query_id: "q7".into(), source: Box::new(lost) };
        let status = engine_status(&error, None);
        assert_eq!((status.code(), status.message()), (Code::NotFound, "table s.t does not exist"));
        assert_eq!(status.metadata().get(SQLSTATE_TRAILER).unwrap(), "42P01");
        assert_eq!(status.metadata().get(QUERY_ID_TRAILER).unwrap(), "q7");
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let status = invalid("é".repeat(10_000));
        assert!(status.message().len() < 4200);
        assert!(status.message().ends_with('…'));
    }
}
