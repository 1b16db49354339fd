//! A date plus or minus an interval with hours is a timestamp; a date minus a date is a number of days.
//!
//! In: an operator and its operands, while SQL becomes a plan. Out: the date as a timestamp, if the interval may have a part of a
//! day, which DataFusion would drop. PostgreSQL makes every such result a timestamp; here it stays a date where the interval is a
//! constant of whole months and days, so that `day < DATE '2024-01-01' + INTERVAL '1' YEAR` compares dates and prunes files.
//! Between dates, DataFusion would give a duration, which few clients can read.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, cast};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::fold_constant;

const DAY_NANOSECONDS: i64 = 86_400_000_000_000;
const DAY_MILLISECONDS: i32 = 86_400_000;

/// The pass, to be asked before DataFusion's planners.
#[derive(Debug)]
pub(crate) struct PlanDateIntervals;

impl ExprPlanner for PlanDateIntervals {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, mut left, mut right } = expr;
        let is = |expr: &Expr, kind: fn(&DataType) -> bool| expr.get_type(schema).is_ok_and(|ty| kind(&ty));
        let is_date = |ty: &DataType| matches!(ty, DataType::Date32);
        let is_interval = |ty: &DataType| matches!(ty, DataType::Interval(_) | DataType::Duration(_));
        if matches!(op, BinaryOperator::Minus) && is(&right, is_date) && is(&left, is_date) {
            let name = format!("{} - {}", left.schema_name(), right.schema_name());
            let days = |date: Expr| cast(date, DataType::Int32);
            return Ok(PlannerResult::Planned((days(left) - days(right)).alias(name)));
        }
        // The right side first: in a chain, the left one is all of it up to here.
        if matches!(op, BinaryOperator::Plus | BinaryOperator::Minus) && is(&right, is_interval) && is(&left, is_date) {
            left = at_midnight(left, &right);
        } else if matches!(op, BinaryOperator::Plus) && is(&right, is_date) && is(&left, is_interval) {
            right = at_midnight(right, &left);
        }
        Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }))
    }
}

/// The date as it is if the interval is known to have whole days, or else as a timestamp.
fn at_midnight(date: Expr, interval: &Expr) -> Expr {
    if whole_days(interval) { date } else { cast(date, DataType::Timestamp(TimeUnit::Microsecond, None)) }
}

fn whole_days(interval: &Expr) -> bool {
    let Expr::Literal(value, _) = fold_constant(interval.clone()) else { return false };
    match value {
        ScalarValue::IntervalMonthDayNano(Some(interval)) => interval.nanoseconds % DAY_NANOSECONDS == 0,
        ScalarValue::IntervalDayTime(Some(interval)) => interval.milliseconds % DAY_MILLISECONDS == 0,
        ScalarValue::IntervalYearMonth(_) => true,
        other => other.is_null(),
    }
}
