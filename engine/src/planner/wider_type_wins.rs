//! Where a decimal meets a floating-point number, both become floating-point; where a date or a text meets a timestamp, both become
//! timestamps of that precision, with a time zone if one has it; also as elements of lists and fields of structs (`wider_nested.rs`).
//!
//! In: a logical plan before DataFusion's type coercion. Out: the same plan with casts on the decimal, date and text sides. DataFusion
//! would cast doubles to decimal(30, 15): then `d > 0.5` fails where `d` holds 1e300 or NaN, and finds nothing where it holds
//! 1e-20. SQL calls floating-point the approximate types, and lets them win. And it would cast dates, texts and timestamps to
//! nanoseconds, which fails for a date before 1677 or after 2262.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::expr::{Between, BinaryExpr, Case, InList, InSubquery, ScalarFunction};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Operator, Union, cast};

use datafusion::optimizer::analyzer::AnalyzerRule;

use super::map_named;
use super::wider_nested::{element, widened};
use crate::functions::Quantified;

/// Functions whose arguments are values of their own, or are given types by others.
const APART: [&str; 4] = ["map", "named_struct", "row", "struct"];

/// Functions that take lists of one type.
const OF_LISTS: [&str; 7] =
    ["array_concat", "array_except", "array_has_all", "array_has_any", "array_intersect", "array_union", "make_array"];

/// Functions of a list and of values that are elements of such a list: where these are among the arguments.
const OF_ELEMENTS: [(&str, usize, &[usize]); 12] = [
    ("array_append", 0, &[1]),
    ("array_has", 0, &[1]),
    ("array_position", 0, &[1]),
    ("array_positions", 0, &[1]),
    ("array_prepend", 1, &[0]),
    ("array_remove", 0, &[1]),
    ("array_remove_all", 0, &[1]),
    ("array_remove_n", 0, &[1]),
    ("array_replace", 0, &[1, 2]),
    ("array_replace_all", 0, &[1, 2]),
    ("array_replace_n", 0, &[1, 2]),
    ("array_resize", 0, &[2]),
];

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
    let rewritten = map_named(plan, |expr| widen_within(expr, &schema))?;
    let rewritten = rewritten.transform_data(|plan| {
        Ok(match plan {
            LogicalPlan::Join(mut join) => {
                let changed = widen_keys(&mut join);
                Transformed::new_transformed(LogicalPlan::Join(join), changed)
            }
            other => Transformed::no(other),
        })
    })?;
    if rewritten.transformed { rewritten.map_data(LogicalPlan::recompute_schema) } else { Ok(rewritten) }
}

/// Casts within an expression over these columns.
pub(super) fn widen_within(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| rewrite_expr(expr, schema))
}

/// Casts keys of a join, each over its own side.
fn widen_keys(join: &mut Join) -> bool {
    let (of_left, of_right) = (Arc::clone(join.left.schema()), Arc::clone(join.right.schema()));
    join.on.iter_mut().fold(false, |changed, (left, right)| {
        let (Ok(left_type), Ok(right_type)) = (left.get_type(&of_left), right.get_type(&of_right)) else {
            return changed;
        };
        let types = [&left_type, &right_type];
        changed | widen_to(left, widened(&left_type, &types)) | widen_to(right, widened(&right_type, &types))
    })
}

/// Casts to a type, if there is one; whether there was.
fn widen_to(expr: &mut Expr, data_type: Option<DataType>) -> bool {
    let Some(data_type) = data_type else { return false };
    *expr = cast(std::mem::take(expr), data_type);
    true
}

/// Casts among expressions that are compared with, or stand in for, each other.
fn rewrite_expr(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match expr {
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
            let name = func.name();
            let of_elements = OF_ELEMENTS.iter().find(|(function, ..)| *function == name);
            let is_quantified = func.inner().is::<Quantified>();
            let mut members: Vec<&mut Expr> = args.iter_mut().collect();
            let changed = match name {
                "coalesce" | "nvl" | "nullif" | "greatest" | "least" => widen(&mut members, schema, Texts::Stay),
                "nvl2" => members.get_mut(1..).is_some_and(|members| widen(members, schema, Texts::Stay)),
                _ if is_quantified => widen_elements(&mut args, 1, &[0], schema, Texts::AreTimestamps),
                _ if APART.contains(&name) => false,
                _ if OF_LISTS.contains(&name) => floats_win(&mut members, schema) || nested_win(&mut members, schema),
                _ => match of_elements {
                    Some((_, list, elements)) => widen_elements(&mut args, *list, elements, schema, Texts::Stay),
                    None => floats_win(&mut members, schema),
                },
            };
            Transformed::new_transformed(Expr::ScalarFunction(ScalarFunction { func, args }), changed)
        }
        Expr::InSubquery(InSubquery { mut expr, mut subquery, negated }) => {
            let (own, theirs) = (expr.get_type(schema), subquery.subquery.schema().fields().first());
            let (Ok(own), Some(theirs)) = (own, theirs.map(|field| field.data_type().clone())) else {
                return Ok(Transformed::no(Expr::InSubquery(InSubquery { expr, subquery, negated })));
            };
            let types = [&own, &theirs];
            let mut changed = widen_to(&mut expr, widened(&own, &types));
            if let Some(wider) = widened(&theirs, &types) {
                subquery.subquery = Arc::new(cast_columns(Arc::unwrap_or_clone(subquery.subquery), &[Some(wider)])?);
                changed = true;
            }
            Transformed::new_transformed(Expr::InSubquery(InSubquery { expr, subquery, negated }), changed)
        }
        other => Transformed::no(other),
    })
}

/// Casts values that stand beside the elements of a list, and the list.
fn widen_elements(args: &mut [Expr], list: usize, elements: &[usize], schema: &DFSchema, texts: Texts) -> bool {
    let Some(Ok(list_type)) = args.get(list).map(|list| list.get_type(schema)) else { return false };
    let Some(of_list) = element(&list_type) else { return false };
    let is_beside = |place: &usize| elements.contains(place);
    let types: Vec<Option<DataType>> = args.iter().map(|arg| arg.get_type(schema).ok()).collect();
    let beside = types.iter().enumerate().filter(|(place, _)| is_beside(place)).filter_map(|(_, ty)| ty.as_ref());
    let beside: Vec<&DataType> = beside.chain([of_list]).collect();
    let timestamp = timestamp_among(beside.iter().copied()).filter(|_| texts == Texts::AreTimestamps);
    let wider = |own: &DataType| match &timestamp {
        Some(timestamp) if own.is_string() => Some(timestamp.clone()),
        _ => widened(own, &beside),
    };
    let wider_list = wider(of_list).map(|element| DataType::new_list(element, true));
    let mut changed = widen_to(&mut args[list], wider_list);
    for (place, ty) in types.iter().enumerate().filter(|(place, _)| is_beside(place)) {
        changed |= widen_to(&mut args[place], ty.as_ref().and_then(wider));
    }
    changed
}

/// Casts nested values, at the places where they are narrower than those beside them. Whether there was anything to cast.
fn nested_win(exprs: &mut [&mut Expr], schema: &DFSchema) -> bool {
    let types: Vec<Option<DataType>> = exprs.iter().map(|expr| expr.get_type(schema).ok()).collect();
    let nested: Vec<&DataType> = types.iter().flatten().filter(|ty| ty.is_nested()).collect();
    if nested.len() < 2 {
        return false;
    }
    exprs.iter_mut().zip(&types).fold(false, |changed, (expr, ty)| {
        let wider = ty.as_ref().filter(|ty| ty.is_nested()).and_then(|ty| widened(ty, &nested));
        widen_to(expr, wider) | changed
    })
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
    floats_win(exprs, schema) || timestamps_win(exprs, schema, texts) || nested_win(exprs, schema)
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
    let columns: Vec<Vec<DataType>> = places
        .map(|place| {
            let fields = union.inputs.iter().filter_map(|input| input.schema().fields().get(place));
            fields.map(|field| field.data_type().clone()).collect()
        })
        .collect();
    let wider = |input: &LogicalPlan| -> Vec<Option<DataType>> {
        let own = input.schema().fields().iter().zip(&columns);
        own.map(|(field, column)| widened(field.data_type(), &column.iter().collect::<Vec<_>>())).collect()
    };
    if union.inputs.iter().all(|input| wider(input).iter().all(Option::is_none)) {
        return Ok(union);
    }
    let inputs = union.inputs.iter().map(|input| {
        let wider = wider(input);
        cast_columns(input.as_ref().clone(), &wider).map(Arc::new)
    });
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
pub(super) fn is_narrower(ty: &DataType, winner: &DataType) -> bool {
    if winner.is_floating() { is_decimal(ty) } else { *ty == DataType::Date32 }
}

/// The plan with its columns cast to these types, where there are any.
fn cast_columns(input: LogicalPlan, wider: &[Option<DataType>]) -> Result<LogicalPlan> {
    if wider.iter().all(Option::is_none) {
        return Ok(input);
    }
    let columns: Vec<Column> = input.schema().columns();
    let exprs = columns.into_iter().zip(wider).map(|(column, wider)| {
        let name = column.clone();
        match wider {
            Some(wider) => cast(Expr::Column(column), wider.clone()).alias_qualified(name.relation, name.name),
            None => Expr::Column(column),
        }
    });
    LogicalPlanBuilder::from(input).project(exprs)?.build()
}
