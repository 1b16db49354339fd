//! Turns reading ahead off where a LIMIT may end a scan at any batch: pages that are read ahead of it could be for nothing.
//!
//! A scan below a limit with nothing in between that must see all rows first (a sort, an aggregate, the build side of a
//! join) reads what its decoder asks for, and no more.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::config::ConfigOptions;
use datafusion::datasource::physical_plan::FileScanConfigBuilder;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::{EmissionType, replace_children_if_necessary};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

use crate::scan::IcebergSource;

/// See the module.
#[derive(Debug)]
pub(super) struct ReadAhead;

impl PhysicalOptimizerRule for ReadAhead {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        mark(plan, false)
    }

    fn name(&self) -> &str {
        "read_ahead"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn mark(plan: Arc<dyn ExecutionPlan>, limited: bool) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some((config, source)) =
        plan.downcast_ref::<DataSourceExec>().and_then(|exec| exec.downcast_to_file_source::<IcebergSource>())
    {
        if !limited {
            return Ok(plan);
        }
        let source = Arc::new(source.without_read_ahead());
        return Ok(DataSourceExec::from_data_source(
            FileScanConfigBuilder::from(config.clone()).with_source(source).build(),
        ));
    }
    let streams = plan.pipeline_behavior() != EmissionType::Final;
    let limited = streams && (limited || plan.fetch().is_some());
    // A join reads its first side to the end before it gives a row.
    let builds = plan.name().ends_with("JoinExec") && plan.name() != "SortMergeJoinExec";
    let children: Vec<Arc<dyn ExecutionPlan>> = plan.children().into_iter().cloned().collect();
    let marked = children.iter().enumerate();
    let marked = marked.map(|(position, child)| mark(Arc::clone(child), limited && !(builds && position == 0)));
    let marked = marked.collect::<Result<Vec<_>>>()?;
    replace_children_if_necessary(plan, marked)
}
