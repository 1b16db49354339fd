//! A NULL within a list or a struct is the largest of its values, wherever NULLs themselves come in an order.
//!
//! In: a plan after type coercion. Out: the same plan, in which a key that is a list, a struct or a map, and whose NULLs come where
//! DataFusion would put those within it on the wrong side too, is two keys:
//!
//! ```text
//! ORDER BY l NULLS FIRST   becomes   ORDER BY l IS NULL DESC, l NULLS LAST
//! ```
//! (PostgreSQL's order of arrays and rows. DataFusion 55.2 sorts what is within by the key's own NULLS FIRST or LAST.)

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::Sort as SortKey;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};

use super::map_named;
use datafusion::optimizer::analyzer::AnalyzerRule;

/// The pass.
#[derive(Debug)]
pub(super) struct NullsInLists;

impl AnalyzerRule for NullsInLists {
    fn name(&self) -> &str {
        "nulls_in_lists"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(rewrite_plan)?.data)
    }
}

fn rewrite_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    let rewritten = map_named(plan, |expr| expr.transform_up(|expr| Ok(rewrite_expr(expr, &schema))))?;
    rewritten.transform_data(|plan| {
        Ok(match plan {
            LogicalPlan::Sort(mut sort) => {
                let changed = settle(&mut sort.expr, &schema);
                Transformed::new_transformed(LogicalPlan::Sort(sort), changed)
            }
            other => Transformed::no(other),
        })
    })
}

fn rewrite_expr(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::WindowFunction(mut window) => {
            let changed = settle(&mut window.params.order_by, schema);
            Transformed::new_transformed(Expr::WindowFunction(window), changed)
        }
        // With DISTINCT, what rows are ordered by must be among the arguments.
        Expr::AggregateFunction(mut aggregate) if !aggregate.params.distinct => {
            let changed = settle(&mut aggregate.params.order_by, schema);
            Transformed::new_transformed(Expr::AggregateFunction(aggregate), changed)
        }
        other => Transformed::no(other),
    }
}

/// Makes two keys of those that need it; whether there were any.
fn settle(keys: &mut Vec<SortKey>, schema: &DFSchema) -> bool {
    let is_concerned = |key: &SortKey| {
        key.asc == key.nulls_first && key.expr.get_type(schema).is_ok_and(|data_type| data_type.is_nested())
    };
    if !keys.iter().any(is_concerned) {
        return false;
    }
    let settled = keys.drain(..).flat_map(|key| match is_concerned(&key) {
        true => {
            let nulls = SortKey::new(key.expr.clone().is_null(), !key.nulls_first, false);
            vec![nulls, SortKey::new(key.expr, key.asc, !key.asc)]
        }
        false => vec![key],
    });
    *keys = settled.collect();
    true
}
