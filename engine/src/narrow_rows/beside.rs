//! Values that are written out beside each row, and whose length shows only when the plan runs: those of subqueries, such as
//! `(SELECT string_agg(x, ',') FROM t)`, and the rows of the first side of a join.
//!
//! The first side of a join is whole before the second is read, so whoever gives the first notes its widest row, and whoever gives the second
//! gives as many rows at a time as may stand beside it. The value of a subquery is there before the first row is asked for.
//!
//! ```text
//! HashJoinExec          HashJoinExec
//!   a              →      Beside(a): notes
//!   b                     Beside(b): cuts
//! ```
//! The plan keeps its shape, by which workers tell its counts.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::Schema;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_plan::execution_plan::{
    ChildrenPropertiesMode, ReplaceChildrenOptions, replace_children_if_necessary,
};
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{StreamExt, TryStreamExt};

use super::cuts::Cuts;
use crate::functions::{array_bytes, is_long, longest_row_bytes, scalar_bytes};

/// The plan with operators that write out few rows at a time beside wide ones. To be called where the plan runs, before it does.
pub(crate) fn narrow_beside_wide_rows(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let narrowed = plan.transform_up(|plan| {
        let values = wide_values(plan.as_ref())?;
        if !values.is_empty() {
            let cut = |child: &Arc<dyn ExecutionPlan>| Beside::of(child, Role::BesideValues(values.clone()));
            let children = plan.children().into_iter().map(cut).collect();
            return Ok(Transformed::yes(replace_children_if_necessary(plan, children)?));
        }
        let reads_first_side_whole =
            plan.is::<HashJoinExec>() || plan.is::<CrossJoinExec>() || plan.is::<NestedLoopJoinExec>();
        let [first, second] = plan.children()[..] else { return Ok(Transformed::no(plan)) };
        if !reads_first_side_whole || !may_be_wide(&first.schema()) {
            return Ok(Transformed::no(plan));
        }
        let widest = Arc::new(AtomicUsize::new(0));
        let sides =
            vec![Beside::of(first, Role::Notes(Arc::clone(&widest))), Beside::of(second, Role::BesideRows(widest))];
        Ok(Transformed::yes(replace_children_if_necessary(plan, sides)?))
    })?;
    Ok(narrowed.data)
}

/// The values of subqueries that an operator writes out for each row.
fn wide_values(plan: &dyn ExecutionPlan) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
    let mut values = Vec::new();
    plan.apply_expressions(&mut |expr| {
        expr.apply(|part| {
            if part.is::<ScalarSubqueryExpr>() && is_long(part.return_field(&Schema::empty())?.data_type()) {
                values.push(Arc::clone(part));
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(values)
}

fn may_be_wide(schema: &Schema) -> bool {
    schema.fields().iter().any(|field| is_long(field.data_type()))
}

/// What decides how its batches are cut.
#[derive(Clone, Debug)]
enum Role {
    /// They are not: what is noted here is the widest row, in bytes.
    Notes(Arc<AtomicUsize>),
    /// The widest row of another side.
    BesideRows(Arc<AtomicUsize>),
    /// Values that are the same in every row.
    BesideValues(Vec<Arc<dyn PhysicalExpr>>),
}

/// Another operator, and the same in all but where its batches are cut.
#[derive(Debug)]
struct Beside {
    inner: Arc<dyn ExecutionPlan>,
    role: Role,
}

impl Beside {
    fn of(inner: &Arc<dyn ExecutionPlan>, role: Role) -> Arc<dyn ExecutionPlan> {
        Arc::new(Self { inner: Arc::clone(inner), role })
    }
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
        Ok(Self::of(&inner, self.role.clone()))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    /// Of the operator itself: a recursive query runs its joins again and again, each time without what they kept.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Self::of(&Arc::clone(&self.inner).reset_state()?, self.role.clone()))
    }

    fn with_new_state(&self, state: Arc<dyn Any + Send + Sync>) -> Option<Arc<dyn ExecutionPlan>> {
        self.inner.with_new_state(state).map(|inner| Self::of(&inner, self.role.clone()))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batches = self.inner.execute(partition, context)?;
        let schema = batches.schema();
        Ok(match self.role.clone() {
            Role::Notes(widest) => {
                let noted = batches.inspect_ok(move |batch| {
                    widest.fetch_max(longest_row_bytes(batch), Relaxed);
                });
                Box::pin(RecordBatchStreamAdapter::new(schema, noted))
            }
            Role::BesideRows(widest) => cut(batches, move |_| Ok(widest.load(Relaxed))),
            Role::BesideValues(values) => cut(batches, move |batch| {
                let lengths = values.iter().map(|value| match value.evaluate(batch)? {
                    ColumnarValue::Scalar(value) => Ok(scalar_bytes(&value)),
                    ColumnarValue::Array(values) => Ok(array_bytes(&values).div_ceil(values.len().max(1))),
                });
                lengths.sum()
            }),
        })
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.inner.metrics()
    }
}

/// The batches in parts, beside each of whose rows so many bytes are written.
fn cut(
    batches: SendableRecordBatchStream,
    beside: impl Fn(&RecordBatch) -> Result<usize> + Send + 'static,
) -> SendableRecordBatchStream {
    let schema = batches.schema();
    let parts = batches.map(move |batch| -> Result<_> {
        let batch = batch?;
        let parts = Cuts::of_constants(beside(&batch)?).apply(batch)?;
        Ok(futures::stream::iter(parts).map(Ok))
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, parts.try_flatten()))
}
