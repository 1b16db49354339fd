//! `a ^ b`, which is a power in PostgreSQL.
//!
//! In: the operator, as the parser takes it. Out: `power` of two floating-point numbers. A minus before it binds closer: `-2 ^ 2` is 4.

use datafusion::sql::sqlparser::ast::{BinaryOperator, DataType, ExactNumberInfo, Expr, UnaryOperator, Value};

use super::{call, cast};

/// `power` of two operands, which are taken.
pub(super) fn power(base: &mut Expr, exponent: &mut Expr) -> Expr {
    let double = |operand: &mut Expr| cast(taken(operand), DataType::Double(ExactNumberInfo::None));
    call("power", vec![double(base), double(exponent)])
}

/// Hands a sign before a chain of powers, as the parser reads it, to the first number.
pub(super) fn bind_minus_first(expr: &mut Expr) {
    let Expr::UnaryOp { op: op @ (UnaryOperator::Minus | UnaryOperator::Plus), expr: operand } = expr else { return };
    if !is_power(operand) {
        return;
    }
    let op = *op;
    let mut chain = taken(operand);
    let mut first = &mut chain;
    while let Expr::BinaryOp { op: BinaryOperator::BitwiseXor, left, .. } = first {
        first = left;
    }
    *first = Expr::UnaryOp { op, expr: Box::new(taken(first)) };
    *expr = chain;
}

fn is_power(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::BitwiseXor, .. })
}

fn taken(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::value(Value::Null))
}
