//! Calls to workers: authenticated, watched, and marked when the worker is lost.
//!
//! A worker that is gone resets its connections; one that hangs answers no HTTP/2 ping: either way a call ends within
//! seconds. What the distributed engine leaves open is closed here: a plan that cannot be sent fails at once, a plan that
//! is not accepted in time is a lost worker, and the end of a query does not depend on workers that have given all rows.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion_distributed::{
    ChannelResolver, CoordinatorToWorkerMsg, ExecuteTaskRequest, GetWorkerInfoRequest, GetWorkerInfoResponse,
    MaybeEncoded, SetPlanRequest, WorkerChannel, WorkerToCoordinatorMsg, grpc,
};
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{HeaderMap, HeaderValue};
use moka::sync::Cache;
use tonic::transport::{Channel, Endpoint};
use tower::ServiceBuilder;
use url::Url;

use super::attempt::{Attempt, DRAINING};
use super::exchange::{Lost, take, told_by};
use super::marks::Mark;
use super::provisioner::{Loss, Unfit};
use super::secret::{REFUSAL, Secret};
use super::travelling::STAGE;
use super::wire::Wire;
use crate::panics;

/// A connection that nobody used for so long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a worker may take to decode a plan. One that hangs is known before, by its pings: this is for one that computes
/// on all threads and for ever.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a connection with calls on it is asked whether the other side lives, and how long that may take.
const PING_INTERVAL: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the end of a query waits for the counts of a worker.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);
/// Flow-control windows of both sides, in bytes. The connection's is as wide as can be: streams that nobody reads must not stop
/// the others, and each partition that is on its way is one.
pub(super) const STREAM_WINDOW_BYTES: u32 = 512 << 10;
pub(super) const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;
/// Errors travel in trailers.
pub(super) const HEADER_LIST_BYTES_MAX: u32 = 1 << 20;

/// The open connections of this process to workers.
#[derive(Debug)]
pub(crate) struct Channels {
    secret: Secret,
    open: Cache<Url, Channel>,
    wire: Wire,
}

impl Channels {
    pub(crate) fn new(secret: Secret) -> Arc<Self> {
        Arc::new(Self { secret, open: Cache::builder().time_to_idle(IDLE_TIMEOUT).build(), wire: Wire::start() })
    }

    /// The threads that connections are on.
    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Forgets the connection to a worker that was lost.
    pub(crate) fn forget(&self, url: &Url) {
        self.open.invalidate(url);
    }

    /// The connection to a worker; each call on it shows the secret.
    pub(super) fn signed(&self, url: &Url) -> Result<grpc::BoxCloneSyncChannel> {
        let channel = match self.open.get(url) {
            Some(open) => open,
            None => {
                let opened = open(url, &self.wire)?;
                self.open.insert(url.clone(), opened.clone());
                opened
            }
        };
        let secret = self.secret.clone();
        let signed = ServiceBuilder::new().map_request(move |call| secret.sign(call)).service(channel);
        Ok(grpc::BoxCloneSyncChannel::new(signed))
    }

    fn client(&self, url: &Url) -> Result<Box<dyn WorkerChannel>> {
        Ok(grpc::create_worker_client(self.signed(url)?))
    }

    /// Asks a worker whether it is there.
    pub(crate) async fn answers(&self, url: &Url, within: Duration) -> bool {
        self.presence(url, within).await == Presence::Ready
    }

    /// Asks what is there where a worker should be.
    pub(super) async fn presence(&self, url: &Url, within: Duration) -> Presence {
        let Ok(mut client) = self.client(url) else { return Presence::Silent };
        match tokio::time::timeout(within, client.get_worker_info(GetWorkerInfoRequest {})).await {
            Ok(Ok(_)) => Presence::Ready,
            Ok(Err(error)) => status_of(&error).and_then(unfit).map_or(Presence::Silent, Presence::Unfit),
            Err(_) => Presence::Silent,
        }
    }
}

/// What is there where a worker should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Ready,
    /// It does not answer.
    Silent,
    Unfit(Unfit),
}

fn open(url: &Url, wire: &Wire) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_string())
        .map_err(|error| DataFusionError::Configuration(format!("{url} is no address of a worker: {error}")))?;
    Ok(endpoint
        .executor(wire.clone())
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .http2_max_header_list_size(HEADER_LIST_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .connect_lazy())
}

/// Calls for one attempt of the coordinator, or of a worker that reads from others.
pub(crate) struct Calls {
    pub(crate) channels: Arc<Channels>,
    pub(crate) attempt: Option<Arc<Attempt>>,
    /// How losses are told.
    pub(crate) mark: Mark,
}

#[async_trait]
impl ChannelResolver for Calls {
    async fn get_worker_client_for_url(&self, url: &Url) -> Result<Box<dyn WorkerChannel>> {
        let channel = self.channels.signed(url)?;
        Ok(Box::new(Watched {
            inner: grpc::create_worker_client(channel.clone()),
            channel,
            wire: self.channels.wire().clone(),
            url: url.clone(),
            attempt: self.attempt.clone(),
            mark: self.mark.clone(),
        }))
    }
}

/// One worker, as an attempt calls it.
struct Watched {
    /// Brings tasks. Their rows come by [`super::exchange`].
    inner: Box<dyn WorkerChannel>,
    channel: grpc::BoxCloneSyncChannel,
    wire: Wire,
    url: Url,
    attempt: Option<Arc<Attempt>>,
    mark: Mark,
}

#[async_trait]
impl WorkerChannel for Watched {
    async fn coordinator_channel(
        &mut self,
        mut headers: HeaderMap,
        mut plan: SetPlanRequest,
        to_worker: BoxStream<'static, CoordinatorToWorkerMsg>,
        metrics: ExecutionPlanMetricsSet,
        task: &Arc<TaskContext>,
    ) -> Result<BoxStream<'static, Result<WorkerToCoordinatorMsg>>> {
        let fail = |error: DataFusionError| {
            if let Some(attempt) = &self.attempt {
                attempt.fail(&error);
            }
            error
        };
        // A panic would be noticed only when the worker has waited for the plan in vain.
        let encoded = std::panic::catch_unwind(AssertUnwindSafe(|| plan.plan.encode(task)));
        let encoded = encoded.unwrap_or_else(|panic| {
            Err(panics::broken_off(panics::logged("the encoding of a plan", panic.as_ref())).into())
        });
        plan.plan = MaybeEncoded::Encoded(encoded.map_err(|error| fail(self.mark.unsendable(&error)))?);
        let key = plan.task_key;
        headers.insert(STAGE, HeaderValue::from(key.stage_id));
        let over = Arc::new(AtomicBool::new(false));
        let to_worker = then_set(to_worker, Arc::clone(&over));
        let accepted = self.inner.coordinator_channel(headers, plan, to_worker, metrics, task);
        let answers = match tokio::time::timeout(ACCEPT_TIMEOUT, accepted).await {
            Ok(answers) => answers.map_err(|error| fail(told(&self.mark, &self.url, error)))?,
            Err(_) => {
                return Err(fail(self.mark.lost(&self.url, Loss::Silent, "it did not accept a plan in time")));
            }
        };
        let begun = |attempt: Arc<Attempt>| {
            let tasks = attempt.query.tasks();
            let record = tasks.begin(attempt.number, key.stage_id, key.task_number, self.url.as_str());
            Observed { attempt, record }
        };
        Ok(watch(answers, over, (self.mark.clone(), self.url.clone()), self.attempt.clone().map(begun)))
    }

    async fn execute_task(
        &mut self,
        _headers: HeaderMap,
        request: ExecuteTaskRequest,
        metrics: ExecutionPlanMetricsSet,
        task: &Arc<TaskContext>,
    ) -> Result<Vec<BoxStream<'static, Result<RecordBatch>>>> {
        let (mark, url) = (self.mark.clone(), self.url.clone());
        let lost: Lost = Arc::new(move |status| told(&mark, &url, DataFusionError::External(Box::new(status))));
        take(&self.channel, &self.wire, request, &metrics, task, &lost)
    }

    async fn get_worker_info(&mut self, request: GetWorkerInfoRequest) -> Result<GetWorkerInfoResponse> {
        self.inner.get_worker_info(request).await
    }
}

/// The same stream, which tells when it has ended: the query is over then.
fn then_set(
    stream: BoxStream<'static, CoordinatorToWorkerMsg>,
    over: Arc<AtomicBool>,
) -> BoxStream<'static, CoordinatorToWorkerMsg> {
    let end = futures::stream::once(async move { over.store(true, Relaxed) }).filter_map(|()| async { None });
    stream.chain(end).boxed()
}

/// A task that the coordinator follows.
struct Observed {
    attempt: Arc<Attempt>,
    /// Its place in the query's log of tasks.
    record: Option<usize>,
}

impl Observed {
    fn measured(&self, nodes: &[MetricsSet]) {
        self.attempt.query.io().meter.add_task(nodes);
        self.attempt.query.tasks().measured(self.record, nodes);
    }

    fn ended(&self, state: &'static str) {
        self.attempt.query.tasks().end(self.record, state);
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        // It has not ended by itself: the query was stopped, or begins again.
        self.ended("CANCELLED");
    }
}

/// What a worker says of a task. Before the query is over it has to go on saying, or the task is lost; after, neither its failure
/// nor its silence matters.
fn watch(
    answers: BoxStream<'static, Result<WorkerToCoordinatorMsg>>,
    over: Arc<AtomicBool>,
    (mark, url): (Mark, Url),
    task: Option<Observed>,
) -> BoxStream<'static, Result<WorkerToCoordinatorMsg>> {
    futures::stream::unfold((answers, over, mark, url, task), |(mut answers, over, mark, url, task)| async move {
        let answer = loop {
            match tokio::time::timeout(FAREWELL_TIMEOUT, answers.next()).await {
                Ok(answer) => break answer,
                Err(_) if over.load(Relaxed) => break None,
                Err(_) => {}
            }
        };
        let message = match answer {
            None | Some(Err(_)) if over.load(Relaxed) => return None,
            None => Err(mark.lost(&url, Loss::Silent, "it ended a task before its query was over")),
            Some(message) => message.map_err(|error| told(&mark, &url, error)),
        };
        match (&message, &task) {
            (Err(error), Some(task)) => {
                task.ended("FAILED");
                task.attempt.fail(error);
            }
            (Ok(WorkerToCoordinatorMsg::TaskMetrics(metrics)), Some(task)) => {
                task.measured(&metrics.pre_order_plan_metrics);
            }
            _ => {}
        }
        Some((message, (answers, over, mark, url, task)))
    })
    .boxed()
}

/// Tells failures of the transport, and refusals of what is no worker of this cluster, from failures of a task.
fn told(mark: &Mark, url: &Url, error: DataFusionError) -> DataFusionError {
    match status_of(&error) {
        Some(status) if status.message() == DRAINING => mark.lost(url, Loss::Draining, DRAINING),
        Some(status) if is_loss(status) => mark.lost(url, Loss::Silent, status.message()),
        Some(status) => match unfit(status) {
            Some(why) => mark.unfit(url, why),
            None => told_by(url, status.message()),
        },
        None => error,
    }
}

fn status_of(error: &DataFusionError) -> Option<&tonic::Status> {
    let DataFusionError::External(source) = error.find_root() else { return None };
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(source.as_ref());
    while let Some(error) = source {
        if let Some(status) = error.downcast_ref::<tonic::Status>() {
            return Some(status);
        }
        source = error.source();
    }
    None
}

/// What is wrong with who answers so. Tasks fail in other ways.
fn unfit(status: &tonic::Status) -> Option<Unfit> {
    use tonic::Code;
    match status.code() {
        Code::Unauthenticated if status.message() == REFUSAL => Some(Unfit::WrongSecret),
        Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented => Some(Unfit::NoWorker),
        _ => None,
    }
}

fn is_loss(status: &tonic::Status) -> bool {
    use tonic::Code;
    match status.code() {
        Code::Unavailable | Code::Unknown | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted => true,
        // hyper's own errors come as internal ones, with what they were as their source.
        Code::Internal => std::error::Error::source(status).is_some(),
        _ => false,
    }
}
