//! Logs on standard error, as text or JSON, chosen by `RUST_LOG`; and spans to a collector, chosen by the settings.

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, registry};

use crate::settings::LogFormat;
use crate::traces::Traces;

/// Begins logging; `default` is the filter where `RUST_LOG` gives none. A second call changes nothing.
pub(super) fn start(format: LogFormat, default: &str, traces: Option<&Traces>) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => Box::new(lines.with_target(false)),
        LogFormat::Json => Box::new(lines.json().flatten_event(true)),
    };
    // An error means that somebody, such as a test, logs already.
    let _ = match traces {
        None => registry().with(lines).with(filter).try_init(),
        // What the log leaves out may be a span that is sent: the filter is the log's alone.
        Some(traces) => registry().with(lines.with_filter(filter)).with(traces.layer()).try_init(),
    };
}
