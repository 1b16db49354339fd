//! `current_user`, `session_user`, `user`, `current_catalog` and `current_schema`: SQL's names for what a session is.
//!
//! In: a statement, the tables pinned for it, and its session. Out: the statement with these values in it. A column of such a
//! name, of a table or of a query in the statement, is meant before the session is: `user` is what many columns are called.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as DFStatement;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArguments, Ident, Query, Select, SelectItem, TableAlias, TableFactor, Value, Visit,
    VisitMut, Visitor, VisitorMut,
};

use crate::pin::PinnedTables;
use crate::{Engine, Session};

/// What a session is.
#[derive(Debug, Clone)]
pub(crate) struct SessionValues {
    user: String,
    catalog: Option<String>,
    schema: Option<String>,
}

impl SessionValues {
    /// The session's values now.
    pub(crate) fn of(engine: &Engine, session: &Session) -> Self {
        Self {
            user: session.user().to_owned(),
            catalog: engine.current_catalog(session).ok(),
            schema: session.schema(),
        }
    }

    /// Writes them into a statement.
    pub(crate) fn write(self, statement: &mut DFStatement, tables: &PinnedTables) {
        let mut statement = statement;
        while let DFStatement::Explain(explain) = statement {
            statement = &mut explain.statement;
        }
        let DFStatement::Statement(statement) = statement else { return };
        let mut columns = Columns(HashSet::new());
        for table in tables.tables.values() {
            columns.0.extend(table.schema().fields().iter().map(|field| field.name().to_lowercase()));
        }
        let _: ControlFlow<()> = Visit::visit(statement.as_ref(), &mut columns);
        let mut values = Values { session: self, columns: columns.0 };
        let _: ControlFlow<()> = VisitMut::visit(statement.as_mut(), &mut values);
    }
}

/// The names, in lower case, that columns have.
struct Columns(HashSet<String>);

impl Columns {
    fn of_alias(&mut self, alias: &TableAlias) {
        self.0.extend(alias.columns.iter().map(|column| column.name.value.to_lowercase()));
    }
}

impl Visitor for Columns {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.of_alias(&cte.alias);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for item in &select.projection {
            // `current_user AS current_user` is the session's all the same.
            if let SelectItem::ExprWithAlias { expr, alias } = item
                && !expr.to_string().eq_ignore_ascii_case(&alias.value)
            {
                self.0.insert(alias.value.to_lowercase());
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::Function { alias: Some(alias), .. }
        | TableFactor::TableFunction { alias: Some(alias), .. }
        | TableFactor::UNNEST { alias: Some(alias), .. }
        | TableFactor::NestedJoin { alias: Some(alias), .. } = factor
        {
            self.of_alias(alias);
        }
        ControlFlow::Continue(())
    }
}

/// What a session is, and the names that mean something else.
struct Values {
    session: SessionValues,
    columns: HashSet<String>,
}

impl Values {
    /// What stands for an expression that is a name of a value, with that name.
    fn value(&self, expr: &Expr) -> Option<(String, Expr)> {
        let (ident, is_call) = match expr {
            Expr::Identifier(ident) if ident.quote_style.is_none() => (ident, false),
            Expr::Function(Function { name, args, over: None, filter: None, .. }) => {
                let [part] = name.0.as_slice() else { return None };
                match args {
                    // The parser knows some of the names, also where a column is meant.
                    FunctionArguments::None => (part.as_ident()?, false),
                    FunctionArguments::List(list) if list.args.is_empty() => (part.as_ident()?, true),
                    _ => return None,
                }
            }
            _ => return None,
        };
        let name = ident.value.to_lowercase();
        let value = match name.as_str() {
            "current_user" | "session_user" | "user" => Some(&self.session.user),
            "current_catalog" => self.session.catalog.as_ref(),
            "current_database" if is_call => self.session.catalog.as_ref(),
            "current_schema" => self.session.schema.as_ref(),
            _ => return None,
        };
        if !is_call && self.columns.contains(&name) {
            let column = Expr::Identifier(Ident { quote_style: None, ..ident.clone() });
            return Some((ident.value.clone(), column));
        }
        Some((name, Expr::value(value.map_or(Value::Null, |value| Value::SingleQuotedString(value.clone())))))
    }
}

impl VisitorMut for Values {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && let Some((name, value)) = self.value(expr)
            {
                *item = match value {
                    Expr::Identifier(_) => SelectItem::UnnamedExpr(value),
                    expr => SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) },
                };
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some((_, value)) = self.value(expr) {
            *expr = value;
        }
        ControlFlow::Continue(())
    }
}
