//! How stores speak HTTP: timeouts and retries that turn an absent endpoint into an error within seconds, and connections
//! that outlive the stores that opened them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::client::{HttpClient, HttpConnector, ReqwestConnector};
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, RetryConfig};
use parking_lot::Mutex;

use crate::Result;

use super::Retries;
use super::head::TellsHeads;
use super::properties::Properties;

/// Time to connect, in seconds, unless `s3.connect-timeout` (or `gcs.`, `adls.`) says otherwise.
const CONNECT_TIMEOUT_SECONDS: f64 = 5.0;
/// Time for a request that writes and its answer, in seconds, unless `s3.request-timeout` says otherwise.
const REQUEST_TIMEOUT_SECONDS: f64 = 30.0;

/// Client options from `<prefix>.connect-timeout` and `<prefix>.request-timeout`, in seconds as PyIceberg reads them. Reads may
/// take as long as something comes, so they have no limit here: see [`super::read`].
pub(super) fn client_options(
    properties: &Properties,
    prefix: &str,
    allow_http: bool,
    retries: Retries,
) -> Result<ClientOptions> {
    let connect = properties.seconds(&format!("{prefix}.connect-timeout"))?.unwrap_or(CONNECT_TIMEOUT_SECONDS);
    let request = properties.seconds(&format!("{prefix}.request-timeout"))?.unwrap_or(REQUEST_TIMEOUT_SECONDS);
    let options = ClientOptions::new()
        .with_allow_http(allow_http)
        .with_connect_timeout(Duration::from_secs_f64(connect))
        .with_pool_idle_timeout(Duration::from_secs(60));
    Ok(match retries {
        Retries::Inside => options.with_timeout(Duration::from_secs_f64(request)),
        Retries::Outside => options.with_timeout_disabled(),
    })
}

/// How often `object_store` tries again.
pub(super) fn retries(retries: Retries) -> RetryConfig {
    let (max_retries, retry_timeout) = match retries {
        // Few: for answers that say "slow down" and for connections that drop, not for services that are gone.
        Retries::Inside => (4, Duration::from_secs(8)),
        Retries::Outside => (0, Duration::ZERO),
    };
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(2), base: 2.0 };
    RetryConfig { backoff, max_retries, retry_timeout }
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
        let client = HttpClient::new(TellsHeads(ReqwestConnector::default().connect(options)?));
        clients.insert(key, client.clone());
        Ok(client)
    }
}
