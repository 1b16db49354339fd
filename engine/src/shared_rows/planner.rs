//! DataFusion's planner of physical plans, which knows the place of shared rows.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use super::node::SharedRowsNode;
use super::operator::SharedRowsExec;

/// See the module.
#[derive(Debug)]
pub(crate) struct SharingPlanner;

#[async_trait]
impl QueryPlanner for SharingPlanner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(SharedRowsPlanner)]);
        planner.create_physical_plan(plan, session).await
    }
}

struct SharedRowsPlanner;

#[async_trait]
impl ExtensionPlanner for SharedRowsPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _planning_ctx: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let shared = node.as_any().downcast_ref::<SharedRowsNode>();
        let operator = shared.zip(physical_inputs.first()).map(|(shared, input)| {
            let operator = SharedRowsExec::new(Arc::clone(input), Arc::clone(shared.rows()));
            Arc::new(operator) as Arc<dyn ExecutionPlan>
        });
        Ok(operator)
    }
}
