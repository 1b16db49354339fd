//! `/metrics`: what Prometheus scrapes, of a coordinator or a worker.
//!
//! Everything is read from the engine when it is asked for. Names follow Prometheus' conventions: a unit as suffix, counters
//! end in `_total`. There is no label by user, tenant or query: they would be without number (`system.queries` has them).

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use polynya_engine::{Engine, EngineCounts};
use prometheus::{Encoder, Gauge, GaugeVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;

/// Serves until it is dropped.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl MetricsServer {
    /// Listens on an address such as `127.0.0.1:9464`.
    ///
    /// # Errors
    /// If it cannot be listened on.
    pub async fn bind(engine: Arc<Engine>, listen: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let router = Router::new().route("/metrics", get(scrape)).with_state(engine);
        let serving = tonic::transport::Server::builder()
            .accept_http1(true)
            .add_routes(Routes::from(router))
            .serve_with_incoming(TcpIncoming::from(listener));
        let serving = tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "metrics are not served any more");
            }
        });
        Ok(Self { address, serving })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn scrape(State(engine): State<Arc<Engine>>) -> impl IntoResponse {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    let written = registry(&engine.counts().await).and_then(|registry| encoder.encode(&registry.gather(), &mut text));
    match written {
        Ok(()) => (StatusCode::OK, [(header::CONTENT_TYPE, encoder.format_type().to_owned())], text),
        Err(error) => {
            let text = error.to_string().into_bytes();
            (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain".to_owned())], text)
        }
    }
}

/// One moment's numbers.
fn registry(counts: &EngineCounts) -> prometheus::Result<Registry> {
    let registry = Registry::new();
    let number = |name: &str, help: &str, value: f64| -> prometheus::Result<()> {
        let gauge = Gauge::new(name, help)?;
        gauge.set(value);
        registry.register(Box::new(gauge))
    };
    let total = |name: &str, help: &str, value: u64| -> prometheus::Result<()> {
        let counter = IntCounter::new(name, help)?;
        counter.inc_by(value);
        registry.register(Box::new(counter))
    };
    let by = |name: &str, help: &str, label: &str, values: Vec<(&str, f64)>| -> prometheus::Result<()> {
        let gauges = GaugeVec::new(Opts::new(name, help), &[label])?;
        for (of, value) in values {
            gauges.with_label_values(&[of]).set(value);
        }
        registry.register(Box::new(gauges))
    };
    let totals_by = |name: &str, help: &str, label: &str, values: Vec<(&str, u64)>| -> prometheus::Result<()> {
        let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
        for (of, value) in values {
            counters.with_label_values(&[of]).inc_by(value);
        }
        registry.register(Box::new(counters))
    };
    let under_way = counts.queries_under_way.iter().map(|(state, count)| (*state, *count as f64)).collect();
    by("polynya_queries", "Queries that have not ended, by state.", "state", under_way)?;
    let ended = counts.queries_ended.iter().map(|(state, count)| (*state, *count)).collect();
    totals_by("polynya_queries_ended_total", "Queries that ended, by state.", "state", ended)?;
    total("polynya_store_requests_total", "Requests to object stores for ended queries.", counts.requests)?;
    total("polynya_store_read_bytes_total", "Bytes read from object stores for ended queries.", counts.bytes_read)?;
    number("polynya_store_cost_usd", "What ended queries' requests cost, by the server's prices.", counts.cost_usd)?;
    number("polynya_memory_used_bytes", "Memory that running queries have reserved.", counts.memory_used_bytes as f64)?;
    number("polynya_memory_limit_bytes", "Memory that they may reserve.", counts.memory_limit_bytes as f64)?;
    let tiers = |value: fn(&polynya_engine::TierStats) -> u64| -> Vec<(&str, u64)> {
        counts.cache.iter().map(|tier| (tier.tier, value(tier))).collect()
    };
    let now = |value| tiers(value).into_iter().map(|(tier, value)| (tier, value as f64)).collect::<Vec<_>>();
    by("polynya_cache_bytes", "Bytes that a tier of the cache holds.", "tier", now(|tier| tier.bytes))?;
    by("polynya_cache_limit_bytes", "Bytes that it may hold.", "tier", now(|tier| tier.limit_bytes))?;
    totals_by("polynya_cache_hits_total", "Pages that a tier answered.", "tier", tiers(|tier| tier.hits))?;
    totals_by("polynya_cache_misses_total", "Pages that it did not have.", "tier", tiers(|tier| tier.misses))?;
    totals_by(
        "polynya_cache_evictions_total",
        "Pages that left for lack of room.",
        "tier",
        tiers(|tier| tier.evictions),
    )?;
    let workers = counts.workers.iter().map(|(state, count)| (*state, *count as f64)).collect();
    by("polynya_workers", "Workers that run, by state.", "state", workers)?;
    total("polynya_workers_lost_total", "Workers that were lost while a query ran.", counts.workers_lost)?;
    number("polynya_tasks", "Tasks that this worker runs.", counts.tasks as f64)?;
    Ok(registry)
}
