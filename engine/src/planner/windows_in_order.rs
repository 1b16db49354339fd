//! Aggregates over windows are computed in the order that the window names, if their value depends on it.
//!
//! In: a logical plan. Out: the same plan with [`InOneOrder`] in the place of such aggregates, or else DataFusion gives the second
//! column backwards, having sorted for the first:
//!
//! ```text
//! SELECT row_number() OVER (ORDER BY id DESC), array_agg(id) OVER (ORDER BY id) FROM t
//! ```

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{Expr, LogicalPlan, WindowFunctionDefinition};
use datafusion::optimizer::analyzer::AnalyzerRule;

use super::map_named;
use crate::functions::InOneOrder;

/// The pass.
#[derive(Debug)]
pub(super) struct WindowsInOrder;

impl AnalyzerRule for WindowsInOrder {
    fn name(&self) -> &str {
        "windows_in_order"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Window(_) => map_named(plan, |expr| expr.transform_down(|expr| Ok(rewrite_expr(expr)))),
            other => Ok(Transformed::no(other)),
        });
        Ok(rewritten?.data)
    }
}

fn rewrite_expr(expr: Expr) -> Transformed<Expr> {
    let Expr::WindowFunction(mut window) = expr else { return Transformed::no(expr) };
    let in_one_order = match &window.fun {
        WindowFunctionDefinition::AggregateUDF(function) => InOneOrder::of(function),
        WindowFunctionDefinition::WindowUDF(_) => None,
    };
    let changed = in_one_order.is_some();
    if let Some(function) = in_one_order {
        window.fun = WindowFunctionDefinition::AggregateUDF(function);
    }
    Transformed::new_transformed(Expr::WindowFunction(window), changed)
}
