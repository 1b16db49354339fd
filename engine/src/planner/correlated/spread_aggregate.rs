//! Aggregates in a correlated subquery, for all outer rows at once.
//!
//! In: an aggregate below which outer columns are named. Out: the same by the outer values, too. Where it has a row for no rows,
//! without GROUP BY or for the empty one of its grouping sets, each of the outer values gets a row to be left out of the
//! aggregates, so that these are what they are of nothing, whatever aggregates they are.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinType, Result};
use datafusion::functions_aggregate::count::count;
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast, lit};

use super::outer_values::{OuterValues, refused};
use super::spread::{Spread, keep};

pub(super) fn spread(outer: &OuterValues<'_>, aggregate: Aggregate) -> Result<Spread> {
    let (columns, schema) = (aggregate.schema.columns(), Arc::clone(&aggregate.schema));
    let inputs = [Arc::clone(aggregate.input.schema())];
    let sets = grouping_sets(&aggregate.group_expr)?;
    let has_total = sets.as_ref().map_or(aggregate.group_expr.is_empty(), |sets| sets.iter().any(Vec::is_empty));
    let (mut input, mut values) = outer.spread(Arc::unwrap_or_clone(aggregate.input))?;
    let present = outer.names().fresh("present");
    if has_total {
        (input, values) = with_absent(outer, input, &values, &present)?;
    }
    let present = Expr::Column(Column::new_unqualified(present));
    let own = outer.as_own(&values);
    let mut aggregates = Vec::with_capacity(aggregate.aggr_expr.len() + 1);
    for expr in aggregate.aggr_expr {
        let name = NamePreserver::new_for_projection().save(&expr);
        let expr = own.put_into(expr, &inputs)?;
        aggregates.push(name.restore(if has_total { of_present(expr, &present)? } else { expr }));
    }
    let by_values = values.iter().cloned().map(Expr::Column);
    let Some(sets) = sets else {
        let keys = aggregate.group_expr.into_iter().map(|key| own.put_into_named(key, &inputs));
        let keys = keys.chain(by_values.map(Ok)).collect::<Result<Vec<_>>>()?;
        let plan = Aggregate::try_new(Arc::new(input), keys, aggregates)?;
        return Ok((keep(LogicalPlan::Aggregate(plan), columns, &values)?, values));
    };
    if sets.iter().flatten().any(Expr::contains_outer) {
        return Err(refused("an outer column in a grouping set; compute it in a subquery in FROM"));
    }
    let keys = grouping_set_to_exprlist(&aggregate.group_expr)?.len();
    let rows = outer.names().fresh("rows");
    if has_total {
        aggregates.push(count(present).alias(&rows));
    }
    // Foremost, the values do not move the bits of the grouping sets' ids.
    let sets = sets.into_iter().map(|set| by_values.clone().chain(set).collect()).collect();
    let group = vec![Expr::GroupingSet(GroupingSet::GroupingSets(sets))];
    let plan = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), group, aggregates)?);
    let mut plan = LogicalPlanBuilder::from(plan);
    if has_total {
        let of_total = (1_u64 << keys) - 1;
        let id = cast(Expr::Column(Column::from_name(Aggregate::INTERNAL_GROUPING_ID)), DataType::UInt64);
        let is_total = (id & lit(of_total)).eq(lit(of_total));
        plan = plan.filter(is_total.or(Expr::Column(Column::from_name(rows)).gt(lit(0_i64))))?;
    }
    let plan = plan.build()?;
    // The values may have made the ids wider.
    let exprs = columns.into_iter().zip(schema.fields()).map(|(column, field)| {
        let name = column.name.clone();
        let expr = Expr::Column(column);
        let is_wider = name == Aggregate::INTERNAL_GROUPING_ID && expr.get_type(plan.schema())? != *field.data_type();
        Ok(if is_wider { cast(expr, field.data_type().clone()).alias(name) } else { expr })
    });
    let exprs = exprs.chain(by_values.map(Ok)).collect::<Result<Vec<_>>>()?;
    Ok((LogicalPlanBuilder::from(plan.clone()).project(exprs)?.build()?, values))
}

/// The grouping sets, one by one; none if there is nothing but plain keys.
fn grouping_sets(keys: &[Expr]) -> Result<Option<Vec<Vec<Expr>>>> {
    let [Expr::GroupingSet(set)] = keys else { return Ok(None) };
    Ok(Some(match set {
        GroupingSet::GroupingSets(sets) => sets.clone(),
        GroupingSet::Rollup(keys) => (0..=keys.len()).map(|length| keys[..length].to_vec()).collect(),
        GroupingSet::Cube(keys) if keys.len() <= 12 => (0..1_usize << keys.len())
            .map(|chosen| keys.iter().enumerate().filter(move |(place, _)| chosen >> place & 1 == 1))
            .map(|chosen| chosen.map(|(_, key)| key.clone()).collect())
            .collect(),
        GroupingSet::Cube(_) => return Err(refused("CUBE of more than 12 columns in a correlated subquery")),
    }))
}

/// All outer values with the rows that there are of each, which have `true` in a further column, or with one row of NULL.
fn with_absent(outer: &OuterValues<'_>, input: LogicalPlan, values: &[Column], present: &str) -> Result<Spread> {
    let columns = input.schema().columns().into_iter().map(Expr::Column);
    let marked = LogicalPlanBuilder::from(input.clone()).project(columns.chain([lit(true).alias(present)]))?.build()?;
    let (all, all_values) = outer.placed()?;
    let same = outer.same_columns(&all_values, values);
    let plan = LogicalPlanBuilder::from(all).join_on(marked, JoinType::Left, [same])?.build()?;
    Ok((plan, all_values))
}

/// An aggregate of nothing but the rows that are there.
fn of_present(expr: Expr, present: &Expr) -> Result<Expr> {
    let filtered = expr.transform_up(|expr| match expr {
        Expr::AggregateFunction(mut function) => {
            let is_present = present.clone().is_not_null();
            let filter = function.params.filter.take();
            function.params.filter = Some(Box::new(match filter {
                Some(filter) => is_present.and(*filter),
                None => is_present,
            }));
            Ok(Transformed::yes(Expr::AggregateFunction(function)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(filtered.data)
}
