//! Passes over plans that DataFusion does not have, or does not have right yet. One pass a file.

mod floats_win;
mod guarded_filter_pushdown;

pub(crate) use floats_win::analyzer_rules;
pub(crate) use guarded_filter_pushdown::physical_optimizer_rules;
