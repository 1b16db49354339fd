//! How patient stores are: timeouts and retries that turn an absent endpoint into an error within seconds.

use std::time::Duration;

use object_store::{BackoffConfig, ClientOptions, RetryConfig};

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

/// Whether an endpoint asks for plain HTTP.
pub(super) fn is_plain_http(endpoint: &str) -> bool {
    endpoint.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("http://"))
}
