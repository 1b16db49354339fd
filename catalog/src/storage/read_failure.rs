//! Why one read request failed, and what that means for the next one.
//!
//! The status of the answer decides, where there is one; else how far the request came.

use std::error::Error as StdError;
use std::ops::Range;
use std::time::Duration;

use http::StatusCode;
use object_store::client::{HttpError, HttpErrorKind};

use crate::Error;

use super::failure::{chain_text, malformed, past_end};
use super::head::Head;

/// Why one read request failed, and what may be done about it.
#[derive(Debug)]
pub struct ReadFailure {
    /// Whether to ask again.
    pub kind: ReadFailureKind,
    /// The error, if nobody asks again.
    pub error: Error,
    /// How long the store asks to be left alone.
    pub retry_after: Option<Duration>,
    /// What came before it failed.
    pub progress: Progress,
}

/// What a failed read request means for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFailureKind {
    /// The store asks for fewer requests (429, 503).
    Throttled,
    /// The store cannot answer now, to anybody: 5xx, or nobody listens.
    Refused,
    /// This answer was bad, another may be good: it broke off, stalled, or was no HTTP.
    Transient,
    /// The answer says clearly what should not be, such as another size of the file: it is believed if it comes again.
    Doubtful,
    /// No request will do better.
    Permanent,
}

/// What came of an answer, and when.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// From the request to the head of its answer.
    pub first_byte: Option<Duration>,
    /// Of the body.
    pub bytes: u64,
    /// From the request to its end.
    pub elapsed: Duration,
    /// Since something came last.
    pub quiet: Duration,
}

impl ReadFailure {
    pub(super) fn new(kind: ReadFailureKind, error: Error) -> Self {
        Self { kind, error, retry_after: None, progress: Progress::default() }
    }

    /// An answer of the right length whose bytes cannot be right.
    pub fn wrong_bytes(location: &str, reason: &str) -> Self {
        Self::new(ReadFailureKind::Doubtful, malformed(location, reason.to_owned()))
    }
}

/// What an error of `object_store` means, by the head of the answer. `explain` makes it one of ours.
pub(super) fn of_store(
    error: object_store::Error,
    explain: impl FnOnce(object_store::Error) -> Error,
    head: &Head,
    is_remote: bool,
    (location, range): (&str, Option<&Range<u64>>),
) -> ReadFailure {
    let by_answer = match head.status() {
        Some(status) => of_status(status, range.is_some(), &error),
        None => of_transport(&error),
    };
    let told = match range {
        Some(range) => past_end(explain(error), location, range),
        None => explain(error),
    };
    let kind = match &told {
        // What is on this machine does not become better.
        _ if !is_remote => ReadFailureKind::Permanent,
        Error::Malformed { .. } => ReadFailureKind::Doubtful,
        Error::Unavailable { .. } => by_answer,
        // Our credentials, our settings, a file that is not there.
        _ => ReadFailureKind::Permanent,
    };
    ReadFailure { retry_after: head.retry_after(), ..ReadFailure::new(kind, told) }
}

fn of_status(status: StatusCode, is_range: bool, error: &object_store::Error) -> ReadFailureKind {
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => ReadFailureKind::Throttled,
        StatusCode::NOT_IMPLEMENTED => ReadFailureKind::Permanent,
        status if status.is_server_error() => ReadFailureKind::Refused,
        StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_EARLY => ReadFailureKind::Transient,
        // S3 says so of a connection on which nothing came.
        StatusCode::BAD_REQUEST if chain_text(error).contains("RequestTimeout") => ReadFailureKind::Transient,
        StatusCode::RANGE_NOT_SATISFIABLE => ReadFailureKind::Doubtful,
        // A whole object, where a part of it was asked for.
        StatusCode::OK if is_range => ReadFailureKind::Doubtful,
        status if status.is_success() => ReadFailureKind::Transient,
        _ => ReadFailureKind::Permanent,
    }
}

/// A request without an answer.
fn of_transport(error: &object_store::Error) -> ReadFailureKind {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(cause) = next {
        if cause.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_redirect) {
            return ReadFailureKind::Permanent;
        }
        if cause.downcast_ref::<HttpError>().is_some_and(|error| error.kind() == HttpErrorKind::Connect) {
            return ReadFailureKind::Refused;
        }
        next = cause.source();
    }
    ReadFailureKind::Transient
}
