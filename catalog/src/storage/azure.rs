//! Azure storage from Iceberg's `adls.*` properties.
//!
//! Credentials: a shared access signature (for the account, or for any); else an account key; else a client secret; else
//! a token; else what the environment offers. The account comes from the location's host, else from `adls.account-name`.

use std::collections::HashMap;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::azure::MicrosoftAzureBuilder;

use crate::{Error, Result};

use super::Retries;
use super::http::{self, ClientPool, client_options, is_plain_http};
use super::properties::Properties;
use super::renewal::{AzureSignature, Renewed};

/// The container's store. `host` is the account's host if the location named it.
pub(super) fn open(
    properties: &Properties,
    renewed: Option<&Renewed>,
    clients: &ClientPool,
    retries: Retries,
    container: &str,
    host: Option<&str>,
) -> Result<Arc<dyn ObjectStore>> {
    let account = account(properties, host).ok_or_else(|| Error::Settings {
        setting: "adls.account-name".to_string(),
        message: format!("it is needed for container {container}, whose location names no account"),
    })?;
    let endpoint = endpoint(properties);
    let plain_http = endpoint.is_some_and(is_plain_http);
    let mut builder = credentials(properties, &account, host);
    if let Some(renewed) = renewed.filter(|_| signature(properties, &account, host).is_some()) {
        let (account, host) = (account.clone(), host.map(str::to_string));
        let find =
            move |new: &HashMap<String, String>| signature(&Properties::new(new.clone()), &account, host.as_deref());
        builder = builder.with_credentials(Arc::new(AzureSignature { source: renewed.clone(), find }));
    }
    let mut builder = builder
        .with_account(account)
        .with_container_name(container)
        .with_client_options(client_options(properties, "adls", plain_http, retries)?)
        .with_retry(http::retries(retries))
        .with_http_connector(clients.clone());
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.to_string());
    }
    let store = builder.build().map_err(|error| Error::Settings {
        setting: "adls.*".to_string(),
        message: format!("container {container} cannot be opened: {error}"),
    })?;
    Ok(Arc::new(store))
}

/// The endpoint that tells stores with equal container names apart.
pub(super) fn endpoint(properties: &Properties) -> Option<&str> {
    properties.get(&["adls.endpoint"])
}

/// The account's name: the first label of the host.
pub(super) fn account(properties: &Properties, host: Option<&str>) -> Option<String> {
    let of_host = host.and_then(|host| host.split('.').next()).filter(|name| !name.is_empty());
    let named = || properties.get(&["adls.account-name", "adls.auth.shared-key.account.name"]);
    of_host.or_else(named).map(str::to_string)
}

fn credentials(properties: &Properties, account: &str, host: Option<&str>) -> MicrosoftAzureBuilder {
    let builder = MicrosoftAzureBuilder::new();
    if let Some(signature) = signature(properties, account, host) {
        return builder.with_config(object_store::azure::AzureConfigKey::SasKey, signature);
    }
    if let Some(key) = properties.get(&["adls.account-key", "adls.auth.shared-key.account.key"]) {
        return builder.with_access_key(key);
    }
    let tenant = properties.get(&["adls.tenant-id"]);
    let client = properties.get(&["adls.client-id"]);
    let secret = properties.get(&["adls.client-secret"]);
    if let (Some(tenant), Some(client), Some(secret)) = (tenant, client, secret) {
        let builder = builder.with_client_secret_authorization(client, secret, tenant);
        return match properties.get(&["adls.authority-host"]) {
            Some(authority) => builder.with_authority_host(authority),
            None => builder,
        };
    }
    if let Some(token) = properties.get(&["adls.token"]) {
        return builder.with_bearer_token_authorization(token);
    }
    MicrosoftAzureBuilder::from_env()
}

/// `adls.sas-token.<host>`, `adls.sas-token.<account>` (REST catalogs vend these), or `adls.sas-token`.
fn signature(properties: &Properties, account: &str, host: Option<&str>) -> Option<String> {
    let of_account = properties
        .starting_with("adls.sas-token.")
        .find(|(name, _)| Some(*name) == host || *name == account || name.split('.').next() == Some(account))
        .map(|(_, value)| value);
    of_account.or_else(|| properties.get(&["adls.sas-token"])).map(str::to_string)
}
