//! Lists of IN that DataFusion answers rightly.
//!
//! In: a logical plan after type coercion. Out: the same plan, where
//! * a list holds only constants that are not NULL: `a IN (1, b, NULL)` is `a IN (1) OR a = b OR NULL`, because DataFusion's
//!   simplifier takes lists for sets, and `b` in two lists for one value;
//! * two lists for one operand that AND or OR joins are one list, and where that is empty, the answer is still NULL for NULL:
//!   DataFusion would say `false` (`true`), which a NOT around it, or a select list, shows.

use std::borrow::Cow;
use std::collections::HashSet;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{BinaryExpr, InList};
use datafusion::logical_expr::utils::{conjunction, disjunction, merge_schema, split_conjunction};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, lit};
use datafusion::optimizer::analyzer::AnalyzerRule;

use super::fold_constant;

use super::map_named;

/// How deep a condition is looked at. Deeper ones are left to DataFusion.
const DEPTH_MAX: usize = 8;

/// The pass.
#[derive(Debug)]
pub(super) struct SettleInLists;

impl AnalyzerRule for SettleInLists {
    fn name(&self) -> &str {
        "settle_in_lists"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(rewrite_plan)?.data)
    }
}

fn rewrite_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    let is_filter = matches!(plan, LogicalPlan::Filter(_));
    map_named(plan, |expr| {
        expr.transform_up(|expr| Ok(rewrite_expr(expr, &schema)))?.transform_data(|expr| {
            // A row passes only if all is true.
            let never = is_filter && split_conjunction(&expr).into_iter().any(is_null);
            Ok(if never { Transformed::yes(lit(false)) } else { Transformed::no(expr) })
        })
    })
}

fn rewrite_expr(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::InList(list) => constants_only(list),
        Expr::BinaryExpr(BinaryExpr { op: Operator::And | Operator::Or, .. }) => match joined_lists(&expr) {
            Some(values) => Transformed::yes(values.into_expr(schema)),
            None => Transformed::no(expr),
        },
        other => Transformed::no(other),
    }
}

fn null() -> Expr {
    lit(ScalarValue::Boolean(None))
}

fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if value.is_null())
}

fn is_constant(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if !value.is_null())
}

/// A list without NULL and without what is not constant.
fn constants_only(list: InList) -> Transformed<Expr> {
    let lone_subquery = matches!(list.list.as_slice(), [Expr::ScalarSubquery(_)]);
    if list.list.is_empty() || list.list.iter().all(is_constant) || list.expr.is_volatile() || lone_subquery {
        return Transformed::no(Expr::InList(list));
    }
    let InList { expr, list, negated } = list;
    let (constants, others): (Vec<Expr>, Vec<Expr>) = list.into_iter().map(fold_constant).partition(is_constant);
    let mut tests = Vec::with_capacity(others.len() + 1);
    if !constants.is_empty() {
        tests.push(Expr::InList(InList { expr: expr.clone(), list: constants, negated }));
    }
    let (nulls, others): (Vec<Expr>, Vec<Expr>) = others.into_iter().partition(is_null);
    tests.extend(others.into_iter().map(|other| match negated {
        true => expr.as_ref().clone().not_eq(other),
        false => expr.as_ref().clone().eq(other),
    }));
    if !nulls.is_empty() {
        tests.push(null());
    }
    let joined = if negated { conjunction(tests) } else { disjunction(tests) };
    Transformed::yes(joined.unwrap_or_else(null))
}

/// A test whether an operand is one of some values, or none of them. NULL for NULL.
struct Membership<'a> {
    operand: &'a Expr,
    negated: bool,
    values: Vec<&'a ScalarValue>,
    /// Whether it is more than a comparison with one value.
    is_list: bool,
}

impl Membership<'_> {
    fn into_expr(self, schema: &DFSchema) -> Expr {
        let Self { operand, negated, values, .. } = self;
        if !values.is_empty() {
            return operand.clone().in_list(values.into_iter().map(|value| lit(value.clone())).collect(), negated);
        }
        match (operand.nullable(schema), negated) {
            (Ok(false), _) => lit(negated),
            (_, false) => operand.clone().is_null().and(null()),
            (_, true) => operand.clone().is_not_null().or(null()),
        }
    }
}

/// What AND or OR makes of two lists, if DataFusion could get it wrong: unions it gets right.
fn joined_lists(expr: &Expr) -> Option<Membership<'_>> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return None };
    let (left, right) = (membership(left, DEPTH_MAX)?, membership(right, DEPTH_MAX)?);
    let union = match op {
        Operator::And => left.negated && right.negated,
        _ => !left.negated && !right.negated,
    };
    if union || !(left.is_list || right.is_list) {
        return None;
    }
    join(left, *op, right)
}

fn membership(expr: &Expr, depth: usize) -> Option<Membership<'_>> {
    let depth = depth.checked_sub(1)?;
    match expr {
        Expr::InList(InList { expr, list, negated }) if list.iter().all(is_constant) => {
            let values = list.iter().filter_map(constant).collect();
            Some(Membership { operand: stable(expr)?, negated: *negated, values, is_list: true })
        }
        Expr::Not(inner) => {
            let inner = membership(inner, depth)?;
            Some(Membership { negated: !inner.negated, ..inner })
        }
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::Eq | Operator::NotEq), right }) => {
            let (operand, value) = match (constant(left), constant(right)) {
                (None, Some(value)) => (left, value),
                (Some(value), None) => (right, value),
                _ => return None,
            };
            let negated = *op == Operator::NotEq;
            Some(Membership { operand: stable(operand)?, negated, values: vec![value], is_list: false })
        }
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            match (left.as_ref(), op) {
                (Expr::IsNull(operand), Operator::And) | (Expr::IsNotNull(operand), Operator::Or) if is_null(right) => {
                    let negated = *op == Operator::Or;
                    Some(Membership { operand: stable(operand)?, negated, values: Vec::new(), is_list: true })
                }
                _ => join(membership(left, depth)?, *op, membership(right, depth)?),
            }
        }
        _ => None,
    }
}

fn constant(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) if !value.is_null() => Some(value),
        _ => None,
    }
}

/// An operand that has one value for a row.
fn stable(operand: &Expr) -> Option<&Expr> {
    (!operand.is_volatile()).then_some(operand)
}

/// By De Morgan's rules: `a OR b` is `NOT (NOT a AND NOT b)`, and a negated list is the other way round.
fn join<'a>(left: Membership<'a>, op: Operator, right: Membership<'a>) -> Option<Membership<'a>> {
    let same_type = types_agree(left.values.iter().chain(&right.values).map(|value| value.data_type()));
    if left.operand != right.operand || !same_type {
        return None;
    }
    let and = op == Operator::And;
    let (negated, values) = match (left.negated, right.negated) {
        // Both must hold of lists, or one of negated lists: what they share.
        (false, false) if and => (false, members(&left.values, &right.values, true)),
        (true, true) if !and => (true, members(&left.values, &right.values, true)),
        (false, false) | (true, true) => {
            let more = members(&right.values, &left.values, false);
            (left.negated, left.values.into_iter().chain(more).collect())
        }
        (false, true) if and => (false, members(&left.values, &right.values, false)),
        (true, false) if and => (false, members(&right.values, &left.values, false)),
        (true, false) => (true, members(&left.values, &right.values, false)),
        (false, true) => (true, members(&right.values, &left.values, false)),
    };
    Some(Membership { operand: left.operand, negated, values, is_list: true })
}

fn types_agree(mut types: impl Iterator<Item = DataType>) -> bool {
    types.next().is_none_or(|first| types.all(|ty| ty == first))
}

/// Those of `these` that are among `those`, or that are not.
#[allow(clippy::mutable_key_type, reason = "the buffers of a constant do not change")]
fn members<'a>(these: &[&'a ScalarValue], those: &[&ScalarValue], inside: bool) -> Vec<&'a ScalarValue> {
    let those: HashSet<Cow<'_, ScalarValue>> = those.iter().map(|value| one_zero(value)).collect();
    these.iter().copied().filter(|value| those.contains(&one_zero(value)) == inside).collect()
}

/// The value, but of the two zeros of floating-point numbers, which `=` takes for equal, always the same.
fn one_zero(value: &ScalarValue) -> Cow<'_, ScalarValue> {
    match value {
        ScalarValue::Float64(Some(zero)) if *zero == 0.0 => Cow::Owned(ScalarValue::Float64(Some(0.0))),
        ScalarValue::Float32(Some(zero)) if *zero == 0.0 => Cow::Owned(ScalarValue::Float32(Some(0.0))),
        other => Cow::Borrowed(other),
    }
}
