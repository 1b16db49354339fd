//! Where a decimal meets a floating-point number, both become floating-point; where a date or a text meets a timestamp, both become
//! timestamps of that precision, with a time zone if one has it.
//!
//! In: a logical plan before DataFusion's type coercion. Out: the same plan with casts on the decimal, date and text sides. DataFusion
//! would cast doubles to decimal(30, 15): then `d > 0.5` fails where `d` holds 1e300 or NaN, and finds nothing where it holds
//! 1e-20. SQL calls floating-point the approximate types, and lets them win. And it would cast dates, texts and timestamps to
//! nanoseconds, which fails for a date before 1677 or after 2262.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, ExprSchema, Result};
use datafusion::logical_expr::expr::{Between, BinaryExpr, Case, InList, ScalarFunction};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, Union, cast};

use super::map_named;
use datafusion::optimizer::analyzer::AnalyzerRule;

/// The pass.
#[derive(Debug)]
pub(super) struct WiderTypeWins;

impl AnalyzerRule for WiderTypeWins {
    fn name(&self) -> &str {
        "wider_type_wins"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(rewrite_plan)?.data)
    }
}

fn rewrite_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let plan = match plan {
        LogicalPlan::Union(union) => LogicalPlan::Union(rewrite_union(union)?),
        other => other,
    };
    let schema = merge_schema(&plan.inputs());
    let rewritten = map_named(plan, |expr| expr.transform_up(|expr| Ok(rewrite_expr(expr, &schema))))?;
    if rewritten.transformed { rewritten.map_data(LogicalPlan::recompute_schema) } else { Ok(rewritten) }
}

/// Casts among expressions that are compared with, or stand in for, each other.
fn rewrite_expr(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        // Their operands have one type already, and chains of them are long.
        Expr::BinaryExpr(BinaryExpr { op: Operator::And | Operator::Or, .. }) => Transformed::no(expr),
        Expr::BinaryExpr(BinaryExpr { mut left, op, mut right }) => {
            let texts = if is_comparison(op) { Texts::AreTimestamps } else { Texts::Stay };
            let changed = widen(&mut [&mut left, &mut right], schema, texts);
            Transformed::new_transformed(Expr::BinaryExpr(BinaryExpr { left, op, right }), changed)
        }
        Expr::Between(Between { mut expr, negated, mut low, mut high }) => {
            let changed = widen(&mut [&mut expr, &mut low, &mut high], schema, Texts::AreTimestamps);
            Transformed::new_transformed(Expr::Between(Between { expr, negated, low, high }), changed)
        }
        Expr::InList(InList { mut expr, mut list, negated }) => {
            let mut members: Vec<&mut Expr> = list.iter_mut().collect();
            members.push(&mut expr);
            let changed = widen(&mut members, schema, Texts::AreTimestamps);
            Transformed::new_transformed(Expr::InList(InList { expr, list, negated }), changed)
        }
        Expr::Case(Case { mut expr, mut when_then_expr, mut else_expr }) => {
            let mut changed = false;
            if let Some(operand) = &mut expr {
                let mut compared: Vec<&mut Expr> = when_then_expr.iter_mut().map(|(when, _)| when.as_mut()).collect();
                compared.push(operand);
                changed |= widen(&mut compared, schema, Texts::AreTimestamps);
            }
            let mut results: Vec<&mut Expr> = when_then_expr.iter_mut().map(|(_, then)| then.as_mut()).collect();
            results.extend(else_expr.as_deref_mut());
            changed |= widen(&mut results, schema, Texts::Stay);
            Transformed::new_transformed(Expr::Case(Case { expr, when_then_expr, else_expr }), changed)
        }
        Expr::ScalarFunction(ScalarFunction { func, mut args }) => {
            let mut members: Vec<&mut Expr> = args.iter_mut().collect();
            let changed = match func.name() {
                "coalesce" | "nvl" | "nullif" | "greatest" | "least" => widen(&mut members, schema, Texts::Stay),
                "nvl2" => members.get_mut(1..).is_some_and(|members| widen(members, schema, Texts::Stay)),
                _ => floats_win(&mut members, schema),
            };
            Transformed::new_transformed(Expr::ScalarFunction(ScalarFunction { func, args }), changed)
        }
        other => Transformed::no(other),
    }
}

/// What texts are beside timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Texts {
    AreTimestamps,
    Stay,
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// Casts to the type that wins among the expressions. Whether there was anything to cast.
fn widen(exprs: &mut [&mut Expr], schema: &DFSchema, texts: Texts) -> bool {
    floats_win(exprs, schema) || timestamps_win(exprs, schema, texts)
}

/// Casts dates, and texts, to the type of the timestamps if there are any. Whether there was anything to cast.
fn timestamps_win(exprs: &mut [&mut Expr], schema: &DFSchema, texts: Texts) -> bool {
    let types: Vec<Option<DataType>> = exprs.iter().map(|expr| expr.get_type(schema).ok()).collect();
    let Some(timestamp) = timestamp_among(types.iter().flatten()) else { return false };
    let mut changed = false;
    for (expr, ty) in exprs.iter_mut().zip(&types) {
        let is_text = |ty: &DataType| texts == Texts::AreTimestamps && ty.is_string();
        if ty.as_ref().is_some_and(|ty| *ty == DataType::Date32 || is_text(ty)) {
            let value = std::mem::take(*expr);
            **expr = cast(value, timestamp.clone());
            changed = true;
        }
    }
    changed
}

/// The type of the timestamps among types: with a time zone if one has it, of the finest precision.
fn timestamp_among<'a>(types: impl Iterator<Item = &'a DataType>) -> Option<DataType> {
    let timestamps = types.filter_map(|ty| match ty {
        DataType::Timestamp(unit, zone) => Some((*unit, zone.clone())),
        _ => None,
    });
    let widest = timestamps.reduce(|one, other| (one.0.max(other.0), one.1.or(other.1)));
    widest.map(|(unit, zone)| DataType::Timestamp(unit, zone))
}

/// Casts decimals to double if there is a float among them. Whether there was anything to cast.
fn floats_win(exprs: &mut [&mut Expr], schema: &DFSchema) -> bool {
    let is = |expr: &Expr, kind: fn(&DataType) -> bool| expr.get_type(schema).is_ok_and(|ty| kind(&ty));
    if !exprs.iter().any(|expr| is(expr, DataType::is_floating)) {
        return false;
    }
    let mut changed = false;
    for expr in exprs.iter_mut().filter(|expr| is(expr, is_decimal)) {
        let decimal = std::mem::take(*expr);
        **expr = cast(decimal, DataType::Float64);
        changed = true;
    }
    changed
}

fn is_decimal(ty: &DataType) -> bool {
    matches!(
        ty,
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..)
    )
}

/// Casts the columns of inputs that are narrower than those of their siblings.
fn rewrite_union(union: Union) -> Result<Union> {
    let places = 0..union.schema.fields().len();
    let winners: Vec<Option<DataType>> = places
        .map(|place| {
            let types = union.inputs.iter().filter_map(|input| input.schema().fields().get(place));
            winner(&types.map(|field| field.data_type()).collect::<Vec<_>>())
        })
        .collect();
    if winners.iter().all(Option::is_none) {
        return Ok(union);
    }
    let inputs =
        union.inputs.into_iter().map(|input| cast_columns(Arc::unwrap_or_clone(input), &winners).map(Arc::new));
    Union::try_new_with_loose_types(inputs.collect::<Result<_>>()?)
}

/// The type that is wider than others among these, if there are such as DataFusion gives a type in which values are lost.
pub(super) fn winner(types: &[&DataType]) -> Option<DataType> {
    let any = |kind: fn(&DataType) -> bool| types.iter().any(|ty| kind(ty));
    if any(DataType::is_floating) && any(is_decimal) {
        return Some(DataType::Float64);
    }
    let timestamp = timestamp_among(types.iter().copied())?;
    any(|ty| *ty == DataType::Date32).then_some(timestamp)
}

/// Whether a value of a type must be cast to the winner.
fn is_narrower(ty: &DataType, winner: &DataType) -> bool {
    if winner.is_floating() { is_decimal(ty) } else { *ty == DataType::Date32 }
}

fn cast_columns(input: LogicalPlan, winners: &[Option<DataType>]) -> Result<LogicalPlan> {
    let columns: Vec<(Column, Option<&DataType>)> = input
        .schema()
        .columns()
        .into_iter()
        .zip(winners)
        .map(|(column, winner)| {
            let is_narrower =
                |winner: &&DataType| input.schema().data_type(&column).is_ok_and(|ty| is_narrower(ty, winner));
            let winner = winner.as_ref().filter(is_narrower);
            (column, winner)
        })
        .collect();
    if columns.iter().all(|(_, winner)| winner.is_none()) {
        return Ok(input);
    }
    let exprs = columns.into_iter().map(|(column, winner)| {
        let name = column.clone();
        match winner {
            Some(winner) => cast(Expr::Column(column), winner.clone()).alias_qualified(name.relation, name.name),
            None => Expr::Column(column),
        }
    });
    LogicalPlanBuilder::from(input).project(exprs)?.build()
}
