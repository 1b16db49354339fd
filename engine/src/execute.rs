//! From a physical plan to a stream of rows. Nothing runs before the first poll, and before it is admitted; dropping the
//! stream stops it.
//!
//! A hash join holds its build side in memory. A query that runs out of memory before it gave its first batch is run again
//! with sort-merge joins, which spill; the tables stay pinned, so the answer is the same. If that is not enough, others have
//! the memory: it waits until fewer of them run.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use futures::{Stream, StreamExt, TryStreamExt};

use crate::admission::{Admission, Slots};
use crate::cluster::Cluster;
use crate::computing::{StopOnDrop, Threads};
use crate::functions::interruptible;
use crate::narrow_rows::narrow_beside_wide_rows;
use crate::options::{Execution, PolynyaOptions};
use crate::plan::Planned;
use crate::query::QueryContext;
use crate::scan::{IcebergSource, ScanCodec, bytes_to_read, damaged_file};
use crate::{Engine, Error, Result, panics};

/// Files that may come damaged, one after the other, before a query is given up.
const DAMAGED_FILES_MAX: usize = 8;
/// Batches that are made before they are asked for.
const BATCHES_AHEAD: usize = 1;

type Batches = std::pin::Pin<Box<dyn Stream<Item = Result<RecordBatch, DataFusionError>> + Send>>;

impl Engine {
    /// Runs a plan in this process.
    pub(crate) fn execute(&self, planned: Planned, query: &Arc<QueryContext>) -> Result<SendableRecordBatchStream> {
        let schema = planned.physical.schema();
        query.begins(bytes_to_read(&planned.physical));
        let (query, admission) = (Arc::clone(query), Arc::clone(self.admission()));
        let computing = Arc::clone(self.computing());
        let (cluster, codec) = (self.cluster().cloned(), self.scan_codec());
        let options = planned.state.config_options().extensions.get::<PolynyaOptions>();
        let timeout = options.and_then(|options| options.statement_timeout);
        let stream = futures::stream::once(async move {
            let slots = match reads_tables(&planned.physical) {
                true => {
                    let admitted = admission.admit(query.tenant(), || query.becomes("QUEUED"));
                    Some(within(timeout, &query, admitted).await??)
                }
                false => None,
            };
            query.becomes("RUNNING");
            let stop = StopOnDrop(Arc::clone(query.stopped()));
            let threads = Arc::new(computing.take());
            threads.stops_with(query.stopped());
            let place = Place { cluster, codec, admission, threads };
            let batches = aside(planned, Arc::clone(&query), place, slots);
            let running = futures::stream::unfold(Some((batches, stop)), move |running| {
                let query = Arc::clone(&query);
                async move {
                    let (mut batches, stop) = running?;
                    match within(timeout, &query, batches.next()).await {
                        Ok(batch) => batch.map(|batch| (batch, Some((batches, stop)))),
                        Err(error) => Some((Err(error.into()), None)),
                    }
                }
            });
            Ok::<_, DataFusionError>(running)
        });
        let stream = stream.try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
    }
}

/// What comes of `work` within the time that is left to the statement.
pub(crate) async fn within<T>(
    timeout: Option<Duration>,
    query: &QueryContext,
    work: impl Future<Output = T>,
) -> Result<T> {
    let Some(timeout) = timeout else { return Ok(work.await) };
    let left = timeout.saturating_sub(query.elapsed());
    if left.is_zero() {
        return Err(Error::Timeout(timeout));
    }
    tokio::time::timeout(left, work).await.map_err(|_| Error::Timeout(timeout))
}

/// Where plans run.
struct Place {
    cluster: Option<Arc<Cluster>>,
    codec: Arc<ScanCodec>,
    admission: Arc<Admission>,
    threads: Arc<Threads>,
}

/// A result whose client takes no rows for so long gives its slots to others.
const IDLE_SLOT_TIMEOUT: Duration = Duration::from_secs(30);

/// Sees to a plan in a task of its own, so that whoever takes its batches can stop it at any time: also while it computes. Its
/// slots are free when the last batch was taken up, or the stream is dropped, or nobody takes its batches.
fn aside(planned: Planned, query: Arc<QueryContext>, place: Place, slots: Option<Slots>) -> SendableRecordBatchStream {
    let mut aside = RecordBatchReceiverStream::builder(planned.physical.schema(), BATCHES_AHEAD);
    let batches = aside.tx();
    let memory = Arc::clone(&planned.memory);
    aside.spawn(async move {
        // The plan lives as long as its batches.
        let _memory = memory;
        let run = async {
            let (mut running, mut slots) = place.start(planned, &query, slots).await?;
            while let Some(batch) = running.next().await {
                let _wait = query.io().waits.enter("the client to take rows");
                let mut sent = pin!(batches.send(batch));
                let is_taken = match tokio::time::timeout(IDLE_SLOT_TIMEOUT, &mut sent).await {
                    Ok(sent) => sent,
                    Err(_) => {
                        // Others run while nobody reads on.
                        drop(slots.take());
                        sent.await
                    }
                };
                if is_taken.is_err() {
                    break;
                }
            }
            Ok(())
        };
        panics::guarded("a query", run).await.unwrap_or_else(|id| Err(panics::broken_off(id).into()))
    });
    aside.build()
}

impl Place {
    /// Runs to the first batch. A query that met a damaged file runs once more for each of them. One that ran out of memory
    /// beside others gives its slots back, and runs again with more of them.
    async fn start(
        &self,
        mut planned: Planned,
        query: &Arc<QueryContext>,
        mut slots: Option<Slots>,
    ) -> Result<(Batches, Option<Slots>), DataFusionError> {
        let mut reread: HashSet<String> = HashSet::new();
        loop {
            let failure = match self.attempt(&planned, query).await {
                Ok(batches) => return Ok((batches, slots)),
                Err(failure) => failure,
            };
            let damaged = damaged_file(&failure).filter(|_| reread.len() < DAMAGED_FILES_MAX).map(str::to_owned);
            if damaged.is_some_and(|file| reread.insert(file)) {
                // Whoever read it has forgotten it. What came of the store may have been damaged, and not the file.
                tracing::info!(query_id = query.id(), error = %failure, "a data file is damaged: running again");
                planned.physical = planned.state.create_physical_plan(&planned.logical).await?;
                continue;
            }
            let more = slots.as_ref().and_then(Slots::more).filter(|_| is_out_of_memory(&failure));
            let Some(more) = more else { return Err(failure) };
            tracing::info!(query_id = query.id(), more, "out of memory: running again when fewer others run");
            drop(slots.take());
            query.becomes("QUEUED");
            let Ok(wider) = self.admission.admit_again(query.tenant(), more).await else { return Err(failure) };
            slots = Some(wider);
            query.becomes("RUNNING");
            // A plan that has run holds what it read.
            planned.physical = planned.state.create_physical_plan(&planned.logical).await?;
        }
    }

    /// Runs to the first batch, where the plan should run.
    async fn attempt(&self, planned: &Planned, query: &Arc<QueryContext>) -> Result<Batches, DataFusionError> {
        let Some(cluster) = &self.cluster else {
            let options = planned.state.config_options().extensions.get::<PolynyaOptions>();
            let distributed = options.is_some_and(|options| options.execution == Execution::Distributed);
            if distributed && reads_tables(&planned.physical) {
                let why = "none are configured (setting workers.provisioner), and polynya.execution is 'distributed'";
                return Err(Error::NoWorkers(why.to_owned()).into());
            }
            return self.start_here(planned, query).await;
        };
        match cluster.run(planned, &self.codec, query, &self.threads).await {
            Ok(Some(batches)) => to_first_batch(batches).await,
            Ok(None) => {
                query.becomes("RUNNING");
                self.start_here(planned, query).await
            }
            Err(error) if is_out_of_memory(&error) || reads_an_exchange_again(&error) => {
                tracing::info!(
                    query_id = query.id(),
                    %error,
                    "out of memory on workers: running again here, with joins that spill"
                );
                self.again_with_spilling_joins(planned, query).await
            }
            Err(error) => Err(error),
        }
    }

    /// Runs here, to the first batch; on lack of memory, starts over with joins that spill.
    async fn start_here(&self, planned: &Planned, query: &QueryContext) -> Result<Batches, DataFusionError> {
        let physical = &planned.physical;
        match to_first_batch(self.run(Arc::clone(physical), &planned.state, query)?).await {
            Err(error) if uses_hash_join(physical) && is_out_of_memory(&error) => {
                tracing::info!(
                    query_id = query.id(),
                    "out of memory with hash joins: running again with sort-merge joins, which spill"
                );
                self.again_with_spilling_joins(planned, query).await
            }
            started => started,
        }
    }

    async fn again_with_spilling_joins(
        &self,
        planned: &Planned,
        query: &QueryContext,
    ) -> Result<Batches, DataFusionError> {
        let mut config = planned.state.config().clone();
        config.options_mut().optimizer.prefer_hash_join = false;
        // In a single partition it would join by hash all the same.
        let partitions = config.target_partitions().max(2);
        let config = config.with_target_partitions(partitions);
        let state = SessionStateBuilder::new_from_existing(planned.state.clone()).with_config(config).build();
        let physical = state.create_physical_plan(&planned.logical).await?;
        to_first_batch(self.run(physical, &state, query)?).await
    }

    /// The rows of a plan, made on the query's threads.
    fn run(
        &self,
        physical: Arc<dyn ExecutionPlan>,
        state: &SessionState,
        query: &QueryContext,
    ) -> Result<SendableRecordBatchStream, DataFusionError> {
        query.begins(bytes_to_read(&physical));
        let task = Arc::new(TaskContext::from(state));
        let options = Arc::clone(task.session_config().options());
        let physical = narrow_beside_wide_rows(interruptible(physical, query.stopped(), &options)?)?;
        Ok(self.threads.run(physical, task))
    }
}

/// The same batches, the first of them made.
async fn to_first_batch<S>(mut batches: S) -> Result<Batches, DataFusionError>
where
    S: Stream<Item = Result<RecordBatch, DataFusionError>> + Send + Unpin + 'static,
{
    match batches.next().await {
        None => Ok(Box::pin(futures::stream::empty())),
        Some(first) => {
            let first = first?;
            Ok(Box::pin(futures::stream::once(async { Ok(first) }).chain(batches)))
        }
    }
}

fn reads_tables(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let source = plan.downcast_ref::<DataSourceExec>().and_then(|scan| scan.downcast_to_file_source::<IcebergSource>());
    source.is_some() || plan.children().into_iter().any(reads_tables)
}

fn is_out_of_memory(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

/// A join without equality that runs out of memory reads one of its sides again: what comes from workers comes once.
/// datafusion-distributed 4.0 says so by an internal error.
fn reads_an_exchange_again(error: &DataFusionError) -> bool {
    error.to_string().contains("WorkerConnections stream for partition")
}

fn uses_hash_join(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.name() == "HashJoinExec" || plan.children().into_iter().any(uses_hash_join)
}
