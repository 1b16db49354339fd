//! The gRPC codes and SQLSTATEs of DataFusion's errors: the statement's fault where it says so, the data's where a value cannot
//! be computed or converted.
//!
//! DataFusion and Arrow have few kinds of errors, and one kind for many faults: what class an error of a value has, only its
//! words tell. Words that are not known here leave it in the class of its kind.

use std::error::Error as StdError;

use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use polynya_engine::Error;
use tonic::Code;

use super::{classify, classify_catalog};

/// Words of errors of values, and the SQLSTATEs of these. The first that is found counts. Values stand among the words, so these
/// are such as values seldom have.
const WORDS: &[(&str, &str)] = &[
    // Invalid regular expression.
    ("Regular expression did not compile", "2201B"),
    ("regex parse error", "2201B"),
    ("Compiled regex exceeds size limit", "2201B"),
    // Datetime field overflow.
    ("Timestamp out of range", "22008"),
    ("Date arithmetic overflow", "22008"),
    ("Overflow converting", "22008"),
    ("overflows timestamp", "22008"),
    ("can be represented as nanoseconds", "22008"),
    ("exceeds the representable i64 range", "22008"),
    ("Unable to parse date from", "22008"),
    ("Unable to parse time from", "22008"),
    ("' is out of range", "22008"),
    ("timestamp is out of range", "22008"),
    ("plus an interval is out of range", "22008"),
    // Invalid datetime format.
    ("Error parsing timestamp from", "22007"),
    ("' as time. Tried formats", "22007"),
    ("to value of Date", "22007"),
    ("to value of Time", "22007"),
    ("Unable to cast to Date32", "22007"),
    ("Invalid input syntax for type interval", "22007"),
    // Numeric value out of range.
    ("Overflowing on", "22003"),
    ("too large to store in a Decimal", "22003"),
    ("Can't cast value", "22003"),
    ("verflow happened on", "22003"),
    ("overflow on abs", "22003"),
    ("integer overflow", "22003"),
    ("decimal overflow", "22003"),
    ("Arithmetic Overflow", "22003"),
    // Substring error.
    ("negative count not allowed", "22011"),
    // Invalid preceding or following size, and invalid arguments of window functions.
    ("offset must not be negative", "22013"),
    ("offset must not be null", "22004"),
    ("argument of nth_value", "22016"),
    ("NTILE requires", "22014"),
    ("bigint out of range", "22003"),
    ("frame starting from", "42P20"),
    // Invalid parameter value.
    ("Unsupported date_trunc granularity", "22023"),
    ("Date part '", "22023"),
    ("Invalid timezone", "22023"),
    ("there is no time zone", "22023"),
    ("There is no built-in", "22023"),
    ("requires start to be 1", "22023"),
    ("does not support the global flag", "22023"),
    ("failed to convert size to usize", "22023"),
    ("levenshtein would compare texts", "54000"),
    ("replace would make texts", "54000"),
];

/// The gRPC code and SQLSTATE of an error.
pub(super) fn classify_query(error: &DataFusionError) -> (Code, &'static str) {
    use DataFusionError as Df;
    match error.find_root() {
        Df::SQL(..) => (Code::InvalidArgument, "42601"),
        Df::SchemaError(error, _) => (Code::InvalidArgument, classify_names(error)),
        Df::Plan(message) if message.starts_with("Invalid function") => (Code::InvalidArgument, "42883"),
        Df::Plan(message) => (Code::InvalidArgument, of_words(message).unwrap_or("42000")),
        Df::Configuration(_) => (Code::InvalidArgument, "42000"),
        Df::NotImplemented(_) => (Code::Unimplemented, "0A000"),
        Df::ResourcesExhausted(_) => (Code::ResourceExhausted, "53200"),
        Df::ObjectStore(_) | Df::IoError(_) => (Code::Unavailable, "58030"),
        Df::Execution(message) => (Code::InvalidArgument, of_words(message).unwrap_or("22000")),
        Df::ArrowError(error, _) => classify_arrow(error),
        Df::ParquetError(_) => (Code::DataLoss, "58030"),
        Df::External(error) => classify_external(error.as_ref()),
        // Some call it their own bug that a statement gave them a bad value.
        Df::Internal(message) => match of_words(message) {
            Some(sqlstate) => (Code::InvalidArgument, sqlstate),
            None => (Code::Internal, "XX000"),
        },
        _ => (Code::Internal, "XX000"),
    }
}

fn classify_arrow(error: &ArrowError) -> (Code, &'static str) {
    match error {
        ArrowError::DivideByZero => (Code::InvalidArgument, "22012"),
        ArrowError::ArithmeticOverflow(message) => (Code::InvalidArgument, of_words(message).unwrap_or("22003")),
        ArrowError::CastError(message) | ArrowError::ParseError(message) => {
            (Code::InvalidArgument, of_words(message).unwrap_or("22018"))
        }
        ArrowError::ComputeError(message) | ArrowError::InvalidArgumentError(message) => {
            (Code::InvalidArgument, of_words(message).unwrap_or("22000"))
        }
        ArrowError::NotYetImplemented(_) => (Code::Unimplemented, "0A000"),
        // A value, or the texts of one batch together, are larger than a column can hold.
        ArrowError::OffsetOverflowError(_) | ArrowError::MemoryError(_) => (Code::ResourceExhausted, "54000"),
        ArrowError::ExternalError(error) => classify_external(error.as_ref()),
        _ => (Code::Internal, "XX000"),
    }
}

/// An error of another library, or one of ours that several parts of a query share, so that it could not be unwrapped.
fn classify_external(error: &(dyn StdError + 'static)) -> (Code, &'static str) {
    if let Some(ours) = error.downcast_ref::<Error>() {
        return classify(ours);
    }
    if let Some(catalog) = error.downcast_ref::<polynya_catalog::Error>() {
        return classify_catalog(catalog);
    }
    if let Some(nested) = error.downcast_ref::<DataFusionError>() {
        return classify_query(nested);
    }
    match error.downcast_ref::<ArrowError>() {
        Some(arrow) => classify_arrow(arrow),
        // The libraries of regular expressions are not ours to name.
        None => match of_words(&error.to_string()) {
            Some("2201B") => (Code::InvalidArgument, "2201B"),
            _ => (Code::Internal, "XX000"),
        },
    }
}

fn of_words(message: &str) -> Option<&'static str> {
    WORDS.iter().find(|(words, _)| message.contains(words)).map(|(_, sqlstate)| *sqlstate)
}

/// What is wrong with a column's name.
fn classify_names(error: &SchemaError) -> &'static str {
    match error {
        SchemaError::FieldNotFound { .. } => "42703",
        SchemaError::AmbiguousReference { .. } => "42702",
        SchemaError::DuplicateQualifiedField { .. } | SchemaError::DuplicateUnqualifiedField { .. } => "42701",
    }
}
