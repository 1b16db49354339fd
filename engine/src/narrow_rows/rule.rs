//! Finds the operators.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, InListExpr, LikeExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::unnest::UnnestExec;

use super::NarrowRowsExec;
use super::cuts::{BATCH_BYTES, Cuts};
use crate::functions::scalar_bytes;

/// Rows of a batch, as DataFusion makes them.
const BATCH_ROWS: usize = 8_192;
/// Smaller constants do not matter, however many there are: a batch is as wide by its columns.
const CONSTANT_BYTES_MIN: usize = 1 << 10;

/// The pass. In: a physical plan. Out: the same, with operators that cut batches where they would grow too much.
#[derive(Debug)]
pub(crate) struct NarrowRows;

impl PhysicalOptimizerRule for NarrowRows {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let narrowed = plan.transform_up(|plan| {
            let Some(cuts) = cuts(plan.as_ref())? else { return Ok(Transformed::no(plan)) };
            let narrow = |child: &Arc<dyn ExecutionPlan>| {
                Arc::new(NarrowRowsExec::new(Arc::clone(child), cuts.clone())) as Arc<dyn ExecutionPlan>
            };
            let children = plan.children().into_iter().map(narrow).collect();
            Ok(Transformed::yes(replace_children_if_necessary(plan, children)?))
        })?;
        Ok(narrowed.data)
    }

    fn name(&self) -> &str {
        "narrow_rows"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// How the input of an operator is to be cut; none if it may stay as it is.
fn cuts(plan: &dyn ExecutionPlan) -> Result<Option<Cuts>> {
    if let Some(unnest) = plan.downcast_ref::<UnnestExec>() {
        let lists = unnest.list_column_indices();
        return Ok((!lists.is_empty()).then(|| Cuts::of_lists(lists)));
    }
    let mut constants = 0_usize;
    plan.apply_expressions(&mut |expr| {
        constants = constants.saturating_add(constant_bytes(expr));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok((constants > BATCH_BYTES / BATCH_ROWS).then(|| Cuts::of_constants(constants)))
}

/// The bytes of constants that are written out for each row: those that are compared are not, nor are lists that are searched.
fn constant_bytes(expr: &Arc<dyn PhysicalExpr>) -> usize {
    if let Some(constant) = expr.downcast_ref::<Literal>() {
        return Some(scalar_bytes(constant.value())).filter(|bytes| *bytes >= CONSTANT_BYTES_MIN).unwrap_or(0);
    }
    let keeps_constants = if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        *binary.op() != Operator::StringConcat
    } else if let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() {
        call.name().starts_with("array_has") || call.name().starts_with("regexp_")
    } else {
        expr.is::<InListExpr>() || expr.is::<LikeExpr>()
    };
    let parts = expr.children().into_iter().filter(|part| !(keeps_constants && part.is::<Literal>()));
    parts.map(constant_bytes).fold(0, usize::saturating_add)
}
