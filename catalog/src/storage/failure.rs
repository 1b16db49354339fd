//! Turns what a store said into an error of ours: who can act on it, which file or bucket, and no secret.

use std::fmt;

use crate::Error;
use crate::error::Source;

use super::location::{Location, Scheme, shown};

/// What a request was about, for its error.
pub(super) struct Request<'a> {
    pub(super) location: &'a str,
    pub(super) parts: &'a Location,
    pub(super) verb: &'static str,
    pub(super) secrets: &'a [String],
}

impl Request<'_> {
    pub(super) fn error(&self, error: object_store::Error) -> Error {
        let said = chain_text(&error);
        if names_missing_bucket(&said) {
            return missing_bucket(self.parts);
        }
        let action = format!("{} {}", self.verb, shown(self.location));
        match error {
            object_store::Error::NotFound { .. } => Error::FileNotFound { location: shown(self.location).to_string() },
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                let service = format!("{} {}", service(self.parts), self.parts.bucket).trim_end().to_string();
                Error::AccessDenied { service, action, source: Some(clean(error, &said, self.secrets)) }
            }
            object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. } => {
                Error::Unsupported { what: service(self.parts).to_string(), feature: action }
            }
            other => {
                let service = format!("{} {}", service(self.parts), self.parts.bucket).trim_end().to_string();
                Error::Unavailable { service, action, source: clean(other, &said, self.secrets) }
            }
        }
    }
}

/// A store as an operator would call it.
pub(super) fn service(parts: &Location) -> &'static str {
    match parts.scheme {
        Scheme::S3 => "S3 bucket",
        Scheme::Gcs => "Google Cloud Storage bucket",
        Scheme::Azure => "Azure container",
        Scheme::File => "local file system",
        Scheme::Memory => "memory store",
    }
}

fn names_missing_bucket(said: &str) -> bool {
    ["NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist"].iter().any(|code| said.contains(code))
}

fn chain_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

/// The error itself, or, if it shows a secret, its text with the secrets blanked.
pub(super) fn clean<E>(error: E, said: &str, secrets: &[String]) -> Source
where
    E: std::error::Error + Send + Sync + 'static,
{
    // What `Debug` would print matters too: loggers print sources with it.
    let seen = format!("{said} {error:?}");
    if !seen.contains("sig=") && !secrets.iter().any(|secret| seen.contains(secret.as_str())) {
        return Box::new(error);
    }
    let mut text = said.to_string();
    for secret in secrets {
        text = text.replace(secret.as_str(), "***");
    }
    while let Some(at) = text.find("sig=") {
        let end =
            text[at..].find(|c: char| c.is_whitespace() || matches!(c, '&' | ')' | '"')).map_or(text.len(), |n| at + n);
        text.replace_range(at..end, "***");
    }
    Box::new(Blanked(text))
}

/// The text of an error that showed a secret, without it.
#[derive(Debug)]
struct Blanked(String);

impl fmt::Display for Blanked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Blanked {}

/// A store answered that the bucket is not there.
pub(super) fn missing_bucket(parts: &Location) -> Error {
    Error::BucketNotFound { bucket: parts.bucket.clone(), service: service(parts).to_string() }
}

/// An object, or the answer to a read of it, ended early.
pub(super) fn cut_short(location: &str, wanted: u64, got: u64) -> Error {
    malformed(location, format!("{wanted} bytes were expected, and {got} came"))
}

/// An object is not the file that the manifest describes.
pub(super) fn other_size(location: &str, wanted: u64, got: u64) -> Error {
    malformed(location, format!("the manifest says {wanted} bytes, the object has {got}"))
}

/// Why one read request failed, and what may be done about it.
#[derive(Debug)]
pub struct ReadFailure {
    /// Whether to ask again.
    pub kind: ReadFailureKind,
    /// The error, if nobody asks again.
    pub error: Error,
}

/// What a failed read request means for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFailureKind {
    /// The store asks for fewer requests (429, 503 SlowDown).
    Throttled,
    /// Another request may do better: a server error, a broken or short answer, a timeout.
    Transient,
    /// No request will do better.
    Permanent,
}

impl ReadFailure {
    /// A request that was given up after this time.
    pub fn timeout(location: &str, after: std::time::Duration) -> Self {
        let source = Blanked(format!("no complete answer within {:.0} s", after.as_secs_f64()));
        let action = format!("read {}", shown(location));
        Self::transient(Error::Unavailable { service: "the store".to_owned(), action, source: Box::new(source) })
    }

    pub(super) fn transient(error: Error) -> Self {
        Self { kind: ReadFailureKind::Transient, error }
    }

    pub(super) fn permanent(error: Error) -> Self {
        Self { kind: ReadFailureKind::Permanent, error }
    }
}

/// Whether a store said 429 or 503, or S3's code for them.
pub(super) fn asks_to_slow_down(error: &object_store::Error) -> bool {
    let said = chain_text(error);
    ["SlowDown", "503 Service Unavailable", "429 Too Many Requests"].iter().any(|code| said.contains(code))
}

/// Recognises the ways in which stores say that a range starts after the end of its object.
pub(super) fn past_end(error: Error, location: &str, range: &std::ops::Range<u64>) -> Error {
    let Error::Unavailable { source, .. } = &error else { return error };
    let said = chain_text(source.as_ref());
    let past_end = ["InvalidRange", "416 Range Not Satisfiable", "Wanted range starting at"];
    if past_end.iter().any(|code| said.contains(code)) {
        return malformed(location, format!("it ends before bytes {} to {}", range.start, range.end));
    }
    error
}

fn malformed(location: &str, found: String) -> Error {
    Error::Malformed {
        location: shown(location).to_string(),
        kind: "file of its recorded size",
        source: Box::new(Blanked(found)),
    }
}
