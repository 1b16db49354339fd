//! Both terms of a recursive query have the fields of its columns, field ids and all.
//!
//! In: an optimised plan. Out: the same plan, in which a term whose fields have other metadata than the query's is projected to
//! them. A table's columns have their Iceberg ids there, and what is computed of them has not, so that
//! `SELECT id FROM t UNION ALL SELECT id + 1 FROM r` is an error without it. DataFusion 55.2.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::logical_plan::RecursiveQuery;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The pass. Others take its projections away again, so it is the last.
#[derive(Debug)]
pub(super) struct RecursiveFields;

impl OptimizerRule for RecursiveFields {
    fn name(&self) -> &str {
        "recursive_fields"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::RecursiveQuery(query) = plan else { return Ok(Transformed::no(plan)) };
        let RecursiveQuery { static_term, recursive_term, schema, .. } = &query;
        if have_fields(static_term, schema) && have_fields(recursive_term, schema) {
            return Ok(Transformed::no(LogicalPlan::RecursiveQuery(query)));
        }
        let static_term = with_fields(static_term, schema)?;
        let recursive_term = with_fields(recursive_term, schema)?;
        Ok(Transformed::yes(LogicalPlan::RecursiveQuery(RecursiveQuery { static_term, recursive_term, ..query })))
    }
}

fn have_fields(term: &LogicalPlan, schema: &DFSchema) -> bool {
    let mut fields = term.schema().fields().iter().zip(schema.fields());
    fields.all(|(field, wanted)| field.metadata() == wanted.metadata())
}

fn with_fields(term: &Arc<LogicalPlan>, schema: &DFSchema) -> Result<Arc<LogicalPlan>> {
    if have_fields(term, schema) {
        return Ok(Arc::clone(term));
    }
    let columns = term.schema().columns().into_iter().zip(schema.iter());
    let exprs = columns.map(|(column, (relation, field))| {
        // Of a cast to a field, the result has that field's metadata and no other.
        let cast = Expr::Cast(Cast::new_from_field(Box::new(Expr::Column(column)), Arc::clone(field)));
        cast.alias_qualified(relation.cloned(), field.name())
    });
    let projection = Projection::try_new(exprs.collect(), Arc::clone(term))?;
    Ok(Arc::new(LogicalPlan::Projection(projection)))
}
