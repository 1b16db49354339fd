//! A field of a struct is read where the struct is, if its values would not be the same elsewhere.
//!
//! In: a plan. Out: DataFusion's passes that read fields as far below as they can, unless something in the plan is volatile. They write
//! a column's expression in the place of the column, and 55.2 does not look whether it is the same when it is computed twice:
//!
//! ```text
//! Projection: s, s['a']                              Projection: s, f
//!   Projection: named_struct('a', random()) AS s  not  Projection: named_struct('a', random()) AS s, random() AS f
//! ```

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::logical_expr::{ExpressionPlacement, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::is_volatile;

/// DataFusion's passes that this is for.
pub(super) const READING_FIELDS: [&str; 2] = ["extract_leaf_expressions", "push_down_leaf_projections"];

/// The pass, around one of them.
#[derive(Debug)]
pub(super) struct SteadyLeaves(pub(super) Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for SteadyLeaves {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        // Called once for all of a plan, or at each of its nodes.
        let is_concerned = self.0.apply_order().is_none() || reads_fields(&plan)?;
        if is_concerned && is_volatile(&plan)? {
            return Ok(Transformed::no(plan));
        }
        self.0.rewrite(plan, config)
    }
}

/// Whether a node has expressions that the passes would move.
fn reads_fields(node: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        found |= expr.exists(|part| Ok(part.placement() == ExpressionPlacement::MoveTowardsLeafNodes))?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}
