//! Functions within functions, called by their own names.
//!
//! In: a query, and the functions that there are. Out: the same, where `pow(ifnull(a, b), 2)` is `pow(nvl(a, b), 2)`. DataFusion gives a
//! function that is called by another name than its own an alias, in which the whole call is written once more: 24 of them in each other
//! would have names of a gigabyte. The outermost keeps its name, which the column gets.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use datafusion::sql::parser::Statement as DFStatement;
use datafusion::sql::sqlparser::ast::{Expr, Function, Ident, ObjectName, VisitMut, VisitorMut};

/// Rewrites a query's calls.
pub(crate) fn call_by_name(statement: &mut DFStatement, functions: &HashMap<String, Arc<ScalarUDF>>) {
    let mut statement = statement;
    while let DFStatement::Explain(explain) = statement {
        statement = &mut explain.statement;
    }
    if let DFStatement::Statement(statement) = statement {
        let _: ControlFlow<()> = statement.visit(&mut Calls { functions, around: 0 });
    }
}

struct Calls<'f> {
    functions: &'f HashMap<String, Arc<ScalarUDF>>,
    /// Calls that are being walked through.
    around: usize,
}

impl VisitorMut for Calls<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Function(Function { name, over: None, .. }) = expr else { return ControlFlow::Continue(()) };
        self.around += 1;
        if self.around > 1
            && let [part] = name.0.as_slice()
            && let Some(called) = part.as_ident()
            && let Some(function) = self.functions.get(&called.value.to_lowercase())
            && !function.name().eq_ignore_ascii_case(&called.value)
            && self.functions.contains_key(function.name())
        {
            *name = ObjectName::from(vec![Ident::new(function.name())]);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(Function { over: None, .. }) = expr {
            self.around = self.around.saturating_sub(1);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::statement::{self, Statement};

    #[test]
    fn calls_within_calls_have_the_functions_own_names() {
        let state = SessionContext::new().state();
        for (sql, expected) in [
            ("SELECT pow(ifnull(a, IFNULL(b, 1)), 2)", "SELECT pow(nvl(a, nvl(b, 1)), 2)"),
            ("SELECT ifnull(a, b), ifnull(c, d)", "SELECT ifnull(a, b), ifnull(c, d)"),
            ("SELECT abs(nothing_like_it(abs(a)))", "SELECT abs(nothing_like_it(abs(a)))"),
        ] {
            let Ok(Statement::Query(mut query)) = statement::parse(sql) else { panic!("{sql} is not a query") };
            call_by_name(&mut query, state.scalar_functions());
            assert_eq!(query.to_string(), expected);
        }
    }
}
