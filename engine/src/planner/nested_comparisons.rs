//! `<`, `<=`, `>` and `>=` of lists, structs and maps, which go by the same order as ORDER BY.
//!
//! In: a plan after type coercion. Out: the same plan with [`NestedComparison`] in the place of these operators where both sides are nested,
//! and with two of them for a BETWEEN. DataFusion 55.2 takes a NULL within a list for the smallest of its values. `=` is right.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Between, BinaryExpr};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, not};
use datafusion::optimizer::analyzer::AnalyzerRule;

use super::map_named;
use crate::functions::NestedComparison;

/// The pass.
#[derive(Debug)]
pub(super) struct NestedComparisons;

impl AnalyzerRule for NestedComparisons {
    fn name(&self) -> &str {
        "nested_comparisons"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|plan| {
            let schema = merge_schema(&plan.inputs());
            map_named(plan, |expr| expr.transform_up(|expr| Ok(rewrite_expr(expr, &schema))))
        });
        Ok(rewritten?.data)
    }
}

fn rewrite_expr(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_nested = |expr: &Expr| expr.get_type(schema).is_ok_and(|data_type| data_type.is_nested());
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if NestedComparison::OPERATORS.contains(&op) && is_nested(&left) && is_nested(&right) =>
        {
            Transformed::yes(NestedComparison::call(op, *left, *right))
        }
        Expr::Between(Between { expr, negated, low, high })
            if !expr.is_volatile() && is_nested(&expr) && is_nested(&low) && is_nested(&high) =>
        {
            let from_low = NestedComparison::call(Operator::GtEq, expr.as_ref().clone(), *low);
            let between = from_low.and(NestedComparison::call(Operator::LtEq, *expr, *high));
            Transformed::yes(if negated { not(between) } else { between })
        }
        other => Transformed::no(other),
    }
}
