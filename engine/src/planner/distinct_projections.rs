//! Queries within each other that compute the same are computed as often as they are written.
//!
//! In: a plan. Out: DataFusion's pass over projections, to which no projection looks like the one below it. DataFusion 55.2 takes two that
//! are alike for one, which is wrong where a column is computed from the one of its own name:
//!
//! ```text
//! Projection: v + 1 AS v                       Projection: v + 1 AS v AS v
//!   Projection: v + 1 AS v             ─►        Projection: v + 1 AS v
//! ```

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The pass, around DataFusion's.
#[derive(Debug)]
pub(super) struct DistinctProjections(pub(super) Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for DistinctProjections {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let plan = plan.transform_up_with_subqueries(tell_apart)?;
        self.0.rewrite(plan.data, config)
    }
}

/// Gives the columns of a projection their names once more if the one below has the same.
fn tell_apart(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Projection(projection) = plan else { return Ok(Transformed::no(plan)) };
    let is_alike = match projection.input.as_ref() {
        LogicalPlan::Projection(below) => below.expr == projection.expr,
        _ => false,
    };
    if !is_alike || projection.expr.iter().all(|expr| matches!(expr, Expr::Column(_))) {
        return Ok(Transformed::no(LogicalPlan::Projection(projection)));
    }
    let named_again = |expr: Expr| {
        let (relation, name) = expr.qualified_name();
        expr.alias_qualified(relation, name)
    };
    let exprs: Vec<Expr> = projection.expr.into_iter().map(named_again).collect();
    let projection = Projection::try_new_with_schema(exprs, projection.input, projection.schema)?;
    Ok(Transformed::yes(LogicalPlan::Projection(projection)))
}
