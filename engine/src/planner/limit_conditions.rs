//! Refuses conditions that would be larger than planning can hold.
//!
//! In: a plan as it was written. Out: the same plan, or an error. DataFusion moves a condition below the columns that it names by
//! writing their expressions in their place. Where each of 24 queries computes `x + x AS x` from the one within it, the condition
//! `x > 0` would be written with 2^24 columns, so its size there is computed before it is.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion, TreeNodeVisitor};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::analyzer::AnalyzerRule;

use crate::Error;

/// Parts that a condition may have, after the expressions of all columns have been written into it.
const PARTS_MAX: u64 = 20_000;

/// The pass.
#[derive(Debug)]
pub(super) struct LimitConditions;

impl AnalyzerRule for LimitConditions {
    fn name(&self) -> &str {
        "limit_conditions"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.visit(&mut Sizes::default())?;
        Ok(plan)
    }
}

/// The sizes of columns' expressions, for the plans that have been walked through and whose parent has not.
#[derive(Default)]
struct Sizes(Vec<Vec<u64>>);

impl<'n> TreeNodeVisitor<'n> for Sizes {
    type Node = LogicalPlan;

    fn f_up(&mut self, plan: &'n LogicalPlan) -> Result<TreeNodeRecursion> {
        let first = self.0.len().saturating_sub(plan.inputs().len());
        let inputs = self.0.split_off(first);
        let sizes = of_columns(plan, inputs)?;
        self.0.push(sizes);
        subqueries(plan)?;
        Ok(TreeNodeRecursion::Continue)
    }
}

/// The queries within a plan's expressions.
fn subqueries(plan: &LogicalPlan) -> Result<()> {
    plan.apply_subqueries(|subquery| {
        subquery.visit(&mut Sizes::default())?;
        Ok(TreeNodeRecursion::Jump)
    })?;
    Ok(())
}

/// The sizes of a plan's columns, from those of its inputs. What conditions are not moved below has columns of size 1.
fn of_columns(plan: &LogicalPlan, inputs: Vec<Vec<u64>>) -> Result<Vec<u64>> {
    let known = match plan {
        LogicalPlan::Projection(projection) => {
            let input = inputs.concat();
            let sizes = projection.expr.iter().map(|expr| size(expr, projection.input.schema(), &input));
            sizes.collect::<Result<Vec<u64>>>()?
        }
        LogicalPlan::Filter(filter) => {
            let input = inputs.concat();
            check(&filter.predicate, filter.input.schema(), &input)?;
            input
        }
        LogicalPlan::Join(join) => {
            let both = inputs.concat();
            // The sides of INTERSECT may have the same names, and no conditions but that their columns are equal.
            if let Ok(schema) = join.left.schema().join(join.right.schema()) {
                for condition in join.on.iter().flat_map(|(left, right)| [left, right]).chain(&join.filter) {
                    check(condition, &schema, &both)?;
                }
            }
            both
        }
        LogicalPlan::Union(_) => {
            let columns = plan.schema().fields().len();
            (0..columns)
                .map(|column| inputs.iter().filter_map(|input| input.get(column)).copied().max().unwrap_or(1))
                .collect()
        }
        LogicalPlan::Aggregate(aggregate) => {
            let input = inputs.concat();
            let groups = aggregate.group_expr.iter().map(|expr| size(expr, aggregate.input.schema(), &input));
            let mut sizes = groups.collect::<Result<Vec<u64>>>()?;
            sizes.resize(plan.schema().fields().len(), 1);
            sizes
        }
        LogicalPlan::Window(_) => {
            let mut sizes = inputs.concat();
            sizes.resize(plan.schema().fields().len(), 1);
            sizes
        }
        _ => inputs.concat(),
    };
    let columns = plan.schema().fields().len();
    // A semi join has only the columns of one side.
    Ok(if known.len() < columns { vec![1; columns] } else { known })
}

fn check(condition: &Expr, schema: &DFSchema, sizes: &[u64]) -> Result<()> {
    let parts = size(condition, schema, sizes)?;
    if parts <= PARTS_MAX {
        return Ok(());
    }
    let message = format!(
        "a condition has {parts} parts when the columns that it names are written out, and at most {PARTS_MAX} can be planned: \
         store what they are computed from with CREATE TABLE … AS SELECT, and read the table"
    );
    Err(Error::Invalid(message).into())
}

/// How many parts an expression has when the columns that it names are written out.
fn size(expr: &Expr, schema: &DFSchema, sizes: &[u64]) -> Result<u64> {
    let mut parts: u64 = 0;
    expr.apply(|expr| {
        let size = match expr {
            Expr::Alias(_) => 0,
            Expr::Column(column) => {
                let index = schema.maybe_index_of_column(column);
                index.and_then(|index| sizes.get(index)).copied().unwrap_or(1)
            }
            _ => 1,
        };
        parts = parts.saturating_add(size);
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(parts)
}
