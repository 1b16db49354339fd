//! The types that a statement's parameters have by the places they stand in.
//!
//! In: the plan of a statement whose parameters have no values. Out: a type for each parameter, or none where its place
//! does not tell one, or two places tell different ones: then the value brings its own.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{Cast, Placeholder, TryCast};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};

use super::place::ordinal;
use crate::Result;

/// By the parameter: its type, if it is known.
pub(crate) type Declared = Vec<Option<DataType>>;

/// The types of `count` parameters, as a plan tells them, and its analysis for those that the plan leaves open.
///
/// # Errors
/// If the plan cannot be walked.
pub(crate) fn infer(plan: &LogicalPlan, analyzed: Option<&LogicalPlan>, count: usize) -> Result<Declared> {
    let mut declared = of_plan(plan, count)?;
    if let Some(analyzed) = analyzed {
        // Coercion has cast what functions take to the types that they take.
        let coerced = of_plan(analyzed, count)?;
        declared.iter_mut().zip(coerced).for_each(|(known, coerced)| *known = known.take().or(coerced));
    }
    Ok(declared)
}

/// What is known of one parameter.
#[derive(Debug, Clone, PartialEq)]
enum Seen {
    Nowhere,
    As(DataType),
    Differently,
}

fn of_plan(plan: &LogicalPlan, count: usize) -> Result<Declared> {
    let mut seen = vec![Seen::Nowhere; count];
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            for expr in limit.skip.iter().chain(limit.fetch.iter()) {
                if let Expr::Placeholder(placeholder) = expr.as_ref() {
                    see(&mut seen, placeholder, &DataType::Int64);
                }
            }
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                see_in(expr, &mut seen);
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    let types = seen.into_iter().map(|seen| match seen {
        Seen::As(ty) => Some(ty),
        Seen::Nowhere | Seen::Differently => None,
    });
    Ok(types.collect())
}

fn see_in(expr: &Expr, seen: &mut [Seen]) {
    match expr {
        Expr::Placeholder(placeholder) => {
            if let Some(field) = &placeholder.field {
                see(seen, placeholder, field.data_type());
            }
        }
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => {
            if let Expr::Placeholder(placeholder) = expr.as_ref()
                && is_open(placeholder)
            {
                see(seen, placeholder, field.data_type());
            }
        }
        // What `dialect` makes of CAST(? AS TIME).
        Expr::ScalarFunction(function) if function.name() == "arrow_cast" => {
            if let Some(Expr::Placeholder(placeholder)) = function.args.first()
                && is_open(placeholder)
                && let Ok(ty) = expr.get_type(&DFSchema::empty())
            {
                see(seen, placeholder, &ty);
            }
        }
        _ => {}
    }
}

/// Whether the planner has found no type for it.
fn is_open(placeholder: &Placeholder) -> bool {
    placeholder.field.as_ref().is_none_or(|field| field.data_type().is_null())
}

fn see(seen: &mut [Seen], placeholder: &Placeholder, ty: &DataType) {
    // The planner takes both operands for one type, and a date minus an interval is no interval minus an interval.
    if matches!(ty, DataType::Null | DataType::Interval(_) | DataType::Duration(_)) {
        return;
    }
    let Some(seen) = ordinal(&placeholder.id).and_then(|ordinal| seen.get_mut(ordinal - 1)) else { return };
    *seen = match &*seen {
        Seen::Nowhere => Seen::As(ty.clone()),
        Seen::As(known) if known == ty => return,
        Seen::As(_) | Seen::Differently => Seen::Differently,
    };
}
