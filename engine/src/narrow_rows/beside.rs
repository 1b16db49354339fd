//! Joins one of whose rows is very wide, such as the one of `(SELECT array_agg(x) FROM t)`: it is written out for each row of the other side.
//!
//! How wide rows are shows only when they are there. The first side of a join is whole before the second is read, so whoever gives the first
//! notes its widest row, and whoever gives the second gives as many rows at a time as may stand beside it.
//!
//! ```text
//! HashJoinExec          HashJoinExec
//!   a              →      Beside(a): notes
//!   b                     Beside(b): cuts
//! ```
//! The plan keeps its shape, by which workers tell its counts.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use arrow::datatypes::{DataType, Schema};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{
    ChildrenPropertiesMode, ReplaceChildrenOptions, replace_children_if_necessary,
};
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{StreamExt, TryStreamExt};

use super::cuts::Cuts;
use crate::functions::longest_row_bytes;

/// The plan with joins that write out few rows at a time beside wide ones. To be called where the plan runs, before it does.
pub(crate) fn narrow_beside_wide_rows(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let narrowed = plan.transform_up(|plan| {
        let reads_first_side_whole =
            plan.is::<HashJoinExec>() || plan.is::<CrossJoinExec>() || plan.is::<NestedLoopJoinExec>();
        let [first, second] = plan.children()[..] else { return Ok(Transformed::no(plan)) };
        if !reads_first_side_whole || !may_be_wide(&first.schema()) {
            return Ok(Transformed::no(plan));
        }
        let widest = Arc::new(AtomicUsize::new(0));
        let sides = [(first, Role::Notes), (second, Role::Cuts)].map(|(inner, role)| {
            let side = Beside { inner: Arc::clone(inner), role, widest: Arc::clone(&widest) };
            Arc::new(side) as Arc<dyn ExecutionPlan>
        });
        Ok(Transformed::yes(replace_children_if_necessary(plan, sides.into())?))
    })?;
    Ok(narrowed.data)
}

fn may_be_wide(schema: &Schema) -> bool {
    schema.fields().iter().any(|field| !field.data_type().is_primitive() && field.data_type() != &DataType::Boolean)
}

#[derive(Clone, Copy, Debug)]
enum Role {
    Notes,
    Cuts,
}

/// Another operator, and the same in all but where its batches are cut.
#[derive(Debug)]
struct Beside {
    inner: Arc<dyn ExecutionPlan>,
    role: Role,
    /// Bytes of the widest row of the first side so far.
    widest: Arc<AtomicUsize>,
}

impl DisplayAs for Beside {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_as(t, f)
    }
}

impl ExecutionPlan for Beside {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn downcast_delegate(&self) -> Option<&dyn ExecutionPlan> {
        Some(self.inner.as_ref())
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.inner.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inner.children()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.inner.apply_expressions(f)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let inner = Arc::clone(&self.inner).replace_children(children, options)?;
        Ok(Arc::new(Self { inner, role: self.role, widest: Arc::clone(&self.widest) }))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batches = self.inner.execute(partition, context)?;
        let (schema, widest) = (batches.schema(), Arc::clone(&self.widest));
        Ok(match self.role {
            Role::Notes => {
                let noted = batches.inspect_ok(move |batch| {
                    widest.fetch_max(longest_row_bytes(batch), Relaxed);
                });
                Box::pin(RecordBatchStreamAdapter::new(schema, noted))
            }
            Role::Cuts => {
                let parts = batches.map(move |batch| -> Result<_> {
                    let parts = Cuts::of_constants(widest.load(Relaxed)).apply(batch?)?;
                    Ok(futures::stream::iter(parts).map(Ok))
                });
                Box::pin(RecordBatchStreamAdapter::new(schema, parts.try_flatten()))
            }
        })
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.inner.metrics()
    }
}
