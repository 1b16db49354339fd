//! Columns that have a value more than once are not taken for a key.
//!
//! In: a plan. Out: DataFusion's passes that use keys, on the plan without what is known of keys, if some of that is wrong. DataFusion
//! 55.2 takes the key of one side of a join for the key of an aggregate by that key and others
//! (`aggregate_functional_dependencies`), a key for one above `unnest()`, and a key of a recursive query's first rows for one of them all.
//! It then leaves the others out of GROUP BY and ORDER BY above, DISTINCT out, and makes a semi join of a join:
//! ```text
//! Aggregate: by k, j              here j alone is no key, though it is one of d
//!   Join: j < k
//!     Scan: t (k)
//!     Aggregate: d, by j
//! ```

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, FunctionalDependencies, Result};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};
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

/// Whether an aggregate has a key that does not cover what it is grouped by, or `unnest()` or a recursive query has one.
fn has_wrong_keys(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= match node {
            LogicalPlan::Aggregate(aggregate) => has_wrong_key(aggregate),
            LogicalPlan::Unnest(unnest) => !unnest.schema.functional_dependencies().is_empty(),
            LogicalPlan::RecursiveQuery(_) => !node.schema().functional_dependencies().is_empty(),
            _ => false,
        };
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Whether a key is less than the columns of GROUP BY, and does not determine the others already below.
fn has_wrong_key(aggregate: &Aggregate) -> bool {
    let below = aggregate.input.schema();
    let place_below = |key: &Expr| key.try_as_col().and_then(|column| below.maybe_index_of_column(column));
    let places: Vec<Option<usize>> = aggregate.group_expr.iter().map(place_below).collect();
    aggregate.schema.functional_dependencies().iter().any(|key| {
        let is_in_key = |place: &Option<usize>| {
            key.source_indices.iter().any(|source| places.get(*source).is_some_and(|in_key| in_key == place))
        };
        // What is determined by columns of the key below.
        let determined = below
            .functional_dependencies()
            .iter()
            .filter(|known| known.source_indices.iter().all(|source| is_in_key(&Some(*source))));
        let determined: Vec<usize> = determined.flat_map(|known| known.target_indices.iter().copied()).collect();
        let is_covered = |place: &Option<usize>| place.is_some_and(|place| determined.contains(&place));
        let others = places.iter().enumerate().filter(|(index, _)| !key.source_indices.contains(index));
        others.into_iter().any(|(_, place)| !is_covered(place))
    })
}

/// The node, of whose columns no key is known. One whose columns are those of its input stays as it is.
pub(super) fn without_keys(mut plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = match &mut plan {
        LogicalPlan::Projection(projection) => &mut projection.schema,
        LogicalPlan::SubqueryAlias(alias) => &mut alias.schema,
        LogicalPlan::Aggregate(aggregate) => &mut aggregate.schema,
        LogicalPlan::Window(window) => &mut window.schema,
        LogicalPlan::Join(join) => &mut join.schema,
        LogicalPlan::Union(union) => &mut union.schema,
        LogicalPlan::Unnest(unnest) => &mut unnest.schema,
        LogicalPlan::RecursiveQuery(query) => &mut query.schema,
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
