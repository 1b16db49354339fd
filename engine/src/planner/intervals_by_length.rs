//! Intervals are compared by their lengths, with months of 30 days and days of 24 hours, as PostgreSQL compares them.
//!
//! In: a logical plan after type coercion. Out: the same plan with [`Form::Justified`] around intervals wherever values are compared, told
//! apart or put in order; DataFusion would do that field by field. What is shown of equal intervals is one of them as it was given:
//!
//! ```text
//! Filter: i > INTERVAL '1 day'         Filter: justified(i) > INTERVAL '1 day'
//!   Aggregate: GROUP BY i         ─►     Projection: CASE WHEN i IS NOT NULL THEN first END AS i
//!                                          Aggregate: GROUP BY justified(i) AS i, first_value(i) AS first
//! ```
//! `min`, `max`, `greatest`, `least` and `nullif` see to it themselves. A duration that is cast to an interval has days
//! ([`DaysAndTime`]). What would have to show values in another form than theirs is refused.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result, TableReference, not_impl_err};
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{
    Between, BinaryExpr, Cast, GroupingSet, InList, InSubquery, SetComparison, Sort as SortKey, TryCast, WindowFunction,
};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, ExprSchemable, LogicalPlan, Projection, Subquery, WindowFrameBound, WindowFrameUnits,
    when,
};
use datafusion::optimizer::analyzer::AnalyzerRule;

use super::map_named;
use crate::functions::{Canonical, DaysAndTime};
use crate::types::{Form, holds_intervals};

/// Functions that look for values in lists, and do not show them: ANY and ALL, too ([`Quantified`](crate::functions::Quantified)).
const SEARCHING: &[&str] = &[
    "all_eq",
    "all_ge",
    "all_gt",
    "all_le",
    "all_lt",
    "all_ne",
    "any_eq",
    "any_ge",
    "any_gt",
    "any_le",
    "any_lt",
    "any_ne",
    "array_has",
    "array_has_all",
    "array_has_any",
    "array_position",
    "array_positions",
];

/// Functions that compare the elements of lists, and show them.
const SHOWING: &[&str] = &[
    "array_distinct",
    "array_except",
    "array_intersect",
    "array_max",
    "array_min",
    "array_remove",
    "array_remove_all",
    "array_remove_n",
    "array_replace",
    "array_replace_all",
    "array_replace_n",
    "array_sort",
    "array_union",
];

/// Functions that compare their arguments by themselves, unless these are nested.
const EXTREMES: &[&str] = &["greatest", "least", "max", "min"];

/// Aggregates that do not show what they count.
const COUNTING: &[&str] = &["approx_distinct", "count"];

/// The pass.
#[derive(Debug)]
pub(super) struct IntervalsByLength;

impl AnalyzerRule for IntervalsByLength {
    fn name(&self) -> &str {
        "intervals_by_length"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(rewrite_plan)?.data)
    }
}

fn rewrite_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    let rewritten = map_named(plan, |expr| expr.transform_up(|expr| rewrite_expr(expr, &schema)))?;
    rewritten.transform_data(|plan| match plan {
        LogicalPlan::Sort(mut sort) => {
            let changed = settle_sort_keys(&mut sort.expr, &schema);
            Ok(Transformed::new_transformed(LogicalPlan::Sort(sort), changed))
        }
        LogicalPlan::Join(mut join) => {
            let (left, right) = (join.left.schema(), join.right.schema());
            let pairs = join.on.iter_mut();
            let changed = pairs.fold(false, |changed, (one, other)| settle(one, left) | settle(other, right) | changed);
            Ok(Transformed::new_transformed(LogicalPlan::Join(join), changed))
        }
        LogicalPlan::Distinct(Distinct::All(input)) if has_intervals(input.schema()) => {
            let columns = input.schema().columns().into_iter().map(Expr::Column).collect();
            group_by_length(Aggregate::try_new(input, columns, Vec::new())?)
        }
        LogicalPlan::Distinct(Distinct::On(mut distinct)) => {
            let changed = settle_all(&mut distinct.on_expr, &schema)
                | distinct.sort_expr.as_mut().is_some_and(|keys| settle_sort_keys(keys, &schema));
            Ok(Transformed::new_transformed(LogicalPlan::Distinct(Distinct::On(distinct)), changed))
        }
        LogicalPlan::Aggregate(aggregate) => group_by_length(aggregate),
        LogicalPlan::RecursiveQuery(query) if query.is_distinct && has_intervals(&query.schema) => {
            not_impl_err!("UNION of intervals in a recursive query; use UNION ALL")
        }
        other => Ok(Transformed::no(other)),
    })
}

fn has_intervals(schema: &DFSchema) -> bool {
    schema.fields().iter().any(|field| holds_intervals(field.data_type()))
}

/// Groups by lengths, and gives one of the equal intervals for the key of a group.
fn group_by_length(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let Aggregate { input, mut group_expr, mut aggr_expr, schema, .. } = aggregate;
    let mut keys: Vec<&mut Expr> = Vec::new();
    for expr in &mut group_expr {
        match expr {
            Expr::GroupingSet(GroupingSet::Rollup(exprs) | GroupingSet::Cube(exprs)) => keys.extend(exprs),
            Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => keys.extend(sets.iter_mut().flatten()),
            expr => keys.push(expr),
        }
    }
    let names = NamePreserver::new_for_projection();
    let mut shown: Vec<(String, Expr)> = Vec::new();
    for key in keys {
        let (name, given) = (names.save(key), key.clone());
        if settle(key, input.schema()) {
            *key = name.restore(std::mem::take(key));
            let (qualifier, name) = key.qualified_name();
            shown.push((first_name(qualifier.as_ref(), &name), given));
        }
    }
    if shown.is_empty() {
        let aggregate = Aggregate::try_new_with_schema(input, group_expr, aggr_expr, schema)?;
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let groups = schema.fields().len() - aggr_expr.len();
    let mut added: Vec<String> = Vec::new();
    for (name, given) in shown {
        // In several grouping sets there is one key several times.
        if !added.contains(&name) {
            aggr_expr.push(first_value_udaf().call(vec![given.unalias()]).alias(&name));
            added.push(name);
        }
    }
    let columns = schema.iter().enumerate().map(|(index, (qualifier, field))| {
        let column = Expr::Column(Column::from((qualifier, field)));
        let first = first_name(qualifier, field.name());
        if index >= groups || !added.contains(&first) {
            return Ok(column);
        }
        let first = Expr::Column(Column::new_unqualified(first));
        let given = when(column.is_not_null(), first).end()?;
        Ok(given.alias_qualified(qualifier.cloned(), field.name()))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let aggregate = LogicalPlan::Aggregate(Aggregate::try_new(input, group_expr, aggr_expr)?);
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(aggregate))?)))
}

/// What the shown value of a key is called.
fn first_name(qualifier: Option<&TableReference>, name: &str) -> String {
    format!("first of {}", Column::new(qualifier.cloned(), name).flat_name())
}

fn rewrite_expr(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { mut left, op, mut right }) => {
            let changed = op.supports_propagation() && (settle(&mut left, schema) | settle(&mut right, schema));
            Transformed::new_transformed(Expr::BinaryExpr(BinaryExpr { left, op, right }), changed)
        }
        Expr::Between(Between { mut expr, negated, mut low, mut high }) => {
            let changed = settle(&mut expr, schema) | settle(&mut low, schema) | settle(&mut high, schema);
            Transformed::new_transformed(Expr::Between(Between { expr, negated, low, high }), changed)
        }
        Expr::InList(InList { mut expr, mut list, negated }) => {
            let changed = settle(&mut expr, schema);
            if changed {
                settle_all(&mut list, schema);
            }
            Transformed::new_transformed(Expr::InList(InList { expr, list, negated }), changed)
        }
        Expr::InSubquery(InSubquery { mut expr, mut subquery, negated }) => {
            let changed = settle(&mut expr, schema);
            if changed {
                subquery = settle_subquery(subquery)?;
            }
            Transformed::new_transformed(Expr::InSubquery(InSubquery { expr, subquery, negated }), changed)
        }
        Expr::SetComparison(SetComparison { mut expr, mut subquery, op, quantifier }) => {
            let changed = settle(&mut expr, schema);
            if changed {
                subquery = settle_subquery(subquery)?;
            }
            let comparison = SetComparison { expr, subquery, op, quantifier };
            Transformed::new_transformed(Expr::SetComparison(comparison), changed)
        }
        Expr::Case(mut case) => {
            let changed = case.expr.as_mut().is_some_and(|operand| {
                let of_operand = settle(operand, schema);
                case.when_then_expr.iter_mut().fold(of_operand, |changed, (when, _)| settle(when, schema) | changed)
            });
            Transformed::new_transformed(Expr::Case(case), changed)
        }
        Expr::Cast(Cast { expr, field }) => match duration_as_interval(&expr, field.data_type(), schema) {
            true => Transformed::yes(DaysAndTime::call(*expr)),
            false => Transformed::no(Expr::Cast(Cast { expr, field })),
        },
        Expr::TryCast(TryCast { expr, field }) => match duration_as_interval(&expr, field.data_type(), schema) {
            true => Transformed::yes(DaysAndTime::call(*expr)),
            false => Transformed::no(Expr::TryCast(TryCast { expr, field })),
        },
        Expr::ScalarFunction(mut call) => {
            let name = call.func.name();
            let changed = SEARCHING.contains(&name) && settle_all(&mut call.args, schema);
            if SHOWING.contains(&name) || EXTREMES.contains(&name) {
                refuse(name, &call.args, schema)?;
            }
            Transformed::new_transformed(Expr::ScalarFunction(call), changed)
        }
        Expr::AggregateFunction(mut aggregate) => {
            let (name, params) = (aggregate.func.name(), &mut aggregate.params);
            let changed = settle_arguments(name, params.distinct, &mut params.args, schema)?;
            let changed = settle_sort_keys(&mut params.order_by, schema) | changed;
            Transformed::new_transformed(Expr::AggregateFunction(aggregate), changed)
        }
        Expr::WindowFunction(window) => settle_window(*window, schema)?,
        other => Transformed::no(other),
    })
}

fn settle_window(mut window: WindowFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let name = window.fun.name().to_owned();
    let params = &mut window.params;
    let changed = settle_arguments(&name, params.distinct, &mut params.args, schema)?
        | settle_all(&mut params.partition_by, schema)
        | settle_sort_keys(&mut params.order_by, schema);
    let is_offset = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::Preceding(offset) | WindowFrameBound::Following(offset) => !offset.is_null(),
        WindowFrameBound::CurrentRow => false,
    };
    let frame = &params.window_frame;
    let ranges =
        frame.units == WindowFrameUnits::Range && (is_offset(&frame.start_bound) || is_offset(&frame.end_bound));
    if ranges && params.order_by.iter().any(|key| is_of_intervals(&key.expr, schema)) {
        return not_impl_err!("RANGE over intervals with an offset");
    }
    Ok(Transformed::new_transformed(Expr::WindowFunction(Box::new(window)), changed))
}

/// The arguments of an aggregate.
fn settle_arguments(name: &str, is_distinct: bool, args: &mut [Expr], schema: &DFSchema) -> Result<bool> {
    if EXTREMES.contains(&name) {
        refuse(name, args, schema)?;
    } else if COUNTING.contains(&name) && (is_distinct || name != "count") {
        return Ok(settle_all(args, schema));
    } else if is_distinct && args.iter().any(|arg| is_of_intervals(arg, schema)) {
        return not_impl_err!("{name}(DISTINCT …) of intervals; use it on a subquery with SELECT DISTINCT");
    }
    Ok(false)
}

/// Refuses structs, lists and maps that hold intervals.
fn refuse(name: &str, args: &[Expr], schema: &DFSchema) -> Result<()> {
    let is_nested = |ty: DataType| ty.is_nested() && holds_intervals(&ty);
    match args.iter().any(|arg| arg.get_type(schema).is_ok_and(is_nested)) {
        true => not_impl_err!("{name}() of values that hold intervals"),
        false => Ok(()),
    }
}

/// A subquery whose one column is compared.
fn settle_subquery(subquery: Subquery) -> Result<Subquery> {
    let plan = Arc::clone(&subquery.subquery);
    let columns = plan.schema().iter().map(|(qualifier, field)| {
        let mut column = Expr::Column(Column::from((qualifier, field)));
        settle(&mut column, plan.schema());
        column.alias_qualified(qualifier.cloned(), field.name())
    });
    let columns = columns.collect();
    Ok(subquery.with_plan(Arc::new(LogicalPlan::Projection(Projection::try_new(columns, plan)?))))
}

fn duration_as_interval(value: &Expr, to: &DataType, schema: &DFSchema) -> bool {
    matches!(to, DataType::Interval(IntervalUnit::MonthDayNano))
        && value.get_type(schema).is_ok_and(|ty| matches!(ty, DataType::Duration(_)))
}

fn settle_all(exprs: &mut [Expr], schema: &DFSchema) -> bool {
    exprs.iter_mut().fold(false, |changed, expr| settle(expr, schema) | changed)
}

fn settle_sort_keys(keys: &mut [SortKey], schema: &DFSchema) -> bool {
    keys.iter_mut().fold(false, |changed, key| settle(&mut key.expr, schema) | changed)
}

/// Gives an expression the form in which it is compared; whether it had another.
fn settle(expr: &mut Expr, schema: &DFSchema) -> bool {
    if is_settled(expr) || !is_of_intervals(expr, schema) {
        return false;
    }
    let given = std::mem::take(expr);
    *expr = match given {
        Expr::Literal(value, metadata) => match Form::Justified.of_scalar(value.clone()) {
            Ok(value) => Expr::Literal(value, metadata),
            Err(_) => Canonical::call(Form::Justified, Expr::Literal(value, metadata)),
        },
        given => Canonical::call(Form::Justified, given),
    };
    true
}

fn is_of_intervals(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|ty| holds_intervals(&ty))
}

fn is_settled(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_settled(&alias.expr),
        other => Canonical::is_call(Form::Justified, other),
    }
}
