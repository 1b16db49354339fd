//! The two zeros of floating-point numbers are one value wherever DataFusion tells rows, or values, apart by their bits.
//!
//! In: a logical plan after type coercion, and again at the end of optimisation, when joins and aggregates have been made of other
//! forms. Out: the same plan with [`Form::OneZero`] around
//! * numbers among what windows are parted and ordered by, what DISTINCT aggregates take and others are ordered by, sort keys that
//!   others follow, the operand of `CASE x WHEN`, arguments of functions that search, and the keys of joins that sort;
//! * structs, lists and maps that hold numbers there, and also where they are compared, grouped by, or keys of any join.
//!
//! `=` of numbers, `GROUP BY` them and joins by hash take the zeros for equal already. DataFusion 55.2.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Between, BinaryExpr, GroupingSet, InList, Sort as SortKey};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, Join, LogicalPlan, Sort};
use datafusion::optimizer::analyzer::AnalyzerRule;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::map_named;
use crate::functions::Canonical;
use crate::types::{Form, holds_floats};

/// Functions that look for a value among others.
const SEARCHING: &[&str] = &[
    "array_distinct",
    "array_except",
    "array_has",
    "array_has_all",
    "array_has_any",
    "array_intersect",
    "array_max",
    "array_min",
    "array_position",
    "array_positions",
    "array_remove",
    "array_remove_all",
    "array_remove_n",
    "array_replace",
    "array_replace_all",
    "array_replace_n",
    "array_union",
];

/// Functions that look for a key of a map.
const LOOKING_UP: &[&str] = &["get_field", "map_extract"];

/// Functions that compare whole structs and lists.
const COMPARING: &[&str] = &["array_sort", "approx_distinct", "greatest", "least", "max", "min"];

/// The pass.
#[derive(Debug)]
pub(super) struct OneZero;

impl AnalyzerRule for OneZero {
    fn name(&self) -> &str {
        "one_zero"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(|plan| rewrite_plan(plan, false))?.data)
    }
}

impl OptimizerRule for OneZero {
    fn name(&self) -> &str {
        "one_zero"
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let joins_sort = !config.options().optimizer.prefer_hash_join;
        plan.transform_up_with_subqueries(|plan| rewrite_plan(plan, joins_sort))
    }
}

fn rewrite_plan(plan: LogicalPlan, joins_sort: bool) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    let rewritten = map_named(plan, |expr| expr.transform_up(|expr| Ok(rewrite_expr(expr, &schema))))?;
    rewritten.transform_data(|plan| {
        Ok(match plan {
            LogicalPlan::Sort(mut sort) => {
                let changed = settle_sort(&mut sort, &schema);
                Transformed::new_transformed(LogicalPlan::Sort(sort), changed)
            }
            LogicalPlan::Aggregate(mut aggregate) => {
                let changed = settle_groups(&mut aggregate, &schema);
                Transformed::new_transformed(LogicalPlan::Aggregate(aggregate), changed)
            }
            LogicalPlan::Join(mut join) => {
                let changed = settle_keys(&mut join, joins_sort);
                Transformed::new_transformed(LogicalPlan::Join(join), changed)
            }
            other => Transformed::no(other),
        })
    })
}

/// Of what a plan is sorted by, a number that nothing follows may have two zeros: nobody sees their order.
fn settle_sort(sort: &mut Sort, schema: &DFSchema) -> bool {
    let last = sort.expr.len().saturating_sub(1);
    let keys = sort.expr.iter_mut().enumerate();
    keys.fold(false, |changed, (index, key)| {
        changed | if index < last { settle(&mut key.expr, schema) } else { settle_nested(&mut key.expr, schema) }
    })
}

fn settle_groups(aggregate: &mut Aggregate, schema: &DFSchema) -> bool {
    let names = NamePreserver::new_for_projection();
    let settle_group = |expr: &mut Expr| {
        let name = names.save(expr);
        let changed = settle_nested(expr, schema);
        if changed {
            *expr = name.restore(std::mem::take(expr));
        }
        changed
    };
    let groups = aggregate.group_expr.iter_mut();
    groups.fold(false, |changed, group| {
        changed
            | match group {
                Expr::GroupingSet(GroupingSet::Rollup(exprs) | GroupingSet::Cube(exprs)) => {
                    exprs.iter_mut().fold(false, |changed, expr| settle_group(expr) | changed)
                }
                Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => {
                    sets.iter_mut().flatten().fold(false, |changed, expr| settle_group(expr) | changed)
                }
                expr => settle_group(expr),
            }
    })
}

fn settle_keys(join: &mut Join, joins_sort: bool) -> bool {
    let settle = if joins_sort { settle } else { settle_nested };
    let (left, right) = (join.left.schema(), join.right.schema());
    join.on
        .iter_mut()
        .fold(false, |changed, (of_left, of_right)| settle(of_left, left) | settle(of_right, right) | changed)
}

fn rewrite_expr(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let all = |exprs: &mut [Expr]| exprs.iter_mut().fold(false, |changed, expr| settle(expr, schema) | changed);
    let all_nested =
        |exprs: &mut [Expr]| exprs.iter_mut().fold(false, |changed, expr| settle_nested(expr, schema) | changed);
    let keys =
        |keys: &mut [SortKey]| keys.iter_mut().fold(false, |changed, key| settle(&mut key.expr, schema) | changed);
    match expr {
        Expr::WindowFunction(mut window) => {
            let name = window.fun.name().to_owned();
            let params = &mut window.params;
            let changed = all(&mut params.partition_by)
                | keys(&mut params.order_by)
                | (params.distinct && all(&mut params.args))
                | (COMPARING.contains(&name.as_str()) && all_nested(&mut params.args));
            Transformed::new_transformed(Expr::WindowFunction(window), changed)
        }
        Expr::AggregateFunction(mut aggregate) => {
            // With DISTINCT, what rows are ordered by must be among the arguments.
            let compares = COMPARING.contains(&aggregate.func.name());
            let params = &mut aggregate.params;
            let changed = keys(&mut params.order_by)
                | (params.distinct && all(&mut params.args))
                | (compares && all_nested(&mut params.args));
            Transformed::new_transformed(Expr::AggregateFunction(aggregate), changed)
        }
        Expr::ScalarFunction(mut call) => {
            let name = call.func.name();
            let changed = (SEARCHING.contains(&name) && all(&mut call.args))
                || (COMPARING.contains(&name) && all_nested(&mut call.args))
                || (LOOKING_UP.contains(&name) && has_number_keys(&call.args, schema) && all(&mut call.args));
            Transformed::new_transformed(Expr::ScalarFunction(call), changed)
        }
        Expr::BinaryExpr(BinaryExpr { mut left, op, mut right }) => {
            let changed =
                op.supports_propagation() && (settle_nested(&mut left, schema) | settle_nested(&mut right, schema));
            Transformed::new_transformed(Expr::BinaryExpr(BinaryExpr { left, op, right }), changed)
        }
        Expr::Between(Between { mut expr, negated, mut low, mut high }) => {
            let parts = [&mut expr, &mut low, &mut high];
            let changed = parts.into_iter().fold(false, |changed, part| settle_nested(part, schema) | changed);
            Transformed::new_transformed(Expr::Between(Between { expr, negated, low, high }), changed)
        }
        Expr::InList(InList { mut expr, mut list, negated }) => {
            let changed = settle_nested(&mut expr, schema) | all_nested(&mut list);
            Transformed::new_transformed(Expr::InList(InList { expr, list, negated }), changed)
        }
        Expr::Case(mut case) => {
            let changed = case.expr.as_mut().is_some_and(|operand| {
                let of_operand = settle(operand, schema);
                case.when_then_expr.iter_mut().fold(of_operand, |changed, (when, _)| settle(when, schema) | changed)
            });
            Transformed::new_transformed(Expr::Case(case), changed)
        }
        other => Transformed::no(other),
    }
}

fn has_number_keys(args: &[Expr], schema: &DFSchema) -> bool {
    let Some(Ok(DataType::Map(entries, _))) = args.first().map(|map| map.get_type(schema)) else { return false };
    let DataType::Struct(fields) = entries.data_type() else { return false };
    fields.first().is_some_and(|key| holds_floats(key.data_type()))
}

/// Gives an expression that may hold `-0.0` one zero; whether it did.
fn settle(expr: &mut Expr, schema: &DFSchema) -> bool {
    settle_if(expr, schema, holds_floats)
}

/// The same for structs, lists and maps only.
fn settle_nested(expr: &mut Expr, schema: &DFSchema) -> bool {
    settle_if(expr, schema, |data_type| data_type.is_nested() && holds_floats(data_type))
}

fn settle_if(expr: &mut Expr, schema: &DFSchema, is_concerned: fn(&DataType) -> bool) -> bool {
    if is_settled(expr) || !expr.get_type(schema).is_ok_and(|data_type| is_concerned(&data_type)) {
        return false;
    }
    *expr = Canonical::call(Form::OneZero, std::mem::take(expr));
    true
}

fn is_settled(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_settled(&alias.expr),
        other => Canonical::is_call(Form::OneZero, other),
    }
}
