//! What SQL says and DataFusion would plan as something else: said in its words where it has them, refused where not.
//!
//! In: a parsed query. Out: the same query, so that
//! * `TIMESTAMP` and `TIME` have microseconds, as Iceberg's do (DataFusion's have nanoseconds, which overflow in the years
//!   before 1677 and after 2262, and do not compare with times of microseconds);
//! * a number with an exponent is a double, while `1.50` is a decimal and exact (setting `sql_parser.parse_float_as_decimal`);
//! * `= ANY (SELECT …)` is `IN`, `<> ALL (SELECT …)` is `NOT IN`; other such comparisons are refused, because DataFusion 55
//!   answers them wrongly;
//! * `x < ANY (list)` and the like are functions (`functions/quantified.rs`);
//! * an operator after `IS DISTINCT FROM x` is refused without parentheses, because the parser takes it into `x`;
//! * `INTERSECT ALL`, `EXCEPT ALL`, `FULL` and `RIGHT JOIN … USING`, and windows that build on others are refused for the same
//!   reason;
//! * `SIMILAR TO` is a match of all of a text, with SQL's wildcards (DataFusion takes its pattern for a regular expression);
//! * a column of `JOIN … USING` is named with its relation in WHERE, where DataFusion takes it for ambiguous;
//! * grouping sets within others, positions in them and `GROUP BY ()` are the grouping sets that they stand for;
//! * `SUBSTR(text, position)` is a function like others: the planner takes it for `SUBSTRING`, which takes patterns, too;
//! * `AT TIME ZONE` is `timezone()`, as in PostgreSQL (DataFusion casts to a type of that zone, which is no local time);
//! * `^` is a power (the parser takes it for XOR);
//! * comparisons of rows are comparisons of their columns (DataFusion compares structs, where NULL is a value);
//! * `FETCH FIRST n ROWS ONLY` is `LIMIT n`; clauses that would be ignored are refused by name;
//! * a window's frame has offsets that are not negative, and rows only if it begins before it ends;
//! * functions within functions are called by their own names, not by others;
//! * CTEs that call a volatile function are marked, so that their rows are the same wherever they are named;
//! * a select list may name one expression twice: the second gets a name of its own, such as `id_1`.

mod clauses;
mod frames;
mod function_names;
mod grouping_sets;
mod negated_arguments;
mod powers;
mod rows;
mod similar_to;
mod using_columns;
mod volatile_ctes;

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::logical_expr::Operator;
use datafusion::sql::parser::Statement as DFStatement;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, Query, Select, SelectItem, SetExpr, SetOperator, SetQuantifier, TableFactor,
    TimezoneInfo, Value, VisitMut, VisitorMut,
};

pub(crate) use function_names::call_by_name;
pub(crate) use volatile_ctes::mark_volatile_ctes;

use crate::functions::{Quantified, Quantifier};
use crate::{Error, Result};

/// Rewrites a query to what DataFusion plans as it is meant.
///
/// # Errors
/// When DataFusion has no plan with the right answer.
pub(crate) fn translate(statement: &mut DFStatement) -> Result<()> {
    let mut statement = statement;
    while let DFStatement::Explain(explain) = statement {
        statement = &mut explain.statement;
    }
    let DFStatement::Statement(statement) = statement else { return Ok(()) };
    match statement.visit(&mut Translator::default()) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

#[derive(Default)]
struct Translator {
    /// Comparisons of rows that are being walked through, and whose columns will be repeated.
    rows: usize,
}

impl VisitorMut for Translator {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        if self.rows > 0 {
            return refuse("a subquery in a comparison of rows; join with it, or compare the columns");
        }
        done(clauses::of_query(query))?;
        check_set_operations(&query.body)
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        negated_arguments::subtract(factor);
        done(clauses::of_table(factor))
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        powers::bind_minus_first(expr);
        if rows::repeats_columns(expr) {
            self.rows += 1;
            if self.rows > 1 {
                return refuse("a comparison of rows in a comparison of rows");
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        done(clauses::of_select(select))?;
        done(grouping_sets::spell_out(select))?;
        using_columns::qualify(select);
        name_repeated_items(&mut select.projection);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if rows::repeats_columns(expr) {
            self.rows -= 1;
        }
        match expr {
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } if is_subquery(right) => return quantified(expr),
            Expr::AnyOp { left, compare_op, right, .. } => {
                if let Some(name) = quantified_name(compare_op, Quantifier::Any) {
                    *expr = call(name, vec![left.as_ref().clone(), right.as_ref().clone()]);
                }
            }
            Expr::AllOp { left, compare_op, right } => {
                if let Some(name) = quantified_name(compare_op, Quantifier::All) {
                    *expr = call(name, vec![left.as_ref().clone(), right.as_ref().clone()]);
                }
            }
            Expr::SimilarTo { .. } => return done(similar_to::as_regular_expression(expr)),
            Expr::Value(value) => {
                if let Value::Number(digits, _) = &value.value
                    && digits.contains(['e', 'E'])
                {
                    let text = Value::SingleQuotedString(digits.clone());
                    let number = Expr::Value(text.with_span(value.span));
                    *expr = cast(number, DataType::Double(datafusion::sql::sqlparser::ast::ExactNumberInfo::None));
                }
            }
            Expr::Cast { expr: inner, data_type, kind: CastKind::Cast | CastKind::DoubleColon, .. } => {
                if is_time(data_type) {
                    let inner = std::mem::replace(inner.as_mut(), Expr::value(Value::Null));
                    *expr = cast_to_time(inner);
                } else {
                    in_microseconds(data_type);
                }
            }
            Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) if swallowed_operator(right) => {
                return refuse("AND, OR or a comparison after IS DISTINCT FROM without parentheses around it");
            }
            Expr::BinaryOp { op: BinaryOperator::BitwiseXor, left, right } => *expr = powers::power(left, right),
            Expr::BinaryOp { .. }
            | Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::InList { .. }
            | Expr::Between { .. } => return done(rows::by_columns(expr)),
            Expr::InSubquery { expr: row, .. } if rows::is_row(row) => {
                return refuse("IN of a row and a subquery; use EXISTS with an equation of each column");
            }
            Expr::Function(function) => return done(clauses::of_function(function)),
            Expr::Collate { .. } => return refuse("COLLATE; texts are compared by their code points"),
            Expr::Cast { data_type, .. } => in_microseconds(data_type),
            Expr::Substring { expr: text, substring_from: Some(from), substring_for, shorthand: true, .. } => {
                let null = || Box::new(Expr::value(Value::Null));
                let (text, from) = (std::mem::replace(text, null()), std::mem::replace(from, null()));
                let args = [text, from].into_iter().chain(substring_for.take()).map(|arg| *arg);
                *expr = call("substr", args.collect());
            }
            Expr::AtTimeZone { timestamp, time_zone } => {
                let null = || Box::new(Expr::value(Value::Null));
                let moment = std::mem::replace(timestamp, null());
                let zone = std::mem::replace(time_zone, null());
                *expr = call("timezone", vec![*zone, *moment]);
            }
            Expr::TypedString(typed) => {
                if is_time(&typed.data_type) {
                    *expr = cast_to_time(Expr::Value(typed.value.clone()));
                } else {
                    in_microseconds(&mut typed.data_type);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn done(result: Result<()>) -> ControlFlow<Error> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

/// Stops at what has no plan with the right answer.
fn refuse(feature: impl Into<String>) -> ControlFlow<Error> {
    ControlFlow::Break(refused(feature))
}

fn refused(feature: impl Into<String>) -> Error {
    Error::unsupported("this query", feature)
}

fn check_set_operations(body: &SetExpr) -> ControlFlow<Error> {
    let SetExpr::SetOperation { op, set_quantifier, left, right } = body else { return ControlFlow::Continue(()) };
    let all = matches!(set_quantifier, SetQuantifier::All | SetQuantifier::AllByName);
    match op {
        SetOperator::Intersect if all => return refuse("INTERSECT ALL"),
        SetOperator::Except | SetOperator::Minus if all => return refuse("EXCEPT ALL"),
        _ => {}
    }
    check_set_operations(left)?;
    check_set_operations(right)
}

/// The parser takes all that follows IS DISTINCT FROM as its operand, `AND` and `OR` included.
fn swallowed_operator(right: &Expr) -> bool {
    use BinaryOperator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or, Xor};
    matches!(right, Expr::BinaryOp { op: And | Or | Xor | Eq | NotEq | Lt | LtEq | Gt | GtEq, .. })
        || matches!(
            right,
            Expr::IsDistinctFrom(..) | Expr::IsNotDistinctFrom(..) | Expr::Between { .. } | Expr::InList { .. }
        )
}

fn is_subquery(expr: &Expr) -> bool {
    match expr {
        Expr::Subquery(_) => true,
        Expr::Nested(inner) => is_subquery(inner),
        _ => false,
    }
}

/// A comparison with ANY or ALL of a subquery, as IN or NOT IN.
fn quantified(expr: &mut Expr) -> ControlFlow<Error> {
    let (left, right, negated) = match expr {
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => (left, right, false),
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => (left, right, true),
        _ => return refuse("a comparison with ANY or ALL of a subquery; compare with its min() or max()"),
    };
    let mut right = right.as_ref();
    while let Expr::Nested(inner) = right {
        right = inner;
    }
    let Expr::Subquery(subquery) = right else { return ControlFlow::Continue(()) };
    *expr = Expr::InSubquery { expr: left.clone(), subquery: subquery.clone(), negated };
    ControlFlow::Continue(())
}

/// The function of a comparison with ANY or ALL of a list.
fn quantified_name(op: &BinaryOperator, quantifier: Quantifier) -> Option<&'static str> {
    let op = match op {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        _ => return None,
    };
    Quantified::name_of(op, quantifier)
}

fn in_microseconds(data_type: &mut DataType) {
    if let DataType::Timestamp(precision @ None, _) = data_type {
        *precision = Some(6);
    }
}

fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Time(None | Some(0..=6), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone))
}

/// SQL has no name for it that DataFusion knows.
fn cast_to_time(expr: Expr) -> Expr {
    call("arrow_cast", vec![expr, Expr::value(Value::SingleQuotedString("Time64(Microsecond)".to_owned()))])
}

fn call(function: &str, args: Vec<Expr>) -> Expr {
    let list = FunctionArgumentList {
        duplicate_treatment: None,
        args: args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect(),
        clauses: Vec::new(),
    };
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(function)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

/// DataFusion names a column after its expression without casts, and refuses two of one name.
fn name_repeated_items(items: &mut [SelectItem]) {
    let mut taken: HashSet<String> = items
        .iter()
        .filter_map(|item| match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
            _ => None,
        })
        .collect();
    for item in items {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        let name = without_casts(expr).to_string();
        if taken.insert(name.clone()) {
            continue;
        }
        let text = match &*expr {
            Expr::CompoundIdentifier(parts) => parts.last().map_or(name, |part| part.value.clone()),
            Expr::Identifier(ident) => ident.value.clone(),
            other => other.to_string(),
        };
        let mut alias = text.clone();
        let mut number = 0;
        while !taken.insert(alias.clone()) {
            number += 1;
            alias = format!("{text}_{number}");
        }
        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', alias) };
    }
}

fn without_casts(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast { expr, .. } | Expr::Nested(expr) => without_casts(expr),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::{self, Statement};

    fn translated(sql: &str) -> Result<String> {
        let Ok(Statement::Query(mut query)) = statement::parse(sql) else { panic!("{sql} is not a query") };
        translate(&mut query)?;
        Ok(query.to_string())
    }

    #[test]
    fn queries_are_said_in_datafusions_words() {
        for (sql, expected) in [
            ("SELECT TIMESTAMP '2024-01-01'", "SELECT TIMESTAMP(6) '2024-01-01'"),
            ("SELECT CAST(a AS timestamp) FROM t", "SELECT CAST(a AS TIMESTAMP(6)) FROM t"),
            ("SELECT TIME '12:00:00'", "SELECT arrow_cast('12:00:00', 'Time64(Microsecond)')"),
            ("SELECT 1e3, 1.5", "SELECT CAST('1e3' AS DOUBLE), 1.5"),
            ("SELECT a FROM t WHERE a = ANY (SELECT b FROM u)", "SELECT a FROM t WHERE a IN (SELECT b FROM u)"),
            ("SELECT a FROM t WHERE a <> ALL (SELECT b FROM u)", "SELECT a FROM t WHERE a NOT IN (SELECT b FROM u)"),
            ("SELECT SUBSTR(a, 2), substr(a, b, 3) FROM t", "SELECT substr(a, 2), substr(a, b, 3) FROM t"),
            ("SELECT SUBSTRING(a FROM 'b') FROM t", "SELECT SUBSTRING(a FROM 'b') FROM t"),
            ("SELECT a SIMILAR TO 'b%' FROM t", "SELECT a ~ '^(?s:b.*)$' FROM t"),
            ("SELECT a FROM t WHERE a NOT SIMILAR TO '%#%' ESCAPE '#'", "SELECT a FROM t WHERE a !~ '^(?s:.*%)$'"),
            ("SELECT a FROM t FETCH FIRST 2 ROWS ONLY", "SELECT a FROM t LIMIT 2"),
            ("SELECT a FROM t OFFSET 3 ROWS FETCH NEXT ROW ONLY", "SELECT a FROM t LIMIT 1 OFFSET 3 ROWS"),
            (
                "SELECT (a, b) < (1, TIMESTAMP '2024-01-01')",
                "SELECT (a < 1 OR (a = 1 AND b < TIMESTAMP(6) '2024-01-01'))",
            ),
            (
                "SELECT rank() OVER (ORDER BY (SELECT 1)) FROM t WHERE a = (SELECT max(b) OVER () FROM u)",
                "SELECT rank() OVER (ORDER BY (SELECT 1)) FROM t WHERE a = (SELECT max(b) OVER () FROM u)",
            ),
            ("SELECT count(*), count(t.*) FROM t", "SELECT count(*), count(t.*) FROM t"),
            ("SELECT a SIMILAR TO NULL FROM t", "SELECT CAST(NULL AS BOOLEAN) FROM t"),
            ("SELECT a, a, a FROM t", "SELECT a, a AS \"a_1\", a AS \"a_2\" FROM t"),
            ("SELECT t.a, u.a FROM t, u", "SELECT t.a, u.a FROM t, u"),
            ("SELECT a, CAST(a AS INT) FROM t", "SELECT a, CAST(a AS INT) AS \"CAST(a AS INT)\" FROM t"),
        ] {
            assert_eq!(translated(sql).expect("it can be said"), expected, "{sql}");
        }
    }

    #[test]
    fn what_would_be_answered_wrongly_is_refused() {
        for sql in [
            "SELECT a FROM t WHERE a >= ALL (SELECT b FROM u)",
            "SELECT a FROM t WHERE a < ANY (SELECT b FROM u)",
            "SELECT a FROM t INTERSECT ALL SELECT b FROM u",
            "SELECT a FROM t UNION ALL (SELECT a FROM t EXCEPT ALL SELECT b FROM u)",
            "SELECT * FROM t FULL JOIN u USING (a)",
            "EXPLAIN SELECT * FROM t NATURAL FULL JOIN u",
            "SELECT a FROM t RIGHT JOIN u USING (a)",
            "SELECT a FROM t NATURAL RIGHT OUTER JOIN u",
            "SELECT a FROM v, (t RIGHT JOIN u USING (a))",
            "SELECT a FROM v JOIN ((t CROSS JOIN w) FULL JOIN u USING (a)) ON true",
            "SELECT rank() OVER (w ORDER BY a) FROM t WINDOW w AS (PARTITION BY b)",
            "SELECT rank() OVER w2 FROM t WINDOW w AS (PARTITION BY b), w2 AS (w ORDER BY a)",
            "SELECT a FROM t FOR UPDATE",
            "SELECT a FROM (SELECT a FROM t FOR SHARE) q",
            "SELECT a FROM t FETCH FIRST 2 ROWS WITH TIES",
            "SELECT a FROM t FETCH FIRST 2 PERCENT ROWS ONLY",
            "SELECT a FROM t LIMIT 1 FETCH FIRST ROW ONLY",
            "SELECT a FROM t FORMAT JSON",
            "SELECT a FROM t SETTINGS b = 1",
            "SELECT a FROM t PREWHERE a = 1",
            "SELECT a FROM t CONNECT BY a = 1",
            "SELECT a FROM t GROUP BY a WITH ROLLUP",
            "SELECT count(DISTINCT *) FROM t",
            "SELECT count(DISTINCT t.*) FROM t",
            "SELECT max(*) FROM t",
            "SELECT a FROM t WHERE rank() OVER (ORDER BY a) = 1",
            "SELECT count(*) FROM t GROUP BY rank() OVER (ORDER BY a)",
            "SELECT a COLLATE \"de\" FROM t",
            "SELECT * FROM t PIVOT(sum(a) FOR b IN (1))",
            "SELECT * FROM t CROSS APPLY u",
            "SELECT (a, b) < ((SELECT 1), 2) FROM t",
            "SELECT (CASE WHEN (a, b) < (1, 2) THEN 1 END, 2) < (1, 2) FROM t",
            "SELECT a SIMILAR TO b FROM t",
            "SELECT a SIMILAR TO 1 FROM t",
            "SELECT a SIMILAR TO 'a' ESCAPE 'xy' FROM t",
        ] {
            assert!(translated(sql).is_err(), "{sql}");
        }
    }
}
