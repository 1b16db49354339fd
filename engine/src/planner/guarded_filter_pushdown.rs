//! Keeps DataFusion's filter pushdown away from plans that it answers wrongly.
//!
//! DataFusion 55.2 finds the columns of a pushed filter by name (`FilterRemapper::try_remap`), so below a join whose output
//! has two columns of one name, a join's or TopK's dynamic filter can land on the wrong column and lose rows
//! (apache/datafusion #25244, #25262, #25263, #25264, #25296; mended there by #25259, after 55.2). Subtrees without such a
//! name are optimised as ever. To be deleted with the first DataFusion that has the fix.
//!
//! And a join's dynamic filter is a list of its keys, which tells `-0.0` from `0.0`, where the join itself does not: so joins
//! on floating-point keys have none.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};

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

/// Whether no node of the tree gives two columns of one name, or joins on floating-point keys.
fn is_safe(plan: &dyn ExecutionPlan) -> bool {
    names_are_unique(plan) && !joins_on_floats(plan) && plan.children().into_iter().all(|child| is_safe(child.as_ref()))
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
