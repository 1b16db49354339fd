//! Why a call to a Flight SQL server failed, grouped by who can act on it.

use std::path::PathBuf;

use arrow::error::ArrowError;
use arrow_flight::error::FlightError;
use tonic::{Code, Status};

/// The result of a call to the server.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL is not one of a Flight SQL server.
    #[error("{url} is not the address of a Flight SQL server: {reason} (example: grpc://127.0.0.1:50051)")]
    Url {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The certificate authority's file cannot be read.
    #[error("cannot read the certificate authority {}", path.display())]
    TlsCa {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        #[source]
        source: std::io::Error,
    },
    /// The client's own certificate or key cannot be read.
    #[error("cannot read {}, which the server is to be shown", path.display())]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        #[source]
        source: std::io::Error,
    },
    /// Nothing answers at the address.
    #[error("cannot connect to {url}: is the server running? Start it with `polynya serve`")]
    Connect {
        /// The address.
        url: String,
        /// What the connection attempt met.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection ended within a call.
    #[error("the connection to the server was lost: is it still running?")]
    Lost {
        /// What the connection met.
        #[source]
        source: Box<Status>,
    },
    /// The server refused the statement, or failed in it.
    #[error("{message}")]
    Statement {
        /// The gRPC code.
        code: Code,
        /// The server's message.
        message: String,
        /// The SQLSTATE, where the server sends one.
        sqlstate: Option<String>,
        /// The query's id on the server, where it sends one.
        query_id: Option<String>,
    },
    /// The server's messages do not follow Flight SQL.
    #[error("the server broke the Flight SQL protocol: {0}")]
    Protocol(&'static str),
    /// The server's record batches cannot be decoded.
    #[error("the server's rows cannot be decoded")]
    Decode {
        /// What the decoder met.
        #[source]
        source: Box<FlightError>,
    },
    /// The values of a statement's parameters cannot be encoded.
    #[error("the values of the parameters cannot be sent")]
    Values {
        /// What the encoder met.
        #[source]
        source: Box<FlightError>,
    },
    /// The caller's own stream of rows failed, so that the ingest was called off.
    #[error("the rows to ingest could not be made, so that none were stored")]
    Input {
        /// What the stream met.
        #[source]
        source: Box<FlightError>,
    },
}

impl Error {
    /// The gRPC code of the server's answer, if there was one.
    pub fn code(&self) -> Option<Code> {
        match self {
            Error::Statement { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// The error and all its causes in one line.
    pub fn full_message(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        // Only a status that this side made up has a source: the server's own words have none.
        if std::error::Error::source(&status).is_some() {
            return Error::Lost { source: Box::new(status) };
        }
        let trailer = |name| status.metadata().get(name).and_then(|v| v.to_str().ok()).map(str::to_string);
        let message = match status.message() {
            "" => format!("the server answered {:?} without a message", status.code()),
            message => message.to_string(),
        };
        Error::Statement {
            code: status.code(),
            message,
            sqlstate: trailer("polynya-sqlstate").or_else(|| trailer("sqlstate")),
            query_id: trailer("polynya-query-id").or_else(|| trailer("query-id")),
        }
    }
}

impl From<FlightError> for Error {
    fn from(error: FlightError) -> Self {
        match error {
            FlightError::Tonic(status) => (*status).into(),
            other => Error::Decode { source: Box::new(other) },
        }
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        Error::Decode { source: Box::new(error.into()) }
    }
}
