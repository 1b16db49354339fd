//! What is known of keys before grouping sets does not hold behind them: there, a key is NULL in the sets without it.
//!
//! In: a plan without `grouping()`. Out: the same plan, in which a projection above grouping sets gives their keys by another expression.
//! DataFusion 55.2 keeps that a key is constant, equal to another, or in order, and leaves out sorts that are needed, or takes all
//! rows for peers:
//!
//! ```text
//! SELECT a, b, count(*) FROM t WHERE a = 5 GROUP BY CUBE (a, b) ORDER BY a
//! ```

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection};
use datafusion::optimizer::analyzer::AnalyzerRule;

use crate::functions::GroupedKey;

/// The pass.
#[derive(Debug)]
pub(super) struct GroupedKeys;

impl AnalyzerRule for GroupedKeys {
    fn name(&self) -> &str {
        "grouped_keys"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(rewrite)?.data)
    }
}

fn rewrite(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Aggregate(Aggregate { group_expr, aggr_expr, schema, .. }) = &plan else {
        return Ok(Transformed::no(plan));
    };
    if !matches!(group_expr.as_slice(), [Expr::GroupingSet(_)]) {
        return Ok(Transformed::no(plan));
    }
    let set = Column::new_unqualified(Aggregate::INTERNAL_GROUPING_ID);
    let is_key = |number: usize, column: &Column| number + aggr_expr.len() < schema.fields().len() && *column != set;
    let columns = schema.iter().enumerate().map(|(number, (qualifier, field))| {
        let column = Column::from((qualifier, field));
        match is_key(number, &column) {
            true => GroupedKey::call(Expr::Column(column), Expr::Column(set.clone()), number)
                .alias_qualified(qualifier.cloned(), field.name()),
            false => Expr::Column(column),
        }
    });
    let columns = columns.collect();
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?)))
}
