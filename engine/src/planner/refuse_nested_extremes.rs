//! Refuses min() and max() of structs, lists and maps.
//!
//! In: a plan as it was written. Out: the same plan, or an error. DataFusion 55.2 compares structs in a way that depends on how
//! rows are divided among threads, and stops with an internal error at lists and maps.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::analyzer::AnalyzerRule;

use super::aggregate_call;
use crate::Error;

/// The pass.
#[derive(Debug)]
pub(super) struct RefuseNestedExtremes;

impl AnalyzerRule for RefuseNestedExtremes {
    fn name(&self) -> &str {
        "refuse_nested_extremes"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.apply_with_subqueries(|node| {
            let schema = merge_schema(&node.inputs());
            node.apply_expressions(|expr| {
                expr.apply(|expr| {
                    check(expr, &schema)?;
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })?;
        Ok(plan)
    }
}

fn check(expr: &Expr, schema: &DFSchema) -> Result<()> {
    let Some((name, args)) = aggregate_call(expr) else { return Ok(()) };
    if !matches!(name, "min" | "max") {
        return Ok(());
    }
    let what = match args.first().map(|arg| arg.get_type(schema)) {
        Some(Ok(DataType::Struct(_))) => "a struct; name one of its fields",
        Some(Ok(DataType::Map(..))) => "a map; name one of its values",
        Some(Ok(ty)) if ty.is_nested() => "a list; use array_min() or array_max() for its elements",
        _ => return Ok(()),
    };
    Err(Error::unsupported(format!("{name}()"), what).into())
}
