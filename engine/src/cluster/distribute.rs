//! Cuts a plan into stages for the workers of one attempt.
//!
//! The plan is the one that would run here. Each scan of Iceberg files becomes one variant for each task, by
//! [`Placement`]; stage boundaries are datafusion-distributed's.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session as PlanningSession;
use datafusion::common::{DataFusionError, Result, internal_datafusion_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion_distributed::{
    CompressionType, DesiredTaskCountEvent, DesiredTaskCountEventResponse, DesiredTaskCountHandler, DistributedExec,
    DistributedExt, DistributedLeafExec, RouteTasksEvent, RouteTasksEventResponse, RouteTasksHandler,
    ScaleUpLeafNodeEvent, ScaleUpLeafNodeEventResponse, ScaleUpLeafNodeHandler, SessionStateBuilderExt, WorkerResolver,
};
use url::Url;

use super::attempt::Attempt;
use super::channels::{Calls, Channels};
use super::placement::{self, Placement};
use super::travelling::{SessionSettings, Travelling};
use crate::functions::interruptible;
use crate::plan::Planned;
use crate::scan::{ScanCodec, balance, iceberg_scan};
use crate::shared_rows::SHARED_ROWS;

/// Operators that cannot be sent, or that run their input more than once.
const STAYS_HERE: [&str; 10] = [
    "ExplainExec",
    "AnalyzeExec",
    "RecursiveQueryExec",
    "WorkTableExec",
    "PartialSortExec",
    "PartitionedTopKExec",
    "PiecewiseMergeJoinExec",
    "StreamingTableExec",
    "ScalarSubqueryExec",
    SHARED_ROWS,
];

/// Whether workers can run the plan, and it reads what they cache.
pub(super) fn wants_workers(plan: &Arc<dyn ExecutionPlan>) -> bool {
    can_travel(plan) && first_piece(plan).is_some()
}

fn can_travel(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let here = STAYS_HERE.contains(&plan.name()) || iceberg_scan(plan).is_some_and(|(_, source)| source.is_in_memory());
    !here && !orders_by_constants(plan) && !groups_by_empty_sets(plan) && plan.children().into_iter().all(can_travel)
}

/// Whether all grouping sets are empty: the encoding of an aggregate tells how many sets there are by how many expressions they
/// have, and none would arrive. DataFusion 55.2.
fn groups_by_empty_sets(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.downcast_ref::<AggregateExec>().is_some_and(|aggregate| {
        let keys = aggregate.group_expr();
        keys.has_grouping_set() && keys.expr().is_empty()
    })
}

/// Whether a window's rows are parted or ordered by what a filter has made constant. No sort is planned for such a column,
/// and where the window arrives nobody knows any more why. DataFusion 55.2.
fn orders_by_constants(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let windows = match plan.downcast_ref::<WindowAggExec>() {
        Some(window) => window.window_expr(),
        None => match plan.downcast_ref::<BoundedWindowAggExec>() {
            Some(window) => window.window_expr(),
            None => return false,
        },
    };
    let inputs = plan.children();
    let is_constant = |key: &Arc<dyn PhysicalExpr>| {
        inputs.iter().any(|input| input.equivalence_properties().is_expr_constant(key).is_some())
    };
    windows.iter().any(|window| {
        window.partition_by().iter().any(is_constant) || window.order_by().iter().any(|key| is_constant(&key.expr))
    })
}

/// The plan in stages, with the state that it runs in. `None` if no stage came out: then it runs here.
pub(crate) async fn distribute(
    planned: &Planned,
    placement: &Arc<Placement>,
    channels: &Arc<Channels>,
    codec: &Arc<ScanCodec>,
    attempt: &Arc<Attempt>,
) -> Result<Option<(SessionState, Arc<dyn ExecutionPlan>)>> {
    let settings = planned.state.config().get_extension::<SessionSettings>();
    let travelling = Travelling {
        query_id: attempt.query.id().to_owned(),
        attempt: attempt.number,
        mark: attempt.mark.clone(),
        tenant: attempt.query.tenant().to_owned(),
        settings: settings.map(|settings| settings.0.clone()).unwrap_or_default(),
        peers: placement.peers(),
        trace: attempt.traceparent.clone(),
    };
    let calls =
        Calls { channels: Arc::clone(channels), attempt: Some(Arc::clone(attempt)), mark: attempt.mark.clone() };
    let config = planned
        .state
        .config()
        .clone()
        .with_extension(Arc::clone(placement))
        .with_distributed_worker_resolver(Workers(placement.urls()))
        .with_distributed_channel_resolver(calls)
        .with_distributed_user_codec_arc(Arc::clone(codec) as _)
        .with_distributed_desired_task_count_handler(ByPlacement)
        .with_distributed_scale_up_leaf_node_handler(ByPlacement)
        .with_distributed_route_tasks_handler(ByPlacement)
        .with_distributed_passthrough_headers(travelling.headers()?)?
        // Compressing costs more than it saves on a loopback.
        .with_distributed_compression((!placement.is_local()).then_some(CompressionType::LZ4_FRAME))?
        .with_distributed_max_tasks_per_stage(placement.tasks())?
        // Variant i of a scan must be read by task i.
        .with_distributed_children_isolator_unions(false)?;
    let options = Arc::clone(config.options());
    let state = SessionStateBuilder::new_from_existing(planned.state.clone())
        .with_config(config)
        .with_query_planner(Arc::new(Made(interruptible(
            Arc::clone(&planned.physical),
            attempt.query.stopped(),
            &options,
        )?)))
        .with_distributed_planner()
        .build();
    let plan = state.query_planner().create_physical_plan(&planned.logical, &state).await?;
    Ok(plan.is::<DistributedExec>().then_some((state, plan)))
}

/// Gives a plan that was made already.
#[derive(Debug)]
struct Made(Arc<dyn ExecutionPlan>);

#[async_trait]
impl QueryPlanner for Made {
    async fn create_physical_plan(
        &self,
        _logical: &LogicalPlan,
        _session: &dyn PlanningSession,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        reset_plan_states(Arc::clone(&self.0))
    }
}

struct Workers(Vec<Url>);

impl WorkerResolver for Workers {
    fn get_urls(&self) -> Result<Vec<Url>, DataFusionError> {
        Ok(self.0.clone())
    }
}

/// Answers the distributed planner's questions by the attempt's [`Placement`].
struct ByPlacement;

#[async_trait]
impl DesiredTaskCountHandler for ByPlacement {
    async fn handle(&self, event: DesiredTaskCountEvent<'_>) -> Option<Result<DesiredTaskCountEventResponse>> {
        let (config, _) = iceberg_scan(event.plan)?;
        let placement = event.session_config.get_extension::<Placement>()?;
        Some(Ok(match config.file_groups.len() {
            // Nothing above a scan of one partition brings rows together: each of several tasks would give an answer.
            0 | 1 => DesiredTaskCountEventResponse::maximum(1),
            _ => DesiredTaskCountEventResponse::desired(placement.tasks()),
        }))
    }
}

impl ScaleUpLeafNodeHandler for ByPlacement {
    fn handle(&self, event: ScaleUpLeafNodeEvent) -> Option<Result<ScaleUpLeafNodeEventResponse>> {
        let (config, _) = iceberg_scan(event.plan)?;
        if event.task_count == 1 {
            return Some(Ok(ScaleUpLeafNodeEventResponse::new(Arc::clone(event.plan))));
        }
        let placement = event.session_config.get_extension::<Placement>()?;
        Some(variants(event.plan, config, &placement, event.task_count).map(ScaleUpLeafNodeEventResponse::new))
    }
}

/// A scan's share of each task, in as many partitions as the scan has.
fn variants(
    plan: &Arc<dyn ExecutionPlan>,
    config: &FileScanConfig,
    placement: &Placement,
    tasks: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let partitions = config.file_groups.len();
    let pieces = config.file_groups.iter().flat_map(FileGroup::files).cloned().collect();
    let assigned = placement.assign(pieces);
    if assigned.len() != tasks {
        return Err(internal_datafusion_err!("a stage of {tasks} tasks on {} places", assigned.len()));
    }
    let variant = |pieces: Vec<_>| -> Arc<dyn ExecutionPlan> {
        let pieces = pieces.into_iter().map(|piece| (placement::bytes(&piece), piece)).collect();
        let mut groups = balance(pieces, partitions);
        groups.resize_with(partitions, || FileGroup::new(Vec::new()));
        DataSourceExec::from_data_source(FileScanConfigBuilder::from(config.clone()).with_file_groups(groups).build())
    };
    Ok(Arc::new(DistributedLeafExec::try_new(Arc::clone(plan), assigned.into_iter().map(variant))?))
}

impl RouteTasksHandler for ByPlacement {
    fn handle(&self, event: RouteTasksEvent) -> Option<Result<RouteTasksEventResponse>> {
        let placement = event.task_ctx.session_config().get_extension::<Placement>()?;
        // Variant i of a scan is read by worker i; a stage of one task goes where its pages are.
        let first = match event.task_count {
            1 => first_piece(event.plan).map_or(0, |piece| placement.preferred(&piece)),
            _ => 0,
        };
        let urls = (first..first + event.task_count).map(|task| placement.worker(task).url.clone());
        Some(Ok(RouteTasksEventResponse::new(urls.collect())))
    }
}

/// A piece of a file that a stage reads.
fn first_piece(stage: &Arc<dyn ExecutionPlan>) -> Option<PartitionedFile> {
    let here = iceberg_scan(stage).and_then(|(config, _)| config.file_groups.iter().flat_map(FileGroup::files).next());
    here.cloned().or_else(|| stage.children().into_iter().find_map(first_piece))
}
