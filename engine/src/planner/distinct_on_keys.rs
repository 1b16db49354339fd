//! A key that `DISTINCT ON`, or its ORDER BY, names twice is one key.
//!
//! In: an analysed plan. Out: the same plan without the second of two equal keys, which orders nothing. DataFusion 55.2 panics there.
//!
//! ```text
//! SELECT DISTINCT ON (a, a) … ORDER BY a, a, b, b DESC   becomes   SELECT DISTINCT ON (a) … ORDER BY a, b
//! ```

use std::collections::HashSet;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Distinct, DistinctOn, LogicalPlan};
use datafusion::optimizer::analyzer::AnalyzerRule;

/// The pass.
#[derive(Debug)]
pub(super) struct DistinctOnKeys;

impl AnalyzerRule for DistinctOnKeys {
    fn name(&self) -> &str {
        "distinct_on_keys"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Distinct(Distinct::On(distinct)) => {
                let (distinct, changed) = without_repetition(distinct);
                Ok(Transformed::new_transformed(LogicalPlan::Distinct(Distinct::On(distinct)), changed))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(rewritten.data)
    }
}

/// Each key once, and whether one was there twice.
pub(super) fn without_repetition(mut distinct: DistinctOn) -> (DistinctOn, bool) {
    let count = |distinct: &DistinctOn| distinct.on_expr.len() + distinct.sort_expr.as_ref().map_or(0, Vec::len);
    let before = count(&distinct);
    let mut seen = HashSet::new();
    distinct.on_expr.retain(|key| seen.insert(key.clone()));
    if let Some(keys) = &mut distinct.sort_expr {
        let mut seen = HashSet::new();
        keys.retain(|key| seen.insert(key.expr.clone()));
    }
    let changed = count(&distinct) < before;
    (distinct, changed)
}
