//! Addresses in settings.

use serde::de::{Deserialize, Deserializer, Error};
use url::Url;

/// An address, or none.
pub(crate) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    Option::<String>::deserialize(deserializer)?.map(parse).transpose()
}

/// Addresses.
pub(crate) fn several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Url>, D::Error> {
    Vec::<String>::deserialize(deserializer)?.into_iter().map(parse).collect()
}

fn parse<E: Error>(text: String) -> Result<Url, E> {
    let wrong = |why: String| E::custom(format!("\"{text}\" is no address such as http://host:50061: {why}"));
    let url = Url::parse(&text).map_err(|error| wrong(error.to_string()))?;
    match url.has_host() {
        true => Ok(url),
        false => Err(wrong("it names no host".to_owned())),
    }
}
