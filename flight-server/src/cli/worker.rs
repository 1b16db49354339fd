//! `polynya worker`: runs tasks for a coordinator.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use polynya_engine::{Engine, WorkerService};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::logging;
use super::serve::{CloseAtEnd, serve_metrics};
use crate::settings::{LogFormat, Overrides, Settings};
use crate::traces::Traces;

/// Where workers listen unless they are told otherwise.
const LISTEN: &str = "127.0.0.1:50061";
/// How long calls that are under way may take to end after the last task did.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(200);

/// What `worker` may be told.
#[derive(Debug, Args)]
#[command(
    after_help = "A worker reads [cache], [memory] and workers.secret of the settings, and of [server] what is about logs, metrics and traces. It needs no catalog: a task brings what it needs."
)]
pub(super) struct Arguments {
    /// The settings file [default: polynya.toml in the current folder, if there].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen.
    #[arg(long, value_name = "HOST:PORT", default_value = LISTEN)]
    listen: String,
    /// The coordinator started this process: settings come from the environment alone, and it drains at a line on standard input, and ends when that does.
    #[arg(long, hide = true)]
    child: bool,
    /// How log lines look [default: text].
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

/// Serves until a signal ends it.
pub(super) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let overrides = Overrides { log_format: arguments.log_format, ..Overrides::default() };
    let mut settings = match arguments.child {
        true => Settings::of_environment(&overrides)?,
        false => Settings::load(arguments.config.as_deref(), &overrides)?,
    };
    // The log of a child is its parent's.
    let level = if arguments.child { "warn" } else { "info" };
    // Dropped last: it sends what is left.
    let traces = Traces::start(&settings.server, "worker")?;
    logging::start(settings.server.log_format, level, traces.as_ref());
    let secret = settings.engine.workers.secret.clone();
    if !secret.is_strong() {
        bail!(
            "a worker runs plans only for those who know its secret: set workers.secret \
             (or POLYNYA__WORKERS__SECRET) to the same text of 16 characters or more as the coordinator's"
        );
    }
    settings.engine.catalog.clear();
    (settings.engine.default_catalog, settings.engine.default_schema) = (None, None);
    settings.engine.workers = Default::default();
    if let Some(traces) = &traces {
        traces.link(&mut settings.engine);
    }
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;

    let engine = Engine::start(settings.engine).await.context("the worker could not be started")?;
    let _closed = CloseAtEnd(Arc::clone(&engine));
    let listener =
        TcpListener::bind(&arguments.listen).await.with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let address = listener.local_addr().context("the listener has no address")?;
    let _metrics = serve_metrics(&engine, &settings.server).await?;
    let stop = CancellationToken::new();
    let service = WorkerService::new(&engine, &secret);
    let serving = tokio::spawn(service.serve(listener, stop.clone()));
    println!("polynya worker {} is ready on http://{address}/", env!("CARGO_PKG_VERSION"));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        said = parent_says(), if arguments.child => if said == Said::Gone {
            return Ok(ExitCode::SUCCESS);
        },
    }
    tracing::info!("asked to stop: running tasks end first");
    tokio::select! {
        drained = tokio::time::timeout(settings.server.drain_timeout, service.drain()) => if drained.is_err() {
            tracing::warn!("the deadline (setting server.drain_timeout) passed while tasks ran");
        },
        () = parent_gone(), if arguments.child => return Ok(ExitCode::SUCCESS),
        // Whoever asks twice means now.
        _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
    }
    stop.cancel();
    // Connections that nobody uses stay open on the other side; they are not waited for.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, serving).await;
    Ok(ExitCode::SUCCESS)
}

/// What the coordinator that started this process says on standard input.
#[derive(PartialEq, Eq)]
enum Said {
    Drain,
    Gone,
}

async fn parent_says() -> Said {
    match tokio::io::stdin().read(&mut [0]).await {
        Ok(1..) => Said::Drain,
        _ => Said::Gone,
    }
}

async fn parent_gone() {
    while parent_says().await == Said::Drain {}
}
