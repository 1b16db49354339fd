//! What a service says about itself: `GET /v1/config`, merged with the settings.
//!
//! The service's defaults give way to the settings, and the settings to its overrides.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::TableIdent;

use super::client::Client;
use super::failure::{Purpose, Service};
use super::path::Paths;
use super::vended::Vended;
use super::wire::{ConfigResponse, TableResponse};
use crate::settings::{CatalogSettings, without_password};
use crate::storage::Storage;
use crate::{Error, Result};

/// A service whose configuration has been read.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) paths: Paths,
    /// The stores as far as the settings and the service's configuration say.
    pub(super) storage: Arc<Storage>,
    /// How many names to ask for at once, if the settings say.
    pub(super) page_size: Option<String>,
}

impl Session {
    /// Asks the service for its configuration.
    pub(super) async fn open(key: &str, settings: &CatalogSettings) -> Result<Self> {
        let uri = address(key, settings)?;
        let properties = settings.to_properties();
        refuse_unsupported(key, &properties)?;
        let service = Service { catalog: key.to_owned(), address: without_password(uri) };
        let client = Client::new(service, uri, &properties)?;
        let query = settings.warehouse.iter().map(|warehouse| ("warehouse", warehouse.clone())).collect();
        let config: ConfigResponse =
            client.get(Purpose::Config, format!("{}/v1/config", uri.trim_end_matches('/')), query).await?;
        let merged = merge(config, &properties);
        refuse_unsupported(key, &merged)?;
        let uri = merged.get("uri").map_or(uri, String::as_str);
        let get = |key: &str| merged.get(key).map(String::as_str);
        Ok(Self {
            client: client.with_properties(uri, &merged)?,
            paths: Paths::new(uri, get("prefix"), get("namespace-separator")),
            storage: Storage::new(&merged)?,
            page_size: get("rest-page-size").map(str::to_owned),
        })
    }
}

impl Session {
    /// New credentials for a table's stores.
    pub(super) async fn vended_credentials(&self, table: &TableIdent) -> Result<Vended> {
        let query = vec![("snapshots", "refs".to_owned())];
        let answer: TableResponse =
            self.client.get(Purpose::Credentials(table), self.paths.table(table)?, query).await?;
        Ok(Vended::new(answer.metadata.location(), answer.config, answer.storage_credentials.as_deref()))
    }
}

/// The service's base address.
pub(super) fn address<'a>(key: &str, settings: &'a CatalogSettings) -> Result<&'a str> {
    let wrong = |message: &str| Error::Settings { setting: format!("catalog.{key}.uri"), message: message.to_owned() };
    let uri = settings.uri.as_deref().ok_or_else(|| wrong("is missing: http://host:port is expected"))?;
    match url::Url::parse(uri) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => Ok(uri),
        _ => Err(wrong("is not an address: http://host:port or https://host is expected")),
    }
}

fn merge(config: ConfigResponse, settings: &HashMap<String, String>) -> HashMap<String, String> {
    let set = |pairs: HashMap<String, Option<String>>| pairs.into_iter().filter_map(|(key, value)| Some((key, value?)));
    let mut merged: HashMap<_, _> = set(config.defaults).collect();
    merged.extend(settings.iter().map(|(key, value)| (key.clone(), value.clone())));
    merged.extend(set(config.overrides));
    merged
}

/// Ways of signing requests that we do not know would otherwise fail with a puzzling refusal.
fn refuse_unsupported(key: &str, properties: &HashMap<String, String>) -> Result<()> {
    let what = || format!("catalog {key}");
    if properties.get("rest.sigv4-enabled").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err(Error::Unsupported {
            what: what(),
            feature: "signing requests with AWS SigV4 (rest.sigv4-enabled)".into(),
        });
    }
    match properties.get("rest.auth.type").or_else(|| properties.get("auth.type")).map(String::as_str) {
        None | Some("none" | "oauth2") => Ok(()),
        Some(other) => Err(Error::Unsupported { what: what(), feature: format!("authorisation of type {other}") }),
    }
}
