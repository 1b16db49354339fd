//! Queries within each other that compute the same are computed as often as they are written.
//!
//! In: a plan. Out: DataFusion's pass over projections, to which no projection can look like the one below it. DataFusion 55.2 takes two that
//! are alike for one, also if they become alike while it merges others. That is wrong where a column is computed from another of its own
//! name, so the lower one gets a name of its own:
//!
//! ```text
//! Projection: v + 1 AS v                       Projection: __own_1 + 1 AS v
//!   Projection: v + 1 AS v             ─►        Projection: v + 1 AS __own_1
//! ```

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The pass, around DataFusion's.
#[derive(Debug)]
pub(super) struct DistinctProjections(pub(super) Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for DistinctProjections {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let plan = plan.transform_up_with_subqueries(|plan| tell_apart(plan, config))?;
        self.0.rewrite(plan.data, config)
    }
}

/// Gives names of their own to the columns of a projection's input that are computed from others of their names.
fn tell_apart(plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Projection(projection) = plan else { return Ok(Transformed::no(plan)) };
    let LogicalPlan::Projection(below) = projection.input.as_ref() else {
        return Ok(Transformed::no(LogicalPlan::Projection(projection)));
    };
    let read: HashSet<String> = below.expr.iter().flat_map(Expr::column_refs).map(Column::flat_name).collect();
    let mut own: HashMap<String, Column> = HashMap::new();
    let mut exprs = Vec::with_capacity(below.expr.len());
    for (expr, (qualifier, field)) in below.expr.iter().zip(below.schema.iter()) {
        let column = Column::from((qualifier, field)).flat_name();
        let is_passed_on = matches!(expr, Expr::Column(passed) if passed.flat_name() == column);
        if is_passed_on || !read.contains(&column) {
            exprs.push(expr.clone());
            continue;
        }
        let name = config.alias_generator().next("__own");
        exprs.push(expr.clone().unalias().alias(&name));
        own.insert(column, Column::from_name(name));
    }
    if own.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Projection(projection)));
    }
    let below = Projection::try_new(exprs, Arc::clone(&below.input))?;
    let above = projection.expr.iter().map(|expr| renamed(expr, &own)).collect::<Result<_>>()?;
    let above = Projection::try_new_with_schema(
        above,
        Arc::new(LogicalPlan::Projection(below)),
        Arc::clone(&projection.schema),
    )?;
    Ok(Transformed::yes(LogicalPlan::Projection(above)))
}

/// The expression over the columns' own names, under the name that it had.
fn renamed(expr: &Expr, own: &HashMap<String, Column>) -> Result<Expr> {
    let (relation, name) = expr.qualified_name();
    let renamed = expr.clone().transform(|expr| match &expr {
        Expr::Column(column) => match own.get(&column.flat_name()) {
            Some(own) => Ok(Transformed::yes(Expr::Column(own.clone()))),
            None => Ok(Transformed::no(expr)),
        },
        _ => Ok(Transformed::no(expr)),
    })?;
    Ok(match renamed.data.qualified_name() == (relation.clone(), name.clone()) {
        true => renamed.data,
        false => renamed.data.alias_qualified(relation, name),
    })
}
