//! Spans between processes, as `traceparent` of the W3C's Trace Context (w3.org/TR/trace-context).

use std::collections::HashMap;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use polynya_engine::TraceContext;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

const TRACEPARENT: &str = "traceparent";

/// See the module. Knows the spans of the subscriber that [`super::Traces`] is a layer of.
#[derive(Debug, Default)]
pub(super) struct W3c(TraceContextPropagator);

impl TraceContext for W3c {
    fn traceparent(&self, span: &Span) -> Option<String> {
        let mut headers = HashMap::<String, String>::new();
        self.0.inject_context(&span.context(), &mut headers);
        headers.remove(TRACEPARENT)
    }

    fn adopt(&self, span: &Span, traceparent: &str) {
        let headers = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
        // A span that is not exported has no parent to be given.
        let _ = span.set_parent(self.0.extract(&headers));
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn an_adopted_span_belongs_to_the_trace_of_its_parent() {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let w3c = W3c::default();
            let attempt = w3c.traceparent(&tracing::debug_span!(parent: None, "attempt")).unwrap();
            let task = tracing::debug_span!(parent: None, "task");
            w3c.adopt(&task, &attempt);
            let task = w3c.traceparent(&task).unwrap();
            let parts = |text: &str| text.split('-').map(str::to_owned).collect::<Vec<_>>();
            let (attempt, task) = (parts(&attempt), parts(&task));
            assert_eq!(attempt[1], task[1], "the trace");
            assert_ne!(attempt[2], task[2], "the span");

            let alone = tracing::debug_span!(parent: None, "alone");
            w3c.adopt(&alone, "no such thing");
            assert_ne!(parts(&w3c.traceparent(&alone).unwrap())[1], attempt[1]);
        });
    }

    #[test]
    fn without_an_exporter_spans_have_no_names() {
        tracing::subscriber::with_default(tracing_subscriber::registry(), || {
            let w3c = W3c::default();
            let span = tracing::debug_span!("query");
            w3c.adopt(&span, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
            assert_eq!(w3c.traceparent(&span), None);
        });
    }
}
