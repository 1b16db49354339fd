//! Puts values in the places of a statement's parameters.
//!
//! A parameter becomes a variable (`@1`) before the statement is planned, because the planner knows a variable's type
//! and not a parameter's; in the plan, a variable becomes the literal of its value. Types without a literal in SQL, such as
//! lists and bytes, need no text this way.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result as DFResult, ScalarValue};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::var_provider::VarProvider;
use datafusion::logical_expr::{Expr as LogicalExpr, LogicalPlan};
use datafusion::sql::parser::Statement as DFStatement;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, Select, SelectItem, Statement as SqlStatement, Value, ValueWithSpan, Visit, VisitMut, Visitor,
    VisitorMut,
};

use crate::Result;

/// A parameter's name in a statement.
pub(crate) fn name_of(ordinal: usize) -> String {
    format!("${ordinal}")
}

/// The number of a parameter, from 1.
pub(super) fn ordinal(name: &str) -> Option<usize> {
    name.strip_prefix('$')?.parse().ok().filter(|ordinal| *ordinal > 0)
}

/// Names the columns of select lists that hold parameters, so that they have one name with and without values.
pub(crate) fn name_items(statement: &mut DFStatement) {
    struct Names;
    impl VisitorMut for Names {
        type Break = ();
        fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr) = item
                    && holds_parameter(expr)
                {
                    let alias = Ident::with_quote('"', expr.to_string());
                    *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
                }
            }
            ControlFlow::Continue(())
        }
    }
    if let Some(statement) = inner(statement) {
        let _: ControlFlow<()> = VisitMut::visit(statement, &mut Names);
    }
}

fn holds_parameter(expr: &Expr) -> bool {
    struct Find;
    impl Visitor for Find {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if parameter(expr).is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    Visit::visit(expr, &mut Find).is_break()
}

/// A bare parameter's name.
fn parameter(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Placeholder(name), .. }) => Some(name),
        _ => None,
    }
}

/// The number of a bare parameter.
pub(crate) fn ordinal_of(expr: &Expr) -> Option<usize> {
    parameter(expr).and_then(ordinal)
}

/// Writes each parameter as a variable.
pub(crate) fn as_variables(statement: &mut DFStatement) {
    if let Some(statement) = inner(statement) {
        let _: ControlFlow<()> = VisitMut::visit(statement, &mut Rename(|ordinal| Ident::new(format!("@{ordinal}"))));
    }
}

/// Writes each parameter as a column of the table of values. None if there is a subquery, in which such a column would
/// be one of a query further out.
pub(crate) fn as_columns(expr: &Expr) -> Option<Expr> {
    struct Subquery;
    impl Visitor for Subquery {
        type Break = ();
        fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    if Visit::visit(expr, &mut Subquery).is_break() {
        return None;
    }
    let mut expr = expr.clone();
    let mut rename = Rename(|ordinal| Ident::with_quote('"', name_of(ordinal)));
    let _: ControlFlow<()> = VisitMut::visit(&mut expr, &mut rename);
    Some(expr)
}

/// Writes parameters as identifiers.
struct Rename<F: Fn(usize) -> Ident>(F);

impl<F: Fn(usize) -> Ident> VisitorMut for Rename<F> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(ordinal) = ordinal_of(expr) {
            *expr = Expr::Identifier((self.0)(ordinal));
        }
        ControlFlow::Continue(())
    }
}

/// The statement that an EXPLAIN is about.
fn inner(statement: &mut DFStatement) -> Option<&mut SqlStatement> {
    match statement {
        DFStatement::Explain(explain) => inner(&mut explain.statement),
        DFStatement::Statement(statement) => Some(statement.as_mut()),
        _ => None,
    }
}

/// Tells the planner the types of variables.
pub(crate) fn provider(values: &[ScalarValue]) -> Arc<dyn VarProvider + Send + Sync> {
    Arc::new(Types(values.iter().map(ScalarValue::data_type).collect()))
}

#[derive(Debug)]
struct Types(Vec<DataType>);

impl VarProvider for Types {
    fn get_value(&self, names: Vec<String>) -> DFResult<ScalarValue> {
        Err(DataFusionError::Internal(format!("the variable {names:?} was not bound before it was asked for")))
    }

    fn get_type(&self, names: &[String]) -> Option<DataType> {
        variable(names).and_then(|index| self.0.get(index)).cloned()
    }
}

/// The index of a variable's value.
fn variable(names: &[String]) -> Option<usize> {
    let [name] = names else { return None };
    name.strip_prefix('@')?.parse::<usize>().ok()?.checked_sub(1)
}

/// Replaces variables by literals. Columns keep their names.
pub(crate) fn bind_variables(plan: LogicalPlan, values: &[ScalarValue]) -> Result<LogicalPlan> {
    let bound = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        let bound = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let bound = expr.transform_up(|expr| {
                let value = match &expr {
                    LogicalExpr::ScalarVariable(_, names) => variable(names).and_then(|index| values.get(index)),
                    _ => None,
                };
                Ok(match value {
                    Some(value) => Transformed::yes(LogicalExpr::Literal(value.clone(), None)),
                    None => Transformed::no(expr),
                })
            })?;
            Ok(if bound.transformed { bound.update_data(|expr| name.restore(expr)) } else { bound })
        })?;
        // Types may depend on values, such as that of round(x, ?).
        bound.map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(bound.data)
}
