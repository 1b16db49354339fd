//! Rows of VALUES in an INSERT: each literal is meant in its column's type.
//!
//! The planner gives a column of VALUES one type for all rows before it knows the table: `('NaN'), (2.5)` becomes a
//! column of numbers, which 'NaN' is none of, and `12345678901234567.89` may lose digits. Here the table is known:
//! where rows differ in kind all of them are handed over as text, which is then read in the column's type, and
//! numbers for decimal and floating columns are given their type at once.

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, ExactNumberInfo, Expr, Query, SetExpr, UnaryOperator, Value, ValueWithSpan,
};
use iceberg::spec::{NestedField, PrimitiveType, Type};

/// Rewrites the cells of VALUES rows for the columns that they go into; other queries are left alone.
pub(super) fn mean_columns(query: &mut Query, targets: &[&NestedField]) {
    let SetExpr::Values(values) = query.body.as_mut() else { return };
    for (position, target) in targets.iter().enumerate() {
        let Type::Primitive(ty) = target.field_type.as_ref() else { continue };
        let mut cells: Vec<&mut Expr> = values.rows.iter_mut().filter_map(|row| row.get_mut(position)).collect();
        cells.retain(|cell| !is_null(cell));
        let texts = cells.iter().filter(|cell| is_text(cell)).count();
        let bytes = matches!(ty, PrimitiveType::Binary | PrimitiveType::Fixed(_));
        if texts > 0 && texts < cells.len() && !bytes {
            cells.into_iter().for_each(mean_text);
        } else if let Some(number_type) = number_type(ty) {
            cells.into_iter().for_each(|cell| mean_number(cell, &number_type));
        }
    }
}

fn is_null(cell: &Expr) -> bool {
    matches!(cell, Expr::Value(ValueWithSpan { value: Value::Null, .. }))
}

fn is_text(cell: &Expr) -> bool {
    matches!(cell, Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(_), .. }))
}

/// The type that numbers in a column have in any case, where the planner might choose another.
fn number_type(ty: &PrimitiveType) -> Option<DataType> {
    match ty {
        PrimitiveType::Float | PrimitiveType::Double => Some(DataType::Double(ExactNumberInfo::None)),
        PrimitiveType::Decimal { precision, scale } => {
            let digits = ExactNumberInfo::PrecisionAndScale((*precision).into(), (*scale).into());
            Some(DataType::Decimal(digits))
        }
        _ => None,
    }
}

fn mean_text(cell: &mut Expr) {
    if is_text(cell) {
        return;
    }
    *cell = match number(cell) {
        Some(number) => text(number),
        None => cast(cell.clone(), DataType::Varchar(None)),
    };
}

fn mean_number(cell: &mut Expr, ty: &DataType) {
    if let Some(number) = number(cell) {
        *cell = cast(text(number), ty.clone());
    }
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

fn cast(value: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(value), data_type, array: false, format: None }
}
