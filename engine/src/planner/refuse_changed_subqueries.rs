//! Refuses subqueries whose answer changes when their correlated conditions are taken out of them.
//!
//! In: an analysed plan. Out: the same plan, or an error. DataFusion 55.2 makes a join of a correlated IN or EXISTS and moves
//! the subquery's conditions on outer columns into the join's. Above LIMIT, a window or an aggregate without GROUP BY such a
//! condition means something else: the limit would count rows of other outer rows, the window would see them, and the
//! aggregate's one row for no rows would be lost. Scalar subqueries are not touched: theirs is another pass, which minds this.

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery};
use datafusion::optimizer::analyzer::AnalyzerRule;

use crate::Error;

/// The pass.
#[derive(Debug)]
pub(super) struct RefuseChangedSubqueries;

impl AnalyzerRule for RefuseChangedSubqueries {
    fn name(&self) -> &str {
        "refuse_changed_subqueries"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.apply_with_subqueries(|node| {
            node.apply_expressions(|expr| {
                expr.apply(|expr| match expr {
                    Expr::InSubquery(InSubquery { subquery, .. }) | Expr::Exists(Exists { subquery, .. }) => {
                        check(subquery)?;
                        Ok(TreeNodeRecursion::Continue)
                    }
                    _ => Ok(TreeNodeRecursion::Continue),
                })
            })
        })?;
        Ok(plan)
    }
}

fn check(subquery: &Subquery) -> Result<()> {
    if subquery.outer_ref_columns.is_empty() {
        return Ok(());
    }
    subquery.subquery.apply(|node| {
        let what = match node {
            LogicalPlan::Limit(_) => "LIMIT or OFFSET",
            LogicalPlan::Window(_) => "a window function",
            LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => "an aggregate without GROUP BY",
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        if node.all_out_ref_exprs().is_empty() {
            return Ok(TreeNodeRecursion::Continue);
        }
        let feature =
            format!("{what} over a condition on an outer column, in a subquery of IN or EXISTS; join instead");
        Err(Error::unsupported("this query", feature).into())
    })?;
    Ok(())
}
