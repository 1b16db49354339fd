//! Clauses that the planner would ignore, or knows by another name.
//!
//! In: a query or a SELECT of a statement. Out: the same, where `FETCH FIRST n ROWS ONLY` is `LIMIT n`. What would be planned as
//! if it were not there, or shown to the user as a data structure, is refused by its name in SQL.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Fetch, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    GroupByWithModifier, JoinConstraint, JoinOperator, LimitClause, LockType, NamedWindowDefinition, NamedWindowExpr,
    Query, Select, TableFactor, Value, Visit, Visitor, WindowSpec, WindowType,
};

use super::{frames, refused};
use crate::{Error, Result};

/// # Errors
/// If the query has a clause that would be ignored.
pub(super) fn of_query(query: &mut Query) -> Result<()> {
    if let Some(lock) = query.locks.first() {
        let clause = if lock.lock_type == LockType::Share { "FOR SHARE" } else { "FOR UPDATE" };
        return Err(refused(format!("{clause}; rows cannot be locked")));
    }
    match () {
        () if query.for_clause.is_some() => return Err(refused("FOR JSON, FOR XML and FOR BROWSE")),
        () if query.settings.is_some() => return Err(refused("SETTINGS; use SET")),
        () if query.format_clause.is_some() => return Err(refused("FORMAT")),
        () => {}
    }
    if matches!(&query.limit_clause, Some(LimitClause::LimitOffset { limit_by, .. }) if !limit_by.is_empty()) {
        return Err(refused("LIMIT … BY; compare row_number() OVER (PARTITION BY …) in an outer query"));
    }
    match query.fetch.take() {
        Some(fetch) => fetch_as_limit(fetch, &mut query.limit_clause),
        None => Ok(()),
    }
}

fn fetch_as_limit(fetch: Fetch, clause: &mut Option<LimitClause>) -> Result<()> {
    if fetch.with_ties {
        return Err(refused("FETCH … WITH TIES; compare rank() OVER (ORDER BY …) in an outer query"));
    }
    if fetch.percent {
        return Err(refused("FETCH … PERCENT"));
    }
    let count = fetch.quantity.unwrap_or_else(|| Expr::value(Value::Number("1".to_owned(), false)));
    match clause {
        None => *clause = Some(LimitClause::LimitOffset { limit: Some(count), offset: None, limit_by: Vec::new() }),
        Some(LimitClause::LimitOffset { limit: limit @ None, limit_by, .. }) if limit_by.is_empty() => {
            *limit = Some(count);
        }
        Some(_) => return Err(Error::Invalid("a query has LIMIT or FETCH, not both".to_owned())),
    }
    Ok(())
}

/// # Errors
/// If the SELECT has a clause that would be ignored, or a window function where there can be none.
pub(super) fn of_select(select: &mut Select) -> Result<()> {
    for NamedWindowDefinition(_, window) in &mut select.named_window {
        if let NamedWindowExpr::WindowSpec(window) = window {
            builds_on_no_other(window)?;
            frames::of_window(window)?;
        }
    }
    let modifiers = match &select.group_by {
        GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers) => modifiers,
    };
    match modifiers.first() {
        Some(GroupByWithModifier::Rollup) => return Err(refused("GROUP BY … WITH ROLLUP; use GROUP BY ROLLUP (…)")),
        Some(GroupByWithModifier::Cube) => return Err(refused("GROUP BY … WITH CUBE; use GROUP BY CUBE (…)")),
        Some(GroupByWithModifier::Totals) => return Err(refused("GROUP BY … WITH TOTALS; use GROUP BY ROLLUP (…)")),
        Some(GroupByWithModifier::GroupingSets(_)) | None => {}
    }
    match () {
        () if select.prewhere.is_some() => return Err(refused("PREWHERE; use WHERE")),
        () if !select.connect_by.is_empty() => return Err(refused("CONNECT BY; use WITH RECURSIVE")),
        () if select.top.is_some() => return Err(refused("TOP; use LIMIT")),
        () if select.value_table_mode.is_some() => return Err(refused("SELECT AS STRUCT and SELECT AS VALUE")),
        () => {}
    }
    for join in select.from.iter().flat_map(|from| &from.joins) {
        of_join(&join.join_operator)?;
    }
    no_window(select.selection.as_ref(), "WHERE")?;
    no_window(select.having.as_ref(), "HAVING")?;
    no_window(Some(&select.group_by), "GROUP BY")
}

fn of_join(join: &JoinOperator) -> Result<()> {
    match join {
        JoinOperator::CrossApply | JoinOperator::OuterApply => Err(refused("APPLY; use JOIN LATERAL")),
        JoinOperator::AsOf { .. } => Err(refused("ASOF JOIN")),
        JoinOperator::StraightJoin(_) => Err(refused("STRAIGHT_JOIN; use JOIN")),
        JoinOperator::ArrayJoin | JoinOperator::LeftArrayJoin | JoinOperator::InnerArrayJoin => {
            Err(refused("ARRAY JOIN; use unnest()"))
        }
        // Their columns of one name would be those of one side, and NULL where only the other has a row.
        JoinOperator::FullOuter(JoinConstraint::Using(_) | JoinConstraint::Natural) => {
            Err(refused("FULL JOIN with USING or NATURAL; use ON, and coalesce() the columns"))
        }
        JoinOperator::Right(JoinConstraint::Using(_) | JoinConstraint::Natural)
        | JoinOperator::RightOuter(JoinConstraint::Using(_) | JoinConstraint::Natural) => {
            Err(refused("RIGHT JOIN with USING or NATURAL; use ON, or LEFT JOIN with the tables the other way round"))
        }
        JoinOperator::Semi(_) | JoinOperator::Anti(_) => Err(refused("SEMI and ANTI JOIN without LEFT or RIGHT")),
        _ => Ok(()),
    }
}

/// # Errors
/// If FROM has something that is neither a table, a query nor a function, or joins in a way that would be answered wrongly.
pub(super) fn of_table(factor: &TableFactor) -> Result<()> {
    match factor {
        TableFactor::Pivot { .. } => Err(refused("PIVOT; use aggregates with FILTER (WHERE …)")),
        TableFactor::Unpivot { .. } => Err(refused("UNPIVOT; use UNION ALL")),
        TableFactor::MatchRecognize { .. } => Err(refused("MATCH_RECOGNIZE")),
        TableFactor::JsonTable { .. } => Err(refused("JSON_TABLE")),
        TableFactor::OpenJsonTable { .. } => Err(refused("OPENJSON")),
        TableFactor::XmlTable { .. } => Err(refused("XMLTABLE")),
        TableFactor::SemanticView { .. } => Err(refused("SEMANTIC_VIEW")),
        TableFactor::TableFunction { .. } => Err(refused("TABLE(…) in FROM; name the function itself")),
        TableFactor::NestedJoin { table_with_joins, .. } => {
            table_with_joins.joins.iter().try_for_each(|join| of_join(&join.join_operator))
        }
        _ => Ok(()),
    }
}

/// # Errors
/// If a function has `*` for an argument and cannot have it, or its window builds on another one.
pub(super) fn of_function(function: &mut Function) -> Result<()> {
    if let Some(WindowType::WindowSpec(window)) = &mut function.over {
        builds_on_no_other(window)?;
        frames::of_window(window)?;
    }
    let FunctionArguments::List(list) = &function.args else { return Ok(()) };
    let is_wildcard = |arg: &FunctionArg| {
        matches!(
            arg,
            FunctionArg::Unnamed(
                FunctionArgExpr::Wildcard
                    | FunctionArgExpr::QualifiedWildcard(_)
                    | FunctionArgExpr::WildcardWithOptions(_)
            )
        )
    };
    if !list.args.iter().any(is_wildcard) {
        return Ok(());
    }
    let name = function.name.to_string().to_lowercase();
    match list.duplicate_treatment {
        _ if name != "count" => Err(Error::unsupported(format!("{name}(*)"), "only count can have *; name a column")),
        Some(DuplicateTreatment::Distinct) => {
            Err(Error::unsupported("count(DISTINCT *)", "use SELECT count(*) FROM (SELECT DISTINCT … FROM …)"))
        }
        _ => Ok(()),
    }
}

/// The planner would forget what the other window says.
fn builds_on_no_other(window: &WindowSpec) -> Result<()> {
    match &window.window_name {
        Some(name) => {
            Err(refused(format!("a window that builds on another (OVER ({name} …)); write out what {name} is")))
        }
        None => Ok(()),
    }
}

/// Window functions see the rows that WHERE, GROUP BY and HAVING have left, so they cannot be in them.
fn no_window(part: Option<&impl Visit>, clause: &str) -> Result<()> {
    match part.map(|part| part.visit(&mut Windows { queries: 0 })) {
        Some(ControlFlow::Break(())) => Err(Error::Invalid(format!(
            "a window function cannot be in {clause}: select it in a subquery, and compare it outside, or use QUALIFY"
        ))),
        _ => Ok(()),
    }
}

/// Stops at the first window function that is not in a subquery.
struct Windows {
    queries: usize,
}

impl Visitor for Windows {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(Function { over: Some(_), .. }) if self.queries == 0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}
