//! The worker's side: executes a partition, and says how it ended.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use arrow_flight::FlightData;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoder, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::ipc::CompressionType;
use datafusion::arrow::ipc::writer::IpcWriteOptions;
use datafusion::common::{DataFusionError, Result, internal_datafusion_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion_distributed::{DistributedConfig, Worker};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::Service;

use super::super::tasks::{TaskNumber, Tasks};
use super::messages::{End, SERVICE, TAKE, TakeCall, end_frame};
use crate::computing::{Computing, QueryThreads, StopOnDrop};
use crate::{Error, panics};

/// Frames that are made before they are asked for, beside those that are on their way.
const FRAMES_AHEAD: usize = 1;
/// How long the other side may take to close a call of which it has seen the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// What a panic here is said to be of, in the log.
const TASK: &str = "a task of a query";

/// See the module.
#[derive(Clone)]
pub(in super::super) struct ExchangeService {
    worker: Worker,
    call_bytes_max: usize,
    threads: Arc<QueryThreads>,
    tasks: Arc<Tasks>,
}

impl ExchangeService {
    /// The service for the tasks that this worker was brought, which computes on these threads.
    pub(in super::super) fn new(
        worker: Worker,
        call_bytes_max: usize,
        computing: &Arc<Computing>,
        tasks: &Arc<Tasks>,
    ) -> Self {
        Self { worker, call_bytes_max, threads: Arc::new(QueryThreads::of(computing)), tasks: Arc::clone(tasks) }
    }
}

impl NamedService for ExchangeService {
    const NAME: &'static str = SERVICE;
}

impl Service<http::Request<Body>> for ExchangeService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: http::Request<Body>) -> Self::Future {
        let Self { worker, call_bytes_max, threads, tasks } = self.clone();
        async move {
            if call.uri().path() != TAKE {
                return Ok(Status::unimplemented("there is no such call").into_http());
            }
            let mut grpc = Grpc::new(ProstCodec::<FlightData, TakeCall>::default())
                .max_decoding_message_size(call_bytes_max)
                .max_encoding_message_size(usize::MAX);
            Ok(grpc.streaming(Give { worker, threads, tasks }, call).await)
        }
        .boxed()
    }
}

struct Give {
    worker: Worker,
    threads: Arc<QueryThreads>,
    tasks: Arc<Tasks>,
}

impl StreamingService<TakeCall> for Give {
    type Response = FlightData;
    type ResponseStream = BoxStream<'static, Result<FlightData, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, call: Request<Streaming<TakeCall>>) -> Self::Future {
        let (worker, threads, tasks) = (self.worker.clone(), Arc::clone(&self.threads), Arc::clone(&self.tasks));
        let mut calls = call.into_inner();
        async move {
            match calls.message().await? {
                Some(call) => Ok(Response::new(give(worker, tasks, &threads, call, calls))),
                None => Err(Status::invalid_argument("a call asks for no partition")),
            }
        }
        .boxed()
    }
}

/// A frame, and the memory that is set aside for it while it waits.
type Made = (FlightData, Option<MemoryReservation>);

/// The frames of a partition. They are made in a task of its own, on the threads of its query: who sends them only sends.
fn give(
    worker: Worker,
    tasks: Arc<Tasks>,
    threads: &QueryThreads,
    call: TakeCall,
    mut wanted: Streaming<TakeCall>,
) -> BoxStream<'static, Result<FlightData, Status>> {
    let (sender, frames) = mpsc::channel::<Made>(FRAMES_AHEAD);
    let threads = threads.take(call.query());
    let computing = threads.handle().clone();
    // Told before anything is computed: an earlier task of the query may have ended on these threads.
    let stop = StopOnDrop::default();
    threads.stops_with(&stop.0);
    let making = AbortOnDropHandle::new(computing.spawn(async move {
        let executed = panics::guarded(TASK, execute(&worker, call)).await;
        let executed = executed.unwrap_or_else(|id| Err(panics::broken_off(id).into()));
        if let Ok((_, context)) = &executed
            && let Some(number) = context.session_config().get_extension::<TaskNumber>()
        {
            tasks.computes_on(&number, &threads);
        }
        let made = async {
            tokio::select! {
                biased;
                () = closed(&mut wanted) => Err(Error::Cancelled.into()),
                sent = async { send(executed?, &sender).await } => sent,
            }
        };
        let made = threads.within_memory(panics::guarded(TASK, made)).await;
        let end: End = made.and_then(|made| made.unwrap_or_else(|id| Err(panics::broken_off(id).into())));
        // Who does not take it has gone.
        let _ = sender.send((end_frame(&end), None)).await;
        // A call that ends before its other side has closed is reset.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, closed(&mut wanted)).await;
    }));
    futures::stream::unfold((frames, making, stop), |(mut frames, making, stop)| async move {
        let (frame, _memory) = frames.recv().await?;
        Some((Ok(frame), (frames, making, stop)))
    })
    .boxed()
}

/// Waits until nobody wants rows any more.
async fn closed(wanted: &mut Streaming<TakeCall>) {
    while let Ok(Some(_)) = wanted.message().await {}
}

async fn execute(worker: &Worker, call: TakeCall) -> Result<(SendableRecordBatchStream, Arc<TaskContext>)> {
    let (partitions, context) = worker.execute_task(call.request()?).await?;
    let partition = partitions.into_iter().next();
    Ok((partition.ok_or_else(|| internal_datafusion_err!("a task has no such partition"))?, context))
}

/// Sends a partition's rows, as long as somebody takes them. Gives how many.
async fn send(
    (batches, context): (SendableRecordBatchStream, Arc<TaskContext>),
    sender: &mpsc::Sender<Made>,
) -> Result<u64> {
    let memory = MemoryConsumer::new("rows on their way").register(context.memory_pool());
    let rows = Arc::new(AtomicU64::new(0));
    let mut frames = encoded(batches, &context, Arc::clone(&rows))?;
    loop {
        let frame = frames.next().await.transpose().map_err(of_encoder)?;
        let Some(frame) = frame else { return Ok(rows.load(Relaxed)) };
        let held = memory.new_empty();
        held.grow(frame.data_header.len() + frame.data_body.len());
        if sender.send((frame, Some(held))).await.is_err() {
            return Err(Error::Cancelled.into());
        }
    }
}

fn encoded(
    batches: SendableRecordBatchStream,
    context: &TaskContext,
    rows: Arc<AtomicU64>,
) -> Result<FlightDataEncoder> {
    let compression = match DistributedConfig::from_session_config(context.session_config())?.compression.as_str() {
        "lz4" => Some(CompressionType::LZ4_FRAME),
        _ => None,
    };
    let schema = batches.schema();
    let batches = batches.and_then(move |batch| {
        rows.fetch_add(batch.num_rows() as u64, Relaxed);
        std::future::ready(compact(batch))
    });
    Ok(FlightDataEncoderBuilder::new()
        .with_options(IpcWriteOptions::default().try_with_compression(compression)?)
        .with_schema(schema)
        .with_dictionary_handling(DictionaryHandling::Resend)
        // A batch is one message: nobody limits them.
        .with_max_flight_data_size(usize::MAX)
        .build(batches.map_err(|error| FlightError::ExternalError(Box::new(error)))))
}

fn of_encoder(error: FlightError) -> DataFusionError {
    match error {
        FlightError::Arrow(error) => error.into(),
        FlightError::ExternalError(error) => match error.downcast::<DataFusionError>() {
            Ok(error) => *error,
            Err(error) => DataFusionError::External(error),
        },
        other => DataFusionError::External(Box::new(other)),
    }
}

/// The batch without most of the bytes that no view of a text points to: they would be sent with it. Texts that many views
/// share stay shared, or they would be sent once for each.
fn compact(batch: RecordBatch) -> Result<RecordBatch> {
    let (schema, columns, rows) = batch.into_parts();
    let columns = columns.into_iter().map(|column| -> ArrayRef {
        if let Some(views) = column.as_string_view_opt()
            && is_sparse(views.data_buffers().iter().map(|buffer| buffer.len()), views.total_buffer_bytes_used())
        {
            Arc::new(views.gc())
        } else if let Some(views) = column.as_binary_view_opt()
            && is_sparse(views.data_buffers().iter().map(|buffer| buffer.len()), views.total_buffer_bytes_used())
        {
            Arc::new(views.gc())
        } else {
            column
        }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, columns.collect(), &options)?)
}

fn is_sparse(buffers: impl Iterator<Item = usize>, used: usize) -> bool {
    let held: usize = buffers.sum();
    // Copying costs less than sending a quarter more.
    held - held / 4 > used
}
