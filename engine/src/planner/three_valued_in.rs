//! `x IN (SELECT y …)` that is neither true nor false where NULL takes part, wherever it stands in a condition.
//!
//! In: an analysed plan. Out: the same plan with such an IN spelt out, except where DataFusion's joins for it are right:
//! ```text
//! CASE WHEN EXISTS (SELECT … WHERE y = x)                                       THEN true
//!      WHEN x IS NULL AND EXISTS (SELECT …) OR EXISTS (SELECT … WHERE y IS NULL) THEN NULL
//!      ELSE false END
//! ```
//! (SQL:2016, 8.4 and 8.9.) DataFusion 55.2 takes what is unknown for false below OR, IS NULL and CASE (its mark joins have two
//! values); and its anti join for NOT IN loses NULLs where `x` has no column, and refuses subqueries that are correlated.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema as _, Result, ScalarValue};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Expr, ExprSchemable, Filter, LogicalPlan, LogicalPlanBuilder, Subquery, lit, not, when,
};
use datafusion::optimizer::analyzer::AnalyzerRule;

/// The pass. Needs operands of one type.
#[derive(Debug)]
pub(super) struct ThreeValuedIn;

impl AnalyzerRule for ThreeValuedIn {
    fn name(&self) -> &str {
        "three_valued_in"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let spelt_out = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Filter(filter) => rewrite(filter),
            other => Ok(Transformed::no(other)),
        })?;
        Ok(spelt_out.data)
    }
}

fn rewrite(filter: Filter) -> Result<Transformed<LogicalPlan>> {
    let schema = Arc::clone(filter.input.schema());
    let conjuncts = split_conjunction_owned(filter.predicate.clone()).into_iter().map(|conjunct| match conjunct {
        Expr::InSubquery(found) if joins_are_right(&found, &schema)? => Ok(Transformed::no(Expr::InSubquery(found))),
        other => other.transform_up(|expr| match expr {
            Expr::InSubquery(found) if may_be_unknown(&found, &schema)? => spell_out(found, &schema),
            other => Ok(Transformed::no(other)),
        }),
    });
    let conjuncts = conjuncts.collect::<Result<Vec<_>>>()?;
    if conjuncts.iter().all(|conjunct| !conjunct.transformed) {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    }
    let predicate = conjunction(conjuncts.into_iter().map(|conjunct| conjunct.data)).unwrap_or_else(|| lit(true));
    Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?)))
}

/// Whether a conjunct of a filter is answered rightly by a join: unknown and false are the same to a filter, but not to NOT.
fn joins_are_right(found: &InSubquery, schema: &DFSchema) -> Result<bool> {
    let by_anti_join = found.subquery.outer_ref_columns.is_empty() && found.expr.any_column_refs();
    Ok(!found.negated || by_anti_join || !may_be_unknown(found, schema)?)
}

/// Whether NULL can take part.
fn may_be_unknown(found: &InSubquery, schema: &DFSchema) -> Result<bool> {
    // A column of a query further out may be NULL for all that is known here.
    let given = found.expr.contains_outer() || found.expr.nullable(schema)?;
    Ok(given || found.subquery.subquery.schema().field(0).is_nullable())
}

fn spell_out(found: InSubquery, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let InSubquery { expr, subquery, negated } = found;
    let member = Expr::Column(Column::from(subquery.subquery.schema().qualified_field(0)));
    let mut unknown = exists(&subquery, Some(member.clone().is_null()))?;
    if expr.contains_outer() || expr.nullable(schema)? {
        unknown = unknown.or(expr.clone().is_null().and(exists(&subquery, None)?));
    }
    let equal = exists(&subquery, Some(member.eq(seen_from_inside(*expr, schema)?)))?;
    let spelt = when(equal, lit(true)).when(unknown, lit(ScalarValue::Boolean(None))).otherwise(lit(false))?;
    Ok(Transformed::yes(if negated { not(spelt) } else { spelt }))
}

/// Whether the subquery has a row that meets the condition.
fn exists(subquery: &Subquery, condition: Option<Expr>) -> Result<Expr> {
    let mut plan = LogicalPlanBuilder::from(Arc::clone(&subquery.subquery));
    if let Some(condition) = condition {
        plan = plan.filter(condition)?;
    }
    let plan = plan.build()?;
    let outer_ref_columns = plan.all_out_ref_exprs();
    let subquery = Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: subquery.spans.clone() };
    Ok(Expr::Exists(Exists { subquery, negated: false }))
}

/// An expression of the outer query in a condition of the inner one.
fn seen_from_inside(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let moved = expr.transform_up(|expr| match expr {
        Expr::Column(column) => {
            let field = Arc::clone(schema.field_from_column(&column)?);
            Ok(Transformed::new(Expr::OuterReferenceColumn(field, column), true, TreeNodeRecursion::Continue))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(moved.data)
}
