//! Errors of tasks, on their way to whoever takes their rows: what comes out is of the same kind as what went in, so that a
//! fault has the same SQLSTATE, gRPC code and words wherever it was met.
//!
//! Kept are the kinds that `flight-server`'s mapping tells apart, and the root of an error, not the layers above it. What is
//! not known here arrives as its text. A panic arrives as what a user is told of one.

use std::error::Error as StdError;
use std::io::ErrorKind;
use std::time::Duration;

use datafusion::arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use parquet::errors::ParquetError;
use polynya_catalog::Error as CatalogError;
use serde::{Deserialize, Serialize};

use crate::{Error, panics};

/// An error, as far as it matters.
#[derive(Debug, Serialize, Deserialize)]
enum Told {
    // ---- Ours.
    DamagedFile { location: String, reason: String },
    MemoryLimit { limit_bytes: u64, message: String },
    TooMuchMemory { limit_bytes: u64 },
    ValuesTooLong,
    SpillLimit { limit_bytes: u64, folder: String },
    SpillFailed { folder: String, is_full: bool, source: String },
    Unsupported { what: String, feature: String },
    Settings { setting: String, message: String },
    Data(String),
    Invalid(String),
    Timeout(Duration),
    Cancelled,
    WorkerLost(String),
    NoWorkers(String),
    Internal(String),
    // ---- The catalog's and the store's.
    AccessDenied { service: String, action: String, source: Option<String> },
    Unavailable { service: String, action: String, source: String },
    BucketNotFound { bucket: String, service: String },
    FileNotFound(String),
    Malformed { location: String, kind: String, source: String },
    Store(String),
    // ---- DataFusion's.
    Exhausted(String),
    Execution(String),
    Plan(String),
    NotImplemented(String),
    Configuration(String),
    Bug(String),
    Parquet(String),
    Io(String),
    Arrow(Arrow, String),
    Other(String),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Arrow {
    DivideByZero,
    Overflow,
    Cast,
    Parse,
    Compute,
    Argument,
    NotYetImplemented,
    Memory,
    OffsetOverflow,
    Other,
}

/// For the end mark of a partition.
pub(super) fn encode(error: &DataFusionError) -> Vec<u8> {
    serde_json::to_vec(&told(error)).unwrap_or_default()
}

pub(super) fn decode(bytes: &[u8]) -> DataFusionError {
    match serde_json::from_slice::<Told>(bytes) {
        Ok(told) => told.into(),
        Err(error) => Error::Internal(format!("an error of a worker cannot be read: {error}")).into(),
    }
}

/// The same error once more, as far as it matters.
pub(in super::super) fn again(error: &DataFusionError) -> DataFusionError {
    told(error).into()
}

/// A failure of a worker that is none of a task's: of the call itself.
pub(in super::super) fn told_by(url: &url::Url, message: &str) -> DataFusionError {
    Error::Internal(format!("the worker at {url} failed: {message}")).into()
}

fn told(error: &DataFusionError) -> Told {
    if let Some(panic) = panics::among_causes(error) {
        return of_ours(&panic);
    }
    use DataFusionError as Df;
    match error.find_root() {
        Df::External(source) => of_external(source.as_ref()),
        Df::ResourcesExhausted(message) => Told::Exhausted(message.clone()),
        Df::Execution(message) => Told::Execution(message.clone()),
        Df::Plan(message) => Told::Plan(message.clone()),
        Df::NotImplemented(message) => Told::NotImplemented(message.clone()),
        Df::Configuration(message) => Told::Configuration(message.clone()),
        Df::Internal(message) => Told::Bug(message.clone()),
        Df::ParquetError(error) => match error.as_ref() {
            ParquetError::External(source) => of_external(source.as_ref()),
            other => Told::Parquet(told_text(other)),
        },
        Df::ArrowError(error, _) => of_arrow(error),
        Df::IoError(error) => of_io(error),
        Df::ObjectStore(error) => Told::Io(causes(error.as_ref())),
        other => Told::Other(other.message().into_owned()),
    }
}

fn of_external(source: &(dyn StdError + Send + Sync + 'static)) -> Told {
    if let Some(ours) = source.downcast_ref::<Error>() {
        return of_ours(ours);
    }
    if let Some(catalog) = source.downcast_ref::<CatalogError>() {
        return of_catalog(catalog);
    }
    if let Some(nested) = source.downcast_ref::<DataFusionError>() {
        return told(nested);
    }
    if let Some(arrow) = source.downcast_ref::<ArrowError>() {
        return of_arrow(arrow);
    }
    match source.downcast_ref::<ParquetError>() {
        Some(ParquetError::External(source)) => of_external(source.as_ref()),
        Some(other) => Told::Parquet(told_text(other)),
        None => Told::Other(causes(source)),
    }
}

fn of_ours(error: &Error) -> Told {
    match error {
        Error::DamagedFile { location, reason } => {
            Told::DamagedFile { location: location.clone(), reason: reason.clone() }
        }
        Error::MemoryLimit { limit_bytes, message } => {
            Told::MemoryLimit { limit_bytes: *limit_bytes, message: message.clone() }
        }
        Error::TooMuchMemory { limit_bytes } => Told::TooMuchMemory { limit_bytes: *limit_bytes },
        Error::ValuesTooLong => Told::ValuesTooLong,
        Error::SpillLimit { limit_bytes, folder } => {
            Told::SpillLimit { limit_bytes: *limit_bytes, folder: folder.clone() }
        }
        Error::SpillFailed { folder, source } => Told::SpillFailed {
            folder: folder.clone(),
            is_full: matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded),
            source: source.to_string(),
        },
        Error::Unsupported { what, feature } => Told::Unsupported { what: what.clone(), feature: feature.clone() },
        Error::Settings { setting, message } => Told::Settings { setting: setting.clone(), message: message.clone() },
        Error::Data(message) => Told::Data(message.clone()),
        Error::Invalid(message) => Told::Invalid(message.clone()),
        Error::Timeout(after) => Told::Timeout(*after),
        Error::Cancelled => Told::Cancelled,
        Error::WorkerLost(message) => Told::WorkerLost(message.clone()),
        Error::NoWorkers(message) => Told::NoWorkers(message.clone()),
        Error::Internal(message) => Told::Internal(message.clone()),
        Error::Catalog(catalog) => of_catalog(catalog),
        Error::Query(error) => told(error),
        Error::Shared(shared) => of_ours(shared),
        Error::OfQuery { source, .. } => of_ours(source),
        other => Told::Other(causes(other)),
    }
}

fn of_catalog(error: &CatalogError) -> Told {
    match error {
        CatalogError::AccessDenied { service, action, source } => Told::AccessDenied {
            service: service.clone(),
            action: action.clone(),
            source: source.as_ref().map(|source| causes(source.as_ref())),
        },
        CatalogError::Unavailable { service, action, source } => {
            Told::Unavailable { service: service.clone(), action: action.clone(), source: causes(source.as_ref()) }
        }
        CatalogError::BucketNotFound { bucket, service } => {
            Told::BucketNotFound { bucket: bucket.clone(), service: service.clone() }
        }
        CatalogError::FileNotFound { location } => Told::FileNotFound(location.clone()),
        CatalogError::Malformed { location, kind, source } => {
            Told::Malformed { location: location.clone(), kind: (*kind).to_owned(), source: causes(source.as_ref()) }
        }
        CatalogError::Settings { setting, message } => {
            Told::Settings { setting: setting.clone(), message: message.clone() }
        }
        CatalogError::Unsupported { what, feature } => {
            Told::Unsupported { what: what.clone(), feature: feature.clone() }
        }
        other => Told::Store(causes(other)),
    }
}

/// An error of ours that travels as one of I/O: of a file that was spilled.
fn ours_within(error: &std::io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref::<Error>()
}

fn of_io(error: &std::io::Error) -> Told {
    ours_within(error).map_or_else(|| Told::Io(error.to_string()), of_ours)
}

fn of_arrow(error: &ArrowError) -> Told {
    let (kind, text) = match error {
        ArrowError::ExternalError(source) => return of_external(source.as_ref()),
        ArrowError::IoError(_, source) if ours_within(source).is_some() => return of_io(source),
        ArrowError::DivideByZero => (Arrow::DivideByZero, String::new()),
        ArrowError::ArithmeticOverflow(text) => (Arrow::Overflow, text.clone()),
        ArrowError::CastError(text) => (Arrow::Cast, text.clone()),
        ArrowError::ParseError(text) => (Arrow::Parse, text.clone()),
        ArrowError::ComputeError(text) => (Arrow::Compute, text.clone()),
        ArrowError::InvalidArgumentError(text) => (Arrow::Argument, text.clone()),
        ArrowError::NotYetImplemented(text) => (Arrow::NotYetImplemented, text.clone()),
        ArrowError::MemoryError(text) => (Arrow::Memory, text.clone()),
        ArrowError::OffsetOverflowError(at) => (Arrow::OffsetOverflow, at.to_string()),
        other => (Arrow::Other, other.to_string()),
    };
    Told::Arrow(kind, text)
}

impl From<Told> for DataFusionError {
    fn from(told: Told) -> Self {
        let ours = match told {
            Told::DamagedFile { location, reason } => Error::DamagedFile { location, reason },
            Told::MemoryLimit { limit_bytes, message } => Error::MemoryLimit { limit_bytes, message },
            Told::TooMuchMemory { limit_bytes } => Error::TooMuchMemory { limit_bytes },
            Told::ValuesTooLong => Error::ValuesTooLong,
            Told::SpillLimit { limit_bytes, folder } => Error::SpillLimit { limit_bytes, folder },
            Told::SpillFailed { folder, is_full, source } => {
                let kind = if is_full { ErrorKind::StorageFull } else { ErrorKind::Other };
                Error::SpillFailed { folder, source: std::io::Error::new(kind, source) }
            }
            Told::Unsupported { what, feature } => Error::Unsupported { what, feature },
            Told::Settings { setting, message } => Error::Settings { setting, message },
            Told::Data(message) => Error::Data(message),
            Told::Invalid(message) => Error::Invalid(message),
            Told::Timeout(after) => Error::Timeout(after),
            Told::Cancelled => Error::Cancelled,
            Told::WorkerLost(message) => Error::WorkerLost(message),
            Told::NoWorkers(message) => Error::NoWorkers(message),
            Told::Internal(message) => Error::Internal(message),
            Told::AccessDenied { service, action, source } => {
                let source = source.map(Into::into);
                CatalogError::AccessDenied { service, action, source }.into()
            }
            Told::Unavailable { service, action, source } => {
                CatalogError::Unavailable { service, action, source: source.into() }.into()
            }
            Told::BucketNotFound { bucket, service } => CatalogError::BucketNotFound { bucket, service }.into(),
            Told::FileNotFound(location) => CatalogError::FileNotFound { location }.into(),
            Told::Malformed { location, kind, source } => {
                let known = ["metadata file", "manifest list", "manifest", "file of its recorded size"];
                let kind = known.into_iter().find(|known| *known == kind).unwrap_or("file");
                CatalogError::Malformed { location, kind, source: source.into() }.into()
            }
            Told::Store(message) => Error::Internal(message),
            Told::Exhausted(message) => return Self::ResourcesExhausted(message),
            Told::Execution(message) => return Self::Execution(message),
            Told::Plan(message) => return Self::Plan(message),
            Told::NotImplemented(message) => return Self::NotImplemented(message),
            Told::Configuration(message) => return Self::Configuration(message),
            Told::Bug(message) => return Self::Internal(message),
            Told::Parquet(message) => return Self::ParquetError(Box::new(ParquetError::General(message))),
            Told::Io(message) => return Self::IoError(std::io::Error::other(message)),
            Told::Arrow(kind, text) => return Self::ArrowError(Box::new(arrow(kind, text)), None),
            Told::Other(message) => return Self::External(message.into()),
        };
        ours.into()
    }
}

fn arrow(kind: Arrow, text: String) -> ArrowError {
    match kind {
        Arrow::DivideByZero => ArrowError::DivideByZero,
        Arrow::Overflow => ArrowError::ArithmeticOverflow(text),
        Arrow::Cast => ArrowError::CastError(text),
        Arrow::Parse => ArrowError::ParseError(text),
        Arrow::Compute => ArrowError::ComputeError(text),
        Arrow::Argument => ArrowError::InvalidArgumentError(text),
        Arrow::NotYetImplemented => ArrowError::NotYetImplemented(text),
        Arrow::Memory => ArrowError::MemoryError(text),
        Arrow::OffsetOverflow => ArrowError::OffsetOverflowError(text.parse().unwrap_or_default()),
        Arrow::Other => ArrowError::ExternalError(text.into()),
    }
}

/// A Parquet error's own words, without those that say that it is one: they are said again where it arrives.
fn told_text(error: &ParquetError) -> String {
    let text = error.to_string();
    text.strip_prefix("Parquet error: ").map_or(text.clone(), str::to_owned)
}

/// An error and its causes, as far as each says something new.
fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !more.is_empty() && !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn arrived(error: DataFusionError) -> DataFusionError {
        decode(&encode(&error))
    }

    /// As flight-server tells kinds apart: by variants.
    fn kind(error: &Error) -> String {
        match error {
            Error::Query(error) => match error.find_root() {
                DataFusionError::ArrowError(error, _) => format!("{:?}", std::mem::discriminant(error.as_ref())),
                other => format!("{:?}", std::mem::discriminant(other)),
            },
            Error::Catalog(error) => format!("{:?}", std::mem::discriminant(error)),
            other => format!("{:?}", std::mem::discriminant(other)),
        }
    }

    #[test]
    fn a_fault_is_the_same_after_any_number_of_processes() {
        let (service, action) = ("S3 bucket b".to_owned(), "read s3://b/f (1).parquet".to_owned());
        let away = || CatalogError::Unavailable {
            service: service.clone(),
            action: action.clone(),
            source: "connection refused".into(),
        };
        let made: Vec<fn() -> DataFusionError> = vec![
            || Error::DamagedFile { location: "s3://b/f".to_owned(), reason: "it is short".to_owned() }.into(),
            || Error::SpillLimit { limit_bytes: 9, folder: "/spill".to_owned() }.into(),
            || {
                let source = std::io::Error::new(ErrorKind::StorageFull, "no space left on device");
                let full = Error::SpillFailed { folder: "/spill".to_owned(), source };
                DataFusionError::IoError(std::io::Error::other(full))
            },
            || Error::Data("too long".to_owned()).into(),
            || Error::Cancelled.into(),
            || Error::Timeout(Duration::from_millis(1500)).into(),
            || Error::from(CatalogError::FileNotFound { location: "s3://b/f".to_owned() }).into(),
            || DataFusionError::ResourcesExhausted("no memory for a sort".to_owned()),
            || DataFusionError::Execution("Overflow happened on: 1 * 2".to_owned()),
            || DataFusionError::Internal("a bug".to_owned()),
            || DataFusionError::NotImplemented("a thing".to_owned()),
            || ArrowError::DivideByZero.into(),
            || ArrowError::CastError("Cannot cast string '1x' to value of Int32 type".to_owned()).into(),
            || ArrowError::OffsetOverflowError(7).into(),
            || DataFusionError::ParquetError(Box::new(ParquetError::General("EOF: 3 bytes".to_owned()))),
            || DataFusionError::External("regex parse error: (".into()),
        ];
        for make in made {
            let here = Error::from(make());
            let wrapped = DataFusionError::Shared(Arc::new(make().context("while joining")));
            let there = Error::from(arrived(DataFusionError::Shared(Arc::new(arrived(wrapped)))));
            assert_eq!((kind(&there), there.to_string()), (kind(&here), here.to_string()));
        }
        // In the hands of another library.
        let parquet = DataFusionError::ParquetError(Box::new(ParquetError::External(Box::new(away()))));
        for error in [DataFusionError::External(Box::new(away())), parquet] {
            let there = Error::from(arrived(error));
            assert!(matches!(there, Error::Catalog(CatalogError::Unavailable { .. })), "{there:?}");
            assert_eq!(causes(&there), causes(&Error::from(away())));
        }
    }

    #[tokio::test]
    async fn the_text_of_a_panic_does_not_travel() {
        let ended = tokio::spawn(async { panic!("secret") }).await.unwrap_err();
        let error = DataFusionError::External(Box::new(Arc::new(ended))).context("Join Error");
        let there = Error::from(arrived(error));
        assert!(matches!(&there, Error::Internal(told) if !told.contains("secret")), "{there:?}");
    }
}
