//! A scalar subquery that may have no row may be NULL.
//!
//! In: a plan after type coercion. Out: the same plan, in which such a subquery is called nullable. DataFusion 55.2 asks its column only,
//! and takes a test of it for decided:
//!
//! ```text
//! (SELECT 5 WHERE false) IS NULL   becomes   or_null((SELECT 5 WHERE false)) IS NULL
//! ```

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection, Sort, SubqueryAlias};
use datafusion::optimizer::analyzer::AnalyzerRule;

use super::map_named;
use crate::functions::OrNull;

/// The pass.
#[derive(Debug)]
pub(super) struct EmptySubqueries;

impl AnalyzerRule for EmptySubqueries {
    fn name(&self) -> &str {
        "empty_subqueries"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let mut is_changed = false;
        let rewritten = plan.transform_up_with_subqueries(|plan| {
            let rewritten = map_named(plan, |expr| expr.transform_up(|expr| Ok(rewrite(expr))))?;
            // What stands above hands the column on.
            is_changed |= rewritten.transformed;
            if is_changed { rewritten.map_data(LogicalPlan::recompute_schema) } else { Ok(rewritten) }
        })?;
        Ok(rewritten.data)
    }
}

fn rewrite(expr: Expr) -> Transformed<Expr> {
    match &expr {
        Expr::ScalarSubquery(subquery)
            if !has_nullable_column(&subquery.subquery) && !has_a_row(&subquery.subquery) =>
        {
            Transformed::yes(OrNull::call(expr))
        }
        _ => Transformed::no(expr),
    }
}

fn has_nullable_column(plan: &LogicalPlan) -> bool {
    plan.schema().fields().iter().any(|field| field.is_nullable())
}

/// Whether a plan has a row, whatever the tables hold.
fn has_a_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(Aggregate { group_expr, .. }) => group_expr.is_empty(),
        LogicalPlan::EmptyRelation(relation) => relation.produce_one_row,
        LogicalPlan::Values(values) => !values.values.is_empty(),
        LogicalPlan::Sort(Sort { input, fetch: None, .. })
        | LogicalPlan::Projection(Projection { input, .. })
        | LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. }) => has_a_row(input),
        LogicalPlan::Subquery(subquery) => has_a_row(&subquery.subquery),
        _ => false,
    }
}
