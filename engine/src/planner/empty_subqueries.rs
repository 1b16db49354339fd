//! A scalar subquery that may have no row may be NULL.
//!
//! In: a plan after type coercion. Out: the same plan, in which such a subquery is called nullable. DataFusion 55.2 asks its column only,
//! and takes a test of it for decided:
//!
//! ```text
//! (SELECT 5 WHERE false) IS NULL   becomes   or_null((SELECT 5 WHERE false)) IS NULL
//! ```

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection, Sort, SubqueryAlias, Union};
use datafusion::optimizer::analyzer::AnalyzerRule;

use super::map_named;
use crate::functions::OrNull;

/// The pass.
#[derive(Debug)]
pub(super) struct EmptySubqueries;

impl AnalyzerRule for EmptySubqueries {
    fn name(&self) -> &str {
        "empty_subqueries"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let mut is_changed = false;
        let rewritten = plan.transform_up_with_subqueries(|plan| {
            let rewritten = map_named(plan, |expr| expr.transform_up(|expr| Ok(rewrite(expr))))?;
            is_changed |= rewritten.transformed;
            Ok(rewritten)
        })?;
        if !is_changed {
            return Ok(rewritten.data);
        }
        // What stands above hands the column on, and so do queries around to those in them.
        let handed_on = rewritten.data.transform_up_with_subqueries(|plan| {
            let plan =
                map_named(plan, |expr| expr.transform_up(|expr| Ok(may_be_null(expr))))?.data.recompute_schema()?;
            Ok(Transformed::yes(match plan {
                LogicalPlan::Union(union) => LogicalPlan::Union(nullable_as_inputs(union)?),
                other => other,
            }))
        })?;
        Ok(handed_on.data)
    }
}

/// A column of a query around, of which is known only what was known when it was named.
fn may_be_null(expr: Expr) -> Transformed<Expr> {
    match expr {
        Expr::OuterReferenceColumn(field, column) if !field.is_nullable() => {
            let field = Arc::new(field.as_ref().clone().with_nullable(true));
            Transformed::yes(Expr::OuterReferenceColumn(field, column))
        }
        other => Transformed::no(other),
    }
}

/// The union, whose columns may be NULL where one of its inputs' may. DataFusion 55.2 does not look at them again.
fn nullable_as_inputs(mut union: Union) -> Result<Union> {
    let fields = union.schema.iter().enumerate().map(|(index, (qualifier, field))| {
        let is_nullable = union.inputs.iter().any(|input| input.schema().field(index).is_nullable());
        (qualifier.cloned(), Arc::new(field.as_ref().clone().with_nullable(is_nullable)))
    });
    let schema = DFSchema::new_with_metadata(fields.collect(), union.schema.metadata().clone())?;
    let schema = schema.with_functional_dependencies(union.schema.functional_dependencies().clone())?;
    union.schema = Arc::new(schema);
    Ok(union)
}

fn rewrite(expr: Expr) -> Transformed<Expr> {
    match &expr {
        Expr::ScalarSubquery(subquery)
            if !has_nullable_column(&subquery.subquery) && !has_a_row(&subquery.subquery) =>
        {
            Transformed::yes(OrNull::call(expr))
        }
        _ => Transformed::no(expr),
    }
}

fn has_nullable_column(plan: &LogicalPlan) -> bool {
    plan.schema().fields().iter().any(|field| field.is_nullable())
}

/// Whether a plan has a row, whatever the tables hold.
fn has_a_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(Aggregate { group_expr, .. }) => group_expr.is_empty(),
        LogicalPlan::EmptyRelation(relation) => relation.produce_one_row,
        LogicalPlan::Values(values) => !values.values.is_empty(),
        LogicalPlan::Sort(Sort { input, fetch: None, .. })
        | LogicalPlan::Projection(Projection { input, .. })
        | LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. }) => has_a_row(input),
        LogicalPlan::Subquery(subquery) => has_a_row(&subquery.subquery),
        _ => false,
    }
}
