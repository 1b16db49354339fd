//! Integer `+`, `-`, `*` and unary minus fail when they overflow, and so do operators of decimals.
//!
//! In: a logical plan after type coercion. Out: the same plan with [`CheckedArithmetic`] in the place of these operators, because
//! DataFusion evaluates them with wrapping kernels, in constants as in columns; with [`DecimalArithmetic`] where the type of a result of
//! decimals has no room for all results. Comparisons and all other types are left as they
//! are, and with them pruning and the keys of joins; names of columns stay.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{BinaryExpr, ScalarFunction};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF};
use datafusion::optimizer::analyzer::AnalyzerRule;

use super::map_named;
use crate::functions::{CheckedArithmetic, DecimalArithmetic, Operation};

/// The pass.
#[derive(Debug)]
pub(super) struct CheckOverflow;

impl AnalyzerRule for CheckOverflow {
    fn name(&self) -> &str {
        "check_overflow"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(rewrite_plan)?.data)
    }
}

fn rewrite_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    // Downwards, because the type of an operator is found faster than that of a function.
    let rewritten = map_named(plan, |expr| expr.transform_down(|expr| Ok(rewrite_expr(expr, &schema))))?;
    if rewritten.transformed { rewritten.map_data(LogicalPlan::recompute_schema) } else { Ok(rewritten) }
}

fn rewrite_expr(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let integer = |expr: &Expr| expr.get_type(schema).ok().filter(DataType::is_integer);
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let operation = match op {
                Operator::Plus => Some(Operation::Add),
                Operator::Minus => Some(Operation::Subtract),
                Operator::Multiply => Some(Operation::Multiply),
                _ => None,
            };
            match operation {
                Some(operation) if integer(&left).is_some_and(|ty| integer(&right) == Some(ty)) => {
                    Transformed::yes(call(operation, vec![*left, *right]))
                }
                _ => match decimals(&left, op, &right, schema) {
                    Some(function) => Transformed::yes(function.call(vec![*left, *right])),
                    None => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
                },
            }
        }
        Expr::Negative(value) if integer(&value).is_some_and(|ty| ty.is_signed_integer()) => {
            Transformed::yes(call(Operation::Negate, vec![*value]))
        }
        other => Transformed::no(other),
    }
}

/// The function for decimals that may overflow.
fn decimals(left: &Expr, op: Operator, right: &Expr, schema: &DFSchema) -> Option<Arc<ScalarUDF>> {
    if !matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo) {
        return None;
    }
    DecimalArithmetic::function(op, &left.get_type(schema).ok()?, &right.get_type(schema).ok()?)
}

/// The checked operation on operands of one type.
pub(super) fn call(operation: Operation, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(CheckedArithmetic::function(operation), args))
}
