//! Keeps conditions that name no column above aggregates that give a row for no rows.
//!
//! In: a condition above an aggregate. Out: DataFusion's pushdown of what names a column. DataFusion 55.2 pushes what names only columns
//! that are grouped by, and what names none is all of that: below an aggregate without GROUP BY, or with grouping sets, a condition that
//! is false takes its input away, and the row of the grand total is there all the same. Conditions on random values stay above, too.
//!
//! ```text
//! Filter: false AND x > 1                       Filter: false
//!   Aggregate: groupBy=[[ROLLUP (x)]]     not     Aggregate: groupBy=[[ROLLUP (x)]]
//!     TableScan: t                                  Filter: false AND x > 1
//! ```

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The pass, around DataFusion's pushdown of filters.
#[derive(Debug)]
pub(super) struct KeepAboveAggregates(pub(super) Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for KeepAboveAggregates {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = &plan else { return self.0.rewrite(plan, config) };
        // DataFusion merges conditions above each other before it pushes them.
        let (mut conditions, mut input) = (split_conjunction_owned(filter.predicate.clone()), &filter.input);
        while let LogicalPlan::Filter(below) = input.as_ref() {
            conditions.splice(0..0, split_conjunction_owned(below.predicate.clone()));
            input = &below.input;
        }
        if !gives_a_row_for_none(input) {
            return self.0.rewrite(plan, config);
        }
        let (kept, pushed): (Vec<_>, Vec<_>) =
            conditions.into_iter().partition(|condition| condition.column_refs().is_empty() || condition.is_volatile());
        let Some(kept) = conjunction(kept) else { return self.0.rewrite(plan, config) };
        let Some(pushed) = conjunction(pushed) else { return Ok(Transformed::no(plan)) };
        let below = self.0.rewrite(filtered(pushed, Arc::clone(input))?, config)?;
        match below.transformed {
            true => below.map_data(|below| filtered(kept, Arc::new(below))),
            false => Ok(Transformed::no(plan)),
        }
    }
}

fn filtered(condition: Expr, input: Arc<LogicalPlan>) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Filter(Filter::try_new(condition, input)?))
}

/// Whether the plan is an aggregate that has rows where its input has none.
fn gives_a_row_for_none(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Aggregate(aggregate) = plan else { return false };
    aggregate.group_expr.is_empty() || aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_)))
}
