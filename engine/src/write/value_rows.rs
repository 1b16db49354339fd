//! Rows of VALUES in an INSERT: each literal is meant in its column's type.
//!
//! The planner gives a column of VALUES one type for all rows before it knows the table: `('NaN'), (2.5)` becomes a
//! column of numbers, which 'NaN' is none of, and `12345678901234567.89` may lose digits. Here the table is known, so
//! numbers are handed over as text where other rows have text, and cast to the column's type where that is a decimal.

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, ExactNumberInfo, Expr, Query, SetExpr, UnaryOperator, Value, ValueWithSpan,
};
use iceberg::spec::{NestedField, PrimitiveType, Type};

/// Rewrites the literals of VALUES rows for the columns that they go into; other queries are left alone.
pub(super) fn mean_columns(query: &mut Query, targets: &[&NestedField]) {
    let SetExpr::Values(values) = query.body.as_mut() else { return };
    for (position, target) in targets.iter().enumerate() {
        let has_text = values.rows.iter().any(|row| row.get(position).is_some_and(is_text));
        let cells = values.rows.iter_mut().filter_map(|row| row.get_mut(position));
        for (cell, number) in cells.filter_map(|cell| number(cell).map(|number| (cell, number))) {
            match target.field_type.as_ref() {
                _ if has_text => *cell = text(number),
                Type::Primitive(PrimitiveType::Decimal { precision, scale }) if number.contains('.') => {
                    *cell = cast(number, *precision, *scale);
                }
                _ => {}
            }
        }
    }
}

fn is_text(value: &Expr) -> bool {
    matches!(value, Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(_), .. }))
}

/// A number as it is written, with its sign; none for any other expression.
fn number(value: &Expr) -> Option<String> {
    match value {
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => Some(digits.clone()),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(_) => number(expr).map(|digits| format!("-{digits}")),
            _ => None,
        },
        _ => None,
    }
}

fn text(number: String) -> Expr {
    Expr::Value(Value::SingleQuotedString(number).into())
}

fn cast(number: String, precision: u32, scale: u32) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(text(number)),
        data_type: DataType::Decimal(ExactNumberInfo::PrecisionAndScale(precision.into(), scale.into())),
        array: false,
        format: None,
    }
}
