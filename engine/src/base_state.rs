//! What the state of every query begins from: functions, rules, options, and the pools that all queries share.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;

use crate::memory::MemoryBudget;
use crate::options::PolynyaOptions;
use crate::planner::{
    analyzer_rules, expr_planners, optimizer_rules, physical_optimizer_rules, relation_planners, table_functions,
};
use crate::shared_rows::SharingPlanner;
use crate::spill::SpillFolder;
use crate::spill_files::{Factory, SpillFiles};
use crate::{Result, Settings, functions};

/// Build sides of joins that are given whole to all partitions; DataFusion's own bounds are 1 MiB and 131,072 rows.
const WHOLE_BUILD_SIDE_BYTES_MAX: usize = 8 << 20;
const WHOLE_BUILD_SIDE_ROWS_MAX: usize = 500_000;

/// The least that a sort needs to merge what it has spilled.
const SORT_RESERVATION_BYTES_MIN: usize = 1 << 20;

/// What every query's state begins from: functions, rules, pools and options.
///
/// # Errors
/// If there can be no pool of memory or no folder to spill to.
pub(crate) fn base_state(
    settings: &Settings,
    memory: &MemoryBudget,
    spill: Option<&Arc<SpillFolder>>,
) -> Result<SessionState> {
    let mut config = SessionConfig::new()
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false)
        .with_target_partitions(settings.execution.partitions());
    if let Some(spill) = spill {
        // A query that outlives the engine has it still.
        config.set_extension(Arc::clone(spill));
    }
    choose_options(config.options_mut(), settings);
    if let Some(rows) = settings.planning.batch_rows {
        config = config.with_batch_size(rows.get());
    }
    let mut optimizer_rules = optimizer_rules();
    let mut physical_optimizer_rules = physical_optimizer_rules();
    let without = &settings.planning.without;
    optimizer_rules.retain(|rule| !without.iter().any(|name| name == rule.name()));
    physical_optimizer_rules.retain(|rule| !without.iter().any(|name| name == rule.name()));
    let mut builder = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime(settings, memory, spill)?)
        .with_default_features()
        .with_relation_planners(relation_planners())
        .with_analyzer_rules(analyzer_rules())
        .with_optimizer_rules(optimizer_rules)
        .with_physical_optimizer_rules(physical_optimizer_rules)
        .with_query_planner(Arc::new(SharingPlanner));
    builder.expr_planners().get_or_insert_default().splice(0..0, expr_planners());
    // Of two functions of one name, the later one is called.
    let scalar_functions = polynya_udfs::all_scalar_functions().into_iter().chain(functions::scalar_functions());
    builder.scalar_functions().get_or_insert_default().extend(scalar_functions);
    builder.aggregate_functions().get_or_insert_default().extend(functions::aggregate_functions());
    builder.window_functions().get_or_insert_default().extend(functions::window_functions());
    builder.table_functions().get_or_insert_default().extend(table_functions());
    Ok(builder.build())
}

/// Options that differ from DataFusion's, for all queries.
fn choose_options(options: &mut ConfigOptions, settings: &Settings) {
    options.extensions.insert(PolynyaOptions {
        execution: settings.workers.execution,
        statement_timeout: Some(settings.execution.statement_timeout).filter(|timeout| !timeout.is_zero()),
        ..PolynyaOptions::default()
    });
    options.execution.parquet.coerce_int96 = Some("us".to_owned());
    options.execution.parquet.pushdown_filters = false;
    // DataFusion 55.2: the filter that several min() and max() share drops rows that one of them needs.
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    // DataFusion 55.2: of windows over each other, only the widest frame is counted when LIMIT is told to the sort below, and `lead` with
    // IGNORE NULLS as if there were none.
    options.optimizer.enable_window_limits = false;
    // The smaller side of a join is given whole to all partitions of the other up to this size. That makes one hash table on
    // one core, and saves hashing and moving the larger side, on workers through their connections.
    options.optimizer.hash_join_single_partition_threshold = WHOLE_BUILD_SIDE_BYTES_MAX;
    options.optimizer.hash_join_single_partition_threshold_rows = WHOLE_BUILD_SIDE_ROWS_MAX;
    // A sort puts this aside for the merge of what it spilled, in each partition: all of them must fit a small limit.
    let share = settings.memory.limit_bytes() / (4 * settings.execution.partitions() as u64);
    let reserved = usize::try_from(share).unwrap_or(usize::MAX).max(SORT_RESERVATION_BYTES_MIN);
    options.execution.sort_spill_reservation_bytes = options.execution.sort_spill_reservation_bytes.min(reserved);
    // Field ids that one side of a UNION has and the other has not are no difference.
    options.execution.skip_physical_aggregate_schema_check = true;
    options.execution.time_zone = Some("UTC".to_owned());
    // 0.1 means one tenth, exactly.
    options.sql_parser.parse_float_as_decimal = true;
}

/// The pool of memory that all queries share, and where they spill.
fn runtime(settings: &Settings, memory: &MemoryBudget, spill: Option<&Arc<SpillFolder>>) -> Result<Arc<RuntimeEnv>> {
    let mode = match spill {
        Some(spill) => {
            let files = SpillFiles::new(Arc::clone(spill), settings.memory.spill_limit.as_u64());
            DiskManagerMode::Custom(Arc::new(Factory(files)))
        }
        None => DiskManagerMode::OsTmpDirectory,
    };
    let disk = DiskManagerBuilder::default()
        .with_mode(mode)
        .with_max_temp_directory_size(settings.memory.spill_limit.as_u64());
    let builder = RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(memory.pool())).with_disk_manager_builder(disk);
    Ok(builder.build_arc()?)
}
