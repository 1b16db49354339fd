//! Numbers a statement's parameters.
//!
//! In: the tokens of a statement. Out: the same, where each `?` is `$1`, `$2` and so on in the order of the text, and
//! how many values the statement takes. `$n` may be written too, and more than once; not both in one statement. Parameters
//! with names are refused: some at their tokens, and those that the parser makes of several tokens in what it made.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as DFStatement;
use datafusion::sql::sqlparser::ast::{Expr, Ident, Value, Visit, Visitor};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{CreateTable, Insert, Statement};
use crate::{Error, Result};

/// Parameters that one statement may have.
const PARAMETERS_MAX: usize = 65_535;

/// Writes every placeholder as `$n`. Returns the number of values that the statement takes.
///
/// # Errors
/// If a placeholder has a name or the number 0, both kinds are there, or there are too many.
pub(super) fn number(tokens: &mut [TokenWithSpan]) -> Result<usize> {
    let (mut marks, mut highest) = (0_usize, 0_usize);
    for token in tokens {
        let Token::Placeholder(text) = &mut token.token else { continue };
        if text.as_str() == "?" {
            marks += 1;
            *text = format!("${marks}");
        } else {
            highest = highest.max(ordinal(text)?);
        }
    }
    if marks > 0 && highest > 0 {
        return Err(Error::Invalid("the statement has parameters of both kinds, ? and $1: use one".to_owned()));
    }
    match marks.max(highest) {
        count if count > PARAMETERS_MAX => {
            Err(Error::Invalid(format!("the statement has {count} parameters, and may have {PARAMETERS_MAX}")))
        }
        count => Ok(count),
    }
}

/// The number of a `$n`.
fn ordinal(text: &str) -> Result<usize> {
    match text.strip_prefix('$').map(str::parse::<usize>) {
        Some(Ok(ordinal)) if ordinal > 0 => Ok(ordinal),
        _ => Err(named(text)),
    }
}

fn named(name: &str) -> Error {
    match name.starts_with("@@") {
        true => Error::unsupported(format!("the variable {name}"), "SHOW ALL lists the settings"),
        false => Error::unsupported(format!("the parameter {name}"), "write ?, or $1, $2 and so on"),
    }
}

/// Refuses `:name` and `@name`, which tokens do not tell from slices (`a[1:b]`) and from names.
///
/// # Errors
/// The first that is found.
pub(super) fn refuse_names(statement: &Statement) -> Result<()> {
    let found = match statement {
        Statement::Query(query) => in_query(query),
        Statement::Insert(Insert { source: Some(query), .. }) => query.visit(&mut Names),
        Statement::CreateTable(CreateTable { query: Some(query), .. }) => query.visit(&mut Names),
        Statement::Call(call) => call.visit(&mut Names),
        _ => return Ok(()),
    };
    match found {
        ControlFlow::Break(name) => Err(named(&name)),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn in_query(statement: &DFStatement) -> ControlFlow<String> {
    match statement {
        DFStatement::Explain(explain) => in_query(&explain.statement),
        DFStatement::Statement(statement) => statement.visit(&mut Names),
        _ => ControlFlow::Continue(()),
    }
}

/// Finds a parameter with a name.
struct Names;

impl Visitor for Names {
    type Break = String;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        let is_variable = |name: &Ident| name.quote_style.is_none() && name.value.starts_with('@');
        match expr {
            Expr::Value(value) => match &value.value {
                Value::Placeholder(name) if !name.starts_with('$') => ControlFlow::Break(name.clone()),
                _ => ControlFlow::Continue(()),
            },
            Expr::Identifier(name) if is_variable(name) => ControlFlow::Break(name.value.clone()),
            Expr::CompoundIdentifier(parts) if parts.first().is_some_and(is_variable) => {
                ControlFlow::Break(expr.to_string())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Error;
    use crate::statement::{self, Statement};

    fn numbered(sql: &str) -> (String, usize) {
        match statement::parse_with_parameters(sql) {
            Ok((Statement::Query(query), count)) => (query.to_string(), count),
            other => panic!("{sql} is {other:?}"),
        }
    }

    #[test]
    fn colons_and_ats_elsewhere_are_no_parameters() {
        for sql in ["SELECT a[1:b]", "SELECT a::int", "SELECT \"@a\", ':a', '@a'", "SELECT a @> b", "SELECT {a: b}"] {
            assert_eq!(numbered(sql).1, 0, "{sql}");
        }
    }

    #[test]
    fn question_marks_are_numbered_as_they_come() {
        let (sql, count) = numbered("SELECT ?, '?' FROM t WHERE a IN (?, ?) AND \"?\" = ? LIMIT ?");
        assert_eq!(sql, "SELECT $1, '?' FROM t WHERE a IN ($2, $3) AND \"?\" = $4 LIMIT $5");
        assert_eq!(count, 5);
        assert_eq!(numbered("SELECT $2, $1, $2").1, 2);
        assert_eq!(numbered("SELECT 1").1, 0);
    }

    #[test]
    fn other_placeholders_are_refused() {
        for sql in ["SELECT $name", "SELECT $0", "SELECT ?, $1", "SELECT $99999999", "SHOW TABLES FROM s LIKE ?"] {
            assert!(statement::parse_with_parameters(sql).is_err(), "{sql}");
        }
        for sql in [
            "SELECT {}",
            "EXPLAIN SELECT * FROM t WHERE a IN (1, (SELECT {} + b))",
            "SELECT * FROM t LIMIT {}",
            "INSERT INTO t VALUES (1, {})",
            "CREATE TABLE t AS SELECT CAST({} AS int)",
            "CALL system.warm({})",
        ] {
            for name in [":name", "@name", "$name", "@@name", "@1", ":1"] {
                let sql = sql.replace("{}", name);
                let refused = statement::parse_with_parameters(&sql).unwrap_err();
                let said = format!("{name} is not supported");
                assert!(matches!(refused, Error::Unsupported { .. }) && refused.to_string().contains(&said), "{sql}");
            }
        }
        let refused = statement::parse_with_parameters("CALL system.warm(?)");
        assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
    }
}
