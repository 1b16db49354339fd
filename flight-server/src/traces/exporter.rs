//! Batches of spans to a collector, by OTLP's gRPC call (opentelemetry.io/docs/specs/otlp).
//!
//! A batch is sent once: what a collector does not take is dropped. The log says when that begins and when it is over.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// See the module. Its calls are made by the thread of a batch processor.
#[derive(Debug)]
pub(super) struct Exporter {
    endpoint: Url,
    client: TraceServiceClient<Channel>,
    resource: ResourceAttributesWithSchema,
    failing: AtomicBool,
}

impl Exporter {
    /// Connects with the first batch, not now.
    ///
    /// # Errors
    /// If the endpoint is no address, or TLS finds no certificates to trust.
    pub(super) fn new(endpoint: &Url) -> anyhow::Result<Self> {
        let wrong = || format!("{endpoint} cannot be called (setting server.otlp_endpoint)");
        let mut address = Endpoint::from_shared(endpoint.to_string())
            .with_context(wrong)?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT);
        if endpoint.scheme() == "https" {
            address = address.tls_config(ClientTlsConfig::new().with_enabled_roots()).with_context(wrong)?;
        }
        Ok(Self {
            endpoint: endpoint.clone(),
            client: TraceServiceClient::new(address.connect_lazy()),
            resource: ResourceAttributesWithSchema::default(),
            failing: AtomicBool::new(false),
        })
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let answer = self.client.clone().export(ExportTraceServiceRequest { resource_spans }).await;
        let Err(status) = answer else {
            if self.failing.swap(false, Relaxed) {
                tracing::info!(endpoint = %self.endpoint, "spans are sent again");
            }
            return Ok(());
        };
        if !self.failing.swap(true, Relaxed) {
            tracing::warn!(
                endpoint = %self.endpoint,
                error = status.message(),
                "spans cannot be sent (setting server.otlp_endpoint): they are dropped until they can"
            );
        }
        Err(OTelSdkError::InternalFailure(status.message().to_owned()))
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}
