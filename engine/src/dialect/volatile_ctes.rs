//! CTEs that call a volatile function, such as `random()`, marked so that they are found in a plan.
//!
//! In: a query, and the functions that there are. Out: the same, with the marked queries within others:
//! ```text
//! WITH t AS (SELECT random() AS r) …   ─►   WITH t AS (SELECT * FROM (SELECT random() AS r) AS "⟨mark⟩0") …
//! ```
//! A recursive one stays whole: `WITH RECURSIVE t AS (SELECT * FROM (WITH RECURSIVE t AS (…) SELECT * FROM t) AS "⟨mark⟩0")`. DataFusion
//! writes a CTE out as often as it is named, and its rows would differ each time; [`crate::shared_rows`] makes them once.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::logical_expr::{ScalarUDF, Volatility};
use datafusion::sql::parser::Statement as DFStatement;
use datafusion::sql::sqlparser::ast::{
    Cte, Expr, Ident, ObjectName, Query, SetExpr, SetOperator, TableFactor, Visit, VisitMut, Visitor, VisitorMut, With,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use crate::shared_rows::{MARK, MARK_WITHIN};
use crate::{Error, Result};

/// Marks them.
///
/// # Errors
/// None that a query could cause.
pub(crate) fn mark_volatile_ctes(
    statement: &mut DFStatement,
    functions: &HashMap<String, Arc<ScalarUDF>>,
) -> Result<()> {
    let mut statement = statement;
    while let DFStatement::Explain(explain) = statement {
        statement = &mut explain.statement;
    }
    let DFStatement::Statement(statement) = statement else { return Ok(()) };
    match VisitMut::visit(statement.as_mut(), &mut Marks { functions, count: 0 }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Marks<'f> {
    functions: &'f HashMap<String, Arc<ScalarUDF>>,
    count: usize,
}

impl VisitorMut for Marks<'_> {
    type Break = Error;

    /// Afterwards, so that what is put around a CTE is not looked at again.
    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let Some(With { cte_tables, recursive, .. }) = &mut query.with else { return ControlFlow::Continue(()) };
        for cte in cte_tables {
            let calls = Visit::visit(cte.query.as_ref(), &mut VolatileCalls(self.functions));
            if calls.is_continue() {
                continue;
            }
            let name = format!("{MARK}{}", self.count);
            self.count += 1;
            if let Err(error) = mark(cte, *recursive, name) {
                return ControlFlow::Break(error);
            }
        }
        ControlFlow::Continue(())
    }
}

/// Stops at the first call of a volatile function.
struct VolatileCalls<'f>(&'f HashMap<String, Arc<ScalarUDF>>);

impl Visitor for VolatileCalls<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        let name = call.name.0.last().and_then(|part| part.as_ident());
        let function = name.and_then(|name| self.0.get(&name.value.to_lowercase()));
        match function.map(|function| function.signature().volatility) {
            Some(Volatility::Volatile) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn mark(cte: &mut Cte, recursive: bool, name: String) -> Result<()> {
    let is_union = matches!(cte.query.body.as_ref(), SetExpr::SetOperation { op: SetOperator::Union, .. });
    let mut marked = template("SELECT * FROM (SELECT 1) AS marked")?;
    let TableFactor::Derived { subquery, alias: Some(alias), .. } = source(&mut marked)? else { return Err(strange()) };
    alias.name = Ident::with_quote('"', name);
    if recursive && is_union {
        let _: ControlFlow<()> = VisitMut::visit(cte.query.as_mut(), &mut RenameMarks);
        let mut whole = template("WITH RECURSIVE t AS (SELECT 1) SELECT * FROM t")?;
        let TableFactor::Table { name, .. } = source(&mut whole)? else { return Err(strange()) };
        *name = ObjectName::from(vec![cte.alias.name.clone()]);
        let inner = whole.with.as_mut().and_then(|with| with.cte_tables.first_mut()).ok_or_else(strange)?;
        inner.alias.clone_from(&cte.alias);
        cte.alias.columns.clear();
        std::mem::swap(&mut inner.query, &mut cte.query);
        **subquery = whole;
    } else {
        std::mem::swap(subquery, &mut cte.query);
    }
    *cte.query = marked;
    Ok(())
}

/// Within a recursive query, rows are made anew at every step.
struct RenameMarks;

impl VisitorMut for RenameMarks {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { alias: Some(alias), .. } = factor
            && let Some(number) = alias.name.value.strip_prefix(MARK)
        {
            alias.name.value = format!("{MARK_WITHIN}{number}");
        }
        ControlFlow::Continue(())
    }
}

fn template(sql: &str) -> Result<Query> {
    let parsed = Parser::new(&GenericDialect {}).try_with_sql(sql).and_then(|mut parser| parser.parse_query());
    parsed.map(|query| *query).map_err(|error| Error::Internal(error.to_string()))
}

/// What a template selects from.
fn source(query: &mut Query) -> Result<&mut TableFactor> {
    match query.body.as_mut() {
        SetExpr::Select(select) => select.from.first_mut().map(|from| &mut from.relation).ok_or_else(strange),
        _ => Err(strange()),
    }
}

fn strange() -> Error {
    Error::Internal("a query within another was parsed as something else".to_owned())
}
