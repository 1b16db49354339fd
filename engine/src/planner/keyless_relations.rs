//! What stands in FROM is planned as if nothing were known of its keys.
//!
//! DataFusion's SQL planner adds to GROUP BY each column that a key among its expressions determines, so that a select list may name
//! such columns. DataFusion 55.2 takes columns for keys that are none (see [`wrong_keys`](super::wrong_keys)): `GROUP BY j` then gave a row
//! for each pair of `j` and another column. So the columns of CTEs and subqueries have no keys here; as in PostgreSQL, what is neither
//! grouped nor aggregated is refused. Passes over the plan find keys anew.

use std::cell::Cell;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Distinct, LogicalPlan};
use datafusion::sql::sqlparser::ast::TableFactor;

use super::wrong_keys::without_keys;

thread_local! {
    /// Whether the relation that is planned next is one that this planner has handed back to DataFusion, which asks it first.
    static HANDED_BACK: Cell<bool> = const { Cell::new(false) };
}

/// The planner. It has to be the first.
#[derive(Debug)]
pub(super) struct KeylessRelations;

impl RelationPlanner for KeylessRelations {
    fn plan_relation(
        &self,
        mut relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        if HANDED_BACK.take() {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        }
        // An alias takes over the keys of what it names: it comes last.
        let alias = match &mut relation {
            TableFactor::Table { alias, args: None, .. } | TableFactor::Derived { alias, .. } => alias.take(),
            _ => return Ok(RelationPlanning::Original(Box::new(relation))),
        };
        HANDED_BACK.set(true);
        let plan = keyless(context.plan(relation)?)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

/// The plan, of whose columns no key is known.
fn keyless(plan: LogicalPlan) -> Result<LogicalPlan> {
    if plan.schema().functional_dependencies().is_empty() {
        return Ok(plan);
    }
    // Their columns are those of their input, with its keys.
    Ok(match plan {
        LogicalPlan::Filter(mut node) => {
            node.input = keyless_input(node.input)?;
            LogicalPlan::Filter(node)
        }
        LogicalPlan::Sort(mut node) => {
            node.input = keyless_input(node.input)?;
            LogicalPlan::Sort(node)
        }
        LogicalPlan::Limit(mut node) => {
            node.input = keyless_input(node.input)?;
            LogicalPlan::Limit(node)
        }
        LogicalPlan::Distinct(Distinct::All(input)) => LogicalPlan::Distinct(Distinct::All(keyless_input(input)?)),
        node => without_keys(node)?.data,
    })
}

fn keyless_input(input: Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
    keyless(Arc::unwrap_or_clone(input)).map(Arc::new)
}
