//! Why a statement failed, grouped by who can act on it.

use std::sync::Arc;

use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use parquet::errors::ParquetError;

use crate::panics;

/// The result of an engine operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a statement failed, grouped by who can act on it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // ---- The caller's statement.
    /// The text is not SQL that this engine knows; the message points at the place.
    #[error("syntax error: {message}")]
    Syntax {
        /// What was found and what was expected, with line and column where known.
        message: String,
    },
    /// A name in the statement names nothing.
    #[error("{kind} {name} does not exist{hint}")]
    NotFound {
        /// `table`, `schema`, `catalog`, `column`, `setting`.
        kind: &'static str,
        /// The name as the user wrote it, completed.
        name: String,
        /// Empty, or a next step that starts with a separator, such as `: did you mean orders?`.
        hint: String,
    },
    /// The thing to create is there already.
    #[error("{kind} {name} already exists")]
    AlreadyExists {
        /// `table` or `schema`.
        kind: &'static str,
        /// The full name.
        name: String,
    },
    /// The statement is wrong in a way that only the caller can mend.
    #[error("{0}")]
    Invalid(String),
    /// The statement nests, chains or repeats itself further than the server can hold.
    #[error("{0}")]
    TooComplex(String),
    /// The caller sees the thing, and may not do this to it. What the caller may not see is `NotFound`.
    #[error("permission denied: {0}")]
    PermissionDenied(String),
    /// A feature of SQL or of a table that is not there yet.
    #[error("{what} is not supported: {feature}")]
    Unsupported {
        /// The table and file, or the statement.
        what: String,
        /// The feature, and the next step if there is one.
        feature: String,
    },
    /// A value cannot be stored in, or converted to, what the statement asks for.
    #[error("{0}")]
    Data(String),
    /// There are more or fewer values than the statement has parameters.
    #[error("the statement takes {expected} parameters, and {given} values are bound")]
    ParameterCount {
        /// Parameters of the statement.
        expected: usize,
        /// Values in a row of what is bound.
        given: usize,
    },
    /// A value does not fit the parameter that it is bound to.
    #[error("parameter {ordinal}: {message}")]
    Parameter {
        /// Which, counted from 1.
        ordinal: usize,
        /// Both types, and why.
        message: String,
    },
    /// The query needs more memory than it may have.
    #[error(
        "the query needs more memory than its limit of {limit_bytes} bytes (setting memory.limit): {message}. \
         Raise the limit, or set memory.spill_dir to a folder with more free space"
    )]
    MemoryLimit {
        /// The limit in force, in bytes.
        limit_bytes: u64,
        /// Which operator asked for how much.
        message: String,
    },
    /// What queries spill is more than they may.
    #[error(
        "the query spills, and all queries together may spill at most {limit_bytes} bytes to {folder} (setting \
         memory.spill_limit). Raise the limit, run fewer queries at once, or give them more memory (setting memory.limit)"
    )]
    SpillLimit {
        /// The folder of this process.
        folder: String,
        /// The limit in force, in bytes.
        limit_bytes: u64,
    },
    /// What a query spills cannot be written, or read back.
    #[error(
        "the query needs more memory than there is, and cannot spill to {folder} (setting memory.spill_dir): {source}. Make \
         room there, or name another folder"
    )]
    SpillFailed {
        /// The folder of this process.
        folder: String,
        /// What the disk said.
        #[source]
        source: std::io::Error,
    },
    /// Something that is no operator of a query needs more memory than is left.
    #[error(
        "{what} needs {bytes} bytes of memory, and the limit of {limit_bytes} bytes for all queries leaves too few (setting \
         memory.limit). Try again later, with less at once, or raise the limit"
    )]
    MemoryTaken {
        /// What asked for it, with its file or table.
        what: String,
        /// How much, in bytes.
        bytes: u64,
        /// The limit in force, in bytes.
        limit_bytes: u64,
    },
    /// The query took memory that nobody counts, until the process held more than all of its limits.
    #[error(
        "the query takes more memory than there is, for rows that are very wide (setting memory.limit, {limit_bytes} bytes). Read \
         fewer rows or shorter values at once, or raise the limit"
    )]
    TooMuchMemory {
        /// The limit in force, in bytes.
        limit_bytes: u64,
    },
    /// The values of one column, in some thousand rows, have more bytes than a column can hold.
    #[error(
        "the values that the query makes are too long: a column takes at most 2 GiB in a batch of rows (8,192, where nothing else was \
         set). Make shorter values, or set datafusion.execution.batch_size to fewer rows"
    )]
    ValuesTooLong,
    /// The query went beyond a limit that its session set.
    #[error("{message} (setting {setting}). Raise the limit with SET {setting} = …, or read less")]
    Limit {
        /// The setting's full name.
        setting: &'static str,
        /// What would have gone beyond it.
        message: String,
    },
    /// The server has no room for the query now; later it may.
    #[error("the server is busy: {message} (setting {setting}). Try again later")]
    Overloaded {
        /// The setting's full key.
        setting: &'static str,
        /// What there is too much of.
        message: String,
    },
    /// A worker was lost, and the query could not be run again unseen.
    #[error("a worker was lost while the query ran: {0}. Run the query again")]
    WorkerLost(String),
    /// Workers were refused, since the credentials that they were given had ended, and the query could not be run again
    /// unseen.
    #[error("the credentials of {tables} ended while workers read with them: {message}. Run the query again")]
    CredentialsEnded {
        /// Whose they are.
        tables: String,
        /// How a worker was refused.
        message: String,
    },
    /// The query wants workers, and there are none.
    #[error("no worker can run the query: {0}")]
    NoWorkers(String),
    /// The query took longer than its session allows.
    #[error("the query took longer than {} ms (setting polynya.statement_timeout). Raise it with SET polynya.statement_timeout = …", .0.as_millis())]
    Timeout(std::time::Duration),
    /// The client, or an operator, stopped the query.
    #[error("the query was cancelled")]
    Cancelled,

    // ---- The operator's settings.
    /// A setting is unknown or has a bad value.
    #[error("setting {setting}: {message}")]
    Settings {
        /// The full key.
        setting: String,
        /// What is wrong and what is expected.
        message: String,
    },

    // ---- A service below.
    /// The catalog or the store failed; the source says which and how.
    #[error(transparent)]
    Catalog(#[from] polynya_catalog::Error),

    /// A data file is not what its manifest says.
    #[error("data file {location} is damaged or is not Parquet: {reason}")]
    DamagedFile {
        /// The full location.
        location: String,
        /// What the reader found.
        reason: String,
    },
    /// A failure that several queries met at once, since they waited for the same file.
    #[error("{0}")]
    Shared(#[source] Arc<Error>),

    /// Another error, with the query that it ended.
    #[error("{source}")]
    OfQuery {
        /// The query's id, as logs and `system.queries` have it.
        query_id: String,
        /// What went wrong.
        #[source]
        source: Box<Error>,
    },

    // ---- Planning and execution.
    /// The query engine refused the plan or failed while running it.
    #[error("{}", describe(.0))]
    Query(#[source] Box<DataFusionError>),

    // ---- Our bug.
    /// An invariant of ours did not hold.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// A name that names nothing, without a hint.
    pub fn not_found(kind: &'static str, name: impl Into<String>) -> Self {
        Self::NotFound { kind, name: name.into(), hint: String::new() }
    }

    /// A feature that is not there yet.
    pub fn unsupported(what: impl Into<String>, feature: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into(), feature: feature.into() }
    }

    /// The same error, which tells its query; an error that tells one already is kept.
    pub(crate) fn of_query(self, query_id: &str) -> Self {
        match self {
            Self::OfQuery { .. } => self,
            other => Self::OfQuery { query_id: query_id.to_owned(), source: Box::new(other) },
        }
    }

    /// The query that the error ended, if it was one.
    pub fn query_id(&self) -> Option<&str> {
        match self {
            Self::OfQuery { query_id, .. } => Some(query_id),
            _ => None,
        }
    }

    /// The data file that is damaged, or came so.
    pub(crate) fn damaged_file(&self) -> Option<&str> {
        match self {
            Self::DamagedFile { location, .. } => Some(location),
            Self::Shared(shared) => shared.damaged_file(),
            _ => None,
        }
    }

    /// What went wrong, without the query that it went wrong in.
    pub fn root(&self) -> &Self {
        match self {
            Self::OfQuery { source, .. } => source.root(),
            other => other,
        }
    }
}

/// Unwraps DataFusion's layers of context, and takes back errors of ours that travelled through it.
impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        if let Some(panic) = panics::among_causes(&error) {
            return panic;
        }
        match error {
            DataFusionError::External(source) => match source.downcast::<Error>() {
                Ok(ours) => *ours,
                Err(source) => from_external(source),
            },
            DataFusionError::Shared(shared) => match std::sync::Arc::try_unwrap(shared) {
                Ok(error) => error.into(),
                Err(shared) => Error::Query(Box::new(DataFusionError::Shared(shared))),
            },
            // The context tells which of the planner's rules has failed, which is nothing to a user.
            DataFusionError::Context(_, inner) => Error::from(*inner),
            DataFusionError::Diagnostic(_, inner) => Error::from(*inner),
            DataFusionError::Collection(mut errors) if !errors.is_empty() => Error::from(errors.swap_remove(0)),
            DataFusionError::ParquetError(source) => match *source {
                ParquetError::External(source) => Error::from(DataFusionError::External(source)),
                other => Error::Query(Box::new(DataFusionError::ParquetError(Box::new(other)))),
            },
            DataFusionError::ArrowError(source, backtrace) => match *source {
                ArrowError::ExternalError(source) => Error::from(DataFusionError::External(source)),
                ArrowError::IoError(_, source) => from_io(source),
                ArrowError::OffsetOverflowError(_) => Error::ValuesTooLong,
                other => Error::Query(Box::new(DataFusionError::ArrowError(Box::new(other), backtrace))),
            },
            DataFusionError::IoError(source) => from_io(source),
            DataFusionError::SQL(parser, _) => Error::Syntax { message: parser.to_string() },
            other => Error::Query(Box::new(other)),
        }
    }
}

/// Looks for an error of ours under the wrappings that travelled through other libraries.
fn from_external(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    let source = match source.downcast::<polynya_catalog::Error>() {
        Ok(catalog) => return Error::Catalog(*catalog),
        Err(source) => source,
    };
    match source.downcast::<DataFusionError>() {
        Ok(nested) => Error::from(*nested),
        Err(source) => match source.downcast::<ParquetError>() {
            Ok(nested) => Error::from(DataFusionError::ParquetError(nested)),
            Err(source) => Error::Query(Box::new(DataFusionError::External(source))),
        },
    }
}

/// Looks for an error of ours within one of I/O: those of spilled files travel so.
fn from_io(source: std::io::Error) -> Error {
    if !source.get_ref().is_some_and(|inner| inner.is::<Error>()) {
        return Error::Query(Box::new(DataFusionError::IoError(source)));
    }
    match source.into_inner().map(|inner| inner.downcast::<Error>()) {
        Some(Ok(ours)) => *ours,
        _ => Error::Internal("an error of I/O lost its cause".to_owned()),
    }
}

/// Errors of ours pass through DataFusion whole.
impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        match error {
            Error::Query(inner) => *inner,
            ours => DataFusionError::External(Box::new(ours)),
        }
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        DataFusionError::from(error).into()
    }
}

/// DataFusion's message for a person: of the error's root only, without the rules of the planner that it passed through,
/// without backtraces and advice to file a bug upstream.
fn describe(error: &DataFusionError) -> String {
    let root = error.find_root();
    let message = root.message();
    let message = message.split_once(".\nThis issue was likely caused by a bug").map_or(&*message, |(told, _)| told);
    match root {
        DataFusionError::ResourcesExhausted(root) => format!("out of memory or disk: {root}"),
        _ => message.to_owned(),
    }
}
