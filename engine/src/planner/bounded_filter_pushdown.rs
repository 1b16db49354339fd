//! Keeps conditions above the columns that they name where these are long, or have another value each time that they are computed.
//!
//! In: a condition above a query that computes the columns. Out: DataFusion's pushdown, unless it would write so much that nothing is
//! won by it. It moves a condition below by writing the columns' expressions in their place. Where each of 24 queries computes
//! `x + x AS x` from the one within it, the condition `x > 0` would be written with 2^24 columns; left above, it takes one comparison
//! a row.
//!
//! ```text
//! Filter: x > 0 AND x < 9                      Projection: <200 parts> AS x
//!   Projection: <200 parts> AS x      not        Filter: <200 parts> > 0 AND <200 parts> < 9
//! ```

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// Parts that a condition may have below, after the columns' expressions have been written into it.
pub(super) const PARTS_MAX: u64 = 500;

/// What was written in so many parts may have this many times as many: a list of 50,000 values is long, and written once.
pub(super) const REPEATED_MAX: u64 = 4;

/// The pass, around one of DataFusion's that writes the expressions of columns into conditions.
#[derive(Debug)]
pub(super) struct BoundedFilterPushdown(pub(super) Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for BoundedFilterPushdown {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if let LogicalPlan::Filter(filter) = &plan
            && (groups_by_volatile(&filter.input) || grows(filter)?)
        {
            return Ok(Transformed::no(plan));
        }
        self.0.rewrite(plan, config)
    }
}

/// Whether a condition would be moved below groups that it names, and be computed anew there. Of projections the pass minds this itself.
fn groups_by_volatile(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.iter().any(Expr::is_volatile))
}

/// Whether the condition would grow too much on its way down.
fn grows(filter: &Filter) -> Result<bool> {
    let below = sizes(&filter.input)?;
    let condition = parts(&filter.predicate, |_| 1)?;
    if below.longest().saturating_mul(condition) <= PARTS_MAX {
        return Ok(false);
    }
    let grown = size(&filter.predicate, filter.input.schema(), &below)?;
    Ok(grown > PARTS_MAX && grown > condition.saturating_add(below.written).saturating_mul(REPEATED_MAX))
}

/// The sizes of a plan's columns when their expressions are written out.
struct Sizes {
    columns: Vec<u64>,
    /// The parts of all expressions, as they are written.
    written: u64,
}

impl Sizes {
    fn longest(&self) -> u64 {
        self.columns.iter().copied().max().unwrap_or(1)
    }
}

/// What conditions are not moved below has columns of size 1.
fn sizes(plan: &LogicalPlan) -> Result<Sizes> {
    let (mut columns, mut written) = (Vec::new(), 0);
    for input in plan.inputs() {
        let below = sizes(input)?;
        columns.extend(below.columns);
        written += below.written;
    }
    let below = Sizes { columns, written };
    let computed = match plan {
        LogicalPlan::Projection(projection) => Some((&projection.expr, projection.input.schema())),
        LogicalPlan::Aggregate(aggregate) => Some((&aggregate.group_expr, aggregate.input.schema())),
        _ => None,
    };
    let width = plan.schema().fields().len();
    let Some((exprs, schema)) = computed else {
        let columns = match plan {
            LogicalPlan::Union(union) => {
                let inputs = union.inputs.len().max(1);
                let each = below.columns.chunks(below.columns.len().div_ceil(inputs).max(1));
                each.reduce(|a, b| if a.iter().max() >= b.iter().max() { a } else { b }).unwrap_or_default().to_vec()
            }
            _ => below.columns,
        };
        // A semi join has only the columns of one side, and a window has more than what it reads.
        let columns = match columns.len().cmp(&width) {
            Ordering::Equal => columns,
            Ordering::Less if matches!(plan, LogicalPlan::Window(_)) => {
                columns.into_iter().chain(std::iter::repeat(1)).take(width).collect()
            }
            _ => vec![1; width],
        };
        return Ok(Sizes { columns, written });
    };
    let mut columns = Vec::with_capacity(width);
    for expr in exprs {
        written = written.saturating_add(parts(expr, |_| 1)?);
        columns.push(size(expr, schema, &below)?);
    }
    columns.resize(width, 1);
    Ok(Sizes { columns, written })
}

/// How many parts an expression has when the columns that it names are written out.
fn size(expr: &Expr, schema: &DFSchema, below: &Sizes) -> Result<u64> {
    if below.longest() <= 1 {
        return parts(expr, |_| 1);
    }
    parts(expr, |column| {
        let index = schema.maybe_index_of_column(column);
        index.and_then(|index| below.columns.get(index)).copied().unwrap_or(1)
    })
}

/// How many parts an expression has where columns have so many.
fn parts(expr: &Expr, of_column: impl Fn(&Column) -> u64) -> Result<u64> {
    let mut parts: u64 = 0;
    expr.apply(|expr| {
        let size = match expr {
            Expr::Alias(_) => 0,
            Expr::Column(column) => of_column(column),
            _ => 1,
        };
        parts = parts.saturating_add(size);
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::{MemoryPool, UnboundedMemoryPool};
    use datafusion::optimizer::push_down_filter::PushDownFilter;
    use datafusion::optimizer::{Optimizer, OptimizerContext};
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;
    use crate::own_thread::on_own_thread;

    /// Queries within each other that each name the column of the one below three times, and a condition above.
    async fn pushed(levels: usize) -> String {
        let mut sql = "SELECT column1 AS v FROM (VALUES (1), (2))".to_owned();
        for _ in 0..levels {
            sql = format!("SELECT CASE WHEN v > 1 THEN v - 1 ELSE v END AS v FROM ({sql})");
        }
        let sql = format!("SELECT * FROM ({sql}) WHERE v > 0");
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let planning = async move {
            let config = SessionConfig::new().set_usize("datafusion.sql_parser.recursion_limit", 1_000);
            let plan = SessionContext::new_with_config(config).state().create_logical_plan(&sql).await?;
            let pass = BoundedFilterPushdown(Arc::new(PushDownFilter::new()));
            let optimizer = Optimizer::with_rules(vec![Arc::new(pass)]);
            Ok(optimizer.optimize(plan, &OptimizerContext::new(), |_, _| {})?.display_indent().to_string())
        };
        on_own_thread(&pool, planning).await.unwrap().0
    }

    #[tokio::test]
    async fn short_conditions_go_down_and_long_ones_stay() {
        let stays = |plan: &str| plan.lines().nth(1).is_some_and(|line| line.trim().starts_with("Filter"));
        assert!(!stays(&pushed(3).await), "{}", pushed(3).await);
        assert!(stays(&pushed(12).await), "{}", pushed(12).await);
        assert!(stays(&pushed(24).await));
    }
}
