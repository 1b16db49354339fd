//! A list of IN that has one of the two zeros of floating-point numbers has the other.
//!
//! In: a logical plan at the end of optimisation. Out: the same plan with `x IN (0.0, -0.0, 1.5)` for `x IN (0.0, 1.5)`. DataFusion
//! compares the members of a list bit by bit, but `=` takes the zeros for equal; and it makes lists of `=` joined by OR.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use datafusion::optimizer::analyzer::AnalyzerRule;

use super::map_named;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The pass: once before constants are evaluated, and once after lists are made.
#[derive(Debug)]
pub(crate) struct PairZeros;

impl AnalyzerRule for PairZeros {
    fn name(&self) -> &str {
        "pair_zeros"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(rewrite(plan)?.data)
    }
}

impl OptimizerRule for PairZeros {
    fn name(&self) -> &str {
        "pair_zeros"
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        rewrite(plan)
    }
}

fn rewrite(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    plan.transform_up_with_subqueries(|plan| map_named(plan, |expr| expr.transform_up(|expr| Ok(pair(expr)))))
}

fn pair(expr: Expr) -> Transformed<Expr> {
    let Expr::InList(InList { expr, mut list, negated }) = expr else { return Transformed::no(expr) };
    let missing: Vec<Expr> = list.iter().filter_map(other_zero).filter(|zero| !list.contains(zero)).collect();
    let changed = !missing.is_empty();
    list.extend(missing);
    Transformed::new_transformed(Expr::InList(InList { expr, list, negated }), changed)
}

fn other_zero(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Literal(ScalarValue::Float64(Some(zero)), _) if *zero == 0.0 => Some(lit(-*zero)),
        Expr::Literal(ScalarValue::Float32(Some(zero)), _) if *zero == 0.0 => Some(lit(-*zero)),
        _ => None,
    }
}
