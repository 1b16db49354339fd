//! The worker's side: a service that runs tasks for whoever knows the cluster's secret.
//!
//! A worker knows no catalog and keeps nothing but its caches. A task brings its plan, the credentials of its tables and
//! the session's settings.

use std::sync::Arc;
use std::time::Duration;

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::session_state::SessionState;
use datafusion_distributed::{DistributedExt, DistributedTaskContext, Worker, WorkerQueryContext};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::TcpIncoming;
use url::Url;

use super::begun::BegunBytes;
use super::caught::catch_panics;
use super::channels::{CONNECTION_WINDOW_BYTES, Calls, Channels, HEADER_LIST_BYTES_MAX, STREAM_WINDOW_BYTES};
use super::exchange::ExchangeService;
use super::peers::{Directory, Known, PeerService};
use super::secret::Secret;
use super::tasks::{Tasks, WatchTasks};
use super::travelling::{STAGE, TaskIo, Travelling};
use super::wire::Computed;
use crate::functions::interruptible_function;
use crate::io::{CacheMode, PeerPages, QueryIo};
use crate::options::{PolynyaOptions, set_for_session};
use crate::{Engine, trace};

/// The largest plan of a task, in bytes.
const PLAN_BYTES_MAX: usize = 256 << 20;
/// How often a silent coordinator is asked whether it lives, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(2);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Streams that a peer may reset before they were looked at: a query that ends may do so with all of its own.
const RESETS_MAX: usize = 1 << 14;
/// Pages that a worker that ends hands over to its peers: so many bytes, within this time.
const HAND_OVER_BYTES: u64 = 256 << 20;
const HAND_OVER_TIME: Duration = Duration::from_secs(5);

/// What a worker serves, and how it ends.
#[derive(Debug)]
pub struct WorkerService {
    engine: Arc<Engine>,
    secret: Secret,
    channels: Arc<Channels>,
    tasks: Arc<Tasks>,
    directory: Arc<Directory>,
    begun: Arc<BegunBytes>,
}

impl WorkerService {
    /// The service of this engine, for those who know the secret.
    pub fn new(engine: &Arc<Engine>, secret: &Secret) -> Self {
        let channels = Channels::new(secret.clone());
        let directory = Directory::new(Arc::clone(&channels));
        let tasks = Arc::clone(engine.tasks());
        let begun = Arc::default();
        Self { engine: Arc::clone(engine), secret: secret.clone(), channels, tasks, directory, begun }
    }

    /// Serves until `stop`, or until this is dropped. Every call is checked before its body is read. To be called on the
    /// runtime that computes; connections are on another.
    ///
    /// # Errors
    /// If the listener fails.
    pub fn serve(
        &self,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> impl Future<Output = std::io::Result<()>> + Send + use<> {
        let server = tonic::transport::Server::builder()
            .http2_max_header_list_size(HEADER_LIST_BYTES_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keepalive_interval(Some(PING_INTERVAL))
            .http2_keepalive_timeout(Some(PING_TIMEOUT))
            // Each partition of each query is a stream; one that would have to wait for others could wait for itself.
            .max_concurrent_streams(u32::MAX)
            .http2_max_pending_accept_reset_streams(Some(RESETS_MAX))
            .add_routes(self.routes(&Handle::current()));
        let serving = self.channels.wire().spawn(async move {
            // Of the runtime that this is on.
            let incoming = TcpIncoming::from(TcpListener::from_std(listener.into_std()?)?).with_nodelay(Some(true));
            let served = server.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await;
            served.map_err(std::io::Error::other)
        });
        async { serving.await? }
    }

    fn routes(&self, compute: &Handle) -> Routes {
        let sessions = {
            let (engine, channels) = (Arc::clone(&self.engine), Arc::clone(&self.channels));
            let (tasks, directory) = (Arc::clone(&self.tasks), Arc::clone(&self.directory));
            let begun = Arc::clone(&self.begun);
            move |task: WorkerQueryContext| {
                let built = session_of(&engine, &channels, &tasks, &directory, &begun, task);
                async move { built }
            }
        };
        let worker = Worker::from_session_builder(sessions)
            .with_runtime_env(Arc::clone(self.engine.runtime()))
            .with_version(env!("CARGO_PKG_VERSION"));
        let exchange = ExchangeService::new(worker.clone(), PLAN_BYTES_MAX, self.engine.computing(), &self.tasks);
        let exchange = Computed::new(exchange, compute);
        let service =
            worker.into_worker_server().max_decoding_message_size(PLAN_BYTES_MAX).max_encoding_message_size(usize::MAX);
        let watched = WatchTasks { inner: Computed::new(service, compute), tasks: Arc::clone(&self.tasks) };
        let cache = Arc::clone(&self.engine.scan_caches().data.pages.cache);
        let (begun, tasks) = (Arc::clone(&self.begun), Arc::clone(&self.tasks));
        let peers = Computed::new(PeerService::new(cache, begun, tasks, self.directory.instance()), compute);
        let check = |secret: Secret| move |call| secret.check(call);
        Routes::new(InterceptedService::new(watched, check(self.secret.clone())))
            .add_service(InterceptedService::new(exchange, check(self.secret.clone())))
            .add_service(InterceptedService::new(peers, check(self.secret.clone())))
    }

    /// Takes no more tasks, waits for those that run, and leaves pages to the peers.
    pub async fn drain(&self) {
        self.tasks.drain().await;
        let pages = self.engine.scan_caches().data.pages.cache.pages_in_memory(HAND_OVER_BYTES);
        self.directory.hand_over(pages, HAND_OVER_TIME).await;
    }
}

/// The state that one task is run with: as the coordinator's, with the session's settings.
fn session_of(
    engine: &Engine,
    channels: &Arc<Channels>,
    tasks: &Arc<Tasks>,
    directory: &Arc<Directory>,
    begun: &BegunBytes,
    task: WorkerQueryContext,
) -> Result<SessionState, DataFusionError> {
    let WorkerQueryContext { mut builder, headers } = task;
    let travelling = Travelling::from_headers(&headers)?;
    // The configuration is the distributed engine's: it holds which task this is.
    let config = builder.config().get_or_insert_default();
    let stage = headers.get(&STAGE).and_then(|value| value.to_str().ok()?.parse().ok());
    let number = config.get_extension::<DistributedTaskContext>().map(|task| task.task_index);
    let span = trace::task(&travelling.query_id, stage, number);
    if let (Some(context), Some(parent)) = (engine.trace_context(), &travelling.trace) {
        context.adopt(&span, parent);
    }
    tasks.keep(&headers, span);
    let (ours, options) = (engine.base_state().config().options(), config.options_mut());
    options.execution = ours.execution.clone();
    options.optimizer = ours.optimizer.clone();
    options.sql_parser = ours.sql_parser.clone();
    options.extensions.insert(PolynyaOptions::default());
    for (name, value) in &travelling.settings {
        set_for_session(options, name, value)?;
    }
    let chosen = options.extensions.get::<PolynyaOptions>().cloned().unwrap_or_default();
    let peers = (chosen.cache != CacheMode::Off).then(|| -> Arc<dyn PeerPages> {
        let urls: Vec<Url> = travelling.peers.iter().filter_map(|url| Url::parse(url).ok()).collect();
        directory.hears_of(&urls);
        Arc::new(Known { directory: Arc::clone(directory), urls })
    });
    let counter = begun.counter(&travelling.query_id, travelling.attempt);
    let io = QueryIo::of_task(chosen.cache, chosen.limits, engine.prices(), peers, counter);
    begun.watch(&travelling.query_id, travelling.attempt, &io);
    config.set_extension(Arc::new(TaskIo(io)));
    if let Some(number) = Tasks::number(&headers) {
        config.set_extension(Arc::new(number));
    }
    let mut functions: Vec<_> = engine.base_state().scalar_functions().values().cloned().collect();
    functions.push(interruptible_function(tasks.stopped(&headers)));
    let builder = builder
        .with_scalar_functions(functions)
        .with_aggregate_functions(engine.base_state().aggregate_functions().values().cloned().collect())
        .with_window_functions(engine.base_state().window_functions().values().cloned().collect());
    Ok(builder
        .with_distributed_user_codec_arc(engine.scan_codec())
        .with_distributed_worker_plan_rewrite_handler(catch_panics)
        .with_distributed_channel_resolver(Calls {
            channels: Arc::clone(channels),
            attempt: None,
            mark: travelling.mark.clone(),
        })
        .with_distributed_passthrough_headers(travelling.headers()?)?
        .build())
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
