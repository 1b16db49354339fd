//! `x = ANY (list)` and the like, where the list is known before any row is read, as comparisons that prune files and go into joins.
//!
//! In: a plan after type coercion. Out: the same plan, in which
//! ```text
//! x = ANY (ARRAY[1, 2, NULL])    is   x IN (1, 2) OR NULL
//! x <> ALL (ARRAY[1, 2])         is   x NOT IN (1, 2)
//! x < ANY (ARRAY[1, 2])          is   x < 2
//! x < ALL (ARRAY[1, 2, NULL])    is   x < 1 AND NULL
//! ```
//! All others are left to the function ([`Quantified`]).

use std::cmp::Ordering;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, LogicalPlan, Operator, binary_expr, lit};
use datafusion::optimizer::analyzer::AnalyzerRule;

use super::{fold_constant, map_named};
use crate::functions::{Quantified, Quantifier};

/// The pass.
#[derive(Debug)]
pub(super) struct QuantifiedLists;

impl AnalyzerRule for QuantifiedLists {
    fn name(&self) -> &str {
        "quantified_lists"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|plan| {
            map_named(plan, |expr| {
                expr.transform_up(|expr| {
                    Ok(match spelt_out(&expr)? {
                        Some(comparison) => Transformed::yes(comparison),
                        None => Transformed::no(expr),
                    })
                })
            })
        });
        Ok(rewritten?.data)
    }
}

fn spelt_out(expr: &Expr) -> Result<Option<Expr>> {
    let Some((op, quantifier, value, list)) = Quantified::parts(expr) else { return Ok(None) };
    let is_membership =
        matches!((quantifier, op), (Quantifier::Any, Operator::Eq) | (Quantifier::All, Operator::NotEq));
    if let (true, Expr::ScalarFunction(ScalarFunction { func, args })) = (is_membership, list)
        && func.name() == "make_array"
        && !args.is_empty()
        && !args.iter().any(has_subquery)
        && !value.is_volatile()
    {
        return Ok(Some(value.clone().in_list(args.clone(), quantifier == Quantifier::All)));
    }
    let Expr::Literal(list, _) = fold_constant(list.clone()) else { return Ok(None) };
    let Some(elements) = elements(&list)? else { return Ok(None) };
    let has_null = elements.iter().any(ScalarValue::is_null);
    let mut values: Vec<ScalarValue> = elements.into_iter().filter(|element| !element.is_null()).collect();
    if values.is_empty() {
        let of_none = lit(quantifier == Quantifier::All);
        return Ok(Some(if list.is_null() || has_null { lit(ScalarValue::Boolean(None)) } else { of_none }));
    }
    let comparison = if is_membership {
        value.clone().in_list(values.into_iter().map(lit).collect(), quantifier == Quantifier::All)
    } else {
        let smallest = match (quantifier, op) {
            (Quantifier::Any, Operator::Gt | Operator::GtEq) | (Quantifier::All, Operator::Lt | Operator::LtEq) => true,
            (Quantifier::Any, Operator::Lt | Operator::LtEq) | (Quantifier::All, Operator::Gt | Operator::GtEq) => {
                false
            }
            _ => return Ok(None),
        };
        let sought = if smallest { Ordering::Less } else { Ordering::Greater };
        let Some(mut bound) = values.pop() else { return Ok(None) };
        for value in values {
            match value.partial_cmp(&bound) {
                Some(order) if order == sought => bound = value,
                Some(_) => {}
                None => return Ok(None),
            }
        }
        binary_expr(value.clone(), op, lit(bound))
    };
    let null = lit(ScalarValue::Boolean(None));
    Ok(Some(match (has_null, quantifier) {
        (false, _) => comparison,
        (true, Quantifier::Any) => comparison.or(null),
        (true, Quantifier::All) => comparison.and(null),
    }))
}

fn has_subquery(expr: &Expr) -> bool {
    expr.exists(|expr| Ok(matches!(expr, Expr::ScalarSubquery(_)))).unwrap_or(true)
}

/// The elements of a list; none if they are nested themselves, or if it is no list.
fn elements(list: &ScalarValue) -> Result<Option<Vec<ScalarValue>>> {
    let ScalarValue::List(list) = list else { return Ok(None) };
    if list.value_type().is_nested() {
        return Ok(None);
    }
    let values = list.value(0);
    (0..values.len()).map(|index| ScalarValue::try_from_array(&values, index)).collect::<Result<_>>().map(Some)
}
