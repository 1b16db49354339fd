//! Subqueries among the keys of grouping sets, as columns of a projection below these.
//!
//! In: an aggregate. Out: the same rows from one whose grouping sets have no subqueries, of which DataFusion 55.2 makes neither joins nor
//! values there:
//! ```text
//! Aggregate: ROLLUP ((SELECT …), b)    becomes    Projection: __key_1 AS (SELECT …), b, …
//!                                                   Aggregate: ROLLUP (__key_1, b)
//!                                                     Projection: …, (SELECT …) AS __key_1
//! ```

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection};

use super::outer_values::Names;
use super::references::subquery_of;

/// The aggregate with columns for such keys.
pub(super) fn as_columns(aggregate: Aggregate, names: &Names) -> Result<Transformed<LogicalPlan>> {
    let [Expr::GroupingSet(set)] = aggregate.group_expr.as_slice() else {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    };
    let mut computed: Vec<(Expr, Column)> = Vec::new();
    let mut as_column = |key: &Expr| {
        if !has_subquery(key) {
            return key.clone();
        }
        // A key of several sets is one column.
        let known = computed.iter().find(|(expr, _)| expr == key).map(|(_, column)| column.clone());
        Expr::Column(known.unwrap_or_else(|| {
            let column = Column::new_unqualified(names.fresh("key"));
            computed.push((key.clone(), column.clone()));
            column
        }))
    };
    let mut in_set = |keys: &[Expr]| keys.iter().map(&mut as_column).collect::<Vec<_>>();
    let set = match set {
        GroupingSet::Rollup(keys) => GroupingSet::Rollup(in_set(keys)),
        GroupingSet::Cube(keys) => GroupingSet::Cube(in_set(keys)),
        GroupingSet::GroupingSets(sets) => GroupingSet::GroupingSets(sets.iter().map(|keys| in_set(keys)).collect()),
    };
    if computed.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let shown = aggregate.schema.columns();
    let columns = aggregate.input.schema().columns().into_iter().map(Expr::Column);
    let keys = computed.into_iter().map(|(key, column)| key.unalias().alias(column.name));
    let input = Projection::try_new(columns.chain(keys).collect(), aggregate.input)?;
    let input = Arc::new(LogicalPlan::Projection(input));
    let plan = LogicalPlan::Aggregate(Aggregate::try_new(input, vec![Expr::GroupingSet(set)], aggregate.aggr_expr)?);
    let columns = plan.schema().columns().into_iter().zip(shown).map(|(column, shown)| match column == shown {
        true => Expr::Column(column),
        false => Expr::Column(column).alias_qualified(shown.relation, shown.name),
    });
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(columns.collect(), Arc::new(plan))?)))
}

fn has_subquery(key: &Expr) -> bool {
    key.exists(|expr| Ok(subquery_of(expr).is_some())).unwrap_or(true)
}
