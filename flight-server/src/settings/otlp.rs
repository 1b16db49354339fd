//! What the settings of traces must look like; and what a share is.

use serde::de::{Deserialize, Deserializer, Error};
use url::Url;

/// The address of a collector, or none.
pub(super) fn endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let wrong = |why: &str| D::Error::custom(format!("this is no address such as http://127.0.0.1:4317: {why}"));
    let url = Url::parse(&text).map_err(|error| wrong(&error.to_string()))?;
    match () {
        () if !["http", "https"].contains(&url.scheme()) => Err(wrong("it begins with neither http:// nor https://")),
        () if !url.username().is_empty() || url.password().is_some() => Err(wrong("it holds a name or a password")),
        () if url.path() != "/" || url.query().is_some() => Err(wrong("it has a path, and OTLP over gRPC knows none")),
        () => Ok(Some(url)),
    }
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    /// As the environment has it.
    Text(String),
}

/// A share between 0 and 1.
pub(super) fn ratio<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let ratio = match Written::deserialize(deserializer) {
        Ok(Written::Number(ratio)) => Some(ratio),
        Ok(Written::Text(text)) => text.parse().ok(),
        Err(_) => None,
    };
    let ratio = ratio.filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| D::Error::custom("expected a share between 0 and 1, such as 0.1"))
}
