//! Runs a plan on workers, again when one is lost.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::common::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_plan::analyze::AnalyzeExec;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use datafusion_distributed::{DistributedMetricsFormat, display_plan_ascii, explain_analyze};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::attempt::Attempt;
use super::distribute::{distribute, wants_workers};
use super::follow::follow;
use super::lent::Lent;
use super::marks::LostWorker;
use super::provisioner::Loss;
use super::sendable::can_be_sent;
use super::{Cluster, Use};
use crate::computing::Threads;
use crate::options::{Execution, PolynyaOptions};
use crate::plan::Planned;
use crate::query::QueryContext;
use crate::scan::{ScanCodec, bytes_to_read};
use crate::{Error, Result, trace};

/// How long `EXPLAIN ANALYZE` waits for the counts of all workers.
const METRICS_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a query waits before it runs again, doubled with each loss: a worker may be about to come back.
const RETRY_PAUSE: Duration = Duration::from_millis(25);
const RETRY_PAUSE_DOUBLINGS: u64 = 6;
/// How many workers that drain a query may meet beyond its retries: all of them may be restarted, one after the other.
const DRAINED_MAX: u64 = 60;
/// How many workers a query may meet that run no tasks for this coordinator: who starts them may go on starting such.
const UNFIT_MAX: usize = 60;
/// How often a query runs again on workers because credentials ended. It may take longer than any last.
const RENEWALS_MAX: u64 = 2;

type Batches = BoxStream<'static, Result<RecordBatch, DataFusionError>>;

/// A plan that runs on workers.
struct Running {
    plan: Arc<dyn ExecutionPlan>,
    batches: Batches,
}

/// What lives as long as an attempt.
struct Kept {
    _used: Use,
    _following: AbortOnDropHandle<()>,
    lent: Arc<Lent>,
}

impl Cluster {
    /// Runs a plan on workers, and what is to be done here on these threads. `None` if it is to run here: since it is small, cannot be
    /// sent, or is one stage.
    pub(crate) async fn run(
        self: &Arc<Self>,
        planned: &Planned,
        codec: &Arc<ScanCodec>,
        query: &Arc<QueryContext>,
        threads: &Threads,
    ) -> Result<Option<Batches>, DataFusionError> {
        let Some(analyze) = planned.physical.downcast_ref::<AnalyzeExec>() else {
            return Ok(self.attempts(planned, codec, query, threads).await?.map(|running| running.batches));
        };
        let measured = Planned {
            state: planned.state.clone(),
            logical: planned.logical.clone(),
            physical: Arc::clone(analyze.input()),
            memory: Arc::clone(&planned.memory),
        };
        let Some(Running { plan, mut batches }) = self.attempts(&measured, codec, query, threads).await? else {
            return Ok(None);
        };
        while let Some(batch) = batches.next().await {
            batch?;
        }
        // A worker that was lost at the end tells no counts.
        let counted = explain_analyze(Arc::clone(&plan), DistributedMetricsFormat::Aggregated);
        let text = match tokio::time::timeout(METRICS_TIMEOUT, counted).await {
            Ok(text) => text?,
            Err(_) => display_plan_ascii(plan.as_ref(), false),
        };
        let columns: [ArrayRef; 2] =
            ["Plan with Metrics", text.as_str()].map(|text| Arc::new(StringArray::from(vec![text])) as ArrayRef);
        let batch = RecordBatch::try_new(planned.physical.schema(), columns.to_vec())?;
        Ok(Some(futures::stream::iter([Ok(batch)]).boxed()))
    }

    /// Whether a query's plan should run on workers.
    fn wants(&self, planned: &Planned, options: &PolynyaOptions, query: &QueryContext) -> bool {
        let bytes = query.planning().bytes_to_read.load(Relaxed);
        let wants = match options.execution {
            Execution::Local => false,
            Execution::Distributed => true,
            Execution::Auto => bytes > self.settings.small_query_bytes.as_u64(),
        };
        // What a query may spend is counted in one process.
        wants && options.limits.are_none() && wants_workers(&planned.physical) && can_be_sent(&planned.logical)
    }

    /// Runs a plan, and again as long as workers are lost before the client has seen a row.
    async fn attempts(
        self: &Arc<Self>,
        planned: &Planned,
        codec: &Arc<ScanCodec>,
        query: &Arc<QueryContext>,
        threads: &Threads,
    ) -> Result<Option<Running>, DataFusionError> {
        let options = planned.state.config_options().extensions.get::<PolynyaOptions>().cloned().unwrap_or_default();
        if !self.wants(planned, &options, query) {
            return Ok(None);
        }
        let execution = options.execution;
        let (mut losses, mut drained, mut renewals): (u64, u64, u64) = (0, 0, 0);
        let mut unfit = Vec::new();
        loop {
            let bytes = query.planning().bytes_to_read.load(Relaxed);
            let (placement, used) =
                match self.workers(bytes, query, &unfit, execution != Execution::Auto || losses > 0).await {
                    Ok(workers) => workers,
                    Err(error) if execution == Execution::Auto => {
                        tracing::warn!(query_id = query.id(), %error, "a query that wants workers runs here");
                        return Ok(None);
                    }
                    Err(error) => return Err(error.into()),
                };
            query.begins(bytes_to_read(&planned.physical));
            let lent = Arc::new(Lent::renewed(&planned.physical).await?);
            let number = losses + renewals + unfit.len() as u64 + 1;
            let attempt = Attempt::new(query, number, placement.peers().len(), self.trace.as_deref());
            let Some((state, plan)) = distribute(planned, &placement, &self.channels, codec, &attempt).await? else {
                return Ok(None);
            };
            let stream = threads.run(Arc::clone(&plan), Arc::new(TaskContext::from(&state)));
            let memory = MemoryConsumer::new("rows held back").register(&state.runtime_env().memory_pool);
            let mark = attempt.mark.clone();
            let following = follow(&self.channels, &placement, &attempt);
            let kept = Kept { _used: used, _following: following, lent: Arc::clone(&lent) };
            let failure = match self.hold_back(stream, memory, attempt, kept).await {
                Ok(batches) => return Ok(Some(Running { plan, batches })),
                Err(failure) => failure,
            };
            if mark.is_unsendable(&failure) {
                tracing::warn!(query_id = query.id(), error = %failure, "a plan cannot be sent to workers: it runs here");
                return Ok(None);
            }
            if let Some((url, why)) = mark.unfit_worker(&failure) {
                let (error, worker) = (why.error(&url), url.as_str());
                tracing::warn!(query_id = query.id(), worker, %error, "a worker cannot be used");
                self.leave_alone(&url, Loss::Silent);
                // The others may do.
                unfit.push((url, why));
                match execution {
                    _ if unfit.len() <= UNFIT_MAX => continue,
                    Execution::Auto => return Ok(None),
                    _ => return Err(error.into()),
                }
            }
            let Some(lost) = mark.lost_worker(&failure) else {
                let Some(ended) = lent.ended(&failure) else { return Err(failure) };
                renewals += 1;
                tracing::warn!(query_id = query.id(), error = %ended, renewals, "workers had credentials that ended");
                match execution {
                    _ if renewals <= RENEWALS_MAX => continue,
                    // Where they are renewed in time.
                    Execution::Auto => return Ok(None),
                    _ => return Err(ended.into()),
                }
            };
            losses = self.lost(query, &lost);
            // A worker that ends as it was told is no sign that something is wrong.
            drained = (drained + u64::from(lost.how == Loss::Draining)).min(DRAINED_MAX);
            if losses > self.settings.retries as u64 + drained {
                if execution == Execution::Auto {
                    tracing::warn!(query_id = query.id(), losses, "a query that lost many workers runs here");
                    return Ok(None);
                }
                let at = lost.url.map(|url| format!("{url}: ")).unwrap_or_default();
                let message = format!(
                    "the query was run {losses} times and lost a worker each time (setting workers.retries), last {at}{}",
                    lost.message
                );
                return Err(Error::WorkerLost(message).into());
            }
            tokio::time::sleep(RETRY_PAUSE * 2_u32.pow(losses.min(RETRY_PAUSE_DOUBLINGS) as u32)).await;
        }
    }

    /// Drops a worker that was lost. Returns how many the query has lost.
    fn lost(&self, query: &QueryContext, lost: &LostWorker) -> u64 {
        if let Some(url) = &lost.url {
            self.leave_alone(url, lost.how);
        }
        let losses = query.lost_worker();
        let worker = lost.url.as_ref().map(Url::as_str);
        tracing::warn!(query_id = query.id(), worker, why = lost.message, losses, "a query lost a worker");
        losses
    }

    fn leave_alone(&self, url: &Url, how: Loss) {
        self.channels.forget(url);
        if how == Loss::Silent {
            self.presences.doubt(url);
        }
        self.provisioner.lost(url, how);
    }

    /// The failure of an attempt of which rows were given.
    fn too_late(&self, failure: DataFusionError, attempt: &Attempt, lent: &Lent) -> DataFusionError {
        if let Some((url, why)) = attempt.mark.unfit_worker(&failure) {
            return why.error(&url).into();
        }
        let Some(lost) = attempt.mark.lost_worker(&failure) else {
            return lent.ended(&failure).map_or(failure, DataFusionError::from);
        };
        self.lost(&attempt.query, &lost);
        Error::WorkerLost("rows had been given already (setting workers.retry_buffer_bytes)".to_owned()).into()
    }

    /// Keeps batches until all have come, or more than may be kept or there is memory for. Only then is it too late to
    /// begin again.
    async fn hold_back(
        self: &Arc<Self>,
        mut stream: SendableRecordBatchStream,
        memory: MemoryReservation,
        attempt: Arc<Attempt>,
        kept: Kept,
    ) -> Result<Batches, DataFusionError> {
        let limit = self.settings.retry_buffer_bytes.as_u64() as usize;
        let (mut held, mut fits) = (Vec::new(), true);
        while fits {
            match next(&mut stream, &attempt).await {
                None => {
                    let tasks = attempt.query.tasks().records();
                    self.pace.learn(tasks.iter().filter(|task| task.attempt == attempt.number));
                    attempt.query.has_read_all();
                    attempt.query.becomes("FINISHING");
                    return Ok(given(held, memory));
                }
                Some(Err(error)) => return Err(error),
                Some(Ok(batch)) => {
                    fits = memory.try_grow(batch.get_array_memory_size()).is_ok() && memory.size() <= limit;
                    held.push(batch);
                }
            }
        }
        let running = Some((Arc::clone(self), stream, attempt, kept));
        let rest = futures::stream::unfold(running, |running| async move {
            let (cluster, mut stream, attempt, kept) = running?;
            match next(&mut stream, &attempt).await? {
                Ok(batch) => Some((Ok(batch), Some((cluster, stream, attempt, kept)))),
                Err(error) => Some((Err(cluster.too_late(error, &attempt, &kept.lent)), None)),
            }
        });
        Ok(given(held, memory).chain(rest).boxed())
    }
}

/// The batches that were held, and the memory they took, which is free when the last was given.
fn given(held: Vec<RecordBatch>, memory: MemoryReservation) -> Batches {
    let batches = futures::stream::iter(held).map(move |batch| {
        let _ = &memory;
        Ok(batch)
    });
    batches.boxed()
}

/// The next batch, or the failure of a worker that the stream may not tell of.
async fn next(
    stream: &mut SendableRecordBatchStream,
    attempt: &Attempt,
) -> Option<Result<RecordBatch, DataFusionError>> {
    let batch = tokio::select! {
        biased;
        error = attempt.failed() => Some(Err(error)),
        batch = stream.next() => batch,
    };
    if matches!(batch, Some(Err(_))) {
        trace::failed(&attempt.span);
    }
    batch
}
