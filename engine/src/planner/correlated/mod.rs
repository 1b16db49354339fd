//! Correlated subqueries that DataFusion would answer wrongly, or not at all, as joins with what they have for all outer rows.
//!
//! In: a plan after type coercion. Out: the same plan, in which each subquery that names columns of the queries around it is of a
//! form that DataFusion 55.2 makes the right join of (`joinable.rs`), or an error. What a subquery has for all outer rows is
//! computed by `spread.rs`; which of these are a row's own, a null-safe equation tells:
//! ```text
//! EXISTS (SELECT … k …)   becomes   EXISTS (SELECT v FROM (the subquery for all v, with v) WHERE v IS NOT DISTINCT FROM k)
//! ```
//! IN becomes the same; a scalar subquery, a left join below its filter or projection; LATERAL, a join.

mod joinable;
mod lateral_join;
mod one_row;
mod outer_values;
mod references;
mod spread;
mod spread_aggregate;
mod spread_rows;
mod subquery_keys;

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema as _, JoinType, Result, plan_err};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder, Projection, Subquery, lit};
use datafusion::optimizer::analyzer::AnalyzerRule;

use self::joinable::{Use, is_joinable};
pub(crate) use self::one_row::has_one_row_at_most;
use self::outer_values::{Names, OuterValues, exact, refused};
use self::references::{lateral, map_subquery, outer_columns, subquery_of, with_lateral};
use self::spread::keep;
use crate::budget;

/// The pass.
#[derive(Debug)]
pub(super) struct Correlated;

impl AnalyzerRule for Correlated {
    fn name(&self) -> &str {
        "correlated"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let names = Names::new();
        let plan = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Join(join) => with_lateral(join)?.map_data(|join| Ok(LogicalPlan::Join(join))),
            LogicalPlan::Aggregate(aggregate) => subquery_keys::as_columns(aggregate, &names),
            plan => Ok(Transformed::no(plan)),
        })?;
        let plan = plan.data;
        Ok(plan.transform_down_with_subqueries(|plan| rewrite(plan, &names))?.data)
    }
}

/// One node; those below it and its subqueries come after it.
fn rewrite(plan: LogicalPlan, names: &Names) -> Result<Transformed<LogicalPlan>> {
    budget::check()?;
    if has_values_that_no_join_has(&plan)? {
        return with_values(plan, names).map(Transformed::yes);
    }
    if subqueries_are_joinable(&plan)? {
        return Ok(Transformed::no(plan));
    }
    match plan {
        LogicalPlan::Join(join) if lateral(&join.right).is_some() => {
            Ok(Transformed::yes(lateral_join::apart(join, names)?))
        }
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => filter_after(join, names).map(Transformed::yes),
        LogicalPlan::Filter(Filter { predicate, input, .. }) => {
            let columns = input.schema().columns();
            // Fewer rows have fewer values.
            let (above, below) = apart(predicate);
            let input = match below {
                Some(below) => Arc::new(LogicalPlan::Filter(Filter::try_new(below, input)?)),
                None => input,
            };
            let mut around = Around { query: &input, joined: input.as_ref().clone(), names, all_values: false };
            let predicate = around.rewrite(above.unwrap_or_else(|| lit(true)))?;
            let joined = Arc::new(around.joined);
            keep(LogicalPlan::Filter(Filter::try_new(predicate, joined)?), columns, &[]).map(Transformed::yes)
        }
        LogicalPlan::Projection(Projection { expr, input, .. }) => {
            let mut around = Around { query: &input, joined: input.as_ref().clone(), names, all_values: false };
            let exprs = expr.into_iter().map(|expr| {
                let name = NamePreserver::new_for_projection().save(&expr);
                Ok(name.restore(around.rewrite(expr)?))
            });
            let exprs = exprs.collect::<Result<Vec<_>>>()?;
            let joined = Arc::new(around.joined);
            Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(exprs, joined)?)))
        }
        _ => Err(refused(
            "a correlated subquery of this form in GROUP BY, ORDER BY, an aggregate, a window or the condition of an outer join; \
             compute it in the select list of a subquery in FROM",
        )),
    }
}

/// Whether a node has scalar subqueries where DataFusion makes no joins of them: among the keys of GROUP BY and ORDER BY, and in
/// aggregates and windows.
fn has_values_that_no_join_has(plan: &LogicalPlan) -> Result<bool> {
    if !matches!(plan, LogicalPlan::Aggregate(_) | LogicalPlan::Sort(_) | LogicalPlan::Window(_)) {
        return Ok(false);
    }
    let mut found = false;
    plan.apply_expressions(|expr| {
        expr.apply(|expr| {
            found |= is_correlated_value(expr)?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}

fn is_correlated_value(expr: &Expr) -> Result<bool> {
    let Expr::ScalarSubquery(subquery) = expr else { return Ok(false) };
    Ok(!outer_columns(&subquery.subquery)?.is_empty())
}

/// A node of one input whose scalar subqueries are columns of that input.
fn with_values(plan: LogicalPlan, names: &Names) -> Result<LogicalPlan> {
    let columns = plan.schema().columns();
    let [input] = plan.inputs()[..] else { return Ok(plan) };
    let mut around = Around { query: input, joined: input.clone(), names, all_values: true };
    let exprs = plan.expressions().into_iter().map(|expr| match expr {
        Expr::GroupingSet(_) => around.rewrite(expr),
        expr => {
            let name = NamePreserver::new_for_projection().save(&expr);
            Ok(name.restore(around.rewrite(expr)?))
        }
    });
    let exprs = exprs.collect::<Result<Vec<_>>>()?;
    let joined = around.joined;
    keep(plan.with_new_exprs(exprs, vec![joined])?, columns, &[])
}

/// Whether DataFusion makes the right joins of a node's own subqueries.
fn subqueries_are_joinable(plan: &LogicalPlan) -> Result<bool> {
    let inputs = plan.inputs();
    let around: Vec<&DFSchema> = inputs.iter().map(|input| input.schema().as_ref()).collect();
    if let LogicalPlan::Join(join) = plan
        && let Some(subquery) = lateral(&join.right)
        && !is_joinable(&subquery.subquery, Use::Relation, &around[..1])?
    {
        return Ok(false);
    }
    let mut are_joinable = true;
    plan.apply_expressions(|expr| {
        expr.apply(|expr| {
            are_joinable &= is_subquery_joinable(expr, &around)?;
            Ok(if are_joinable { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
        })
    })?;
    Ok(are_joinable)
}

/// Whether an expression is no subquery, or one that DataFusion makes the right join of.
fn is_subquery_joinable(expr: &Expr, around: &[&DFSchema]) -> Result<bool> {
    let Some(Subquery { subquery, .. }) = subquery_of(expr) else { return Ok(true) };
    let used = if matches!(expr, Expr::ScalarSubquery(_)) { Use::Value } else { Use::Test };
    if !is_joinable(subquery, used, around)? {
        return Ok(false);
    }
    let Expr::InSubquery(InSubquery { expr: compared, .. }) = expr else { return Ok(true) };
    // DataFusion takes columns of one name for one column, where conditions are moved past them.
    let (columns, mut are_passed) = (compared.column_refs(), false);
    subquery.apply(|node| {
        if outer_columns(node)?.is_empty() {
            return Ok(TreeNodeRecursion::Jump);
        }
        are_passed |= columns.iter().any(|column| node.schema().has_column(column));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(!are_passed)
}

/// Takes conditions with subqueries out of an inner join into a filter above it, which means the same.
fn filter_after(mut join: Join, names: &Names) -> Result<LogicalPlan> {
    let (above, inside) = join.filter.take().map_or((None, None), apart);
    join.filter = inside;
    let Some(above) = above else { return Ok(LogicalPlan::Join(join)) };
    let filter = Filter::try_new(above, Arc::new(LogicalPlan::Join(join)))?;
    Ok(rewrite(LogicalPlan::Filter(filter), names)?.data)
}

/// The part of a condition that has subqueries, or may be another each time, and the rest of it.
fn apart(condition: Expr) -> (Option<Expr>, Option<Expr>) {
    let has_subquery = |expr: &Expr| expr.exists(|expr| Ok(subquery_of(expr).is_some())).unwrap_or(true);
    let conjuncts = split_conjunction_owned(condition).into_iter();
    let (above, below): (Vec<_>, Vec<_>) = conjuncts.partition(|expr| has_subquery(expr) || expr.is_volatile());
    (conjunction(above), conjunction(below))
}

/// The query around a subquery, and the same joined with the values of its scalar subqueries.
struct Around<'a> {
    query: &'a LogicalPlan,
    joined: LogicalPlan,
    names: &'a Names,
    /// Whether no scalar subquery is left to DataFusion.
    all_values: bool,
}

impl<'a> Around<'a> {
    fn rewrite(&mut self, expr: Expr) -> Result<Expr> {
        let rewritten = expr.transform_up(|expr| {
            let around: &DFSchema = self.query.schema();
            if !(self.all_values && is_correlated_value(&expr)?) && is_subquery_joinable(&expr, &[around])? {
                return Ok(Transformed::no(expr));
            }
            match expr {
                Expr::ScalarSubquery(subquery) => self.value(&subquery).map(Transformed::yes),
                Expr::Exists(Exists { subquery, negated }) => {
                    let subquery = self.test(subquery, false)?;
                    Ok(Transformed::yes(Expr::Exists(Exists { subquery, negated })))
                }
                Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                    let subquery = self.test(subquery, true)?;
                    Ok(Transformed::yes(Expr::InSubquery(InSubquery { expr, subquery, negated })))
                }
                other => map_subquery(other, |_| Err(refused("a correlated subquery of this form in a comparison"))),
            }
        })?;
        Ok(rewritten.data)
    }

    /// What a subquery has for all rows around it: these columns of its own, and the outer values.
    fn spread(&self, plan: &LogicalPlan, own: usize) -> Result<(OuterValues<'a>, LogicalPlan, Vec<Column>)> {
        let columns = outer_columns(plan)?;
        // From the outside in: what is named further out has its place by now, or gets none.
        if columns.is_empty() || !columns.iter().all(|column| self.query.schema().has_column(column)) {
            let feature = "a correlated subquery that names columns of a query further out; join that query instead";
            return Err(refused(feature));
        }
        let outer = OuterValues::of(self.query, columns, self.names)?;
        let (plan, values) = outer.spread(plan.clone())?;
        // Names that the query around does not have.
        let shown = plan.schema().columns().into_iter().take(own);
        let shown = shown.map(|column| Expr::Column(column).alias(self.names.fresh("value")));
        let columns = shown.chain(values.iter().cloned().map(Expr::Column)).collect();
        Ok((outer, LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?), values))
    }

    fn test(&self, subquery: Subquery, is_in: bool) -> Result<Subquery> {
        let (outer, plan, values) = self.spread(&subquery.subquery, usize::from(is_in))?;
        let shown = if is_in { plan.schema().columns()[..1].to_vec() } else { values.clone() };
        let around = outer.columns().iter().map(|column| {
            let field = self.query.schema().field_from_column(column)?;
            exact(Expr::OuterReferenceColumn(Arc::clone(field), column.clone()), self.query.schema())
        });
        let around = around.collect::<Result<Vec<_>>>()?;
        let same = outer.same(values.into_iter().map(Expr::Column), around);
        let plan = keep(LogicalPlanBuilder::from(plan).filter(same)?.build()?, shown, &[])?;
        let outer_ref_columns = plan.all_out_ref_exprs();
        Ok(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: subquery.spans })
    }

    fn value(&mut self, subquery: &Subquery) -> Result<Expr> {
        let plan = subquery.subquery.as_ref();
        if plan.schema().fields().len() != 1 {
            return plan_err!("a scalar subquery has one column, not {}", plan.schema().fields().len());
        }
        if !has_one_row_at_most(plan) {
            let feature = "a correlated scalar subquery that may have more than one row; make it an aggregate, such as max(…), \
                           or add LIMIT 1";
            return Err(refused(feature));
        }
        let (outer, plan, values) = self.spread(plan, 1)?;
        let same = outer.same_as_outer(self.query.schema(), &values)?;
        let value = plan.schema().columns().swap_remove(0);
        let joined = LogicalPlanBuilder::from(self.joined.clone());
        self.joined = joined.join_on(plan, JoinType::Left, [same])?.build()?;
        Ok(Expr::Column(value))
    }
}
