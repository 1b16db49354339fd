//! Google Cloud Storage from Iceberg's `gcs.*` properties.
//!
//! Credentials: `gcs.oauth2.token`; else `gcs.credentials-json`; else none if `gcs.no-auth`; else what the environment
//! offers (a service account file, application default credentials, the metadata server).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use object_store::{ObjectStore, StaticCredentialProvider};

use crate::{Error, Result};

use super::Retries;
use super::http::{self, ClientPool, client_options, is_plain_http};
use super::properties::Properties;
use super::renewal::{GcsCredentials, Renewed};

/// The bucket's store.
pub(super) fn open(
    properties: &Properties,
    renewed: Option<&Renewed>,
    clients: &ClientPool,
    retries: Retries,
    bucket: &str,
) -> Result<Arc<dyn ObjectStore>> {
    let endpoint = endpoint(properties);
    let plain_http = endpoint.is_some_and(is_plain_http);
    let mut builder = credentials(properties)?
        .with_bucket_name(bucket)
        .with_client_options(client_options(properties, "gcs", plain_http, retries)?)
        .with_retry(http::retries(retries))
        .with_http_connector(clients.clone());
    if let Some(renewed) = renewed.filter(|_| properties.get(&["gcs.oauth2.token"]).is_some()) {
        builder = builder.with_credentials(Arc::new(GcsCredentials(renewed.clone())));
    }
    if let Some(endpoint) = endpoint {
        builder = builder.with_base_url(endpoint.trim_end_matches('/'));
    }
    let store = builder.build().map_err(|error| Error::Settings {
        setting: "gcs.*".to_string(),
        message: format!("bucket {bucket} cannot be opened: {error}"),
    })?;
    Ok(Arc::new(store))
}

/// The endpoint that tells stores with equal bucket names apart.
pub(super) fn endpoint(properties: &Properties) -> Option<&str> {
    properties.get(&["gcs.service.host", "gcs.service.path"])
}

fn credentials(properties: &Properties) -> Result<GoogleCloudStorageBuilder> {
    if let Some(token) = properties.get(&["gcs.oauth2.token", "gcs.oauth.token"]) {
        let credential = GcpCredential { bearer: token.to_string() };
        return Ok(
            GoogleCloudStorageBuilder::new().with_credentials(Arc::new(StaticCredentialProvider::new(credential)))
        );
    }
    if let Some(json) = properties.get(&["gcs.credentials-json"]) {
        return Ok(GoogleCloudStorageBuilder::new().with_service_account_key(service_account(json)?));
    }
    if properties.flag(&["gcs.no-auth", "gcs.allow-anonymous"])?.unwrap_or(false) {
        return Ok(GoogleCloudStorageBuilder::new().with_skip_signature(true));
    }
    Ok(GoogleCloudStorageBuilder::from_env())
}

/// The key file's JSON, given as it is or in base64.
fn service_account(value: &str) -> Result<String> {
    if value.trim_start().starts_with('{') {
        return Ok(value.to_string());
    }
    let decoded = STANDARD.decode(value.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.ok_or_else(|| Error::Settings {
        setting: "gcs.credentials-json".to_string(),
        message: "it is neither JSON nor base64 of JSON".to_string(),
    })
}
