//! The correlated subqueries that DataFusion's own joins answer rightly.
//!
//! In: a subquery, how it is used, and the query around it. Out: whether DataFusion 55.2 may make a join of it. It moves the
//! conditions on outer columns out of the subquery, past whatever stands above them, and finds their columns by name
//! (`PullUpCorrelatedExpr`). So: one filter has such conditions; above it there is only what gives the same rows after them; and
//! no other column there has the name of one that they need.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchema, JoinType, Result};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, ExprSchemable, Filter, Join, LogicalPlan, Operator, SubqueryAlias,
};

use super::references::{outer_columns, outer_columns_of, subquery_of};
use super::{has_values_that_no_join_has, subqueries_are_joinable};

/// How a subquery is used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Whether it has a row, or one with a value.
    Test,
    /// As a value.
    Value,
    /// As a relation.
    Relation,
}

/// Aggregates whose value of no rows DataFusion knows.
const OF_NOTHING_KNOWN: [&str; 5] = ["avg", "count", "max", "min", "sum"];

/// Whether DataFusion's join for a subquery gives its rows. One that names no outer column needs none.
pub(super) fn is_joinable(subquery: &LogicalPlan, used: Use, around: &[&DFSchema]) -> Result<bool> {
    let outer = outer_columns(subquery)?;
    if outer.is_empty() {
        return Ok(true);
    }
    // Further out is known only once the subqueries around are gone.
    if !outer.iter().all(|column| around.iter().any(|schema| schema.has_column(column))) {
        return Ok(false);
    }
    let mut path = Path { used, is_top: true, is_grouped: false, wants_equations: false, has_one_row: false };
    let Some(found) = path.conditions(subquery)? else { return Ok(false) };
    let names_differ = |inner: &Column| {
        let fields = subquery.schema().iter();
        let same = fields.filter(|(_, field)| field.name() == &inner.name);
        same.count() <= 1 && !outer.contains(inner)
    };
    let is_apart = |outer: &Column| !subquery.schema().has_column(outer) && !found.needed.contains(outer);
    Ok((used != Use::Value || path.has_one_row)
        && found.needed.iter().all(names_differ)
        && found
            .needed
            .iter()
            .enumerate()
            .all(|(place, column)| found.needed[..place].iter().all(|other| other.name != column.name))
        && outer.iter().all(is_apart)
        && found.conditions.iter().all(|condition| !is_of_itself(condition))
        && (!path.wants_equations || found.equated.is_some()))
}

/// What was met on the way from a subquery's root to its filter on outer columns.
struct Path {
    used: Use,
    /// Whether nothing but projections was met yet.
    is_top: bool,
    is_grouped: bool,
    wants_equations: bool,
    has_one_row: bool,
}

/// The conditions on outer columns, and the columns of the subquery that they need, as they are named at this height.
struct Found {
    conditions: Vec<Expr>,
    needed: Vec<Column>,
    /// The columns that are equated with outer ones, if the conditions are nothing but such equations.
    equated: Option<Vec<Column>>,
}

impl Path {
    fn conditions(&mut self, plan: &LogicalPlan) -> Result<Option<Found>> {
        if has_values_that_no_join_has(plan)? || !subqueries_are_joinable(plan)? {
            return Ok(None);
        }
        if let LogicalPlan::Filter(filter) = plan
            && !outer_columns_of(&filter.predicate, plan)?.is_empty()
        {
            return conditions_of(filter);
        }
        for expr in plan.expressions() {
            if !outer_columns_of(&expr, plan)?.is_empty() {
                return Ok(None);
            }
        }
        match plan {
            LogicalPlan::Filter(filter) => {
                self.is_top = false;
                self.conditions(&filter.input)
            }
            LogicalPlan::Projection(projection) => {
                let found = self.conditions(&projection.input)?;
                Ok(found.filter(|found| keep_names(&projection.expr, found)))
            }
            // DataFusion hands up columns that a projection lacks, but not through joins and relations with names, which keep their columns.
            // Where a relation is joined, it does not find the columns of conditions under their new names.
            LogicalPlan::SubqueryAlias(_) if self.used == Use::Relation => Ok(None),
            LogicalPlan::SubqueryAlias(SubqueryAlias { input, alias, .. }) => {
                let Some(mut found) = self.conditions(input)? else { return Ok(None) };
                for column in &mut found.needed {
                    let same = input.schema().iter().filter(|(_, field)| field.name() == &column.name).count();
                    if same != 1 || !input.schema().has_column(column) {
                        return Ok(None);
                    }
                    *column = Column::new(Some(alias.clone()), &column.name);
                }
                Ok(Some(found))
            }
            LogicalPlan::Join(join) => {
                self.is_top = false;
                let (kept, other) = match join.join_type {
                    JoinType::Inner if !outer_columns(&join.right)?.is_empty() => (&join.right, &join.left),
                    JoinType::Inner | JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => {
                        (&join.left, &join.right)
                    }
                    _ => return Ok(None),
                };
                if !outer_columns(other)?.is_empty() || !stays_as_it_is(join, kept)? {
                    return Ok(None);
                }
                let found = self.conditions(kept)?;
                Ok(found.filter(|found| found.needed.iter().all(|column| join.schema.has_column(column))))
            }
            LogicalPlan::Aggregate(aggregate) => self.through_aggregate(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                self.wants_equations |= self.used != Use::Test || self.is_grouped;
                (self.is_top, self.is_grouped) = (false, true);
                self.conditions(input)
            }
            _ => Ok(None),
        }
    }

    fn through_aggregate(&mut self, aggregate: &Aggregate) -> Result<Option<Found>> {
        let (keys, aggregates) = (&aggregate.group_expr, &aggregate.aggr_expr);
        if keys.iter().any(|key| matches!(key, Expr::GroupingSet(_))) {
            return Ok(None);
        }
        self.wants_equations |= self.used != Use::Test || self.is_grouped || !aggregates.is_empty();
        let is_top = std::mem::replace(&mut self.is_top, false);
        self.is_grouped = true;
        if keys.is_empty() {
            // Its one row of no rows comes from a left join, above which only values are mended.
            if self.used == Use::Test || !is_top || !aggregates.iter().all(is_known_of_nothing) {
                return Ok(None);
            }
            self.has_one_row = true;
        }
        let Some(found) = self.conditions(&aggregate.input)? else { return Ok(None) };
        if is_top && !keys.is_empty() {
            let equated = found.equated.as_deref().unwrap_or_default();
            self.has_one_row = keys.iter().all(|key| matches!(key, Expr::Column(key) if equated.contains(key)));
        }
        Ok(Some(found).filter(|found| keep_names(keys, found) && keep_names(aggregates, found)))
    }
}

/// Whether the side of a join that has no outer columns keeps its rows. DataFusion 55.2 goes on to the right side with what it has found
/// on the left: it takes LIMIT away there, takes an aggregate for one that it has to mend, and equal relations for one.
fn stays_as_it_is(join: &Join, kept: &Arc<LogicalPlan>) -> Result<bool> {
    if Arc::ptr_eq(kept, &join.right) {
        return Ok(true);
    }
    let is_changed = join.right.exists(|node| {
        Ok(match node {
            LogicalPlan::Limit(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) => true,
            LogicalPlan::Sort(sort) => sort.fetch.is_some(),
            node => kept.exists(|other| Ok(node == other))?,
        })
    })?;
    Ok(!is_changed)
}

fn conditions_of(filter: &Filter) -> Result<Option<Found>> {
    if !outer_columns(&filter.input)?.is_empty() {
        return Ok(None);
    }
    let mut found = Found { conditions: Vec::new(), needed: Vec::new(), equated: None };
    for condition in split_conjunction(&filter.predicate) {
        if condition.contains_outer() {
            found.conditions.push(condition.clone());
        }
        // Conditions with subqueries stay where they are, and so do the outer columns in these.
        let has_subquery = condition.exists(|expr| Ok(subquery_of(expr).is_some()))?;
        if has_subquery && !outer_columns_of(condition, &LogicalPlan::Filter(filter.clone()))?.is_empty() {
            return Ok(None);
        }
    }
    for condition in &found.conditions {
        for column in condition.column_refs() {
            if !found.needed.contains(column) {
                found.needed.push(column.clone());
            }
        }
    }
    let schema = filter.input.schema();
    found.equated = found.conditions.iter().map(|condition| equated(condition, schema)).collect();
    Ok(Some(found))
}

/// Whether each column that has the name of a needed one is that one.
fn keep_names(exprs: &[Expr], found: &Found) -> bool {
    exprs.iter().all(|expr| {
        let (_, name) = expr.qualified_name();
        // A cast has the name of what it casts.
        let is_named = |needed: &Column| needed.name == name || needed.flat_name() == name;
        found.needed.iter().all(|needed| !is_named(needed) || matches!(expr, Expr::Column(column) if column == needed))
    })
}

/// The column of the subquery that a condition equates with something from outside, so that it has one value.
fn equated(condition: &Expr, schema: &DFSchema) -> Option<Column> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return None };
    let (inner, outer) = if left.any_column_refs() { (left, right) } else { (right, left) };
    if outer.any_column_refs() {
        return None;
    }
    match inner.as_ref() {
        Expr::Column(column) => Some(column.clone()),
        Expr::Cast(Cast { expr, field }) => match expr.as_ref() {
            Expr::Column(column) if tells_apart(&expr.get_type(schema).ok()?, field.data_type()) => {
                Some(column.clone())
            }
            _ => None,
        },
        _ => None,
    }
}

/// Whether a cast makes different values of different values.
fn tells_apart(from: &DataType, to: &DataType) -> bool {
    let is_text = |ty: &DataType| matches!(ty, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    match (from, to) {
        (from, to) if from.is_integer() => to.is_integer() || matches!(to, DataType::Decimal128(_, 0..)),
        (DataType::Decimal128(_, from), DataType::Decimal128(_, to)) => from <= to,
        (from, to) => is_text(from) && is_text(to),
    }
}

/// `x = x`, which is unknown where it is NULL, and which DataFusion 55.2 leaves out.
fn is_of_itself(condition: &Expr) -> bool {
    matches!(condition, Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) if left == right)
}

fn is_known_of_nothing(aggregate: &Expr) -> bool {
    match aggregate {
        Expr::Alias(alias) => is_known_of_nothing(&alias.expr),
        Expr::AggregateFunction(function) => OF_NOTHING_KNOWN.contains(&function.func.name()),
        _ => false,
    }
}
