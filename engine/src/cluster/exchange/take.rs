//! The side that takes a partition's rows: nothing is asked before the first poll, and no end is taken for granted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use datafusion::arrow::array::RecordBatch;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricValue, Time};
use datafusion_distributed::{BytesCounterMetric, BytesMetricExt, ExecuteTaskRequest, grpc};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use tokio_util::sync::CancellationToken;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use super::super::wire::Wire;
use super::messages::{TAKE, TakeCall, end_of};

/// How long what is on its way when nobody wants it any more may take.
const REST_TIMEOUT: Duration = Duration::from_secs(10);

/// What to say of a worker that is lost, or that answers in another way than by rows.
pub(in super::super) type Lost = Arc<dyn Fn(Status) -> DataFusionError + Send + Sync>;

type Rows = BoxStream<'static, Result<RecordBatch>>;

/// The partitions that are asked for, each in its own time.
pub(in super::super) fn take(
    channel: &grpc::BoxCloneSyncChannel,
    wire: &Wire,
    request: ExecuteTaskRequest,
    metrics: &ExecutionPlanMetricsSet,
    context: &Arc<TaskContext>,
    lost: &Lost,
) -> Result<Vec<Rows>> {
    let counts = Counts { bytes: MetricBuilder::new(metrics).bytes_counter("bytes_transferred"), compute: Time::new() };
    MetricBuilder::new(metrics).build(MetricValue::ElapsedCompute(counts.compute.clone()));
    let calls = TakeCall::each(request, context)?.into_iter();
    Ok(calls.map(|call| rows(Partition::new(channel, wire, call), counts.clone(), Arc::clone(lost))).collect())
}

#[derive(Clone)]
struct Counts {
    bytes: BytesCounterMetric,
    compute: Time,
}

/// A partition on its way. Dropped, its task is told that nobody wants more of its rows: also where nobody ever asked, since the
/// task would keep them for whoever comes. Then the call is read to its end.
struct Partition {
    unasked: Option<(grpc::BoxCloneSyncChannel, TakeCall)>,
    frames: Option<Streaming<FlightData>>,
    wanted: CancellationToken,
    wire: Wire,
}

impl Partition {
    fn new(channel: &grpc::BoxCloneSyncChannel, wire: &Wire, call: TakeCall) -> Self {
        let unasked = Some((channel.clone(), call));
        Self { unasked, frames: None, wanted: CancellationToken::new(), wire: wire.clone() }
    }

    /// The next frame; asks for the first.
    async fn next(&mut self) -> Result<Option<FlightData>, Status> {
        if let Some((channel, call)) = self.unasked.take() {
            self.frames = Some(ask(channel, call, self.wanted.clone()).await?);
        }
        match &mut self.frames {
            Some(frames) => frames.message().await,
            None => Ok(None),
        }
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        self.wanted.cancel();
        let (unasked, frames, wanted) = (self.unasked.take(), self.frames.take(), self.wanted.clone());
        if unasked.is_none() && frames.is_none() {
            return;
        }
        let rest = async move {
            let frames = match (frames, unasked) {
                (None, Some((channel, call))) => ask(channel, call, wanted).await.ok(),
                (frames, _) => frames,
            };
            let Some(mut frames) = frames else { return };
            while let Ok(Some(_)) = frames.message().await {}
        };
        // Nothing depends on it.
        self.wire.spawn(async { tokio::time::timeout(REST_TIMEOUT, rest).await.is_ok() }).detach();
    }
}

async fn ask(
    channel: grpc::BoxCloneSyncChannel,
    call: TakeCall,
    wanted: CancellationToken,
) -> Result<Streaming<FlightData>, Status> {
    let mut client = Grpc::new(channel).max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX);
    client.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
    let open = futures::stream::once(wanted.cancelled_owned()).filter_map(|()| async { None });
    let call = futures::stream::once(async { call }).chain(open);
    let codec = ProstCodec::<TakeCall, FlightData>::default();
    let answer = client.streaming(tonic::Request::new(call), PathAndQuery::from_static(TAKE), codec).await?;
    Ok(answer.into_inner())
}

fn rows(partition: Partition, counts: Counts, lost: Lost) -> Rows {
    let (told, given) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let frames = to_end(partition, Arc::clone(&told), counts.bytes, Arc::clone(&lost));
    let batches = FlightRecordBatchStream::new_from_flight_data(frames).map_err(of_frames);
    let batches = {
        let given = Arc::clone(&given);
        batches.inspect_ok(move |batch| {
            given.fetch_add(batch.num_rows() as u64, Relaxed);
        })
    };
    let end = futures::stream::once(async move {
        let (told, given) = (told.load(Relaxed), given.load(Relaxed));
        (told != given).then(|| lost(Status::data_loss(format!("of {told} rows of a partition, {given} came"))))
    });
    timed(fused(batches.chain(end.filter_map(|wrong| async move { wrong.map(Err) }))), counts.compute)
}

/// The frames up to the end mark, which is told. No other end is one.
fn to_end(
    partition: Partition,
    told: Arc<AtomicU64>,
    bytes: BytesCounterMetric,
    lost: Lost,
) -> impl Stream<Item = Result<FlightData, FlightError>> + Send + 'static {
    futures::stream::unfold(Some(partition), move |partition| {
        let (told, bytes, lost) = (Arc::clone(&told), bytes.clone(), Arc::clone(&lost));
        async move {
            let mut partition = partition?;
            let error = match partition.next().await {
                Ok(Some(frame)) => match end_of(&frame) {
                    None => {
                        bytes.add_bytes(frame.data_header.len() + frame.data_body.len());
                        return Some((Ok(frame), Some(partition)));
                    }
                    Some(Ok(rows)) => {
                        told.store(rows, Relaxed);
                        return None;
                    }
                    Some(Err(error)) => error,
                },
                Ok(None) => lost(Status::unavailable("the rows of a partition ended without their end mark")),
                Err(status) => lost(status),
            };
            Some((Err(FlightError::ExternalError(Box::new(error))), None))
        }
    })
}

/// Ends at the first error: what comes behind it is not the rest.
fn fused<T: Send + 'static>(items: impl Stream<Item = Result<T>> + Send + 'static) -> BoxStream<'static, Result<T>> {
    let items = items.boxed();
    futures::stream::unfold(Some(items), |items| async move {
        let mut items = items?;
        let item = items.next().await?;
        let rest = item.is_ok().then_some(items);
        Some((item, rest))
    })
    .boxed()
}

/// Counts the time that decoding takes.
fn timed(mut rows: Rows, compute: Time) -> Rows {
    futures::stream::poll_fn(move |context| {
        let _timer = compute.timer();
        rows.poll_next_unpin(context)
    })
    .boxed()
}

fn of_frames(error: FlightError) -> DataFusionError {
    match error {
        FlightError::ExternalError(error) => match error.downcast::<DataFusionError>() {
            Ok(error) => *error,
            Err(error) => DataFusionError::External(error),
        },
        FlightError::Arrow(error) => error.into(),
        other => DataFusionError::External(Box::new(other)),
    }
}
