//! Splits a full location, as metadata files write it, into a scheme, a bucket and a key.
//!
//! Keys are taken byte for byte: nothing is decoded or encoded, because `a%20b` and `a b` are different objects. What an
//! `object_store` path cannot hold exactly (empty, `.` and `..` segments, control characters) is an error, never another key.
//! Locations come from metadata files and from statements: what is in them must not choose the host that is asked.

use object_store::path::Path;

use crate::{Error, Result};

/// The kinds of stores that locations can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Scheme {
    /// `s3`, `s3a`, `s3n`
    S3,
    /// `gs`, `gcs`
    Gcs,
    /// `az`, `abfs`, `abfss`, `wasb`, `wasbs`
    Azure,
    /// `file`, or a bare absolute path
    File,
    /// `memory`
    Memory,
}

impl Scheme {
    /// How the names of the store's properties begin; `None` for what is on this machine.
    pub(super) fn property_prefix(self) -> Option<&'static str> {
        match self {
            Self::S3 => Some("s3"),
            Self::Gcs => Some("gcs"),
            Self::Azure => Some("adls"),
            Self::File | Self::Memory => None,
        }
    }
}

/// A location in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) scheme: Scheme,
    /// Bucket; for Azure the container; empty for file and memory.
    pub(super) bucket: String,
    /// For Azure, the account's host if the location names it.
    pub(super) host: Option<String>,
    pub(super) key: Path,
}

impl Location {
    pub(super) fn parse(location: &str) -> Result<Self> {
        let Some((scheme, rest)) = split_scheme(location) else {
            return match location.starts_with('/') {
                true => Self::whole(Scheme::File, location, location),
                false => Err(bad(location, "it has no scheme such as s3:// and is not an absolute path")),
            };
        };
        match scheme.to_ascii_lowercase().as_str() {
            "s3" | "s3a" | "s3n" => Self::in_bucket(Scheme::S3, location, authority(location, rest)?),
            "gs" | "gcs" => Self::in_bucket(Scheme::Gcs, location, authority(location, rest)?),
            "az" | "abfs" | "abfss" | "wasb" | "wasbs" => Self::azure(location, authority(location, rest)?),
            "memory" => Self::whole(Scheme::Memory, location, rest.strip_prefix("//").unwrap_or(rest)),
            "file" => Self::file(location, rest),
            _ => Err(Error::Unsupported {
                what: shown(location).to_string(),
                feature: format!("locations with scheme {scheme} (use s3, gs, abfs, file or memory)"),
            }),
        }
    }

    fn in_bucket(scheme: Scheme, location: &str, (bucket, key): (&str, &str)) -> Result<Self> {
        if bucket.is_empty() {
            return Err(bad(location, "it names no bucket"));
        }
        if !is_name(bucket) {
            return Err(bad(location, "its bucket is no name that a bucket can have"));
        }
        Ok(Self { scheme, bucket: bucket.to_string(), host: None, key: exact_key(location, key)? })
    }

    fn azure(location: &str, (authority, key): (&str, &str)) -> Result<Self> {
        let (container, host) = match authority.split_once('@') {
            Some((container, host)) => (container, Some(host.to_string())),
            None => (authority, None),
        };
        if host.as_deref().is_some_and(|host| !is_name(host)) {
            return Err(bad(location, "what follows the @ is no host"));
        }
        Ok(Self { host, ..Self::in_bucket(Scheme::Azure, location, (container, key))? })
    }

    /// `file:/a`, `file:///a` and `file://localhost/a` all name `/a`.
    fn file(location: &str, rest: &str) -> Result<Self> {
        let path = match rest.strip_prefix("//") {
            Some(after) => match after.strip_prefix("localhost/") {
                Some(_) => &after["localhost".len()..],
                None => after,
            },
            None => rest,
        };
        if !path.starts_with('/') {
            return Err(bad(location, "a file location must be an absolute path, such as file:///folder/file"));
        }
        Self::whole(Scheme::File, location, path)
    }

    fn whole(scheme: Scheme, location: &str, key: &str) -> Result<Self> {
        Ok(Self { scheme, bucket: String::new(), host: None, key: exact_key(location, key)? })
    }
}

fn split_scheme(location: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = location.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    is_scheme.then_some((scheme, rest))
}

fn authority<'a>(location: &str, rest: &'a str) -> Result<(&'a str, &'a str)> {
    let rest = rest.strip_prefix("//").ok_or_else(|| bad(location, "// is missing after the scheme"))?;
    Ok(rest.split_once('/').unwrap_or((rest, "")))
}

/// Whether a bucket, a container or a host can be called so. Stores make addresses of these names: anything else among them (`#`,
/// `:`, `?`) could lead a request, and the credentials with it, to a host of somebody else's choice.
fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '$');
    name.chars().all(is_plain) && !name.starts_with('.') && !name.ends_with('.')
}

/// The key, if a path can hold it byte for byte. One leading slash is the separator from the bucket; one trailing slash
/// only marks a folder.
fn exact_key(location: &str, key: &str) -> Result<Path> {
    Path::parse(key).map_err(|source| Error::Invalid {
        message: format!(
            "location {} cannot be used: its path has an empty, . or .. part, or a control character",
            shown(location)
        ),
        source: Some(Box::new(source)),
    })
}

fn bad(location: &str, why: &str) -> Error {
    Error::invalid(format!("location {} cannot be used: {why}", shown(location)))
}

/// The location without what follows a question mark, where a signature may be.
pub(super) fn shown(location: &str) -> &str {
    match location.find("?s") {
        Some(at) if location.contains("sig=") => &location[..at],
        _ => location,
    }
}
