//! From a physical plan to a stream of rows. Nothing runs before the first poll, and before it is admitted; dropping the
//! stream stops it.
//!
//! A hash join holds its build side in memory. A query that runs out of memory before it gave its first batch is run again
//! with sort-merge joins, which spill; the tables stay pinned, so the answer is the same.

use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream, execute_stream};
use futures::{Stream, StreamExt, TryStreamExt};

use crate::plan::Planned;
use crate::query::QueryContext;
use crate::scan::IcebergSource;
use crate::{Engine, Result};

type Batches =
    std::pin::Pin<Box<dyn Stream<Item = Result<datafusion::arrow::array::RecordBatch, DataFusionError>> + Send>>;

impl Engine {
    /// Runs a plan in this process.
    pub(crate) fn execute(&self, planned: Planned, query: &Arc<QueryContext>) -> Result<SendableRecordBatchStream> {
        let schema = planned.physical.schema();
        let (query, admission) = (Arc::clone(query), Arc::clone(self.admission()));
        let stream = futures::stream::once(async move {
            let slot = match reads_tables(&planned.physical) {
                true => Some(admission.admit(query.tenant(), || query.becomes("QUEUED")).await?),
                false => None,
            };
            query.becomes("RUNNING");
            let batches = start(planned, query.id()).await?;
            // The slot is free when the last batch was given, or the stream is dropped.
            let running = futures::stream::unfold((batches, slot), |(mut batches, slot)| async move {
                batches.next().await.map(|batch| (batch, (batches, slot)))
            });
            Ok::<_, DataFusionError>(running)
        });
        let stream = stream.try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
    }
}

/// Runs to the first batch; on lack of memory, starts over with joins that spill.
async fn start(planned: Planned, query_id: &str) -> Result<Batches, DataFusionError> {
    let Planned { state, logical, physical } = planned;
    let spills = !uses_hash_join(&physical);
    let mut stream = execute_stream(physical, task_context(&state))?;
    match stream.next().await {
        None => Ok(Box::pin(futures::stream::empty())),
        Some(Err(error)) if !spills && is_out_of_memory(&error) => {
            tracing::info!(query_id, "out of memory with hash joins: running again with sort-merge joins, which spill");
            drop(stream);
            again_with_spilling_joins(&state, &logical).await
        }
        Some(first) => Ok(Box::pin(futures::stream::once(async { first }).chain(stream))),
    }
}

async fn again_with_spilling_joins(state: &SessionState, logical: &LogicalPlan) -> Result<Batches, DataFusionError> {
    let mut config = state.config().clone();
    config.options_mut().optimizer.prefer_hash_join = false;
    let state = SessionStateBuilder::new_from_existing(state.clone()).with_config(config).build();
    let physical = state.create_physical_plan(logical).await?;
    Ok(Box::pin(execute_stream(physical, task_context(&state))?))
}

fn reads_tables(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let source = plan.downcast_ref::<DataSourceExec>().and_then(|scan| scan.downcast_to_file_source::<IcebergSource>());
    source.is_some() || plan.children().into_iter().any(reads_tables)
}

fn task_context(state: &SessionState) -> Arc<TaskContext> {
    Arc::new(TaskContext::from(state))
}

fn is_out_of_memory(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

fn uses_hash_join(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.name() == "HashJoinExec" || plan.children().into_iter().any(uses_hash_join)
}
