//! Why a call to a Flight SQL server failed, grouped by who can act on it.

use std::error::Error as StdError;
use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

use arrow::error::ArrowError;
use arrow_flight::error::FlightError;
use tonic::{Code, Status};

use super::address::Address;
use super::channel::CallError;

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
    /// Nothing answers at the address, or nothing that speaks as it was asked to.
    #[error("cannot connect to {url}: {hint}")]
    Connect {
        /// The address.
        url: String,
        /// The next step.
        hint: &'static str,
        /// What the connection attempt met.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The connection ended within a call.
    #[error("the connection to the server was lost: {hint}")]
    Lost {
        /// The next step.
        hint: &'static str,
        /// What the connection met.
        #[source]
        source: Met,
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

/// What a connection met: shown as the first cause of the status that the transport made of it, whose own text is one for
/// programmers.
#[derive(Debug)]
pub struct Met(Box<Status>);

impl Display for Met {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match causes(self.0.as_ref()).last() {
            Some(cause) => Display::fmt(cause, f),
            None => f.write_str(self.0.message()),
        }
    }
}

impl StdError for Met {}

/// An error's causes, the nearest first.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(error.source(), |error| (*error).source())
}

impl Error {
    /// A connection that could not be made.
    pub(super) fn connect(address: &Address, source: tonic::transport::Error) -> Self {
        let met = causes(&source).last().map(ToString::to_string).unwrap_or_default();
        let hint = match () {
            () if met.contains("peer certificate") => {
                "the server's certificate is refused. Which authority is trusted for which name is said by --tls-ca and \
                 --tls-server-name"
            }
            // What is not encrypted is a corrupt message to TLS.
            () if address.tls && ["corrupt message", "handshake eof"].iter().any(|text| met.contains(text)) => {
                "what answers there is not encrypted. If that is as it should be, write grpc:// in place of grpc+tls://"
            }
            () => "is the server running? Start it with `polynya serve`",
        };
        Error::Connect { url: address.to_string(), hint, source: Box::new(source) }
    }

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
        for cause in causes(self).map(ToString::to_string) {
            // Some say again what their causes say.
            if !text.ends_with(&cause) {
                text.push_str(": ");
                text.push_str(&cause);
            }
        }
        text
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        // Only a status that this side made up has a source: the server's own words have none.
        if status.source().is_some() {
            let call = causes(&status).find_map(|cause| cause.downcast_ref::<CallError>());
            let hint = call.map_or("is it still running?", CallError::hint);
            return Error::Lost { hint, source: Met(Box::new(status)) };
        }
        let trailer = |name| status.metadata().get(name).and_then(|v| v.to_str().ok()).map(str::to_string);
        let message = match status.message() {
            "" => format!("the server answered without a message: {}", status.code()),
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
