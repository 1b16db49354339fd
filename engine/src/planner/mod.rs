//! Passes over plans that DataFusion does not have, or does not have right yet. One pass a file.

mod check_overflow;
mod floats_win;
mod guarded_filter_pushdown;

use std::sync::Arc;

use datafusion::optimizer::analyzer::{Analyzer, AnalyzerRule};

pub(crate) use guarded_filter_pushdown::physical_optimizer_rules;

/// DataFusion's analysis with ours around it.
pub(crate) fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![Arc::new(floats_win::FloatsWin)];
    rules.extend(Analyzer::new().rules);
    // It needs operands of one type.
    rules.push(Arc::new(check_overflow::CheckOverflow));
    rules
}
