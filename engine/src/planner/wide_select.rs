//! `SELECT *` of tables with very many columns, planned without naming each.
//!
//! DataFusion's SQL planner compares every column of a select list with all before it, as texts: a second for 3,000. A query that
//! gives all columns of one table needs no list of them. So such a list is left out of the statement, and its place out of the plan.
//!
//! ```text
//! Limit                                            Limit
//!   Sort: t.a                                        Sort: t.a
//!     Projection: t.a, t.b, <2,998 more>      ─►       Filter: t.b > 1
//!       Filter: t.b > 1                                  TableScan: t
//!         TableScan: t
//! ```

use datafusion::common::Result;
use datafusion::logical_expr::{Expr as LogicalExpr, LogicalPlan, Projection};
use datafusion::sql::parser::Statement as DFStatement;
use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, OrderByKind, Query, Select, SelectFlavor, SelectItem, SetExpr, Statement as SqlStatement,
    TableFactor, Value, WildcardAdditionalOptions,
};

/// Columns of a table from which on this is done.
const COLUMNS_MIN: usize = 200;

/// The column that stands for the list.
const PLACE: &str = "__all_columns";

/// Leaves the list of columns out of a statement that gives all of one table with so many columns. Returns whether it did.
pub(crate) fn take(statement: &mut DFStatement, columns: usize) -> bool {
    let DFStatement::Statement(statement) = statement else { return false };
    let SqlStatement::Query(query) = statement.as_mut() else { return false };
    if columns < COLUMNS_MIN || query.with.is_some() || !orders_by_columns(query) {
        return false;
    }
    let Query { body, pipe_operators, .. } = query.as_mut();
    match body.as_mut() {
        SetExpr::Select(select) if pipe_operators.is_empty() && gives_all(select) => {
            let expr = Expr::value(Value::Number("1".to_owned(), false));
            select.projection = vec![SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', PLACE) }];
            true
        }
        _ => false,
    }
}

/// Takes the place of the list out of the plan.
pub(crate) fn put(plan: LogicalPlan) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Projection(projection) if has_place(&projection) => {
            let input = std::sync::Arc::unwrap_or_clone(projection.input);
            // A sort by columns that the list did not name has one list below and one above.
            if input.schema().has_column_with_unqualified_name(PLACE) { put(input) } else { Ok(input) }
        }
        LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => {
            let inputs = plan.inputs().into_iter().cloned().map(put).collect::<Result<Vec<_>>>()?;
            plan.with_new_exprs(plan.expressions(), inputs)
        }
        other => Ok(other),
    }
}

fn has_place(projection: &Projection) -> bool {
    projection.expr.iter().any(|expr| match expr {
        LogicalExpr::Alias(alias) => alias.name == PLACE,
        LogicalExpr::Column(column) => column.name == PLACE,
        _ => false,
    })
}

/// Whether it is `SELECT * FROM table [WHERE …]`.
fn gives_all(select: &Select) -> bool {
    let is_star = matches!(select.projection.as_slice(), [SelectItem::Wildcard(options)]
        if *options == WildcardAdditionalOptions { wildcard_token: options.wildcard_token.clone(), ..Default::default() });
    let from_table = match select.from.as_slice() {
        [from] => from.joins.is_empty() && matches!(&from.relation, TableFactor::Table { args: None, .. }),
        _ => false,
    };
    let no_groups = matches!(&select.group_by, GroupByExpr::Expressions(groups, modifiers)
        if groups.is_empty() && modifiers.is_empty());
    is_star
        && from_table
        && no_groups
        && select.flavor == SelectFlavor::Standard
        && select.distinct.is_none()
        && select.having.is_none()
        && select.qualify.is_none()
        && select.into.is_none()
        && select.lateral_views.is_empty()
        && select.sort_by.is_empty()
        && select.cluster_by.is_empty()
        && select.distribute_by.is_empty()
}

/// Numbers and ALL in ORDER BY mean columns of the list.
fn orders_by_columns(query: &Query) -> bool {
    let Some(order_by) = &query.order_by else { return true };
    let OrderByKind::Expressions(exprs) = &order_by.kind else { return false };
    let is_column = |expr: &Expr| matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
    order_by.interpolate.is_none() && exprs.iter().all(|order| is_column(&order.expr) && order.with_fill.is_none())
}
