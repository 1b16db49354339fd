//! `=` stays `=` beside `IS NOT DISTINCT FROM` among the conditions of a join.
//!
//! In: a plan. Out: DataFusion's passes that make keys of a join's conditions, except where a join has null-safe keys already: a join
//! compares all of its keys in one way, and DataFusion 55.2 adds those of `=` to them, which take NULLs for equal then. Such a
//! condition stays in the join's filter, or above the join.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{NullEquality, Result};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The passes that make keys of conditions.
pub(super) const MAKE_KEYS: [&str; 2] = ["extract_equijoin_predicate", "eliminate_cross_join"];

/// The pass, around one of DataFusion's.
#[derive(Debug)]
pub(super) struct NullSafeJoins(pub(super) Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for NullSafeJoins {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let is_kept = match self.name() {
            "eliminate_cross_join" => has_null_safe_keys_below(&plan)?,
            _ => has_null_safe_keys(&plan),
        };
        if is_kept { Ok(Transformed::no(plan)) } else { self.0.rewrite(plan, config) }
    }
}

fn has_null_safe_keys(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Join(join) if join.null_equality == NullEquality::NullEqualsNull && !join.on.is_empty())
}

/// Whether a join that the pass over several joins may merge has such keys.
fn has_null_safe_keys_below(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        found |= has_null_safe_keys(node);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}
