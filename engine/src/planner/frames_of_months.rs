//! Functions over RANGE frames of months, ordered by a timestamp, become functions of whole partitions ([`MonthFrames`]), since the
//! frames do not only move forward.
//!
//! ```text
//! sum(v) OVER (ORDER BY t RANGE BETWEEN 1 mons PRECEDING AND CURRENT ROW)
//! over_months(v, t) OVER (ORDER BY t)    of the function sum and the frame
//! ```

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, WindowFrame, WindowFunctionDefinition, WindowUDF};
use datafusion::optimizer::analyzer::AnalyzerRule;

use super::map_named;
use crate::functions::{MonthFrames, reaches_over_months};

/// The pass. Offsets have their types.
#[derive(Debug)]
pub(super) struct FramesOfMonths;

impl AnalyzerRule for FramesOfMonths {
    fn name(&self) -> &str {
        "frames_of_months"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(rewrite_plan)?.data)
    }
}

fn rewrite_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Window(window) = &plan else { return Ok(Transformed::no(plan)) };
    let schema = Arc::clone(window.input.schema());
    let rewritten = map_named(plan, |expr| expr.transform_down(|expr| rewrite_expr(expr, &schema)))?;
    if rewritten.transformed { rewritten.map_data(LogicalPlan::recompute_schema) } else { Ok(rewritten) }
}

fn rewrite_expr(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::WindowFunction(function) = &expr else { return Ok(Transformed::no(expr)) };
    let params = &function.params;
    let takes_frame = match &function.fun {
        WindowFunctionDefinition::AggregateUDF(_) => true,
        WindowFunctionDefinition::WindowUDF(function) => {
            matches!(function.name(), "first_value" | "last_value" | "nth_value")
        }
    };
    let [key] = &params.order_by[..] else { return Ok(Transformed::no(expr)) };
    if !takes_frame
        || !reaches_over_months(&params.window_frame)
        || !matches!(key.expr.get_type(schema)?, DataType::Timestamp(..))
    {
        return Ok(Transformed::no(expr));
    }
    let order = (!key.asc, key.nulls_first);
    let mut over = MonthFrames::new(function.fun.clone(), params.window_frame.clone(), order);
    over.distinct = params.distinct;
    over.has_filter = params.filter.is_some();
    let mut params = params.clone();
    params.args.extend(params.filter.take().map(|filter| *filter));
    params.args.push(key.expr.clone());
    params.distinct = false;
    params.window_frame = WindowFrame::new(None);
    let fun = WindowFunctionDefinition::WindowUDF(Arc::new(WindowUDF::new_from_impl(over)));
    Ok(Transformed::yes(Expr::WindowFunction(Box::new(WindowFunction { fun, params }))))
}
