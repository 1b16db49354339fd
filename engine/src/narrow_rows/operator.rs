//! Cuts batches, on the coordinator and on workers alike.

use std::fmt::{self, Formatter};
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{StreamExt, TryStreamExt};
use prost::Message;

use super::cuts::Cuts;

const NAME: &str = "NarrowRowsExec";

/// See the module.
#[derive(Debug)]
pub(crate) struct NarrowRowsExec {
    input: Arc<dyn ExecutionPlan>,
    cuts: Cuts,
}

impl NarrowRowsExec {
    /// The rows of `input`, cut so.
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, cuts: Cuts) -> Self {
        Self { input, cuts }
    }

    /// How it cuts, for a worker.
    pub(crate) fn encode(&self, to: &mut Vec<u8>) -> Result<()> {
        self.cuts.encode(to).map_err(|error| DataFusionError::External(Box::new(error)))
    }

    /// What was encoded, above its input.
    pub(crate) fn decode(encoded: &[u8], input: Arc<dyn ExecutionPlan>) -> Result<Self> {
        let cuts = Cuts::decode(encoded).map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(Self::new(input, cuts))
    }
}

impl DisplayAs for NarrowRowsExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

impl ExecutionPlan for NarrowRowsExec {
    fn name(&self) -> &str {
        NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
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
            Ok([input]) => Ok(Arc::new(Self::new(input, self.cuts.clone()))),
            Err(children) => internal_err!("{NAME} of {} inputs", children.len()),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let cuts = self.cuts.clone();
        let batches = self.input.execute(partition, context)?;
        let schema = batches.schema();
        let parts = batches.map(move |batch| -> Result<_> { Ok(futures::stream::iter(cuts.apply(batch?)?).map(Ok)) });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, parts.try_flatten())))
    }
}
