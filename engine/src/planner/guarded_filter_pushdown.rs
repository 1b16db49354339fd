//! Keeps DataFusion's filter pushdown away from plans that it answers wrongly.
//!
//! DataFusion 55.2 finds the columns of a pushed filter by name (`FilterRemapper::try_remap`), so below a join whose output
//! has two columns of one name, a join's or TopK's dynamic filter can land on the wrong column and lose rows
//! (apache/datafusion #25244, #25262, #25263, #25264, #25296; mended there by #25259, after 55.2). Subtrees without such a
//! name are optimised as ever. To be deleted with the first DataFusion that has the fix.
//!
//! It writes the expressions of columns in the place of their names, as its logical counterpart does: below columns that are long
//! there is none (see `bounded_filter_pushdown.rs`).
//!
//! And a join's dynamic filter is a list of its keys, which tells `-0.0` from `0.0`, where the join itself does not: so joins
//! on floating-point keys have none.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};

use super::bounded_filter_pushdown::PARTS_MAX;

type Rule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// DataFusion's physical passes, with filter pushdown guarded.
pub(super) fn guarded_rules() -> Vec<Rule> {
    let guard = |rule: Rule| -> Rule {
        if rule.name().starts_with("FilterPushdown") { Arc::new(GuardedFilterPushdown { inner: rule }) } else { rule }
    };
    PhysicalOptimizer::new().rules.into_iter().map(guard).collect()
}

/// Applies a pushdown pass to the largest subtrees that it is right for.
#[derive(Debug)]
struct GuardedFilterPushdown {
    inner: Rule,
}

impl GuardedFilterPushdown {
    fn apply(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        if is_safe(plan.as_ref()) {
            return self.inner.optimize(plan, config);
        }
        let children = plan.children().into_iter().map(|child| self.apply(Arc::clone(child), config));
        let children = children.collect::<Result<Vec<_>>>()?;
        replace_children_if_necessary(plan, children)
    }
}

impl PhysicalOptimizerRule for GuardedFilterPushdown {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        self.apply(plan, config)
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn schema_check(&self) -> bool {
        self.inner.schema_check()
    }
}

/// Whether no node of the tree gives two columns of one name, joins on floating-point keys, or has columns that are long.
fn is_safe(plan: &dyn ExecutionPlan) -> bool {
    sizes_if_safe(plan).is_some()
}

/// How many parts the columns have when they are written out; none if the tree is not safe.
fn sizes_if_safe(plan: &dyn ExecutionPlan) -> Option<Vec<u64>> {
    if !names_are_unique(plan) || joins_on_floats(plan) {
        return None;
    }
    let children = plan.children().into_iter().map(|child| sizes_if_safe(child.as_ref()));
    let mut children = children.collect::<Option<Vec<_>>>()?;
    let sizes = match plan.downcast_ref::<ProjectionExec>() {
        Some(projection) => {
            let below = children.pop().unwrap_or_default();
            projection.expr().iter().map(|column| parts(&column.expr, &below)).collect()
        }
        None if children.len() == 1 && children[0].len() == plan.schema().fields().len() => children.remove(0),
        None => vec![1; plan.schema().fields().len()],
    };
    sizes.iter().all(|size| *size <= PARTS_MAX).then_some(sizes)
}

fn parts(expr: &Arc<dyn PhysicalExpr>, columns: &[u64]) -> u64 {
    let mut parts: u64 = 0;
    let _ = expr.apply(|expr| {
        let column = expr.downcast_ref::<Column>();
        let size = column.map_or(1, |column| columns.get(column.index()).copied().unwrap_or(1));
        parts = parts.saturating_add(size);
        Ok(if parts > PARTS_MAX { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    parts
}

fn names_are_unique(plan: &dyn ExecutionPlan) -> bool {
    let schema = plan.schema();
    let mut seen = HashSet::with_capacity(schema.fields().len());
    schema.fields().iter().all(|field| seen.insert(field.name().as_str()))
}

fn joins_on_floats(plan: &dyn ExecutionPlan) -> bool {
    let Some(join) = plan.downcast_ref::<HashJoinExec>() else { return false };
    let schema = join.left().schema();
    join.on().iter().any(|(key, _)| key.data_type(&schema).map_or(true, |ty| ty.is_floating()))
}
