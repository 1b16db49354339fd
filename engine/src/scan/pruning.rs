//! Decides which manifests and data files a scan may skip.
//!
//! In: the filters of a scan and statistics in columns. Out: which containers to keep.
//! Never reads data. A wrong answer here silently loses rows, so what is unknown is kept.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::ToDFSchema;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::{PhysicalExpr, conjunction, create_physical_expr};
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};

use super::containers::{Containers, FieldIds};

/// A scan's filters, ready to be tried on statistics.
pub(crate) struct Pruner {
    predicate: Option<PruningPredicate>,
    fields: FieldIds,
}

impl Pruner {
    /// Prepares `filters`, which are all true of a row that is wanted. Filters that statistics cannot judge are left out.
    pub(crate) fn new(filters: &[Expr], schema: &SchemaRef, props: &ExecutionProps) -> Self {
        let physical: Vec<Arc<dyn PhysicalExpr>> = match Arc::clone(schema).to_dfschema() {
            Ok(schema) => filters
                .iter()
                .filter_map(|filter| {
                    create_physical_expr(filter, &schema, props, &PhysicalPlanningContext::default()).ok()
                })
                .collect(),
            Err(_) => Vec::new(),
        };
        let predicate = (!physical.is_empty())
            .then(|| {
                PruningPredicateBuilder::new()
                    .with_file_schema(Arc::clone(schema))
                    .try_build(conjunction(physical))
                    .ok()
            })
            .flatten()
            .filter(|predicate| !predicate.always_true());
        Self { predicate, fields: FieldIds::new(schema) }
    }

    /// For each container, whether it may hold a wanted row.
    pub(crate) fn keep(&self, containers: &Containers) -> Vec<bool> {
        let everything = || vec![true; containers.len];
        let Some(predicate) = &self.predicate else { return everything() };
        if containers.len == 0 {
            return Vec::new();
        }
        match predicate.prune(&containers.view(&self.fields)) {
            Ok(keep) => keep,
            Err(error) => {
                tracing::warn!(%error, "statistics could not be compared with the filter: nothing is skipped");
                everything()
            }
        }
    }
}
