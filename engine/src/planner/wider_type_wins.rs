//! Where a decimal meets a floating-point number, both become floating-point; where a date meets a timestamp, both become timestamps
//! of that precision.
//!
//! In: a logical plan before DataFusion's type coercion. Out: the same plan with casts on the decimal, or date, sides. DataFusion
//! would cast doubles to decimal(30, 15): then `d > 0.5` fails where `d` holds 1e300 or NaN, and finds nothing where it holds
//! 1e-20. SQL calls floating-point the approximate types, and lets them win. And it would cast dates and timestamps to nanoseconds,
//! which fails for a date before 1677 or after 2262.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, ExprSchema, Result};
use datafusion::logical_expr::expr::{Between, BinaryExpr, Case, InList, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Union, cast};
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
    let names = NamePreserver::new(&plan);
    let rewritten = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(|expr| Ok(rewrite_expr(expr, &schema)))?;
        Ok(rewritten.update_data(|expr| name.restore(expr)))
    })?;
    if rewritten.transformed { rewritten.map_data(LogicalPlan::recompute_schema) } else { Ok(rewritten) }
}

/// Casts among expressions that are compared with, or stand in for, each other.
fn rewrite_expr(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { mut left, op, mut right }) => {
            let changed = widen(&mut [&mut left, &mut right], schema);
            Transformed::new_transformed(Expr::BinaryExpr(BinaryExpr { left, op, right }), changed)
        }
        Expr::Between(Between { mut expr, negated, mut low, mut high }) => {
            let changed = widen(&mut [&mut expr, &mut low, &mut high], schema);
            Transformed::new_transformed(Expr::Between(Between { expr, negated, low, high }), changed)
        }
        Expr::InList(InList { mut expr, mut list, negated }) => {
            let mut members: Vec<&mut Expr> = list.iter_mut().collect();
            members.push(&mut expr);
            let changed = widen(&mut members, schema);
            Transformed::new_transformed(Expr::InList(InList { expr, list, negated }), changed)
        }
        Expr::Case(Case { mut expr, mut when_then_expr, mut else_expr }) => {
            let mut changed = false;
            if let Some(operand) = &mut expr {
                let mut compared: Vec<&mut Expr> = when_then_expr.iter_mut().map(|(when, _)| when.as_mut()).collect();
                compared.push(operand);
                changed |= widen(&mut compared, schema);
            }
            let mut results: Vec<&mut Expr> = when_then_expr.iter_mut().map(|(_, then)| then.as_mut()).collect();
            results.extend(else_expr.as_deref_mut());
            changed |= widen(&mut results, schema);
            Transformed::new_transformed(Expr::Case(Case { expr, when_then_expr, else_expr }), changed)
        }
        Expr::ScalarFunction(ScalarFunction { func, mut args }) => {
            let changed = floats_win(&mut args.iter_mut().collect::<Vec<_>>(), schema);
            Transformed::new_transformed(Expr::ScalarFunction(ScalarFunction { func, args }), changed)
        }
        other => Transformed::no(other),
    }
}

/// Casts to the type that wins among the expressions. Whether there was anything to cast.
fn widen(exprs: &mut [&mut Expr], schema: &DFSchema) -> bool {
    floats_win(exprs, schema) || timestamps_win(exprs, schema)
}

/// Casts dates to the first timestamp's type if there is one. Whether there was anything to cast.
fn timestamps_win(exprs: &mut [&mut Expr], schema: &DFSchema) -> bool {
    let types: Vec<Option<DataType>> = exprs.iter().map(|expr| expr.get_type(schema).ok()).collect();
    let Some(timestamp) = types.iter().flatten().find(|ty| matches!(ty, DataType::Timestamp(..))) else { return false };
    let mut changed = false;
    for (expr, _) in exprs.iter_mut().zip(&types).filter(|(_, ty)| matches!(ty, Some(DataType::Date32))) {
        let date = std::mem::take(*expr);
        **expr = cast(date, timestamp.clone());
        changed = true;
    }
    changed
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

/// Casts the decimal columns of inputs whose siblings have floats in that place.
fn rewrite_union(union: Union) -> Result<Union> {
    let places = union.schema.fields().len();
    let mixed: Vec<bool> = (0..places)
        .map(|place| {
            let types = || union.inputs.iter().filter_map(move |input| input.schema().fields().get(place));
            types().any(|field| field.data_type().is_floating()) && types().any(|field| is_decimal(field.data_type()))
        })
        .collect();
    if !mixed.contains(&true) {
        return Ok(union);
    }
    let inputs = union.inputs.into_iter().map(|input| Ok(Arc::new(cast_columns(Arc::unwrap_or_clone(input), &mixed)?)));
    Union::try_new_with_loose_types(inputs.collect::<Result<_>>()?)
}

fn cast_columns(input: LogicalPlan, mixed: &[bool]) -> Result<LogicalPlan> {
    let columns: Vec<(Column, bool)> = input
        .schema()
        .columns()
        .into_iter()
        .zip(mixed)
        .map(|(column, mixed)| {
            let decimal = input.schema().data_type(&column).is_ok_and(is_decimal);
            (column, *mixed && decimal)
        })
        .collect();
    if !columns.iter().any(|(_, cast)| *cast) {
        return Ok(input);
    }
    let exprs = columns.into_iter().map(|(column, decimal)| {
        let name = column.clone();
        match decimal {
            true => cast(Expr::Column(column), DataType::Float64).alias_qualified(name.relation, name.name),
            false => Expr::Column(column),
        }
    });
    LogicalPlanBuilder::from(input).project(exprs)?.build()
}
