//! Columns that have a value more than once are not taken for a key.
//!
//! In: a plan. Out: DataFusion's passes that use keys, on the plan without what is known of keys, if some of that is wrong. DataFusion
//! 55.2 takes the key of one side of a join for the key of an aggregate by that key and others
//! (`aggregate_functional_dependencies`), and a key for one above `unnest()`. It then leaves the others out of GROUP BY and
//! ORDER BY above, DISTINCT out, and makes a semi join of a join:
//! ```text
//! Aggregate: by k, j              here j alone is no key, though it is one of d
//!   Join: j < k
//!     Scan: t (k)
//!     Aggregate: d, by j
//! ```

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, Dependency, FunctionalDependencies, Result};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The pass, around DataFusion's.
#[derive(Debug)]
pub(super) struct WithoutWrongKeys(pub(super) Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for WithoutWrongKeys {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        // A pass that is called for each node uses keys only for these.
        let of_node = matches!(plan, LogicalPlan::Sort(_) | LogicalPlan::Distinct(_));
        if !(of_node || self.apply_order().is_none()) || !has_wrong_keys(&plan)? {
            return self.0.rewrite(plan, config);
        }
        if self.name() == "eliminate_join" {
            return Ok(Transformed::no(plan));
        }
        self.0.rewrite(plan.transform_up_with_subqueries(without_keys)?.data, config)
    }
}

/// Whether an aggregate has a key that does not cover what it is grouped by, or `unnest()` has one.
fn has_wrong_keys(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= match node {
            LogicalPlan::Aggregate(aggregate) => {
                let mut keys = aggregate.schema.functional_dependencies().iter();
                keys.any(|key| key.mode == Dependency::Multi)
            }
            LogicalPlan::Unnest(unnest) => !unnest.schema.functional_dependencies().is_empty(),
            _ => false,
        };
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn without_keys(mut plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = match &mut plan {
        LogicalPlan::Projection(projection) => &mut projection.schema,
        LogicalPlan::SubqueryAlias(alias) => &mut alias.schema,
        LogicalPlan::Aggregate(aggregate) => &mut aggregate.schema,
        LogicalPlan::Window(window) => &mut window.schema,
        LogicalPlan::Join(join) => &mut join.schema,
        LogicalPlan::Union(union) => &mut union.schema,
        LogicalPlan::Unnest(unnest) => &mut unnest.schema,
        _ => return Ok(Transformed::no(plan)),
    };
    forget(schema)?;
    Ok(Transformed::yes(plan))
}

fn forget(schema: &mut DFSchemaRef) -> Result<()> {
    if !schema.functional_dependencies().is_empty() {
        let without = schema.as_ref().clone().with_functional_dependencies(FunctionalDependencies::empty())?;
        *schema = Arc::new(without);
    }
    Ok(())
}
