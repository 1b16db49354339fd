//! Comparisons of rows, such as `(a, b) < (5, 2)` or `(a, b) IS NULL`, as comparisons of their columns.
//!
//! In: a comparison of two row constructors. Out: what SQL defines it to be, where NULL makes it unknown. DataFusion compares
//! structs, for which NULL is a value like any other. Source: ISO 9075-2, 8.2 (comparison predicate).

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, Value,
};

use crate::{Error, Result};

/// Columns of a row that is compared: a comparison is a tree as deep as the row is long.
const COLUMNS_MAX: usize = 100;

/// Comparisons of columns that one list may become.
const COMPARISONS_MAX: usize = 2_000;

/// Whether the expression compares rows in a way that repeats their columns.
pub(super) fn repeats_columns(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryOp { left, op, right } => is_order(op) && row(left).is_some() && row(right).is_some(),
        Expr::Between { expr, .. } => row(expr).is_some(),
        Expr::InList { expr, .. } => row(expr).is_some(),
        _ => false,
    }
}

/// Rewrites a comparison of rows. Any other expression stays.
///
/// # Errors
/// If the rows have different lengths, or a list has too many.
pub(super) fn by_columns(expr: &mut Expr) -> Result<()> {
    let rewritten = match expr {
        Expr::BinaryOp { left, op, right } => match (row(left), row(right)) {
            (Some(left), Some(right)) => compare(&left, op, &right)?,
            _ => None,
        },
        Expr::IsDistinctFrom(left, right) => match (row(left), row(right)) {
            (Some(left), Some(right)) => Some(distinct(&left, &right, Expr::IsDistinctFrom, BinaryOperator::Or)?),
            _ => None,
        },
        Expr::IsNotDistinctFrom(left, right) => match (row(left), row(right)) {
            (Some(left), Some(right)) => Some(distinct(&left, &right, Expr::IsNotDistinctFrom, BinaryOperator::And)?),
            _ => None,
        },
        Expr::IsNull(value) => row(value).and_then(|columns| all(&columns, Expr::IsNull)),
        Expr::IsNotNull(value) => row(value).and_then(|columns| all(&columns, Expr::IsNotNull)),
        Expr::Between { expr, negated, low, high } => match (row(expr), row(low), row(high)) {
            (Some(value), Some(low), Some(high)) => between(&value, &low, &high)?.map(|all| negate(all, *negated)),
            _ => None,
        },
        Expr::InList { expr, list, negated } => match (row(expr), list.iter().map(row).collect::<Option<Vec<_>>>()) {
            (Some(value), Some(rows)) => Some(negate(in_list(&value, &rows)?, *negated)),
            _ => None,
        },
        _ => None,
    };
    if let Some(rewritten) = rewritten {
        *expr = rewritten;
    }
    Ok(())
}

/// Whether an expression is a row constructor of columns.
pub(super) fn is_row(expr: &Expr) -> bool {
    row(expr).is_some()
}

/// A test that each column passes: a row is NULL if all of it is, and NOT NULL if none of it is. Source: 8.8 (null predicate).
fn all(columns: &[&Expr], test: fn(Box<Expr>) -> Expr) -> Option<Expr> {
    let tests = columns.iter().map(|column| nested(test(Box::new((*column).clone()))));
    joined(tests.collect(), &BinaryOperator::And)
}

/// The columns of a row constructor: `(a, b)`, `ROW(a, b)`.
fn row(expr: &Expr) -> Option<Vec<&Expr>> {
    match expr {
        Expr::Nested(inner) => row(inner),
        Expr::Tuple(columns) => Some(columns.iter().collect()),
        Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) => {
            let [part] = name.0.as_slice() else { return None };
            let is_row = part.as_ident().is_some_and(|name| name.value.eq_ignore_ascii_case("row"));
            let columns = list.args.iter().map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(column)) => Some(column),
                _ => None,
            });
            if is_row && !list.args.is_empty() { columns.collect() } else { None }
        }
        _ => None,
    }
}

fn is_order(op: &BinaryOperator) -> bool {
    matches!(op, BinaryOperator::Lt | BinaryOperator::LtEq | BinaryOperator::Gt | BinaryOperator::GtEq)
}

/// One comparison; none if the operator does not compare.
fn compare(left: &[&Expr], op: &BinaryOperator, right: &[&Expr]) -> Result<Option<Expr>> {
    if !is_order(op) && !matches!(op, BinaryOperator::Eq | BinaryOperator::NotEq) {
        return Ok(None);
    }
    check_lengths(left, right)?;
    let pairs = || left.iter().zip(right).map(|(left, right)| binary((*left).clone(), op.clone(), (*right).clone()));
    Ok(match op {
        BinaryOperator::Eq => joined(pairs().collect(), &BinaryOperator::And),
        BinaryOperator::NotEq => joined(pairs().collect(), &BinaryOperator::Or),
        op => in_order(left, op, right),
    })
}

fn check_lengths(left: &[&Expr], right: &[&Expr]) -> Result<()> {
    let (left, right) = (left.len(), right.len());
    if left > COLUMNS_MAX {
        let feature = format!("a row of {left} columns, of more than {COLUMNS_MAX}");
        return Err(Error::unsupported("a comparison of rows", feature));
    }
    if left == right && left > 0 {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "a row of {left} columns is compared with a row of {right}: both must have the same number"
    )))
}

/// The first column that differs decides: `a < c OR (a = c AND b < d)`. Equality counts only in the last.
fn in_order(left: &[&Expr], op: &BinaryOperator, right: &[&Expr]) -> Option<Expr> {
    let strictly = match op {
        BinaryOperator::Lt | BinaryOperator::LtEq => BinaryOperator::Lt,
        _ => BinaryOperator::Gt,
    };
    let mut pairs = left.iter().zip(right).rev().map(|(left, right)| ((*left).clone(), (*right).clone()));
    let (last_left, last_right) = pairs.next()?;
    let last = binary(last_left, op.clone(), last_right);
    Some(pairs.fold(last, |rest, (left, right)| {
        let equal = binary(left.clone(), BinaryOperator::Eq, right.clone());
        let tied = nested(binary(equal, BinaryOperator::And, rest));
        nested(binary(binary(left, strictly.clone(), right), BinaryOperator::Or, tied))
    }))
}

fn between(value: &[&Expr], low: &[&Expr], high: &[&Expr]) -> Result<Option<Expr>> {
    let from = compare(value, &BinaryOperator::GtEq, low)?;
    let to = compare(value, &BinaryOperator::LtEq, high)?;
    Ok(joined(from.into_iter().chain(to).collect(), &BinaryOperator::And))
}

fn distinct(
    left: &[&Expr],
    right: &[&Expr],
    test: fn(Box<Expr>, Box<Expr>) -> Expr,
    op: BinaryOperator,
) -> Result<Expr> {
    check_lengths(left, right)?;
    let pairs = left.iter().zip(right);
    let tests = pairs.map(|(left, right)| nested(test(Box::new((*left).clone()), Box::new((*right).clone()))));
    Ok(joined(tests.collect(), &op).unwrap_or_else(|| Expr::value(Value::Null)))
}

fn in_list(value: &[&Expr], rows: &[Vec<&Expr>]) -> Result<Expr> {
    if value.len().saturating_mul(rows.len()) > COMPARISONS_MAX {
        let feature = format!("a list of {} rows of {} columns; join with a table of them", rows.len(), value.len());
        return Err(Error::unsupported("IN", feature));
    }
    let mut equal = Vec::with_capacity(rows.len());
    for row in rows {
        equal.extend(compare(value, &BinaryOperator::Eq, row)?);
    }
    Ok(joined(equal, &BinaryOperator::Or).unwrap_or_else(|| Expr::value(Value::Boolean(false))))
}

/// Conditions joined by AND or OR, as a tree that is no deeper than it must be; none if there are none.
fn joined(mut conditions: Vec<Expr>, op: &BinaryOperator) -> Option<Expr> {
    if conditions.len() < 2 {
        return conditions.pop();
    }
    let second = conditions.split_off(conditions.len() / 2);
    Some(nested(binary(joined(conditions, op)?, op.clone(), joined(second, op)?)))
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

fn negate(expr: Expr, negated: bool) -> Expr {
    if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(nested(expr)) } } else { expr }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn rewritten(sql: &str) -> Result<String> {
        let mut parser = Parser::new(&GenericDialect {}).try_with_sql(sql).expect(sql);
        let mut expr = parser.parse_expr().expect(sql);
        by_columns(&mut expr)?;
        Ok(expr.to_string())
    }

    #[test]
    fn rows_are_compared_by_their_columns() {
        for (sql, expected) in [
            ("(a, b) = (1, 2)", "(a = 1 AND b = 2)"),
            ("(a, b) <> (1, 2)", "(a <> 1 OR b <> 2)"),
            ("(a, b) < (1, 2)", "(a < 1 OR (a = 1 AND b < 2))"),
            ("((a, b, c)) >= ROW(1, 2, 3)", "(a > 1 OR (a = 1 AND (b > 2 OR (b = 2 AND c >= 3))))"),
            ("(a, b) IN ((1, 2), (3, NULL))", "((a = 1 AND b = 2) OR (a = 3 AND b = NULL))"),
            ("(a, b) NOT IN ((1, 2))", "NOT ((a = 1 AND b = 2))"),
            ("(a, b) BETWEEN (1, 2) AND (3, 4)", "((a > 1 OR (a = 1 AND b >= 2)) AND (a < 3 OR (a = 3 AND b <= 4)))"),
            ("(a, b) IS NOT DISTINCT FROM (1, 2)", "((a IS NOT DISTINCT FROM 1) AND (b IS NOT DISTINCT FROM 2))"),
            ("(a, b) IS NULL", "((a IS NULL) AND (b IS NULL))"),
            ("(a, b) IS NOT NULL", "((a IS NOT NULL) AND (b IS NOT NULL))"),
            ("a = (1, 2)", "a = (1, 2)"),
            ("(a) = (1)", "(a) = (1)"),
        ] {
            assert_eq!(rewritten(sql).expect(sql), expected, "{sql}");
        }
    }

    #[test]
    fn rows_of_different_lengths_are_refused() {
        for sql in ["(a, b) = (1, 2, 3)", "(a, b) IN ((1, 2), (3, 4, 5))", "(a, b) BETWEEN (1, 2) AND (3, 4, 5)"] {
            assert!(rewritten(sql).is_err(), "{sql}");
        }
        let long = vec!["1"; 200].join(", ");
        assert!(rewritten(&format!("({long}) < ({long})")).is_err());
        let many = vec!["(1, 2)"; 1_001].join(", ");
        assert!(rewritten(&format!("(a, b) IN ({many})")).is_err());
    }
}
