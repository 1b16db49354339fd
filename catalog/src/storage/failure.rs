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
    /// The bucket's region, if the answer told it.
    pub(super) region: Option<String>,
}

impl Request<'_> {
    pub(super) fn error(&self, error: object_store::Error) -> Error {
        let said = chain_text(&error);
        if names_missing_bucket(&said) {
            return missing_bucket(self.parts);
        }
        if let Some(error) = wrong_region(self.parts, self.region.as_deref(), &said) {
            return error;
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
            other if names_ended_credentials(&said) => {
                let service = format!("{} {}", service(self.parts), self.parts.bucket);
                Error::AccessDenied { service, action, source: Some(clean(other, &said, self.secrets)) }
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

/// Whether a failed write has certainly stored nothing: the store refused it (403, 405 and the like), or could not be asked. Who is overloaded,
/// broken or silent may have stored it all the same, or may yet.
pub(crate) fn is_refusal(error: &Error) -> bool {
    match error {
        Error::AccessDenied { .. }
        | Error::BucketNotFound { .. }
        | Error::Invalid { .. }
        | Error::Settings { .. }
        | Error::Unsupported { .. } => true,
        Error::Unavailable { source, .. } => {
            let said = chain_text(source.as_ref());
            // A local file appears under its name last of all.
            said.starts_with("Generic LocalFileSystem error") || status(&said).is_some_and(is_final)
        }
        _ => false,
    }
}

/// The status of an answer, as `object_store` tells it.
fn status(said: &str) -> Option<u16> {
    said.split_once("status code: ")?.1.get(..3)?.parse().ok()
}

/// Whether a status means that the request was not carried out: not those of timeouts (408) and of too many requests (429).
fn is_final(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 408 | 429)
}

fn names_missing_bucket(said: &str) -> bool {
    ["NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist"].iter().any(|code| said.contains(code))
}

/// S3 says 400 of a token that has ended, or is not one.
fn names_ended_credentials(said: &str) -> bool {
    ["<Code>ExpiredToken", "<Code>InvalidToken", "<Code>TokenRefreshRequired"].iter().any(|code| said.contains(code))
}

/// The setting to change, if S3 says that the bucket is in another region than it was asked in.
fn wrong_region(parts: &Location, region: Option<&str>, said: &str) -> Option<Error> {
    let is_elsewhere = said.contains("<Code>AuthorizationHeaderMalformed") && said.contains("region")
        || said.contains("<Code>PermanentRedirect")
        || said.contains("incorrectly configured region");
    if parts.scheme != Scheme::S3 || !is_elsewhere {
        return None;
    }
    let quoted =
        |text: &str| text.split_once('\'').and_then(|(_, rest)| rest.split_once('\'')).map(|(name, _)| name.to_owned());
    let is_name = |name: &String| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let expected = said.split_once("expecting ").and_then(|(_, rest)| quoted(rest)).or(region.map(str::to_owned));
    let message = match expected.filter(is_name) {
        Some(region) => format!("bucket {} is in region {region}; set it", parts.bucket),
        None => format!("bucket {} is in another region; set the one that it is in", parts.bucket),
    };
    Some(Error::Settings { setting: "s3.region".to_owned(), message })
}

pub(super) fn chain_text(error: &dyn std::error::Error) -> String {
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

/// An object does not have the checksum that the store says.
pub(super) fn other_checksum(location: &str, name: &str) -> Error {
    malformed(location, format!("its bytes do not have the checksum that the store says ({name})"))
}

/// A request that brought nothing more for this long.
pub(super) fn stalled(parts: &Location, location: &str, after: std::time::Duration, bytes: u64) -> Error {
    let source = Box::new(Blanked(format!("nothing came for {:.0} s, after {bytes} bytes", after.as_secs_f64())));
    let service = format!("{} {}", service(parts), parts.bucket).trim_end().to_string();
    Error::Unavailable { service, action: format!("read {}", shown(location)), source }
}

/// Recognises the ways in which stores say that a range starts after the end of its object.
pub(super) fn past_end(error: Error, location: &str, range: &std::ops::Range<u64>) -> Error {
    let Error::Unavailable { source, .. } = &error else { return error };
    let said = chain_text(source.as_ref());
    let past_end = ["InvalidRange", "416 Range Not Satisfiable", "Wanted range starting at"];
    if past_end.iter().any(|code| said.contains(code)) {
        return ends_before(location, range);
    }
    error
}

/// An object has less than the bytes asked for.
pub(super) fn ends_before(location: &str, range: &std::ops::Range<u64>) -> Error {
    malformed(location, format!("it ends before bytes {} to {}", range.start, range.end))
}

pub(super) fn malformed(location: &str, found: String) -> Error {
    Error::Malformed {
        location: shown(location).to_string(),
        kind: "file of its recorded size",
        source: Box::new(Blanked(found)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_store_refused_is_certainly_not_there() {
        let unavailable = |said: &str| Error::Unavailable {
            service: "S3 bucket b".to_owned(),
            action: "write s3://b/k".to_owned(),
            source: Box::new(Blanked(said.to_owned())),
        };
        let answer = |status| {
            format!(
                "Generic S3 error: Error performing PUT http://s3/k in 2ms - Server returned non-2xx status code: {status}: "
            )
        };
        for refused in ["400 Bad Request", "405 Method Not Allowed", "409 Conflict"] {
            assert!(is_refusal(&unavailable(&answer(refused))), "{refused}");
        }
        for open in ["408 Request Timeout", "429 Too Many Requests", "500 Internal Server Error", "503 Slow Down"] {
            assert!(!is_refusal(&unavailable(&answer(open))), "{open}");
        }
        assert!(!is_refusal(&unavailable(
            "Generic S3 error: Error performing PUT http://s3/k in 30s - HTTP error: operation timed out"
        )));
        assert!(is_refusal(&unavailable("Generic LocalFileSystem error: Unable to create dir /w: Permission denied")));
        assert!(is_refusal(&Error::AccessDenied { service: String::new(), action: String::new(), source: None }));
    }
}
