//! `-x` in the arguments of a function in FROM as `0 - x`, which fails where `-x` overflows.
//!
//! DataFusion computes these arguments before there is a plan, with a minus that wraps around, and asks nobody.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, TableFactor, TableFunctionArgs, UnaryOperator, Value, visit_expressions,
    visit_expressions_mut,
};

/// Rewrites the arguments, if the relation has any.
pub(super) fn subtract(factor: &mut TableFactor) {
    let args = match factor {
        TableFactor::Table { args: Some(TableFunctionArgs { args, .. }), .. } | TableFactor::Function { args, .. } => {
            args
        }
        _ => return,
    };
    let _: ControlFlow<()> = visit_expressions_mut(args, |expr| {
        if let Expr::UnaryOp { op: UnaryOperator::Minus, expr: operand } = expr
            && !is_constant(operand)
        {
            let zero = Expr::value(Value::Number("0".to_owned(), false));
            let operand = Expr::Nested(operand.clone());
            *expr = Expr::BinaryOp { left: Box::new(zero), op: BinaryOperator::Minus, right: Box::new(operand) };
        }
        ControlFlow::Continue(())
    });
}

/// Whether it is a constant, which has its sign already, or may be an interval, from which there is no zero to subtract.
fn is_constant(operand: &Expr) -> bool {
    let has_interval = visit_expressions(operand, |expr| match expr {
        Expr::Interval(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    matches!(operand, Expr::Value(_)) || has_interval.is_break()
}
