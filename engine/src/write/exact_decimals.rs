//! Keeps every digit of numbers written into decimal columns.
//!
//! The planner reads `12345678901234567.89` as a double, which has fewer digits than a decimal column may ask for. In
//! VALUES of an INSERT the column's type is known, so such a number is handed over as text and cast to that type.

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, ExactNumberInfo, Expr, Query, SetExpr, UnaryOperator, Value, ValueWithSpan,
};
use iceberg::spec::{NestedField, PrimitiveType, Type};

/// Rewrites the numbers of VALUES rows whose columns are decimals; other queries are left alone.
pub(super) fn keep_digits(query: &mut Query, targets: &[&NestedField]) {
    let SetExpr::Values(values) = query.body.as_mut() else { return };
    for row in &mut values.rows {
        for (value, target) in row.iter_mut().zip(targets) {
            let Type::Primitive(PrimitiveType::Decimal { precision, scale }) = target.field_type.as_ref() else {
                continue;
            };
            if let Some(digits) = digits(value) {
                *value = cast(digits, *precision, *scale);
            }
        }
    }
}

/// The digits of a number with a point, with its sign; none for any other expression.
fn digits(value: &Expr) -> Option<String> {
    match value {
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => {
            (digits.contains('.') && !digits.contains(['e', 'E'])).then(|| digits.clone())
        }
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => digits_of_operand(expr).map(|digits| format!("-{digits}")),
        _ => None,
    }
}

fn digits_of_operand(operand: &Expr) -> Option<String> {
    match operand {
        Expr::Value(_) => digits(operand),
        _ => None,
    }
}

fn cast(digits: String, precision: u32, scale: u32) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Value(Value::SingleQuotedString(digits).into())),
        data_type: DataType::Decimal(ExactNumberInfo::PrecisionAndScale(precision.into(), scale.into())),
        array: false,
        format: None,
    }
}
