//! Unquoted column names match regardless of case, where that is unambiguous.
//!
//! In: a statement and the tables pinned for it. Out: the statement, in which each unquoted name that stands for just one
//! column, but not in that column's letters, is written as the column is, in quotes. Names that some table has in lower
//! case are left alone, as is everything in quotes.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as DFStatement;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, JoinConstraint, JoinOperator, Query, SelectItem, SetExpr, TableAlias, TableFactor, TableWithJoins,
    VisitMut, VisitorMut,
};

use crate::pin::PinnedTables;

/// Rewrites a statement's unquoted names to the letters of the columns that they stand for.
pub(crate) fn match_case(statement: &mut DFStatement, tables: &PinnedTables) {
    let names = mixed_case_names(tables);
    if names.is_empty() {
        return;
    }
    let mut statement = statement;
    while let DFStatement::Explain(explain) = statement {
        statement = &mut explain.statement;
    }
    if let DFStatement::Statement(statement) = statement {
        let _: ControlFlow<()> = statement.visit(&mut Rewrite { names });
    }
}

/// Lower-case names to the one column that they can stand for.
fn mixed_case_names(tables: &PinnedTables) -> HashMap<String, String> {
    let mut found: HashMap<String, BTreeSet<String>> = HashMap::new();
    for table in tables.tables.values() {
        for field in table.schema().fields() {
            found.entry(field.name().to_lowercase()).or_default().insert(field.name().clone());
        }
    }
    let single = found.into_iter().filter(|(lower, names)| names.len() == 1 && !names.contains(lower));
    single.filter_map(|(lower, names)| Some((lower, names.into_iter().next()?))).collect()
}

struct Rewrite {
    names: HashMap<String, String>,
}

impl Rewrite {
    fn ident(&self, ident: &mut Ident) {
        if ident.quote_style.is_none()
            && let Some(name) = self.names.get(&ident.value.to_lowercase())
        {
            ident.value.clone_from(name);
            ident.quote_style = Some('"');
        }
    }

    fn set_expr(&self, body: &mut SetExpr) {
        match body {
            SetExpr::Select(select) => {
                for item in &mut select.projection {
                    if let SelectItem::ExprWithAlias { alias, .. } = item {
                        self.ident(alias);
                    }
                }
                select.from.iter_mut().for_each(|from| self.joins(from));
            }
            SetExpr::SetOperation { left, right, .. } => {
                self.set_expr(left);
                self.set_expr(right);
            }
            _ => {}
        }
    }

    /// `USING (column)`.
    fn joins(&self, from: &mut TableWithJoins) {
        for join in &mut from.joins {
            let constraint = match &mut join.join_operator {
                JoinOperator::Join(constraint)
                | JoinOperator::Inner(constraint)
                | JoinOperator::Left(constraint)
                | JoinOperator::LeftOuter(constraint)
                | JoinOperator::Right(constraint)
                | JoinOperator::RightOuter(constraint)
                | JoinOperator::FullOuter(constraint) => constraint,
                _ => continue,
            };
            if let JoinConstraint::Using(columns) = constraint {
                for part in columns.iter_mut().flat_map(|column| column.0.iter_mut()) {
                    if let Some(ident) = part.as_ident() {
                        let mut ident = ident.clone();
                        self.ident(&mut ident);
                        *part = datafusion::sql::sqlparser::ast::ObjectNamePart::Identifier(ident);
                    }
                }
            }
        }
    }

    /// `t (a, b)`, after a table or in WITH.
    fn alias(&self, alias: &mut TableAlias) {
        alias.columns.iter_mut().for_each(|column| self.ident(&mut column.name));
    }
}

impl VisitorMut for Rewrite {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        for cte in query.with.iter_mut().flat_map(|with| with.cte_tables.iter_mut()) {
            self.alias(&mut cte.alias);
        }
        self.set_expr(&mut query.body);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } = factor
        {
            self.alias(alias);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) => self.ident(ident),
            Expr::CompoundIdentifier(parts) => {
                if let Some((last, _)) = parts.split_last_mut() {
                    self.ident(last);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
