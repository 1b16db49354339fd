//! The two zeros of floating-point numbers are one value where rows are told apart by sorting or by their bits.
//!
//! In: a logical plan after type coercion, and at the end of optimisation. Out: the same plan with `x + 0.0`, which is `x` but for
//! `-0.0`, for `x` among what windows are parted and ordered by, what DISTINCT aggregates take and others are
//! ordered by, sort keys that others follow, and the keys of joins that sort. `=`, `GROUP BY` and joins by hash take the zeros for equal already. DataFusion 55.2.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{BinaryExpr, Sort as SortKey};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, Join, LogicalPlan, Operator, Sort, lit};
use datafusion::optimizer::analyzer::AnalyzerRule;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The pass over windows, aggregates and sorts.
#[derive(Debug)]
pub(super) struct OneZero;

impl AnalyzerRule for OneZero {
    fn name(&self) -> &str {
        "one_zero"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(rewrite_plan)?.data)
    }
}

fn rewrite_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    match plan {
        LogicalPlan::Sort(Sort { mut expr, input, fetch }) => {
            let followed = expr.len().saturating_sub(1);
            let changed =
                expr[..followed].iter_mut().fold(false, |changed, key| settle(&mut key.expr, &schema) | changed);
            Ok(Transformed::new_transformed(LogicalPlan::Sort(Sort { expr, input, fetch }), changed))
        }
        LogicalPlan::Window(_) | LogicalPlan::Aggregate(_) => {
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let rewritten = expr.transform_up(|expr| Ok(rewrite_expr(expr, &schema)))?;
                Ok(if rewritten.transformed { rewritten.update_data(|expr| name.restore(expr)) } else { rewritten })
            })
        }
        other => Ok(Transformed::no(other)),
    }
}

fn rewrite_expr(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let settled = |exprs: &mut Vec<Expr>| exprs.iter_mut().fold(false, |changed, expr| settle(expr, schema) | changed);
    let settled_keys =
        |keys: &mut Vec<SortKey>| keys.iter_mut().fold(false, |changed, key| settle(&mut key.expr, schema) | changed);
    match expr {
        Expr::WindowFunction(mut window) => {
            let params = &mut window.params;
            let changed = settled(&mut params.partition_by)
                | settled_keys(&mut params.order_by)
                | (params.distinct && settled(&mut params.args));
            Transformed::new_transformed(Expr::WindowFunction(window), changed)
        }
        Expr::AggregateFunction(mut aggregate) => {
            // With DISTINCT, what rows are ordered by must be among the arguments.
            let params = &mut aggregate.params;
            let changed = settled_keys(&mut params.order_by) | (params.distinct && settled(&mut params.args));
            Transformed::new_transformed(Expr::AggregateFunction(aggregate), changed)
        }
        other => Transformed::no(other),
    }
}

/// The pass over joins: those by hash need nothing.
#[derive(Debug)]
pub(super) struct OneZeroInSortedJoins;

impl OptimizerRule for OneZeroInSortedJoins {
    fn name(&self) -> &str {
        "one_zero_in_sorted_joins"
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if config.options().optimizer.prefer_hash_join {
            return Ok(Transformed::no(plan));
        }
        plan.transform_up_with_subqueries(|plan| {
            let LogicalPlan::Join(mut join) = plan else { return Ok(Transformed::no(plan)) };
            let changed = settle_keys(&mut join);
            Ok(Transformed::new_transformed(LogicalPlan::Join(join), changed))
        })
    }
}

fn settle_keys(join: &mut Join) -> bool {
    let (left, right) = (join.left.schema(), join.right.schema());
    join.on
        .iter_mut()
        .fold(false, |changed, (of_left, of_right)| settle(of_left, left) | settle(of_right, right) | changed)
}

/// Makes `x + 0.0` of a number that may be `-0.0`; whether it did.
fn settle(expr: &mut Expr, schema: &DFSchema) -> bool {
    let zero = match expr.get_type(schema) {
        Ok(DataType::Float64) => lit(0.0_f64),
        Ok(DataType::Float32) => lit(0.0_f32),
        _ => return false,
    };
    if matches!(expr, Expr::BinaryExpr(BinaryExpr { op: Operator::Plus, right, .. }) if **right == zero) {
        return false;
    }
    let number = std::mem::take(expr);
    *expr = Expr::BinaryExpr(BinaryExpr::new(Box::new(number), Operator::Plus, Box::new(zero)));
    true
}
