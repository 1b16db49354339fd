//! Keeps DataFusion's filter pushdown away from plans that have two columns of one name.
//!
//! DataFusion 55.2 finds the columns of a pushed filter by name (`FilterRemapper::try_remap`), so below a join whose output
//! has two columns of one name, a join's or TopK's dynamic filter can land on the wrong column and lose rows
//! (apache/datafusion #25244, #25262, #25263, #25264, #25296; mended there by #25259, after 55.2). Subtrees without such a
//! name are optimised as ever. To be deleted with the first DataFusion that has the fix.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};

type Rule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// DataFusion's physical passes, with filter pushdown guarded.
pub(crate) fn physical_optimizer_rules() -> Vec<Rule> {
    let guard = |rule: Rule| -> Rule {
        if rule.name().starts_with("FilterPushdown") { Arc::new(GuardedFilterPushdown { inner: rule }) } else { rule }
    };
    PhysicalOptimizer::new().rules.into_iter().map(guard).collect()
}

/// Applies a pushdown pass to the largest subtrees in which every node's column names are unique.
#[derive(Debug)]
struct GuardedFilterPushdown {
    inner: Rule,
}

impl GuardedFilterPushdown {
    fn apply(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        if names_are_unique(plan.as_ref()) {
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

/// Whether no node of the tree gives two columns of one name.
fn names_are_unique(plan: &dyn ExecutionPlan) -> bool {
    let schema = plan.schema();
    let mut seen = HashSet::with_capacity(schema.fields().len());
    schema.fields().iter().all(|field| seen.insert(field.name().as_str()))
        && plan.children().into_iter().all(|child| names_are_unique(child.as_ref()))
}
