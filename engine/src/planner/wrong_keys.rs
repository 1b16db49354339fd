//! A key is none any more above `unnest()`, which gives its row more than once.
//!
//! In: a plan. Out: DataFusion's passes that use keys, on the plan without what is known of keys, if there is such an `unnest()`.
//! DataFusion 55.2 takes the key for one still. It then leaves other columns out of GROUP BY and ORDER BY above, DISTINCT out, and makes
//! a semi join of a join.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, FunctionalDependencies, Result};
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

/// Whether `unnest()` has a key.
fn has_wrong_keys(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Unnest(unnest) = node {
            found |= !unnest.schema.functional_dependencies().is_empty();
        }
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
