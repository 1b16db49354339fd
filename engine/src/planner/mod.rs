//! Passes over plans that DataFusion does not have, or does not have right yet. One pass a file.

mod bounded_centroids;
mod bounded_filter_pushdown;
mod canonical_values;
mod check_constants;
mod check_overflow;
pub(crate) mod correlated;
mod decimals_of_floats;
mod distinct_on_keys;
mod distinct_projections;
mod empty_subqueries;
mod frames_of_months;
mod grouped_keys;
mod guarded_filter_pushdown;
mod intervals_by_length;
mod keep_above_aggregates;
mod keyless_relations;
mod limit_repetition;
mod map_values;
mod nested_comparisons;
mod null_safe_joins;
mod nulls_in_lists;
mod one_zero;
mod own_forms;
mod pair_zeros;
mod plan_date_intervals;
mod postgres_patterns;
mod quantified_lists;
mod read_ahead;
mod recursive_fields;
mod refuse_nested_extremes;
mod series;
mod session_zone;
mod settle_frames;
mod settle_in_lists;
mod steady_leaves;
mod subqueries_of_nothing;
mod three_valued_in;
mod values_of_one_type;
pub(crate) mod wide_select;
mod wider_nested;
mod wider_type_wins;
mod windows_in_order;
mod within_budget;
mod wrong_keys;

use std::sync::Arc;

use datafusion::catalog::TableFunction;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::planner::{ExprPlanner, RelationPlanner};
use datafusion::logical_expr::{Expr, LogicalPlan, WindowFunctionDefinition};
use datafusion::optimizer::analyzer::{Analyzer, AnalyzerRule};
use datafusion::optimizer::simplify_expressions::{ExprSimplifier, SimplifyContext};
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;

use self::bounded_filter_pushdown::BoundedFilterPushdown;
use self::distinct_projections::DistinctProjections;
use self::keep_above_aggregates::KeepAboveAggregates;
use self::null_safe_joins::{MAKE_KEYS, NullSafeJoins};
use self::steady_leaves::{READING_FIELDS, SteadyLeaves};
use self::subqueries_of_nothing::{MAKES_JOINS, SubqueriesOfNothing};
use self::within_budget::WithinBudget;
use self::wrong_keys::WithoutWrongKeys;
use crate::narrow_rows::NarrowRows;

/// What SQL expressions are planned with before DataFusion's planners are asked.
pub(crate) fn expr_planners() -> Vec<Arc<dyn ExprPlanner>> {
    vec![
        Arc::new(within_budget::CheckBudget),
        Arc::new(own_forms::OwnForms),
        Arc::new(plan_date_intervals::PlanDateIntervals),
        Arc::new(map_values::MapValues),
        Arc::new(check_constants::CheckConstants),
    ]
}

/// What relations are planned with before DataFusion's planner is.
pub(crate) fn relation_planners() -> Vec<Arc<dyn RelationPlanner>> {
    vec![Arc::new(keyless_relations::KeylessRelations)]
}

/// Functions in FROM, by name. To be registered after DataFusion's, whose names they have.
pub(crate) fn table_functions() -> impl Iterator<Item = (String, Arc<TableFunction>)> {
    series::Series::all().map(|function| (function.name().to_owned(), function))
}

/// DataFusion's analysis with ours around it.
pub(crate) fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> =
        vec![Arc::new(refuse_nested_extremes::RefuseNestedExtremes), Arc::new(values_of_one_type::ValuesOfOneType)];
    rules.push(Arc::new(bounded_centroids::BoundedCentroids));
    rules.push(Arc::new(wider_type_wins::WiderTypeWins));
    rules.push(Arc::new(postgres_patterns::PostgresPatterns));
    // Offsets are texts until DataFusion gives them types.
    rules.push(Arc::new(settle_frames::SettleFrames));
    rules.extend(Analyzer::new().rules);
    rules.push(Arc::new(limit_repetition::LimitRepetition));
    // Every conversion is a cast now.
    rules.push(Arc::new(session_zone::SessionZone));
    // These need operands of one type.
    rules.push(Arc::new(frames_of_months::FramesOfMonths));
    rules.push(Arc::new(windows_in_order::WindowsInOrder));
    rules.push(Arc::new(canonical_values::CanonicalValues));
    rules.push(Arc::new(check_overflow::CheckOverflow));
    rules.push(Arc::new(decimals_of_floats::DecimalsOfFloats));
    rules.push(Arc::new(intervals_by_length::IntervalsByLength));
    rules.push(Arc::new(nested_comparisons::NestedComparisons));
    rules.push(Arc::new(quantified_lists::QuantifiedLists));
    rules.push(Arc::new(settle_in_lists::SettleInLists));
    rules.push(Arc::new(distinct_on_keys::DistinctOnKeys));
    rules.push(Arc::new(nulls_in_lists::NullsInLists));
    rules.push(Arc::new(empty_subqueries::EmptySubqueries));
    // The passes behind it see to the joins and aggregates that it makes, too.
    rules.push(Arc::new(correlated::Correlated));
    rules.push(Arc::new(grouped_keys::GroupedKeys));
    rules.push(Arc::new(pair_zeros::PairZeros));
    rules.push(Arc::new(one_zero::OneZero));
    rules.push(Arc::new(three_valued_in::ThreeValuedIn));
    rules.into_iter().map(|rule| Arc::new(WithinBudget(rule)) as _).collect()
}

/// DataFusion's optimisation with ours behind it.
pub(crate) fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    for rule in &mut rules {
        if rule.name() == "push_down_filter" {
            *rule = Arc::new(KeepAboveAggregates(Arc::clone(rule)));
        }
        // Both write the expressions of columns into conditions.
        if ["push_down_filter", "eliminate_outer_join"].contains(&rule.name()) {
            *rule = Arc::new(BoundedFilterPushdown(Arc::clone(rule)));
        } else if rule.name() == "optimize_projections" {
            *rule = Arc::new(DistinctProjections(Arc::new(WithoutWrongKeys(Arc::clone(rule)))));
        } else if ["eliminate_duplicated_expr", "replace_distinct_aggregate", "eliminate_join"].contains(&rule.name()) {
            *rule = Arc::new(WithoutWrongKeys(Arc::clone(rule)));
        } else if MAKE_KEYS.contains(&rule.name()) {
            *rule = Arc::new(NullSafeJoins(Arc::clone(rule)));
        } else if READING_FIELDS.contains(&rule.name()) {
            *rule = Arc::new(SteadyLeaves(Arc::clone(rule)));
        }
    }
    let makes_joins = rules.iter().position(|rule| rule.name() == MAKES_JOINS);
    rules.insert(makes_joins.unwrap_or_default(), Arc::new(SubqueriesOfNothing));
    rules.push(Arc::new(pair_zeros::PairZeros));
    rules.push(Arc::new(one_zero::OneZero));
    rules.push(Arc::new(recursive_fields::RecursiveFields));
    rules.into_iter().map(|rule| Arc::new(WithinBudget(rule)) as _).collect()
}

/// DataFusion's physical passes, guarded, with ours behind them.
pub(crate) fn physical_optimizer_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = guarded_filter_pushdown::guarded_rules();
    rules.push(Arc::new(read_ahead::ReadAhead));
    rules.push(Arc::new(NarrowRows));
    rules.into_iter().map(|rule| Arc::new(WithinBudget(rule)) as _).collect()
}

/// The name and the arguments of a call of an aggregate, also of one over a window.
fn aggregate_call(expr: &Expr) -> Option<(&str, &[Expr])> {
    match expr {
        Expr::AggregateFunction(AggregateFunction { func, params }) => Some((func.name(), &params.args)),
        Expr::WindowFunction(window) => match window.as_ref() {
            WindowFunction { fun: WindowFunctionDefinition::AggregateUDF(func), params } => {
                Some((func.name(), &params.args))
            }
            _ => None,
        },
        _ => None,
    }
}

/// The node with other expressions, each under the name that it had: the plan above names them.
fn map_named(
    node: LogicalPlan,
    mut rewrite: impl FnMut(Expr) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&node);
    node.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = rewrite(expr)?;
        Ok(if rewritten.transformed { rewritten.update_data(|expr| name.restore(expr)) } else { rewritten })
    })
}

/// The value of an expression that has one before any row is read; any other expression as it is.
fn fold_constant(expr: Expr) -> Expr {
    if matches!(expr, Expr::Literal(..)) || expr.any_column_refs() || expr.contains_outer() || expr.is_volatile() {
        return expr;
    }
    match ExprSimplifier::new(SimplifyContext::default()).simplify(expr.clone()) {
        Ok(literal @ Expr::Literal(..)) => literal,
        _ => expr,
    }
}

/// Whether something in a plan has another value each time that it is computed.
fn is_volatile(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|plan| {
        plan.apply_expressions(|expr| {
            found |= expr.exists(|part| Ok(Expr::is_volatile_node(part)))?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}
