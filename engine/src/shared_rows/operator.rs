//! Gives rows that are made once, however many such operators there are, and however often each runs.
//!
//! Each has the plan that makes them below it, and the one that is polled first runs it. Workers have no part in it: they could not share.

use std::fmt::{self, Formatter};
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions, reset_plan_states,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::{StreamExt, TryFutureExt};

use super::made::MadeRows;

/// What the operator is called.
pub(crate) const SHARED_ROWS: &str = "SharedRowsExec";

/// See the module.
#[derive(Debug)]
pub(super) struct SharedRowsExec {
    input: Arc<dyn ExecutionPlan>,
    rows: Arc<MadeRows>,
    properties: Arc<PlanProperties>,
}

impl SharedRowsExec {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, rows: Arc<MadeRows>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { input, rows, properties: Arc::new(properties) }
    }
}

impl DisplayAs for SharedRowsExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(SHARED_ROWS)
    }
}

impl ExecutionPlan for SharedRowsExec {
    fn name(&self) -> &str {
        SHARED_ROWS
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match <[_; 1]>::try_from(children) {
            Ok([input]) => Ok(Arc::new(Self::new(input, Arc::clone(&self.rows)))),
            Err(children) => internal_err!("{SHARED_ROWS} of {} inputs", children.len()),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("{SHARED_ROWS} has one partition, not {}", partition + 1);
        }
        let (rows, input) = (Arc::clone(&self.rows), Arc::clone(&self.input));
        let batches = async move {
            // Another attempt may have run the plan as far as it came.
            let begin = || reset_plan_states(input)?.execute(0, Arc::clone(&context));
            let held = rows.get(&context, begin).await?;
            let count = held.batches.len();
            Ok::<_, DataFusionError>(futures::stream::iter(
                (0..count).map(move |index| Ok(held.batches[index].clone())),
            ))
        };
        let batches = batches.try_flatten_stream().boxed();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}
