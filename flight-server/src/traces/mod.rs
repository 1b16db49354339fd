//! Traces: the engine's spans, sent to a collector over OTLP, of coordinator and workers alike.
//!
//! In: `server.otlp_endpoint`. Out: a layer for the log's subscriber, and what the engine needs so that spans of several
//! processes make one trace. Only spans of the engine are sent: no event, and nothing of the libraries below. Whoever ends
//! a span never waits: what a queue does not hold, and what the collector does not take, is dropped.

mod exporter;
mod propagation;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;
use url::Url;

use self::exporter::Exporter;
use self::propagation::W3c;
use crate::ServerSettings;

/// How long an ended span waits for others to be sent with. Short, so that little is lost with a process that is killed.
const SEND_INTERVAL: Duration = Duration::from_secs(1);
/// How long the end of the process waits for the last spans to be sent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// What the spans' origins begin with.
const OURS: &str = "polynya_engine";
/// Their level.
const LEVEL: LevelFilter = LevelFilter::DEBUG;
/// `server.otlp_endpoint` in the environment of workers.
const ENDPOINT_VARIABLE: &str = "POLYNYA__SERVER__OTLP_ENDPOINT";

/// Sends spans for as long as it lives. What is left when it is dropped is sent then, within two seconds.
#[derive(Debug)]
pub(crate) struct Traces {
    endpoint: Url,
    provider: SdkTracerProvider,
}

impl Traces {
    /// Begins for a process that is a `coordinator` or a `worker`. `None` if the settings name no endpoint. Needs a runtime.
    ///
    /// # Errors
    /// If calls to the endpoint cannot be made: it is no address, or TLS finds no certificates to trust.
    pub(crate) fn start(settings: &ServerSettings, role: &'static str) -> anyhow::Result<Option<Self>> {
        let Some(endpoint) = settings.otlp_endpoint.clone() else { return Ok(None) };
        let exporter = Exporter::new(&endpoint)?;
        let batches = BatchConfigBuilder::default().with_scheduled_delay(SEND_INTERVAL).build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let resource = Resource::builder()
            .with_service_name("polynya")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("polynya.role", role))
            .with_attribute(KeyValue::new("process.pid", i64::from(std::process::id())))
            .build();
        // A worker does as the coordinator did for this query.
        let share = Sampler::TraceIdRatioBased(settings.otlp_sample_ratio);
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(Sampler::ParentBased(Box::new(share)))
            .with_span_processor(processor)
            .build();
        Ok(Some(Self { endpoint, provider }))
    }

    /// What gives the spans of a subscriber to this.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let ours = filter_fn(|metadata| {
            metadata.is_span() && *metadata.level() <= LEVEL && metadata.target().starts_with(OURS)
        });
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("polynya"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_context_activation(false)
            .with_filter(ours.with_max_level_hint(LEVEL))
    }

    /// Lets the engine's spans continue in workers, and its own workers send theirs to the same endpoint.
    pub(crate) fn link(&self, engine: &mut polynya_engine::Settings) {
        engine.trace = Some(Arc::new(W3c::default()));
        engine.workers.environment.push((ENDPOINT_VARIABLE.to_owned(), self.endpoint.to_string()));
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // What cannot be sent in time is lost; the exporter has said so.
        let _ = self.provider.shutdown_with_timeout(FLUSH_TIMEOUT);
    }
}
