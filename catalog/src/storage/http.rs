//! How stores speak HTTP: timeouts and retries that turn an absent endpoint into an error within seconds, and connections
//! that outlive the stores that opened them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::client::{HttpClient, HttpConnector, ReqwestConnector};
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, RetryConfig};
use parking_lot::Mutex;

use crate::Result;

use super::properties::Properties;

/// Time to connect, in seconds, unless `s3.connect-timeout` (or `gcs.`, `adls.`) says otherwise.
const CONNECT_TIMEOUT_SECONDS: f64 = 5.0;
/// Time for one request and its answer, in seconds, unless `s3.request-timeout` says otherwise.
const REQUEST_TIMEOUT_SECONDS: f64 = 30.0;

/// Client options from `<prefix>.connect-timeout` and `<prefix>.request-timeout`, in seconds as PyIceberg reads them.
pub(super) fn client_options(properties: &Properties, prefix: &str, allow_http: bool) -> Result<ClientOptions> {
    let connect = properties.seconds(&format!("{prefix}.connect-timeout"))?.unwrap_or(CONNECT_TIMEOUT_SECONDS);
    let request = properties.seconds(&format!("{prefix}.request-timeout"))?.unwrap_or(REQUEST_TIMEOUT_SECONDS);
    Ok(ClientOptions::new()
        .with_allow_http(allow_http)
        .with_connect_timeout(Duration::from_secs_f64(connect))
        .with_timeout(Duration::from_secs_f64(request))
        .with_pool_idle_timeout(Duration::from_secs(60)))
}

/// Few retries: for answers that say "slow down" and for connections that drop, not for services that are gone.
pub(super) fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: 4,
        retry_timeout: Duration::from_secs(8),
    }
}

/// No retries at all: the caller retries, hedges and counts for itself.
pub(super) fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, retry_timeout: Duration::ZERO, ..retries() }
}

/// Whether an endpoint asks for plain HTTP.
pub(super) fn is_plain_http(endpoint: &str) -> bool {
    endpoint.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("http://"))
}

/// HTTP clients by what sets them apart, each with its pool of connections.
///
/// Tables with vended credentials have stores of their own; without this, each would begin with new connections.
#[derive(Debug, Clone, Default)]
pub(super) struct ClientPool {
    clients: Arc<Mutex<HashMap<[Option<String>; 3], HttpClient>>>,
}

impl HttpConnector for ClientPool {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // All that `client_options` sets per store, and `object_store` changes for credential endpoints.
        let key = [ClientConfigKey::AllowHttp, ClientConfigKey::ConnectTimeout, ClientConfigKey::Timeout];
        let key = key.map(|key| options.get_config_value(&key));
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = ReqwestConnector::default().connect(options)?;
        clients.insert(key, client.clone());
        Ok(client)
    }
}
