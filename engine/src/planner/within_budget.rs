//! Passes that stop when the budget of the planning is spent.
//!
//! In: DataFusion's passes and ours. Out: the same, each of which looks first whether anybody still waits and memory is left: a pass
//! over a logical plan at each of its nodes.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::optimizer::analyzer::AnalyzerRule;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use datafusion::physical_optimizer::{PhysicalOptimizerContext, PhysicalOptimizerRule};
use datafusion::physical_plan::ExecutionPlan;

use crate::budget;

/// A pass, or all of a kind, within the budget.
#[derive(Debug)]
pub(super) struct WithinBudget<P>(pub(super) P);

type Analysis = Arc<dyn AnalyzerRule + Send + Sync>;
type Optimization = Arc<dyn OptimizerRule + Send + Sync>;
type PhysicalOptimization = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

impl AnalyzerRule for WithinBudget<Analysis> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        budget::check()?;
        self.0.analyze(plan, config)
    }
}

impl OptimizerRule for WithinBudget<Optimization> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        budget::check()?;
        self.0.rewrite(plan, config)
    }
}

impl PhysicalOptimizerRule for WithinBudget<PhysicalOptimization> {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        budget::check()?;
        self.0.optimize(plan, config)
    }

    fn optimize_with_context(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: &dyn PhysicalOptimizerContext,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        budget::check()?;
        self.0.optimize_with_context(plan, context)
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}

/// Plans nothing itself: it is asked about every operator, while SQL becomes a plan.
#[derive(Debug)]
pub(super) struct CheckBudget;

impl ExprPlanner for CheckBudget {
    fn plan_binary_op(&self, expr: RawBinaryExpr, _schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        budget::check()?;
        Ok(PlannerResult::Original(expr))
    }
}
