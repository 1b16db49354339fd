//! An operator in which panics become errors, below those that take a panic of their input for its end.
//!
//! ```text
//! BroadcastExec (a task that panics closes its queue: fewer rows, no error)      BroadcastExec
//!   HashJoinExec                                                            ──►    Caught(HashJoinExec)
//! ```
//! datafusion-distributed 4.0. Other operators of it and of DataFusion 55.2 tell of a panic, by an error or by panicking; the
//! rows that a task gives are watched in [`super::exchange`].

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use datafusion_distributed::{BroadcastExec, WorkerPlanRewriteEvent, WorkerPlanRewriteEventResponse};

use crate::narrow_rows::narrow_beside_wide_rows;
use crate::panics;

/// What a worker does to a plan that it was brought. A broadcast is there already, or comes to be above all of it.
pub(super) fn catch_panics(event: WorkerPlanRewriteEvent<'_>) -> Result<WorkerPlanRewriteEventResponse> {
    let caught = |plan: &Arc<dyn ExecutionPlan>| -> Arc<dyn ExecutionPlan> { Arc::new(Caught(Arc::clone(plan))) };
    let narrowed = narrow_beside_wide_rows(event.plan)?;
    let plan = match narrowed.downcast_ref::<BroadcastExec>() {
        Some(broadcast) => Arc::new(BroadcastExec::new(caught(broadcast.input()), broadcast.consumer_task_count())),
        // It tells of panics, and must be found at the top.
        None if narrowed.is::<RepartitionExec>() => narrowed,
        None => caught(&narrowed),
    };
    Ok(WorkerPlanRewriteEventResponse::new(plan))
}

/// Another operator, and the same in all but its panics: also in a plan's shape, by which its counts are told.
#[derive(Debug)]
struct Caught(Arc<dyn ExecutionPlan>);

impl DisplayAs for Caught {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_as(t, f)
    }
}

impl ExecutionPlan for Caught {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn downcast_delegate(&self) -> Option<&dyn ExecutionPlan> {
        Some(self.0.as_ref())
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.0.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.0.children()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.0.apply_expressions(f)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self(Arc::clone(&self.0).replace_children(children, options)?)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batches = panics::caught("a task of a query", self.0.execute(partition, context)?);
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.0.metrics()
    }
}
