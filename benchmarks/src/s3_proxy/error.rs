//! Why a proxy does not start, or refuses its settings.

use std::net::SocketAddr;

/// The result of starting or changing a proxy.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a proxy does not start, or refuses its settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A rate is not a probability.
    #[error("{name} is {rate}: a rate is a number from 0 to 1")]
    Rate {
        /// The setting.
        name: &'static str,
        /// Its value.
        rate: f64,
    },
    /// A request can meet one fault only, so their rates share 1.
    #[error("the fault rates sum up to {sum}: a request meets at most one fault, so they may sum up to 1")]
    RateSum {
        /// The sum of all rates.
        sum: f64,
    },
    /// The jitter would make the latency negative.
    #[error("latency_jitter_ms is {jitter_ms}, more than latency_ms, which is {latency_ms}")]
    Jitter {
        /// The latency's spread to either side.
        jitter_ms: u64,
        /// The latency.
        latency_ms: u64,
    },
    /// The upstream's URL is not one that the proxy can speak to.
    #[error("{url} is not an upstream: {reason} (example: http://127.0.0.1:8333)")]
    Upstream {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The address to listen on is not to be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A change of the settings is not JSON of their shape.
    #[error("these are not settings of the proxy")]
    Json(
        /// What is wrong with it.
        #[source]
        serde_json::Error,
    ),
}
