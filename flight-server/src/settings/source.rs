//! Merges the sources of settings, and words what is wrong with them: without what may be a secret.

use std::path::Path;

use figment::error::Kind;
use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Map};
use figment::{Figment, Metadata, Profile, Provider};
use serde::Deserialize;

use super::environment::Environment;
use super::{AuthSettings, Error, Overrides, ServerSettings};

/// The sections that are ours; all others are the engine's.
const OURS: [&str; 2] = [SERVER, "auth"];
const SERVER: &str = "server";

/// What the server's half of the sources must look like.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServerPart {
    #[serde(default)]
    server: ServerSettings,
    #[serde(default)]
    auth: AuthSettings,
}

/// Reads both halves of the settings.
pub(super) fn read(
    file: Option<&Path>,
    environment: &Environment,
    overrides: &Overrides,
) -> Result<(ServerSettings, polynya_engine::Settings), Error> {
    let ours = |key: &str| OURS.contains(&key);
    let theirs = |key: &str| !OURS.contains(&key);
    let flags = Serialized::default(SERVER, overrides);
    let toml = || file.map_or_else(|| Toml::string(""), Toml::file_exact);
    let server = Figment::new()
        .merge(Part { provider: toml(), keep: ours })
        .merge(Part { provider: environment.clone(), keep: ours })
        .merge(flags);
    let engine = Figment::new()
        .merge(Part { provider: toml(), keep: theirs })
        .merge(Part { provider: environment.clone(), keep: theirs });
    let ServerPart { server, auth } = server.extract().map_err(word)?;
    Ok((ServerSettings { auth, ..server }, engine.extract().map_err(word)?))
}

/// The sections of a source that one half reads.
struct Part<P> {
    provider: P,
    keep: fn(&str) -> bool,
}

impl<P: Provider> Provider for Part<P> {
    fn metadata(&self) -> Metadata {
        self.provider.metadata()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut data = self.provider.data()?;
        for sections in data.values_mut() {
            sections.retain(|key, _| (self.keep)(key));
        }
        Ok(data)
    }
}

/// All that is wrong, one line each.
fn word(error: figment::Error) -> Error {
    let lines: Vec<String> = error.into_iter().map(|error| word_one(&error)).collect();
    Error::Bad(lines.join("\n"))
}

fn word_one(error: &figment::Error) -> String {
    let mut path = error.path.clone();
    let message = match &error.kind {
        Kind::UnknownField(key, known) => {
            if path.last() != Some(key) {
                path.push(key.clone());
            }
            let top: &[&str] = if path.len() == 1 { &OURS } else { &[] };
            unknown(key, known.iter().copied().chain(top.iter().copied()))
        }
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) if may_be_secret(&path) => {
            format!("the value, which is not shown here, is not what is expected: {expected}")
        }
        Kind::Message(message) => without_quotation(message),
        other => other.to_string(),
    };
    let place = error.metadata.as_ref().map_or_else(String::new, |metadata| match &metadata.source {
        Some(figment::Source::File(file)) => format!(" (in {})", file.display()),
        _ => format!(" (in {})", metadata.name),
    });
    if path.is_empty() {
        return format!("the settings cannot be read{place}: {message}");
    }
    format!("setting {}{place}: {message}", path.join("."))
}

/// Whether the value of a setting must not be shown. Errs on the side of hiding.
fn may_be_secret(path: &[String]) -> bool {
    let words = ["secret", "token", "password", "credential", "key", "sas", "header", "database", "uri"];
    path.iter().any(|part| words.iter().any(|word| part.to_lowercase().contains(word)))
}

/// What the file's parser says, on one line, without the line of the file that it shows: a secret may be in that.
fn without_quotation(message: &str) -> String {
    let is_shown = |line: &&str| {
        let after_number = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
        after_number.trim_start().starts_with('|')
    };
    let said = message.lines().filter(|line| !is_shown(line)).map(str::trim);
    said.collect::<Vec<_>>().join(": ")
}

/// What to write instead of a key that nothing reads.
fn unknown<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    let plain = key.to_lowercase().replace('-', "_");
    let nearest = known.iter().min_by_key(|candidate| distance(candidate, &plain));
    match nearest {
        Some(nearest) if distance(nearest, &plain) <= plain.len().max(nearest.len()) / 2 => {
            format!("unknown key, did you mean `{nearest}`?")
        }
        _ => format!("unknown key, expected one of: {}", known.join(", ")),
    }
}

/// How many letters to add, drop or change to get from one word to another (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let change = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}
