//! Subqueries that are known to have no row are spelt out before joins are made of them.
//!
//! In: a plan that is being optimised. Out: the same plan, in which `x IN (nothing)` and `EXISTS (nothing)` are false, and a scalar subquery of
//! nothing is NULL. DataFusion 55.2 asks a subquery for its column, which one of no rows does not name any more ("single expression
//! required."), where a condition becomes one that joins are made of only after the subquery was simplified.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::map_named;

/// The rule before which this pass runs.
pub(super) const MAKES_JOINS: &str = "decorrelate_predicate_subquery";

/// The pass.
#[derive(Debug)]
pub(super) struct SubqueriesOfNothing;

impl OptimizerRule for SubqueriesOfNothing {
    fn name(&self) -> &str {
        "subqueries_of_nothing"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if !matches!(plan, LogicalPlan::Filter(_) | LogicalPlan::Join(_) | LogicalPlan::Projection(_)) {
            return Ok(Transformed::no(plan));
        }
        map_named(plan, |expr| expr.transform_up(spelt_out))
    }
}

fn spelt_out(expr: Expr) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::InSubquery(InSubquery { subquery, negated, .. }) if has_no_row(&subquery.subquery) => {
            Transformed::yes(lit(negated))
        }
        Expr::Exists(Exists { subquery, negated }) if has_no_row(&subquery.subquery) => Transformed::yes(lit(negated)),
        Expr::ScalarSubquery(subquery) if has_no_row(&subquery.subquery) => {
            let null = ScalarValue::try_from(subquery.subquery.schema().field(0).data_type())?;
            Transformed::yes(lit(null))
        }
        other => Transformed::no(other),
    })
}

fn has_no_row(plan: &Arc<LogicalPlan>) -> bool {
    matches!(plan.as_ref(), LogicalPlan::EmptyRelation(relation) if !relation.produce_one_row)
}
