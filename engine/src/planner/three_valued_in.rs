//! `x IN (SELECT y …)` that is neither true nor false where NULL takes part, wherever it stands in a condition.
//!
//! In: an analysed plan. Out: the same plan with such an IN spelt out, except where DataFusion's joins for it are right:
//! ```text
//! CASE WHEN EXISTS (SELECT … WHERE y = x)                                       THEN true
//!      WHEN x IS NULL AND EXISTS (SELECT …) OR EXISTS (SELECT … WHERE y IS NULL) THEN NULL
//!      ELSE false END
//! ```
//! (SQL:2016, 8.4 and 8.9.) DataFusion 55.2 takes what is unknown for false below OR, IS NULL and CASE (its mark joins have two
//! values); and its anti join for NOT IN loses NULLs where `x` has no column, and refuses subqueries that are correlated. What
//! it cannot decorrelate, an `x` from a query further out, is refused.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema as _, Result, ScalarValue};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Expr, ExprSchemable, Filter, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Subquery, lit, not, when,
};
use datafusion::optimizer::analyzer::AnalyzerRule;

use super::is_volatile;
use crate::{Error, shared_rows};

/// What a subquery is called that would be mixed up with the query around it.
const MEMBERS: &str = "__members";
/// The largest subquery that is spelt out, in nodes of its plan: it stands in the plan up to three times then.
const NODES_MAX: usize = 2_000;

/// The pass. Needs operands of one type.
#[derive(Debug)]
pub(super) struct ThreeValuedIn;

impl AnalyzerRule for ThreeValuedIn {
    fn name(&self) -> &str {
        "three_valued_in"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let spelt_out = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Filter(Filter { predicate, input, .. }) => {
                let rewritten = rewrite(predicate, input.schema())?;
                rewritten.map_data(|predicate| Ok(LogicalPlan::Filter(Filter::try_new(predicate, input)?)))
            }
            LogicalPlan::Join(join) if join.join_type == JoinType::Inner => filter_after(join),
            other => Ok(Transformed::no(other)),
        })?;
        Ok(spelt_out.data)
    }
}

/// Takes conditions with subqueries out of an inner join into a filter above it, which means the same.
fn filter_after(mut join: Join) -> Result<Transformed<LogicalPlan>> {
    let conjuncts = join.filter.take().map(split_conjunction_owned).unwrap_or_default();
    let has_in = |expr: &Expr| expr.exists(|expr| Ok(matches!(expr, Expr::InSubquery(_)))).unwrap_or(true);
    let (above, inside): (Vec<_>, Vec<_>) = conjuncts.into_iter().partition(has_in);
    join.filter = conjunction(inside);
    let Some(above) = conjunction(above) else { return Ok(Transformed::no(LogicalPlan::Join(join))) };
    let predicate = rewrite(above, &join.schema)?.data;
    let filter = Filter::try_new(predicate, Arc::new(LogicalPlan::Join(join)))?;
    Ok(Transformed::yes(LogicalPlan::Filter(filter)))
}

/// A condition with each IN spelt out that joins do not answer rightly.
fn rewrite(condition: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let conjuncts = split_conjunction_owned(condition.clone()).into_iter().map(|conjunct| match conjunct {
        Expr::InSubquery(found) if joins_are_right(&found, schema)? => Ok(Transformed::no(Expr::InSubquery(found))),
        other => other.transform_up(|expr| match expr {
            Expr::InSubquery(found) if may_be_unknown(&found, schema)? => spell_out(found, schema),
            // Also without NOT, which DataFusion may bring here from further out.
            Expr::InSubquery(found) if is_correlated(&found) => among(found, schema),
            other => Ok(Transformed::no(other)),
        }),
    });
    let conjuncts = conjuncts.collect::<Result<Vec<_>>>()?;
    if conjuncts.iter().all(|conjunct| !conjunct.transformed) {
        return Ok(Transformed::no(condition));
    }
    let rewritten = conjunction(conjuncts.into_iter().map(|conjunct| conjunct.data));
    Ok(Transformed::yes(rewritten.unwrap_or_else(|| lit(true))))
}

/// Whether a conjunct of a filter is answered rightly by a join: unknown and false are the same to a filter, but not to NOT.
fn joins_are_right(found: &InSubquery, schema: &DFSchema) -> Result<bool> {
    let is_certain = found.expr.any_column_refs() || !may_be_unknown(found, schema)?;
    Ok(!found.expr.contains_outer() && (!found.negated || (!is_correlated(found) && is_certain)))
}

/// Whether the join has other conditions than the comparison: where these may be NULL, DataFusion takes the comparison for unknown.
fn is_correlated(found: &InSubquery) -> bool {
    !found.subquery.outer_ref_columns.is_empty()
}

/// Whether NULL can take part.
fn may_be_unknown(found: &InSubquery, schema: &DFSchema) -> Result<bool> {
    // A column of a query further out may be NULL for all that is known here.
    let given = found.expr.contains_outer() || found.expr.nullable(schema)?;
    Ok(given || found.subquery.subquery.schema().field(0).is_nullable())
}

/// IN where nothing is NULL: a row equals it.
fn among(found: InSubquery, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let InSubquery { expr, subquery, negated } = found;
    let (subquery, member) = members(subquery, &expr)?;
    let equal = exists(&subquery, Some(member.eq(seen_from_inside(*expr, schema)?)))?;
    Ok(Transformed::yes(if negated { not(equal) } else { equal }))
}

/// The subquery so that it can be compared with the expression, and its column.
fn members(subquery: Subquery, compared: &Expr) -> Result<(Subquery, Expr)> {
    check(&subquery.subquery, compared)?;
    let subquery = apart(subquery, compared)?;
    let member = Expr::Column(Column::from(subquery.subquery.schema().qualified_field(0)));
    Ok((subquery, member))
}

fn spell_out(found: InSubquery, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let InSubquery { expr, subquery, negated } = found;
    if expr.contains_outer() {
        let feature = "IN of a column of a query further out; join that query instead";
        return Err(Error::unsupported("this query", feature).into());
    }
    let (subquery, member) = members(made_once(subquery, &expr)?, &expr)?;
    let mut unknown = exists(&subquery, Some(member.clone().is_null()))?;
    if expr.nullable(schema)? {
        unknown = unknown.or(expr.clone().is_null().and(exists(&subquery, None)?));
    }
    let equal = exists(&subquery, Some(member.eq(seen_from_inside(*expr, schema)?)))?;
    let spelt = when(equal, lit(true)).when(unknown, lit(ScalarValue::Boolean(None))).otherwise(lit(false))?;
    Ok(Transformed::yes(if negated { not(spelt) } else { spelt }))
}

/// The subquery with rows that are the same in all its copies.
fn made_once(subquery: Subquery, compared: &Expr) -> Result<Subquery> {
    let is_random = is_volatile(&subquery.subquery)?;
    if compared.is_volatile() || (is_random && !subquery.outer_ref_columns.is_empty()) {
        let feature = "a volatile function in IN over a subquery, where NULL takes part; compute it in a CTE";
        return Err(Error::unsupported("this query", feature).into());
    }
    Ok(match is_random {
        true => Subquery { subquery: Arc::new(shared_rows::once(subquery.subquery)), ..subquery },
        false => subquery,
    })
}

/// # Errors
/// `Unsupported`, for subqueries nested so deep that their copies would be too many to plan, and for correlated ones that
/// have the compared column inside: a name of its own does not reach what their own conditions name.
fn check(subquery: &LogicalPlan, compared: &Expr) -> Result<()> {
    let mut nodes = 0;
    subquery.apply_with_subqueries(|_| {
        nodes += 1;
        Ok(if nodes > NODES_MAX { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    let (columns, mut is_mixed_up) = (compared.column_refs(), false);
    subquery.apply(|node| {
        // What names no outer column is not moved.
        if node.all_out_ref_exprs().is_empty() {
            return Ok(TreeNodeRecursion::Jump);
        }
        is_mixed_up |= columns.iter().any(|column| node.schema().has_column(column));
        Ok(TreeNodeRecursion::Continue)
    })?;
    let feature = match (nodes > NODES_MAX, is_mixed_up) {
        (true, _) => "IN over subqueries that are so large, or nested so deep, where NULL takes part; join instead",
        (_, true) => "IN over a correlated subquery that reads the same table; give the table another name in it (AS)",
        (false, false) => return Ok(()),
    };
    Err(Error::unsupported("this query", feature).into())
}

/// The subquery under another name, if it has columns of the names that are compared with it: DataFusion 55.2 takes columns
/// of one name for one column when it makes a join of the condition, and `x = x` of it.
fn apart(subquery: Subquery, compared: &Expr) -> Result<Subquery> {
    let names = subquery.subquery.schema();
    if !compared.column_refs().into_iter().any(|column| names.has_column(column)) {
        return Ok(subquery);
    }
    let plan = LogicalPlanBuilder::from(Arc::clone(&subquery.subquery)).alias(MEMBERS)?.build()?;
    Ok(Subquery { subquery: Arc::new(plan), ..subquery })
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
