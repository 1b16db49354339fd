//! One failed read answers every caller that waited for it: the error is shared, and given to each as its own.

use std::fmt;
use std::sync::Arc;

use crate::Error;
use crate::error::Source;

/// The error itself for a single caller; for several, one of the same variant that keeps the shared one as its source.
pub(super) fn unshare(shared: Arc<Error>) -> Error {
    let shared = match Arc::try_unwrap(shared) {
        Ok(error) => return error,
        Err(shared) => shared,
    };
    let source = || -> Source { Box::new(SharedSource(Arc::clone(&shared))) };
    match shared.as_ref() {
        Error::FileNotFound { location } => Error::FileNotFound { location: location.clone() },
        Error::BucketNotFound { bucket, service } => {
            Error::BucketNotFound { bucket: bucket.clone(), service: service.clone() }
        }
        Error::Unsupported { what, feature } => Error::Unsupported { what: what.clone(), feature: feature.clone() },
        Error::Settings { setting, message } => Error::Settings { setting: setting.clone(), message: message.clone() },
        Error::Invalid { message, .. } => Error::Invalid { message: message.clone(), source: Some(source()) },
        Error::Malformed { location, kind, .. } => {
            Error::Malformed { location: location.clone(), kind, source: source() }
        }
        Error::Memory { location, kind, .. } => Error::Memory { location: location.clone(), kind, source: source() },
        Error::AccessDenied { service, action, .. } => {
            Error::AccessDenied { service: service.clone(), action: action.clone(), source: Some(source()) }
        }
        Error::Unavailable { service, action, .. } => {
            Error::Unavailable { service: service.clone(), action: action.clone(), source: source() }
        }
        other => Error::Internal(other.to_string()),
    }
}

/// Stands for the source of a shared error.
#[derive(Debug)]
struct SharedSource(Arc<Error>);

impl SharedSource {
    fn source_of_shared(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(self.0.as_ref())
    }
}

impl fmt::Display for SharedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source_of_shared() {
            Some(source) => write!(f, "{source}"),
            None => write!(f, "{}", self.0),
        }
    }
}

impl std::error::Error for SharedSource {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source_of_shared().and_then(std::error::Error::source)
    }
}
