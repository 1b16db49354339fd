//! Refuses conditions that would be larger than planning can hold.
//!
//! In: a plan as it was written. Out: the same plan, or an error. DataFusion moves a condition below the columns that it names by
//! writing their expressions in their place. Where each of 24 queries computes `x + x AS x` from the one within it, the condition
//! `x > 0` would be written with 2^24 columns, so its size there is computed before it is.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion, TreeNodeVisitor};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::analyzer::AnalyzerRule;

use crate::Error;

/// Parts that a condition may have, after the expressions of all columns have been written into it. Planning 3,000 parts of nested
/// CASE takes three seconds, and five times as many half a minute.
const PARTS_MAX: u64 = 5_000;

/// What was written in so many parts may have this many times as many: a list of 50,000 values is long, and written once.
const REPEATED_MAX: u64 = 4;

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

/// What has been walked through.
#[derive(Default)]
struct Sizes {
    /// The sizes of columns' expressions, of the plans whose parent has not been walked through.
    columns: Vec<Vec<u64>>,
    /// The parts of all expressions, as they were written.
    written: u64,
}

impl<'n> TreeNodeVisitor<'n> for Sizes {
    type Node = LogicalPlan;

    fn f_up(&mut self, plan: &'n LogicalPlan) -> Result<TreeNodeRecursion> {
        plan.apply_expressions(|expr| {
            self.written = self.written.saturating_add(parts(expr, |_| 1)?);
            Ok(TreeNodeRecursion::Continue)
        })?;
        let first = self.columns.len().saturating_sub(plan.inputs().len());
        let inputs = self.columns.split_off(first);
        let sizes = of_columns(plan, inputs, self.written)?;
        self.columns.push(sizes);
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
fn of_columns(plan: &LogicalPlan, inputs: Vec<Vec<u64>>, written: u64) -> Result<Vec<u64>> {
    let known = match plan {
        LogicalPlan::Projection(projection) => {
            let input = inputs.concat();
            let sizes = projection.expr.iter().map(|expr| size(expr, projection.input.schema(), &input));
            sizes.collect::<Result<Vec<u64>>>()?
        }
        LogicalPlan::Filter(filter) => {
            let input = inputs.concat();
            check(&filter.predicate, filter.input.schema(), &input, written)?;
            input
        }
        LogicalPlan::Join(join) => {
            let both = inputs.concat();
            // The sides of INTERSECT may have the same names, and no conditions but that their columns are equal.
            if let Ok(schema) = join.left.schema().join(join.right.schema()) {
                for condition in join.on.iter().flat_map(|(left, right)| [left, right]).chain(&join.filter) {
                    check(condition, &schema, &both, written)?;
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

/// `written` is the size of all that was written up to here.
fn check(condition: &Expr, schema: &DFSchema, sizes: &[u64], written: u64) -> Result<()> {
    let parts = size(condition, schema, sizes)?;
    if parts <= PARTS_MAX || parts <= written.saturating_mul(REPEATED_MAX) {
        return Ok(());
    }
    let message = format!(
        "a condition has {parts} parts when the columns that it names are written out, of {written} that were written, and at \
         most {PARTS_MAX} can be planned: store what they are computed from with CREATE TABLE … AS SELECT, and read the table"
    );
    Err(Error::Invalid(message).into())
}

/// How many parts an expression has when the columns that it names are written out.
fn size(expr: &Expr, schema: &DFSchema, sizes: &[u64]) -> Result<u64> {
    parts(expr, |column| {
        let index = schema.maybe_index_of_column(column);
        index.and_then(|index| sizes.get(index)).copied().unwrap_or(1)
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
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn is_planned(sql: &str) -> bool {
        let plan = SessionContext::new().state().create_logical_plan(sql).await.unwrap();
        LimitConditions.analyze(plan, &ConfigOptions::default()).is_ok()
    }

    /// Queries within each other that each name the column of the one below five times.
    fn nested(levels: usize) -> String {
        let mut sql = "SELECT column1 AS v FROM (VALUES (1), (2))".to_owned();
        for _ in 0..levels {
            sql = format!("SELECT CASE WHEN v > 1 THEN v - 1 WHEN v < -1 THEN v + 1 ELSE v END AS v FROM ({sql})");
        }
        format!("SELECT count(*) FROM ({sql}) WHERE v > 0")
    }

    #[tokio::test]
    async fn what_is_written_once_may_be_long_and_what_repeats_itself_may_not() {
        let many: Vec<String> = (0..25_000).map(|value| value.to_string()).collect();
        let many = many.join(", ");
        let values = "(VALUES (1), (2)) AS t(a)";
        for sql in [
            format!("SELECT a FROM {values} WHERE a IN ({many})"),
            format!("SELECT * FROM (SELECT a, a IN ({many}) AS among FROM {values}) WHERE among"),
            nested(3),
        ] {
            assert!(is_planned(&sql).await, "{}", &sql[..60]);
        }
        assert!(!is_planned(&nested(5)).await);
        assert!(!is_planned(&nested(24)).await);
    }
}
