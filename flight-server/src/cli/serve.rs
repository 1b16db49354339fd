//! `polynya serve`: from settings to a server, and from a signal to a clean end.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use polynya_engine::Engine;
use tokio::signal::unix::{SignalKind, signal};

use super::logging;
use crate::settings::{DEFAULT_FILE, LogFormat, Overrides, Settings};
use crate::traces::Traces;
use crate::{MetricsServer, Server, ServerSettings};

/// What `serve` may be told.
#[derive(Debug, Args)]
#[command(
    after_help = "Settings are read from flags, the environment (POLYNYA__SERVER__LISTEN), the file, in this order.\n\
                        The log's level and filter come from RUST_LOG, such as RUST_LOG=debug."
)]
pub(super) struct Arguments {
    /// The settings file [default: polynya.toml in the current folder, if there].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:50051].
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Listen on more than loopback although nobody is asked for a password, or passwords are not encrypted.
    #[arg(long)]
    allow_insecure: bool,
    /// How log lines look [default: text].
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

/// Serves until a signal ends it.
pub(super) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let overrides = Overrides {
        listen: arguments.listen,
        allow_insecure: arguments.allow_insecure.then_some(true),
        log_format: arguments.log_format,
    };
    let mut settings = Settings::load(arguments.config.as_deref(), &overrides)?;
    // Dropped last: it sends what is left.
    let traces = Traces::start(&settings.server, "coordinator")?;
    logging::start(settings.server.log_format, "info", traces.as_ref());
    if let Some(traces) = &traces {
        traces.link(&mut settings.engine);
    }
    if settings.engine.catalog.is_empty() {
        anyhow::bail!(no_catalog(arguments.config.as_deref()));
    }
    // Signals are taken from here on, so that one that comes during a slow start is not lost.
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;

    let engine = tokio::select! {
        engine = Engine::start(settings.engine.clone()) => engine.context("the engine could not be started")?,
        _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
        _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
    };
    let _closed = CloseAtEnd(Arc::clone(&engine));
    let catalogs = engine.catalog_names().join(", ");
    let _metrics = serve_metrics(&engine, &settings.server).await?;
    let mut server = Server::bind(engine, &settings.server).await?;
    println!(
        "polynya {} is ready on {} (catalogs: {catalogs}; {})",
        env!("CARGO_PKG_VERSION"),
        server.url(),
        server.access(),
    );
    let name = tokio::select! {
        error = server.failed() => return Err(error.into()),
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal = name, "asked to stop");
    tokio::select! {
        cut_off = server.drain() => if cut_off > 0 {
            tracing::warn!(cut_off, "the deadline (setting server.drain_timeout) passed while statements ran");
        },
        // Whoever asks twice means now.
        _ = interrupt.recv() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Closes the engine when the command ends, however it does.
pub(super) struct CloseAtEnd(pub(super) Arc<Engine>);

impl Drop for CloseAtEnd {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Serves metrics, if the settings say where.
pub(super) async fn serve_metrics(engine: &Arc<Engine>, settings: &ServerSettings) -> Result<Option<MetricsServer>> {
    let Some(listen) = &settings.metrics_listen else { return Ok(None) };
    let metrics = MetricsServer::bind(Arc::clone(engine), listen).await;
    let metrics = metrics.with_context(|| format!("cannot listen on {listen} (setting server.metrics_listen)"))?;
    tracing::info!("metrics are on http://{}/metrics", metrics.address());
    Ok(Some(metrics))
}

/// What to do when no catalog is configured.
fn no_catalog(file: Option<&std::path::Path>) -> String {
    let file = file.map_or(DEFAULT_FILE.to_owned(), |file| file.display().to_string());
    format!(
        "no catalog is configured, so there is nothing to query. Write one into {file}, for example\n\n\
         [catalog.lake]\n\
         type = \"sql\"\n\
         uri = \"sqlite:///path/to/catalog.db\"\n\
         warehouse = \"file:///path/to/warehouse\"\n\n\
         or one that speaks Iceberg's REST protocol\n\n\
         [catalog.lake]\n\
         type = \"rest\"\n\
         uri = \"http://127.0.0.1:8181\"\n\
         warehouse = \"s3://bucket\"\n\
         \"s3.endpoint\" = \"http://127.0.0.1:9000\"\n\n\
         or run `polynya demo`, which makes tables to play with."
    )
}
