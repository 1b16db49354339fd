//! INSERT … VALUES (?, …) with many rows of values: one query over the rows, so that they are one commit.
//!
//! In: one row of VALUES and the values of its parameters. Out: a query over a table of these values, in which each
//! parameter is a column: `VALUES (?, upper(?))` becomes `SELECT "$1", upper("$2") FROM` them.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::sql::parser::Statement as DFStatement;
use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, SelectItem, SetExpr, Statement as SqlStatement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use crate::names::TableName;
use crate::parameters::{Parameters, as_columns};
use crate::pin::PinnedTables;
use crate::{Error, Result};

/// The name of the table of values, which no other table has: no catalog is asked for it.
const TABLE: [&str; 3] = ["polynya", "parameters", "bound"];

/// The query over the values, and the tables that it reads. None if VALUES has several rows, a clause behind it, or a
/// subquery: then the source runs once for each row of values.
pub(super) fn select(source: &Query, parameters: &Parameters) -> Result<Option<(DFStatement, PinnedTables)>> {
    let (Some(batch), Some(row)) = (parameters.batch(), single_row(source)) else { return Ok(None) };
    let Some(cells) = row.iter().map(as_columns).collect::<Option<Vec<Expr>>>() else { return Ok(None) };
    let statement = select_from_values(cells)?;
    let [catalog, schema, table] = TABLE.map(str::to_owned);
    let provider: Arc<dyn TableProvider> = Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch.clone()]])?);
    let tables = BTreeMap::from([(TableName { catalog, schema, table }, provider)]);
    Ok(Some((statement, PinnedTables { tables, rights: None })))
}

/// The only row of VALUES without anything around it.
fn single_row(source: &Query) -> Option<&[Expr]> {
    let plain = source.with.is_none()
        && source.order_by.is_none()
        && source.limit_clause.is_none()
        && source.fetch.is_none()
        && source.pipe_operators.is_empty();
    let SetExpr::Values(values) = source.body.as_ref() else { return None };
    match values.rows.as_slice() {
        [row] if plain => Some(row.content.as_slice()),
        _ => None,
    }
}

fn select_from_values(cells: Vec<Expr>) -> Result<DFStatement> {
    let text = format!("SELECT 1 FROM {}", TABLE.join("."));
    let mut parsed = Parser::parse_sql(&GenericDialect {}, &text).unwrap_or_default();
    let Some(mut statement) = parsed.pop() else { return Err(Error::Internal(format!("{text} is no statement"))) };
    if let SqlStatement::Query(query) = &mut statement
        && let SetExpr::Select(select) = query.body.as_mut()
    {
        let named = cells.into_iter().enumerate();
        let named = named.map(|(index, expr)| {
            let alias = Ident::with_quote('"', format!("column{}", index + 1));
            SelectItem::ExprWithAlias { expr, alias }
        });
        select.projection = named.collect();
    }
    Ok(DFStatement::Statement(Box::new(statement)))
}

/// What goes into the columns, row by row, as far as it is written as an expression.
pub(super) fn cells(source: &Query) -> Vec<Vec<Option<&Expr>>> {
    match source.body.as_ref() {
        SetExpr::Values(values) => values.rows.iter().map(|row| row.content.iter().map(Some).collect()).collect(),
        SetExpr::Select(select) => {
            let items = select.projection.iter().map(|item| match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
                _ => None,
            });
            let items: Vec<Option<&Expr>> = items.collect();
            // Behind a wildcard, positions are not those of the columns.
            if items.contains(&None) { Vec::new() } else { vec![items] }
        }
        _ => Vec::new(),
    }
}
