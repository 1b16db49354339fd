//! Integer `+`, `-` and `*` of constants fail when they overflow, also where they are computed while SQL becomes a plan.
//!
//! In: an operator and its operands, in a place without columns, as the arguments of table functions are. Out: the checked
//! operation. DataFusion computes these arguments, with wrapping kernels, before there is a plan for `check_overflow.rs`.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{ExprSchemable, cast};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::check_overflow::call;
use crate::functions::Operation;

/// The pass, to be asked before DataFusion's planners.
#[derive(Debug)]
pub(super) struct CheckConstants;

impl ExprPlanner for CheckConstants {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let operation = match expr.op {
            BinaryOperator::Plus => Operation::Add,
            BinaryOperator::Minus => Operation::Subtract,
            BinaryOperator::Multiply => Operation::Multiply,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let types = (expr.left.get_type(schema), expr.right.get_type(schema));
        let ((Ok(left), Ok(right)), true) = (types, schema.fields().is_empty()) else {
            return Ok(PlannerResult::Original(expr));
        };
        let operands = match (left, right) {
            (left, right) if left == right && left.is_integer() => vec![expr.left, expr.right],
            (left, DataType::Int64) if is_narrower(&left) => vec![cast(expr.left, DataType::Int64), expr.right],
            (DataType::Int64, right) if is_narrower(&right) => vec![expr.left, cast(expr.right, DataType::Int64)],
            _ => return Ok(PlannerResult::Original(expr)),
        };
        Ok(PlannerResult::Planned(call(operation, operands)))
    }
}

/// Whether it is of the integers that become a `bigint` beside one.
fn is_narrower(ty: &DataType) -> bool {
    use DataType::{Int8, Int16, Int32, UInt8, UInt16, UInt32};
    matches!(ty, Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32)
}
