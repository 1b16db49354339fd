//! What of a statement would be lost or done wrong on the way to workers. DataFusion 55.2.

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::functions::reaches_over_months;
use crate::planner::correlated::has_one_row_at_most;

/// Expressions beyond which decoding a plan would keep a worker's threads longer than pings may wait.
const EXPRESSIONS_MAX: usize = 10_000;

/// Whether all of the statement can be sent: the encoding of window functions has no FILTER and no IGNORE NULLS, and those over frames
/// of months have no name there. Nor are statements sent that are very long.
pub(super) fn can_be_sent(statement: &LogicalPlan) -> bool {
    let mut expressions = 0;
    !any_expression(statement, |expression| {
        expressions += 1;
        let incomplete = match expression {
            Expr::WindowFunction(function) => {
                let params = &function.params;
                params.filter.is_some() || params.null_treatment.is_some() || reaches_over_months(&params.window_frame)
            }
            _ => false,
        };
        incomplete || expressions > EXPRESSIONS_MAX
    })
}

/// Whether uncorrelated scalar subqueries can become joins, as they must where stages run apart: only those that
/// have one row at most by their form. More rows would not be the error that they are.
pub(crate) fn scalar_subqueries_have_one_row(statement: &LogicalPlan) -> bool {
    !any_expression(statement, |expression| match expression {
        Expr::ScalarSubquery(subquery) if subquery.outer_ref_columns.is_empty() => {
            !has_one_row_at_most(&subquery.subquery)
        }
        _ => false,
    })
}

fn any_expression(statement: &LogicalPlan, mut is: impl FnMut(&Expr) -> bool) -> bool {
    let mut found = false;
    let visited = statement.apply_with_subqueries(|plan| {
        plan.apply_expressions(|expression| {
            expression.apply(|part| -> Result<TreeNodeRecursion> {
                found |= is(part);
                Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    });
    found || visited.is_err()
}
