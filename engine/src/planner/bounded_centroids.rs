//! Refuses an approximate percentile of very many centroids.
//!
//! In: a plan as it was written. Out: the same plan, or an error. DataFusion 55.2 makes room for all of them at once, however few values
//! there are: 10¹³ end the process.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::analyzer::AnalyzerRule;

use super::{aggregate_call, fold_constant};
use crate::Error;

/// Centroids of one percentile; 100 are usual.
const CENTROIDS_MAX: i128 = 10_000;

/// The pass.
#[derive(Debug)]
pub(super) struct BoundedCentroids;

impl AnalyzerRule for BoundedCentroids {
    fn name(&self) -> &str {
        "bounded_centroids"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.apply_with_subqueries(|node| {
            node.apply_expressions(|expr| {
                expr.apply(|expr| {
                    check(expr)?;
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })?;
        Ok(plan)
    }
}

fn check(expr: &Expr) -> Result<()> {
    let Some((name, args)) = aggregate_call(expr) else { return Ok(()) };
    let centroids = match name {
        "approx_percentile_cont" => args.get(2),
        "approx_percentile_cont_with_weight" => args.get(3),
        _ => None,
    };
    let Some(Expr::Literal(centroids, _)) = centroids.cloned().map(fold_constant) else { return Ok(()) };
    let Some(number) = integer(&centroids) else { return Ok(()) };
    if !(1..=CENTROIDS_MAX).contains(&number) {
        return Err(
            Error::Invalid(format!("{name}() of {number} centroids: it must be from 1 to {CENTROIDS_MAX}")).into()
        );
    }
    Ok(())
}

fn integer(value: &ScalarValue) -> Option<i128> {
    match value.cast_to(&DataType::Decimal128(38, 0)).ok()? {
        ScalarValue::Decimal128(number, _, _) => number,
        _ => None,
    }
}
