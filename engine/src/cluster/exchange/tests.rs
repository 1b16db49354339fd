//! Tasks that end in every way there is, read over a real connection.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use arrow_flight::FlightData;
use datafusion::arrow::array::{Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, SessionStateBuilder, TaskContext};
use datafusion::physical_expr::expressions::col;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use datafusion_distributed::{
    DistributedExt, ExecuteTaskRequest, MaybeEncoded, ProducerHead, SetPlanRequest, TaskKey, Worker, WorkerQueryContext,
};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use http::HeaderMap;
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::Service;
use url::Url;
use uuid::Uuid;

use super::super::caught::catch_panics;
use super::super::channels::Channels;
use super::super::wire::Computed;
use super::messages::{SERVICE, TakeCall};
use super::*;
use crate::Error;
use crate::cluster::Secret;
use crate::computing::Computing;
use crate::memory::MemoryBudget;

const ROWS: usize = 100;

/// How a task's rows end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Well,
    WithError,
    /// After three batches.
    WithPanic,
    PanicsAtOnce,
    Never,
}

/// Three batches, and an end.
#[derive(Debug)]
struct Task {
    ends: Ends,
    properties: Arc<PlanProperties>,
    executed: AtomicUsize,
    /// As many as there are streams of it.
    running: Arc<()>,
}

impl Task {
    fn new(ends: Ends) -> Arc<Self> {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Arc::new(Self {
            ends,
            properties: Arc::new(properties),
            executed: AtomicUsize::new(0),
            running: Arc::default(),
        })
    }
}

impl DisplayAs for Task {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Task")
    }
}

impl ExecutionPlan for Task {
    fn name(&self) -> &str {
        "Task"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.executed.fetch_add(1, Relaxed);
        let (ends, schema, running) = (self.ends, self.schema(), Arc::clone(&self.running));
        let batch = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from_iter_values(0..ROWS as i64))])?;
        let batches = futures::stream::unfold(0, move |given| {
            let (batch, running) = (batch.clone(), Arc::clone(&running));
            async move {
                let _running = running;
                match (given, ends) {
                    (0, Ends::PanicsAtOnce) | (3, Ends::WithPanic) => panic!("a secret"),
                    (3, Ends::WithError) => Some((Err(ArrowError::DivideByZero.into()), 4)),
                    (3.., Ends::Well | Ends::WithError) => None,
                    (3, Ends::Never) => std::future::pending().await,
                    _ => Some((Ok(batch), given + 1)),
                }
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}

/// A service at an address, until it is dropped: with all of its connections.
struct Served {
    url: Url,
    channels: Arc<Channels>,
    runtime: Option<Runtime>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

async fn served<S>(service: S) -> Served
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let (server, listener) = (tonic::transport::Server::builder().add_service(service), listener.into_std().unwrap());
    let runtime = Runtime::new().unwrap();
    runtime.spawn(async move {
        let incoming = TcpIncoming::from(TcpListener::from_std(listener).unwrap());
        server.serve_with_incoming(incoming).await.unwrap();
    });
    Served { url, channels: Channels::new(Secret::random()), runtime: Some(runtime) }
}

/// A worker that was brought a task.
async fn worker(task: &Arc<Task>) -> (Served, TaskKey) {
    let worker = Worker::from_session_builder(|context: WorkerQueryContext| async move {
        Ok::<_, DataFusionError>(context.builder.with_distributed_worker_plan_rewrite_handler(catch_panics).build())
    });
    let computing = Arc::new(Computing::new(&MemoryBudget::new(1 << 30)));
    let served = served(Computed::new(
        ExchangeService::new(worker.clone(), 1 << 20, &computing, &Arc::default()),
        &Handle::current(),
    ))
    .await;
    let task_key = TaskKey { query_id: Uuid::new_v4(), stage_id: 1, task_number: 0 };
    let brought = SetPlanRequest {
        task_key,
        task_count: 1,
        plan: MaybeEncoded::Decoded(Arc::clone(task) as _),
        work_unit_feed_declarations: Vec::new(),
        target_worker_url: served.url.clone(),
        query_start_time_ns: 0,
    };
    let answers = worker.coordinator_channel(HeaderMap::new(), brought, futures::stream::pending().boxed()).await;
    drop(answers.unwrap());
    (served, task_key)
}

impl Served {
    fn take(
        &self,
        task_key: TaskKey,
        partitions: usize,
        producer_head: ProducerHead,
    ) -> Vec<BoxStream<'static, Result<RecordBatch>>> {
        let lost: Lost = Arc::new(|status| DataFusionError::Execution(format!("lost: {}", status.message())));
        let channel = self.channels.signed(&self.url).unwrap();
        let (target_partition_start, target_partition_end) = (0, partitions);
        let request = ExecuteTaskRequest { task_key, target_partition_start, target_partition_end, producer_head };
        let context = SessionStateBuilder::new().with_default_features().build().task_ctx();
        take(&channel, self.channels.wire(), request, &ExecutionPlanMetricsSet::new(), &context, &lost).unwrap()
    }
}

/// Rows, and how they ended.
async fn read(mut rows: BoxStream<'static, Result<RecordBatch>>) -> (usize, Option<Error>) {
    let mut count = 0;
    while let Some(batch) = rows.next().await {
        match batch {
            Ok(batch) => count += batch.num_rows(),
            Err(error) => {
                assert!(rows.next().await.is_none(), "there is something behind an error");
                return (count, Some(error.into()));
            }
        }
    }
    (count, None)
}

fn heads() -> [ProducerHead; 3] {
    let parted = Partitioning::Hash(vec![col("n", &Task::new(Ends::Well).schema()).unwrap()], 1);
    [
        ProducerHead::None,
        ProducerHead::BroadcastExec { output_partitions: 1 },
        ProducerHead::RepartitionExec { partitioning: MaybeEncoded::Decoded(parted) },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_have_an_end_and_everything_else_is_an_error() {
    for ends in [Ends::Well, Ends::WithError, Ends::WithPanic, Ends::PanicsAtOnce] {
        for head in heads() {
            let task = Task::new(ends);
            let (served, key) = worker(&task).await;
            let (rows, error) = read(served.take(key, 1, head).remove(0)).await;
            let told = error.as_ref().map(ToString::to_string).unwrap_or_default();
            assert!(!told.contains("secret"), "{told}");
            match (ends, &error) {
                (Ends::Well, None) => assert_eq!(rows, 3 * ROWS),
                (Ends::WithError, Some(Error::Query(error))) => {
                    let DataFusionError::ArrowError(error, _) = error.find_root() else { panic!("{error:?}") };
                    assert!(matches!(**error, ArrowError::DivideByZero), "{error:?}");
                }
                (Ends::WithPanic | Ends::PanicsAtOnce, Some(Error::Internal(told))) => {
                    assert!(told.contains("broke off"), "{told}");
                }
                _ => panic!("{ends:?}: {rows} rows, {error:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_goes_in_the_middle_is_lost() {
    let (served, key) = worker(&Task::new(Ends::Never)).await;
    let mut rows = served.take(key, 1, ProducerHead::None).remove(0);
    for _ in 0..3 {
        assert_eq!(rows.try_next().await.unwrap().unwrap().num_rows(), ROWS);
    }
    drop(served);
    let (rows, error) = tokio::time::timeout(Duration::from_secs(30), read(rows)).await.unwrap();
    assert!(rows == 0 && error.as_ref().is_some_and(|error| error.to_string().contains("lost")), "{rows} {error:?}");
}

async fn eventually(what: &str, is: impl Fn() -> bool) {
    let waited = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_rows_nobody_wants_any_more_stops() {
    let task = Task::new(Ends::Never);
    let (served, key) = worker(&task).await;
    let mut rows = served.take(key, 1, ProducerHead::None).remove(0);
    assert_eq!(rows.try_next().await.unwrap().unwrap().num_rows(), ROWS);
    assert!(Arc::strong_count(&task.running) > 1, "it does not run");
    drop(rows);
    eventually("it stops", || Arc::strong_count(&task.running) == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_told_that_nobody_will_ask() {
    let task = Task::new(Ends::Never);
    let (served, key) = worker(&task).await;
    let rows = served.take(key, 1, ProducerHead::None);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(task.executed.load(Relaxed), 0, "nobody has asked yet");
    drop(rows);
    eventually("it is told", || task.executed.load(Relaxed) == 1 && Arc::strong_count(&task.running) == 1).await;
}

/// Ends all calls well, without an end mark.
#[derive(Clone)]
struct Cut;

impl NamedService for Cut {
    const NAME: &'static str = SERVICE;
}

impl Service<http::Request<Body>> for Cut {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: http::Request<Body>) -> Self::Future {
        async move { Ok(Grpc::new(ProstCodec::<FlightData, TakeCall>::default()).streaming(Self, call).await) }.boxed()
    }
}

impl StreamingService<TakeCall> for Cut {
    type Response = FlightData;
    type ResponseStream = BoxStream<'static, Result<FlightData, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, _: Request<Streaming<TakeCall>>) -> Self::Future {
        async { Ok(Response::new(futures::stream::empty().boxed())) }.boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_ends_well_without_an_end_mark_is_an_error() {
    let served = served(Cut).await;
    let key = TaskKey { query_id: Uuid::new_v4(), stage_id: 1, task_number: 0 };
    let (rows, error) = read(served.take(key, 1, ProducerHead::None).remove(0)).await;
    assert!(rows == 0 && error.as_ref().is_some_and(|error| error.to_string().contains("end mark")), "{error:?}");
}

#[test]
fn a_frame_is_an_end_only_if_it_says_so() {
    let end = |end: Result<u64>| messages::end_of(&messages::end_frame(&end)).unwrap();
    assert_eq!(end(Ok(0)).unwrap(), 0);
    assert_eq!(end(Ok(7)).unwrap(), 7);
    assert!(end(Err(Error::Cancelled.into())).is_err());
    assert!(messages::end_of(&FlightData::new().with_data_body(vec![1, 2])).is_none());
}
