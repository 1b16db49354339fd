//! From a physical plan to a stream of rows. Nothing runs before the first poll, and before it is admitted; dropping the
//! stream stops it.
//!
//! A hash join holds its build side in memory. A query that runs out of memory before it gave its first batch is run again
//! with sort-merge joins, which spill; the tables stay pinned, so the answer is the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use datafusion::common::DataFusionError;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream, execute_stream};
use futures::{Stream, StreamExt, TryStreamExt};

use crate::cluster::Cluster;
use crate::functions::interruptible;
use crate::options::{Execution, PolynyaOptions};
use crate::plan::Planned;
use crate::query::QueryContext;
use crate::scan::{IcebergSource, ScanCodec, bytes_to_read};
use crate::{Engine, Error, Result};

/// Batches that are made before they are asked for.
const BATCHES_AHEAD: usize = 1;

type Batches =
    std::pin::Pin<Box<dyn Stream<Item = Result<datafusion::arrow::array::RecordBatch, DataFusionError>> + Send>>;

impl Engine {
    /// Runs a plan in this process.
    pub(crate) fn execute(&self, planned: Planned, query: &Arc<QueryContext>) -> Result<SendableRecordBatchStream> {
        let schema = planned.physical.schema();
        query.begins(bytes_to_read(&planned.physical));
        let (query, admission) = (Arc::clone(query), Arc::clone(self.admission()));
        let (cluster, codec) = (self.cluster().cloned(), self.scan_codec());
        let options = planned.state.config_options().extensions.get::<PolynyaOptions>();
        let timeout = options.and_then(|options| options.statement_timeout);
        let stream = futures::stream::once(async move {
            let slot = match reads_tables(&planned.physical) {
                true => {
                    let admitted = admission.admit(query.tenant(), || query.becomes("QUEUED"));
                    Some(within(timeout, &query, admitted).await??)
                }
                false => None,
            };
            query.becomes("RUNNING");
            let stop = StopOnDrop(Arc::clone(query.stopped()));
            let batches = aside(planned, Arc::clone(&query), cluster, codec);
            // The slot is free when the last batch was given, or the stream is dropped.
            let running = futures::stream::unfold(Some((batches, slot, stop)), move |running| {
                let query = Arc::clone(&query);
                async move {
                    let (mut batches, slot, stop) = running?;
                    match within(timeout, &query, batches.next()).await {
                        Ok(batch) => batch.map(|batch| (batch, Some((batches, slot, stop)))),
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
async fn within<T>(timeout: Option<Duration>, query: &QueryContext, work: impl Future<Output = T>) -> Result<T> {
    let Some(timeout) = timeout else { return Ok(work.await) };
    let left = timeout.saturating_sub(query.elapsed());
    if left.is_zero() {
        return Err(Error::Timeout(timeout));
    }
    tokio::time::timeout(left, work).await.map_err(|_| Error::Timeout(timeout))
}

/// Tells what works for a query that nobody waits for it any more.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Runs a plan in a task of its own, so that whoever takes its batches can stop it at any time: also while it computes.
fn aside(
    planned: Planned,
    query: Arc<QueryContext>,
    cluster: Option<Arc<Cluster>>,
    codec: Arc<ScanCodec>,
) -> SendableRecordBatchStream {
    let mut aside = RecordBatchReceiverStream::builder(planned.physical.schema(), BATCHES_AHEAD);
    let batches = aside.tx();
    aside.spawn(async move {
        let mut running = place(planned, &query, cluster.as_ref(), &codec).await?;
        while let Some(batch) = running.next().await {
            if batches.send(batch).await.is_err() {
                break;
            }
        }
        Ok(())
    });
    aside.build()
}

/// Runs a plan where it should run.
async fn place(
    planned: Planned,
    query: &Arc<QueryContext>,
    cluster: Option<&Arc<Cluster>>,
    codec: &Arc<ScanCodec>,
) -> Result<Batches, DataFusionError> {
    let Some(cluster) = cluster else {
        let options = planned.state.config_options().extensions.get::<PolynyaOptions>();
        let distributed = options.is_some_and(|options| options.execution == Execution::Distributed);
        if distributed && reads_tables(&planned.physical) {
            let why = "none are configured (setting workers.provisioner), and polynya.execution is 'distributed'";
            return Err(Error::NoWorkers(why.to_owned()).into());
        }
        return start(planned, query).await;
    };
    match cluster.run(&planned, codec, query).await {
        Ok(Some(batches)) => Ok(batches),
        Ok(None) => {
            query.becomes("RUNNING");
            start(planned, query).await
        }
        Err(error) if is_out_of_memory(&error) => {
            tracing::info!(
                query_id = query.id(),
                %error,
                "out of memory on workers: running again here, with joins that spill"
            );
            again_with_spilling_joins(&planned.state, &planned.logical, query).await
        }
        Err(error) => Err(error),
    }
}

/// Runs to the first batch; on lack of memory, starts over with joins that spill.
async fn start(planned: Planned, query: &QueryContext) -> Result<Batches, DataFusionError> {
    let Planned { state, logical, physical } = planned;
    let spills = !uses_hash_join(&physical);
    let mut stream = run(physical, &state, query)?;
    match stream.next().await {
        None => Ok(Box::pin(futures::stream::empty())),
        Some(Err(error)) if !spills && is_out_of_memory(&error) => {
            tracing::info!(
                query_id = query.id(),
                "out of memory with hash joins: running again with sort-merge joins, which spill"
            );
            drop(stream);
            again_with_spilling_joins(&state, &logical, query).await
        }
        Some(first) => Ok(Box::pin(futures::stream::once(async { first }).chain(stream))),
    }
}

async fn again_with_spilling_joins(
    state: &SessionState,
    logical: &LogicalPlan,
    query: &QueryContext,
) -> Result<Batches, DataFusionError> {
    let mut config = state.config().clone();
    config.options_mut().optimizer.prefer_hash_join = false;
    let state = SessionStateBuilder::new_from_existing(state.clone()).with_config(config).build();
    let physical = state.create_physical_plan(logical).await?;
    Ok(Box::pin(run(physical, &state, query)?))
}

fn run(
    physical: Arc<dyn ExecutionPlan>,
    state: &SessionState,
    query: &QueryContext,
) -> Result<SendableRecordBatchStream, DataFusionError> {
    query.begins(bytes_to_read(&physical));
    let task = Arc::new(TaskContext::from(state));
    let options = Arc::clone(task.session_config().options());
    execute_stream(interruptible(physical, query.stopped(), &options)?, task)
}

fn reads_tables(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let source = plan.downcast_ref::<DataSourceExec>().and_then(|scan| scan.downcast_to_file_source::<IcebergSource>());
    source.is_some() || plan.children().into_iter().any(reads_tables)
}

fn is_out_of_memory(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

fn uses_hash_join(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.name() == "HashJoinExec" || plan.children().into_iter().any(uses_hash_join)
}
